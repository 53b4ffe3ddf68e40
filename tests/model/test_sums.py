"""A run is the same in every Python, however its ``sum()`` rounds."""

import builtins
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from oomkit.model import play
from oomkit.scenario import read_scenario
from oomkit.scenario.record import to_json

SCENARIO = Path(__file__).parents[2] / "scenarios/depmod-1g.toml"
_plain = sum


def _exact(values: Iterable[Any], start: Any = 0) -> Any:
    """As Python 3.12 and later add floats: with what rounding loses made up for."""
    found = list(values)
    if any(isinstance(one, float) for one in found):
        return math.fsum([start, *found])
    return _plain(found, start)


def test_a_run_does_not_depend_on_how_sum_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = read_scenario(str(SCENARIO))
    before = to_json(play(scenario, sample_s=None))
    monkeypatch.setattr(builtins, "sum", _exact)
    assert to_json(play(scenario, sample_s=None)) == before
