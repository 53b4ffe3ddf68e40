"""Why a given task dies, or does not."""

from oomkit.kernel.badness import unkillable
from oomkit.kernel.constraint import control_for
from oomkit.kernel.counterfactual import amount, counterfactuals
from oomkit.kernel.counters import counting_note
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.rank import eligible_by_badness
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task, name
from oomkit.kernel.threshold import adj_now, extra_pages, winning_adj
from oomkit.records import Record


class Why(Record, frozen=True, kw_only=True):
    """The reasons for one task's fate.

    Attributes:
        pid: the task.
        dies: it is a victim of the decision.
        verdict: its fate in one sentence.
        trace: the steps of the decision.
        changes: what would alter its fate, a sentence each.
        counterfactuals: those of them that are known as values.
        counting: how far the kernel may miscount it, and whether that makes first and second too
            close to call; a sentence each, none where counts are exact.
    """

    pid: int
    dies: bool
    verdict: str
    trace: tuple[str, ...]
    changes: tuple[str, ...]
    counterfactuals: tuple[Counterfactual, ...] = ()
    counting: tuple[str, ...] = ()


def why(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, decision: Decision, pid: int
) -> Why:
    """Explain what a decision means to one process.

    Raises:
        KeyError: no such process in the snapshot.
    """
    task = {t.pid: t for t in snapshot.tasks}[pid]
    found: tuple[Counterfactual, ...] = ()
    victim = next((v for v in decision.victims if v.pid == pid), None)
    if victim is not None:
        found = counterfactuals(snapshot, allocation, rules, decision)
        verdict = f"{name(task)} {_FATE[decision.action]} ({victim.reason.replace('_', ' ')})"
        changes = tuple(item.text for item in found)
    else:
        verdict, changes, found = _survival(snapshot, allocation, rules, decision, task)
    return Why(
        pid=pid,
        dies=victim is not None and decision.action == "kill",
        verdict=verdict,
        trace=decision.trace,
        changes=changes,
        counterfactuals=found,
        counting=counting_note(snapshot, allocation, rules, task),
    )


_FATE = {"kill": "dies", "would_kill": "would be named but lives"}


def _survival(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    task: Task,
) -> tuple[str, tuple[str, ...], tuple[Counterfactual, ...]]:
    oc = control_for(snapshot, allocation, rules)
    reason = unkillable(task, oc)
    if reason is not None:
        return f"{name(task)} can't be chosen: {reason}", (), ()
    ranked = eligible_by_badness(oc)
    place = next(i for i, (_, t) in enumerate(ranked) if t.pid == task.pid)
    points, (first_points, first) = ranked[place][0], ranked[0]
    verdict = f"{name(task)} lives: it is number {place + 1} of {len(ranked)}, badness {points}"
    if place == 0 or decision.chosen_pid != first.pid:
        return verdict, (), ()
    # At equal badness the version's tie-break decides; the order of the scan says which way.
    order = [t.pid for t in oc.candidates()]
    wins_ties = (order.index(task.pid) < order.index(first.pid)) != oc.last_of_equals
    target = first_points + (not wins_ties)
    changes: list[str] = []
    found: list[Counterfactual] = []
    adj = winning_adj(task, oc, target)
    knob = "oom_adj" if rules.badness == "classic" else "oom_score_adj"
    if adj is not None:
        now = adj_now(task, rules)
        changes.append(f"it is chosen first with {knob} at or above {adj} (now {now})")
        found.append(
            Counterfactual(
                kind="oom_score_adj", knob=knob, pid=task.pid, now=now, needed=adj, then=task.pid,
                text=changes[-1],
            )
        )  # fmt: skip
    pages = extra_pages(task, oc, target, known=points, limit=None)
    if pages is not None:
        changes.append(f"it is chosen first with {amount(pages, snapshot.page_size)} more")
    return verdict, tuple(changes), tuple(found)
