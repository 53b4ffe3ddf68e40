"""Where pages can be: pools of one kind and owner, and the address spaces that hold them.

Amounts are pages, as floats, since flows between events are fluid.
"""

from typing import Literal

Kind = Literal["anon", "shmem", "file"]


class Pool:
    """Pages of one kind that are reclaimed alike.

    Attributes:
        kind: ``anon`` and ``shmem`` go to swap, ``file`` is dropped and read again.
        name: for files.
        is_cow: pages that several address spaces share since a fork.
        group: the memory cgroup charged; None: the root.
        resident: pages in memory.
        swapped: pages in swap.
        dirty: of a file, resident pages not yet written (not in ``resident``).
        size: of a file, its pages known so far.
        peak_resident: of a file, most pages that were in memory at a time; the rest never was.
        hot: pages in constant use now; the rest is evicted first.
        grow: flow of new pages into it, pages a second.
        refault: flow of pages coming back from disk.
        evict: flow of pages reclaimed.
        release: flow of pages given back by an exiting task.
        dirtied: of a file, flow of newly written pages.
        cleaned: of a file, flow of dirty pages that reach the disk and stay as clean ones.
        led: of a file, somebody already reads its next new pages.
    """

    __slots__ = (
        "cleaned", "dirtied", "dirty", "evict", "group", "grow", "hot", "is_cow", "kind", "led",
        "name", "peak_resident", "refault", "release", "resident", "size", "swapped",
    )  # fmt: skip

    def __init__(
        self, kind: Kind, group: "Group | None", name: str = "", *, is_cow: bool = False
    ) -> None:
        self.kind = kind
        self.name = name
        self.is_cow = is_cow
        self.group = group
        self.resident = 0.0
        self.swapped = 0.0
        self.dirty = 0.0
        self.size = 0.0
        self.peak_resident = 0.0
        self.hot = 0.0
        self.grow = 0.0
        self.refault = 0.0
        self.evict = 0.0
        self.release = 0.0
        self.dirtied = 0.0
        self.cleaned = 0.0
        self.led = False

    def reset_flows(self) -> None:
        """Set every flow to nothing."""
        self.hot = self.grow = self.refault = self.evict = self.release = 0.0
        self.dirtied = self.cleaned = 0.0
        self.led = False

    @property
    def missing_share(self) -> float:
        """Share of the hot pages that is not in memory; what is almost nothing counts as 0."""
        if self.hot <= 0.0:
            return 0.0
        share = 1.0 - self.resident / self.hot
        return share if share > 0.01 else 0.0

    @property
    def unread_share(self) -> float:
        """Share of the hot pages that was never in memory: to bring it in is no refault."""
        if self.kind != "file" or self.hot <= 0.0:
            return 0.0
        return max(1.0 - max(self.peak_resident, self.resident) / self.hot, 0.0)

    @property
    def cold(self) -> float:
        """Resident pages that nobody is using."""
        return max(self.resident - self.hot, 0.0)

    def net(self) -> float:
        """Change of the resident pages, pages a second."""
        return self.grow + self.refault + self.cleaned - self.evict - self.release


class Group:
    """A memory cgroup in a run.

    Attributes:
        name: its path without the leading slash.
        parent: the cgroup it lies in; None: the root.
        max_pages: limit; infinity: none.
        usage: pages charged to it and below, at the last count.
        swap_usage: swap charged to it and below.
        swap_full: its swap ran full and no batch of slots has come free since.
    """

    def __init__(self, name: str, parent: "Group | None") -> None:
        self.name = name
        self.parent = parent
        self.version: Literal[1, 2] = 2
        self.max_pages = float("inf")
        self.high_pages = float("inf")
        self.low_pages = 0.0
        self.swap_max_pages = float("inf")
        self.memsw_pages = float("inf")
        self.swappiness: int | None = None
        self.oom_group = False
        self.oom_kill_disable = False
        self.usage = 0.0
        self.swap_usage = 0.0
        self.swap_full = False

    def ancestry(self) -> "list[Group]":
        """It and its ancestors, innermost first."""
        groups, group = [], self
        while True:
            groups.append(group)
            if group.parent is None:
                return groups
            group = group.parent

    def swap_left(self) -> float:
        """Pages of swap it may still take, by its own limits and its ancestors'."""
        return min(
            min(g.swap_max_pages - g.swap_usage, g.memsw_pages - g.usage - g.swap_usage)
            for g in self.ancestry()
        )


class Mm:
    """An address space.

    Attributes:
        anon: its own anonymous pages.
        shmem: shared memory it made.
        cow_views: pages it still shares with others since a fork: pool and how many of its pages.
        locked: mlocked pages.
        reserved: address space mapped and not touched yet, pages.
        sparse: pages touched with a stride, each with its own page table.
        mapped: address space in all, pages.
        charged: pages charged to Committed_AS.
        users: tasks that use it.
        base_pages: text and data every process maps, part of its rss but counted with the system.
    """

    __slots__ = (
        "anon",
        "base_pages",
        "charged",
        "cow_views",
        "group",
        "locked",
        "mapped",
        "mm_id",
        "reserved",
        "shmem",
        "tables",
        "users",
    )  # fmt: skip

    BASE_RSS = 185
    BASE_VM = 900
    BASE_TABLES = 10

    def __init__(self, mm_id: int, group: Group | None) -> None:
        self.mm_id = mm_id
        self.group = group
        self.anon = Pool("anon", group)
        self.shmem = Pool("shmem", group)
        self.cow_views: list[tuple[Pool, float]] = []
        self.locked = 0.0
        self.reserved = 0.0
        self.tables = float(self.BASE_TABLES)
        self.mapped = float(self.BASE_VM)
        self.charged = 0.0
        self.users = 0

    def cow_rss(self) -> float:
        """Resident pages it sees through pools shared since a fork."""
        return sum(view * _ratio(pool.resident, pool) for pool, view in self.cow_views)

    def rss(self) -> float:
        """Resident pages as ``get_mm_rss()`` counts them, without program text."""
        own = self.anon.resident + self.shmem.resident + self.locked
        return own + (self.cow_rss() if self.cow_views else 0.0) + self.BASE_RSS

    def swap(self) -> float:
        """Swap entries. Shared memory in swap is not the task's."""
        if not self.cow_views:
            return self.anon.swapped
        shared = sum(view * _ratio(pool.swapped, pool) for pool, view in self.cow_views)
        return self.anon.swapped + shared

    def unmapped_on_exit(self) -> float:
        """Resident pages that are freed one by one as its last user exits."""
        return self.anon.resident + self.shmem.resident

    def freed_by_kill(self) -> float:
        """Anonymous memory, swap and page tables: what a kill frees for others to use."""
        return self.anon.resident + self.locked + self.swap() + self.tables

    def footprint(self) -> float:
        """Anonymous and shared pages, in memory or swap, that work can go over."""
        own = self.anon.resident + self.anon.swapped + self.shmem.resident + self.shmem.swapped
        return own + sum(view for _, view in self.cow_views)


def _ratio(part: float, pool: Pool) -> float:
    whole = pool.resident + pool.swapped
    return part / whole if whole > 0 else 0.0
