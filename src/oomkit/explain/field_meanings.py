"""What the fields of a report mean: definition, unit, and the kernel's function that prints it.

Names are those that the kernel prints. Where a file has moved, its place in current kernels is
named.
"""

import re
from collections.abc import Iterable

from oomkit.records import Record


class Meaning(Record, frozen=True, kw_only=True):
    """What a field means.

    Attributes:
        name: as the kernel prints it.
        unit: of its value, where the line has none: ``pages``, ``bytes``, ``kB``; empty: a plain
            number or a text.
        text: its definition, one or two sentences.
        source: file and function of the kernel that print it, or that decide it.
        pattern: finds it in a line: the value is the group ``v``, and where what stands before is
            not part of it, the group ``s`` is the whole; None: ``name:value`` or ``name=value``.
    """

    name: str
    unit: str
    text: str
    source: str
    pattern: re.Pattern[str] | None


def _fields(source: str, rows: Iterable[tuple[str, ...]]) -> tuple[Meaning, ...]:
    """Rows of name, unit, text and, where the name is not all that stands before it, a pattern."""
    return tuple(
        Meaning(
            name=name,
            unit=unit,
            text=text,
            source=source,
            pattern=re.compile(rest[0]) if rest else None,
        )
        for name, unit, text, *rest in rows
    )


REQUEST = _fields("mm/oom_kill.c: dump_header()", (
    ("invoker", "", ("The task whose request found no page. It asked last; it need not be the one "
     "that used the memory."), r"(?:^|[\]:>] )(?P<s>(?P<v>(?:(?!: |\] ).){1,16}) invoked )"),
    ("gfp_mask", "", ("What the allocator may do to find the page, and where it may look: the "
     "mask, and the names of its flags where the kernel prints them."),
     r"gfp_mask=(?P<v>(?:0x)?[0-9a-fx]+)"),
    ("order", "", ("2 to this power contiguous pages were asked for: 0 is one page. -1: somebody "
     "asked for a kill by SysRq-f.")),
    ("oom_score_adj", "", ("The requesting task's adjustment, -1000 to 1000; thousandths of the "
     "memory that counts are added to its badness.")),
    ("oom_adj", "", "The requesting task's adjustment until 3.6, -17 to 15; -17 is never chosen.",
     r"oom(?:_|kill)adj=(?P<v>-?\d+)"),
    ("nodemask", "", "The NUMA nodes that a memory policy leaves to the request; (null): all."),
    ("cpuset", "", "The cpuset of the requesting task; it may limit it to some NUMA nodes."),
    ("mems_allowed", "", "The NUMA nodes that this cpuset allows."),
))  # fmt: skip

