"""What each running task would do at full speed: CPU, new pages, refaults, disk."""

from typing import Final

from oomkit.model.domains import AT_LIMIT_PAGES, Domain
from oomkit.model.machine import Machine
from oomkit.model.pools import Pool
from oomkit.model.tasks import PAGE, TABLE_SPAN, Proc, step_pace

_COPY_SPEED: Final = 4.0
"""How many times faster pages are copied to the page cache than faulted in."""

_PROGRAM_WALKS_S: Final = 10.0
"""How often a second a running program uses each page of its text."""

_CACHED_SHARE: Final = 0.99
"""A file of which this share is in memory counts as cached."""

READ_AHEAD_PAGES: Final = 32
"""A task that reads at most this far behind the first reader finds its pages cached."""

_INFINITY: Final = float("inf")

WorkingSets = dict[Proc, list[tuple[Pool, float]]]
"""The pools that each working task goes over, with the pages of each."""

Refaults = tuple[float, float, float, float]
"""What going over a pool costs a second: pages that come back, CPUs, seconds of disk time for pages
that were never in memory, seconds of disk time for the others."""


class Demand:
    """What one task would do at full speed, and how fast the machine lets it; per second.

    :func:`task_demands` sets what it wants, :func:`~oomkit.model.solve.solve` what it gets.

    Attributes:
        proc: the task; None: the probe.
        pace: progress of its step.
        cpus: CPUs it keeps busy.
        new_pages: pools and the new pages of each; locked memory has no pool.
        refaults: pools and the pages of each that come back from disk.
        dirty_file: the file it writes to.
        tables: new page-table pages.
        cow_rate: pages it stops sharing because it writes to them.
        cow_left: how many of those are left, pages.
        passes: how often it goes over its working set.
        shared: of that, the pools that other address spaces map, too, with the pages it goes over.
        alloc_rate: all pages it allocates.
        sync_io: seconds of disk time it waits for.
        first_read_io: the part of them for pages that were never in memory: to PSI no stall.
        async_io: seconds of disk time for it that it does not wait for.
        swap_io: seconds of disk time for what is swapped out to make room for it.
        kernel_cpus: CPUs that swapping out for it keeps busy besides.
        domain: what its pages are charged to.
        cpu_share: share of full speed its CPUs allow.
        cpus_given: CPUs it gets.
        speed: share of full speed it reaches.
        stall: share of its time it waits for memory.
    """

    __slots__ = (
        "alloc_rate", "async_io", "cow_left", "cow_rate", "cpu_share", "cpus", "cpus_given",
        "dirty_file", "domain", "first_read_io", "kernel_cpus", "new_pages", "pace", "passes",
        "proc", "refaults", "shared", "speed", "stall", "swap_io", "sync_io", "tables",
    )  # fmt: skip

    domain: Domain

    def __init__(self, proc: Proc | None) -> None:
        self.proc = proc
        self.new_pages: list[tuple[Pool | None, float]] = []
        self.refaults: list[tuple[Pool, float]] = []
        self.dirty_file: Pool | None = None
        self.pace = self.cpus = self.tables = self.cow_rate = self.cow_left = 0.0
        self.alloc_rate = self.sync_io = self.first_read_io = self.async_io = 0.0
        self.swap_io = self.cpu_share = self.cpus_given = self.speed = self.stall = 0.0
        self.passes = self.kernel_cpus = 0.0
        self.shared: list[tuple[Pool, float]] = []

    def add_refaults(self, pool: Pool, costs: Refaults) -> None:
        """Add the refaults of going over a pool, with what they cost."""
        pages, cpus, first_read_io, reread_io = costs
        if pages <= 0.0:
            return
        self.refaults.append((pool, pages))
        self.cpus += cpus
        self.first_read_io += first_read_io
        self.sync_io += first_read_io
        self.sync_io += reread_io
        self.alloc_rate += pages


def _refaults(machine: Machine, pool: Pool, rate: float, missing: float) -> Refaults:
    """What it costs to go over a pool.

    Args:
        machine: whose disk the pages come from.
        pool: what is gone over.
        rate: at how many pages a second.
        missing: share of them that is not in memory.
    """
    pages = rate * missing
    cpus = pages * (machine.map_s if pool.is_file else machine.swap_in_s)
    first_read_io = reread_io = 0.0
    unread = min(pool.unread_share, missing)
    if unread > 0.0:
        first_read_io = rate * unread / machine.disk_pages_s
    evicted = missing - unread
    if evicted > 0.0:
        reads = rate * evicted * reads_a_page(machine, pool, evicted)
        reread_io = reads / machine.disk_pages_s
    return pages, cpus, first_read_io, reread_io


def reads_a_page(machine: Machine, pool: Pool, missing: float) -> float:
    """Disk reads for one page of a pool that is needed, where a share of them is missing.

    Where nothing is reclaimed, what a fault reads besides is still there when it is needed.
    """
    if machine.free > machine.reclaim_mark() + AT_LIMIT_PAGES:
        group = pool.group
        if group is None or not any(one.is_limited for one in group.ancestry):
            return 1.0
    return amplification(missing, 1 << machine.knobs.get("page-cluster", 3))


