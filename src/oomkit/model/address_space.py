"""Address spaces: what is mapped (asking ``vm_enough_memory()`` first), copied and given back."""

from typing import Final

from oomkit.kernel.overcommit import (
    OVERCOMMIT_ALWAYS,
    OVERCOMMIT_NEVER,
    commit_limit_pages,
    vm_enough_memory,
)
from oomkit.kernel.state import Memory
from oomkit.model import accounting
from oomkit.model.machine import Machine
from oomkit.model.pools import Mm, Pool
from oomkit.model.snapshot import task_record
from oomkit.model.tasks import HUGE_PAGE, PAGE, TABLE_SPAN, Proc
from oomkit.render.quantities import human_pages
from oomkit.scenario.definitions import piece_bytes
from oomkit.scenario.sums import added

_NEGLIGIBLE_PAGES: Final = 0.01
"""Amounts up to this are rounding."""

_INFINITY: Final = float("inf")


def charge(machine: Machine, proc: Proc, pages: float) -> str | None:
    """Charge a private writable mapping to Committed_AS.

    Returns:
        The limit that refuses it, with its value; None: it is charged.
    """
    refusal = None
    if machine.sysctl.overcommit_memory != OVERCOMMIT_ALWAYS:
        memory = _memory(machine)
        refusal = _refusal(machine, proc, pages, memory)
    if refusal is None:
        machine.committed += pages
        proc.mm.charged += pages
    return refusal


def reserve(machine: Machine, proc: Proc, pages: float) -> str | None:
    """Map anonymous memory without touching it; returns what :func:`charge` does."""
    refusal = charge(machine, proc, pages)
    if refusal is None:
        proc.mm.reserved += pages
        proc.mm.mapped += pages
        if pages >= HUGE_PAGE:
            proc.mm.spacious += pages // HUGE_PAGE * HUGE_PAGE
    return refusal


def reserve_shared(machine: Machine, proc: Proc, pages: float) -> str | None:
    """The same with shared memory, which is charged to its file (``shmem_zero_setup()``)."""
    mm = proc.mm
    refusal = charge(machine, proc, pages)
    if refusal is None:
        mm.charged -= pages
        pool = Pool("shmem", mm.group)
        pool.size = pool.charged = pages
        pool.mappers = 1
        machine.share(pool)
        machine.reserves_shared = True
        mm.shared.append((pool, 0.0))
        mm.gone_over = {**mm.gone_over, pool: 0.0}
        mm.mapped += pages
    return refusal


