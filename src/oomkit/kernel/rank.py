"""The order in which tasks would die, one after the other, if nothing else changed."""

from collections.abc import Iterable

from oomkit.kernel.badness import oom_score, score_control, scored, unkillable
from oomkit.kernel.constraint import control_for
from oomkit.kernel.decision import Decision
from oomkit.kernel.oom_control import OomControl, in_memcg
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.records import Record


class Ranked(Record, frozen=True, kw_only=True):
    """One task's place.

    Attributes:
        rank: 1 for the first victim; None if it can't be chosen.
        task: the task.
        badness: its badness in this OOM; None if it can't be chosen.
        oom_score: what ``/proc/PID/oom_score`` prints by these rules.
        eligible: can be chosen.
        reason: why it can't; None if it can.
    """

    rank: int | None
    task: Task
    badness: int | None
    oom_score: int
    eligible: bool
    reason: str | None


def eligible_by_badness(oc: OomControl) -> list[tuple[int, Task]]:
    """The candidates, worst first; equals in the order in which the rules take them."""
    return _worst_first(scored(oc), oc)


def _worst_first(found: list[tuple[int, Task]], oc: OomControl) -> list[tuple[int, Task]]:
    """Sort candidates that stand in the order in which the selection loop meets them."""
    if oc.last_of_equals:
        found.reverse()
    found.sort(key=lambda pair: -pair[0])
    asked = [pair for pair in found if pair[1].oom_origin]
    if not asked or oc.rules.origin not in ("returned_first", "selected_first"):
        return found
    # A task marked to die first is chosen at any badness: the first met, from 3.8 on the last.
    order = {task.pid: place for place, task in enumerate(oc.candidates())}
    last = oc.rules.origin == "selected_first"
    asked.sort(key=lambda pair: order[pair[1].pid], reverse=last)
    return asked + [pair for pair in found if not pair[1].oom_origin]


def rank(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> tuple[Ranked, ...]:
    """Rank all tasks for an OOM: worst first, then those that can't be chosen.

    Args:
        snapshot: the machine.
        allocation: the request that fails; names the memory cgroup, if one.
        rules: the kernel's rules.
    """
    oc = control_for(snapshot, allocation, rules)
    score_oc = score_control(snapshot, rules)
    ranked = [
        Ranked(
            rank=place,
            task=task,
            badness=points,
            oom_score=oom_score(task, score_oc),
            eligible=True,
            reason=None,
        )
        for place, (points, task) in enumerate(eligible_by_badness(oc), start=1)
    ]
    chosen = {row.task.pid for row in ranked}
    ranked.extend(
        Ranked(
            rank=None,
            task=task,
            badness=None,
            oom_score=oom_score(task, score_oc),
            eligible=False,
            reason=unkillable(task, oc),
        )
        for task in snapshot.tasks
        if task.pid not in chosen
    )
    return tuple(ranked)


def within(ranked: Iterable[Ranked], allocation: Allocation) -> list[Ranked]:
    """The rows that an OOM is about: all, or those of the memory cgroup that runs out."""
    path = allocation.memcg
    return [row for row in ranked if path is None or in_memcg(row.task.cgroup, path)]


def near_equals(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, points: int
) -> tuple[Task, ...]:
    """Tasks with about the badness ``points``: see :func:`nearly_as_bad`."""
    return tuple(task for _, task in nearly_as_bad(snapshot, allocation, rules, points))


def nearly_as_bad(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, points: int
) -> list[tuple[int, Task]]:
    """Tasks less than one point of ``oom_score_adj`` away from the badness ``points``, with theirs.

    Such a point, a thousandth of the memory in question, is the finest step that can be
    set (``oom_badness()``, mm/oom_kill.c, from 2.6.36 on); before that only exact equals.
    """
    oc = control_for(snapshot, allocation, rules)
    point = {"pages": (oc.total_pages or 0) // 1000, "permille": 1, "classic": 0}[rules.badness]
    near = [one for one in scored(oc) if one[0] == points or abs(one[0] - points) < point]
    return _worst_first(near, oc)


def asker_dies(snapshot: Snapshot, decision: Decision, asker: int | None) -> bool:
    """Whether the task that asks is killed, whichever that is: ``oom_kill_allocating_task``.

    Args:
        snapshot: the machine.
        decision: what is decided there; it names the victim of the scan, to which the kernel
            comes only if the task that asks can't be killed.
        asker: pid of the task that asks; None: not known.
    """
    if not snapshot.sysctl.oom_kill_allocating_task or asker is not None:
        return False
    scanned = decision.scope not in ("memcg", "sysrq") and decision.action != "none"
    return (
        scanned
        and decision.action != "panic"
        and rules_for(decision.rules).allocating_task != "none"
    )


def others_are_hidden(snapshot: Snapshot, decision: Decision) -> bool:
    """Whether a panic for want of a victim says nothing, since others are not in the snapshot.

    The init process of the machine always exists. A snapshot without it was taken in a pid
    namespace, or where ``/proc`` hides other users' processes.
    """
    if decision.action != "panic" or snapshot.sysctl.panic_on_oom or decision.scope == "memcg":
        return False
    return not any(task.global_init for task in snapshot.tasks)
