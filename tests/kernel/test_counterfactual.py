"""Counterfactuals: brute force over every value agrees with the arithmetic."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oomkit.kernel.alloc import decide
from oomkit.kernel.badness import badness
from oomkit.kernel.constraint import control_for
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task
from oomkit.kernel.threshold import losing_adj, with_adj
from oomkit.kernel.versions import rules_for
from oomkit.kernel.why import why
from oomkit.records import replace
from tests.kernel.strategies import (
    ALL_RULES,
    MAINLINE,
    RULES,
    allocations,
    mem,
    snap,
    snapshots,
    user,
    versions,
)


def found(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation | None = None
) -> dict[str, Counterfactual]:
    """The counterfactuals by knob; the chosen task's own adjustment comes first."""
    allocation = allocation or Allocation()
    decision = decide(snapshot, allocation, rules)
    changes: dict[str, Counterfactual] = {}
    for change in counterfactuals(snapshot, allocation, rules, decision):
        changes.setdefault(change.knob, change)
    return changes


def outcome(decision: Decision) -> tuple[str, list[int]]:
    return decision.action, [victim.pid for victim in decision.victims]


def changed(snapshot: Snapshot, pid: int, change: Callable[[Task], Task]) -> Snapshot:
    tasks = tuple(change(task) if task.pid == pid else task for task in snapshot.tasks)
    return replace(snapshot, tasks=tasks)


def adj_of(task: Task, rules: RuleSet) -> int:
    if rules.badness == "classic":
        return task.oom_adj if task.oom_adj is not None else 0
    return task.oom_score_adj


def normal(snapshot: Snapshot) -> Snapshot:
    """The same with every oom_adj known, so that the brute force needs no conversion."""
    tasks = tuple(replace(t, oom_adj=t.oom_adj or 0) for t in snapshot.tasks)
    return replace(snapshot, tasks=tasks)


def highest_that_alters(snapshot: Snapshot, rules: RuleSet, pid: int) -> int | None:
    """Try every lower adjustment of a task, one by one."""
    now = outcome(decide(snapshot, Allocation(), rules))
    task = next(task for task in snapshot.tasks if task.pid == pid)
    lowest = -17 if rules.badness == "classic" else -1000
    for value in range(adj_of(task, rules) - 1, lowest - 1, -1):
        other = changed(snapshot, pid, lambda t, v=value: with_adj(t, v, rules))  # type: ignore[misc]  # a default binds the loop's value
        if outcome(decide(other, Allocation(), rules)) != now:
            return value
    return None


def test_a_worked_example() -> None:
    """R4: 90,000 against 50,000 pages, a step of 2621 pages: from -16 on the other dies."""
    changes = found(snap(user(10, 90000), user(11, 50000)), rules_for("6.18"))
    change = changes["oom_score_adj"]
    assert (change.pid, change.now, change.needed, change.then) == (10, 0, -16, 11)
    grow = changes["rss_pages"]
    # Of equals the last is chosen, so 40,000 pages more are enough.
    assert (grow.pid, grow.now, grow.needed, grow.then) == (11, 50000, 90000, 11)
    assert changes["panic_on_oom"].needed == 1


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.name)
def test_tie_break_costs_one_more_step(rules: RuleSet) -> None:
    """R10: the one whom the tie favours must come down below, the other only to the same."""
    snapshot = snap(user(10, 50000, oom_adj=0), user(11, 50000, oom_adj=0))
    decision = decide(snapshot, Allocation(), rules)
    assert decision.chosen_pid is not None
    change = found(snapshot, rules)["oom_adj" if rules.badness == "classic" else "oom_score_adj"]
    assert change.needed == -1
    assert change.then == ({10, 11} - {decision.chosen_pid}).pop()


