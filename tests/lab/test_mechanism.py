"""Flow charts: a decision's steps lie on them, whatever version decides."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.snapshot_json import decode_snapshot
from oomkit.kernel.state import Allocation
from oomkit.kernel.versions import history
from oomkit.lab import flow_rows
from oomkit.lab.mechanism import mechanism, versions, victims

ROOT = Path(__file__).parents[2]
CROWD = (ROOT / "docs/examples/crowd.json").read_text()
RULES = [row.rules for row in history()]
KNOBS = [
    f"vm.{name}={value}"
    for name, value in [("panic_on_oom", 1), ("panic_on_oom", 2), ("oom_kill_allocating_task", 1)]
]
_ROWS = (
    flow_rows.slowpath, flow_rows.may_oom, flow_rows.out_of_memory, flow_rows.scan,
    flow_rows.score, flow_rows.kill,
)  # fmt: skip


@pytest.mark.parametrize("setting", [[], *([knob] for knob in KNOBS)], ids=str)
def test_every_step_lies_on_a_chart_and_the_last_on_a_row(setting: list[str]) -> None:
    for rules in RULES:
        found = mechanism(CROWD, rules.name, setting, asker=520)
        for step in found["steps"]:
            rows: list[Any] = found["charts"][step["chart"]]["rows"]
            function = step["text"].partition(":")[0]
            on_its_own = found["charts"][step["chart"]]["function"] == function
            assert step["row"] is not None or (on_its_own and not rows), (rules.name, step)
        last = found["steps"][-1]
        row = found["charts"][last["chart"]]["rows"][last["row"]]
        if found["action"] == "panic":
            assert row.leads == ("panic", "内核 panic"), (rules.name, last)
        else:
            assert row.text == ("SIGKILL", "SIGKILL"), (rules.name, last)


def test_what_a_row_looks_for_is_what_the_kernels_functions_say() -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "src/oomkit/kernel").glob("*.py")))
    missing = {
        row.said
        for rules, rows in itertools.product(RULES, _ROWS)
        for row in rows(rules)
        if row.said and row.said not in source
    }
    # Put together of a name and a text.
    assert missing <= {"overcommit_memory is 2", "on to __out_of_memory", "asks and is dying"}


def test_every_text_is_there_in_both_languages() -> None:
    for rules, rows in itertools.product(RULES, _ROWS):
        for row in rows(rules):
            assert all(row.text), rules.name
            assert row.leads is None or all(row.leads), rules.name


def test_each_version_has_its_victim() -> None:
    snapshot = decode_snapshot(CROWD)
    found = victims(CROWD)
    assert len(found) == len(versions()) == len(RULES)
    for rules, one in zip(RULES, found, strict=True):
        decision = decide(snapshot, Allocation(), rules)
        pid = decision.victims[0].pid
        assert one["victim"].endswith(f"[{pid}]"), rules.name
    assert {one["victim"] for one in found} == {
        "cc1plus[1010]", "postgres[530]", "gzip[906]", "backup[905]"
    }  # fmt: skip


@pytest.mark.parametrize("kernel", ["2.6.36", "3.5", "4.16", "4.17", "7.3"])
def test_terms_add_up_to_the_badness(kernel: str) -> None:
    terms = mechanism(CROWD, kernel, ["task.520.oom_score_adj=300"])["terms"]
    values = {term["name"]: term["value"] for term in terms}
    before = values.get("before oom_score_adj")
    if before is None:
        before = values["rss"] + values["swap"] + values.get("page tables", 0)
    (adjusted,) = (value for name, value in values.items() if name.startswith("oom_score_adj "))
    assert before + adjusted == values["badness"]
