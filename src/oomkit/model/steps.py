"""What each step has its task want at full speed: CPU, new pages, refaults, disk."""

from typing import Final

from oomkit.model.demand import READ_AHEAD_PAGES, Demand, Refaults, refaults_of
from oomkit.model.huge_pages import fault_huge
from oomkit.model.machine import Machine
from oomkit.model.pools import Pool
from oomkit.model.tasks import PAGE, PEEK_COST, TABLE_SPAN, Proc, step_pace
from oomkit.model.working_sets import WorkingSets

_COPY_SPEED: Final = 4.0
"""How many times faster pages are copied to the page cache than faulted in."""

_REGAIN_COST: Final = 0.1
"""CPU time of writing to a page that is mapped, as a share of a fault's: a store, a missed TLB.

Measured by time on an x86-64 with 6.18; by counted instructions it is a thousandth."""

_MAP_COST: Final = 0.34
"""The same of a fault that finds its page of shared memory (``shmem_get_folio_gfp()``).

Measured, as :data:`~oomkit.model.tasks.PEEK_COST`, as those of oomkit.scenario.format.COSTS were.
"""

_FEW_PAGES: Final = 32.0
"""Fewer pages that are unlike the next make no difference."""

_PROGRAM_WALKS_S: Final = 10.0
"""How often a second a running program uses each page of its text."""

_CACHED_SHARE: Final = 0.99
"""A file of which this share is in memory counts as cached."""

_INFINITY: Final = float("inf")


def task_demands(machine: Machine, working_sets: WorkingSets) -> list[Demand]:
    """The demands of the running tasks, and of the system.

    Args:
        machine: the machine.
        working_sets: what :func:`mark_working_sets` found just now.
    """
    read_at_end: set[Pool] = set()
    text: dict[Pool, Refaults | None] = {}
    at_front = _sharers_at_front(machine)
    demands = [
        _demand_of(machine, proc, working_sets, read_at_end, at_front, text)
        for proc in machine.procs
        if proc.state == "run" and not proc.frozen
    ]
    programs = machine.programs
    if programs is not None and programs.missing_share > 0.0:
        # The probe goes over its part of them each round.
        demands.append(Demand(None))
        rate = programs.hot / machine.probe.every_s
        costs = refaults_of(machine, programs, rate, programs.missing_share)
        demands[-1].add_refaults(programs, costs)
    return demands


def _demand_of(
    machine: Machine,
    proc: Proc,
    working_sets: WorkingSets,
    read_at_end: set[Pool],
    at_front: dict[Pool, int],
    text: dict[Pool, Refaults | None],
) -> Demand:
    demand = Demand(proc)
    verb = proc.verb
    if verb == "work":
        _add_work(machine, proc, demand, working_sets[proc])
    elif verb == "read":
        _add_read(machine, proc, demand, read_at_end)
    elif verb == "write":
        _add_write(machine, proc, demand)
    elif not proc.grows:
        # Huge pages were set aside, so it takes none. To clear one takes as long as small ones.
        demand.pace = step_pace(
            proc.current, proc.scale(), machine.fault_pages_s, machine.disk_pages_s
        )
        demand.cpus = demand.pace / machine.fault_pages_s
    elif (
        machine.reserves_shared
        and verb == "share"
        and (shared := proc.mm.untouched_shared()) is not None
    ):
        _add_share(machine, proc, demand, shared, at_front)
    else:
        _add_touch(machine, proc, demand)
    program = proc.program
    if program is not None:
        if program not in text:
            text[program] = _text_refaults(machine, program)
        costs = text[program]
        if costs is not None:
            demand.add_refaults(program, costs)
    return demand


def _text_refaults(machine: Machine, program: Pool) -> Refaults | None:
    """What a running program costs whose text is not all in memory; None: it is."""
    missing = program.missing_share
    if missing <= 0.0:
        return None
    return refaults_of(machine, program, program.size * _PROGRAM_WALKS_S, missing)


