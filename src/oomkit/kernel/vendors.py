"""Kernels that behave unlike the mainline version in their name."""

from typing import Any

import msgspec


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A rule set that starts from a mainline one and differs in some fields.

    Attributes:
        name: the rule set's name.
        base: the mainline version it starts from.
        marker: what a ``uname -r`` of it contains; None for one chosen only by name.
        releases: which releases it holds for, as a person would write it.
        sets: the fields that differ.
        what: what differs, in the kernel's terms.
        meaning: what that means to a user.
    """

    name: str
    base: str
    marker: str | None
    releases: str
    sets: dict[str, Any]
    what: str
    meaning: str


VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="2.6.32-article",
        base="2.6.32",
        marker=None,
        releases="(by name only)",
        sets={"dispatch": "overcommit"},
        what="the founding document's reading: out_of_memory() switches on overcommit_memory",
        meaning="2 kills the asker, 0 panics if panic_on_oom is set, 1 goes on to the scan",
    ),
    Variant(
        name="2.6.32-el6",
        base="2.6.32",
        marker=".el6",
        releases="RHEL 6 and rebuilds",
        sets={
            "badness": "permille",
            "arithmetic": "long",
            "result": "0..1000",
            "root_bonus": "30_points",
            "pgtables": "ptes",
            "node_overlap": "unkillable",
            "origin": "permille_max",
            "disable_scope": "mm",
            "scan": "threads",
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
            "memcg_total": "bytes_swappiness",
            "adj_files": "both",
            "low_zone": True,
            "pagefault": "out_of_memory",
            "oom_dump_tasks": 1,
            "log_header": "2.6.36",
            "log_table": "2.6.36",
            "log_kill": "el6",
        },
        what="the 2.6.36 badness with page tables and 64-bit arithmetic in a 2.6.32 kernel",
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
            "scan": "threads",
            "would_have": "openvz",
            "log_header": "openvz",
            "log_kill": "openvz",
        },
        what="classic badness of resident, swapped, locked and page-table pages, no children",
        meaning="address space that is not used does not count",
    ),
)