@settings(max_examples=25, deadline=None)
@given(snapshot=snapshots(plain=True, most=5), rules=RULES)
def test_adjustment_by_brute_force(snapshot: Snapshot, rules: RuleSet) -> None:
    """R3: the needed oom_adj or oom_score_adj is the highest that alters the decision."""
    snapshot = normal(snapshot)
    decision = decide(snapshot, Allocation(), rules)
    assume(decision.chosen_pid is not None and decision.action == "kill")
    assert decision.chosen_pid is not None
    by_force = highest_that_alters(snapshot, rules, decision.chosen_pid)
    knob = "oom_adj" if rules.badness == "classic" else "oom_score_adj"
    every = counterfactuals(snapshot, Allocation(), rules, decision)
    mine = [c for c in every if c.knob == knob and c.pid == decision.chosen_pid]
    assert [c.needed for c in mine] == ([] if by_force is None else [by_force])


def family(snapshot: Snapshot) -> Snapshot:
    """The same, with the first task the largest and parent of all the others."""
    first, *others = (task for task in snapshot.tasks if not task.global_init)
    parent = replace(first, rss_pages=3 * 10**6, total_vm_pages=10**9, oom_score_adj=300, oom_adj=0)
    children = [replace(task, ppid=parent.pid) for task in others]
    return replace(snapshot, tasks=(parent, *children))


@settings(max_examples=25, deadline=None)
@given(
    snapshot=snapshots(plain=True, most=5),
    rules=st.sampled_from([rules for rules in ALL_RULES if rules.children != "none"]),
)
def test_childs_adjustment_by_brute_force(snapshot: Snapshot, rules: RuleSet) -> None:
    """R11: for a sacrificed child likewise."""
    snapshot = family(normal(snapshot))
    decision = decide(snapshot, Allocation(), rules)
    assume(bool(decision.victims) and decision.victims[0].reason == "child")
    pid = decision.victims[0].pid
    by_force = highest_that_alters(snapshot, rules, pid)
    knob = "oom_adj" if rules.badness == "classic" else "oom_score_adj"
    every = counterfactuals(snapshot, Allocation(), rules, decision)
    mine = [c for c in every if c.knob == knob and c.pid == pid]
    assert [c.needed for c in mine] == ([] if by_force is None else [by_force])


@settings(max_examples=100, deadline=None)
@given(snapshot=snapshots(plain=True), rules=RULES, allocation=st.just(Allocation()))
def test_pages_of_another_task_are_the_fewest(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation
) -> None:
    """R4: at the needed size that task is chosen, with one page less it is not.

    A smaller growth may alter whom the chosen one sacrifices; that is another question.
    """
    decision = decide(snapshot, allocation, rules)
    every = counterfactuals(snapshot, allocation, rules, decision)
    grows = [change for change in every if change.kind == "memory"]
    for change in grows:
        assert change.pid is not None
        assert change.needed > change.now

        def at(pages: int, change: Counterfactual = change) -> Decision:
            assert change.pid is not None
            bigger = changed(
                snapshot,
                change.pid,
                lambda task: replace(task, **{change.knob: pages}),
            )
            return decide(bigger, allocation, rules)

        assert outcome(at(change.needed)) != outcome(decision)
        assert at(change.needed).chosen_pid == change.pid
        if change.needed - 1 > change.now:
            assert at(change.needed - 1).chosen_pid != change.pid


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(), rules=RULES, allocation=allocations())
def test_every_change_named_alters_the_decision(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation
) -> None:
    """R8-R12: whatever the world, the change that is named makes the decision another."""
    decision = decide(snapshot, allocation, rules)
    for change in counterfactuals(snapshot, allocation, rules, decision):
        assert change.text
        assert change.now != change.needed
        world = _applied(snapshot, rules, change)
        if world is None:
            continue
        other = decide(world, allocation, rules)
        assert outcome(other) != outcome(decision)
        assert change.then == (other.victims[0].pid if other.victims else None)


def _applied(snapshot: Snapshot, rules: RuleSet, change: Counterfactual) -> Snapshot | None:
    if change.kind == "sysctl":
        if change.knob == "overcommit_memory":
            return None  # refuses beforehand: nothing to decide then
        sysctl = replace(snapshot.sysctl, **{change.knob: change.needed})
        return replace(snapshot, sysctl=sysctl)
    if change.kind == "oom_group":
        path = change.knob.removesuffix("/memory.oom.group")
        memcgs = tuple(
            replace(m, oom_group=bool(change.needed)) if m.path == path else m
            for m in snapshot.memcgs
        )
        return replace(snapshot, memcgs=memcgs)
    assert change.pid is not None
    if change.kind == "memory":
        grown = {change.knob: change.needed}
        return changed(snapshot, change.pid, lambda t: replace(t, **grown))
    return changed(snapshot, change.pid, lambda t: with_adj(t, change.needed, rules))


