"""The rule sets 2.6.32 and 2.6.32-article: where the document and the source part (R9)."""

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.state import Allocation, Memory, Node, Snapshot, Sysctl, Task
from oomkit.kernel.versions import rules_for

ASKER, WORST = 300, 301
BOTH_NODES, ONE_NODE = (0, 1), (0,)


def outcome(name: str, *, overcommit: int, panic: int, confined_by: str) -> str:
    """What the rule set does: ``panic``, or who dies: ``asker`` or ``worst``."""
    mems = ONE_NODE if confined_by == "cpuset" else BOTH_NODES
    tasks = tuple(
        Task(pid=pid, comm=comm, ppid=1, total_vm_pages=size, rss_pages=size, mems_allowed=mems)
        for pid, comm, size in ((ASKER, "asker", 100), (WORST, "worst", 90_000))
    )
    nodes = tuple(Node(node_id=n, present_pages=65536, spanned_pages=65536) for n in BOTH_NODES)
    snapshot = Snapshot(
        kernel=name,
        memory=Memory(total_ram_pages=131072, nodes=nodes),
        sysctl=Sysctl(overcommit_memory=overcommit, panic_on_oom=panic),
        tasks=tasks,
        uptime_s=100,
    )
    allocation = Allocation(pid=ASKER, nodemask=ONE_NODE if confined_by == "mempolicy" else None)
    decision = decide(snapshot, allocation, rules_for(name))
    if decision.action == "panic":
        return "panic"
    return decision.victims[0].comm


@pytest.mark.parametrize(
    ("confined_by", "overcommit", "panic", "source", "article"),
    [
        ("nothing", 2, 0, "worst", "asker"),
        ("nothing", 2, 1, "panic", "asker"),
        ("nothing", 1, 1, "panic", "worst"),
        ("nothing", 0, 0, "worst", "worst"),
        ("nothing", 0, 1, "panic", "panic"),
        ("mempolicy", 0, 0, "asker", "worst"),
        ("mempolicy", 0, 1, "asker", "panic"),
        ("mempolicy", 1, 1, "asker", "worst"),
        ("mempolicy", 2, 0, "asker", "asker"),
        ("cpuset", 0, 1, "worst", "panic"),
        ("cpuset", 2, 0, "worst", "asker"),
        ("cpuset", 2, 2, "panic", "panic"),
        ("mempolicy", 0, 2, "panic", "panic"),
    ],
)
def test_the_table_of_the_documentation(
    confined_by: str, overcommit: int, panic: int, source: str, article: str
) -> None:
    """R9: the source looks at the constraint, the article at overcommit_memory."""
    for name, expected in (("2.6.32", source), ("2.6.32-article", article)):
        found = outcome(name, overcommit=overcommit, panic=panic, confined_by=confined_by)
        assert found == expected
