"""What happens inside of runs, and the scenarios made of machines, are as recorded."""

import pytest

from tests.model.moments import KEPT, SCENARIOS, VARIANTS, machine_of, moments


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_goes_as_recorded(name: str) -> None:
    assert moments(name) == (KEPT / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_machine_becomes_the_scenario_that_is_recorded(name: str) -> None:
    assert machine_of(name) == (KEPT / f"machine-{name}.txt").read_text()