_FLAGS = {
    "GFP_KERNEL": "the usual request of the kernel: may wait, start I/O and enter file systems",
    "GFP_KERNEL_ACCOUNT": "as GFP_KERNEL, charged to the task's memory cgroup",
    "GFP_USER": "memory for a process that the kernel and devices must reach as well",
    "GFP_HIGHUSER": "memory for a process; may come from high memory",
    "GFP_HIGHUSER_MOVABLE": "memory for a process that can be moved later; almost every page fault",
    "GFP_NOFS": "may wait, must not enter file systems: the asker holds their locks",
    "GFP_NOIO": "may wait, must not start I/O: the asker is part of it",
    "GFP_ATOMIC": "must not wait; may use part of the reserves",
    "GFP_NOWAIT": "must not wait",
    "GFP_TRANSHUGE": "a transparent huge page, worth some effort",
    "GFP_TRANSHUGE_LIGHT": "a transparent huge page, if one is at hand",
    "GFP_TEMPORARY": "for a short time only",
    "GFP_DMA": "from the lowest zone, for old devices",
    "GFP_DMA32": "from below 4 GiB, for devices that reach no further",
    "__GFP_DMA": "from the lowest zone, for old devices",
    "__GFP_DMA32": "from below 4 GiB",
    "__GFP_HIGHMEM": "may come from high memory",
    "__GFP_MOVABLE": "the page can be moved or reclaimed later",
    "__GFP_RECLAIMABLE": "memory that shrinkers can give back",
    "__GFP_IO": "may start I/O",
    "__GFP_FS": "may enter file systems; without it a global OOM kills none",
    "__GFP_WAIT": "may wait and reclaim (until 4.3)",
    "__GFP_DIRECT_RECLAIM": "may reclaim memory itself",
    "__GFP_KSWAPD_RECLAIM": "wakes kswapd",
    "__GFP_RECLAIM": "may reclaim itself and wakes kswapd",
    "__GFP_HIGH": "may use part of the reserves",
    "__GFP_NOWARN": "no warning if it fails",
    "__GFP_RETRY_MAYFAIL": "try hard, but rather fail than kill",
    "__GFP_REPEAT": "try harder (until 4.12)",
    "__GFP_NOFAIL": "must not fail: the caller can't do without",
    "__GFP_NORETRY": "one try without killing any",
    "__GFP_COLD": "a page that is not in the CPU's cache (until 4.14)",
    "__GFP_COMP": "several pages as one compound page",
    "__GFP_ZERO": "filled with zeros",
    "__GFP_NOMEMALLOC": "must not use the reserves",
    "__GFP_MEMALLOC": "may use all reserves: it frees memory",
    "__GFP_HARDWALL": "only from the nodes of the asker's cpuset",
    "__GFP_THISNODE": "from this node alone; never kills",
    "__GFP_ACCOUNT": "charged to the task's memory cgroup",
    "__GFP_WRITE": "the page will be written to soon",
    "__GFP_NOTRACK": "not watched by kmemcheck",
    "__GFP_SKIP_KASAN": "not watched by KASAN",
}
FLAGS = _fields("include/linux/gfp_types.h", (
    (name, "", f"Flag of the request: {text}.", rf"(?<!\w)(?P<v>{name})(?!\w)")
    for name, text in _FLAGS.items()
))  # fmt: skip

HARDWARE = _fields("lib/dump_stack.c: dump_stack_print_info()", (
    ("CPU", "", "The CPU that the requesting task ran on.", r"(?<!\w)CPU: (?P<v>\d+)"),
    ("PID", "", "The requesting task's thread id.", r"(?<!\w)P[Ii][Dd]: (?P<v>\d+)"),
    ("UID", "", "The requesting task's user.", r"(?<!\w)UID: (?P<v>\d+)"),
    ("Comm", "", "The requesting task's name, at most 15 bytes.",
     r"(?<!\w)[Cc]omm: (?P<v>.+?)(?= Not tainted| Tainted|$)"),
    ("Tainted", "", ("Why the kernel's developers may not trust it: P proprietary module, F forced "
     "module, R forced removal, M machine check, B bad page, U user's request, D died before, A "
     "ACPI table replaced, W warned before, C staging driver, I firmware bug worked around, O "
     "module from outside the tree, E unsigned module, L soft lockup, K live patch, X "
     "distribution's own, T randomised structs, G only free modules."),
     r"(?<!Not )Tainted: (?P<v>[A-Z](?:[A-Z ]*[A-Z])?)(?=\s)"),
    ("Hardware name", "", "The machine by its firmware: maker, model, board, BIOS and its date.",
     r"Hardware name: (?P<v>.+)"),
    ("Workqueue", "", "The work that a kernel thread did as it asked for memory.",
     r"Workqueue: (?P<v>.+)"),
    ("Call Trace", "", ("The functions on the way to the request, the innermost first. One behind "
     "\u201c?\u201d was only found on the stack."), r"(?P<v>Call [Tt]race):?"),
    ("function", "", "A function of the call trace, and how far into it the call stands.",
     r"(?<![\w.])(?P<v>[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+)"),
    ("RIP", "", "Where the processor was: in user space, if the request came from a page fault.",
     r"\b(?:RIP|EIP|pc ?): ?(?P<v>\S+)"),
    ("registers", "", ("What the processor's registers held. For a request from user space those "
     "of the program: arguments of its system call, or what it computed with."),
     (r"(?P<v>\b(?:[RE](?:[A-D]X|[SD]I|[SB]P)|R(?:0[89]|1\d)|[RE]?FLAGS|[DEFGSC]S|[rx]\d\d?|lr|sp|fp|"
     r"ip)\s?: ?(?:[0-9a-f]{4}:)?[0-9a-f]{4,16})")),
    ("Code", "", ("The instructions around that place, as bytes; in angle brackets the one "
     "that was running."), r"\bCode: (?P<v>[0-9a-f<> ()-]+)"),
    ("ORIG_RAX", "", ("The system call's number, or -1 (ffffffffffffffff) for an exception such as "
     "a page fault."), r"ORIG_RAX: (?P<v>\w+)"),
))  # fmt: skip

