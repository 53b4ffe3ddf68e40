"""Whom this kernel kills in a memory cgroup, foretold from a snapshot taken just before.

Every case makes a real kill (R1, R3, R4 on a running kernel): the victims that the rules name
are those of the kernel's log.
"""

import os
import time
from pathlib import Path

import msgspec
import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.versions import rules_for
from tests.real.memcg import Box, Hog

pytestmark = pytest.mark.cgroup

LIMIT = 40_000


def foretold(snapshot: Snapshot, box: Box, asker: Hog) -> Decision:
    allocation = Allocation(pid=asker.pid, memcg=box.path)
    return decide(snapshot, allocation, rules_for(snapshot.kernel))


def kills(box: Box, grower: Hog) -> list[int]:
    """Make one step of growth kill, check each kill against its prediction; returns who died."""
    box.tighten()
    snapshot, killed = box.grow_until_a_kill(grower)
    for pid in killed:
        decision = foretold(snapshot, box, grower)
        assert decision.action == "kill"
        assert decision.victims[0].pid == pid, (killed, decision.trace)
        gone = [victim.pid for victim in decision.victims]
        # The log is silent about those that die because they share the victim's memory.
        box.wait_for_end(gone)
        left = tuple(task for task in snapshot.tasks if task.pid not in gone)
        snapshot = msgspec.structs.replace(snapshot, tasks=left)
    return killed


def deaths(box: Box, grower: Hog, count: int) -> list[int]:
    """Make at least that many kills happen, as ``kills``; returns the first of them in order."""
    died: list[int] = []
    while len(died) < count:
        died += kills(box, grower)
    return died[:count]


def kill(box: Box, grower: Hog) -> int:
    """Make a kill happen, as ``kills``; returns who died first."""
    return kills(box, grower)[0]


def sized(box: Box, pages: int, *, adj: int = 0, group: str = "") -> Hog:
    hog = box.hog(adj=adj, group=group)
    hog.do("anon", pages)
    return hog


def test_the_biggest_dies_and_then_the_next() -> None:
    with Box(LIMIT) as box:
        small, big, middle = sized(box, 2000), sized(box, 15000), sized(box, 9000)
        grower = box.hog()
        assert deaths(box, grower, 2) == [big.pid, middle.pid]
        small.do("anon", 1)


def test_the_asker_dies_when_it_is_the_biggest_itself() -> None:
    with Box(LIMIT) as box:
        sized(box, 3000)
        grower = sized(box, 12000)
        assert kill(box, grower) == grower.pid


def test_a_raised_adjustment_outweighs_size() -> None:
    """R3: the small task with the high adjustment dies before the big one."""
    with Box(LIMIT) as box:
        sized(box, 15000)
        raised = sized(box, 3000, adj=900)
        assert kill(box, box.hog()) == raised.pid


def test_of_two_adjustments_the_sum_with_the_size_decides() -> None:
    """R3: a step is about 25 pages here."""
    with Box(LIMIT) as box:
        sized(box, 9000, adj=100)
        second = sized(box, 7000, adj=300)
        sized(box, 2500, adj=400)
        assert kill(box, box.hog()) == second.pid


def test_a_big_one_is_protected_by_what_others_offer() -> None:
    """R3: three small tasks die one after another before the big one with adjustment 0."""
    with Box(LIMIT) as box:
        big = sized(box, 20000)
        small = [sized(box, 1500 + 500 * n, adj=900) for n in range(3)]
        grower = box.hog()
        died: list[int] = []
        while len(died) < len(small):
            assert big.pid not in died
            died += kills(box, grower)
        assert died[: len(small)] == [hog.pid for hog in reversed(small)]
        # The step that took the last of them may take a second one, and only the big one is left.
        if died[len(small) :] != [big.pid]:
            big.do("anon", 1)


def test_minus_1000_is_never_killed() -> None:
    """R3: the biggest of all lives."""
    with Box(LIMIT) as box:
        spared = sized(box, 20000)
        try:
            Path(f"/proc/{spared.pid}/oom_score_adj").write_text("-1000\n")
        except PermissionError:
            pytest.skip("needs CAP_SYS_RESOURCE to lower oom_score_adj")
        other = sized(box, 12000)
        assert kill(box, box.hog()) == other.pid


def test_a_parent_is_chosen_for_itself_and_its_children_live() -> None:
    """R4, R11 as they are from 5.1 on: children neither count for it nor die in its place."""
    with Box(LIMIT) as box:
        parent = box.hog()
        children = parent.do("fork", 4)
        parent.do("anon", 14000)
        sized(box, 12000)
        assert kill(box, box.hog()) == parent.pid
        for child in children:
            os.kill(child, 0)


