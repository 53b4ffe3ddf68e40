"""Every rule set in every situation, and the table of rules itself, as recorded."""

import pytest

from tests.kernel.recorded import FILES, KEPT


@pytest.mark.parametrize("name", FILES)
def test_it_is_decided_as_recorded(name: str) -> None:
    assert FILES[name]() == (KEPT / f"{name}.txt").read_text()
