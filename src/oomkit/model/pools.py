"""Where pages can be: pools of one kind and owner, and the address spaces that hold them.

Amounts are pages, as floats, since flows between events are fluid.
"""

from collections import defaultdict
from typing import ClassVar, Final, Literal

from oomkit.scenario.sums import added

Kind = Literal["anon", "shmem", "file", "lazy"]

_NEGLIGIBLE_SHARE: Final = 0.01
"""A missing share smaller than this counts as nothing."""

_INFINITY: Final = float("inf")

_FEW_PAGES: Final = 0.5
"""With fewer pages than this a pool is empty."""


class Pool:
    """Pages of one kind that are reclaimed alike.

    Attributes:
        kind: ``anon`` and ``shmem`` go to swap, ``file`` is dropped and read again, ``lazy`` is
            anonymous memory after ``MADV_FREE``: dropped for good.
        is_file: it is of the last two, which the kernel has on its lists of files.
        name: of a file.
        is_cow: pages that several address spaces share since a fork until they write to them.
        mappers: of shared memory that a fork handed on, how many address spaces map it.
        charged: of shared memory and tmpfs, what it is charged to Committed_AS, pages.
        group: the memory cgroup charged; None: the root.
        resident: pages in memory.
        swapped: pages in swap.
        dirty: of a file, pages in memory not yet written (not in ``resident``).
        huge: of resident ones, pages in huge pages, of which eviction splits as many as of others.
        size: of a file, its pages known so far; of shared memory that was reserved, all of it.
        peak_resident: of a file, the most pages that were ever in memory; the rest was never read.
        hot: pages in constant use, the counterpart of the kernel's active list, as of the last
            :func:`~oomkit.model.working_sets.mark_working_sets`; the rest is evicted first.
        oldest_s: when the oldest of the rest was last used, seconds since the start.
        newest_s: when the newest was. Those between are as many at any time.
    """

    __slots__ = (
        "charged", "dirty", "group", "hot", "huge", "is_cow", "is_file", "kind", "mappers", "name",
        "newest_s", "oldest_s", "peak_resident", "resident", "size", "swapped",
    )  # fmt: skip

    def __init__(
        self, kind: Kind, group: "Group | None", name: str = "", *, is_cow: bool = False
    ) -> None:
        self.kind = kind
        self.is_file = kind in ("file", "lazy")
        self.name = name
        self.is_cow = is_cow
        self.mappers = 0
        self.charged = 0.0
        self.group = group
        self.resident = 0.0
        self.swapped = 0.0
        self.dirty = self.huge = 0.0
        self.size = 0.0
        self.peak_resident = 0.0
        self.hot = 0.0
        self.oldest_s = self.newest_s = 0.0

    def note_used(self, since_s: float, now: float) -> None:
        """Note that pages came in, the first of them at ``since_s``."""
        if self.resident < _FEW_PAGES:
            self.oldest_s = since_s
        self.newest_s = now

    def note_evicted(self, pages: float) -> None:
        """Note that the oldest pages are evicted, before they leave."""
        if self.huge:
            self.huge *= max(1.0 - pages / self.resident, 0.0) if self.resident > 0.0 else 0.0
        unused = self.resident - self.hot
        if unused > 0.0:
            share = min(pages / unused, 1.0)
            self.oldest_s += (self.newest_s - self.oldest_s) * share

    def writes_limited_by(self) -> "Group | None":
        """The cgroup whose ``io.max`` limits what is written of it to swap; None: there is none."""
        if self.is_file or self.group is None:
            return None
        return self.group.writes_limited_by()

    @property
    def missing_share(self) -> float:
        """Share of the hot pages that is not in memory."""
        if self.hot <= 0.0:
            return 0.0
        share = 1.0 - self.resident / self.hot
        return share if share > _NEGLIGIBLE_SHARE else 0.0

    @property
    def unread_share(self) -> float:
        """Share of the hot pages that was never in memory: to read it is no refault."""
        if not self.is_file or self.hot <= 0.0:
            return 0.0
        return max(1.0 - max(self.peak_resident, self.resident) / self.hot, 0.0)


class PoolFlow:
    """The flows into and out of one pool, pages a second.

    Attributes:
        new: new pages.
        refault: pages that come back from disk.
        evict: pages that are reclaimed.
        release: pages that an exiting process frees.
        dirtied: of a file, pages that are written to.
        cleaned: of a file, dirty pages that reach the disk and stay as clean ones.
    """

    __slots__ = ("cleaned", "dirtied", "evict", "new", "refault", "release")

    def __init__(self) -> None:
        self.new = self.refault = self.evict = self.release = self.dirtied = self.cleaned = 0.0

    def net(self) -> float:
        """Change of the resident pages."""
        return self.new + self.refault + self.cleaned - self.evict - self.release


