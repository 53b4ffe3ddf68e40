"""The history of the rules: each change once, with the version that brought it.

Facts were learnt from the kernel sources of the versions named (mm/oom_kill.c, mm/page_alloc.c,
mm/memcontrol.c, fs/proc/base.c, mm/util.c, mm/mmap.c); see docs/kernels.md for the trees read.
"""

from typing import Any

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
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


_SLOW = ("__alloc_pages_slowpath", "__alloc_pages_may_oom")

CHANGES: tuple[Change, ...] = (
    Change(
        since="2.6.11",
        sets={},
        what="badness() from address space, CPU time and age; first child is sacrificed",
        meaning="big young processes die first; CPU time and age protect; a child goes first",
    ),
    Change(
        since="2.6.12",
        sets={"oom_disable": True},
        what="OOM_DISABLE: a task with oom_adj -17 is not considered",
        meaning="a process can be protected for good",
    ),
    Change(
        since="2.6.13",
        sets={"log_header": "2.6.13"},
        what="the report names the allocation order",
    ),
    Change(
        since="2.6.14",
        sets={"node_overlap": "skipped"},
        what="tasks in exclusive cpusets elsewhere are not considered",
        meaning="on NUMA a task in another cpuset is safe",
    ),
    Change(
        since="2.6.16",
        sets={"children_term": "half", "constraint": "cpuset_first", "log_kill": "2.6.16"},
        what="half of a child's address space counts; cpuset and mempolicy OOMs are told apart",
        meaning="forking servers score lower; a NUMA-bound task that finds no memory dies itself",
    ),
    Change(
        since="2.6.17",
        sets={"guess": "two_step"},
        what="the overcommit heuristic leaves the reserved pages out",
    ),
    Change(
        since="2.6.18",
        sets={"panic_on_oom": "one"},
        what="vm.panic_on_oom",
        meaning="a machine can be told to panic instead of killing",
    ),
    Change(
        since="2.6.19",
        sets={
            "node_overlap": "eighth",
            "origin": "ulong_max",
            "dying": "exiting",
            "exiting_victim": "pf_exiting",
            "init_pid": False,
            "log_header": "2.6.19",
        },
        what="kernel threads are skipped; an exiting task is helped along; "
        "other nodes' tasks count an eighth; swapoff is killed first",
        meaning="a process that is exiting anyway is waited for instead of killing another",
    ),
    Change(
        since="2.6.20",
        sets={
            "sharers": "spared",
            "kill_checks_disabled": True,
            "log_kill": "2.6.20",
        },
        what="a child with oom_adj -17 is not sacrificed; other sharers of the victim's memory "
        "are missed (a slip: the victim is signalled again instead)",
        meaning="-17 protects children of a chosen process too",
    ),
    Change(
        since="2.6.21",
        sets={"sharers": "refuse_if_disabled"},
        what="a task is not killed if any sharer of its memory has oom_adj -17; else sharers die",
        meaning="-17 on one process protects those that share its memory",
    ),
    Change(
        since="2.6.22",
        sets={"lift_zero": True, "panic_on_oom": "two"},
        what="oom_adj > 0 lifts a zero score; panic_on_oom=2",
        meaning="oom_adj 15 works on tiny processes too; 2 panics on every OOM",
    ),
    Change(
        since="2.6.23",
        sets={"costly_order": True},
        what="no kill for a request of more than 8 contiguous pages",
        meaning="a failing network jumbo buffer no longer kills your database",
    ),
    Change(
        since="2.6.24",
        sets={"on_cpuset": "scan", "allocating_task": "always"},
        what="vm.oom_kill_allocating_task; a cpuset OOM scans for the worst task",
        meaning="the asker can be made to pay, which spares a long scan",
    ),
    Change(
        since="2.6.25",
        sets={
            "privilege": "admin_or_resource",
            "log_table": "2.6.25",
            "memcg_chain": ("mem_cgroup_charge_common",),
        },
        what="memory cgroups have their own OOM; root's bonus needs a capability; task table",
        meaning="a container can run out of memory alone; the log can list all tasks",
    ),
    Change(
        since="2.6.26",
        sets={"chain": ("__alloc_pages", "__alloc_pages_internal")},
        what="__alloc_pages becomes a wrapper",
    ),
    Change(
        since="2.6.29",
        sets={"pagefault": "__out_of_memory", "memcg_chain": ("__mem_cgroup_try_charge",)},
        what="a page fault that finds no memory calls the OOM killer",
        meaning="before, the faulting process itself was killed on the spot",
    ),
    Change(
        since="2.6.30",
        sets={"allocating_task": "fallback", "log_memcg": "2.6.30"},
        what="an unkillable allocating task falls back to the scan",
        meaning="oom_kill_allocating_task no longer loops on a protected asker",
    ),
    Change(
        since="2.6.31",
        sets={
            "disabled_check": "slowpath",
            "chain": ("__alloc_pages_nodemask", *_SLOW),
            "nofail_overrides": True,
        },
        what="the slow path is split up; oom_killer_disabled",
        meaning="nothing is killed while the machine is being suspended",
    ),
    Change(
        since="2.6.32",
        sets={
            "cpu_time": "group",
            "early_disable": True,
            "scan": "processes",
            "sharers": "spared",
            "log_header": "2.6.32",
        },
        what="oom_adj belongs to the process; CPU time of all threads counts; "
        "processes that share the victim's memory are spared",
        meaning="threads no longer have their own oom_adj; a vfork parent survives",
    ),
    Change(
        since="2.6.33",
        sets={
            "constraint": "policy_first",
            "thisnode": True,
            "children_in_memcg": True,
            "log_kill": "2.6.33",
        },
        what="mempolicy is looked at before cpusets; __GFP_THISNODE never kills",
    ),
    Change(
        since="2.6.34",
        sets={"panic_memcg": True},
        what="panic_on_oom=2 covers memory cgroups",
        meaning="with 2, one container at its limit panics the machine",
    ),
    Change(
        since="2.6.35",
        sets={"memcg_no_victim": "nothing"},
        what="a memory cgroup without a killable task kills nobody",
    ),
    Change(
        since="2.6.36",
        sets={
            "badness": "permille",
            "arithmetic": "s32_result",
            "result": "0..1000",
            "root_bonus": "30_points",
            "node_overlap": "unkillable",
            "origin": "permille_max",
            "dying": "single_exiting",
            "dying_current": "fatal_signal",
            "on_mempolicy": "scan",
            "allocating_task_check": "task",
            "children": "worst",
            "children_own_mm": False,
            "kill_checks_disabled": False,
            "would_have": "patch",
            "memcg_total": "unit_bug",
            "adj_files": "both",
            "low_zone": True,
            "pagefault": "out_of_memory",
            "oom_dump_tasks": 1,
            "log_header": "2.6.36",
            "log_table": "2.6.36",
            "log_kill": "2.6.36",
        },
        what="oom_badness(): share of allowed memory in thousandths; oom_score_adj; "
        "the worst child is sacrificed",
        meaning="only memory counts: CPU time, age and nice no longer do; oom_score 0..1000",
    ),
    Change(
        since="2.6.37",
        sets={"disable_scope": "mm", "allocating_task_check": "mm", "sharers": "killed"},
        what="-1000 protects everybody who shares the memory; other sharers die with the victim",
    ),
    Change(
        since="2.6.38",
        sets={"memcg_total": "bytes"},
        what="total of a memory cgroup counts swap in the right unit",
    ),
    Change(
        since="2.6.39",
        sets={
            "pgtables": "ptes",
            "arithmetic": "s32",
            "scan": "threads",
            "dying": "traced",
            "children_own_mm": True,
        },
        what="page tables count; 32-bit arithmetic overflows above 8 GiB",
        meaning="a process of more than 8 GiB may score as if it were small",
    ),
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
        what="an asker that is exiting gets reserves instead of a kill",
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
            "scan": "processes",
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
        meaning="a root process is ranked like anybody's",
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
    Change(
        since="5.0",
        sets={"log_header": "5.0", "log_summary": "5.0", "log_memcg": "5.0"},
        what="one oom-kill: line sums up constraint, cgroup and victim",
        meaning="in 5.0 and 5.1 that line always says CONSTRAINT_NONE",
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
        sets={"min_free_cap_kb": 262144},
        what="default min_free_kbytes may reach 256 MB",
    ),
    Change(
        since="5.9",
        sets={"result": "signed", "oom_score": "two_thirds"},
        what="badness may be negative; oom_score is spread over 0..2000",
        meaning="strongly protected processes are told apart; an idle process shows about 666",
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
        since="5.18",
        sets={"oom_reaper_delay_s": 2},
        what="oom_reaper waits two seconds",
        meaning="a victim stuck in the kernel gives its memory back two seconds later",
        backports=(("5.4", 191), ("5.10", 113), ("5.15", 36)),
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
)

LAST_KNOWN = "6.18"
"""Newest version whose source was read; later ones are judged by its rules."""
