"""The machine's memory as ``show_mem()`` of a version prints it.

mm/page_alloc.c ``show_free_areas()``; lib/show_mem.c, mm/show_mem.c from 6.4 on; the architecture's
``show_mem()`` before 2.6.28.
"""

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory

_SECOND_TABLES = ("6.1", "7.1", "7.3")


def mem_info(memory: Memory, page_kb: int, rules: RuleSet) -> list[str]:
    """The machine's memory: counters, one zone, swap and RAM."""
    return [
        "Mem-info:" if rules.log_meminfo in ("2.6.11", "2.6.28") else "Mem-Info:",
        *_counters(memory, rules),
        *_node(memory, page_kb, rules),
        _zone(memory, page_kb, rules),
        *_swap_and_ram(memory, page_kb, rules),
    ]


def _counters(memory: Memory, rules: RuleSet) -> list[str]:
    form = rules.log_meminfo
    anon, shmem = memory.anon_pages, memory.shmem_pages
    files = max(memory.file_pages - shmem, 0)
    slab = memory.slab_reclaimable_pages + memory.slab_unreclaimable_pages
    first, second = anon // 2, anon - anon // 2 + shmem
    active, inactive = files // 2, files - files // 2
    tables = f"pagetables:{memory.pgtable_pages}"
    if form in ("2.6.11", "2.6.28"):
        last = f" free:{memory.free_pages} slab:{slab} mapped:0 {tables} bounce:0"
        if form == "2.6.11":
            lists = f"Active:{first + active} inactive:{second + inactive}"
            return [f"{lists} dirty:0 writeback:0 unstable:0", last]
        return [
            f"Active_anon:{first} active_file:{active} inactive_anon:{second}",
            f" inactive_file:{inactive} unevictable:0 dirty:0 writeback:0 unstable:0",
            last,
        ]
    slabs = (
        f"slab_reclaimable:{memory.slab_reclaimable_pages} "
        f"slab_unreclaimable:{memory.slab_unreclaimable_pages}"
    )
    lines = [
        f"active_anon:{first} inactive_anon:{second} isolated_anon:0",
        f" active_file:{active} inactive_file:{inactive} isolated_file:0",
    ]
    if form in ("2.6.32", "3.7"):
        lines += [
            " unevictable:0 dirty:0 writeback:0 unstable:0",
            f" free:{memory.free_pages} {slabs}",
            f" mapped:0 shmem:{shmem} {tables} bounce:0",
        ]
        return [*lines, " free_cma:0"] if form == "3.7" else lines
    unstable = " unstable:0" if form == "4.2" else ""
    lines += [f" unevictable:0 dirty:0 writeback:0{unstable}", f" {slabs}"]
    if form in _SECOND_TABLES:
        lines += [f" mapped:0 shmem:{shmem} {tables}", " sec_pagetables:0 bounce:0"]
    else:
        lines.append(f" mapped:0 shmem:{shmem} {tables} bounce:0")
    if form == "5.15" or form in _SECOND_TABLES:
        lines.append(" kernel_misc_reclaimable:0")
    return [*lines, f" free:{memory.free_pages} free_pcp:0 free_cma:0"]


def _node(memory: Memory, page_kb: int, rules: RuleSet) -> list[str]:
    """The node's line, written where it has what the machine's counters lack: GPUs' memory."""
    if rules.log_meminfo not in ("7.1", "7.3"):
        return []
    anon = memory.anon_pages * page_kb
    files = max(memory.file_pages - memory.shmem_pages, 0) * page_kb
    line = (
        f"Node 0 active_anon:{anon}kB inactive_anon:0kB active_file:{files}kB inactive_file:0kB "
        f"unevictable:0kB shmem:{memory.shmem_pages * page_kb}kB "
        f"pagetables:{memory.pgtable_pages * page_kb}kB sec_pagetables:0kB all_unreclaimable? no "
        "Balloon:0kB gpu_active:0kB gpu_reclaim:0kB"
    )
    return [line]


def _zone(memory: Memory, page_kb: int, rules: RuleSet) -> str:
    def kb(pages: int) -> str:
        return f"{pages * page_kb}kB"

    marks = (
        f"free:{kb(memory.free_pages)} min:{kb(memory.min_wmark_pages)} "
        f"low:{kb(memory.low_wmark_pages)} high:{kb(memory.high_wmark_pages)}"
    )
    if rules.log_meminfo == "7.3":
        marks += " reserved_highatomic:0kB free_highatomic:0kB"
    present = f"present:{kb(memory.total_ram_pages)}"
    if rules.log_meminfo in ("2.6.11", "2.6.28", "2.6.32", "3.7"):
        return f"Node 0 Normal {marks} {present}"
    return f"Node 0 Normal {marks} {present} managed:{kb(memory.total_ram_pages)}"


def _swap_and_ram(memory: Memory, page_kb: int, rules: RuleSet) -> list[str]:
    form = rules.log_meminfo
    swap = [
        f"Free swap  = {memory.free_swap_pages * page_kb}kB",
        f"Total swap = {memory.total_swap_pages * page_kb}kB",
    ]
    ram = memory.total_ram_pages
    if form == "2.6.11":
        return [*swap, f"{ram} pages of RAM", "0 reserved pages", "0 pages swap cached"]
    cached = f"{memory.file_pages} total pagecache pages"
    if form in ("2.6.28", "2.6.32", "3.7"):
        return [cached, *swap, f"{ram} pages RAM", "0 pages reserved"]
    return [cached, *swap, f"{ram} pages RAM", "0 pages HighMem/MovableOnly", "0 pages reserved"]
