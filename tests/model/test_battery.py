"""The battery on the model beside what real kernels did (tests/data/agreement/README.md).

The machine is the model's own idea of it here, not as it was found: the shape of who dies has to
be right without being told.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from oomkit.agree.compare import compare_order, first_kill_s
from oomkit.model import play
from oomkit.scenario import read_scenario
from tests.views.runs import kill

ROOT = Path(__file__).parents[2]
RECORDED = [
    one
    for file in sorted((ROOT / "tests/data/agreement").glob("*.json"))
    for one in json.loads(file.read_text())
]


_LESS = "docs/agreement.md: 7.3 has less memory from the start than the model's own machine"
OPEN = {
    "parent-and-children-6.1.0": "docs/agreement.md: many small tasks, and slab that 6.1 keeps",
    "parent-and-children-7.3.4+deb13": _LESS,
    "uid-7.3.4+deb13": _LESS,
    "twenty-depmod-7.3.4+deb13": _LESS,
    "locked-5.10.0": "docs/agreement.md: the reaper leaves locked memory alone",
    "shared-memory-5.10.0": "docs/agreement.md: the second victim is chance",
}
"""Where the model is known to be wrong, and why."""


def name_of(one: dict[str, Any]) -> str:
    return f"{Path(one['file']).stem}-{one['kernel'].split('-')[0]}"


def test_there_is_something_recorded() -> None:
    assert len(RECORDED) > 60
    named = {Path(one["file"]).name for one in RECORDED}
    assert named == {path.name for path in (ROOT / "scenarios/battery").glob("*.toml")}


def cases() -> list[Any]:
    return [
        pytest.param(
            one,
            id=name_of(one),
            marks=[pytest.mark.xfail(reason=OPEN[name_of(one)], strict=True)]
            if name_of(one) in OPEN
            else [],
        )
        for one in RECORDED
    ]


@pytest.mark.parametrize("one", cases())
def test_the_model_ends_as_the_real_kernel_did(one: dict[str, Any]) -> None:
    scenario = read_scenario(
        str(ROOT / one["file"]), overrides=(f"machine.kernel={one['kernel']}",)
    )
    run = play(scenario, audit=True)
    assert run.outcome == one["outcome"]
    assert [f"{d.task}: {d.call}" for d in run.denied] == one["denied"]
    real = tuple(
        kill(task=key.split("/")[0], instance=int(key.split("/")[1])) for key in one["victims"]
    )
    assert compare_order(real, run.kills) != "differs"
    first = first_kill_s(run)
    if one["first_kill_s"] is None:
        assert first is None
    else:
        assert first is not None
        assert 1 / 1.3 < one["first_kill_s"] / first < 1.3