def amplification(missing: float, cluster: int) -> float:
    """Disk reads for one page that is needed.

    A fault reads a cluster of neighbours. While most of the set stays resident they are used
    later; when most of it is missing they are evicted again before they are used.
    """
    return cluster / (1.0 + (cluster - 1) * (1.0 - missing))


def mark_working_sets(machine: Machine) -> WorkingSets:
    """Set each pool's ``hot`` pages: those that running tasks use again and again.

    Returns:
        the pools that each working task goes over, with the pages of each.
    """
    for pool in machine.pools():
        pool.hot = 0.0
    if machine.programs is not None:
        machine.programs.hot = machine.probe.text_bytes / PAGE
    found: WorkingSets = {}
    used: set[Pool | None] = {None}
    for proc in machine.procs:
        if proc.state != "run" or proc.frozen:
            continue
        program = proc.program
        if program not in used:
            used.add(program)
            if program is not None:
                _use(program, program.size, machine.now)
        if proc.verb == "work":
            found[proc] = _mark_working_set(machine, proc)
    return found


def _mark_working_set(machine: Machine, proc: Proc) -> list[tuple[Pool, float]]:
    parts = _working_set(proc)
    for pool, pages in parts:
        if pages > pool.hot:
            _use(pool, pages, machine.now)
    if proc.current.file is not None:
        pool = machine.file(proc.current.file, proc.mm.group)
        _use(pool, pool.size, machine.now)
    return parts


def _use(pool: Pool, pages: float, now: float) -> None:
    """Note that so many pages of a pool are in use."""
    pool.hot = pages
    if pages >= pool.resident:
        pool.oldest_s = pool.newest_s = now


def _working_set(proc: Proc) -> list[tuple[Pool, float]]:
    """The pools a working task goes over, with the pages of each."""
    mm = proc.mm
    parts = [(mm.anon, mm.anon.resident + mm.anon.swapped)]
    if mm.shmem.resident or mm.shmem.swapped:
        parts.append((mm.shmem, mm.shmem.resident + mm.shmem.swapped))
    parts.extend([(pool, pool.resident + pool.swapped) for pool, _ in mm.shared])
    parts.extend(mm.cow_views)
    wanted = proc.current.set_bytes
    if wanted is None:
        return parts
    left, chosen = wanted / PAGE, []
    for pool, pages in parts:
        chosen.append((pool, min(pages, left)))
        left = max(left - pages, 0.0)
    return chosen


def task_demands(machine: Machine, working_sets: WorkingSets) -> list[Demand]:
    """The demands of the running tasks, and of the system.

    Args:
        machine: the machine.
        working_sets: what :func:`mark_working_sets` found just now.
    """
    read_at_end: set[Pool] = set()
    text: dict[Pool, Refaults | None] = {}
    demands = [
        _demand_of(machine, proc, working_sets, read_at_end, text)
        for proc in machine.procs
        if proc.state == "run" and not proc.frozen
    ]
    programs = machine.programs
    if programs is not None and programs.missing_share > 0.0:
        # The probe goes over its part of them each round.
        demands.append(Demand(None))
        rate = programs.hot / machine.probe.every_s
        costs = _refaults(machine, programs, rate, programs.missing_share)
        demands[-1].add_refaults(programs, costs)
    return demands


def _demand_of(
    machine: Machine,
    proc: Proc,
    working_sets: WorkingSets,
    read_at_end: set[Pool],
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
    return _refaults(machine, program, program.size * _PROGRAM_WALKS_S, missing)


def _add_touch(machine: Machine, proc: Proc, demand: Demand) -> None:
    """Steps that take new memory."""
    if not proc.is_paced:
        _pace_touch(machine, proc)
    pace, tables = proc.pace, proc.tables
    demand.pace, demand.tables, demand.cpus = pace, tables, proc.cpus
    demand.new_pages.append((_target_pool(machine, proc), pace))
    demand.alloc_rate = pace + tables


def _pace_touch(machine: Machine, proc: Proc) -> None:
    """Set what a step that takes new memory does at full speed."""
    step = proc.current
    pace = step_pace(step, proc.scale(), machine.fault_pages_s, machine.disk_pages_s)
    span = (step.stride_bytes or PAGE) / PAGE
    tables = 0.0 if step.verb == "tmpfs" else pace * min(span / TABLE_SPAN, 1.0)
    if step.verb in ("share", "tmpfs"):
        cpus = pace * machine.share_s + tables / machine.fault_pages_s
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
        demand.new_pages.append((pool, pages))
        demand.async_io = pages / machine.disk_pages_s
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
    demand.cpus = float(proc.spec.threads)
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
            demand.add_refaults(pool, _refaults(machine, pool, walk * pages / whole, missing))
        if pool.is_cow:
            demand.cow_left += pages
    if file is not None:
        rate = walk * file.size / whole
        demand.add_refaults(file, _refaults(machine, file, rate, file.missing_share))
    if proc.mm.shared:
        demand.passes = walk / whole
        demand.shared = [part for part in parts if part[0].mappers]
    if demand.cow_left > 0.5:
        # It goes from page to page, so what it still shares lies ahead of it in the first pass.
        ahead = max(whole - proc.worked_s * walk, demand.cow_left)
        demand.cow_rate = walk * demand.cow_left / ahead
        demand.new_pages.append((proc.mm.anon, demand.cow_rate))
        demand.alloc_rate += demand.cow_rate
