"""Our oom_score beside the kernel's, for everything that runs here (R4)."""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.host.scan import Scanner
from oomkit.kernel.rank import rank
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.kernel.versions import rules_for
from tests.real.memcg import Box

SLEEPERS = 300
HOGS = 12


@contextlib.contextmanager
def sleepers() -> Iterator[list[int]]:
    """Cheap processes, a third of them with a raised adjustment."""
    chance = random.Random(7)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(SLEEPERS):
            process = subprocess.Popen(["sleep", "600"])
            started.append(process)
            if chance.random() < 0.33:
                adjustment = chance.randint(0, 1000)
                Path(f"/proc/{process.pid}/oom_score_adj").write_text(f"{adjustment}\n")
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def counters(task: Task) -> tuple[int, ...]:
    return (
        task.rss_pages, task.swap_pages, task.pgtable_pages, task.oom_score_adj, task.threads,
        task.has_mm, task.vfork, task.kernel_oom_score or 0,
    )  # fmt: skip


def compare(before: Snapshot, after: Snapshot) -> tuple[int, list[str]]:
    """Compare for every task whose counters stood still between two looks.

    Returns:
        How many were compared, and a line for each that differs.
    """
    stood = {task.pid: counters(task) for task in before.tasks}
    compared = 0
    different = []
    for row in rank(after, Allocation(), rules_for(after.kernel)):
        task = row.task
        if stood.get(task.pid) != counters(task) or task.kernel_oom_score is None:
            continue
        compared += 1
        if row.oom_score != task.kernel_oom_score:
            different.append(f"{task}: {row.oom_score} computed")
    return compared, different


def settled(scanner: Scanner) -> Snapshot:
    """A snapshot after which new processes have come to rest."""
    end = time.monotonic() + 60
    before = scanner.snapshot()
    while time.monotonic() < end:
        time.sleep(0.2)
        after = scanner.snapshot()
        stood = {task.pid: counters(task) for task in before.tasks}
        if all(stood.get(t.pid) == counters(t) for t in after.tasks if t.ppid == os.getpid()):
            return after
        before = after
    return before


def test_three_hundred_sleepers() -> None:
    with sleepers() as pids, Scanner() as scanner:
        before = settled(scanner)
        compared, different = compare(before, scanner.snapshot())
        assert different == []
        assert compared >= SLEEPERS
        assert len(pids) == SLEEPERS


@pytest.mark.cgroup
def test_mixed_sizes_adjustments_page_tables_and_swap(swap_file: None) -> None:
    """Hogs of 4 to 140 MB, some swapped out, among three hundred sleepers."""
    with sleepers(), Box(24_000, swap_pages=24_000) as box, Box(200_000) as roomy:
        for number in range(6):
            box.hog(adj=137 * number).do("anon", 1500 * number + 1000)
        for number in range(5):
            roomy.hog(adj=211 * number).do("anon", 7000 * number + 1000)
        roomy.hog(adj=3).do("sparse", 3000)
        with Scanner() as scanner:
            before = settled(scanner)
            after = scanner.snapshot()
        compared, different = compare(before, after)
        assert different == []
        assert compared >= SLEEPERS + HOGS
        hogs = [task for task in after.tasks if task.cgroup in (box.path, roomy.path)]
        assert len(hogs) == HOGS
        assert sum(task.swap_pages > 1000 for task in hogs) > 1
        assert len({task.kernel_oom_score for task in hogs}) > 8
