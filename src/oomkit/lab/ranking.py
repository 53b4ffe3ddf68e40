"""A snapshot ranked for a page: the order, why, and what changes would alter it."""

from collections.abc import Sequence
from typing import Any

from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import find_memcg_path
from oomkit.kernel.snapshot_json import decode_snapshot
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.versions import rules_for
from oomkit.posture.asked import Asked, whatif_of
from oomkit.posture.whatif import changed
from oomkit.printable import printable
from oomkit.render.html import part_of_page
from oomkit.views.rank import rank_report, shown_rows

TOP = 40
"""Processes shown."""

_last: tuple[str, Snapshot] | None = None


def rank(
    snapshot: str,
    settings: Sequence[str] = (),
    kernel: str | None = None,
    memcg: str | None = None,
    why: int | None = None,
) -> dict[str, Any]:
    """Rank the processes of a snapshot.

    Args:
        snapshot: JSON, as ``oomkit snapshot`` prints it.
        settings: changes such as ``task.1234.oom_score_adj=-500``, as ``oomkit rank --set`` has
            them.
        kernel: the kernel whose rules decide; None: that of the snapshot.
        memcg: path of the memory cgroup that runs out; None: the machine does.
        why: pid of the process whose fate is asked about.

    Returns:
        The answer as HTML, the processes to change, the memory cgroups there are.

    Raises:
        SnapshotError: it is no snapshot.
        UnknownKernelError: no rules are known for the kernel.
        SetError: a change can't be made.
        MemcgPathError: there is no such cgroup.
    """
    as_it_is = decoded(snapshot)
    rules = rules_for(kernel or as_it_is.kernel)
    machine, changes = changed(as_it_is, settings, rules)
    path = None if memcg is None else find_memcg_path(machine, memcg)
    allocation = Allocation(memcg=None if path == "/" else path)
    decision = decide(machine, allocation, rules)
    question = Asked(
        snapshot=machine,
        allocation=allocation,
        rules=rules,
        decision=decision,
        whatif=whatif_of(as_it_is, machine, allocation, rules, changes),
    )
    rows, _ = shown_rows(question.ranked(), TOP)
    reasons = None
    if why is not None and any(task.pid == why for task in machine.tasks):
        asked = Asked(
            snapshot=machine,
            allocation=allocation,
            rules=rules,
            decision=decision,
            why_pid=why,
        )
        reasons = part_of_page(rank_report(asked, TOP, local_users=False))
    return {
        "html": part_of_page(rank_report(question, TOP, local_users=False)),
        "why": reasons,
        "kernel": as_it_is.kernel,
        "rules": rules.name,
        "victims": [victim.pid for victim in decision.victims],
        "action": decision.action,
        "trace": [printable(step) for step in decision.trace],
        "tasks": [
            {
                "pid": row.task.pid,
                "comm": printable(row.task.comm),
                "rank": row.rank,
                "badness": row.badness,
                "oom_score_adj": row.task.oom_score_adj,
                "reason": None if row.reason is None else printable(row.reason),
            }
            for row in rows
        ],
        "memcgs": sorted(m.path for m in as_it_is.memcgs if m.limit_pages is not None),
        "missing": [printable(note) for note in as_it_is.missing],
    }


def decoded(text: str) -> Snapshot:
    """Read a snapshot; that of the last question is not read again.

    Raises:
        SnapshotError: it is none.
    """
    global _last  # noqa: PLW0603 - a slider asks about the same snapshot again and again
    if _last is None or _last[0] != text:
        _last = (text, decode_snapshot(text.encode(), "snapshot"))
    return _last[1]
