"""What can differ between kernel versions, one field a difference.

A :class:`RuleSet` says how one range of versions behaves; the functions of this package take
it and never look at a version number. The values are named for what they do; where several
texts follow one another (log formats) a value is named for the version that brought it.
"""

from typing import Any, Literal

from oomkit.records import Record


class RuleSet(Record, frozen=True, kw_only=True):
    """The rules of one range of kernel versions. Defaults are those of 2.6.11.

    Attributes:
        name: the first version it holds for, with a suffix for vendor variants.
        since: first version it holds for.
        until: last version of the range as a person would write it.

        badness: ``classic`` (address space, CPU time, age), ``permille`` (thousandths of the
            allowed memory) or ``pages``.
        classic_basis: what the classic rule starts from.
        children_term: how much of each child's address space counts for the parent.
        cpu_time: whose CPU time lowers the classic badness.
        privilege: what counts as privileged in the classic rule.
        root_bonus: what privilege is worth.
        node_overlap: what becomes of a task none of whose memory nodes helps.
        origin: what becomes of a task that asked to die first (swapoff, KSM).
        lift_zero: a positive ``oom_adj`` lifts a badness of 0 to 1 before it shifts.
        oom_disable: -17 protects (before 2.6.12 it only shifts).
        early_disable: the badness of a task with ``oom_adj`` -17 is 0.
        pgtables: which page tables count.
        arithmetic: width the permille rule computes in.
        result: range of the result.
        disable_scope: -1000 protects the task, or all that share its address space.
        reaped_unkillable: a reaped address space can't be chosen again.
        vfork_unkillable: a vfork child that borrows its parent's memory can't be chosen.
        rss_counters: how badness reads resident pages and swap entries: ``exact`` (one shared
            counter), ``per_thread`` (each thread keeps back what its last faults changed),
            ``per_cpu`` (each CPU keeps back less than a batch) or ``summed`` (per CPU, added up).
        memcg_total: how ``totalpages`` of a memory cgroup is made.
        node_pages: which count of a node's pages ``totalpages`` of a bound task uses.
        oom_score: what ``/proc/PID/oom_score`` prints.
        adj_files: which adjustment is stored, and how the other file follows.
        oom_adj_capped: ``oom_adj`` never reads above 15.

        ties: which of equals wins; with ``last_not_memcg`` it is the first in a memory cgroup.
        dying: what the selection does when it meets a task that is exiting.
        sysrq_forces: SysRq-f kills even while another victim is dying.
        memcg_scan: a memory cgroup's tasks are walked in the order of the task list, or
            cgroup by cgroup.

        dying_current: when an allocating task that is dying itself is let through without a kill.
        fs_check: where a request without ``__GFP_FS`` is turned away.
        fs_memcg_exempt: a memory cgroup's OOM kills even without ``__GFP_FS``.
        disabled_check: where ``oom_killer_disabled`` is looked at.
        constraint: whether and how the allocation's constraint is found.
        on_mempolicy: what a memory-policy constraint leads to.
        on_cpuset: what a cpuset constraint leads to.
        panic_on_oom: which values of the knob mean something.
        panic_memcg: ``panic_on_oom`` = 2 panics for a memory cgroup's OOM too.
        sysrq_never_panics: SysRq-f finds no victim, or meets ``panic_on_oom``, without a panic.
        allocating_task: ``oom_kill_allocating_task``; ``fallback`` scans if that kill fails.
        allocating_task_check: what protects the allocating task from it.
        no_victim: what happens if no process can be killed.
        memcg_no_victim: the same for a memory cgroup.
        dispatch: what ``out_of_memory()`` switches on; ``overcommit`` is the article's reading.

        exiting_victim: a chosen task that is already exiting is only helped along.
        children: which child is sacrificed instead of the chosen task; of equally bad ones the
            first, or with ``worst_last`` the last.
        children_own_mm: a child that shares the task's address space is passed over.
        children_in_memcg: a child outside the memory cgroup is passed over.
        sharers: what becomes of other processes that share the victim's address space.
        sharers_spare_disabled: those of them at -1000 live.
        kill_checks_disabled: ``oom_kill_task()`` refuses a task with ``oom_adj`` -17.
        oom_group: ``memory.oom.group`` is honoured.
        would_have: which of the three known patches ``would_have_oomkilled`` follows.
        oom_reaper: a kernel thread frees the victim's memory.
        oom_reaper_delay_s: how long after the kill it begins.

        chain: functions from the allocation to ``out_of_memory()``.
        memcg_chain: functions from a charge to the memory cgroup's OOM.
        memcg_at_fault_end: a charge only records the OOM, the end of the page fault kills.
        memcg_costly_order: a charge of more than 8 pages never kills.
        memcg_reaped_charge: a charge by an OOM victim whose address space was reaped fails
            instead of calling the OOM killer.
        memcg_hides_exiting: the OOM killer of a memory cgroup does not meet processes all of
            whose threads are exiting, and so does not wait for a victim once it exits.
        soft_limit: v1 ``memory.soft_limit_in_bytes`` steers reclaim.
        costly_order: a request for more than 8 contiguous pages never kills.
        low_zone: a request for zones below NORMAL never kills.
        thisnode: ``__GFP_THISNODE`` never kills.
        coredump: a task that dumps core never kills.
        retry_mayfail: ``__GFP_RETRY_MAYFAIL`` never kills.
        nofail_overrides: ``__GFP_NOFAIL`` overrides those.
        pagefault: what ``VM_FAULT_OOM`` leads to.
        retry: when the allocator gives up reclaim and calls the OOM killer.

        guess: the heuristic of ``overcommit_memory`` = 0.
        guess_misc: the heuristic counts other reclaimable kernel memory.
        reserve: what ``overcommit_memory`` = 2 (and the heuristic) keep back; ``admin_kbytes``
            knows ``admin_reserve_kbytes`` alone, a task still leaves a thirty-second.
        overcommit_kbytes: the commit limit may be set in kB.
        min_free_cap_kb: ceiling of the default ``min_free_kbytes``.
        watermark_scale: the watermarks' gap follows ``watermark_scale_factor``.
        watermark_boost: watermarks rise while page blocks get mixed (``boost_watermark()``).
        swaps_at_zero: with ``swappiness`` 0 anonymous pages are still reclaimed when no page cache
            is left (``get_scan_count()`` in mm/vmscan.c).
        mem_available: ``/proc/meminfo`` has MemAvailable, and how it is computed.
        psi: pressure stall information exists.
        psi_full: a CPU is in ``full`` while a task waits for memory and ``none_runs``, or while
            those that run or are ready are ``all_stalled``; ``kernel/sched/psi.c``.
        oom_dump_tasks: default of the knob.
        stall_warning: an allocation that takes more than ten seconds is reported.
        sock_throttled: ``memory.events`` counts ``sock_throttled``.

        log_header: form of the line that opens a report.
        log_meminfo: form of the machine's memory.
        log_table: form of the task table.
        log_points: the score printed in the kill line.
        log_kill: form of the kill lines.
        log_summary: form of the ``oom-kill:`` line.
        log_memcg: form of the memory cgroup's part.
        log_protection: the line about ``memory.min`` and ``memory.low``, on cgroup v2 only.
    """

    name: str
    since: str
    until: str

    badness: Literal["classic", "permille", "pages"] = "classic"
    classic_basis: Literal["total_vm", "rss_swap_ptes_locked"] = "total_vm"
    children_term: Literal["full", "half", "none"] = "full"
    cpu_time: Literal["thread", "group"] = "thread"
    privilege: Literal["admin_or_root", "admin_or_resource"] = "admin_or_root"
    root_bonus: Literal["quarter", "30_points", "30_adj", "3_percent", "none"] = "quarter"
    node_overlap: Literal["ignored", "skipped", "eighth", "unkillable", "unkillable_not_memcg"] = (
        "ignored"
    )
    origin: Literal["returned_first", "ulong_max", "permille_max", "adj", "selected_first"] = (
        "returned_first"
    )
    lift_zero: bool = False
    oom_disable: bool = False
    early_disable: bool = False
    pgtables: Literal["none", "ptes", "ptes_pmds", "all"] = "none"
    arithmetic: Literal["s32_result", "s32", "long"] = "long"
    result: Literal["unsigned", "0..1000", "min_1", "signed"] = "unsigned"
    disable_scope: Literal["task", "mm"] = "task"
    reaped_unkillable: bool = False
    vfork_unkillable: bool = False
    rss_counters: Literal["exact", "per_thread", "per_cpu", "summed"] = "exact"
    memcg_total: Literal[
        "none", "unit_bug", "bytes", "bytes_swappiness", "swappiness", "swap_max", "v1_gap"
    ] = "none"
    node_pages: Literal["spanned", "present"] = "spanned"
    oom_score: Literal["badness", "per_1000", "two_thirds"] = "badness"
    adj_files: Literal["oom_adj", "both", "score_adj"] = "oom_adj"
    oom_adj_capped: bool = False

    ties: Literal["first", "last_not_memcg", "last"] = "first"
    dying: Literal[
        "releasing",
        "exiting",
        "single_exiting",
        "traced",
        "exiting_aborts",
        "will_free",
        "victim_aborts",
        "openvz",
    ] = "releasing"
    sysrq_forces: bool = False
    memcg_scan: Literal["task_list", "tree"] = "task_list"

    dying_current: Literal[
        "none", "fatal_signal", "fatal_or_exiting", "not_coredump", "needs_mm", "will_free_mem"
    ] = "none"
    fs_check: Literal["slowpath", "may_oom", "out_of_memory"] = "slowpath"
    fs_memcg_exempt: bool = False
    disabled_check: Literal["none", "slowpath", "may_oom", "out_of_memory"] = "none"
    constraint: Literal["none", "cpuset_first", "policy_first"] = "none"
    on_mempolicy: Literal["kill_current", "scan"] = "kill_current"
    on_cpuset: Literal["kill_current", "scan"] = "kill_current"
    panic_on_oom: Literal["none", "one", "two"] = "none"
    panic_memcg: bool = False
    sysrq_never_panics: bool = False
    allocating_task: Literal["none", "always", "fallback", "no_fallback"] = "none"
    allocating_task_check: Literal["none", "task", "mm"] = "none"
    no_victim: Literal["panic", "warn_panic"] = "panic"
    memcg_no_victim: Literal["kill_current", "nothing"] = "kill_current"
    dispatch: Literal["constraint", "overcommit"] = "constraint"

    exiting_victim: Literal["none", "pf_exiting", "will_free_mem"] = "none"
    children: Literal["first", "worst", "worst_last", "none"] = "first"
    children_own_mm: bool = True
    children_in_memcg: bool = False
    sharers: Literal["killed", "refuse_if_disabled", "spared"] = "killed"
    sharers_spare_disabled: bool = False
    kill_checks_disabled: bool = False
    oom_group: bool = False
    would_have: Literal["patch", "el6", "openvz"] = "el6"
    oom_reaper: bool = False
    oom_reaper_delay_s: int = 0

    chain: tuple[str, ...] = ("__alloc_pages",)
    memcg_chain: tuple[str, ...] = ("mem_cgroup_charge_common",)
    memcg_at_fault_end: bool = False
    memcg_costly_order: bool = False
    memcg_reaped_charge: bool = False
    memcg_hides_exiting: bool = False
    soft_limit: bool = True
    costly_order: bool = False
    low_zone: bool = False
    thisnode: bool = False
    coredump: bool = False
    retry_mayfail: bool = False
    nofail_overrides: bool = False
    pagefault: Literal["kill_faulter", "__out_of_memory", "out_of_memory", "retry"] = "kill_faulter"
    retry: Literal["any_progress", "16_discounted", "16"] = "any_progress"

    guess: Literal[
        "two_step_no_reserve", "two_step", "free_reserve", "admin_reserve", "ram_swap"
    ] = "two_step_no_reserve"
    guess_misc: bool = False
    reserve: Literal["thirty_second", "admin_kbytes", "kbytes"] = "thirty_second"
    overcommit_kbytes: bool = False
    min_free_cap_kb: int = 65536
    watermark_scale: bool = False
    watermark_boost: bool = False
    swaps_at_zero: bool = True
    mem_available: Literal["none", "low_watermarks", "totalreserve"] = "none"
    psi: bool = False
    psi_full: Literal["none_runs", "all_stalled"] = "none_runs"
    oom_dump_tasks: int = 0
    stall_warning: bool = False
    sock_throttled: bool = False

    log_header: Literal[
        "2.6.11", "2.6.13", "2.6.19", "2.6.32", "2.6.36", "3.7", "4.6", "4.9", "4.11", "4.15",
        "5.0", "openvz",
    ] = "2.6.11"  # fmt: skip
    log_meminfo: Literal[
        "2.6.11", "2.6.28", "2.6.32", "3.7", "4.2", "5.8", "5.15", "6.1", "7.1", "7.3",
    ] = "2.6.11"  # fmt: skip
    log_table: Literal["none", "2.6.25", "2.6.36", "3.6", "4.0", "4.15", "4.19", "6.8"] = "none"
    log_points: Literal["raw", "per_1000"] = "raw"
    log_kill: Literal[
        "2.6.11",
        "2.6.16",
        "2.6.20",
        "2.6.33",
        "2.6.36",
        "4.5",
        "5.1",
        "5.4",
        "el6",
        "el7",
        "el8",
        "openvz",
    ] = "2.6.11"
    log_summary: Literal["none", "5.0", "5.2"] = "none"
    log_memcg: Literal["none", "2.6.30", "3.9", "5.0"] = "none"
    log_protection: bool = False


class Change(Record, frozen=True, kw_only=True):
    """One change of the rules.

    Attributes:
        since: first mainline version that has it.
        sets: the fields of the rule set it changes.
        what: what changed, in the kernel's terms.
        meaning: what that means to a user; empty where a user can't notice.
        backports: first stable release of an older branch known to carry it, such as
            ``("5.15", 55)`` for 5.15.55.
    """

    since: str
    sets: dict[str, Any]
    what: str
    meaning: str = ""
    backports: tuple[tuple[str, int], ...] = ()
