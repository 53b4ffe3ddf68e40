"""The model beside recorded outcomes of a real 6.12 (tests/data/real-kernel/README.md)."""

import csv
import json
from bisect import bisect_right
from statistics import fmean, median
from typing import Any

import pytest

from oomkit.model import play
from oomkit.scenario import read_scenario, scenario_from
from tests.model.real_kernel import DATA, as_scenario, recorded

UNDECIDED = {
    # The recorded runs part here themselves: idle and grower differ by 0.4 % at the kill.
    "s14_swapped_idle": ({"idle", "grower"},),
    # Equals, whose resident pages differ by a few: reported as ties by the model.
    "s16_tie4": ({"t1", "t2", "t3", "t4"},),
    # The order of the signals inside a group killed as one.
    "s23_oom_group": ({"g50", "g20"},),
}


def canonical(name: str, order: list[str]) -> list[str]:
    """Names that the recordings themselves swap become one."""
    for group in UNDECIDED.get(name, ()):
        order = ["|".join(sorted(group)) if task in group else task for task in order]
    return order


@pytest.mark.parametrize("recording", recorded(), ids=lambda r: str(r["id"]))
def test_same_victims_in_the_same_order(recording: dict[str, Any]) -> None:
    record = play(as_scenario(recording), audit=True)
    runs = recording["results"]["6.12"]["runs"]
    ours = canonical(recording["id"], [kill.task for kill in record.kills])
    for real in runs:
        theirs = canonical(recording["id"], [kill["name"] for kill in real["kills"]])
        # A recording stops after the kills it waited for.
        assert ours[: len(theirs)] == theirs
    first = median(real["kills"][0]["t_s"] for real in runs)
    assert first / 1.3 < record.kills[0].t_s < first * 1.3


def test_exact_equals_are_reported_as_a_tie() -> None:
    recording = next(r for r in recorded() if r["id"] == "s16_tie4")
    record = play(as_scenario(recording))
    tie = next(step for step in record.kills[0].trace if step.startswith("tie:"))
    assert all(name in tie for name in ("t1", "t2", "t3", "t4"))


def test_five_hogs_curve_of_available_memory() -> None:
    hogs = [
        {
            "name": f"g{rate}",
            "uid": 0,
            # Two of them were recorded to stop at these sizes.
            "steps": [
                {"touch": f"{ {8: 180, 4: 140}.get(rate, 400) }M", "rate": f"{rate}M/s"},
                {"hold": "forever"},
            ],
        }
        for rate in (20, 16, 12, 8, 4)
    ]
    scenario = scenario_from(
        {"name": "five hogs", "duration": "40s", "machine": {"ram": "512M"}, "task": hogs}
    )
    record = play(scenario, sample_s=0.1)
    ours = dict(zip(record.samples.t_s, record.samples.available_mb, strict=True))
    errors, total_mb = [], 0.0
    with open(DATA / "five-hogs-noswap-6.12.csv", encoding="ascii") as file:
        for row in csv.DictReader(file):
            total_mb = int(row["mem_total_kb"]) / 1024
            at = round(float(row["t_s"]), 1)
            if at in ours:
                errors.append(abs(ours[at] - int(row["mem_available_kb"]) / 1024))
    assert len(errors) > 200
    assert median(errors) / total_mb < 0.08
    assert [kill.task for kill in record.kills] == ["g20", "g16", "g12"]


PRESSURE: dict[str, Any] = json.loads((DATA / "pressure" / "psi.json").read_text())


FURTHER_OFF = {"54-freeze": 8.0}
"""docs/agreement.md, Pressure: reads queue behind swap, and the model's last kill comes early."""


@pytest.mark.parametrize("name", PRESSURE)
def test_pressure_is_what_a_real_kernel_counted(name: str) -> None:
    """Of some and of full alike, avg10 over the whole run, six points in a hundred off at most.

    But for what is known to be further off.
    """
    found = dict(PRESSURE[name])
    rows = found.pop("t_s_some_full")
    values = [f"machine.{key}={value}" for key, value in found.items()]
    scenario = read_scenario(str(DATA / "pressure" / f"{name}.toml"), overrides=values)
    samples = play(scenario, sample_s=0.1).samples
    gaps = []
    for t_s, *real in rows:
        at = bisect_right(samples.t_s, t_s) - 1
        if t_s <= samples.t_s[-1]:
            modelled = samples.psi_some_avg10[at], samples.psi_full_avg10[at]
            gaps.append([abs(one - other) for one, other in zip(real, modelled, strict=True)])
    assert len(gaps) > 0.8 * len(rows)
    assert max(fmean(column) for column in zip(*gaps, strict=True)) < FURTHER_OFF.get(name, 6.0)