PoolFlows = defaultdict[Pool, PoolFlow]
"""Flows by pool: ``flow_of(flows, pool)`` to add to one, ``flows.get(pool)`` to read it.

Most pools of a machine are at rest, and have none.
"""


def flow_of(flows: PoolFlows, pool: Pool) -> PoolFlow:
    """A pool's flow, made if it has none.

    As ``flows[pool]``, but that looks a pool up that has one in the compiled model alone.
    """
    flow = flows.get(pool)
    if flow is None:
        flow = flows[pool] = PoolFlow()
    return flow


class Group:
    """A memory cgroup in a run.

    Attributes:
        name: its path without the leading slash.
        ancestry: it and its ancestors, innermost first.
        version: of the cgroup interface.
        max_pages: limit; infinity: none.
        high_pages: ``memory.high``; infinity: none.
        low_pages: ``memory.low``.
        min_pages: ``memory.min``.
        request_pages: what Kubernetes was asked to keep for it; for policies.
        priority: of the pod whose cgroup it is; for policies.
        swap_max_pages: limit of swap (v2); infinity: none.
        memsw_pages: limit of memory and swap together (v1); infinity: none.
        swappiness: its own (v1); None: the machine's.
        oom_group: ``memory.oom.group``.
        oom_kill_disable: ``oom_kill_disable`` of ``memory.oom_control`` (v1).
        io_read_pages_s: ``rbps`` of ``io.max``; infinity: none.
        io_write_pages_s: its ``wbps``.
        usage: pages charged to it and below, at the last count.
        swap_usage: swap charged to it and below.
        swap_full: its swap ran full and no batch of slots has come free since.
        evicted: nothing is started in it any more.
    """

    def __init__(self, name: str, parent: "Group | None") -> None:
        self.name = name
        self.ancestry: tuple[Group, ...] = (self, *(parent.ancestry if parent is not None else ()))
        self.version: Literal[1, 2] = 2
        self.max_pages = float("inf")
        self.high_pages = float("inf")
        self.low_pages = 0.0
        self.min_pages = 0.0
        self.request_pages = 0.0
        self.priority = 0
        self.swap_max_pages = float("inf")
        self.memsw_pages = float("inf")
        self.swappiness: int | None = None
        self.oom_group = False
        self.oom_kill_disable = False
        self.io_read_pages_s = self.io_write_pages_s = float("inf")
        self.usage = 0.0
        self.swap_usage = 0.0
        self.swap_full = False
        self.evicted = False

    def reads_limited_by(self) -> "Group | None":
        """Of it and those above it the one with the lowest limit of reads; None: there is none."""
        lowest = min(self.ancestry, key=lambda one: one.io_read_pages_s)
        return lowest if lowest.io_read_pages_s < _INFINITY else None

    def writes_limited_by(self) -> "Group | None":
        """The same of writes."""
        lowest = min(self.ancestry, key=lambda one: one.io_write_pages_s)
        return lowest if lowest.io_write_pages_s < _INFINITY else None

    @property
    def limits_io(self) -> bool:
        """Whether it has an ``io.max``."""
        return min(self.io_read_pages_s, self.io_write_pages_s) < _INFINITY

    @property
    def is_limited(self) -> bool:
        """Whether it has a limit of its own at which it reclaims."""
        return min(self.max_pages, self.high_pages, self.memsw_pages) < _INFINITY

    def swap_left(self) -> float:
        """Pages of swap it may still take, by its own limits and its ancestors'."""
        return min(
            min(g.swap_max_pages - g.swap_usage, g.memsw_pages - g.usage - g.swap_usage)
            for g in self.ancestry
        )


_NOTHING: Final[dict[Pool, float]] = {}
"""Nobody adds to it."""


