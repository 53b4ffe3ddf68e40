"""What fills a memory cgroup: rows that add up to its usage, and the figures people mix up."""

from typing import Literal

from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Memcg, Snapshot
from oomkit.records import Record
from oomkit.render.quantities import human_bytes

Reclaim = Literal["yes", "written first", "swapped", "partly", "no", ""]
"""Whether reclaim can take it: ``written first`` to its disk, ``swapped`` where there is swap;
empty: not known."""
Kill = Literal["yes", "partly", "no", ""]
"""Whether the memory is given back when the group's processes are killed; empty: not known."""

REST = "not in memory.stat"
_STOCK_PAGES = 64
"""``MEMCG_CHARGE_BATCH`` (mm/memcontrol.c): what a CPU charges in advance, at most."""


class Row(Record, frozen=True, kw_only=True):
    """A part of a group's memory.

    Attributes:
        name: what it is.
        bytes: its size; below 0 only for the rest, where the statistics are ahead of the usage.
        reclaim: whether reclaim can take it.
        kill: whether a kill frees it.
        of: the row that it is a part of, which counts it already; None: a row of its own.
        note: what else is known of it.
    """

    name: str
    bytes: int
    reclaim: Reclaim = ""
    kill: Kill = ""
    of: str | None = None
    note: str = ""


class Anatomy(Record, frozen=True, kw_only=True):
    """What fills a memory cgroup.

    Attributes:
        path: the cgroup.
        usage_bytes: what it is charged; of version 2's root, which has no such figure, the sum of
            its rows.
        limit_bytes: the lowest limit on its way to the root; None: none.
        limit_of: the cgroup whose limit that is; None: none.
        high_bytes: the lowest ``memory.high`` likewise; None: none.
        rows: the parts; those with ``of`` None add up to ``usage_bytes``.
        working_set_bytes: usage without inactive file cache, as the kubelet counts it.
        unreclaimable_bytes: what reclaim cannot take.
        swappable_bytes: what of the rest it can only take by swapping it out.
        swap_bytes: what of it is in swap.
        swap_left_bytes: what it may still swap out; 0: nothing, or there is no swap.
    """

    path: str
    usage_bytes: int
    limit_bytes: int | None
    limit_of: str | None
    high_bytes: int | None
    rows: tuple[Row, ...]
    working_set_bytes: int
    unreclaimable_bytes: int
    swappable_bytes: int
    swap_bytes: int
    swap_left_bytes: int

    def row(self, name: str) -> int:
        """The size of the row of that name; 0 where there is none."""
        return next((row.bytes for row in self.rows if row.name == name), 0)

    @property
    def rest_bytes(self) -> int:
        """What no row but the last names."""
        return self.row(REST)


def working_set(usage_bytes: int, inactive_file_bytes: int) -> int:
    """Usage without inactive file cache, 0 at least.

    The kubelet takes it from cAdvisor, ``setMemoryStats()`` in container/libcontainer/handler.go:
    ``memory.usage_in_bytes`` less ``total_inactive_file``, or ``memory.current`` less
    ``inactive_file``. containerd's ``getWorkingSet()`` computes the same.
    """
    return max(0, usage_bytes - inactive_file_bytes)


def stat_of(snapshot: Snapshot, path: str) -> MemcgStat | None:
    """What the snapshot holds of a group's anatomy; None: nothing."""
    return next((stat for stat in snapshot.anatomy if stat.path == path), None)


def lowest(snapshot: Snapshot, path: str, name: Literal["limit", "high"]) -> Memcg | None:
    """The group whose limit is met first on the way from ``path`` to the root; None: none has one.

    Args:
        snapshot: the machine.
        path: where the way begins.
        name: ``limit`` (``memory.max``) or ``high``.
    """
    found: Memcg | None = None
    least = 0
    for memcg in snapshot.memcgs:
        pages = memcg.limit_pages if name == "limit" else memcg.high_pages
        if pages is None or not in_memcg(path, memcg.path):
            continue
        if found is None or pages <= least:
            found, least = memcg, pages
    return found


