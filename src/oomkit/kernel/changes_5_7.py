"""The history of the rules from 5.0 on: no child sacrifice, signed badness, exact counters."""

from oomkit.kernel.rules import Change

_SLOW = ("__alloc_pages_slowpath", "__alloc_pages_may_oom")

CHANGES: tuple[Change, ...] = (
    Change(
        since="5.0",
        sets={"log_header": "5.0", "log_summary": "5.0", "log_memcg": "5.0"},
        what="one oom-kill: line sums up constraint, cgroup and victim",
        meaning="in 5.0 and 5.1 that line always says CONSTRAINT_NONE",
    ),
    Change(
        since="5.0",
        sets={"watermark_boost": True},
        what="watermarks rise while page blocks get mixed (watermark_boost_factor)",
        meaning="some more memory is kept free while the machine swaps",
    ),
    Change(
        since="5.1",
        sets={"children": "none", "log_kill": "5.1", "log_points": "raw"},
        what="no child is sacrificed any more",
        meaning="the process with the highest score dies itself",
    ),
    Change(
        since="5.2",
        sets={"guess": "ram_swap", "guess_misc": False, "log_summary": "5.2"},
        what="overcommit heuristic refuses only what exceeds RAM and swap",
        meaning="malloc fails later, the OOM killer comes more often",
    ),
    Change(
        since="5.3",
        sets={"node_overlap": "unkillable_not_memcg", "ties": "last"},
        what="a memory cgroup's OOM ignores NUMA nodes; last of equals dies",
        meaning="of equals the youngest dies",
    ),
    Change(
        since="5.4",
        sets={"fs_memcg_exempt": True},
        what="a memory cgroup's OOM kills even where file systems may not be entered",
        backports=(("4.14", 147), ("4.19", 77)),
    ),
    Change(
        since="5.4",
        sets={"node_pages": "present", "log_kill": "5.4"},
        what="a bound task's total counts present pages; the kill line ends with UID, "
        "page tables and oom_score_adj",
    ),
    Change(
        since="5.8",
        sets={"min_free_cap_kb": 262144, "log_meminfo": "5.8"},
        what="default min_free_kbytes may reach 256 MB",
    ),
    Change(
        since="5.9",
        sets={"result": "signed", "oom_score": "two_thirds"},
        what="badness may be negative; oom_score is spread over 0..2000",
        meaning="strongly protected processes are distinguished; an idle process shows about 666",
        backports=(("5.4", 144),),
    ),
    Change(
        since="5.10",
        sets={"memcg_total": "v1_gap", "oom_adj_capped": True},
        what="total of a v1 memory cgroup counts only the swap its limits leave",
    ),
    Change(
        since="5.13",
        sets={"chain": ("__alloc_pages", *_SLOW)},
        what="__alloc_pages_nodemask is renamed __alloc_pages",
    ),
    Change(
        since="5.14",
        sets={"memcg_chain": ("try_charge_memcg", "mem_cgroup_oom", "mem_cgroup_out_of_memory")},
        what="try_charge is renamed try_charge_memcg",
    ),
    Change(
        since="5.15",
        sets={"log_meminfo": "5.15"},
        what="the report counts reclaimable kernel pages",
    ),
    Change(
        since="5.16",
        sets={"pagefault": "retry"},
        what="a page fault without memory is tried again instead of calling the OOM killer",
        meaning="no more global kills for a memory cgroup's failure",
        backports=(
            ("4.9", 291),
            ("4.14", 256),
            ("4.15", 19),  # Ubuntu's alone: the mainline branch ended with 4.15.18
            ("4.19", 218),
            ("5.4", 160),
            ("5.10", 80),
            ("5.14", 19),
            ("5.15", 3),
        ),
    ),
    Change(
        since="5.17",
        sets={"psi_full": "all_stalled"},
        what="PSI's full counts a CPU whose runnable tasks all reclaim (TSK_MEMSTALL_RUNNING)",
        meaning="a cgroup whose tasks all reclaim is stalled, also while others have the CPU",
        backports=(("5.15", 55),),
    ),
    Change(
        since="5.18",
        sets={"oom_reaper_delay_s": 2},
        what="oom_reaper waits two seconds",
        meaning="a victim stuck in the kernel gives its memory back two seconds later",
        backports=(("5.4", 191), ("5.10", 113), ("5.15", 36)),
    ),
    Change(
        since="6.1",
        sets={"log_meminfo": "6.1"},
        what="the report counts secondary page tables",
    ),
    Change(
        since="6.2",
        sets={"rss_counters": "per_cpu"},
        what="resident pages and swap entries are counted per CPU and read without summing up",
        meaning="badness may miss up to a batch of pages per counter and CPU",
    ),
    Change(
        since="6.8",
        sets={"log_table": "6.8"},
        what="the task table shows anonymous, file and shared memory apart",
    ),
    Change(
        since="6.10",
        sets={"chain": ("__alloc_pages_noprof", *_SLOW)},
        what="allocation profiling renames __alloc_pages",
    ),
    Change(
        since="6.14",
        sets={"chain": ("__alloc_frozen_pages_noprof", *_SLOW)},
        what="__alloc_pages_noprof becomes __alloc_frozen_pages_noprof",
    ),
    Change(
        since="6.19",
        sets={"log_protection": True, "sock_throttled": True},
        what="on cgroup v2 the report says how much memory.min and memory.low protect; "
        "memory.events counts sock_throttled",
        meaning="memory that reclaim had to leave alone is no longer hidden",
    ),
    Change(
        since="6.19",
        sets={"memcg_hides_exiting": True},
        what="exiting processes are hidden from walks of a cgroup's tasks "
        "(css_task_iter_advance())",
        meaning="a cgroup's OOM killer no longer waits for a victim that exits: a limit set below "
        "usage kills on until all is free or nothing is left to kill",
    ),
    Change(
        since="7.0",
        sets={"rss_counters": "summed"},
        what="badness, oom_score, the task table, kill lines and reaper lines use exact sums of "
        "the per-CPU counters",
        meaning="what /proc/PID/status shows decides, no longer field 24 of /proc/PID/stat; "
        "small and widely threaded processes change places",
    ),
    Change(
        since="7.1",
        sets={"log_meminfo": "7.1"},
        what="a node's line counts memory of GPUs (gpu_active, gpu_reclaim)",
        meaning="memory that graphics drivers hold becomes visible",
    ),
    Change(
        since="7.2",
        sets={"stall_warning": True},
        what="an allocation that takes more than ten seconds is reported, once in ten seconds",
        meaning="a freeze before an OOM leaves a witness",
    ),
    Change(
        since="7.3",
        sets={"memcg_reaped_charge": True},
        what="a charge of a victim whose memory was already reaped fails at once",
        meaning="a cgroup's dying victim no longer asks for kills in a loop (CVE-2026-93241)",
        backports=(("7.2", 6),),
    ),
    Change(
        since="7.3",
        sets={"soft_limit": False},
        what="memory.soft_limit_in_bytes has no effect and reads as unlimited",
        meaning="v1 soft limits no longer steer reclaim (CVE-2026-93240)",
        backports=(("7.2", 6),),
    ),
    Change(
        since="7.3",
        sets={"log_meminfo": "7.3"},
        what="reserved_highatomic and free_highatomic are printed with kB like their neighbours",
    ),
)
