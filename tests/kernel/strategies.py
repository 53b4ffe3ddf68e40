"""Builders of small machines, and hypothesis strategies of random ones."""

from typing import Any

from hypothesis import strategies as st

from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Memory, Node, Snapshot, Sysctl, Task
from oomkit.kernel.versions import history, rules_for

ALL_RULES: tuple[RuleSet, ...] = tuple(row.rules for row in history())
CLASSIC = tuple(rules for rules in ALL_RULES if rules.badness == "classic")
MODERN = tuple(rules for rules in ALL_RULES if rules.badness != "classic")

MAINLINE = (
    "2.6.11", "2.6.12", "2.6.13", "2.6.15", "2.6.16", "2.6.17", "2.6.18", "2.6.19", "2.6.20",
    "2.6.21", "2.6.22", "2.6.23", "2.6.24", "2.6.25", "2.6.26", "2.6.28", "2.6.29", "2.6.30",
    "2.6.31", "2.6.32", "2.6.33", "2.6.34", "2.6.35", "2.6.36", "2.6.37", "2.6.38", "2.6.39",
    "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12",
    "3.13", "3.14", "3.16", "3.18", "3.19", "4.0", "4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7",
    "4.8", "4.9", "4.10", "4.11", "4.12", "4.13", "4.14", "4.15", "4.16", "4.17", "4.18", "4.19",
    "4.20", "5.0", "5.1", "5.2", "5.3", "5.4", "5.8", "5.9", "5.10", "5.12", "5.13", "5.15",
    "5.16", "5.18", "6.0", "6.1", "6.2", "6.8", "6.9", "6.10", "6.13", "6.14", "6.18",
)  # fmt: skip
"""Versions that the tests' tables are written in, oldest first."""


def versions(first: str, last: str) -> tuple[str, ...]:
    """The versions of :data:`MAINLINE` from ``first`` to ``last``, both included."""
    return MAINLINE[MAINLINE.index(first) : MAINLINE.index(last) + 1]


def mem(**fields: Any) -> Memory:
    """A machine of 8 GiB of RAM and 2 GiB of swap, unless told otherwise."""
    return Memory(**{"total_ram_pages": 2097152, "total_swap_pages": 524288, **fields})


def snap(*tasks: Task, rules: str = "6.18", **fields: Any) -> Snapshot:
    """A snapshot of some tasks; ``sysctl`` may be a dict."""
    sysctl = fields.pop("sysctl", {})
    fields.setdefault("memory", mem())
    fields.setdefault("uptime_s", 1000)
    fields.setdefault("hz", 1000)
    return Snapshot(
        kernel=rules,
        tasks=tasks,
        sysctl=sysctl if isinstance(sysctl, Sysctl) else Sysctl(**sysctl),
        **fields,
    )


def user(pid: int, pages: int = 1000, **fields: Any) -> Task:
    """A plain user's process that is as large by every rule set's measure."""
    fields.setdefault("start_s", 1000)
    fields.setdefault("uid", 1000)
    return Task(
        pid=pid,
        comm=fields.pop("comm", f"t{pid}"),
        rss_pages=fields.pop("rss_pages", pages),
        total_vm_pages=fields.pop("total_vm_pages", pages),
        **fields,
    )


INIT = Task(pid=1, comm="init", global_init=True, total_vm_pages=10**6, rss_pages=10**6)
KTHREAD = Task(pid=2, comm="kthreadd", kthread=True, has_mm=False)


def control(
    *tasks: Task, rules: RuleSet | str, total: int | None = None, **fields: Any
) -> OomControl:
    """A context for badness alone."""
    if isinstance(rules, str):
        rules = rules_for(rules)
    allocation = fields.pop("allocation", Allocation())
    return OomControl(
        snap(*tasks, **fields),
        allocation,
        rules,
        total_pages=None if rules.badness == "classic" else total,
    )


PAGES = st.one_of(
    st.integers(0, 3), st.integers(0, 4000), st.integers(0, 3_000_000), st.sampled_from([500, 501])
)


