"""``select_bad_process()``: who is chosen, who is passed over, when the scan gives up."""

from typing import Any

import pytest

from oomkit.kernel.decision import Decision
from oomkit.kernel.out_of_memory import out_of_memory
from oomkit.kernel.rank import rank
from oomkit.kernel.state import Allocation, Memcg, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import ALL_RULES, INIT, KTHREAD, MAINLINE, snap, user, versions

CLASSIC = versions("2.6.11", "2.6.35")
MODERN = versions("2.6.36", "6.18")


def oom(version: str, *tasks: Task, by: int | None = None, **world: Any) -> Decision:
    allocation = world.pop("allocation", Allocation(pid=by))
    return out_of_memory(snap(*tasks, **world), allocation, rules_for(version))


def chosen(version: str, *tasks: Task, **world: Any) -> int | None:
    return oom(version, *tasks, **world).chosen_pid


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.name)
def test_the_largest_is_chosen(rules: Any) -> None:
    """R10: the worst task, whatever its place in the list."""
    tasks = [user(10, 50000), user(11, 90000), user(12, 70000)]
    for turn in range(3):
        order = tasks[turn:] + tasks[:turn]
        decision = out_of_memory(snap(*order), Allocation(), rules)
        assert decision.chosen_pid == 11
        assert [victim.pid for victim in decision.victims] == [11]


@pytest.mark.parametrize("version", MAINLINE)
def test_init_and_kernel_threads_are_passed_over(version: str) -> None:
    """R10: init is never chosen however large, nor is a kernel thread."""
    assert chosen(version, INIT, KTHREAD, user(10, 5000)) == 10


@pytest.mark.parametrize("version", MAINLINE)
def test_who_is_protected_is_passed_over(version: str) -> None:
    """R3: -17 (from 2.6.12; before, it only shifts) and -1000 are never chosen."""
    safe = user(10, 10**6, oom_adj=-17, oom_score_adj=-1000)
    assert chosen(version, safe, user(11, 5000)) == 11
    if version == "2.6.11":
        assert chosen(version, safe, user(11, 5)) == 10


def _equals(version: str, **world: Any) -> int | None:
    return chosen(version, user(10, 5000), user(11, 5000), user(12, 5000), user(13, 9), **world)


@pytest.mark.parametrize("version", MAINLINE)
def test_of_equals(version: str) -> None:
    """R10: the first of the list; in 4.7, 4.8 and from 5.3 on the last."""
    last = version in (*versions("4.7", "4.8"), *versions("5.3", "6.18"))
    assert _equals(version) == (12 if last else 10)


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_of_equals_in_a_memory_cgroup(version: str) -> None:
    """R10: 4.7 and 4.8 walk a memory cgroup's threads, where the first stays; 5.3 on the last."""
    tasks = [user(pid, 5000, cgroup="/a") for pid in (10, 11, 12)]
    world = {"memcgs": (Memcg(path="/a", limit_pages=20000),)}
    got = chosen(version, *tasks, allocation=Allocation(memcg="/a"), **world)
    assert got == (12 if version in versions("5.3", "6.18") else 10)


@pytest.mark.parametrize("version", versions("3.6", "6.18"))
def test_a_memory_cgroup_is_walked_group_by_group(version: str) -> None:
    """R10: from 3.6 on the order is that of the cgroup tree, then of each group's tasks."""
    tasks = [user(10, 5000, cgroup="/a/b"), user(11, 5000, cgroup="/a")]
    world = {"memcgs": (Memcg(path="/a", limit_pages=20000), Memcg(path="/a/b"))}
    got = chosen(version, *tasks, allocation=Allocation(memcg="/a"), **world)
    assert got == (10 if version in versions("5.3", "6.18") else 11)


@pytest.mark.parametrize("version", versions("2.6.25", "3.5"))
def test_before_3_6_a_memory_cgroup_follows_the_task_list(version: str) -> None:
    """R10: up to 3.5 the task list is walked and filtered."""
    tasks = [user(10, 5000, cgroup="/a/b"), user(11, 5000, cgroup="/a")]
    world = {"memcgs": (Memcg(path="/a", limit_pages=20000), Memcg(path="/a/b"))}
    assert chosen(version, *tasks, allocation=Allocation(memcg="/a"), **world) == 10


