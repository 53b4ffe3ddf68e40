"""The order of death, and what holds for every decision of every rule set."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oomkit.kernel.adj import is_disabled
from oomkit.kernel.alloc import alloc_pages, decide
from oomkit.kernel.badness import badness, unkillable
from oomkit.kernel.cint import LONG_MIN
from oomkit.kernel.constraint import control_for
from oomkit.kernel.out_of_memory import out_of_memory
from oomkit.kernel.rank import near_equals, rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.versions import rules_for
from oomkit.records import from_json, replace, to_json
from tests.kernel.strategies import RULES, allocations, mem, snap, snapshots, user


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(plain=True), rules=RULES, memcg=st.sampled_from([None, "/a", "/a/b"]))
def test_first_of_the_rank_is_chosen(snapshot: Snapshot, rules: RuleSet, memcg: str | None) -> None:
    """R10: rank and decision agree on who is worst, and on its badness."""
    allocation = Allocation(memcg=memcg)
    decision = out_of_memory(snapshot, allocation, rules)
    rows = rank(snapshot, allocation, rules)
    first = rows[0] if rows and rows[0].eligible else None
    if first is None:
        assert decision.points is None
    else:
        assert decision.chosen_pid == first.task.pid
        assert decision.points == first.badness


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(), rules=RULES, allocation=allocations())
def test_rank_is_a_permutation_worst_first(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation
) -> None:
    """R4: every task once; the eligible by falling badness, the others with a reason."""
    rows = rank(snapshot, allocation, rules)
    assert sorted(row.task.pid for row in rows) == sorted(task.pid for task in snapshot.tasks)
    able = [row for row in rows if row.eligible]
    assert list(rows[: len(able)]) == able
    assert [row.rank for row in able] == list(range(1, len(able) + 1))
    plain = [row.badness for row in able if not row.task.oom_origin]
    assert plain == sorted(plain, key=lambda points: -(points or 0))
    for row in rows[len(able) :]:
        assert (row.rank, row.badness) == (None, None)
        assert row.reason


@settings(max_examples=300, deadline=None)
@given(snapshot=snapshots(), rules=RULES, allocation=allocations())
def test_every_decision_is_sound(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation
) -> None:
    """R8-R12: no exception, and a decision that makes sense, in any world."""
    decision = decide(snapshot, allocation, rules)
    by_pid = {task.pid: task for task in snapshot.tasks}
    pids = [victim.pid for victim in decision.victims]
    assert len(pids) == len(set(pids))
    for victim in decision.victims:
        task = by_pid[victim.pid]
        assert victim.comm == task.comm
        assert task.has_mm or task.kthread
        assert not task.global_init
        assert victim.freed_pages >= 0
        assert victim.badness != LONG_MIN
    assert (decision.action in {"kill", "would_kill"}) == bool(decision.victims)
    assert (decision.action == "panic") == (decision.panic is not None)
    assert decision.action != "panic" or not decision.retry
    assert decision.trace
    assert decision.rules == rules.name
    killed = sum(victim.freed_pages for victim in decision.victims)
    assert decision.freed_pages == (killed if decision.action == "kill" else 0)
    if snapshot.sysctl.would_have_oomkilled == 1 and not allocation.page_fault_oom:
        helped = {"already_dying"}
        assert decision.action != "kill" or {v.reason for v in decision.victims} <= helped


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(), rules=RULES, allocation=allocations())
def test_decision_and_records_survive_json(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation
) -> None:
    """R6: snapshot, request and decision go through JSON unharmed; the decision is the same."""
    decision = decide(snapshot, allocation, rules)
    for record in (snapshot, allocation, decision, rules):
        assert from_json(to_json(record), type=type(record)) == record
    again = from_json(to_json(snapshot), type=Snapshot)
    assert decide(again, allocation, rules) == decision


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(plain=True), rules=RULES)
def test_protected_tasks_are_never_chosen(snapshot: Snapshot, rules: RuleSet) -> None:
    """R3: -17 and -1000 are never chosen and never sacrificed (2.6.12-2.6.19: not as a child)."""
    decision = decide(snapshot, Allocation(), rules)
    by_pid = {task.pid: task for task in snapshot.tasks}
    if decision.chosen_pid is not None:
        assert not is_disabled(by_pid[decision.chosen_pid], rules)
    if rules.children != "first" or rules.kill_checks_disabled:
        for victim in decision.victims:
            assert not is_disabled(by_pid[victim.pid], rules)


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(plain=True), rules=RULES, seed=st.integers(0, 1000))
def test_order_of_the_list_matters_among_equals_only(
    snapshot: Snapshot, rules: RuleSet, seed: int
) -> None:
    """R10: another order of the task list chooses the same, or an equal by the tie-break."""
    tasks = list(snapshot.tasks)
    random.Random(seed).shuffle(tasks)
    other = replace(snapshot, tasks=tuple(tasks))
    oc = control_for(other, Allocation(), rules)
    worst = [task for task in tasks if unkillable(task, oc) is None]
    assume(worst)
    points = [badness(task, oc) for task in worst]
    equals = [t.pid for t, p in zip(worst, points, strict=True) if p == max(points)]
    chosen = out_of_memory(other, Allocation(), rules).chosen_pid
    assert chosen == equals[-1 if rules.ties != "first" else 0]
    if len(equals) == 1:
        assert out_of_memory(snapshot, Allocation(), rules).chosen_pid == chosen


@settings(max_examples=150, deadline=None)
@given(snapshot=snapshots(plain=True), rules=RULES, more=st.integers(1, 10**5))
def test_growing_keeps_the_chosen_one_chosen(snapshot: Snapshot, rules: RuleSet, more: int) -> None:
    """R4: a chosen task that grows is still chosen (unless its score overflows)."""
    decision = out_of_memory(snapshot, Allocation(), rules)
    assume(decision.chosen_pid is not None and rules.arithmetic != "s32")
    tasks = tuple(
        replace(task, rss_pages=task.rss_pages + more, total_vm_pages=task.total_vm_pages + more)
        if task.pid == decision.chosen_pid
        else task
        for task in snapshot.tasks
    )
    # Half of a child's size counts for its parent, which may pass it by.
    parents = {task.ppid for task in snapshot.tasks if task.pid == decision.chosen_pid}
    by_classic = rules.badness == "classic" and parents & {task.pid for task in tasks}
    assume(not by_classic)
    grown = replace(snapshot, tasks=tasks)
    assert out_of_memory(grown, Allocation(), rules).chosen_pid == decision.chosen_pid


@settings(max_examples=100, deadline=None)
@given(
    snapshot=snapshots(), rules=RULES, allocation=allocations(), reclaimable=st.integers(0, 10**6)
)
def test_allocating_never_fails_to_answer(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation, reclaimable: int
) -> None:
    """R1: the whole path from the request on has an answer, and the same one twice."""
    once = alloc_pages(snapshot, allocation, rules, reclaimable_pages=reclaimable)
    assert once == alloc_pages(snapshot, allocation, rules, reclaimable_pages=reclaimable)


@pytest.mark.parametrize(
    ("version", "near"),
    [("6.12", [10, 11, 12]), ("3.2", [10, 11, 12]), ("2.6.32", [10])],
)
def test_near_equals_are_less_than_a_point_of_adjustment_apart(
    version: str, near: list[int]
) -> None:
    """R4: a thousandth of 4,000,000 pages; the classic badness knows exact equals alone."""
    tasks = (user(10, 50_000), user(11, 49_999), user(12, 46_001), user(13, 46_000))
    if version == "3.2":
        # Thousandths of all pages already: the first three are 12, the last is 11.
        tasks = (user(10, 50_000), user(11, 49_999), user(12, 48_000), user(13, 46_000))
    snapshot = snap(*tasks, memory=mem(total_ram_pages=4_000_000, total_swap_pages=0))
    rules = rules_for(version)
    decision = decide(snapshot, Allocation(), rules)
    assert decision.points is not None
    found = near_equals(snapshot, Allocation(), rules, decision.points)
    assert sorted(task.pid for task in found) == near


@pytest.mark.parametrize(("version", "places"), [
    ("2.6.11", (0, 1)), ("3.8", (1, 0)), ("6.12", (1, 0)),
])  # fmt: skip
def test_those_that_asked_to_die_first_stand_in_the_order_in_which_they_are_chosen(
    version: str, places: tuple[int, int]
) -> None:
    """R10: the first met, whatever its size; from 3.8 on each takes the place of one before."""
    large, small = user(10, 9000, oom_origin=True), user(11, 5, oom_origin=True)
    for met in ((large, small), (small, large)):
        ranked = rank(snap(*met, user(12, 90000)), Allocation(), rules_for(version))
        expected = [*(met[place].pid for place in places), 12]
        assert [one.task.pid for one in ranked] == expected
