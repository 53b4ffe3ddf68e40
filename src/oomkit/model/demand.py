"""What each running task would do at full speed: CPU, new pages, refaults, disk."""

from typing import TYPE_CHECKING

from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool
from oomkit.model.tasks import PAGE, Proc, step_pace

if TYPE_CHECKING:
    from oomkit.model.reclaim import Plan

_COPY = 4.0
"""Copying from the page cache is so much faster than faulting memory in."""

_PROGRAM_WALKS_S = 10.0
"""How often a second a running program comes by each page of its text."""

READ_AHEAD_PAGES = 32
"""Readers so close behind the first one find its pages cached."""

_TABLE_SPAN = 512
"""Pages one page table maps."""


def amplification(missing: float, cluster: int) -> float:
    """Disk reads for one page that is needed.

    A fault reads a cluster of neighbours. While most of the set stays resident they are used
    later; when most of it is missing they are evicted again before anybody gets to them.
    """
    return cluster / (1.0 + (cluster - 1) * (1.0 - missing))


def mark_working_sets(machine: Machine) -> None:
    """Set each pool's ``hot``: the pages that running tasks come back to."""
    for pool in machine.pools():
        pool.reset_flows()
    if machine.programs is not None:
        machine.programs.hot = machine.programs.size
    for proc in machine.procs:
        if proc.state != "run":
            continue
        if proc.program is not None:
            proc.program.hot = proc.program.size
        if proc.current.verb == "work":
            _mark_working_set(machine, proc)


def _mark_working_set(machine: Machine, proc: Proc) -> None:
    for pool, pages in working_set(proc):
        pool.hot = max(pool.hot, pages)
    if proc.current.file is not None:
        pool = machine.file(proc.current.file, proc.mm.group)
        pool.hot = pool.size


def working_set(proc: Proc) -> list[tuple[Pool, float]]:
    """The pools a working task goes over, with how much of each."""
    mm = proc.mm
    parts = [(mm.anon, mm.anon.resident + mm.anon.swapped)]
    if mm.shmem.resident or mm.shmem.swapped:
        parts.append((mm.shmem, mm.shmem.resident + mm.shmem.swapped))
    parts.extend(mm.cow_views)
    wanted = proc.current.set_bytes
    if wanted is None:
        return parts
    left, chosen = wanted / PAGE, []
    for pool, pages in parts:
        chosen.append((pool, min(pages, left)))
        left = max(left - pages, 0.0)
    return chosen


class Domain:
    """The machine, or a memory cgroup at its limit: what it takes it must give back.

    Attributes:
        group: the cgroup; None: the machine.
        pools: the pools it can reclaim from.
        plan: what it reclaims; None while it has free memory.
        need: pages its tasks take a second.
        exits: pages that exits give back a second.
        release: these, and what can be reclaimed once it is written.
        blocked: nothing is left to reclaim.
    """

    __slots__ = ("blocked", "exits", "group", "need", "plan", "pools", "release")

    def __init__(self, group: Group | None, pools: list[Pool]) -> None:
        self.group = group
        self.pools = pools
        self.plan: Plan | None = None
        self.need = 0.0
        self.exits = 0.0
        self.release = 0.0
        self.blocked = False


UNASSIGNED = Domain(None, [])
"""Stands in until a demand's domain is known."""


class Demand:
    """One task's wishes at full speed; rates are pages a second.

    Attributes:
        pace: progress of its step.
        cpu: CPUs it keeps busy.
        grow: pool to new pages; locked memory has no pool.
        dirty_file: the file it writes to.
        refault: pool to pages that come back from disk.
        domain: what its pages are charged to.
        tables: new page-table pages.
        cow_rate: pages it stops sharing because it writes to them.
        cow_left: how many of those are left, pages.
        sync_io: disk time it waits for, seconds a second.
        first_read_io: the part of it for pages that were never in memory: no stall, PSI says.
        async_io: disk time others spend for it.
        swap_io: disk time for what is swapped out to make room for it.
        alloc_rate: all pages it needs.
        cpu_share: share of full speed its CPUs allow.
        speed: share of full speed it reaches.
    """

    __slots__ = (
        "alloc_rate",
        "async_io",
        "cow_left",
        "cow_rate",
        "cpu",
        "cpu_share",
        "dirty_file",
        "domain",
        "first_read_io",
        "grow",
        "pace",
        "proc",
        "refault",
        "speed",
        "swap_io",
        "sync_io",
        "tables",
    )  # fmt: skip

    def __init__(self, proc: Proc | None) -> None:
        self.proc = proc
        self.pace = 0.0
        self.cpu = 0.0
        self.grow: list[tuple[Pool | None, float]] = []
        self.refault: list[tuple[Pool, float]] = []
        self.tables = 0.0
        self.cow_rate = 0.0
        self.cow_left = 0.0
        self.dirty_file: Pool | None = None
        self.domain = UNASSIGNED
        self.sync_io = 0.0
        self.first_read_io = 0.0
        self.async_io = 0.0
        self.swap_io = 0.0
        self.alloc_rate = 0.0
        self.speed = 0.0
        self.cpu_share = 0.0

    def add_refaults(self, pool: Pool, rate: float, missing: float, machine: Machine) -> None:
        """Add refaults of a pool that is gone over at ``rate``."""
        pages = rate * missing
        if pages <= 0.0:
            return
        cluster = 1 << machine.knobs.get("page-cluster", 3)
        self.refault.append((pool, pages))
        unread = min(pool.unread_share, missing)
        refaults = missing - unread
        first_read_io = rate * unread / machine.disk
        self.first_read_io += first_read_io
        self.sync_io += first_read_io
        self.sync_io += rate * refaults * amplification(refaults, cluster) / machine.disk
        self.alloc_rate += pages