def reserve_hugetlb(machine: Machine, proc: Proc, pages: float) -> str | None:
    """Map huge pages, all of which have to be there (``hugetlb_acct_memory()``).

    Returns:
        what refuses it; None: nothing does.
    """
    pages = -(-pages // HUGE_PAGE) * HUGE_PAGE
    left = machine.hugetlb_total - machine.hugetlb_reserved
    if pages > left:
        return f"huge pages left {human_pages(int(left), PAGE)}"
    machine.hugetlb_reserved += pages
    proc.mm.hugetlb += pages
    proc.mm.mapped += pages
    return None


def _depends_on_usage(machine: Machine) -> bool:
    """Whether the answer depends on what memory is used for, which is slow to sum up."""
    if machine.sysctl.overcommit_memory == OVERCOMMIT_NEVER:
        return False
    return machine.rules.guess != "ram_swap"


def first_refusal(machine: Machine) -> tuple[Proc, str] | None:
    """Let the growing tasks that come to a new piece of address space ask for it, one by one.

    Returns:
        The first that is refused, with the limit that refuses it: its exit may make room for the
        next. None: none is.
    """
    growing = [proc for proc in machine.procs if proc.is_growing and proc.needs_address_space]
    if not growing or not _is_near_limit(machine, growing):
        return None
    for proc in growing:
        piece = _piece_pages(proc)
        left_of_step = max(proc.step_unmapped(), 1.0)
        begun = proc.step_mapped % piece
        if min(begun, piece - begun) > _NEGLIGIBLE_PAGES:
            # The piece it is in was charged when it began it.
            _grant(machine, proc, min(piece - begun, left_of_step))
            continue
        asked = min(piece, left_of_step)
        memory = _memory(machine)
        refusal = _refusal(machine, proc, asked, memory)
        if refusal is not None:
            return proc, refusal
        _grant(machine, proc, asked)
    return None


def _piece_pages(proc: Proc) -> float:
    step = proc.current
    rate = step.rate_bytes_s
    if step.over_s is not None:
        rate = (step.size_bytes or 0) * proc.scale() / step.over_s
    return max(piece_bytes(step, rate) / PAGE, 1.0)


def _grant(machine: Machine, proc: Proc, pages: float) -> None:
    """Charge a piece that a task begins; it touches it in time."""
    _charge_touched(machine, proc, pages)
    proc.granted += pages


def _is_near_limit(machine: Machine, growing: list[Proc]) -> bool:
    """Whether it matters which task comes to its next piece first."""
    memory = accounting.memory(machine)
    left = min(_pages_left(machine, proc, memory) for proc in growing)
    return left <= _margin_pages(growing)


def _margin_pages(growing: list[Proc]) -> float:
    return 2.0 * added(_piece_pages(proc) for proc in growing) + 1.0


def headroom_s(machine: Machine, growing: list[tuple[Proc, float]], estimate_rate: float) -> float:
    """Seconds until a task comes to a piece of address space that may be refused.

    Args:
        machine: the machine.
        growing: tasks that map new memory, with their rates in pages a second.
        estimate_rate: change of free, cached and swappable memory, pages a second.
    """
    soonest = _INFINITY
    asking = []
    for proc, rate in growing:
        if proc.granted > _NEGLIGIBLE_PAGES:
            soonest = min(soonest, proc.granted / rate)
        elif proc.needs_address_space:
            asking.append((proc, rate))
    never = machine.sysctl.overcommit_memory == OVERCOMMIT_NEVER
    rate = added(rate for _, rate in asking) if never else -estimate_rate
    if rate <= 0.0 or not asking:
        return soonest
    memory = accounting.memory(machine)
    procs = [proc for proc, _ in asking]
    left = min(_pages_left(machine, proc, memory) for proc in procs)
    return min(soonest, max(left - _margin_pages(procs) + 1.0, 1.0) / rate)


def _pages_left(machine: Machine, proc: Proc, memory: Memory) -> int:
    answer = vm_enough_memory(
        1, memory, machine.sysctl, machine.rules, task=task_record(machine, proc)
    )
    return answer.limit_pages or 0


def _memory(machine: Machine) -> Memory:
    if _depends_on_usage(machine):
        return accounting.memory(machine)
    return accounting.commit_memory(machine)


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
    """Account for new pages a task touched.

    Anonymous ones are reserved before or mapped now. Shared ones are charged to their file, which
    may outlive the task (``shmem_acct_size()``; of a file in tmpfs page by page,
    ``shmem_inode_acct_blocks()``).
    """
    mm, verb = proc.mm, proc.verb
    if verb == "touch":
        if mm.lazy_space and proc.touches_again:
            pages -= _touch_again(machine, mm, pages)
        if mm.reserved:
            reserved = min(mm.reserved, pages)
            mm.reserved -= reserved
            mm.spacious = max(mm.spacious - reserved, 0.0)
            mm.zeroed = max(mm.zeroed - reserved, 0.0)
            pages -= reserved
    elif verb == "peek":
        untouched = min(mm.reserved - mm.zeroed, pages)
        mm.spacious = max(mm.spacious - untouched, 0.0)
        mm.zeroed += pages
        pages -= untouched
        mm.reserved += pages
    elif mm.gone_over and verb == "share" and (pool := mm.untouched_shared()) is not None:
        _come_by(mm, pool, pages)
        return
    proc.step_mapped += pages
    granted = min(proc.granted, pages)
    proc.granted -= granted
    _charge_touched(machine, proc, pages - granted)


def _touch_again(machine: Machine, mm: Mm, pages: float) -> float:
    """Take address space that was freed lazily; returns how much of it was used."""
    again = min(mm.lazy_space, pages)
    mm.lazy_space -= again
    if mm.lazy_space <= _NEGLIGIBLE_PAGES:
        _drop_lazy(machine, mm)
    return again


def _come_by(mm: Mm, pool: Pool, pages: float) -> None:
    """Have a task touch the next pages of shared memory that was reserved."""
    mm.gone_over[pool] = min(mm.gone_over[pool] + pages, pool.size)
    for i, (other, mapped) in enumerate(mm.shared):
        if other is pool:
            mm.shared[i] = (pool, min(mapped + pages, pool.size))


def _charge_touched(machine: Machine, proc: Proc, pages: float) -> None:
    mm, verb = proc.mm, proc.verb
    machine.committed += pages
    if verb == "tmpfs":
        machine.tmpfs_of(mm.group).charged += pages
        return
    mm.mapped += pages
    if verb == "share":
        mm.shmem.charged += pages
    else:
        mm.charged += pages


def uncharge(machine: Machine, proc: Proc, pages: float) -> None:
    """Remove the charge of an unmapped mapping from Committed_AS."""
    pages = min(pages, proc.mm.charged)
    machine.committed -= pages
    proc.mm.charged -= pages


def copy_on_write(machine: Machine, mm: Mm, copy: Mm) -> None:
    """Share what the parent has until one of the two writes to it, as ``dup_mmap()`` does.

    Shared memory stays shared. Its page tables are not copied (``vma_needs_copy()``): the copy has
    none of it resident before it comes by.
    """
    anon = mm.anon
    pages = anon.resident + anon.swapped
    if pages > 0.5:
        pool = machine.cow_pool(mm.group)
        pool.resident, pool.swapped = anon.resident, anon.swapped
        pool.oldest_s, pool.newest_s = anon.oldest_s, anon.newest_s
        pool.huge = anon.huge
        anon.resident = anon.swapped = anon.huge = 0.0
        mm.cow_views.append((pool, pages))
    copy.cow_views = list(mm.cow_views)
    shmem = mm.shmem
    if shmem.resident + shmem.swapped > 0.5:
        mm.shared.append((shmem, shmem.resident + shmem.swapped))
        shmem.mappers = 1
        machine.share(shmem)
        mm.shmem = Pool("shmem", mm.group)
    not_copied = 0.0
    for pool, mapped in mm.shared:
        pool.mappers += 1
        copy.shared.append((pool, 0.0))
        not_copied += mapped / TABLE_SPAN
    if mm.gone_over:
        copy.gone_over = dict(mm.gone_over)
    copy.reserved, copy.mapped, copy.zeroed = mm.reserved, mm.mapped, mm.zeroed
    copy.spacious = mm.spacious
    copy.tables = max(mm.tables - not_copied, float(mm.BASE_TABLES))


def map_shared(machine: Machine, mm: Mm, pages: dict[Pool, float]) -> None:
    """Have at least so many pages of pools that others map, too, in a task's page tables."""
    for i, (pool, mapped) in enumerate(mm.shared):
        more = pages.get(pool, 0.0) - mapped
        if more > 0.0:
            mm.shared[i] = (pool, mapped + more)
            mm.tables += more / TABLE_SPAN
            machine.free -= more / TABLE_SPAN


def free_lazily(machine: Machine, proc: Proc, wanted: float) -> None:
    """Give the process's own anonymous pages back by ``MADV_FREE``.

    ``madvise_free_pte_range()``: pages in swap are freed at once, and so is nothing that others
    map, too. The rest stays, mapped and charged, on the lists of files.
    """
    mm = proc.mm
    held = mm.anon.resident + mm.anon.swapped
    freed = min(wanted, held)
    if freed <= 0.0:
        return
    remaining = 1.0 - freed / held
    if mm.lazy is None:
        mm.lazy = Pool("lazy", mm.group)
        machine.stale = machine.frees_lazily = True
    mm.lazy.resident += mm.anon.resident * (1.0 - remaining)
    mm.lazy_space += freed
    mm.anon.resident *= remaining
    mm.anon.swapped *= remaining
    mm.anon.huge *= remaining


def _drop_lazy(machine: Machine, mm: Mm) -> float:
    """Unmap what was freed lazily; returns its address space."""
    space = mm.lazy_space
    if mm.lazy is not None:
        machine.free += mm.lazy.resident
        mm.lazy.resident = mm.lazy_space = 0.0
    return space


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
        mm.anon.huge *= remaining
    tables = min(own / 512.0, mm.tables - mm.BASE_TABLES)
    if tables > 0.0:
        mm.tables -= tables
        machine.free += tables
    shared = added(view for _, view in mm.cow_views)
    more = min(wanted - own, shared)
    if more > 0.0:
        mm.cow_views = [(pool, view * (1.0 - more / shared)) for pool, view in mm.cow_views]
        machine.shrink_cow_pools()
    more += _drop_lazy(machine, mm)
    mm.mapped = max(mm.mapped - own - more, float(mm.BASE_VM))
    uncharge(machine, proc, own + more)


def _drop(machine: Machine, pool: Pool) -> None:
    """Free a pool that nothing maps any more; of shared memory that ends its file."""
    machine.free += pool.resident
    machine.committed -= pool.charged
    pool.resident = pool.swapped = pool.charged = pool.huge = 0.0


def tear_down(machine: Machine, mm: Mm) -> None:
    """Give back all that an address space holds, as ``exit_mmap()`` does."""
    for pool in (mm.anon, mm.shmem):
        _drop(machine, pool)
    for pool, _ in mm.shared:
        pool.mappers -= 1
        if not pool.mappers:
            _drop(machine, pool)
            machine.stale = True
    mm.shared = []
    _drop_lazy(machine, mm)
    machine.free += mm.locked + mm.tables
    machine.hugetlb_reserved -= mm.hugetlb
    mm.locked = mm.tables = mm.hugetlb = 0.0
    machine.committed -= mm.charged
    mm.charged = 0.0
    if mm.cow_views:
        mm.cow_views = []
        machine.shrink_cow_pools()