@pytest.mark.parametrize("version", versions("2.6.18", "6.18"))
def test_knobs_of_a_plain_kill(version: str) -> None:
    """R8, R10: panic_on_oom and oom_kill_allocating_task are named where they matter."""
    snapshot = snap(user(10, 90000), user(11, 500))
    changes = found(snapshot, rules_for(version), Allocation(pid=11))
    assert changes["panic_on_oom"].needed == 1
    assert changes["panic_on_oom"].then is None
    assert ("oom_kill_allocating_task" in changes) == (version in versions("2.6.24", "6.18"))
    by_worst = found(snapshot, rules_for(version), Allocation(pid=10))
    assert "oom_kill_allocating_task" not in by_worst


@pytest.mark.parametrize("version", MAINLINE)
def test_knobs_that_hold_a_kill_back(version: str) -> None:
    """R7, R12: what was switched on and kept the worst alive is named."""
    tasks = (user(10, 90000), user(11, 500))
    for knob in ("oom_killer_disabled", "would_have_oomkilled"):
        change = found(snap(*tasks, sysctl={knob: 1}), rules_for(version))[knob]
        assert (change.now, change.needed, change.then) == (1, 0, 10)


@pytest.mark.parametrize("version", versions("2.6.12", "6.18"))
def test_none_killable_names_the_largest_protected(version: str) -> None:
    """R3, R10: one step away from protection the largest would have died, not the machine."""
    safe: dict[str, Any] = {"oom_adj": -17, "oom_score_adj": -1000}
    changes = found(snap(user(10, 500, **safe), user(11, 90000, **safe)), rules_for(version))
    classic = version in versions("2.6.12", "2.6.35")
    change = changes["oom_adj" if classic else "oom_score_adj"]
    assert (change.pid, change.needed, change.then) == (11, -16 if classic else -999, 11)


