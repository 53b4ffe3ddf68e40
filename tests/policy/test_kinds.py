"""The table of conditions: a row is all that a kind needs."""

from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.records import why_now
from oomkit.history import records as history
from oomkit.policy.describe import missing_words, rule_words
from oomkit.policy.engine.conditions import (
    CALM,
    CGROUP,
    EITHER,
    HARD,
    KINDS,
    MACHINE,
    RAM,
    SOFT,
    Evidence,
    Kind,
)
from oomkit.policy.engine.evidence import evidence_line
from oomkit.policy.engine.plan import Plan
from oomkit.policy.engine.reading import CgroupReading, Pace, Reading
from oomkit.policy.engine.trigger import Watch
from oomkit.policy.read import PolicyError
from oomkit.views.history import evidence_lines
from tests.policy.making import GB, plan, policy, reading

DOCS = Path(__file__).parents[2] / "docs/policy.md"

VALUES = {"kb": "10%", "share": "10%", "kb/s": "10M/s", "s": "10s"}
"""A threshold of each unit."""


def rule(kind: Kind, level: str = "hard", **more: Any) -> dict[str, Any]:
    """A rule of one condition; where that may not kill by itself, beside another that holds."""
    made: dict[str, Any] = {"level": level, kind.name: VALUES[kind.unit], **more}
    if kind.is_pressure and level != "warn":
        made["available"] = "50%"
    if kind.scope == CGROUP:
        made.setdefault("cgroup", "/a")
    return made


def machine(t_s: float = 0.0, **fields: Any) -> Reading:
    """A machine on which everything can be measured, and nothing is bad."""
    group = CgroupReading("/a", 0.1 * GB, GB, 0.0, 0.0, 0.0, 0.0, working_set_kb=0.1 * GB)
    usual: dict[str, Any] = {
        "swap_total_kb": GB, "swap_free_kb": GB, "psi_some_us": 0.0, "psi_full_us": 0.0,
        "refault_pages": 0.0, "swap_in_pages": 0.0, "pgscan_pages": 0.0, "cgroups": (group,),
        "working_set_kb": 0.1 * GB,
    }  # fmt: skip
    return reading(t_s, 0.9, **{**usual, **fields})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_is_read_explained_measured_and_documented(kind: Kind) -> None:
    made = policy(rule(kind))
    assert kind.name in {condition.kind for condition in made.when[0].conditions}
    assert kind.text in rule_words(made.when[0], made)
    assert f"`{kind.name}`" in DOCS.read_text()
    watch = Watch(plan(rule(kind)))
    assert watch.see(machine()).level == CALM
    evidence = {one.kind.name: one for one in watch.see(machine(3.0)).evidence}[kind.name]
    assert evidence.measured is not None
    assert evidence.cgroup == ("/a" if kind.scope == CGROUP else None)
    assert bool(evidence.over_s) == (kind.unit != "kb")
    assert evidence_line(evidence).startswith(kind.name)
    assert watch.missing(machine()) == ()
    assert watch.earliest_s(machine(3.0), Pace()) >= 0.0


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_row_is_complete(kind: Kind) -> None:
    assert KINDS[kind.name] is kind
    assert kind.text
    assert kind.unit in VALUES
    assert kind.scope in (MACHINE, EITHER, CGROUP)
    assert (kind.whole is not None) == (kind.nears is not None) == (kind.unit == "kb")


def recorded(name: str, measured: float, unit: str, *, holds: bool) -> history.Evidence:
    return history.Evidence(name=name, measured=measured, threshold=2.0, unit=unit, holds=holds)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_worse_is_the_same_to_rules_lines_and_the_history(kind: Kind) -> None:
    worse, better = (1.0, 3.0) if kind.lower_is_worse else (3.0, 1.0)
    for measured, holds in ((worse, True), (2.0, True), (better, False)):
        assert kind.holds(measured, 2.0) is holds
        line = evidence_line(Evidence(kind, measured, 2.0, holds=holds))
        assert ("<" in line) == (kind.lower_is_worse == holds)
        (told,) = evidence_lines([recorded(kind.name, measured, kind.unit, holds=holds)])
        assert ("at most" if kind.lower_is_worse else "at least") in told


def test_a_new_kind_of_amount_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Kind(
        "anon", "anonymous memory", "kb", lambda reading, _: reading.anon_kb,
        whole=RAM, nears=lambda pace: pace.available_kb_s,
    )  # fmt: skip
    monkeypatch.setitem(KINDS, "anon", row)
    when = {"level": "soft", "anon": "75%", "for": "2s"}
    made = policy(when)
    assert rule_words(made.when[0], made).endswith(
        "when anonymous memory is at or above 75 % of RAM, for 2 s"
    )
    watch = Watch(Plan.from_values(plan(when).to_values()))
    assert watch.see(machine(0.0, anon_kb=0.7 * GB)).level == CALM
    pace = Pace()
    pace.available_kb_s = 0.01 * GB
    assert watch.earliest_s(machine(0.0, anon_kb=0.7 * GB), pace) == pytest.approx(5.0)
    watch.see(machine(1.0, anon_kb=0.8 * GB))
    state = watch.see(machine(3.0, anon_kb=0.8 * GB))
    assert state.level == SOFT
    assert evidence_line(state.evidence[0]) == "anon 819 MiB >= 768 MiB, for 2.0 s"
    assert why_now(state)["evidence"] == [
        {
            "name": "anon", "measured": 838861, "threshold": 786432, "unit": "kb", "holds": True,
            "held_s": 2, "over_s": 0.0, "cgroup": None,
        }
    ]  # fmt: skip


def test_a_new_kind_of_rate_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Kind(
        "scan", "pages scanned", "kb/s",
        lambda reading, group: (group or reading).pgscan_pages, scope=EITHER,
    )  # fmt: skip
    monkeypatch.setitem(KINDS, "scan", row)
    when = {"level": "hard", "scan": "1M/s", "cgroup": "/a", "over": "1s"}

    def seen(t_s: float, pages: float) -> Reading:
        return machine(t_s, cgroups=(CgroupReading("/a", 0.0, pgscan_pages=pages),))

    watch = Watch(plan(when))
    watch.see(seen(0.0, 0.0))
    assert watch.see(seen(1.0, 1000.0)).level == CALM
    state = watch.see(seen(2.0, 3000.0))
    assert (state.level, state.cgroup) == (HARD, "/a")
    assert evidence_line(state.evidence[0]) == "scan of /a 1.95 MiB/s over 1 s >= 1.00 MiB/s"
    lines = missing_words(policy(when), machine(pgscan_pages=None))
    assert lines[0] == "scan (pages scanned) can't be measured on this machine"
    with pytest.raises(PolicyError, match=r"expected at least one condition: .*scan"):
        policy({"level": "hard"})


def test_a_later_guards_kind_is_read_in_its_records() -> None:
    lower = recorded("news", 1.0, "share", holds=True)
    higher = recorded("news", 1.0, "share", holds=False)
    assert list(evidence_lines([lower, higher])) == [
        "news 100 % (at most 200 %)",
        "news 100 % (at least 200 %): does not hold",
    ]
