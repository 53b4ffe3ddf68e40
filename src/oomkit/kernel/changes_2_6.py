"""The history of the rules, 2.6.11 to 2.6.39: the classic badness, its replacement in 2.6.36."""

from oomkit.kernel.rules import Change

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
        what="half of a child's address space counts; cpuset and mempolicy OOMs are distinguished",
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
        meaning="a machine can be set to panic instead of killing",
    ),
    Change(
        since="2.6.19",
        sets={
            "node_overlap": "eighth",
            "origin": "ulong_max",
            "dying": "exiting",
            "exiting_victim": "pf_exiting",
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
        meaning="the allocating task can be killed instead, which spares a long scan",
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
        since="2.6.28",
        sets={"log_meminfo": "2.6.28"},
        what="the report counts anonymous and file pages apart",
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
        meaning="oom_kill_allocating_task no longer loops on a protected task",
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
            "sharers": "spared",
            "log_header": "2.6.32",
            "log_meminfo": "2.6.32",
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
        since="2.6.34",
        sets={"rss_counters": "per_thread"},
        what="each thread keeps back what its last page faults, up to 64, added to the counters",
    ),
    Change(
        since="2.6.35",
        sets={"memcg_no_victim": "nothing"},
        what="a memory cgroup without a killable task kills none",
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
        what="-1000 protects all that share the memory; other sharers die with the victim",
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
            "dying": "traced",
            "children_own_mm": True,
        },
        what="page tables count; 32-bit arithmetic overflows above 8 GiB",
        meaning="a process of more than 8 GiB may score as if it were small",
    ),
)