class Mm:
    """An address space.

    Attributes:
        mm_id: unique among the address spaces of a run.
        group: the memory cgroup it is charged to; None: the root.
        anon: its own anonymous pages.
        shmem: shared memory it created, and nobody else maps.
        shared: shared memory that others map, too, since a fork, or may: pools, and how many
            pages of each it has in its page tables.
        gone_over: of those that were reserved, how many pages from their start it has come by.
        lazy: pages it gave back with ``MADV_FREE``; None: it never did.
        lazy_space: address space of these, touched again before any other, pages.
        cow_views: pages it still shares with others since a fork: pools, and how many pages of
            each it sees.
        hugetlb: pages it maps of those set aside as huge ones: no rss, and no charge.
        locked: mlocked pages.
        reserved: address space mapped but not touched yet, pages.
        zeroed: of that, what has the zero page in its page tables.
        spacious: of the rest, what is in mappings that huge pages fit into.
        tables: page tables, pages.
        mapped: address space in all, pages.
        charged: pages charged to Committed_AS.
        users: tasks that use it.
        uncounted_anon: anonymous pages still in counters of threads or CPUs, which badness misses.
        uncounted_shmem: the same of shared memory.
    """

    __slots__ = (
        "anon", "charged", "cow_views", "gone_over", "group", "hugetlb", "lazy", "lazy_space",
        "locked", "mapped", "mm_id", "reserved", "shared", "shmem", "spacious", "tables",
        "uncounted_anon", "uncounted_shmem", "users", "zeroed",
    )  # fmt: skip

    BASE_RSS: ClassVar[int] = 185
    """Resident text and data of every process; their pages are counted with the system's."""
    BASE_VM: ClassVar[int] = 900
    """Address space of a process that has only just started, pages."""
    BASE_TABLES: ClassVar[int] = 10
    """Its page tables, pages."""

    def __init__(self, mm_id: int, group: Group | None) -> None:
        self.mm_id = mm_id
        self.group = group
        self.anon = Pool("anon", group)
        self.shmem = Pool("shmem", group)
        self.cow_views: list[tuple[Pool, float]] = []
        self.shared: list[tuple[Pool, float]] = []
        self.gone_over = _NOTHING
        self.lazy: Pool | None = None
        self.lazy_space = self.hugetlb = 0.0
        self.locked = 0.0
        self.reserved = self.zeroed = self.spacious = 0.0
        self.tables = float(self.BASE_TABLES)
        self.mapped = float(self.BASE_VM)
        self.charged = 0.0
        self.users = 0
        self.uncounted_anon = self.uncounted_shmem = 0

    def cow_rss(self) -> float:
        """Resident pages it sees through pools shared since a fork."""
        seen = 0.0
        for pool, view in self.cow_views:
            # As _ratio(), which costs more than the rest here: a fork's family has many views.
            whole = pool.resident + pool.swapped
            if whole > 0:
                seen += view * (pool.resident / whole)
        return seen

    def shmem_rss(self) -> float:
        """Resident pages of shared memory in its page tables."""
        seen = self.shmem.resident
        for pool, mapped in self.shared:
            seen += mapped * _ratio(pool.resident, pool)
        return seen

    def shmem_sole(self) -> float:
        """Resident pages of shared memory that end with it."""
        if self.users != 1:
            return 0.0
        last = added(pool.resident for pool, _ in self.shared if pool.mappers == 1)
        return self.shmem.resident + last

    def lazy_rss(self) -> float:
        """Resident pages it gave back with ``MADV_FREE``."""
        return self.lazy.resident if self.lazy is not None else 0.0

    def untouched_shared(self) -> Pool | None:
        """The shared memory, reserved before, whose pages it has not all come by."""
        for pool, pages in self.gone_over.items():
            if pool.size - pages > _FEW_PAGES:
                return pool
        return None

    def rss(self) -> float:
        """Resident pages as ``get_mm_rss()`` counts them, without program text."""
        own = self.anon.resident + self.locked
        own += self.shmem_rss() if self.shared else self.shmem.resident
        if self.lazy is not None:
            own += self.lazy.resident
        return own + (self.cow_rss() if self.cow_views else 0.0) + self.BASE_RSS

    def swap(self) -> float:
        """Swap entries. Shared memory in swap is not the task's."""
        if not self.cow_views:
            return self.anon.swapped
        shared = 0.0
        for pool, view in self.cow_views:
            if pool.swapped > 0:
                shared += view * _ratio(pool.swapped, pool)
        return self.anon.swapped + shared

    def rss_and_swap(self) -> tuple[float, float]:
        """What :meth:`rss` and :meth:`swap` return, in one go over what is shared since a fork."""
        if not self.cow_views:
            return self.rss(), self.anon.swapped
        own = self.anon.resident + self.locked
        own += self.shmem_rss() if self.shared else self.shmem.resident
        if self.lazy is not None:
            own += self.lazy.resident
        seen = shared = 0.0
        for pool, view in self.cow_views:
            resident, swapped = pool.resident, pool.swapped
            whole = resident + swapped
            if whole > 0.0:
                seen += view * (resident / whole)
                if swapped > 0.0:
                    shared += view * (swapped / whole)
        return own + seen + self.BASE_RSS, self.anon.swapped + shared

    def unmapped_on_exit(self) -> float:
        """Resident pages that are freed one by one as its last user exits."""
        return self.anon.resident + self.shmem.resident + self.lazy_rss()

    def freed_by_kill(self) -> float:
        """Anonymous memory, swap and page tables: what a kill frees for others to use."""
        return self.anon.resident + self.lazy_rss() + self.locked + self.swap() + self.tables

    def footprint(self) -> float:
        """Anonymous and shared pages, in memory or swap, that work can go over."""
        own = self.anon.resident + self.anon.swapped + self.shmem.resident + self.shmem.swapped
        own += added(pool.resident + pool.swapped for pool, _ in self.shared)
        return own + added(view for _, view in self.cow_views)


def _ratio(part: float, pool: Pool) -> float:
    whole = pool.resident + pool.swapped
    return part / whole if whole > 0 else 0.0
