"""Memory as a report shows it, as records: the machine's, and the memory cgroup's that ran out.

All quantities carry their unit; ``None`` means that the report does not say.
"""

from oomkit.records import Record


class Zone(Record, frozen=True, kw_only=True):
    """One memory zone of one node.

    Attributes:
        node: its node's number; 0 where the kernel prints none.
        name: ``DMA``, ``DMA32``, ``Normal``, ``HighMem``, ``Movable``, ``Device``.
        free_kb: free memory.
        min_kb: the min watermark.
        low_kb: the low watermark.
        high_kb: the high watermark.
        present_kb: memory that exists.
        managed_kb: memory the allocator manages (3.8 and later).
        counters_kb: every quantity of the line by its name, in kB.
        all_unreclaimable: reclaim has given up on it.
        lowmem_reserve_pages: pages kept back from requests for each higher zone.
        free_blocks: free blocks by order (0 is one page).
    """

    node: int
    name: str
    free_kb: int | None = None
    min_kb: int | None = None
    low_kb: int | None = None
    high_kb: int | None = None
    present_kb: int | None = None
    managed_kb: int | None = None
    counters_kb: dict[str, int] = {}
    all_unreclaimable: bool | None = None
    lowmem_reserve_pages: tuple[int, ...] = ()
    free_blocks: tuple[int, ...] = ()


class NodeCounters(Record, frozen=True, kw_only=True):
    """One node's line (4.8 and later).

    Attributes:
        node: its number.
        counters_kb: every quantity of the line by its name, in kB.
        all_unreclaimable: reclaim has given up on it.
    """

    node: int
    counters_kb: dict[str, int] = {}
    all_unreclaimable: bool | None = None


class HugePages(Record, frozen=True, kw_only=True):
    """Huge pages of one size set aside on one node.

    Attributes:
        node: the node's number.
        size_kb: size of one.
        total: how many there are.
        free: how many are not in use.
        surplus: how many beyond the configured number.
    """

    node: int
    size_kb: int
    total: int
    free: int
    surplus: int


class Slab(Record, frozen=True, kw_only=True, gc=False):
    """One line of ``Unreclaimable slab info``.

    Attributes:
        name: the cache.
        used_kb: memory of objects in use.
        total_kb: memory of the cache.
    """

    name: str
    used_kb: int
    total_kb: int


class Protection(Record, frozen=True, kw_only=True):
    """Memory that reclaim had to leave alone (6.19 and later, cgroup v2).

    Attributes:
        min_kb: what the children of the cgroup that ran out, or of the root, hold under their
            ``memory.min``.
        low_kb: the same under their ``memory.low``.
    """

    min_kb: int
    low_kb: int


class Memory(Record, frozen=True, kw_only=True):
    """The machine's memory as a report shows it (``Mem-Info``).

    Attributes:
        page_kb: size of a page in kB; None where nothing in the report says.
        counters_pages: the machine's counters by the kernel's names (``active_anon``,
            ``slab_unreclaimable``, ``free``...), in pages.
        nodes: the nodes' lines.
        zones: the zones.
        hugepages: huge pages per node and size.
        unreclaimable_slab: the slab caches, where the kernel printed them.
        pagecache_pages: total page cache, swap cache and shmem included.
        swapcache_pages: pages in swap cache.
        free_swap_kb: swap that is free.
        total_swap_kb: swap that there is.
        ram_pages: pages of RAM, those the kernel can't use included.
        highmem_pages: pages of HighMem (or movable-only) zones.
        reserved_pages: pages of RAM the allocator never manages.
        cma_pages: pages of contiguous-memory areas.
        hwpoisoned_pages: pages taken out of use for hardware errors.
    """

    page_kb: int | None = None
    counters_pages: dict[str, int] = {}
    nodes: tuple[NodeCounters, ...] = ()
    zones: tuple[Zone, ...] = ()
    hugepages: tuple[HugePages, ...] = ()
    unreclaimable_slab: tuple[Slab, ...] = ()
    pagecache_pages: int | None = None
    swapcache_pages: int | None = None
    free_swap_kb: int | None = None
    total_swap_kb: int | None = None
    ram_pages: int | None = None
    highmem_pages: int | None = None
    reserved_pages: int | None = None
    cma_pages: int | None = None
    hwpoisoned_pages: int | None = None


class Counter(Record, frozen=True, kw_only=True):
    """A resource counter of a memory cgroup.

    Attributes:
        usage_kb: what is charged.
        limit_kb: its limit; None where it is unlimited.
        failcnt: how often the limit was hit.
        failcnt_cut: the line was cut in this number: it is a lower bound.
    """

    usage_kb: int
    limit_kb: int | None = None
    failcnt: int | None = None
    failcnt_cut: bool = False


class Memcg(Record, frozen=True, kw_only=True):
    """The memory cgroup's part of a report.

    Attributes:
        path: the cgroup whose limit was hit; None where no line names it.
        task_path: the cgroup of the task that hit it (until 4.20), or of the victim.
        memory: ``memory:``.
        memsw: ``memory+swap:`` (v1).
        swap: ``swap:`` (v2).
        kmem: ``kmem:`` (v1).
        stats: ``Memory cgroup stats`` of each cgroup by its path: quantities in bytes, events
            as counts, all under the kernel's names.
    """

    path: str | None = None
    task_path: str | None = None
    memory: Counter | None = None
    memsw: Counter | None = None
    swap: Counter | None = None
    kmem: Counter | None = None
    stats: dict[str, dict[str, int]] = {}