def anatomy(snapshot: Snapshot, stat: MemcgStat) -> Anatomy:
    """Take a group's memory apart.

    Args:
        snapshot: the machine, for the limits and the swap there is.
        stat: what the kernel counts of the group.
    """
    size = snapshot.page_size
    memcg = next((m for m in snapshot.memcgs if m.path == stat.path), Memcg(path=stat.path))
    swap_left = _swap_left(snapshot, stat.path)
    rows = _rows_v1(stat, swap_left) if stat.version == 1 else _rows_v2(stat, swap_left)
    named = sum(row.bytes for row in rows if row.of is None)
    usage = named if stat.current_bytes is None else stat.current_bytes
    if usage != named:
        rows.append(_rest(usage - named, snapshot, stat))
    limit, high = lowest(snapshot, stat.path, "limit"), lowest(snapshot, stat.path, "high")
    reclaimable = sum(
        row.bytes for row in rows if row.of is None and row.reclaim in ("yes", "written first")
    )
    swappable = sum(row.bytes for row in rows if row.of is None and row.reclaim == "swapped")
    inactive = stat.stat.get("inactive_file", 0)
    return Anatomy(
        path=stat.path,
        usage_bytes=usage,
        limit_bytes=None if limit is None else (limit.limit_pages or 0) * size,
        limit_of=None if limit is None else limit.path,
        high_bytes=None if high is None else (high.high_pages or 0) * size,
        rows=tuple(rows),
        working_set_bytes=working_set(usage, inactive),
        unreclaimable_bytes=max(0, usage - reclaimable - min(swappable, swap_left)),
        swappable_bytes=min(swappable, swap_left),
        swap_bytes=memcg.swap_usage_pages * size,
        swap_left_bytes=swap_left,
    )


def _swap_left(snapshot: Snapshot, path: str) -> int:
    """What a group may still swap out, by the machine's free swap and the limits above it."""
    left = snapshot.memory.free_swap_pages
    for memcg in snapshot.memcgs:
        if not in_memcg(path, memcg.path):
            continue
        if memcg.swap_max_pages is not None:
            left = min(left, max(0, memcg.swap_max_pages - memcg.swap_usage_pages))
        # Version 1 counts memory and swap together: with equal limits nothing is swapped.
        if memcg.memsw_limit_pages is not None and memcg.limit_pages is not None:
            room = memcg.memsw_limit_pages - memcg.limit_pages - memcg.swap_usage_pages
            left = min(left, max(0, room))
        if memcg.swappiness == 0 and memcg.path == path:
            left = 0
    return left * snapshot.page_size


def _rows_v2(stat: MemcgStat, swap_left: int) -> list[Row]:
    get = stat.stat.get
    rows = _user_rows(stat, swap_left)
    kernel_parts = [
        Row(name="slab, reclaimable", bytes=get("slab_reclaimable", 0), reclaim="yes",
            kill="partly"),
        Row(name="slab, unreclaimable", bytes=get("slab_unreclaimable", 0), reclaim="no",
            kill="partly"),
        Row(name="kernel stacks", bytes=get("kernel_stack", 0), reclaim="no", kill="yes"),
        Row(name="page tables", bytes=get("pagetables", 0), reclaim="no", kill="yes"),
        Row(name="page tables of guests", bytes=get("sec_pagetables", 0), reclaim="no", kill="yes"),
        Row(name="percpu", bytes=get("percpu", 0), reclaim="no", kill="no"),
        Row(name="vmalloc", bytes=get("vmalloc", 0), reclaim="no", kill="partly"),
        Row(name="zswap", bytes=get("zswap", 0), reclaim="written first", kill="yes",
            note="compressed; see memory.zswap.writeback"),
    ]  # fmt: skip
    rows += kernel_parts
    if "kernel" in stat.stat:  # since 5.18; it includes the rows above
        other = stat.stat["kernel"] - sum(row.bytes for row in kernel_parts)
        rows.append(
            Row(name="other kernel memory", bytes=max(0, other), reclaim="no", kill="partly")
        )
    rows.append(Row(name="socket buffers", bytes=get("sock", 0), reclaim="no", kill="yes"))
    rows.append(Row(name="huge pages", bytes=get("hugetlb", 0), reclaim="no", kill="partly"))
    return [row for row in rows if row.bytes]


