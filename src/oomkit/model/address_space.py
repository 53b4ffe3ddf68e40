"""Address spaces: what is mapped (asking ``vm_enough_memory()`` first), copied and given back."""

from typing import Final

from oomkit.kernel.overcommit import (
    OVERCOMMIT_ALWAYS,
    OVERCOMMIT_NEVER,
    commit_limit_pages,
    vm_enough_memory,
)
from oomkit.kernel.state import Memory
from oomkit.model.machine import Machine
from oomkit.model.pools import Mm
from oomkit.model.snapshot import task_record
from oomkit.model.tasks import PAGE, Proc
from oomkit.render.quantities import human_pages
from oomkit.scenario.sums import added

HEAP_STEP_PAGES: Final = 32
"""Pages the heap grows by at a time: the default of malloc's ``M_TOP_PAD``."""

_INFINITY: Final = float("inf")


def charge(machine: Machine, proc: Proc, pages: float) -> str | None:
    """Charge a private writable mapping to Committed_AS.

    Returns:
        The limit that refuses it, with its value; None: it is charged.
    """
    refusal = None
    if machine.sysctl.overcommit_memory != OVERCOMMIT_ALWAYS:
        memory = machine.memory() if _depends_on_usage(machine) else machine.commit_memory()
        refusal = _refusal(machine, proc, pages, memory)
    if refusal is None:
        machine.committed += pages
        proc.mm.charged += pages
    return refusal


def _depends_on_usage(machine: Machine) -> bool:
    """Whether the answer depends on what memory is used for, which is slow to sum up."""
    if machine.sysctl.overcommit_memory == OVERCOMMIT_NEVER:
        return False
    return machine.rules.guess != "ram_swap"


def refusals(machine: Machine, growing: list[Proc]) -> list[tuple[Proc, str]]:
    """The growing tasks whose next piece of heap is refused, with the limit that refuses it."""
    memory = machine.memory()
    refusals = []
    for proc in growing:
        if proc.mm.reserved < 1.0:
            refusal = _refusal(machine, proc, HEAP_STEP_PAGES, memory)
            if refusal is not None:
                refusals.append((proc, refusal))
    return refusals


def headroom_s(machine: Machine, growing: list[tuple[Proc, float]], estimate_rate: float) -> float:
    """Seconds until the next piece of heap is refused to a task.

    Args:
        machine: the machine.
        growing: tasks that map new memory, with their rates in pages a second.
        estimate_rate: change of free, cached and swappable memory, pages a second.
    """
    never = machine.sysctl.overcommit_memory == OVERCOMMIT_NEVER
    rate = added(rate for _, rate in growing) if never else -estimate_rate
    if rate <= 0.0 or not growing:
        return _INFINITY
    memory = machine.memory()
    left = min(_pages_left(machine, proc, memory) for proc, _ in growing)
    return max(left - HEAP_STEP_PAGES + 1, 1) / rate


def _pages_left(machine: Machine, proc: Proc, memory: Memory) -> int:
    answer = vm_enough_memory(
        HEAP_STEP_PAGES, memory, machine.sysctl, machine.rules, task=task_record(machine, proc)
    )
    return answer.limit_pages or 0


def can_refuse(machine: Machine) -> bool:
    """Whether small pieces are ever refused.

    Not by mode 1, nor by the heuristics up to 3.0 (they count all of the page cache, which is
    never that small) and from 5.2 on (they only look at the size of the request).
    """
    mode = machine.sysctl.overcommit_memory
    if mode == OVERCOMMIT_NEVER:
        return True
    return mode != OVERCOMMIT_ALWAYS and machine.rules.guess in ("free_reserve", "admin_reserve")


def _refusal(machine: Machine, proc: Proc, pages: float, memory: Memory) -> str | None:
    answer = vm_enough_memory(
        round(pages), memory, machine.sysctl, machine.rules, task=task_record(machine, proc)
    )
    if answer.allowed:
        return None
    if answer.limit == "CommitLimit":
        limit = commit_limit_pages(memory, machine.sysctl, machine.rules)
        return f"CommitLimit {human_pages(limit, PAGE)}"
    return f"{answer.limit} {human_pages(max(answer.limit_pages or 0, 0), PAGE)}"


def map_touched(machine: Machine, proc: Proc, pages: float) -> None:
    """Account for new pages a task touched: reserved ones first, the others are mapped now."""
    mm = proc.mm
    reserved = min(mm.reserved, pages)
    mm.reserved -= reserved
    mm.mapped += pages - reserved
    mm.charged += pages - reserved
    machine.committed += pages - reserved


def uncharge(machine: Machine, proc: Proc, pages: float) -> None:
    """Remove the charge of an unmapped mapping from Committed_AS."""
    pages = min(pages, proc.mm.charged)
    machine.committed -= pages
    proc.mm.charged -= pages


def copy_on_write(machine: Machine, mm: Mm, copy: Mm) -> None:
    """Share what the parent has until one of the two writes to it, as ``dup_mmap()`` does."""
    anon = mm.anon
    pages = anon.resident + anon.swapped
    if pages > 0.5:
        pool = machine.cow_pool(mm.group)
        pool.resident, pool.swapped = anon.resident, anon.swapped
        anon.resident = anon.swapped = 0.0
        mm.cow_views.append((pool, pages))
    copy.cow_views = list(mm.cow_views)
    copy.reserved, copy.mapped, copy.tables = mm.reserved, mm.mapped, mm.tables


def free_anon(machine: Machine, proc: Proc, wanted: float) -> None:
    """Free anonymous memory, resident and swapped alike: the process's own pages first."""
    mm = proc.mm
    held = mm.anon.resident + mm.anon.swapped
    own = min(wanted, held)
    if held > 0.0:
        remaining = 1.0 - own / held
        machine.free += mm.anon.resident * (1.0 - remaining)
        mm.anon.resident *= remaining
        mm.anon.swapped *= remaining
    tables = min(own / 512.0, mm.tables - mm.BASE_TABLES)
    if tables > 0.0:
        mm.tables -= tables
        machine.free += tables
    shared = added(view for _, view in mm.cow_views)
    more = min(wanted - own, shared)
    if more > 0.0:
        mm.cow_views = [(pool, view * (1.0 - more / shared)) for pool, view in mm.cow_views]
        machine.shrink_cow_pools()
    mm.mapped = max(mm.mapped - own - more, float(mm.BASE_VM))
    uncharge(machine, proc, own + more)


def tear_down(machine: Machine, mm: Mm) -> None:
    """Give back all that an address space holds, as ``exit_mmap()`` does."""
    for pool in (mm.anon, mm.shmem):
        machine.free += pool.resident
        pool.resident = pool.swapped = 0.0
    machine.free += mm.locked + mm.tables
    mm.locked = mm.tables = 0.0
    machine.committed -= mm.charged
    mm.charged = 0.0
    if mm.cow_views:
        mm.cow_views = []
        machine.shrink_cow_pools()
