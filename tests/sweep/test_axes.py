"""What varies: as it is written, and drawn."""

import statistics
from random import Random
from typing import Any

import pytest

from oomkit.sweep.axes import draw_value, read_axes
from oomkit.sweep.spec import Axis
from oomkit.toml.table import Fault, Table


def axis(how: Any, *, scale: bool = False) -> Axis:
    faults: list[Fault] = []
    axes = read_axes(Table({"machine.ram": how}, "vary", faults), scale=scale)
    assert faults == []
    return axes[0]


def fault(how: Any, *, scale: bool = False) -> str:
    faults: list[Fault] = []
    read_axes(Table({"machine": {"ram": how}}, "vary", faults), scale=scale)
    assert [one.path for one in faults][:1] == ["vary.machine.ram"]
    return faults[0].expected


def draws(how: Any, count: int = 4000) -> list[float]:
    one = axis(how)
    return [float(draw_value(one, Random(f"{i}"))) for i in range(count)]


def test_ranges_hold_both_ends() -> None:
    gib = 2**30
    assert axis({"from": "0", "to": "2G", "step": "1G"}).values == (0, gib, 2 * gib)
    assert axis({"from": 0.1, "to": 0.3, "step": 0.1}).values == (0.1, 0.2, 0.3)
    assert axis({"from": 1, "to": 6, "step": 2}).values == (1, 3, 5)


def test_draws_follow_their_distribution() -> None:
    uniform = draws({"uniform": [10.0, 20.0]})
    assert min(uniform) >= 10
    assert max(uniform) <= 20
    assert statistics.mean(uniform) == pytest.approx(15, abs=0.2)
    wide = draws({"log_uniform": ["1M", "100M"]})
    assert statistics.median(wide) == pytest.approx(10 * 2**20, rel=0.1)
    normal = draws({"normal": [100.0, 10.0]})
    assert statistics.stdev(normal) == pytest.approx(10, rel=0.06)
    skewed = draws({"log_normal": ["10s", 2.0], "max": "40s"})
    assert statistics.median(skewed) == pytest.approx(10, rel=0.05)
    assert max(skewed) == 40
    inside = sum(5 <= one <= 20 for one in skewed) / len(skewed)
    assert inside == pytest.approx(0.68, abs=0.03)


def test_choices_come_as_often_as_their_weights_say() -> None:
    found = draws({"choice": [1, 2, 3], "weights": [1, 0, 3]})
    assert 2 not in found
    assert found.count(3) / len(found) == pytest.approx(0.75, abs=0.03)


def test_whole_bounds_give_whole_numbers() -> None:
    assert all(one == int(one) for one in draws({"uniform": [1, 3]}, 50))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("2G", "expected a list of values"),
        ([], "expected from 1 to"),
        ([1, 1], "every value once"),
        (["1G", "3s"], "of one kind"),
        ({"from": "1G", "to": "2G"}, "from, to and step"),
        ({"from": "2G", "to": "1G", "step": "1G"}, "from below to"),
        ({"from": 0, "to": 1, "step": 0}, "from below to"),
        ({"from": 0, "to": 1e9, "step": 1}, "at most"),
        ({"uniform": [2, 1]}, "a not above b"),
        ({"uniform": [1]}, "uniform = [a, b]"),
        ({"uniform": [1, 2], "normal": [1, 2]}, "or one of"),
        ({"log_uniform": [0, 2]}, "above 0"),
        ({"log_normal": [1, 0.5]}, "a factor from 1 on"),
        ({"normal": [1, -1]}, "not below 0"),
        ({"uniform": [1, 2], "min": 3, "max": 2}, "min not above max"),
        ({"choice": [1, 2], "weights": [1]}, "a weight of 0 or more for each"),
        ({"uniform": [1, 2], "skew": 3}, "unknown key"),
    ],
)
def test_what_cant_be_varied_is_reported_with_its_place(how: Any, expected: str) -> None:
    faults: list[Fault] = []
    read_axes(Table({"machine": {"ram": how}}, "vary", faults), scale=False)
    assert len(faults) == 1
    assert faults[0].path.startswith("vary.machine.ram")
    assert expected in faults[0].expected


def test_factors_are_numbers_above_0() -> None:
    assert axis([0.5, 2], scale=True).column == "machine.ram_scale"
    assert "without a unit" in fault(["1G"], scale=True)
    assert "above 0" in fault([0, 1], scale=True)
    assert "above 0" in fault({"normal": [1, 1]}, scale=True)
