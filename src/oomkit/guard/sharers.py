"""Processes that share their memory without being threads of one (``CLONE_VM``, ``vfork``)."""

from functools import cmp_to_key
from itertools import pairwise

from oomkit.guard.identity import has_exited
from oomkit.guard.process_files import living_thread
from oomkit.host.libc import kcmp_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomkit.policy.engine.candidate import Candidate


def mark_sharers(top: "Sequence[Candidate]") -> None:
    """Give those of the largest who share an address space the same ``mm_id``.

    They are found by ``kcmp``, whose order of address spaces lets them be sorted. Where it is
    refused or not built in nobody is known to share.
    """
    living = [one for one in top if not one.kthread and one.anon_kb + one.swap_kb > 0.0]
    for one in living:
        one.mm_id = None
    try:
        living.sort(key=cmp_to_key(_order))
        for before, one in pairwise(living):
            if kcmp_memory(before.tid, one.tid) == 0:
                before.mm_id = one.mm_id = before.mm_id or before.pid
    except ProcessLookupError:
        # Somebody has ended meanwhile: those who are left are compared one by one.
        _mark_pairs(living)
    except OSError:
        return


def sharers_of(pid: int, pids: "Iterable[int]", proc: str = "/proc") -> list[int]:
    """Those of some processes that share the address space of another one."""
    found = []
    try:
        tid = _living(pid, proc)
    except OSError:
        return []
    for other in pids:
        try:
            if other != pid and kcmp_memory(tid, _living(other, proc)) == 0:
                found.append(other)
        except ProcessLookupError:
            continue
        except OSError:
            break
    return found


def _living(pid: int, proc: str) -> int:
    """A thread of a process that has its memory: a leading one that has exited has none.

    Raises:
        ProcessLookupError: it is gone.
        OSError: too many files are open.
    """
    directory = f"{proc}/{pid}"
    thread = living_thread(directory)
    if thread == directory and has_exited(directory):
        raise ProcessLookupError(directory)
    return int(thread.rpartition("/")[2])


def _order(one: "Candidate", other: "Candidate") -> int:
    return (0, -1, 1)[kcmp_memory(one.tid, other.tid)]


def _mark_pairs(living: "Sequence[Candidate]") -> None:
    for index, one in enumerate(living):
        for other in living[index + 1 :]:
            if _shares(one.tid, other.tid):
                other.mm_id = one.mm_id = one.mm_id or one.pid


def _shares(one: int, other: int) -> bool:
    try:
        return kcmp_memory(one, other) == 0
    except OSError:
        return False