@pytest.mark.parametrize("version", CLASSIC)
def test_a_zero_can_be_chosen_by_the_classic_rules(version: str) -> None:
    """R10: the first met is taken whatever its score, and a later zero does not beat it."""
    assert chosen(version, user(10, 0), user(11, 0)) == 10


@pytest.mark.parametrize("version", MAINLINE)
def test_a_victim_in_agony_stops_the_scan(version: str) -> None:
    """R10: TIF_MEMDIE or an oom_mm: nobody else dies, the request is tried again."""
    decision = oom(version, user(10, 9000), user(11, 5, victim=True))
    assert (decision.action, decision.victims, decision.retry) == ("none", (), True)
    assert "t11[11]" in decision.trace[-1]


@pytest.mark.parametrize("version", versions("4.9", "6.18"))
def test_a_reaped_victim_does_not_stop_the_scan(version: str) -> None:
    """R10: MMF_OOM_SKIP lets the next victim be chosen."""
    assert chosen(version, user(10, 9000), user(11, 5, victim=True, mm_reaped=True)) == 10


@pytest.mark.parametrize("version", MAINLINE)
def test_sysrq_kills_in_spite_of_a_dying_victim(version: str) -> None:
    """R10: from 3.4 on SysRq-f does not wait."""
    forced = version in versions("3.4", "6.18")
    tasks = (user(10, 9000), user(11, 5, victim=True))
    got = chosen(version, *tasks, allocation=Allocation(sysrq=True))
    assert got == (10 if forced else None)


def _aborts(version: str, **fields: Any) -> bool:
    decision = oom(version, user(10, 9000), user(11, 5, exiting=True, **fields), by=10)
    return not decision.victims


@pytest.mark.parametrize("version", MAINLINE)
def test_an_exiting_task_stops_the_scan(version: str) -> None:
    """R10: up to 4.5 somebody else's exit is waited for."""
    assert _aborts(version) == (version in versions("2.6.11", "4.5"))


@pytest.mark.parametrize("version", MAINLINE)
def test_exit_of_a_task_with_threads(version: str) -> None:
    """R10: 2.6.36-2.6.38 wait for a single-threaded task only."""
    waits = version in versions("2.6.11", "4.5") and version not in versions("2.6.36", "2.6.38")
    assert _aborts(version, threads=2) == waits


@pytest.mark.parametrize("version", MAINLINE)
def test_exit_of_a_traced_task(version: str) -> None:
    """R10: 2.6.39-3.18 do not wait for a task whose tracer waits for its exit."""
    waits = version in versions("2.6.11", "4.5") and version not in versions("2.6.39", "3.18")
    assert _aborts(version, traced_exit=True) == waits


@pytest.mark.parametrize("version", MAINLINE)
def test_exit_of_a_task_that_dumps_core(version: str) -> None:
    """R10: from 3.19 on a dump is not waited for."""
    assert _aborts(version, coredump=True) == (version in versions("2.6.11", "3.18"))


@pytest.mark.parametrize("version", MAINLINE)
def test_exit_of_a_protected_task(version: str) -> None:
    """R10: -17 is skipped before its exit is seen in 2.6.12-2.6.18 alone; else it is waited for."""
    waits = version in versions("2.6.11", "4.5") and version not in versions("2.6.12", "2.6.18")
    assert _aborts(version, oom_adj=-17, oom_score_adj=-1000) == waits


@pytest.mark.parametrize("version", MAINLINE)
def test_a_task_without_memory_is_not_waited_for(version: str) -> None:
    """R10: who has given its memory back already does not hold up the scan."""
    assert not _aborts(version, has_mm=False)


@pytest.mark.parametrize("version", versions("2.6.19", "3.7"))
def test_an_asker_that_exits_is_preferred(version: str) -> None:
    """R10: 2.6.19-3.7 choose current if it exits: it only gets access to reserves."""
    single = version in versions("2.6.36", "2.6.38")
    tasks = (user(10, 9000), user(11, 5, exiting=True), user(12, 9))
    decision = oom(version, *tasks, by=11)
    assert decision.chosen_pid == 11
    assert [v.reason for v in decision.victims] == ["already_dying"]
    if not single:
        threaded = oom(version, user(10, 9000), user(11, 5, exiting=True, threads=2), by=11)
        assert threaded.chosen_pid == 11