def _add_touch(machine: Machine, proc: Proc, demand: Demand) -> None:
    """Steps that take new memory."""
    if not proc.is_paced:
        _pace_touch(machine, proc)
    pace, tables = proc.pace, proc.tables
    demand.pace, demand.tables, demand.cpus = pace, tables, proc.cpus
    verb = proc.verb
    if verb == "peek":
        demand.alloc_rate = tables
        return
    demand.new_pages = [(_target_pool(machine, proc), pace)]
    demand.alloc_rate = pace + tables
    if machine.thp:
        demand.huge = 0.0
    if verb == "touch" and (proc.mm.lazy_space or proc.mm.zeroed):
        _touch_again(machine, proc, demand)
    elif machine.thp and verb == "touch":
        fault_huge(machine, proc, demand)


def _touch_again(machine: Machine, proc: Proc, demand: Demand) -> None:
    """Writing to memory that has page tables: freed lazily, or read only so far."""
    mm = proc.mm
    step = proc.current
    spread = (step.stride_bytes or PAGE) / PAGE
    pages = mm.zeroed / spread
    regained = 0.0
    if mm.lazy_space > _FEW_PAGES and proc.touches_again:
        # What is left of it may be reclaimed meanwhile.
        pages = max(mm.lazy_space / 4.0, min(mm.lazy_space, 256.0))
        regained = mm.lazy_rss() / mm.lazy_space
    elif pages <= _FEW_PAGES:
        return
    faults = 1.0 - regained * (1.0 - _REGAIN_COST)
    fastest = machine.fault_pages_s / faults
    pace = step_pace(step, proc.scale(), fastest, machine.disk_pages_s)
    demand.pace, demand.tables, demand.cpus = pace, 0.0, pace / fastest
    demand.new_pages = [(mm.anon, pace)]
    demand.regained = pace * regained
    demand.alloc_rate = pace - demand.regained
    demand.pages_alike = pages


def _pace_touch(machine: Machine, proc: Proc) -> None:
    """Set what a step that takes new memory does at full speed."""
    step = proc.current
    pace = step_pace(step, proc.scale(), machine.fault_pages_s, machine.disk_pages_s)
    span = (step.stride_bytes or PAGE) / PAGE
    tables = 0.0 if step.verb == "tmpfs" else pace * min(span / TABLE_SPAN, 1.0)
    if step.verb in ("share", "tmpfs"):
        cpus = pace * machine.share_s + tables / machine.fault_pages_s
    elif step.verb == "peek":
        cpus = (pace * PEEK_COST + tables) / machine.fault_pages_s
    else:
        cpus = (pace + tables) / machine.fault_pages_s
    if cpus > 1.0:
        pace /= cpus
        tables /= cpus
        cpus = 1.0
    proc.pace, proc.tables, proc.cpus = pace, tables, cpus
    proc.is_paced = True


def _target_pool(machine: Machine, proc: Proc) -> Pool | None:
    """The pool that a growing task's new pages belong to."""
    verb = proc.verb
    if verb == "touch":
        return proc.mm.anon
    if verb == "share":
        return proc.mm.shmem
    return machine.tmpfs_of(proc.mm.group) if verb == "tmpfs" else None


def _sharers_at_front(machine: Machine) -> dict[Pool, int]:
    """How many tasks touch the next untouched page of shared memory that was reserved."""
    found: dict[Pool, int] = {}
    for proc in machine.procs if machine.reserves_shared else ():
        if proc.verb == "share" and proc.state == "run" and not proc.frozen:
            pool = proc.mm.untouched_shared()
            if pool is not None and _is_at_front(proc.mm.gone_over[pool], pool):
                found[pool] = found.get(pool, 0) + 1
    return found


def _is_at_front(position: float, pool: Pool) -> bool:
    return position >= pool.resident + pool.swapped - READ_AHEAD_PAGES


def _add_share(
    machine: Machine, proc: Proc, demand: Demand, pool: Pool, at_front: dict[Pool, int]
) -> None:
    """Touching shared memory that was reserved, and that others may have touched.

    A page is allocated once (``shmem_get_folio_gfp()``); who comes later only maps it.
    """
    position = proc.mm.gone_over[pool]
    touched = pool.resident + pool.swapped
    new = missing = 0.0
    demand.pages_alike = pool.size - position
    if _is_at_front(position, pool):
        new = 1.0 / at_front[pool]
    else:
        missing = pool.swapped / touched
        demand.pages_alike = min(demand.pages_alike, touched - position - READ_AHEAD_PAGES + 1.0)
    mapped = (1.0 - new) * _MAP_COST + 1.0 / TABLE_SPAN
    page_s = new * machine.share_s + mapped / machine.fault_pages_s
    pace = step_pace(proc.current, proc.scale(), 1.0 / page_s, machine.disk_pages_s)
    demand.pace, demand.tables, demand.cpus = pace, pace / TABLE_SPAN, pace * page_s
    demand.alloc_rate = pace * new + demand.tables
    if new > 0.0:
        demand.new_pages = [(pool, pace * new)]
    demand.add_refaults(pool, refaults_of(machine, pool, pace, missing))


