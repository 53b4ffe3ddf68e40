"""What fills a memory cgroup, as the kernel counts it: the record that an anatomy is made from."""

from typing import Literal

from oomkit.records import Record

AMOUNTS = (
    "anon", "file", "kernel", "kernel_stack", "pagetables", "sec_pagetables", "percpu", "sock",
    "vmalloc", "shmem", "zswap", "zswapped", "file_mapped", "file_dirty", "file_writeback",
    "swapcached", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
    "slab_reclaimable", "slab_unreclaimable", "hugetlb",
)  # fmt: skip
"""Sizes in bytes that ``memory.stat`` of version 2 holds and that are kept of it."""

COUNTS = ("workingset_refault_anon", "workingset_refault_file", "pgmajfault")
"""Counters of pages and faults that are kept of it."""

KEPT = frozenset((*AMOUNTS, *COUNTS))


class Pressures(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``memory.pressure`` of a cgroup, as far as a table shows it.

    Attributes:
        some_avg10: percent of the last 10 s in which some task of it waited for memory.
        full_avg10: percent in which all of its tasks did.
        full_total_us: time in which all of its tasks did, since it was made.
    """

    some_avg10: float = 0.0
    full_avg10: float = 0.0
    full_total_us: int = 0


class Tmpfs(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file system in memory that processes of a cgroup see.

    Attributes:
        mount: where they see it.
        used_bytes: what its files take, whichever cgroup is charged for them.
        shared: process 1 sees it, too, so that files of others may be in it.
    """

    mount: str
    used_bytes: int
    shared: bool = False


class MemcgStat(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a memory cgroup and all below it are charged for.

    Attributes:
        path: as :class:`oomkit.kernel.state.Memcg` has it.
        version: 1 or 2, the interface it was read through.
        current_bytes: ``memory.current`` or ``memory.usage_in_bytes``; None: version 2's root,
            which has no such file.
        peak_bytes: ``memory.peak`` or ``memory.max_usage_in_bytes``; None: before 5.19, and the
            root.
        kmem_bytes: version 1's ``memory.kmem.usage_in_bytes``; None: version 2, or not there.
        stat: ``memory.stat`` under version 2's names: sizes in bytes (``AMOUNTS``), counters
            (``COUNTS``). Of version 1 the ``total_`` figures, ``rss`` as ``anon``, ``cache`` as
            ``file``, ``dirty``, ``writeback`` and ``mapped_file`` with ``file_`` in front.
        events: ``memory.events``; of version 1 ``max`` (``memory.failcnt`` and
            ``memory.memsw.failcnt``) and ``oom_kill``, which count the group alone.
        local_events: ``memory.events.local``, without those of the groups below; empty before
            5.2 and for version 1.
        pressure: ``memory.pressure``; None where the kernel has none.
        tmpfs: file systems in memory that its processes see; None: not looked for.
        at_s: when it was read, in seconds of ``CLOCK_MONOTONIC``; rates come of two readings.
    """

    path: str
    version: Literal[1, 2] = 2
    current_bytes: int | None = None
    peak_bytes: int | None = None
    kmem_bytes: int | None = None
    stat: dict[str, int] = {}
    events: dict[str, int] = {}
    local_events: dict[str, int] = {}
    pressure: Pressures | None = None
    tmpfs: tuple[Tmpfs, ...] | None = None
    at_s: float = 0.0
