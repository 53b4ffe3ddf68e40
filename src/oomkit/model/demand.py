"""What a task wants of the machine and gets, and what pages that come back from disk cost it."""

from typing import Final

from oomkit.model.domains import AT_LIMIT_PAGES, Domain
from oomkit.model.machine import Machine
from oomkit.model.pools import Pool
from oomkit.model.tasks import Proc

Refaults = tuple[float, float, float, float]
"""What going over a pool costs a second: pages that come back, CPUs, seconds of disk time for pages
that were never in memory, seconds of disk time for the others."""


_NO_NEW_PAGES: Final[list[tuple[Pool | None, float]]] = []
_NO_PARTS: Final[list[tuple[Pool, float]]] = []
"""Nobody adds to them: most tasks' demands have none of what they stand for."""


class Demand:
    """What one task would do at full speed, and how fast the machine lets it; per second.

    :func:`~oomkit.model.steps.task_demands` sets what it wants,
    :func:`~oomkit.model.solve.solve` what it gets.

    Attributes:
        proc: the task; None: the probe.
        pace: progress of its step.
        cpus: CPUs it keeps busy.
        new_pages: pools and the new pages of each; locked memory has no pool.
        refaults: pools and the pages of each that come back from disk.
        dirty_file: the file it writes to.
        regained: pages it writes to again that it gave back with ``MADV_FREE``.
        pages_alike: so many pages of its step are like the next; 0: all.
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
        unawaited_io: both; this and the next two where :func:`~oomkit.model.disk.queue_factor` has
            set them.
        io: all three.
        slowness: how many times longer than at full speed its CPUs make it take.
        kernel_cpus: CPUs that swapping out for it keeps busy besides.
        domain: what its pages are charged to.
        need: CPUs it could use.
        weight: by which CPUs are shared.
        cpu_share: share of full speed its CPUs allow.
        cpus_given: CPUs it gets.
        speed: share of full speed it reaches.
        throttled: share of its time it sleeps because its cgroup is above ``memory.high``.
        stall: share of its time it sleeps for memory.
    """

    __slots__ = (
        "alloc_rate", "async_io", "cow_left", "cow_rate", "cpu_share", "cpus", "cpus_given",
        "dirty_file", "domain", "first_read_io", "io", "kernel_cpus", "need", "new_pages", "pace",
        "pages_alike", "passes", "proc", "refaults", "regained", "shared", "slowness", "speed",
        "stall", "swap_io", "sync_io", "tables", "throttled", "unawaited_io", "weight",
    )  # fmt: skip

    domain: Domain

    def __init__(self, proc: Proc | None) -> None:
        self.proc = proc
        self.new_pages = _NO_NEW_PAGES
        self.refaults = _NO_PARTS
        self.dirty_file: Pool | None = None
        self.pace = self.cpus = self.tables = self.cow_rate = self.cow_left = 0.0
        self.alloc_rate = self.sync_io = self.first_read_io = self.async_io = 0.0
        self.swap_io = self.cpu_share = self.cpus_given = self.speed = self.stall = 0.0
        self.passes = self.kernel_cpus = self.regained = self.pages_alike = 0.0
        self.throttled = self.need = self.unawaited_io = self.io = self.slowness = 0.0
        self.weight = 1.0
        self.shared = _NO_PARTS

    def add_refaults(self, pool: Pool, costs: Refaults) -> None:
        """Add the refaults of going over a pool, with what they cost."""
        pages, cpus, first_read_io, reread_io = costs
        if pages <= 0.0:
            return
        if self.refaults:
            self.refaults.append((pool, pages))
        else:
            self.refaults = [(pool, pages)]
        self.cpus += cpus
        self.first_read_io += first_read_io
        self.sync_io += first_read_io
        self.sync_io += reread_io
        self.alloc_rate += pages


def refaults_of(machine: Machine, pool: Pool, rate: float, missing: float) -> Refaults:
    """What it costs to go over a pool.

    Args:
        machine: whose disk the pages come from.
        pool: what is gone over.
        rate: at how many pages a second.
        missing: share of them that is not in memory.
    """
    pages = rate * missing
    if pool.is_file or not machine.zram_used:
        cpus = pages * (machine.map_s if pool.is_file else machine.swap_in_s)
    else:
        share = machine.zram_share
        cpus = pages * (share * machine.zram_in_s + (1.0 - share) * machine.swap_in_s)
        rate *= 1.0 - share
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
