"""Why a task lives: its place, what rules it out, and what would put it first, by hand."""

from typing import Any

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.state import Allocation, Memcg, Task
from oomkit.kernel.threshold import extra_pages, winning_adj
from oomkit.kernel.versions import rules_for
from oomkit.kernel.why import Why, why
from tests.kernel.strategies import INIT, control, mem, snap, user


def fate(version: str, pid: int, *tasks: Task, **world: Any) -> Why:
    allocation = world.pop("allocation", Allocation())
    snapshot, rules = snap(*tasks, **world), rules_for(version)
    return why(snapshot, allocation, rules, decide(snapshot, allocation, rules), pid)


LARGE, SMALL = user(10, 90_000), user(11, 50_000)


LS, SL = (LARGE, SMALL), (SMALL, LARGE)


@pytest.mark.parametrize(("version", "tasks", "changes"), [
    # A step of adjustment is 2,621,440 // 1000 = 2621 pages: 15 of them are 39,315, 16 are 41,936.
    # From 5.3 on the last of equals is chosen, so that the later one needs no page more.
    ("6.18", LS, ("oom_score_adj at or above 16 (now 0)", "156 MiB (40000 pages) more")),
    ("6.18", SL, ("oom_score_adj at or above 16 (now 0)", "156 MiB (40001 pages) more")),
    ("5.2", LS, ("oom_score_adj at or above 16 (now 0)", "156 MiB (40001 pages) more")),
    ("5.2", SL, ("oom_score_adj at or above 16 (now 0)", "156 MiB (40000 pages) more")),
    # 90,000 pages are 34 thousandths and 50,000 are 19: 15 more are equal, met last they need 16,
    # 35 thousandths, which are 91,751 pages.
    ("3.2", LS, ("oom_score_adj at or above 16 (now 0)", "163 MiB (41751 pages) more")),
    ("3.2", SL, ("oom_score_adj at or above 15 (now 0)", "153 MiB (39129 pages) more")),
    # A shift by one doubles 50,000.
    ("2.6.32", LS, ("oom_adj at or above 1 (now 0)", "156 MiB (40001 pages) more")),
    ("2.6.32", SL, ("oom_adj at or above 1 (now 0)", "156 MiB (40000 pages) more")),
])  # fmt: skip
def test_what_puts_a_task_first(
    version: str, tasks: tuple[Task, ...], changes: tuple[str, ...]
) -> None:
    """R3, R4, R10: the lowest adjustment and the fewest pages at which it is chosen."""
    found = fate(version, 11, *tasks)
    points = 19 if version == "3.2" else 50_000
    assert found.verdict == f"t11[11] lives: it is number 2 of 2, badness {points}"
    assert not found.dies
    assert found.changes == tuple(f"it is chosen first with {change}" for change in changes)
    (by_adj,) = found.counterfactuals
    knob, _, needed = changes[0].removesuffix(" (now 0)").partition(" at or above ")
    assert (by_adj.knob, by_adj.pid, by_adj.now, by_adj.then) == (knob, 11, 0, 11)
    assert (by_adj.needed, by_adj.text) == (int(needed), found.changes[0])


@pytest.mark.parametrize("version", ["2.6.32", "3.2", "6.18"])
@pytest.mark.parametrize("tasks", [LS, (SMALL, LARGE)])
def test_with_that_change_it_is_chosen(version: str, tasks: tuple[Task, ...]) -> None:
    """R10: by the decision itself; with a step less it is not."""
    (by_adj,) = fate(version, 11, *tasks).counterfactuals
    for less, chosen in ((0, 11), (1, 10)):
        value = by_adj.needed - less
        adj: dict[str, Any] = (
            {"oom_adj": value} if by_adj.knob == "oom_adj" else {"oom_score_adj": value}
        )
        moved = tuple(user(11, 50_000, **adj) if task.pid == 11 else task for task in tasks)
        assert decide(snap(*moved), Allocation(), rules_for(version)).chosen_pid == chosen


def test_an_adjustment_that_is_not_0_is_told() -> None:
    """R3: 50,000 - 2 * 2621 = 44,758; 45,242 pages are 17.3 steps."""
    found = fate("6.18", 11, LARGE, user(11, 50_000, oom_score_adj=-2))
    assert found.verdict == "t11[11] lives: it is number 2 of 2, badness 44758"
    assert found.changes[0] == "it is chosen first with oom_score_adj at or above 16 (now -2)"
    assert found.counterfactuals[0].now == -2


def test_where_no_adjustment_is_enough_only_size_is_told() -> None:
    """R3: 1000 is the highest; 1000 steps of 2621 pages and 40,000 are missing."""
    found = fate("6.18", 11, user(10, 90_000, oom_score_adj=1000), SMALL)
    assert found.changes == ("it is chosen first with 10.2 GiB (2661000 pages) more",)
    assert found.counterfactuals == ()