MEMORY = _fields("mm/show_mem.c: show_free_areas() (mm/page_alloc.c before 6.5)", (
    ("active", "pages", "Pages in use of late, of both sorts (until 2.6.27)."),
    ("inactive", "pages", "Pages not used of late, of both sorts (until 2.6.27)."),
    ("hi", "", "Pages that a CPU's own list may hold (until 4.2)."),
    ("btch", "", "Pages moved to or from that list at a time."),
    ("usd", "", "Pages on that list."),
    ("active_anon", "pages", ("Memory of processes without a file behind it (heap, stack), used "
     "of late. It can only go to swap; the sum of the anonymous lists is what processes hold.")),
    ("inactive_anon", "pages", ("The same, not used of late: first to go to swap. Shared memory "
     "and tmpfs are counted here, too.")),
    ("isolated_anon", "pages", "Anonymous pages taken off their list: being reclaimed or moved."),
    ("active_file", "pages", ("Page cache that was used of late. Much of it in an OOM means that "
     "it could not be dropped in time, or is protected.")),
    ("inactive_file", "pages", "Page cache not used of late; the first to be dropped."),
    ("isolated_file", "pages", "Page cache taken off its list: being reclaimed or moved."),
    ("unevictable", "pages", ("Memory that can't be reclaimed: locked by mlock(), ramfs, locked "
     "shared memory.")),
    ("dirty", "pages", "Page cache that has to be written to its file before it can be dropped."),
    ("writeback", "pages", "Page cache that is being written."),
    ("writeback_tmp", "pages", "Being written through FUSE's own buffers."),
    ("unstable", "pages", "Sent to an NFS server that has not stored it yet (until 5.8)."),
    ("slab_reclaimable", "pages", ("The kernel's small objects that can be given back: dentries, "
     "inodes.")),
    ("slab_unreclaimable", "pages", ("The kernel's small objects that can't. Large: see the list "
     "\u201cUnreclaimable slab info\u201d; often a leak of a driver.")),
    ("slab", "pages", "The kernel's small objects of both sorts (old kernels)."),
    ("mapped", "pages", "Page cache and shared memory mapped into processes."),
    ("shmem", "pages", ("Shared memory and tmpfs. It is counted as anonymous, and files left in "
     "tmpfs go with no process.")),
    ("pagetables", "pages", "Page tables, the lowest level in most versions."),
    ("sec_pagetables", "pages", "Page tables for guests and devices: KVM, IOMMU (6.1 and later)."),
    ("bounce", "pages", "Copies for devices that can't reach high memory."),
    ("kernel_misc_reclaimable", "pages", "Other memory of the kernel that can be given back."),
    ("free", "pages", "Free pages. Those below the min watermark are kept for who frees memory."),
    ("boost", "pages", "How far the watermarks are raised for now, since page blocks got mixed."),
    ("min", "pages", "The min watermark: below it a request reclaims itself, or runs out."),
    ("low", "pages", "The low watermark: below it kswapd is woken."),
    ("high", "pages", ("The high watermark: above it kswapd rests; the last try before a kill "
     "asks for as much.")),
    ("promo", "pages", "The watermark for moving pages to this node from slower memory."),
    ("reserved_highatomic", "pages", ("Kept back for urgent requests of several pages; other "
     "requests can't have it (kB, printed as KB until 7.2).")),
    ("free_highatomic", "pages", "The free part of that."),
    ("free_pcp", "pages", "Free pages on the CPUs' own lists; not counted as free."),
    ("local_pcp", "pages", "Those of the CPU that prints."),
    ("free_cma", "pages", ("Free pages in areas of contiguous memory for devices; only movable "
     "requests can have them.")),
    ("writepending", "pages", "Dirty or being written."),
    ("present", "pages", "Memory that exists in the zone."),
    ("managed", "pages", "The part of it that the allocator hands out."),
    ("spanned", "pages", "The zone with its holes."),
    ("mlocked", "pages", "Locked by mlock()."),
    ("kernel_stack", "pages", "Stacks of threads in the kernel: 16 kB each on x86-64."),
    ("shadow_call_stack", "pages", "Second stacks that guard return addresses (arm64)."),
    ("shmem_thp", "pages", "Shared memory in huge pages."),
    ("shmem_pmdmapped", "pages", "Shared memory mapped as huge pages."),
    ("anon_thp", "pages", "Anonymous memory in huge pages."),
    ("Balloon", "pages", "Memory that a balloon driver took for the host."),
    ("gpu_active", "pages", "Memory that graphics drivers use (7.1 and later)."),
    ("gpu_reclaim", "pages", "Memory that graphics drivers could give back."),
    ("pages_scanned", "", "Pages looked at since the last one was reclaimed (until 4.9)."),
    ("all_unreclaimable", "", "yes: reclaim has given up on it after many rounds without a page.",
     r"all_unreclaimable\? (?P<v>yes|no)"),
    ("lowmem_reserve", "pages", ("Pages kept back here from requests that could use a higher zone, "
     "one number for each zone."), r"(?:lowmem_reserve|protections)\[\]: (?P<v>[\d ]*\d)"),
    ("free blocks", "", ("Free memory by the size of its blocks: number * size. Letters: U "
     "unmovable, M movable, E reclaimable, H kept for urgent requests, C for devices, I isolated."),
     r"(?<!\d)(?P<v>\d+\*\d+kB(?:.*[\dB)])?)"),
    ("hugepages_total", "", "Huge pages set aside by vm.nr_hugepages; nothing else can use them."),
    ("hugepages_free", "", "Those of them that none uses."),
    ("hugepages_surp", "", "Those beyond vm.nr_hugepages."),
    ("hugepages_size", "kB", "Size of each."),
    ("total pagecache pages", "pages", "Page cache, shared memory and swap cache together.",
     r"(?<!\d)(?P<v>\d+) total pagecache pages"),
    ("pages in swap cache", "pages", "In RAM and in swap at the same time; dropped at no cost.",
     r"(?<!\d)(?P<v>\d+) pages (?:in swap cache|swap cached)"),
    ("Swap cache stats", "", ("Pages ever added to and deleted from the swap cache, and look-ups "
     "that found one of how many."),
     r"Swap cache(?: stats)?: (?P<v>add \d+, delete \d+, find \d+/\d+)"),
    ("Free swap", "kB", "Swap that is left. 0: nothing more can be moved out.",
     r"Free swap\s*=?:?\s*(?P<v>\d+)"),
    ("Total swap", "kB", "All swap. 0: anonymous memory can't be reclaimed at all.",
     r"Total swap\s*=\s*(?P<v>\d+)"),
    ("pages RAM", "pages", "All of the machine's memory.", r"(?<!\d)(?P<v>\d+) pages (?:of )?RAM"),
    ("pages HighMem/MovableOnly", "pages", "The part of it that the kernel can't use for itself.",
     r"(?<!\d)(?P<v>\d+) pages (?:of )?(?:HIGHMEM|HighMem(?:/MovableOnly)?)"),
    ("pages reserved", "pages", "Never handed out: firmware, the kernel itself, page structs.",
     r"(?<!\d)(?P<v>\d+) (?:pages reserved|reserved pages)"),
    ("pages shared", "pages", "Mapped more than once (until 3.10).",
     r"(?<!\d)(?P<v>\d+) pages shared"),
    ("pages non-shared", "pages", "In use, and not mapped more than once (until 3.10).",
     r"(?<!\d)(?P<v>\d+) pages non-shared"),
    ("pages cma reserved", "pages", "Set aside for devices; movable pages may use it meanwhile.",
     r"(?<!\d)(?P<v>\d+) pages cma reserved"),
    ("pages hwpoisoned", "pages", "Taken out of use after memory errors.",
     r"(?<!\d)(?P<v>\d+) pages (?:hwpoisoned|hardware corrupted)"),
))  # fmt: skip

