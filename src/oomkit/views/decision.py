"""A decision in words; what was changed of a machine, and what that changes."""

from typing import Any

from oomkit.kernel.decision import Counterfactual, Decision, Victim
from oomkit.kernel.rank import Ranked, asker_dies, others_are_hidden
from oomkit.kernel.state import Snapshot, Task
from oomkit.kernel.versions import rules_for
from oomkit.posture.asked import Comparison, WhatIf
from oomkit.posture.whatif import Change
from oomkit.printable import printable
from oomkit.render import quantities
from oomkit.render.document import Command, Document
from oomkit.render.quantities import human_bytes, human_pages

_SCOPES = {
    "global": "the machine ran out of memory",
    "memcg": "this cgroup ran out of memory",
    "cpuset": "this cpuset's nodes ran out of memory",
    "mempolicy": "this memory policy's nodes ran out of memory",
    "sysrq": "SysRq-f was pressed",
}


def label(task: Task | Victim) -> str:
    """A task as it is printed: ``comm[pid]``."""
    return quantities.label(task.comm, task.pid)


def headline(decision: Decision, snapshot: Snapshot, asker: int | None = None) -> str:
    """What happens, in one line: ``if the machine ran out of memory now: mysqld[812] dies``."""
    return f"if {_SCOPES[decision.scope]} now: {outcome(decision, snapshot, asker)}"


def outcome(decision: Decision, snapshot: Snapshot, asker: int | None = None) -> str:
    """What a decision does, without its occasion.

    Args:
        decision: the decision.
        snapshot: the machine.
        asker: pid of the task whose request fails; None: not known.
    """
    text = _outcome(decision, snapshot)
    if not asker_dies(snapshot, decision, asker):
        return text
    return (
        "the process whose request fails then is killed (vm.oom_kill_allocating_task); "
        f"if it can't be, {text}"
    )


def _outcome(decision: Decision, snapshot: Snapshot) -> str:
    if others_are_hidden(snapshot, decision):
        return "unknown, since the processes that could be killed are not seen here"
    if decision.action == "panic":
        return f"kernel panic ({decision.panic})"
    if decision.action == "none" or not decision.victims:
        last = printable(decision.trace[-1]) if decision.trace else ""
        return f"no process is killed ({last})" if last else "no process is killed"
    first = decision.victims[0]
    victim = label(first)
    if decision.action == "would_kill":
        return f"{victim} would be named, but no process is killed"
    others = len(decision.victims) - 1
    return f"{victim} and {others} more die" if others else f"{victim} dies"


def reason(
    snapshot: Snapshot,
    decision: Decision,
    first: Ranked,
    runner_up: Ranked | None,
    changes: tuple[Counterfactual, ...],
) -> tuple[str, str]:
    """Why the first of the list is chosen: its own terms, and the distance to the next."""
    return (
        _terms(snapshot, decision, first),
        _margin(snapshot, decision, first, runner_up, changes),
    )


def adj_change(first: Ranked, changes: tuple[Counterfactual, ...]) -> Counterfactual | None:
    """The change of the first task's own adjustment after which another one dies."""
    for change in changes:
        if change.kind == "oom_score_adj" and change.pid == first.task.pid and change.then:
            return change
    return None


def points_text(points: int, decision: Decision, page_size: int) -> str:
    """A number of points with its unit, as the rules that decided count it."""
    badness = rules_for(decision.rules).badness
    if badness == "pages":
        return f"{points} pages ({human_pages(points, page_size)})"
    return f"{points} thousandths" if badness == "permille" else f"{points} points"


def _in_its_place(decision: Decision, first: Ranked) -> str:
    victim = decision.victims[0] if decision.victims else None
    if victim is None or victim.reason != "child" or victim.pid == first.task.pid:
        return ""
    return f"; its child {label(victim)} is sacrificed in its place"


