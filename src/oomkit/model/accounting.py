"""The machine's pages by use, as ``/proc/meminfo`` counts them (fs/proc/meminfo.c)."""

from oomkit.kernel.state import Memory
from oomkit.model.compressed_swap import ZSWAP_ENTRY
from oomkit.model.machine import Machine
from oomkit.model.tasks import PROCESS_PAGES
from oomkit.scenario.sums import added


def page_usage(machine: Machine) -> dict[str, float]:
    """Pages by use; with ``free`` they sum to ``total``."""
    uses = dict.fromkeys(("anon", "shmem", "file", "lazy", "dirty", "tables", "locked"), 0.0)
    for pool in machine.pools():
        uses[pool.kind] += pool.resident
        uses["dirty"] += pool.dirty
    processes = 0
    for mm in machine.mms():
        uses["tables"] += mm.tables
        uses["locked"] += mm.locked
    for proc in machine.procs:
        processes += proc.alive
    uses["kernel"] = machine.kernel + processes * PROCESS_PAGES
    uses["rootfs"] = machine.rootfs
    uses["zram"] = machine.compressed.held
    uses["hugetlb"] = machine.hugetlb_total
    uses["free"] = machine.free
    return uses


def audit(machine: Machine) -> None:
    """Check that the pages of all uses add up to the machine's.

    Raises:
        AssertionError: memory accounting is inconsistent; the message says where.
    """
    uses = page_usage(machine)
    slack = 1e-6 * machine.total + 1e-3
    assert abs(added(uses.values()) - machine.total) < slack, f"pages: {uses} of {machine.total}"
    assert all(value > -slack for value in uses.values()), f"negative: {uses}"
    assert machine.swap_used() <= machine.swap_total + slack, "more swap used than there is"


def memory(machine: Machine) -> Memory:
    """The machine's memory as the kernel's rules read it."""
    uses = page_usage(machine)
    file = uses["file"] + uses["dirty"]
    return Memory(
        total_ram_pages=machine.total,
        total_swap_pages=machine.swap_total,
        free_pages=int(machine.free),
        available_pages=int(available(machine, file + uses["lazy"])),
        free_swap_pages=max(int(machine.swap_total - machine.swap_used()), 0),
        file_pages=int(file + uses["shmem"] + machine.rootfs),
        shmem_pages=int(uses["shmem"] + machine.rootfs),
        anon_pages=int(uses["anon"] + uses["lazy"] + uses["locked"]),
        slab_unreclaimable_pages=int(uses["kernel"]),
        pgtable_pages=int(uses["tables"]),
        committed_pages=int(machine.committed),
        hugetlb_pages=int(machine.hugetlb_total),
        totalreserve_pages=machine.watermarks.totalreserve_pages,
        min_wmark_pages=machine.watermarks.min_pages,
        low_wmark_pages=machine.watermarks.low_pages,
        high_wmark_pages=machine.watermarks.high_pages,
    )


def commit_memory(machine: Machine) -> Memory:
    """Memory as far as limits of Committed_AS need it, without what is in use for what."""
    return Memory(
        total_ram_pages=machine.total,
        total_swap_pages=machine.swap_total,
        committed_pages=int(machine.committed),
        hugetlb_pages=int(machine.hugetlb_total),
    )


def lines(machine: Machine) -> tuple[float, ...]:
    """Pages of the lines that :func:`~oomkit.scenario.definitions.lines_of` names."""
    found = (added(pool.huge for pool in machine.pools()),) if machine.thp else ()
    if not machine.compressed.is_zswap:
        return found
    pool = machine.compressed.used * (machine.compressed.cost - ZSWAP_ENTRY)
    return (*found, pool, machine.compressed.used)


def available(machine: Machine, file: float, free: float | None = None) -> float:
    """MemAvailable, also for kernels that don't print it.

    Args:
        machine: the machine.
        file: pages of page cache.
        free: free pages; None: as many as now.
    """
    held = (
        machine.watermarks.low_pages
        if machine.rules.mem_available == "low_watermarks"
        else machine.watermarks.totalreserve_pages
    )
    free = machine.free if free is None else free
    return max(free - held + file - min(file / 2, machine.watermarks.low_pages), 0.0)