TASKS = {one.name: one for one in _fields("mm/oom_kill.c: dump_task()", (
    ("pid", "", "Id of the thread that stands for its process; for most the process's id."),
    ("uid", "", "The user, by number."),
    ("tgid", "", "Id of the process (thread group); what ps shows as PID."),
    ("total_vm", "pages", "Size of the address space, used or not."),
    ("rss", "pages", "Resident memory of all kinds: the largest part of the badness."),
    ("rss_anon", "pages", "Its anonymous part."),
    ("rss_file", "pages", "Its part that maps files."),
    ("rss_shmem", "pages", "Its shared part."),
    ("nr_ptes", "", "Its page tables of the lowest level, a page each; counted in the badness."),
    ("nr_pmds", "", "Its page tables of the middle level; counted in the badness."),
    ("nr_puds", "", "Its page tables of the upper level; counted in the badness."),
    ("pgtables_bytes", "bytes", "Its page tables of all levels; counted in the badness."),
    ("swapents", "pages", "Its memory in swap; counted in the badness."),
    ("cpu", "", "The CPU it last ran on (until 3.5)."),
    ("oom_adj", "", "Its adjustment, -17 to 15 (until 3.5)."),
    ("oom_score_adj", "", ("Its adjustment, -1000 to 1000: so many thousandths of the memory that "
     "counts are added to its badness; -1000 is never chosen.")),
    ("name", "", "Its name, at most 15 bytes; any process can name itself at will."),
))}  # fmt: skip
"""The columns of the task table."""