def _terms(snapshot: Snapshot, decision: Decision, row: Ranked) -> str:
    task, size = row.task, snapshot.page_size
    if decision.total_pages is None:
        parts = [f"address space {human_pages(task.total_vm_pages, size)}"]
    else:
        parts = [f"rss {human_pages(task.rss_pages, size)}"]
        if task.swap_pages:
            parts.append(f"swap {human_pages(task.swap_pages, size)}")
        if task.pgtable_pages:
            parts.append(f"page tables {human_pages(task.pgtable_pages, size)}")
    terms = f"{label(task)}: {' + '.join(parts)}"
    if task.oom_score_adj:
        terms += f", oom_score_adj {task.oom_score_adj}"
    badness = points_text(row.badness or 0, decision, size)
    of = f" of {human_pages(decision.total_pages, size)}" if decision.total_pages else ""
    return f"{terms} = badness {badness}{of}, the highest{_in_its_place(decision, row)}"


def _margin(
    snapshot: Snapshot,
    decision: Decision,
    first: Ranked,
    runner_up: Ranked | None,
    changes: tuple[Counterfactual, ...],
) -> str:
    if runner_up is None or first.badness is None or runner_up.badness is None:
        return "no other process can be killed"
    behind = first.badness - runner_up.badness
    if behind == 0:
        text = f"a tie with {label(runner_up.task)}, decided by the order of creation"
    else:
        distance = points_text(behind, decision, snapshot.page_size)
        text = f"next is {label(runner_up.task)}, {distance} behind"
    change = adj_change(first, changes)
    return text if change is None else f"{text}; {printable(change.text)}"


def change_text(change: Change) -> str:
    """``machine.swap: 2.00 GiB -> 4.00 GiB (what is in swap stays there)``."""
    was, now = (_value(value, change) for value in (change.was, change.now))
    remark = f" ({change.remark})" if change.remark else ""
    if not change.differs:
        return f"{change.what}: {now}, as it is{remark}"
    return f"{change.what}: {was} -> {now}{remark}"


def _value(value: int | None, change: Change) -> str:
    if value is None:
        return "unlimited" if change.unit == "bytes" else "various"
    return human_bytes(value) if change.unit == "bytes" else str(value)


def whatif_object(found: WhatIf) -> dict[str, Any]:
    """What was changed and what that changes, for JSON."""
    return {
        "changed": [
            {
                "key": change.key,
                "what": change.what,
                "was": change.was,
                "now": change.now,
                "unit": change.unit,
                "cgroup": change.cgroup,
                "text": change_text(change),
                "advice": [advice.as_object() for advice in change.advice],
            }
            for change in found.changes
        ],
        "rules": {"was": found.rules[0], "now": found.rules[1]},
        "decisions": [
            {
                "cgroup": item.of,
                "before": _summary(item, item.machine, item.before),
                "after": _summary(item, item.changed, item.after),
                "altered": item.altered,
            }
            for item in found.compared
        ],
    }


def _summary(item: Comparison, machine: Snapshot, decision: Decision) -> dict[str, Any]:
    victims = [{"pid": victim.pid, "comm": victim.comm} for victim in decision.victims]
    return {
        "action": decision.action,
        "asker_dies": asker_dies(machine, decision, item.asker),
        "victims": victims,
        "panic": decision.panic,
    }


def add_whatif(page: Document, found: WhatIf, after: Snapshot) -> None:
    """Add what was changed, the outcome before and after, and what to type to have it so."""
    for change in found.changes:
        verb = "changed" if change.differs else "asked for"
        page.text(printable(f"{verb} {change_text(change)}"))
    before, now = found.rules
    if before != now:
        page.text(f"changed rules of the kernel: {before} -> {now}")
    for item in found.compared:
        where = "" if item.of is None else f"if {item.of} reaches its limit: "
        was = outcome(item.before, item.machine, item.asker)
        then = outcome(item.after, after, item.asker)
        if item.altered:
            text = f"{where}as it is, {was}; so changed, {then}"
        else:
            text = f"{where}{then}, as without the change"
        page.text(printable(text), "bold")
    for change in (change for change in found.changes if change.differs):
        for advice in change.advice:
            page.add(Command(advice.words, advice.lasts, 2))
