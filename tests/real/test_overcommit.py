"""The largest mapping this kernel grants, in each mode of overcommit_memory (R2)."""

import contextlib
import errno
import mmap
import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from oomkit.host.scan import take_snapshot
from oomkit.kernel.overcommit import Commit, vm_enough_memory
from oomkit.kernel.state import Snapshot
from oomkit.kernel.versions import rules_for

KNOB = "/proc/sys/vm/overcommit_memory"
PAGE = mmap.PAGESIZE
_SPARE_PAGES = (4 << 30) // PAGE


def granted(pages: int) -> bool:
    """Ask the kernel for a private writable mapping, and give it back at once."""
    try:
        mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return False
        raise
    return True


def mode() -> int:
    with open(KNOB) as file:
        return int(file.read())


@contextlib.contextmanager
def overcommit_memory(value: int) -> Iterator[None]:
    """Switch the mode. A process of its own switches it back, even if this one is killed."""
    before = mode()
    if value == before:
        yield
        return
    if os.geteuid() != 0 or not os.access(KNOB, os.W_OK):
        pytest.skip(f"needs to set vm.overcommit_memory to {value}")
    guard = subprocess.Popen(
        ["sh", "-c", f"echo; read line; echo {before} >{KNOB}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    guard.stdout.readline()
    try:
        with open(KNOB, "w") as file:
            file.write(f"{value}\n")
        yield
    finally:
        guard.stdin.close()
        guard.stdout.close()
        guard.wait()
        assert mode() == before


def predict(snapshot: Snapshot, pages: int) -> Commit:
    me = next(task for task in snapshot.tasks if task.pid == os.getpid())
    return vm_enough_memory(
        pages,
        snapshot.memory,
        snapshot.sysctl,
        rules_for(snapshot.kernel),
        task=me,
        page_size=snapshot.page_size,
    )


def test_mode_0_to_the_page() -> None:
    if rules_for(os.uname().release).guess != "ram_swap":
        pytest.skip("before 5.2 the heuristic depends on what is free at the moment")
    with overcommit_memory(0):
        for _ in range(5):
            snapshot = take_snapshot()
            limit = predict(snapshot, 1).limit_pages
            assert limit is not None
            for pages in (limit - 1, limit, limit + 1):
                expected = predict(snapshot, pages)
                if granted(pages) != expected.allowed:
                    break
                assert expected.short_by_pages == max(0, pages - limit)
            else:
                return
            time.sleep(0.2)  # swap may have come or gone in between
        raise AssertionError(f"the kernel does not agree that {limit} pages are the limit")


def test_mode_1_grants_what_mode_0_refuses() -> None:
    with overcommit_memory(1):
        snapshot = take_snapshot()
        beyond = snapshot.memory.total_ram_pages + snapshot.memory.total_swap_pages + 1
        for pages in (beyond - 1, beyond, 4 * beyond):
            commit = predict(snapshot, pages)
            assert commit.allowed
            assert commit.limit == "always"
            assert granted(pages)


def test_mode_2_within_the_drift_of_the_counter() -> None:
    """The kernel compares with an approximate counter; beyond its error the answer is certain.

    Granting the largest mapping leaves nobody else anything for some microseconds; the test is
    only made where that is unlikely to meet anybody.
    """
    before = take_snapshot()
    limit = before.memory.commit_limit_pages or 0
    if limit - before.memory.committed_pages < _SPARE_PAGES or os.getloadavg()[0] > 8:
        pytest.skip("others here could be refused memory")
    with overcommit_memory(2):
        snapshot = take_snapshot()
        largest = predict(snapshot, 1).limit_pages
        assert largest is not None
        assert largest < limit
        cpus = os.cpu_count() or 1
        batch = max(snapshot.memory.total_ram_pages // cpus // 256, 2 * cpus, 32)
        drift = batch * cpus
        answers = [granted(largest - drift), granted(largest + drift)]
    assert answers == [True, False]
    assert predict(snapshot, largest).allowed
    assert predict(snapshot, largest + 1).short_by_pages == 1
