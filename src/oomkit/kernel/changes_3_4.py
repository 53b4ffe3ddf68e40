"""The history of the rules, 3.0 to 4.20: badness in pages, memory cgroups, the OOM reaper."""

from oomkit.kernel.rules import Change

CHANGES: tuple[Change, ...] = (
    Change(
        since="3.0",
        sets={"origin": "adj"},
        what="swapoff and KSM raise their own oom_score_adj to 1000",
    ),
    Change(
        since="3.1",
        sets={"guess": "free_reserve"},
        what="overcommit heuristic counts free pages at once and leaves shmem out",
    ),
    Change(
        since="3.2",
        sets={
            "arithmetic": "long",
            "disable_scope": "task",
            "allocating_task_check": "none",
            "sharers_spare_disabled": True,
        },
        what="no more overflow; -1000 protects only the process itself",
        meaning="processes of more than 8 GiB are ranked rightly again",
    ),
    Change(
        since="3.4",
        sets={"allocating_task": "no_fallback", "coredump": True, "sysrq_forces": True},
        what="a task that dumps core never kills",
    ),
    Change(
        since="3.5",
        sets={
            "badness": "pages",
            "result": "min_1",
            "root_bonus": "30_adj",
            "oom_score": "per_1000",
            "log_points": "per_1000",
        },
        what="badness in pages instead of thousandths",
        meaning="on big machines two processes no longer tie for being 1/1000 alike",
    ),
    Change(
        since="3.5",
        sets={"swaps_at_zero": False},
        what="with swappiness 0 reclaim leaves anonymous pages alone",
        meaning="vm.swappiness=0 kills while swap is free",
    ),
    Change(
        since="3.6",
        sets={"allocating_task_check": "task", "memcg_scan": "tree", "log_table": "3.6"},
        what="an allocating task at -1000 is left alone; the table shows page tables and swap",
    ),
    Change(
        since="3.7",
        sets={
            "memcg_total": "bytes_swappiness",
            "adj_files": "score_adj",
            "log_header": "3.7",
            "log_meminfo": "3.7",
        },
        what="only oom_score_adj is stored; swap counts for a memory cgroup if it may swap",
    ),
    Change(
        since="3.8",
        sets={
            "origin": "selected_first",
            "dying": "exiting_aborts",
            "dying_current": "fatal_or_exiting",
        },
        what="an allocating task that is exiting gets reserves instead of a kill",
    ),
    Change(
        since="3.9",
        sets={"log_memcg": "3.9"},
        what="a memory cgroup's report shows its own statistics instead of the machine's",
    ),
    Change(
        since="3.10",
        sets={"guess": "admin_reserve", "reserve": "kbytes"},
        what="admin_reserve_kbytes and user_reserve_kbytes replace fixed shares",
        meaning="with overcommit_memory=2 root keeps 8 MB to log in and recover",
    ),
    Change(
        since="3.12",
        sets={"memcg_at_fault_end": True},
        what="a charge to a full memory cgroup only records the OOM",
        meaning="system calls in a full container fail with ENOMEM; only page faults kill",
        backports=(("3.10", 65),),
    ),
    Change(
        since="3.14",
        sets={"root_bonus": "3_percent"},
        what="root's bonus is 3 % of its own badness",
        meaning="small root daemons lose most of their protection",
        backports=(("3.10", 65), ("3.13", 10)),
    ),
    Change(
        since="3.14",
        sets={"overcommit_kbytes": True, "mem_available": "low_watermarks"},
        what="overcommit_kbytes; MemAvailable in /proc/meminfo",
    ),
    Change(
        since="3.19",
        sets={
            "memcg_total": "swappiness",
            "disabled_check": "may_oom",
            "fs_check": "may_oom",
            "dying": "will_free",
            "dying_current": "not_coredump",
            "exiting_victim": "will_free_mem",
            "memcg_chain": ("try_charge", "mem_cgroup_oom"),
        },
        what="a core-dumping task no longer counts as dying",
    ),
    Change(
        since="4.0",
        sets={
            "pgtables": "ptes_pmds",
            "disabled_check": "out_of_memory",
            "dying_current": "needs_mm",
            "log_table": "4.0",
        },
        what="middle page tables count too",
        meaning="a sparse mapping can no longer hide in page tables",
    ),
    Change(
        since="4.2",
        sets={"log_meminfo": "4.2"},
        what="the report counts free pages on per-CPU lists",
    ),
    Change(
        since="4.3",
        sets={"sysrq_never_panics": True},
        what="SysRq-f never panics",
    ),
    Change(
        since="4.5",
        sets={"memcg_total": "swap_max", "log_kill": "4.5"},
        what="memory.swap.max counts in a memory cgroup's total; shmem shown apart",
    ),
    Change(
        since="4.6",
        sets={
            "dying": "victim_aborts",
            "oom_reaper": True,
            "reaped_unkillable": True,
            "watermark_scale": True,
            "mem_available": "totalreserve",
            "log_header": "4.6",
        },
        what="oom_reaper frees the victim's memory while it still dies",
        meaning="a victim stuck in the kernel no longer blocks the machine",
    ),
    Change(
        since="4.7",
        sets={
            "ties": "last_not_memcg",
            "fs_check": "out_of_memory",
            "fs_memcg_exempt": True,
            "retry": "16_discounted",
        },
        what="the allocator gives up after 16 rounds without progress; last of equals dies",
        meaning="OOM is declared sooner",
    ),
    Change(
        since="4.8",
        sets={
            "vfork_unkillable": True,
            "dying_current": "will_free_mem",
            "sharers_spare_disabled": False,
        },
        what="vfork children are not chosen; sharers of the victim die even at -1000",
    ),
    Change(
        since="4.9",
        sets={
            "ties": "first",
            "fs_memcg_exempt": False,
            "memcg_chain": ("try_charge", "mem_cgroup_oom", "mem_cgroup_out_of_memory"),
            "log_header": "4.9",
        },
        what="memory cgroups go through out_of_memory() as well; first of equals dies",
    ),
    Change(
        since="4.11",
        sets={"nofail_overrides": False, "log_header": "4.11"},
        what="__GFP_NOFAIL no longer overrides the exceptions",
    ),
    Change(
        since="4.12",
        sets={"retry": "16"},
        what="reclaimable pages are counted in full until the 16th round",
    ),
    Change(
        since="4.13",
        sets={"retry_mayfail": True},
        what="__GFP_RETRY_MAYFAIL requests never kill",
    ),
    Change(
        since="4.15",
        sets={"pgtables": "all", "log_header": "4.15", "log_table": "4.15"},
        what="page tables of all levels count, in bytes",
    ),
    Change(
        since="4.17",
        sets={"root_bonus": "none", "guess_misc": True, "memcg_costly_order": True},
        what="root has no bonus any more; a charge of more than 8 pages never kills",
        meaning="a root process is ranked like any other",
    ),
    Change(
        since="4.19",
        sets={
            "memcg_at_fault_end": False,
            "no_victim": "warn_panic",
            "oom_group": True,
            "log_table": "4.19",
        },
        what="memory.oom.group; a memory cgroup's OOM kills from system calls too",
        meaning="a whole container can die as one; no more stray ENOMEM at the limit",
    ),
    Change(
        since="4.20",
        sets={"psi": True},
        what="pressure stall information",
        meaning="a freeze can be seen coming in /proc/pressure/memory",
    ),
)
