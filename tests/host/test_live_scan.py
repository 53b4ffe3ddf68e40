"""The scan on this very machine: cases that no copy of /proc can play."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from oomkit.host.scan import Scanner, take_snapshot
from oomkit.kernel.state import Snapshot, Task
from oomkit.kernel.versions import rules_for

LEADER_EXITS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""

VFORK = """
import ctypes
libc = ctypes.CDLL(None)
if libc.vfork() == 0:
    libc.pause()
"""


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[Snapshot], Task | None]) -> Task:
    """The task that a snapshot comes to hold; a minute is more than any machine needs."""
    for _ in range(600):
        found = condition(take_snapshot())
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("it never came to that")


def by_pid(snapshot: Snapshot, pid: int) -> Task | None:
    return next((task for task in snapshot.tasks if task.pid == pid), None)


def test_memory_of_a_process_whose_leading_thread_has_exited() -> None:
    with child(LEADER_EXITS) as process:

        def leader_is_gone(snapshot: Snapshot) -> Task | None:
            with open(f"/proc/{process.pid}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
            return by_pid(snapshot, process.pid) if state == "Z" else None

        task = until(leader_is_gone)
        assert task.has_mm
        assert task.rss_pages > 500
        assert task.pgtable_pages > 0
        assert task.kernel_oom_score


@pytest.mark.skipif(
    rules_for(os.uname().release).oom_score != "two_thirds",
    reason="before 5.9 oom_score does not tell who can't be killed",
)
def test_vfork_child_shares_its_parents_memory() -> None:
    with child(VFORK) as process:

        def is_borrowing(snapshot: Snapshot) -> Task | None:
            return next((t for t in snapshot.tasks if t.ppid == process.pid and t.vfork), None)

        task = until(is_borrowing)
        assert task.mm_id == process.pid
        assert task.kernel_oom_score == 0


def test_a_warm_scanner_follows_processes_as_they_come_and_go() -> None:
    with Scanner() as scanner:
        for _ in range(5):
            with child("import time; time.sleep(60)") as process:
                assert by_pid(scanner.snapshot(), process.pid)
                os.kill(process.pid, signal.SIGSTOP)
                assert by_pid(scanner.snapshot(), process.pid)
            assert by_pid(scanner.snapshot(), process.pid) is None


def test_processes_that_end_during_the_scan_are_no_error() -> None:
    churn = "import os\nwhile True:\n    if os.fork() == 0: os._exit(0)\n    os.wait()\n"
    with child(churn), child(churn), Scanner() as scanner:
        for _ in range(30):
            assert scanner.snapshot().tasks
            assert take_snapshot().tasks


def test_own_process_is_as_the_kernel_says() -> None:
    task = by_pid(take_snapshot(), os.getpid())
    assert task is not None
    assert (task.ppid, task.uid) == (os.getppid(), os.getuid())
    assert task.threads >= 1
    assert task.has_mm
    assert not task.kthread
    assert task.nice == os.getpriority(os.PRIO_PROCESS, 0)