def demand_of(machine: Machine, proc: Proc) -> Demand:
    """The wishes of a running task in its current step."""
    demand = Demand(proc)
    verb = proc.current.verb
    if verb == "work":
        _work(machine, proc, demand)
    elif verb == "read":
        _read(machine, proc, demand)
    elif verb == "write":
        _write(machine, proc, demand)
    else:
        _touch(machine, proc, demand)
    if proc.program is not None:
        rate = proc.program.size * _PROGRAM_WALKS_S
        demand.add_refaults(proc.program, rate, proc.program.missing_share, machine)
    return demand


def system_demand(machine: Machine) -> Demand | None:
    """The system's own daemons, which come by their programs about once a second."""
    pool = machine.programs
    if pool is None or pool.missing_share <= 0.0:
        return None
    demand = Demand(None)
    demand.add_refaults(pool, pool.size, pool.missing_share, machine)
    return demand


def _touch(machine: Machine, proc: Proc, demand: Demand) -> None:
    step = proc.current
    demand.pace = step_pace(step, proc.scale(), machine.fault, machine.disk)
    span = (step.stride_bytes or PAGE) / PAGE
    demand.tables = demand.pace * min(span / _TABLE_SPAN, 1.0)
    if step.verb == "tmpfs":
        demand.tables = 0.0
    demand.cpu = (demand.pace + demand.tables) / machine.fault
    if demand.cpu > 1.0:
        demand.pace /= demand.cpu
        demand.tables /= demand.cpu
        demand.cpu = 1.0
    target = {
        "touch": proc.mm.anon,
        "share": proc.mm.shmem,
        "lock": None,
        "tmpfs": machine.tmpfs_of(proc.mm.group) if step.verb == "tmpfs" else None,
    }[step.verb]
    demand.grow.append((target, demand.pace))
    demand.alloc_rate = demand.pace + demand.tables


def _read(machine: Machine, proc: Proc, demand: Demand) -> None:
    step = proc.current
    pool = machine.file(step.file or proc.key, proc.mm.group)
    position = proc.step_total - proc.step_left
    first = position >= pool.size - READ_AHEAD_PAGES
    follows = first and pool.led
    if first and not follows:
        missing = 1.0
        pool.led = True  # whoever reads the same new pages beside it finds them cached
    elif follows:
        missing = 0.0
    else:
        cached = (pool.resident + pool.dirty) / pool.size
        missing = 1.0 - cached if cached < 0.99 else 0.0
    wanted = float("inf")
    if step.rate_bytes_s is not None:
        wanted = step.rate_bytes_s / PAGE
    elif step.over_s is not None:
        wanted = proc.step_total / step.over_s
    fastest = machine.disk if first else machine.disk / missing if missing else float("inf")
    demand.pace = min(wanted, _COPY * machine.fault, fastest)
    demand.cpu = demand.pace / (_COPY * machine.fault)
    pages = demand.pace * missing
    if pages > 0.0:
        demand.grow.append((pool, pages))
        demand.async_io = pages / machine.disk
        demand.alloc_rate = pages


def _write(machine: Machine, proc: Proc, demand: Demand) -> None:
    step = proc.current
    pool = machine.file(step.file or proc.key, proc.mm.group)
    demand.pace = step_pace(step, proc.scale(), _COPY * machine.fault, machine.disk)
    demand.cpu = demand.pace / (_COPY * machine.fault)
    demand.dirty_file = pool
    demand.alloc_rate = demand.pace


def _work(machine: Machine, proc: Proc, demand: Demand) -> None:
    step = proc.current
    threads = float(proc.spec.threads)
    demand.pace = 1.0
    demand.cpu = threads
    parts = working_set(proc)
    whole = sum(pages for _, pages in parts)
    file = machine.file(step.file, proc.mm.group) if step.file is not None else None
    if file is not None:
        whole += file.size
    if whole <= 0.0:
        return
    walk = whole if step.rate_bytes_s is None else step.rate_bytes_s / PAGE
    for pool, pages in parts:
        rate = walk * pages / whole
        demand.add_refaults(pool, rate, pool.missing_share if pool.hot > 0 else 0.0, machine)
        if pool.is_cow:
            demand.cow_left += pages
    if file is not None:
        demand.add_refaults(file, walk * file.size / whole, file.missing_share, machine)
    if demand.cow_left > 0.5:
        # It goes from page to page, so what it still shares lies ahead of it in the first pass.
        ahead = max(whole - proc.worked_s * walk, demand.cow_left)
        demand.cow_rate = walk * demand.cow_left / ahead
        demand.grow.append((proc.mm.anon, demand.cow_rate))
        demand.alloc_rate += demand.cow_rate