MEMCG = _fields("mm/memcontrol.c: mem_cgroup_print_oom_meminfo()", (
    ("task's cgroup", "", "The memory cgroup of the victim.",
     r"Task in (?P<v>\S+)(?= killed as a result)"),
    ("limited cgroup", "", ("The memory cgroup whose limit was reached; it may stand above the "
     "victim's."), r"as a result of (?P<s>limit of (?P<v>\S+))"),
    ("memory usage", "kB", "Memory charged to the cgroup: anonymous, page cache, kernel.",
     r"(?<!\+)memory: usage (?P<v>\d+)"),
    ("memory limit", "kB", "Its limit (memory.max, memory.limit_in_bytes).",
     r"(?<!\+)memory: usage \d+kB, (?P<s>limit (?P<v>\d+))"),
    ("memory+swap usage", "kB", "Memory and swap charged to it (cgroup v1).",
     r"memory\+swap: usage (?P<v>\d+)"),
    ("memory+swap limit", "kB", "Their common limit (memory.memsw.limit_in_bytes).",
     r"memory\+swap: usage \d+kB, (?P<s>limit (?P<v>\d+))"),
    ("swap usage", "kB", "Swap charged to it (cgroup v2).", r"(?<!\+)swap: usage (?P<v>\d+)"),
    ("swap limit", "kB", "Its limit (memory.swap.max).",
     r"(?<!\+)swap: usage \d+kB, (?P<s>limit (?P<v>\d+))"),
    ("kmem usage", "kB", "The kernel's memory charged to it (cgroup v1).",
     r"kmem: usage (?P<v>\d+)"),
    ("kmem limit", "kB", "Its limit (memory.kmem.limit_in_bytes).",
     r"kmem: usage \d+kB, (?P<s>limit (?P<v>\d+))"),
    ("failcnt", "", ("How often a charge met the limit, since the cgroup was made. Most of them "
     "ended well, by reclaim."), r"failcnt (?P<v>\d+)"),
    ("statistics of", "", ("The cgroup that the statistics are of. Those that begin with total_ "
     "are with the cgroups below it."),
     r"Memory cgroup stats for (?P<v>[^\s:]+)"),
))  # fmt: skip

