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
from oomkit.kernel.rank import (
    asker_dies,
    near_equals,
    nearly_as_bad,
    others_are_hidden,
    rank,
    within,
)
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.records import from_json, replace, to_json
from tests.kernel.strategies import INIT, RULES, allocations, mem, snap, snapshots, user


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


MEMBERS = (
    user(10, 900, cgroup="/a"),
    user(11, 800, cgroup="/a/b"),
    user(12, 700, cgroup="/ab"),
    user(13, 600, cgroup="/"),
)


@pytest.mark.parametrize(("path", "pids"), [
    (None, [10, 11, 12, 13]), ("/", [10, 11, 12, 13]), ("/a", [10, 11]), ("/a/b", [11]),
    ("/ab", [12]), ("/b", []),
])  # fmt: skip
def test_the_rows_that_an_oom_is_about(path: str | None, pids: list[int]) -> None:
    """R10: those of the cgroup that ran out and of those below it, in the order of the rank."""
    rows = rank(snap(*MEMBERS), Allocation(), rules_for("6.18"))
    found = within(rows, Allocation(memcg=path))
    assert [row.task.pid for row in found] == pids


SAFE = replace(user(10, 900), oom_score_adj=-1000, oom_adj=-17)


@pytest.mark.parametrize(("version", "knob", "asked", "tasks", "dies"), [
    # From 2.6.24 on the knob kills the task that asks, whichever that is.
    ("6.18", 1, Allocation(), (user(10, 900),), True),
    ("2.6.24", 1, Allocation(), (user(10, 900),), True),
    ("2.6.23", 1, Allocation(), (user(10, 900),), False),
    ("6.18", 0, Allocation(), (user(10, 900),), False),
    # Where it is known, the decision has it.
    ("6.18", 1, Allocation(pid=10), (user(10, 900),), False),
    # A cgroup's OOM and SysRq scan; a request that fails and a panic kill nobody.
    ("6.18", 1, Allocation(memcg="/a"), (user(10, 900, cgroup="/a"),), False),
    ("6.18", 1, Allocation(sysrq=True), (user(10, 900),), False),
    ("6.18", 1, Allocation(order=4), (user(10, 900),), False),
    ("6.18", 1, Allocation(), (SAFE,), False),
])  # fmt: skip
def test_whether_the_task_that_asks_dies_whichever_it_is(
    version: str, knob: int, asked: Allocation, tasks: tuple[Task, ...], dies: bool
) -> None:
    """R10: oom_kill_allocating_task where the snapshot does not say who asks."""
    snapshot = snap(*tasks, sysctl={"oom_kill_allocating_task": knob})
    decision = decide(snapshot, asked, rules_for(version))
    assert asker_dies(snapshot, decision, asked.pid) is dies


@pytest.mark.parametrize(("tasks", "asked", "panic_on_oom", "hidden"), [
    # Nobody killable and no init: the snapshot lacks what others have.
    ((SAFE,), Allocation(), 0, True),
    ((), Allocation(), 0, True),
    ((SAFE, INIT), Allocation(), 0, False),
    # A kill; a panic that was asked for; a cgroup's OOM, which does not panic but by 2.
    ((user(10, 900),), Allocation(), 0, False),
    ((user(10, 900),), Allocation(), 1, False),
    ((SAFE,), Allocation(), 1, False),
    ((SAFE,), Allocation(memcg="/a"), 0, False),
])  # fmt: skip
def test_a_panic_for_want_of_a_victim_says_nothing_where_others_are_hidden(
    tasks: tuple[Task, ...], asked: Allocation, panic_on_oom: int, hidden: bool
) -> None:
    """R10: process 1 of the machine always exists."""
    snapshot = snap(*tasks, sysctl={"panic_on_oom": panic_on_oom})
    decision = decide(snapshot, asked, rules_for("6.18"))
    assert others_are_hidden(snapshot, decision) is hidden


def test_near_equals_come_with_their_badness_the_worst_first() -> None:
    """R4: of 3000 pages a point is 3: two pages less are near, three are not."""
    tasks = (user(10, 500), user(11, 502), user(12, 503), user(13, 498), user(14, 497))
    snapshot = snap(*tasks, memory=mem(total_ram_pages=3999, total_swap_pages=0))
    found = nearly_as_bad(snapshot, Allocation(), rules_for("6.18"), 500)
    assert [(points, task.pid) for points, task in found] == [(502, 11), (500, 10), (498, 13)]


def test_the_points_of_all_are_those_of_proc() -> None:
    """R5: oom_score is read without a limit in mind: 6.18 prints (1000 + 1000 * points / total)
    * 2 / 3, whichever cgroup runs out.
    """
    memcgs = (Memcg(path="/a", limit_pages=1000),)
    snapshot = snap(
        user(10, 500, cgroup="/a"), replace(SAFE, pid=11), memcgs=memcgs,
        memory=mem(total_ram_pages=10_000, total_swap_pages=0),
    )  # fmt: skip
    rows = rank(snapshot, Allocation(memcg="/a"), rules_for("6.18"))
    assert [(row.task.pid, row.badness, row.oom_score) for row in rows] == [
        (10, 500, 1050 * 2 // 3), (11, None, 0),
    ]  # fmt: skip
