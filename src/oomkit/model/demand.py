"""What a task wants of the machine and gets, and what pages that come back from disk cost it."""

from typing import Final

from oomkit.model.domains import AT_LIMIT_PAGES, Domain
from oomkit.model.machine import Machine
from oomkit.model.pools import Pool
from oomkit.model.tasks import Proc

READ_AHEAD_PAGES: Final = 32
"""Pages of a file that are read at a time (``VM_READAHEAD_PAGES``)."""

Refaults = tuple[float, float, float, float, float]
"""What going over a pool costs a second: pages that come back, CPUs, seconds of disk time for pages
that were never in memory, seconds of disk time for the others, and both by the number of requests
(:attr:`Demand.queued_io`)."""


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
        huge: of its new pages, how many are in huge ones; where the machine has any.
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
        queued_io: seconds of disk time of all it reads, as if each request were a window of
            read-ahead: a smaller one waits for its turn as long.
        behind: by how many times their own time writes to swap that were queued before delay its
            reads.
        swap_io: seconds of disk time for what is swapped out to make room for it.
        reading_io: the two of reading; this and the next three where
            :func:`~oomkit.model.disk.queue_factor` has set them.
        io: all three.
        slowness: how many times longer than at full speed its CPUs make it take.
        least: how many times longer than alone its reads take in any case.
        held: seconds that its requests wait for its cgroup's ``io.max``, as its step makes progress
            by one; this and the next where the machine limits I/O.
        held_stall: the part of them for pages that were evicted.
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
        "alloc_rate", "async_io", "behind", "cow_left", "cow_rate", "cpu_share", "cpus",
        "cpus_given", "dirty_file", "domain", "first_read_io", "held", "held_stall", "huge", "io",
        "kernel_cpus", "least", "need", "new_pages", "pace", "pages_alike", "passes", "proc",
        "queued_io", "reading_io", "refaults", "regained", "shared", "slowness", "speed", "stall",
        "swap_io", "sync_io", "tables", "throttled", "weight",
    )  # fmt: skip

    domain: Domain
    held: float
    held_stall: float
    huge: float

    def __init__(self, proc: Proc | None) -> None:
        self.proc = proc
        self.new_pages = _NO_NEW_PAGES
        self.refaults = _NO_PARTS
        self.dirty_file: Pool | None = None
        self.pace = self.cpus = self.tables = self.cow_rate = self.cow_left = 0.0
        self.alloc_rate = self.sync_io = self.first_read_io = self.async_io = 0.0
        self.swap_io = self.cpu_share = self.cpus_given = self.speed = self.stall = 0.0
        self.passes = self.kernel_cpus = self.regained = self.pages_alike = 0.0
        self.throttled = self.queued_io = self.behind = self.need = 0.0
        self.reading_io = self.io = self.slowness = self.least = 0.0
        self.weight = 1.0
        self.shared = _NO_PARTS

    def add_refaults(self, pool: Pool, costs: Refaults) -> None:
        """Add the refaults of going over a pool, with what they cost."""
        pages, cpus, first_read_io, reread_io, queued_io = costs
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
        self.queued_io += queued_io


def refaults_of(machine: Machine, pool: Pool, rate: float, missing: float) -> Refaults:
    """What it costs to go over a pool.

    Args:
        machine: whose disk the pages come from.
        pool: what is gone over.
        rate: at how many pages a second.
        missing: share of them that is not in memory.
    """
    pages = rate * missing
    if pool.is_file or not machine.compressed.used:
        cpus = pages * (machine.map_s if pool.is_file else machine.swap_in_s)
    else:
        share = machine.compressed.share
        cpus = pages * (share * machine.compressed.in_s + (1.0 - share) * machine.swap_in_s)
        rate *= 1.0 - share
    first_read_io = reread_io = 0.0
    unread = min(pool.unread_share, missing)
    if unread > 0.0:
        first_read_io = rate * unread / machine.disk_pages_s
    evicted = missing - unread
    if evicted > 0.0:
        reads = rate * evicted * reads_a_page(machine, pool, evicted)
        reread_io = reads / machine.disk_pages_s
    queued_io = first_read_io + reread_io
    if queued_io > 0.0 and not pool.is_file:
        queued_io *= READ_AHEAD_PAGES / swap_cluster(machine)
    return pages, cpus, first_read_io, reread_io, queued_io


def swap_cluster(machine: Machine) -> int:
    """Pages that are read from swap at a time, those that are wanted among them."""
    cluster: int = 1 << machine.knobs.get("page-cluster", 3)
    return cluster


def reads_a_page(machine: Machine, pool: Pool, missing: float) -> float:
    """Disk reads for one page of a pool that is needed, where a share of them is missing.

    Where nothing is reclaimed, or pages in no use are, what a fault reads besides is still there
    when it is needed.
    """
    group = pool.group
    if group is None or not any(one.is_limited for one in group.ancestry):
        if machine.free > machine.reclaim_mark() + AT_LIMIT_PAGES:
            return 1.0
        if machine.spares_used():
            return 1.0
    return amplification(missing, swap_cluster(machine))


def amplification(missing: float, cluster: int) -> float:
    """Disk reads for one page that is needed.

    A fault reads a cluster of neighbours. While most of the set stays resident they are used
    later; when most of it is missing they are evicted again before they are used.
    """
    return cluster / (1.0 + (cluster - 1) * (1.0 - missing))
