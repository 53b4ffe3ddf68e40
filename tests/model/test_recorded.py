"""Every scenario plays as recorded."""

import pytest

from tests.model.recorded import KEPT, PATHS, played


@pytest.mark.parametrize("name", PATHS)
def test_a_scenario_plays_as_recorded(name: str) -> None:
    assert played(name) == (KEPT / f"{name}.txt").read_text()