def test_shared_memory_counts_for_who_maps_it() -> None:
    with Box(LIMIT) as box:
        shares = box.hog()
        shares.do("shmem", 14000)
        sized(box, 11000)
        assert kill(box, box.hog()) == shares.pid


def test_page_tables_count() -> None:
    """Few resident pages far apart: their page tables make the difference."""
    with Box(LIMIT) as box:
        sparse = box.hog()
        sparse.do("sparse", 6000)
        dense = sized(box, 9000)
        grower = box.hog()
        snapshot = box.snapshot()
        tasks = {task.pid: task for task in snapshot.tasks}
        assert tasks[sparse.pid].rss_pages < tasks[dense.pid].rss_pages
        assert tasks[sparse.pid].pgtable_pages > 6000
        assert kill(box, grower) == sparse.pid


def test_a_task_in_another_group_below_the_limit_dies() -> None:
    with Box(LIMIT) as box:
        elsewhere = sized(box, 14000, group="x")
        sized(box, 5000, group="y")
        grower = box.hog(group="y")
        assert kill(box, grower) == elsewhere.pid


def test_none_outside_of_the_group_dies() -> None:
    with Box(LIMIT) as box, Box(LIMIT) as other:
        outside = sized(other, 30000)
        inside = sized(box, 14000)
        assert kill(box, box.hog()) == inside.pid
        outside.do("anon", 1)


def test_a_vfork_parent_dies_for_its_child() -> None:
    with Box(LIMIT) as box:
        parent = sized(box, 14000)
        parent.do("vfork", 0)
        sized(box, 10000)
        grower = box.hog()
        assert any(task.vfork and task.ppid == parent.pid for task in box.snapshot().tasks)
        assert kill(box, grower) == parent.pid


def test_of_equals_the_one_that_the_rules_name() -> None:
    """Forked twins have the same pages; the tie-break alone decides between them."""
    with Box(LIMIT) as box:
        parent = sized(box, 13000)
        twins = parent.do("fork", 6)
        parent.close()
        grower = box.hog()
        assert equal_in_badness(box, twins)
        for pid in deaths(box, grower, 3):
            twins.remove(pid)
        assert equal_in_badness(box, [pid for pid in twins if pid in box.pids()])


def equal_in_badness(box: Box, pids: list[int]) -> bool:
    tasks = [task for task in box.snapshot().tasks if task.pid in pids]
    assert len(tasks) == len(pids)
    return len({task.rss_pages + task.pgtable_pages for task in tasks}) == 1


def test_equals_in_several_groups_die_in_the_order_of_the_tree() -> None:
    """Last of equals is the last of the group created last, whatever it is called."""
    with Box(2 * LIMIT) as box:
        parent = sized(box, 13000, group="m")
        twins = parent.do("fork", 4)
        parent.close()
        grower = box.hog(group="z")
        box.hog(group="a")
        for pid, group in zip(twins, ("a", "m", "z", "m"), strict=True):
            (box.directory / group / "cgroup.procs").write_text(f"{pid}\n")
        assert equal_in_badness(box, twins)
        died = deaths(box, grower, 3)
        assert died == [twins[0], twins[2], twins[3]]


def test_swap_counts_in_full(swap_file: None) -> None:
    """Most of the idle task is swapped out: it holds less memory than another, and dies."""
    with Box(8000, swap_pages=8000) as box:
        idle = sized(box, 7000)
        busy = sized(box, 4500)
        grower = box.hog()
        snapshot, killed = box.grow_until_a_kill(grower)
        tasks = {task.pid: task for task in snapshot.tasks}
        assert tasks[idle.pid].swap_pages > 2000
        assert tasks[idle.pid].rss_pages < tasks[busy.pid].rss_pages
        decision = foretold(snapshot, box, grower)
        assert decision.victims[0].pid == killed[0] == idle.pid, decision.trace


def test_a_group_with_its_killer_switched_off_waits() -> None:
    """R7's kin in version 1: with oom_kill_disable nobody dies, the asker sleeps."""
    with Box(LIMIT, disable_oom_kill=True) as box:
        sized(box, 30000)
        grower = box.hog()
        decision = foretold(box.snapshot(), box, grower)
        assert decision.action == "none"
        assert decision.victims == ()
        before = set(box.pids())
        grower.order("anon", LIMIT)
        end = time.monotonic() + 60
        while "under_oom 1" not in (box.directory / "memory.oom_control").read_text():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert set(box.pids()) == before
