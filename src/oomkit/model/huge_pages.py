"""Transparent huge pages: anonymous memory faulted in 2 MB at a time (mm/huge_memory.c, 6.12)."""

from typing import Final

from oomkit.model.demand import Demand
from oomkit.model.machine import Machine
from oomkit.model.pools import Group
from oomkit.model.reclaim import BATCH_PAGES
from oomkit.model.tasks import HUGE_PAGE, PAGE, TABLE_SPAN, Proc, step_pace
from oomkit.scenario.definitions import piece_bytes

HUGE_COST: Final = 0.16
"""CPU time of a page that is faulted in as part of a huge one, in faults.

Measured by time on an x86-64 with 6.18: 0.45 us a page of 64 MB, 2.85 us in small ones. A guest
that counts instructions says 1.11, since to it clearing a page is most of a fault.
"""

_FEW_PAGES: Final = 0.5


def fault_huge(machine: Machine, proc: Proc, demand: Demand) -> None:
    """Have a step that touches new memory fault huge pages in, where it gets any.

    ``do_huge_pmd_anonymous_page()`` needs room for a whole one in the mapping, and a free block;
    without it the fault takes a small page. A page table is put aside for each huge page, so that
    it can be split.
    """
    mm, step = proc.mm, proc.current
    if step.scatter or not _is_allowed(machine, proc) or not _is_free(machine, proc):
        return
    span = (step.stride_bytes or PAGE) / PAGE
    left = 0.0
    if mm.reserved > _FEW_PAGES:
        # What has room is touched first; the rest of what is reserved is small.
        left = mm.spacious / span
        if left <= _FEW_PAGES:
            return
    elif piece_bytes(step) < HUGE_PAGE * PAGE:
        return
    pages = min(span, float(HUGE_PAGE))
    page_s = (pages * HUGE_COST + pages / TABLE_SPAN) / machine.fault_pages_s
    pace = step_pace(step, proc.scale(), 1.0 / page_s, machine.disk_pages_s)
    demand.pace, demand.cpus = pace, pace * page_s
    demand.tables = pace * pages / TABLE_SPAN
    demand.huge = pace * pages
    demand.new_pages = [(mm.anon, demand.huge)]
    demand.alloc_rate = demand.huge + demand.tables
    demand.pages_alike = left


def _is_allowed(machine: Machine, proc: Proc) -> bool:
    """By ``enabled``, ``madvise()`` and ``PR_SET_THP_DISABLE`` (``thp_vma_allowable_orders()``)."""
    asks = proc.spec.thp
    return asks == "madvise" or (asks is None and machine.spec.thp == "always")


def _is_free(machine: Machine, proc: Proc) -> bool:
    """Whether a fault gets a huge page without much ado.

    With ``defrag`` at ``madvise``, its default, who did not ask does not reclaim for one
    (``GFP_TRANSHUGE_LIGHT``): not below the low watermark, nor at its cgroup's limit. Above that
    mark kswapd keeps free what it reclaims: whole blocks, as long as those are huge pages that are
    swapped out whole (``thp_swpout``).
    """
    if proc.spec.thp == "madvise":
        return True
    if machine.free <= machine.watermarks.wake_pages + HUGE_PAGE:
        return False
    if machine.kswapd_awake and not _reclaims_blocks(machine):
        return False
    group = proc.mm.group
    return group is None or all(_has_room(one) for one in group.ancestry)


def _reclaims_blocks(machine: Machine) -> bool:
    unused_file = anon = huge = 0.0
    for pool in machine.pools():
        if pool.is_file:
            unused_file += max(pool.resident - pool.hot, 0.0)
        else:
            anon += pool.resident
            huge += pool.huge
    return unused_file <= BATCH_PAGES and huge >= anon / 2.0


def _has_room(group: Group) -> bool:
    return group.usage + HUGE_PAGE <= min(group.max_pages, group.memsw_pages)
