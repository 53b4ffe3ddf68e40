"""Kernels that behave unlike the mainline version in their name.

Each variant was read in the source of a build named in docs/kernels.md, or is stated by the
vendor's own changelog; a field that was not seen there keeps its mainline value.
"""

from typing import Any

from oomkit.records import Record


class Variant(Record, frozen=True, kw_only=True):
    """A rule set that starts from a mainline one and differs in some fields.

    Attributes:
        name: the rule set's name.
        base: the mainline version it starts from.
        marker: what a ``uname -r`` of it contains; None for one chosen only by name.
        build: first build of the vendor known to follow it, ``(957, 21)`` for
            3.10.0-957.21; of the variants with one marker the last one reached holds.
        releases: which releases it holds for, as a person would write it.
        sets: the fields that differ.
        what: what differs, in the kernel's terms.
        meaning: what that means to a user.
    """

    name: str
    base: str
    marker: str | None
    build: tuple[int, ...] = ()
    releases: str
    sets: dict[str, Any]
    what: str
    meaning: str


_EL6_174: dict[str, Any] = {
    "badness": "permille",
    "arithmetic": "s32",
    "result": "0..1000",
    "root_bonus": "30_points",
    "pgtables": "ptes",
    "node_overlap": "unkillable",
    "origin": "adj",
    "disable_scope": "mm",
    "dying": "traced",
    "dying_current": "fatal_signal",
    "on_mempolicy": "scan",
    "allocating_task_check": "mm",
    "constraint": "policy_first",
    "thisnode": True,
    "panic_memcg": True,
    "memcg_no_victim": "nothing",
    "children": "worst",
    "children_in_memcg": True,
    "sharers": "killed",
    "kill_checks_disabled": False,
    "would_have": "el6",
    "memcg_total": "unit_bug",
    "adj_files": "both",
    "pagefault": "out_of_memory",
    "oom_dump_tasks": 1,
    "log_header": "2.6.36",
    "log_table": "2.6.36",
    "log_kill": "2.6.36",
}
_EL6_217 = _EL6_174 | {"arithmetic": "long", "log_kill": "el6"}
_EL6_370 = _EL6_217 | {"memcg_total": "bytes"}
_EL6_449 = _EL6_370 | {"overcommit_kbytes": True, "mem_available": "low_watermarks"}
_EL6_528 = _EL6_449 | {"memcg_at_fault_end": True, "reserve": "admin_kbytes"}
_EL6_600 = _EL6_528 | {"memcg_total": "bytes_swappiness"}

_EL7_GA: dict[str, Any] = {
    "root_bonus": "3_percent",
    "overcommit_kbytes": True,
    "mem_available": "low_watermarks",
}
_EL7_245 = _EL7_GA | {"memcg_at_fault_end": True}
_EL7_482 = _EL7_245 | {"mem_available": "totalreserve", "memcg_total": "swappiness"}
_EL7_514 = _EL7_482 | {"log_kill": "4.5", "log_meminfo": "4.2"}
_EL7_1127 = _EL7_514 | {"log_kill": "el7"}
_EL7_1160 = _EL7_1127 | {
    "dying": "will_free",
    "dying_current": "needs_mm",
    "exiting_victim": "will_free_mem",
    "min_free_cap_kb": 262144,
}

_EL8_147: dict[str, Any] = {
    "children": "none",
    "log_kill": "5.1",
    "log_points": "raw",
    "memcg_at_fault_end": False,
    "no_victim": "warn_panic",
    "oom_group": True,
    "psi": True,
}
_EL8_240 = _EL8_147 | {
    "ties": "last",
    "fs_memcg_exempt": True,
    "guess": "ram_swap",
    "guess_misc": False,
    "min_free_cap_kb": 262144,
    "log_header": "5.0",
    "log_summary": "5.2",
    "log_memcg": "5.0",
    "log_kill": "el8",
}
_EL8_305 = _EL8_240 | {
    "node_overlap": "unkillable_not_memcg",
    "node_pages": "present",
    "log_table": "4.19",
    "log_kill": "5.4",
}
_EL8_348 = _EL8_305 | {
    "result": "signed",
    "oom_score": "two_thirds",
    "guess": "admin_reserve",
    "guess_misc": True,
}
_EL8_394 = _EL8_348 | {"oom_reaper_delay_s": 2}
_EL8_477 = _EL8_394 | {
    "pagefault": "retry",
    "memcg_chain": ("try_charge_memcg", "mem_cgroup_oom", "mem_cgroup_out_of_memory"),
}

VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="2.6.32-article",
        base="2.6.32",
        marker=None,
        releases="(by name only)",
        sets={"dispatch": "overcommit"},
        what="an article's reading of 2.6.32: out_of_memory() switches on overcommit_memory",
        meaning="2 kills the allocating task, 0 panics with panic_on_oom, 1 goes on to the scan",
    ),
    Variant(
        name="2.6.32-el6-ga",
        base="2.6.32",
        marker=".el6",
        releases="RHEL 6.0 and 6.1 (2.6.32-71 to -131)",
        sets={"children_in_memcg": True},
        what="the classic badness of 2.6.32; no child outside the memory cgroup is sacrificed",
        meaning="address space, CPU time and age decide, as in mainline",
    ),
    Variant(
        name="2.6.32-el6-174",
        base="2.6.32",
        marker=".el6",
        build=(174,),
        releases="before RHEL 6.2 (2.6.32-174 on)",
        sets=_EL6_174,
        what="the 2.6.36 badness with page tables, in 32 bits",
        meaning="ranks by memory alone; a process of more than 8 GiB may score as if small",
    ),
    Variant(
        name="2.6.32-el6-217",
        base="2.6.32",
        marker=".el6",
        build=(217,),
        releases="RHEL 6.2 to 6.4 (2.6.32-217 on)",
        sets=_EL6_217,
        what="badness in 64 bits; the kill line shows the user",
        meaning="RHEL 6 ranks by memory alone, unlike the mainline kernel of its name",
    ),
    Variant(
        name="2.6.32-el6-370",
        base="2.6.32",
        marker=".el6",
        build=(370,),
        releases="RHEL 6.5 (2.6.32-370 on)",
        sets=_EL6_370,
        what="total of a memory cgroup counts swap in the right unit",
        meaning="",
    ),
    Variant(
        name="2.6.32-el6-449",
        base="2.6.32",
        marker=".el6",
        build=(449,),
        releases="RHEL 6.6 (2.6.32-449 on)",
        sets=_EL6_449,
        what="overcommit_kbytes; MemAvailable in /proc/meminfo",
        meaning="",
    ),
    Variant(
        name="2.6.32-el6-528",
        base="2.6.32",
        marker=".el6",
        build=(528,),
        releases="RHEL 6.7 (2.6.32-528 on)",
        sets=_EL6_528,
        what="a charge to a full memory cgroup only records the OOM; admin_reserve_kbytes",
        meaning="system calls in a full container fail with ENOMEM; only page faults kill",
    ),
    Variant(
        name="2.6.32-el6",
        base="2.6.32",
        marker=".el6",
        build=(600,),
        releases="RHEL 6.8 to 6.10 (2.6.32-600 on)",
        sets=_EL6_600,
        what="swap counts for a memory cgroup if it may swap",
        meaning="RHEL 6 ranks by memory alone, unlike the mainline kernel of its name",
    ),
    Variant(
        name="2.6.32-openvz",
        base="2.6.32",
        marker="stab",
        releases="OpenVZ on RHEL 6",
        sets={
            "classic_basis": "rss_swap_ptes_locked",
            "children_term": "none",
            "children": "worst_last",
            "dying": "openvz",
            "would_have": "openvz",
            "log_header": "openvz",
            "log_kill": "openvz",
        },
        what="classic badness of resident, swapped, locked and page-table pages, no children",
        meaning="address space that is not used does not count",
    ),
    Variant(
        name="3.10-el7",
        base="3.10",
        marker=".el7",
        releases="RHEL 7.0 and 7.1 (3.10.0-123 to -229)",
        sets=_EL7_GA,
        what="root's 3 % bonus, overcommit_kbytes and MemAvailable of 3.14",
        meaning="small root daemons are hardly protected",
    ),
    Variant(
        name="3.10-el7-245",
        base="3.10",
        marker=".el7",
        build=(245,),
        releases="RHEL 7.2 (3.10.0-245 on)",
        sets=_EL7_245,
        what="a charge to a full memory cgroup only records the OOM",
        meaning="system calls in a full container fail with ENOMEM; only page faults kill",
    ),
    Variant(
        name="3.10-el7-482",
        base="3.10",
        marker=".el7",
        build=(482,),
        releases="3.10.0-482 on",
        sets=_EL7_482,
        what="MemAvailable leaves out all reserved pages; memory cgroups count in pages",
        meaning="",
    ),
    Variant(
        name="3.10-el7-514",
        base="3.10",
        marker=".el7",
        build=(514,),
        releases="RHEL 7.3 to 7.7 (3.10.0-514 on)",
        sets=_EL7_514,
        what="the kill line shows shmem",
        meaning="",
    ),
    Variant(
        name="3.10-el7-1127",
        base="3.10",
        marker=".el7",
        build=(1127,),
        releases="RHEL 7.8 (3.10.0-1127 on)",
        sets=_EL7_1127,
        what="the kill line shows the user",
        meaning="",
    ),
    Variant(
        name="3.10-el7-1160",
        base="3.10",
        marker=".el7",
        build=(1160,),
        releases="RHEL 7.9 (3.10.0-1160 on)",
        sets=_EL7_1160,
        what="a core-dumping task no longer counts as dying; min_free_kbytes may reach 256 MB",
        meaning="a task that dumps core no longer holds up the next kill",
    ),
    Variant(
        name="4.18-el8",
        base="4.18",
        marker=".el8",
        releases="RHEL 8.0 (4.18.0-80)",
        sets={},
        what="the mainline rules of 4.18",
        meaning="a child of the chosen process is sacrificed",
    ),
    Variant(
        name="4.18-el8-147",
        base="4.18",
        marker=".el8",
        build=(147,),
        releases="RHEL 8.1 and 8.2 (4.18.0-147 on)",
        sets=_EL8_147,
        what="no child is sacrificed; memory.oom.group; a charge itself kills; PSI",
        meaning="the process with the highest score dies itself; a container can die as one",
    ),
    Variant(
        name="4.18-el8-240",
        base="4.18",
        marker=".el8",
        build=(240,),
        releases="RHEL 8.3 (4.18.0-240 on)",
        sets=_EL8_240,
        what="last of equals dies; overcommit heuristic of 5.2; the oom-kill: line",
        meaning="malloc fails later; of equals the youngest dies",
    ),
    Variant(
        name="4.18-el8-305",
        base="4.18",
        marker=".el8",
        build=(305,),
        releases="RHEL 8.4 (4.18.0-305 on)",
        sets=_EL8_305,
        what="a memory cgroup's OOM ignores NUMA nodes; task table and kill line of 5.4",
        meaning="",
    ),
    Variant(
        name="4.18-el8-348",
        base="4.18",
        marker=".el8",
        build=(348,),
        releases="RHEL 8.5 and 8.6 (4.18.0-348 on)",
        sets=_EL8_348,
        what="signed badness and oom_score of 5.9; the overcommit heuristic of 4.17 is back",
        meaning="an idle process shows about 666; malloc may fail before RAM and swap are full",
    ),
    Variant(
        name="4.18-el8-394",
        base="4.18",
        marker=".el8",
        build=(394,),
        releases="RHEL 8.7 (4.18.0-394 on)",
        sets=_EL8_394,
        what="oom_reaper waits two seconds",
        meaning="a victim stuck in the kernel gives its memory back two seconds later",
    ),
    Variant(
        name="4.18-el8-477",
        base="4.18",
        marker=".el8",
        build=(477,),
        releases="RHEL 8.8 to 8.10 (4.18.0-477 on)",
        sets=_EL8_477,
        what="a page fault without memory is tried again instead of calling the OOM killer",
        meaning="no more global kills for a memory cgroup's failure",
    ),
    Variant(
        name="5.14-el9",
        base="5.14",
        marker=".el9",
        releases="RHEL 9.0 (5.14.0-70)",
        sets={},
        what="the mainline rules of 5.14",
        meaning="",
    ),
    Variant(
        name="5.14-el9-88",
        base="5.14",
        marker=".el9",
        build=(88,),
        releases="RHEL 9.1 (5.14.0-88 on)",
        sets={"oom_reaper_delay_s": 2},
        what="oom_reaper waits two seconds",
        meaning="a victim stuck in the kernel gives its memory back two seconds later",
    ),
    Variant(
        name="5.14-el9-198",
        base="5.14",
        marker=".el9",
        build=(198,),
        releases="RHEL 9.2 and later (5.14.0-198 on)",
        sets={"oom_reaper_delay_s": 2, "pagefault": "retry"},
        what="a page fault without memory is tried again instead of calling the OOM killer",
        meaning="no more global kills for a memory cgroup's failure",
    ),
)
