"""Every line that is printed of a real log."""

import pytest

from tests.recorded import KEPT, NAMES, explained


@pytest.mark.parametrize("name", NAMES)
def test_a_real_log_is_explained_as_recorded(name: str) -> None:
    assert explained(name) == (KEPT / "explained" / f"{name}.txt").read_text()