_STATS = {
    "anon": "Anonymous memory: heap and stacks.", "rss": "Anonymous memory (cgroup v1).",
    "file": "Page cache, with tmpfs and shared memory.",
    "cache": "Page cache, with tmpfs and shared memory (cgroup v1).",
    "kernel": "The kernel's memory for it, all kinds.",
    "kernel_stack": "Stacks of its threads in the kernel.",
    "pagetables": "Page tables.", "sec_pagetables": "Page tables of guests and devices.",
    "percpu": "The kernel's per-CPU data.", "sock": "Buffers of network connections.",
    "vmalloc": "Memory that the kernel maps page by page.",
    "shmem": "Shared memory and tmpfs: can only go to swap.",
    "zswap": "Compressed swap in RAM.", "zswapped": "What it would take uncompressed.",
    "file_mapped": "Page cache mapped into processes.",
    "mapped_file": "Page cache mapped into processes (cgroup v1).",
    "file_dirty": "To be written before it can be dropped.",
    "dirty": "To be written before it can be dropped (cgroup v1).",
    "file_writeback": "Being written.", "writeback": "Being written (cgroup v1).",
    "swapcached": "In RAM and in swap at the same time.", "swap": "In swap (cgroup v1).",
    "anon_thp": "Anonymous memory in huge pages.", "rss_huge": "Anonymous memory in huge pages.",
    "file_thp": "Page cache in huge pages.", "shmem_thp": "Shared memory in huge pages.",
    "inactive_anon": "Anonymous, not used of late: first to go to swap.",
    "active_anon": "Anonymous, used of late.",
    "inactive_file": "Page cache not used of late; the first to be dropped.",
    "active_file": "Page cache used of late.",
    "unevictable": "Can't be reclaimed: mlock(), ramfs.",
    "slab": "The kernel's small objects.", "slab_reclaimable": "Those that can be given back.",
    "slab_unreclaimable": "Those that can't.", "hugetlb": "Huge pages set aside.",
    "hierarchical_memory_limit": "The lowest limit from here to the root (cgroup v1).",
    "hierarchical_memsw_limit": "The same for memory and swap.",
}  # fmt: skip
_EVENTS = {
    "pgfault": "Page faults.", "pgmajfault": "Page faults that had to read from a disk.",
    "pgpgin": "Pages charged (cgroup v1).", "pgpgout": "Pages uncharged (cgroup v1).",
    "pgrefill": "Pages looked at on active lists.",
    "pgscan": "Pages that reclaim looked at.", "pgscan_kswapd": "Those by kswapd.",
    "pgscan_direct": "Those by tasks that asked for memory.",
    "pgscan_khugepaged": "Those by khugepaged.", "pgscan_proactive": "Those by memory.reclaim.",
    "pgsteal": "Pages that reclaim freed; few of many scanned: thrashing.",
    "pgsteal_kswapd": "Those by kswapd.", "pgsteal_direct": "Those by tasks that asked.",
    "pgsteal_khugepaged": "Those by khugepaged.", "pgsteal_proactive": "Those by memory.reclaim.",
    "pgactivate": "Pages moved to active lists.", "pgdeactivate": "Pages moved to inactive lists.",
    "pglazyfree": "Pages given up by MADV_FREE.", "pglazyfreed": "Those of them that were freed.",
    "workingset_refault": "Pages read again soon after they were dropped: thrashing.",
    "workingset_refault_anon": "Pages swapped in soon after they were swapped out: thrashing.",
    "workingset_refault_file": "Page cache read again soon after it was dropped: thrashing.",
    "workingset_activate": "Those of them that count as used at once.",
    "workingset_activate_anon": "Those of them that count as used at once.",
    "workingset_activate_file": "Those of them that count as used at once.",
    "workingset_restore": "Those that were in use before they were dropped.",
    "workingset_restore_anon": "Those that were in use before they were swapped out.",
    "workingset_restore_file": "Those that were in use before they were dropped.",
    "workingset_nodereclaim": "Notes about dropped pages that were dropped themselves.",
    "thp_fault_alloc": "Huge pages got at a page fault.",
    "thp_collapse_alloc": "Huge pages made of small ones.",
    "zswpin": "Pages moved in from zswap.", "zswpout": "Pages moved to zswap.",
    "zswpwb": "Pages moved from zswap to a disk.", "pswpin": "Pages swapped in.",
    "pswpout": "Pages swapped out.", "swpin_zero": "Zero pages that swap never stored.",
    "swpout_zero": "Zero pages that swap need not store.",
}  # fmt: skip


