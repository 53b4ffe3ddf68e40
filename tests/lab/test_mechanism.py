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
from oomkit.lab.changes_zh import IN_CHINESE
from oomkit.lab.mechanism import MechanismError, mechanism, versions, victims

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


NODE = (ROOT / "docs/examples/node.json").read_text()
MEMCG = "/kubepods.slice"


@pytest.mark.parametrize("setting", [[], *([knob] for knob in KNOBS)], ids=str)
def test_a_memory_cgroup_goes_its_own_way(setting: list[str]) -> None:
    seen = 0
    for rules in RULES:
        if rules.log_table == "none":
            with pytest.raises(MechanismError, match=r"2\.6\.25"):
                mechanism(NODE, rules.name, memcg=MEMCG)
            continue
        seen += 1
        found = mechanism(NODE, rules.name, setting, memcg=MEMCG)
        assert [chart["function"] for chart in found["charts"]][: len(rules.memcg_chain)] == list(
            rules.memcg_chain
        )
        for step in found["steps"]:
            assert step["row"] is not None, (rules.name, step)
        last = found["steps"][-1]
        row = found["charts"][last["chart"]]["rows"][last["row"]]
        panics = setting == ["vm.panic_on_oom=2"] and rules.panic_memcg
        assert (found["action"] == "panic") == panics, rules.name
        assert row.text == ("SIGKILL", "SIGKILL") or panics, (rules.name, last)
    assert seen > 80
    found_by = victims(NODE, memcg=MEMCG)
    assert found_by[0] == {"action": "absent", "victim": None}
    assert found_by[-1]["action"] == "kill"


def test_a_question_that_is_answered_by_no_is_marked_so() -> None:
    found = mechanism(NODE, "6.12", ["vm.panic_on_oom=1"], memcg=MEMCG)
    (passed,) = (step for step in found["steps"] if step["passed"])
    assert "no panic" in passed["text"]
    assert found["charts"][passed["chart"]]["rows"][passed["row"]].leads == ("panic", "内核 panic")


def test_each_value_of_a_knob_is_tried() -> None:
    found = mechanism(CROWD, "7.3", asker=520)
    knobs = {one["knob"]: one for one in found["knobs"]}
    assert [one["action"] for one in knobs["panic_on_oom"]["outcomes"]] == [
        "kill",
        "panic",
        "panic",
    ]
    spared, asked = knobs["oom_kill_allocating_task"]["outcomes"]
    assert (spared["victim"], asked["victim"]) == (found["victim"], "postgres[520]")
    assert not {k["knob"]: k for k in mechanism(CROWD, "2.6.11")["knobs"]}["panic_on_oom"]["exists"]
    adjusted = found["adjusted"]
    assert f"[{adjusted['pid']}]" in found["victim"]
    by_value = {one["value"]: one["victim"] for one in adjusted["outcomes"]}
    assert by_value[0] == found["victim"] != by_value[-1000]
    assert mechanism(CROWD, "2.6.11")["adjusted"] is None


def test_every_change_has_its_chinese() -> None:
    told = {text for row in versions() for one in row["changes"] for text in one["what"][:1]}
    told |= {one["meaning"][0] for row in versions() for one in row["changes"] if one["meaning"]}
    assert told == set(IN_CHINESE)
    assert all(IN_CHINESE.values())


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
