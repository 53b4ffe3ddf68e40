"""Processes that share their memory without being threads of one (``CLONE_VM``, ``vfork``)."""

from functools import cmp_to_key
from itertools import pairwise

from oomkit.host.libc import kcmp_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomkit.policy.core.candidate import Candidate


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
            if kcmp_memory(before.pid, one.pid) == 0:
                before.mm_id = one.mm_id = before.mm_id or before.pid
    except ProcessLookupError:
        # Somebody has ended meanwhile: those who are left are compared one by one.
        _mark_pairs(living)
    except OSError:
        return


def sharers_of(pid: int, pids: "Iterable[int]") -> list[int]:
    """Those of some processes that share the address space of another one."""
    found = []
    for other in pids:
        try:
            if other != pid and kcmp_memory(pid, other) == 0:
                found.append(other)
        except ProcessLookupError:
            continue
        except OSError:
            break
    return found


def _order(one: "Candidate", other: "Candidate") -> int:
    return (0, -1, 1)[kcmp_memory(one.pid, other.pid)]


def _mark_pairs(living: "Sequence[Candidate]") -> None:
    for index, one in enumerate(living):
        for other in living[index + 1 :]:
            if _shares(one.pid, other.pid):
                other.mm_id = one.mm_id = one.mm_id or one.pid


def _shares(one: int, other: int) -> bool:
    try:
        return kcmp_memory(one, other) == 0
    except OSError:
        return False