def _add_read(machine: Machine, proc: Proc, demand: Demand, read_at_end: set[Pool]) -> None:
    """Reading a file; ``read_at_end`` are those whose next new pages another task reads now."""
    step = proc.current
    pool = machine.file(step.file or proc.key, proc.mm.group)
    position = proc.step_total - proc.step_left
    at_end = position >= pool.size - READ_AHEAD_PAGES
    if at_end and pool not in read_at_end:
        missing = 1.0
        read_at_end.add(pool)
    elif at_end:
        missing = 0.0
    else:
        cached = (pool.resident + pool.dirty) / pool.size
        missing = 1.0 - cached if cached < _CACHED_SHARE else 0.0
    wanted = _INFINITY
    if step.rate_bytes_s is not None:
        wanted = step.rate_bytes_s / PAGE
    elif step.over_s is not None:
        wanted = proc.step_total / step.over_s
    # A follower at the end is bound by the disk, too: it can't overtake the first reader.
    fastest = (
        machine.disk_pages_s if at_end else machine.disk_pages_s / missing if missing else _INFINITY
    )
    page_s = missing * machine.first_read_s + (1.0 - missing) * machine.read_s
    demand.pace = min(wanted, 1.0 / page_s, fastest)
    demand.cpus = demand.pace * page_s
    pages = demand.pace * missing
    if pages > 0.0:
        demand.new_pages = [(pool, pages)]
        demand.async_io = demand.queued_io = pages / machine.disk_pages_s
        demand.alloc_rate = pages


def _add_write(machine: Machine, proc: Proc, demand: Demand) -> None:
    """Writing a file."""
    step = proc.current
    pool = machine.file(step.file or proc.key, proc.mm.group)
    if not proc.is_paced:
        fastest = _COPY_SPEED * machine.fault_pages_s
        proc.pace = step_pace(step, proc.scale(), fastest, machine.disk_pages_s)
        proc.cpus = proc.pace / fastest
        proc.is_paced = True
    demand.pace, demand.cpus = proc.pace, proc.cpus
    demand.dirty_file = pool
    demand.alloc_rate = demand.pace


def _add_work(
    machine: Machine, proc: Proc, demand: Demand, parts: list[tuple[Pool, float]]
) -> None:
    """Going over a working set, page by page."""
    step = proc.current
    demand.pace = 1.0
    demand.cpus = float(proc.threads)
    whole = 0.0
    for _, pages in parts:
        whole += pages
    file = machine.file(step.file, proc.mm.group) if step.file is not None else None
    if file is not None:
        whole += file.size
    if whole <= 0.0:
        return
    walk = whole if step.rate_bytes_s is None else step.rate_bytes_s / PAGE
    for pool, pages in parts:
        missing = pool.missing_share
        if missing > 0.0:
            demand.add_refaults(pool, refaults_of(machine, pool, walk * pages / whole, missing))
        if pool.is_cow:
            demand.cow_left += pages
    if file is not None:
        rate = walk * file.size / whole
        demand.add_refaults(file, refaults_of(machine, file, rate, file.missing_share))
    if proc.mm.shared:
        demand.passes = walk / whole
        demand.shared = [part for part in parts if part[0].mappers]
    if demand.cow_left > 0.5:
        # It goes from page to page, so what it still shares lies ahead of it in the first pass.
        ahead = max(whole - proc.worked_s * walk, demand.cow_left)
        demand.cow_rate = walk * demand.cow_left / ahead
        demand.new_pages = [(proc.mm.anon, demand.cow_rate)]
        demand.alloc_rate += demand.cow_rate
