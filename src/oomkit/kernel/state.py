"""Records the rules read: tasks, memory, sysctls, memory cgroups, and the snapshot of them all.

Every quantity carries its unit in its name. ``pages`` are base pages of ``Snapshot.page_size``
bytes. All records are frozen and round-trip through JSON by their own field names; ``None``
means "not known here", which is not the same as 0.
"""

from typing import Literal

from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.names import Names
from oomkit.records import Record

SCHEMA = 1
"""Version of the snapshot's JSON form; raised when a field changes its meaning."""

OOM_DISABLE = -17
"""``oom_adj`` of a task that is never killed (include/linux/oom.h)."""

OOM_SCORE_ADJ_MIN = -1000
OOM_SCORE_ADJ_MAX = 1000


class Task(Record, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One process (thread group), with what some version's badness reads of it.

    Attributes:
        pid: thread group id.
        comm: the task's name as the kernel cuts it, at most 15 bytes.
        ppid: thread group id of the real parent; 0 when it has none here.
        uid: real user id, in the initial user namespace.
        euid: effective user id; None means equal to ``uid``. Read by 2.6.11-2.6.24 only.
        rss_pages: resident pages as badness reads them, file, anonymous and shared memory
            together: ``get_mm_rss()`` (field 24 of ``/proc/PID/stat``), from 7.0 on
            ``get_mm_rss_sum()`` (the sum of RssAnon, RssFile and RssShmem in its ``status``).
        anon_rss_pages: the anonymous part of ``rss_pages``, where known.
        file_rss_pages: the part that maps files, where known.
        shmem_rss_pages: the part that is shared memory (shmem, tmpfs), where known.
        swap_pages: swap entries (``MM_SWAPENTS``).
        pgtable_pages: page-table pages of all levels.
        pte_pages: lowest-level page tables only (``nr_ptes``); None: take ``pgtable_pages``.
        pmd_pages: middle-level page tables only (``nr_pmds``); None: 0.
        total_vm_pages: size of the address space.
        locked_vm_pages: mlocked pages; the OpenVZ rule set counts them.
        oom_score_adj: -1000..1000.
        oom_adj: -17..15 as stored by kernels that have it; None: derived from
            ``oom_score_adj``.
        cpu_jiffies: utime + stime of the whole thread group, exited threads included, in
            jiffies of ``Snapshot.hz``.
        leader_cpu_jiffies: utime + stime of the leading thread alone, which kernels before
            2.6.32 read; None: take ``cpu_jiffies``.
        start_s: when it was started, in whole seconds since boot.
        nice: -20..19.
        threads: number of threads.
        cap_sys_admin: holds CAP_SYS_ADMIN (effective set).
        cap_sys_resource: holds CAP_SYS_RESOURCE.
        cap_sys_rawio: holds CAP_SYS_RAWIO.
        has_mm: has an address space; false for kernel threads and for what has exited.
        kthread: is a kernel thread (``PF_KTHREAD``).
        global_init: is process 1 of the initial pid namespace.
        mm_id: tasks with the same value share one address space; None: shares with none.
        exiting: it is exiting (``PF_EXITING``).
        victim: was chosen before and is not gone (``TIF_MEMDIE``, ``signal->oom_mm``).
        fatal_signal: has a fatal signal pending.
        coredump: is dumping core.
        mm_reaped: its address space was already reaped or given up (``MMF_OOM_REAPED``,
            ``MMF_OOM_SKIP``).
        vfork: is a vfork child that still borrows its parent's address space.
        frozen: is held by a freezer.
        traced_exit: is traced with ``PT_TRACE_EXIT``, which 2.6.39-3.13 look at.
        oom_origin: asked to be killed first (swapoff, KSM unmerge).
        cgroup: path of its memory cgroup.
        mems_allowed: NUMA nodes its cpuset allows; None: all.
        mempolicy_nodes: NUMA nodes its memory policy binds it to; None: no such policy.
        kernel_oom_score: ``/proc/PID/oom_score`` as the kernel printed it; None: not read.
        cmdline: its command line, arguments joined by spaces, for the reader only; None: not
            asked for, not readable, or none.
    """

    pid: int
    comm: str
    ppid: int = 0
    uid: int = 0
    euid: int | None = None
    rss_pages: int = 0
    anon_rss_pages: int | None = None
    file_rss_pages: int | None = None
    shmem_rss_pages: int | None = None
    swap_pages: int = 0
    pgtable_pages: int = 0
    pte_pages: int | None = None
    pmd_pages: int | None = None
    total_vm_pages: int = 0
    locked_vm_pages: int = 0
    oom_score_adj: int = 0
    oom_adj: int | None = None
    cpu_jiffies: int = 0
    leader_cpu_jiffies: int | None = None
    start_s: int = 0
    nice: int = 0
    threads: int = 1
    cap_sys_admin: bool = False
    cap_sys_resource: bool = False
    cap_sys_rawio: bool = False
    has_mm: bool = True
    kthread: bool = False
    global_init: bool = False
    mm_id: int | None = None
    exiting: bool = False
    victim: bool = False
    fatal_signal: bool = False
    coredump: bool = False
    mm_reaped: bool = False
    vfork: bool = False
    frozen: bool = False
    traced_exit: bool = False
    oom_origin: bool = False
    cgroup: str = "/"
    mems_allowed: tuple[int, ...] | None = None
    mempolicy_nodes: tuple[int, ...] | None = None
    kernel_oom_score: int | None = None
    cmdline: str | None = None


def name(task: Task) -> str:
    """A task as traces and sentences name it: ``comm[pid]``."""
    return f"{task.comm}[{task.pid}]"


class Node(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One NUMA node that has memory.

    Attributes:
        node_id: the node's number.
        present_pages: pages that exist.
        spanned_pages: pages from its first to its last, holes included.
    """

    node_id: int
    present_pages: int
    spanned_pages: int


class Memory(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine's memory, as ``/proc/meminfo``, ``/proc/vmstat`` and ``/proc/zoneinfo`` show it.

    Attributes:
        total_ram_pages: ``totalram_pages()`` (MemTotal).
        total_swap_pages: swap of all devices (SwapTotal).
        free_pages: MemFree.
        available_pages: MemAvailable; None before 3.14.
        free_swap_pages: SwapFree.
        file_pages: page cache with shmem and buffers (``NR_FILE_PAGES``).
        shmem_pages: shared memory and tmpfs (Shmem).
        anon_pages: mapped anonymous memory (AnonPages).
        slab_reclaimable_pages: SReclaimable.
        slab_unreclaimable_pages: SUnreclaim.
        misc_reclaimable_pages: other reclaimable kernel memory
            (``NR_KERNEL_MISC_RECLAIMABLE``; KReclaimable less SReclaimable).
        pgtable_pages: PageTables.
        hugetlb_pages: memory set aside for hugetlb pages (Hugetlb).
        committed_pages: Committed_AS.
        commit_limit_pages: CommitLimit as the kernel printed it; None: not read.
        totalreserve_pages: what the kernel keeps back from every estimate of free memory.
        min_wmark_pages: sum of the zones' min watermarks.
        low_wmark_pages: sum of the zones' low watermarks.
        high_wmark_pages: sum of the zones' high watermarks.
        nodes: the NUMA nodes; empty means one node with all of the memory.
    """

    total_ram_pages: int
    total_swap_pages: int = 0
    free_pages: int = 0
    available_pages: int | None = None
    free_swap_pages: int = 0
    file_pages: int = 0
    shmem_pages: int = 0
    anon_pages: int = 0
    slab_reclaimable_pages: int = 0
    slab_unreclaimable_pages: int = 0
    misc_reclaimable_pages: int = 0
    pgtable_pages: int = 0
    hugetlb_pages: int = 0
    committed_pages: int = 0
    commit_limit_pages: int | None = None
    totalreserve_pages: int = 0
    min_wmark_pages: int = 0
    low_wmark_pages: int = 0
    high_wmark_pages: int = 0
    nodes: tuple[Node, ...] = ()


class Sysctl(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The knobs of ``/proc/sys/vm`` that steer overcommit and OOM, under their own names.

    ``oom_killer_disabled`` is a kernel variable without a file (set while the machine is
    being suspended); ``would_have_oomkilled`` exists in vendor kernels only. Both can be set
    here for any rule set.
    """

    overcommit_memory: int = 0
    overcommit_ratio: int = 50
    overcommit_kbytes: int = 0
    admin_reserve_kbytes: int = 8192
    user_reserve_kbytes: int = 131072
    panic_on_oom: int = 0
    oom_kill_allocating_task: int = 0
    oom_dump_tasks: int = 1
    oom_killer_disabled: int = 0
    would_have_oomkilled: int = 0
    swappiness: int = 60
    min_free_kbytes: int = 0
    watermark_scale_factor: int = 10


class Memcg(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One memory cgroup.

    Attributes:
        path: its path below the mount of its hierarchy, ``/`` for the root.
        version: 1 or 2, the interface it is seen through.
        limit_pages: ``memory.max`` or ``memory.limit_in_bytes``; None: unlimited.
        memsw_limit_pages: v1 limit of memory and swap together; None: unlimited or absent.
        swap_max_pages: v2 ``memory.swap.max``; None: unlimited or absent.
        high_pages: v2 ``memory.high``; None: unlimited or absent.
        min_pages: v2 ``memory.min``, protected from reclaim at any price; 0: nothing.
        low_pages: v2 ``memory.low``, protected while there is something else to reclaim.
        usage_pages: memory charged to it and its descendants.
        swap_usage_pages: swap charged to it and its descendants.
        swappiness: v1 ``memory.swappiness``; None: the machine's.
        oom_group: v2 ``memory.oom.group`` is set.
        oom_kill_disable: v1 ``memory.oom_control`` says so.
    """

    path: str
    version: Literal[1, 2] = 2
    limit_pages: int | None = None
    memsw_limit_pages: int | None = None
    swap_max_pages: int | None = None
    high_pages: int | None = None
    min_pages: int = 0
    low_pages: int = 0
    usage_pages: int = 0
    swap_usage_pages: int = 0
    swappiness: int | None = None
    oom_group: bool = False
    oom_kill_disable: bool = False


class Pressure(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Memory pressure stall information (``/proc/pressure/memory``); averages in percent."""

    some_avg10: float = 0.0
    some_avg60: float = 0.0
    some_avg300: float = 0.0
    some_total_us: int = 0
    full_avg10: float = 0.0
    full_avg60: float = 0.0
    full_avg300: float = 0.0
    full_total_us: int = 0


class Snapshot(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine at one moment: all that a decision depends on.

    Attributes:
        kernel: release as ``uname -r`` prints it, or the name of a rule set.
        memory: the machine's memory.
        sysctl: the knobs.
        tasks: the processes in the order of the kernel's task list (by creation), which
            decides between equals.
        memcgs: the memory cgroups that hold tasks or limits, and their ancestors, as the kernel
            walks them: parents first, siblings in the order of their creation.
        anatomy: what fills those memory cgroups; empty: not looked at, as before this field
            existed and by commands that need none of it.
        names: what people call those memory cgroups, by path; those that have no names but their
            path are left out, and so are all in a snapshot made before this field existed.
        pressure: PSI; None where the kernel has none.
        page_size: bytes in a page.
        hz: jiffies in a second (``CONFIG_HZ``); only the classic rules depend on it.
        cpus: CPUs that are online, on which the error of per-CPU counters depends; None: not
            known.
        uptime_s: whole seconds since boot.
        taken_at: wall-clock time in ISO 8601, for the reader only.
        missing: what could not be read, one sentence each.
        schema: version of this form.
    """

    kernel: str
    memory: Memory
    sysctl: Sysctl = Sysctl()
    tasks: tuple[Task, ...] = ()
    memcgs: tuple[Memcg, ...] = ()
    anatomy: tuple[MemcgStat, ...] = ()
    names: dict[str, Names] = {}
    pressure: Pressure | None = None
    page_size: int = 4096
    hz: int = 250
    cpus: int | None = None
    uptime_s: int = 0
    taken_at: str | None = None
    missing: tuple[str, ...] = ()
    schema: int = SCHEMA


class Allocation(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request for memory that could not be met.

    Attributes:
        pid: the allocating task (the kernel's ``current``); None: one that is not in the
            snapshot, with no memory of its own.
        memcg: path of the memory cgroup whose limit was hit; None: the machine ran out.
        order: 2**order contiguous pages are wanted.
        gfp_fs: ``__GFP_FS``: reclaim may call into file systems.
        gfp_nofail: ``__GFP_NOFAIL``: the caller can't bear a failure.
        gfp_noretry: ``__GFP_NORETRY``: give up early.
        gfp_retry_mayfail: ``__GFP_RETRY_MAYFAIL`` (``__GFP_REPEAT`` before 4.13).
        gfp_thisnode: ``__GFP_THISNODE``.
        low_zone: only zones below NORMAL will do (DMA, DMA32).
        nodemask: nodes that a memory policy restricts the request to; None: no policy.
        user_fault: the request comes from a page fault of user space, not from a system call.
        page_fault_oom: the page-fault handler reports VM_FAULT_OOM
            (``pagefault_out_of_memory()``).
        sysrq: asked for by hand with SysRq-f.
    """

    pid: int | None = None
    memcg: str | None = None
    order: int = 0
    gfp_fs: bool = True
    gfp_nofail: bool = False
    gfp_noretry: bool = False
    gfp_retry_mayfail: bool = False
    gfp_thisnode: bool = False
    low_zone: bool = False
    nodemask: tuple[int, ...] | None = None
    user_fault: bool = True
    page_fault_oom: bool = False
    sysrq: bool = False
