"""Sweep files: what is wrong with one is told at once, each with its place."""

from pathlib import Path
from typing import Any

import pytest

from oomkit.sweep.read import read_sweep
from oomkit.sweep.spec import Want
from oomkit.toml.table import TomlError
from tests.sweep.sweeps import ROOT, sweep


def faults(**keys: Any) -> dict[str, str]:
    with pytest.raises(TomlError) as caught:
        sweep(**keys)
    return {fault.path: fault.expected for fault in caught.value.faults}


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.toml")), ids=lambda p: p.stem)
def test_the_sweeps_that_come_with_it_are_fine(path: Path) -> None:
    assert read_sweep(str(path)).name


def test_all_faults_are_reported_at_once() -> None:
    found = faults(
        runs=0, colour=3, vary={"vm.swappiness": []}, want={"best": "vm.x"}, weights={"kills": -1}
    )
    assert found.keys() == {"runs", "colour", "vary.vm.swappiness", "want.best", "weights.kills"}


def test_a_scenario_that_is_wrong_is_reported_with_its_own_faults(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('name = "x"\n[machine]\nram = "much"\n')
    (tmp_path / "s.toml").write_text('name = "s"\nscenarios = ["bad.toml", "gone.toml"]\n')
    with pytest.raises(TomlError) as caught:
        read_sweep(str(tmp_path / "s.toml"))
    text = "\n".join(caught.value.lines())
    assert "scenarios[0]" in text
    assert "machine.ram" in text
    assert "gone.toml: No such file" in text


@pytest.mark.parametrize(
    ("keys", "path", "expected"),
    [
        ({"scenarios": []}, "scenarios", "a list of texts"),
        ({"vary": {"task.nobody.nice": [1]}}, "vary.task.nobody.nice", "the name of a task"),
        ({"vary": {"vm.swappiness": [500]}}, "vary.vm.swappiness", "from 0 to 200"),
        ({"vary": {"machine.ram": {"uniform": ["1M", "1G"]}}, "runs": 2}, "vary.machine.ram",
         "with 1.00 MiB"),
        ({"vary": {"machine.ram": {"uniform": ["1G", "2G"]}}}, "vary.machine.ram", "a grid"),
        ({"vary": {"vm.swappiness": [1, 2]}, "want": {"least": "vm.swappiness"}}, "want.without",
         "is missing"),
        ({"want": {"best": "policy"}}, "want.best", "of what varies: nothing"),
        ({"want": {}}, "want", "exactly one of"),
        ({"runs": 2, "repeat": 2}, "repeat", "not both"),
        ({"policies": ["nobody"]}, "policies[0]: ", "No such file"),
        ({"vary": {"policy.whom.growth": [0.1]}}, "vary.policy.whom.growth", "expected policies"),
        ({"policies": ["default"], "vary": {"policy.whom.growth": [7.5]}},
         "vary.policy.whom.growth", "with 7.5 in default"),
        ({"scale": {"machine.swap": [2]}}, "scale.machine.swap", "a value to multiply"),
        ({"fleet": {"files": ["x.csv"]}, "runs": 1}, "fleet", "not both"),
        ({"vary": {f"task.*.{key}": {"from": 0, "to": 9000, "step": 1}
                   for key in ("start", "every", "jitter")},
          "want": {"best": ["task.*.start", "task.*.every", "task.*.jitter"]}}, "",
         "at most 100,000,000 runs in all, not 729,243,027,001"),
        ({"vary": 3}, "vary", "expected a table"),
    ],
)  # fmt: skip
def test_a_fault_is_reported_where_it_is(keys: dict[str, Any], path: str, expected: str) -> None:
    found = faults(**keys)
    places = [place for place in found if place.startswith(path)]
    assert len(found) == 1
    assert places
    assert expected in found[places[0]]


def test_what_is_wanted_follows_from_what_varies() -> None:
    assert sweep(policies=["kernel", "default"]).want == Want(kind="best", keys=("policy",))
    assert sweep(vary={"vm.swappiness": [1, 2]}).want.kind == "sensitivity"
    everything = sweep(vary={"vm.swappiness": [1], "machine.cpus": [2]}, want={"sensitivity": True})
    assert everything.want.keys == ("machine.cpus", "vm.swappiness")