def test_a_third_is_compared_with_the_first() -> None:
    """R10: not with the one before it."""
    found = fate("6.18", 12, LARGE, SMALL, user(12, 30_000))
    assert found.verdict == "t12[12] lives: it is number 3 of 3, badness 30000"
    assert found.changes[1] == "it is chosen first with 234 MiB (60000 pages) more"


ASKER_DIES: dict[str, Any] = {
    "allocation": Allocation(pid=12), "sysctl": {"oom_kill_allocating_task": 1}
}  # fmt: skip


@pytest.mark.parametrize(("pid", "verdict"), [
    (10, "t10[10] lives: it is number 1 of 3, badness 90000"),
    (11, "t11[11] lives: it is number 2 of 3, badness 50000"),
    (12, "t12[12] dies (allocating task)"),
])  # fmt: skip
def test_where_badness_did_not_decide_no_badness_would_help(pid: int, verdict: str) -> None:
    """R10: oom_kill_allocating_task: the first of the rank lives as well."""
    found = fate("6.18", pid, LARGE, SMALL, user(12, 9), **ASKER_DIES)
    assert found.verdict == verdict
    assert found.dies == (pid == 12)
    if pid != 12:
        assert (found.changes, found.counterfactuals) == ((), ())


@pytest.mark.parametrize(("task", "reason"), [
    (INIT, "global init"),
    (user(5, 9, oom_score_adj=-1000), "oom_score_adj -1000"),
    (user(5, 9, has_mm=False), "has no memory (exited)"),
    (user(5, 9, mm_reaped=True), "its memory was already reaped"),
    (user(5, 9, vfork=True), "vfork child that borrows its parent's memory"),
    (Task(pid=2, comm="kswapd0", kthread=True, has_mm=False), "kernel thread"),
])  # fmt: skip
def test_what_rules_a_task_out_is_its_verdict(task: Task, reason: str) -> None:
    """R3: without changes: an adjustment and a size alone would not make it killable."""
    found = fate("6.18", task.pid, LARGE, task)
    assert found.verdict == f"{task.comm}[{task.pid}] can't be chosen: {reason}"
    assert (found.changes, found.counterfactuals, found.dies) == ((), (), False)


def test_one_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        fate("6.18", 77, LARGE)


@pytest.mark.parametrize(("limit", "pages"), [(None, 40_000), (40_000, 40_000), (39_999, None)])
@pytest.mark.parametrize("version", ["6.18", "2.6.32"])
def test_no_more_pages_than_the_limit(version: str, limit: int | None, pages: int | None) -> None:
    """R4: up to the last page of it; with one page less there is no answer."""
    oc = control(LARGE, SMALL, rules=version, total=2_621_440)
    assert extra_pages(SMALL, oc, 90_000, known=50_000, limit=limit) == pages


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5, 1023, 1024, 1025])
@pytest.mark.parametrize("version", ["6.18", "2.6.32"])
def test_each_number_of_pages_is_found(version: str, missing: int) -> None:
    """R4: powers of two and their neighbours, between which the search halves."""
    oc = control(SMALL, rules=version, total=2_621_440)
    target = 50_000 + missing
    assert extra_pages(SMALL, oc, target, known=50_000, limit=None) == missing
    assert extra_pages(SMALL, oc, target, known=50_000, limit=missing) == missing
    assert extra_pages(SMALL, oc, target, known=50_000, limit=missing - 1) is None


@pytest.mark.parametrize(("version", "highest"), [("2.6.32", 15), ("3.2", 1000), ("6.18", 1000)])
def test_the_highest_adjustment_counts(version: str, highest: int) -> None:
    """R3: what 15 or 1000 is just enough for is found, one point more is out of reach."""
    task = user(11, 1000)
    oc = control(task, rules=version, total=1_000_000)
    top = {"2.6.32": 1000 << 15, "3.2": 1000, "6.18": 1000 + 1000 * 1000}[version]
    found = winning_adj(task, oc, top)
    # Of 1000 pages' one thousandth and 999 of the adjustment a thousand is reached at 999.
    assert found == (999 if version == "3.2" else highest)
    assert winning_adj(task, oc, top + 1) is None


def test_the_candidates_of_a_cgroup_are_counted_alone() -> None:
    """R10: others are no rivals, and can't be chosen."""
    world: dict[str, Any] = {
        "memcgs": (Memcg(path="/a", limit_pages=9000),), "allocation": Allocation(memcg="/a"),
        "memory": mem(total_swap_pages=0),
    }  # fmt: skip
    tasks = (user(10, 5000, cgroup="/a"), user(11, 400, cgroup="/a"), user(12, 90_000))
    # A step is 9000 // 1000 = 9 pages; 4600 pages are 511.1 of them.
    found = fate("6.18", 11, *tasks, **world)
    assert found.verdict == "t11[11] lives: it is number 2 of 2, badness 400"
    assert found.changes == (
        "it is chosen first with oom_score_adj at or above 512 (now 0)",
        "it is chosen first with 18.0 MiB (4600 pages) more",
    )
    outside = fate("6.18", 12, *tasks, **world)
    assert outside.verdict == "t12[12] can't be chosen: not in memory cgroup /a"