def _rows_v1(stat: MemcgStat, swap_left: int) -> list[Row]:
    rows = _user_rows(stat, swap_left)
    if stat.kmem_bytes:
        rows.append(
            Row(
                name="kernel memory",
                bytes=stat.kmem_bytes,
                reclaim="partly",
                kill="partly",
                note="stacks, page tables, slab: version 1 does not say how much of which",
            )
        )
    return [row for row in rows if row.bytes]


def _user_rows(stat: MemcgStat, swap_left: int) -> list[Row]:
    """Anonymous memory, file cache and shared memory, which both versions count alike.

    ``file`` holds shared memory and the swap cache, too. A page of the swap cache that a process
    maps counts as anonymous as well; those that none maps show as a surplus of the lists of
    anonymous pages, where shared memory is kept with them. The lists of file pages can hold
    anonymous ones (MADV_FREE), so they are bounded by the file cache there is.
    """
    get = stat.stat.get
    anon, shmem = get("anon", 0), get("shmem", 0)
    swapcached = get("swapcached", 0)
    cache = max(0, get("file", 0) - shmem - swapcached)
    lists = get("inactive_anon", 0) + get("active_anon", 0)
    unmapped = min(swapcached, max(0, lists - anon - shmem))
    inactive = min(get("inactive_file", 0), cache)
    active = min(get("active_file", 0), cache - inactive)
    by_swap: Reclaim = "swapped" if swap_left else "no"
    return [
        Row(name="anonymous", bytes=anon, reclaim=by_swap, kill="yes"),
        Row(name="swap cache", bytes=unmapped, reclaim="yes", kill="yes"),
        Row(name="file cache, inactive", bytes=inactive, reclaim="yes", kill="no"),
        Row(name="file cache, active", bytes=active, reclaim="yes", kill="no"),
        Row(name="file cache, on no list", bytes=cache - inactive - active, reclaim="partly",
            kill="partly", note="locked (mlock, ramfs), or just read"),
        Row(name="dirty", bytes=get("file_dirty", 0), reclaim="written first", kill="no",
            of="file cache"),
        Row(name="under writeback", bytes=get("file_writeback", 0), reclaim="written first",
            kill="no", of="file cache"),
        Row(name="shared memory and tmpfs", bytes=shmem, reclaim=by_swap, kill="partly",
            note="" if stat.tmpfs is None else _mounts(stat)),
    ]  # fmt: skip


_MAX_MOUNTS = 3


def _mounts(stat: MemcgStat) -> str:
    fullest = (stat.tmpfs or ())[:_MAX_MOUNTS]
    return ", ".join(
        f"{tmpfs.mount} holds {human_bytes(tmpfs.used_bytes)}{' in all' if tmpfs.shared else ''}"
        for tmpfs in fullest
    )


def _rest(size: int, snapshot: Snapshot, stat: MemcgStat) -> Row:
    """What memory.stat does not name, and why, as far as that can be said."""
    if size < 0:
        note = "the statistics were read a moment after the usage, or count shared pages twice"
    else:
        stocks = (snapshot.cpus or 1) * _STOCK_PAGES * snapshot.page_size
        note = "charged by CPUs in advance, or statistics that are not flushed yet"
        if size > stocks and stat.version == 2 and "kernel" not in stat.stat:
            note = "kernel memory that memory.stat does not name before 5.18"
        elif size > stocks and stat.version == 2:
            note = "more than CPUs charge in advance: statistics that are not flushed yet"
    return Row(name=REST, bytes=size, note=note)
