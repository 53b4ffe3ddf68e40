"""Processes that share their memory without being threads of one (``CLONE_VM``, ``vfork``)."""

import os
from functools import cmp_to_key
from itertools import pairwise

from oomkit.guard.process_files import living_thread
from oomkit.host.libc import kcmp_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomkit.policy.engine.candidate import Candidate

_TRIES = 4


class Sharers:
    """Finds them by ``kcmp``, whose order of address spaces lets processes be sorted.

    That order holds for as long as the machine is up. So what was sorted before is put into the
    same order to begin with, which leaves one comparison for each; nothing else is concluded
    from it.

    Attributes:
        compared: pids that were compared with each other when last asked; which of them is
            not marked shares its memory with none of them.
    """

    __slots__ = ("_place", "compared")

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self.compared: frozenset[int] = frozenset()

    def mark(self, top: "Sequence[Candidate]") -> None:
        """Give those of the largest that share an address space the same ``mm_id``.

        Where ``kcmp`` is refused or not built in no sharing is known.
        """
        self.compared = frozenset()
        living = [one for one in top if not one.kthread and one.anon_kb + one.swap_kb > 0.0]
        for one in living:
            one.mm_id = None
        place, last = self._place, len(self._place)
        living.sort(key=lambda one: place.get(one.tid, last))
        for _ in range(_TRIES):
            try:
                living = _sorted(living)
            except ProcessLookupError:  # one has exited meanwhile
                living = [one for one in living if _shares(one.tid, one.tid)]
                continue
            except OSError:
                return
            self._place = {one.tid: number for number, one in enumerate(living)}
            self.compared = frozenset(one.pid for one in living)
            return
        _mark_pairs(living)


def _sorted(living: "list[Candidate]") -> "list[Candidate]":
    """In the kernel's order, those that share an address space marked.

    Raises:
        ProcessLookupError: one has exited.
        OSError: ``kcmp`` is refused, or not built in.
    """
    equal = False

    def order(one: "Candidate", other: "Candidate") -> int:
        nonlocal equal
        found = kcmp_memory(one.tid, other.tid)
        equal = equal or not found
        return (0, -1, 1)[found]

    ordered = sorted(living, key=cmp_to_key(order))
    # A sharer has been compared with another one, so as a rule this is all.
    if equal:
        for before, one in pairwise(ordered):
            if kcmp_memory(before.tid, one.tid) == 0:
                before.mm_id = one.mm_id = before.mm_id or before.pid
    return ordered


def sharers_of(
    pid: int, pids: "Iterable[int]", proc: str = "/proc", *, tid: int | None = None
) -> list[int]:
    """Those of some processes that share the address space of another one.

    Args:
        pid: that one.
        pids: the others.
        proc: the proc file system.
        tid: a thread of it that had its memory when it was last read; None: the leading one.
    """
    found = []
    try:
        tid = _living(pid, proc, pid if tid is None else tid)
    except OSError:
        return []
    for other in pids:
        try:
            if other != pid and _shares_with(tid, other, proc):
                found.append(other)
        except ProcessLookupError:
            continue
        except OSError:
            break
    return found


def _shares_with(tid: int, pid: int, proc: str) -> bool:
    """Whether a process shares the address space of a thread of another one.

    Raises:
        OSError: it is gone, or ``kcmp`` is refused.
    """
    if kcmp_memory(tid, pid) == 0:
        return True
    try:
        # A leading thread that has exited has no program any more; to see that opens no file.
        os.readlink(f"{proc}/{pid}/exe")
    except OSError:
        thread = _living(pid, proc, pid)
        return thread != pid and kcmp_memory(tid, thread) == 0
    return False


def _living(pid: int, proc: str, tid: int) -> int:
    """A thread of a process that has its memory: a leading one that has exited has none.

    Args:
        pid: the process.
        proc: the proc file system.
        tid: the thread it is taken to be where no more files can be opened.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        thread = living_thread(f"{proc}/{pid}", strict=True)
    except ProcessLookupError:
        raise
    except OSError:
        return tid
    return int(thread.rpartition("/")[2])


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