def test_strict_overcommit_would_have_refused() -> None:
    """R2: where more is promised than mode 2 allows, that is named, in pages."""
    memory = mem(committed_pages=2 * 10**6)
    change = found(snap(user(10, 90000), memory=memory), rules_for("6.18"))["overcommit_memory"]
    assert (change.now, change.needed) == (0, 2)
    assert str(2 * 10**6 - (2097152 // 2 + 524288)) in change.text
    fits = snap(user(10, 90000), memory=mem(committed_pages=10**6))
    assert "overcommit_memory" not in found(fits, rules_for("6.18"))


def test_oom_group_both_ways() -> None:
    """R11: the flag that would take the group along, or leave it."""
    tasks = (user(10, 900, cgroup="/a"), user(11, 50, cgroup="/a"))
    for flag in (False, True):
        snapshot = snap(*tasks, memcgs=(Memcg(path="/a", limit_pages=900, oom_group=flag),))
        change = found(snapshot, rules_for("6.18"), Allocation(memcg="/a"))["/a/memory.oom.group"]
        assert (change.now, change.needed, change.then) == (int(flag), int(not flag), 10)


def test_what_is_said_of_one_that_is_named_but_lives(machine: Snapshot) -> None:
    """``would_have_oomkilled`` of RHEL 6 logs the victim, and kills none."""
    snapshot = replace(machine, sysctl=replace(machine.sysctl, would_have_oomkilled=1))
    rules = rules_for("2.6.32-754.el6.x86_64")
    asked = Allocation()
    decision = decide(snapshot, asked, rules)
    assert decision.action == "would_kill"
    (victim,) = decision.victims
    found = why(snapshot, asked, rules, decision, victim.pid)
    assert not found.dies
    assert found.verdict.endswith(f"would be named but lives ({victim.reason.replace('_', ' ')})")
    killing = decide(machine, asked, rules)
    killed = why(machine, asked, rules, killing, killing.victims[0].pid)
    assert killed.dies
    assert " dies (" in killed.verdict


@pytest.mark.parametrize(("kernel", "enough"), [("3.10", False), ("5.4", False), ("5.10", True)])
def test_below_one_point_only_protection_helps_where_badness_is_unsigned(
    machine: Snapshot, kernel: str, enough: bool
) -> None:
    """Up to 5.8 a task that can be chosen has one point at least (``points > 0 ? points : 1``)."""
    oc = control_for(machine, Allocation(), rules_for(kernel))
    task = next(task for task in machine.tasks if task.comm == "leak")
    adj = losing_adj(task, oc, 0)
    assert (adj > -1000) is enough
    assert losing_adj(task, oc, None) == -1000
    if enough:
        assert badness(with_adj(task, adj, oc.rules), oc) <= 0
        assert badness(with_adj(task, adj + 1, oc.rules), oc) > 0
    assert losing_adj(task, oc, 1) > -1000


def texts(
    version: str, *tasks: Task, allocation: Allocation | None = None, **world: Any
) -> list[str]:
    snapshot, rules = snap(*tasks, **world), rules_for(version)
    allocation = allocation or Allocation()
    decision = decide(snapshot, allocation, rules)
    return [change.text for change in counterfactuals(snapshot, allocation, rules, decision)]


SAFE: dict[str, int] = {"oom_adj": -17, "oom_score_adj": -1000}
IN_A: dict[str, Any] = {
    "allocation": Allocation(memcg="/a"), "memcgs": (Memcg(path="/a", limit_pages=9000),)
}  # fmt: skip


@pytest.mark.parametrize(("version", "tasks", "world", "said"), [
    # 90,000 - 16 * 2621 = 48,064: the last step at which another is worse.
    ("6.18", (user(10, 90_000), user(11, 50_000)), {}, [
        "with oom_score_adj of t10[10] at or below -16 (now 0), t11[11] dies",
        "with 156 MiB (40000 pages) more in t11[11], t11[11] dies",
        ("with panic_on_oom = 1 (now 0), "
        "the machine panics (Out of memory: system-wide panic_on_oom is enabled)"),
    ]),
    ("6.18", (user(10, 90_000),), {}, [
        ("with oom_score_adj of t10[10] at -1000 (now 0), "
        "the machine panics (System is deadlocked on memory)"),
        ("with panic_on_oom = 1 (now 0), "
        "the machine panics (Out of memory: system-wide panic_on_oom is enabled)"),
    ]),
    ("2.6.32", (user(10, 90_000),), {}, [
        ("with oom_adj of t10[10] at -17 (now 0), "
        "the machine panics (Out of memory and no killable processes...)"),
        ("with panic_on_oom = 1 (now 0), "
        "the machine panics (out of memory. panic_on_oom is selected)"),
    ]),
    ("6.18", (user(10, 900, **SAFE), user(11, 800, **SAFE)), {}, [
        "with oom_score_adj of t10[10] at -999 (now -1000), t10[10] dies",
    ]),
    ("6.18", (user(10, 900, mm_id=1), user(11, 800, mm_id=1), user(12, 9)), {}, [
        "with oom_score_adj of t10[10] at or below -1 (now 0), t11[11] and 1 more die",
        "with 400 KiB (100 pages) more in t11[11], t11[11] and 1 more die",
    ]),
    ("6.18", (user(10, 900), user(11, 9)), {"sysctl": {"would_have_oomkilled": 1}}, [
        "with oom_score_adj of t10[10] at or below -1 (now 0), t11[11] would be named",
        "with 3.48 MiB (891 pages) more in t11[11], t11[11] would be named",
    ]),
    ("6.18", (user(10, 900), user(11, 9)), {"sysctl": {"oom_killer_disabled": 1}}, [
        "with oom_killer_disabled = 0 (now 1), t10[10] dies",
    ]),
    ("6.18", (user(10, 900, cgroup="/a"),), IN_A, [
        "with oom_score_adj of t10[10] at -1000 (now 0), no process is killed",
    ]),
    ("6.18", (user(10, 900, cgroup="/a"), user(11, 9, cgroup="/a"), user(12, 9, cgroup="/a")),
     IN_A, [
        "with memory.oom.group = 1 on /a (now 0), t10[10] and 2 more die",
    ]),
    ("6.18", (user(10, 900),), {"memory": mem(committed_pages=2**21)}, [
        ("with overcommit_memory = 2 (now 0), the last 2.00 GiB (524288 pages) promised would have "
        "been refused with ENOMEM instead"),
    ]),
])  # fmt: skip
def test_each_kind_of_change_is_said(
    version: str, tasks: tuple[Task, ...], world: dict[str, Any], said: list[str]
) -> None:
    """R2-R12: the change and what follows, one sentence each."""
    found = texts(version, *tasks, **world)
    assert [text for text in found if text in said] == said, found


@pytest.mark.parametrize(("committed", "mode", "said"), [
    (1048576 + 524288, 0, False), (1048576 + 524288 + 1, 0, True),
    (1048576 + 524288 + 1, 1, True), (1048576 + 524288 + 1, 2, False),
])  # fmt: skip
def test_strict_overcommit_helps_where_more_is_promised_than_the_limit(
    committed: int, mode: int, said: bool
) -> None:
    """R2: half of RAM and all swap; to the page, and not where it is set or a cgroup is full."""
    world: dict[str, Any] = {
        "memory": mem(committed_pages=committed), "sysctl": {"overcommit_memory": mode}
    }  # fmt: skip
    found = texts("6.18", user(10, 90_000, cgroup="/a"), **world)
    text = f"with overcommit_memory = 2 (now {mode}), the last 4.00 KiB (1 pages) promised would"
    assert any(one.startswith(text) for one in found) == said
    assert not any("overcommit" in one for one in texts(
        "6.18", user(10, 90_000, cgroup="/a"), **world, **IN_A
    ))  # fmt: skip


FAMILY = (user(10, 900_000), user(11, 500, ppid=10), user(12, 700, ppid=10), user(13, 700, ppid=10))


@pytest.mark.parametrize(("version", "child", "needed", "then"), [
    # Thousandths of 2,621,440 pages: a step is 2621 pages, so that one puts it below any sibling.
    ("4.0", 12, -1, 13),
    # OpenVZ: the classic badness shifts: 700 >> 1 is 350, below 500 and 700; the last of equals.
    ("2.6.32-openvz", 13, -1, 12),
    # The first child goes, whatever its badness; only protection helps.
    ("2.6.32", 11, -17, 12),
])  # fmt: skip
def test_a_sacrificed_child_is_spared_by_its_own_adjustment(
    version: str, child: int, needed: int, then: int
) -> None:
    """R11: and a sibling goes in its place, of equals the next in the version's order."""
    snapshot, rules = snap(*FAMILY), rules_for(version)
    decision = decide(snapshot, Allocation(), rules)
    assert decision.victims[0].pid == child
    (change,) = (
        one for one in counterfactuals(snapshot, Allocation(), rules, decision) if one.pid == child
    )
    assert (change.needed, change.then) == (needed, then)


def test_the_group_nearest_to_the_victim_is_named() -> None:
    """R11: of several above it that would alter the decision; none of version 1, nor the root."""
    tasks = (user(10, 900, cgroup="/a/b"), user(11, 50, cgroup="/a/b"), user(12, 50, cgroup="/a"))
    flat = tuple(Memcg(path=path) for path in ("/", "/a", "/a/b"))
    assert found(snap(*tasks, memcgs=flat), rules_for("6.18"))["/a/b/memory.oom.group"].now == 0
    old = (flat[0], flat[1], Memcg(path="/a/b", version=1))
    changes = found(snap(*tasks, memcgs=old), rules_for("6.18"))
    assert [knob for knob in changes if "oom.group" in knob] == ["/a/memory.oom.group"]
    assert not [knob for knob in found(snap(*tasks, memcgs=flat), rules_for("4.18")) if "/" in knob]
    alone = snap(user(10, 900, cgroup="/"), memcgs=flat)
    assert not [knob for knob in found(alone, rules_for("6.18")) if "/" in knob]