@st.composite
def tasks(draw: st.DrawFn, *, plain: bool = False, most: int = 8) -> tuple[Task, ...]:
    """Some processes; ``plain`` ones are alive and well, and share nothing."""
    count = draw(st.integers(0 if not plain else 1, most))
    made = []
    for index in range(count):
        pid = 100 + index
        adj = draw(st.sampled_from([0, 0, 0, -1000, -999, -500, 1, 300, 1000]))
        oom_adj = draw(st.sampled_from([None, None, -17, -16, 0, 3, 15]))
        rss = draw(PAGES)
        fields: dict[str, Any] = {
            "ppid": draw(st.sampled_from([1, *range(100, pid)])),
            "uid": draw(st.sampled_from([0, 1000])),
            "rss_pages": rss,
            "swap_pages": draw(st.sampled_from([0, 0, 7, 5000])),
            "pgtable_pages": draw(st.sampled_from([0, 2, 40])),
            "pte_pages": draw(st.sampled_from([None, 1])),
            "total_vm_pages": rss + draw(st.sampled_from([0, 100])),
            "oom_score_adj": adj,
            "oom_adj": oom_adj,
            "cpu_jiffies": draw(st.sampled_from([0, 0, 10**5, 10**8])),
            "start_s": draw(st.sampled_from([0, 10, 10**6])),
            "nice": draw(st.sampled_from([0, 0, 5, -5])),
            "cap_sys_admin": draw(st.booleans()),
            "cap_sys_rawio": draw(st.sampled_from([False, False, True])),
            "cgroup": draw(st.sampled_from(["/", "/a", "/a", "/a/b", "/c"])),
        }
        if not plain:
            fields |= {
                "has_mm": draw(st.sampled_from([True, True, True, False])),
                "mm_id": draw(st.sampled_from([None, None, 1, 2])),
                "exiting": draw(st.sampled_from([False, False, False, True])),
                "victim": draw(st.sampled_from([False, False, False, True])),
                "fatal_signal": draw(st.sampled_from([False, False, True])),
                "coredump": draw(st.sampled_from([False, False, True])),
                "mm_reaped": draw(st.sampled_from([False, False, True])),
                "vfork": draw(st.sampled_from([False, False, True])),
                "traced_exit": draw(st.sampled_from([False, True])),
                "oom_origin": draw(st.sampled_from([False, False, False, True])),
                "threads": draw(st.sampled_from([1, 3])),
                "mems_allowed": draw(st.sampled_from([None, (0,), (1,), (0, 1)])),
                "mempolicy_nodes": draw(st.sampled_from([None, (0,), (1,)])),
                "frozen": draw(st.booleans()),
            }
            if draw(st.integers(0, 9)) == 0:
                fields |= {"kthread": True, "has_mm": False}
        made.append(Task(pid=pid, comm=f"t{pid}", **fields))
    return tuple(made)


@st.composite
def snapshots(draw: st.DrawFn, *, plain: bool = False, most: int = 8) -> Snapshot:
    """A random machine; a ``plain`` one kills without ado."""
    ram = draw(st.sampled_from([500, 262144, 6171021, 2**26]))
    numa = not plain and draw(st.booleans())
    sysctl: dict[str, int] = {}
    if not plain:
        sysctl = {
            "panic_on_oom": draw(st.sampled_from([0, 0, 0, 1, 2])),
            "oom_kill_allocating_task": draw(st.sampled_from([0, 0, 1])),
            "would_have_oomkilled": draw(st.sampled_from([0, 0, 0, 1, 2])),
            "oom_killer_disabled": draw(st.sampled_from([0, 0, 0, 1])),
            "overcommit_memory": draw(st.sampled_from([0, 1, 2])),
        }
    memcgs = (
        Memcg(
            path="/a", limit_pages=draw(st.sampled_from([0, 50000])), oom_group=draw(st.booleans())
        ),
        Memcg(path="/a/b", oom_group=draw(st.booleans())),
        Memcg(path="/c", version=1, limit_pages=9999, oom_kill_disable=draw(st.booleans())),
    )
    init = () if draw(st.booleans()) else (INIT,)
    return Snapshot(
        kernel="6.18",
        memory=Memory(
            total_ram_pages=ram,
            total_swap_pages=draw(st.sampled_from([0, 16383])),
            committed_pages=draw(st.sampled_from([0, 10**6])),
            nodes=(
                Node(node_id=0, present_pages=ram // 2, spanned_pages=ram // 2 + 9),
                Node(node_id=1, present_pages=ram // 2, spanned_pages=ram // 2),
            )
            if numa
            else (),
        ),
        sysctl=Sysctl(**sysctl),
        tasks=init + draw(tasks(plain=plain, most=most)),
        memcgs=memcgs,
        hz=draw(st.sampled_from([100, 250, 1000])),
        uptime_s=2 * 10**6,
    )


@st.composite
def allocations(draw: st.DrawFn) -> Allocation:
    """A random request."""
    flag = st.sampled_from([False, False, False, True])
    return Allocation(
        pid=draw(st.sampled_from([None, 100, 101, 102, 999])),
        memcg=draw(st.sampled_from([None, None, "/a", "/a/b", "/c", "/gone"])),
        order=draw(st.sampled_from([0, 0, 0, 3, 4])),
        gfp_fs=not draw(flag),
        gfp_nofail=draw(flag),
        gfp_noretry=draw(flag),
        gfp_retry_mayfail=draw(flag),
        gfp_thisnode=draw(flag),
        low_zone=draw(flag),
        nodemask=draw(st.sampled_from([None, None, (0,), (1,)])),
        user_fault=draw(st.booleans()),
        page_fault_oom=draw(flag),
        sysrq=draw(flag),
    )


RULES = st.sampled_from(ALL_RULES)