@pytest.mark.parametrize("version", MAINLINE)
def test_who_asked_to_die_first(version: str) -> None:
    """R10: swapoff's task goes first: by a flag, by badness, by adj (3.0-3.7 set 1000)."""
    got = chosen(version, user(10, 9000), user(11, 5, oom_origin=True), user(12, 9000))
    if version in versions("3.0", "3.7"):
        # Those kernels raise oom_score_adj itself; the flag says nothing to them.
        assert got == 10
    else:
        assert got == 11


@pytest.mark.parametrize("version", MAINLINE)
def test_of_two_that_asked_to_die_first(version: str) -> None:
    """R10: the first met; from 3.8 on each takes the place of the one before."""
    tasks = (user(10, 9000, oom_origin=True), user(11, 5, oom_origin=True))
    expected = 11 if version in versions("3.8", "6.18") else 10
    assert chosen(version, *tasks) == expected


@pytest.mark.parametrize("version", versions("3.8", "6.18"))
def test_the_scan_goes_on_after_who_asked_to_die_first(version: str) -> None:
    """R10: from 3.8 on a dying victim later in the list still stops everything."""
    assert chosen(version, user(10, 5, oom_origin=True), user(11, 5, victim=True)) is None
    protected = user(10, 5, oom_origin=True, oom_score_adj=-1000)
    assert chosen(version, protected, user(11, 9000)) == 10


@pytest.mark.parametrize("version", versions("2.6.12", "2.6.18"))
def test_the_scan_ends_at_who_asked_to_die_first(version: str) -> None:
    """R10: 2.6.11-2.6.18 return it on the spot, but do not see it at -17."""
    assert chosen(version, user(10, 5, oom_origin=True), user(11, 5, victim=True)) == 10
    assert chosen(version, user(10, 5, oom_origin=True, oom_adj=-17), user(11, 9)) == 11


@pytest.mark.parametrize("version", MAINLINE)
def test_tasks_of_other_nodes(version: str) -> None:
    """R10: skipped in 2.6.14-2.6.18 and from 2.6.36 on, an eighth in between."""
    asker = user(9, 10, mems_allowed=(0,))
    far, near = user(10, 80000, mems_allowed=(1,)), user(11, 9000)
    blind = version in versions("2.6.11", "2.6.13")
    eighth = version in versions("2.6.19", "2.6.35")
    assert chosen(version, asker, far, near, by=9) == (10 if blind or eighth else 11)
    near = user(11, 10001)
    assert chosen(version, asker, far, near, by=9) == (10 if blind else 11)
    alone = chosen(version, user(9, 10, mems_allowed=(0,), oom_adj=-17, oom_score_adj=-1000),
                   far, by=9)  # fmt: skip
    if version != "2.6.11":
        assert alone == (10 if blind or eighth else None)


def test_openvz_waits_for_none() -> None:
    """R10: victims and frozen tasks are passed over, an exiting one is chosen at once."""
    big, small = user(10, 9000), user(11, 5)
    version = "2.6.32-openvz"
    assert chosen(version, big, user(12, 5, victim=True)) == 10
    assert chosen(version, user(12, 99999, frozen=True), big) == 10
    exiting = oom(version, big, user(12, 5, exiting=True), small)
    assert exiting.chosen_pid == 12
    assert [v.reason for v in exiting.victims] == ["already_dying"]
    assert chosen(version, big, user(12, 99999, exiting=True, oom_adj=-17)) == 10


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.name)
def test_rank_says_why_not(rules: Any) -> None:
    """R10: who can't be chosen stands at the end with the reason."""
    tasks = (INIT, KTHREAD, user(10, 90), user(11, 50), user(12, 9, has_mm=False))
    rows = rank(snap(*tasks), Allocation(), rules)
    assert [row.rank for row in rows] == [1, 2, None, None, None]
    assert [row.task.pid for row in rows] == [10, 11, 1, 2, 12]
    assert [row.eligible for row in rows] == [True, True, False, False, False]
    assert [row.reason for row in rows] == [
        None, None, "global init", "kernel thread", "has no memory (exited)",
    ]  # fmt: skip
    assert [row.badness is None for row in rows] == [False, False, True, True, True]