STATISTICS = _fields("mm/memcontrol.c: memory_stat_format()", (
    *((name, "bytes", text) for name, text in _STATS.items()),
    *((name, "", text) for name, text in _EVENTS.items()),
))  # fmt: skip

DECISION = _fields("mm/oom_kill.c: oom_kill_process(), oom_reap_task_mm()", (
    ("constraint", "", ("What ran out: CONSTRAINT_NONE the machine, CONSTRAINT_MEMCG a memory "
     "cgroup, CONSTRAINT_CPUSET and CONSTRAINT_MEMORY_POLICY some NUMA nodes."),
     r"constraint=(?P<v>\w+)"),
    ("nodemask", "", "The NUMA nodes of the request; (null): all."),
    ("cpuset", "", "The cpuset of the requesting task."),
    ("mems_allowed", "", "The NUMA nodes that this cpuset allows."),
    ("global_oom", "", "The machine ran out, not a memory cgroup.", r"(?P<v>global_oom)"),
    ("oom_memcg", "", "The memory cgroup whose limit was reached."),
    ("task_memcg", "", "The victim's memory cgroup."),
    ("task", "", "The victim's name."),
    ("pid", "", "The victim's process id."),
    ("uid", "", "The victim's user."),
    ("score", "", ("The chosen process's badness: in thousandths of the memory that counts from "
     "2.6.36 on, raw before."), r"(?<!\w)score (?P<v>-?\d+)"),
    ("victim", "", "The process that is killed, and its name.",
     r"[Kk]ill(?:ed)? process (?P<v>\d+(?:, UID \d+,)? \([^)]*\))"),
    ("total-vm", "kB", "The victim's address space, used or not."),
    ("anon-rss", "kB", "The victim's resident anonymous memory: what its death frees for sure."),
    ("file-rss", "kB", "The victim's resident memory that maps files."),
    ("shmem-rss", "kB", ("The victim's resident shared memory; it stays as long as others use it "
     "or a file in tmpfs holds it.")),
    ("UID", "", "The victim's user."),
    ("pgtables", "kB", "The victim's page tables."),
    ("oom_score_adj", "", "The victim's adjustment."),
    ("reaped", "", ("The process whose memory the oom_reaper freed before it had exited; what is "
     "named after \u201cnow\u201d was left."), r"reaped process (?P<v>\d+ \([^)]*\))"),
))  # fmt: skip
