"""What would have changed the outcome of a report."""

from collections.abc import Iterator

import msgspec

from oomkit.explain.limit import limit_change
from oomkit.explain.records import Breakdown, Change
from oomkit.explain.words import kb, label, many
from oomkit.kernel.alloc import decide
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.state import Snapshot
from oomkit.klog.records import Report
from oomkit.klog.snapshot import Inputs, page_kb

_MAX_TASKS = 4000
"""Varying larger tables would take too long."""


def changes(
    inputs: Inputs, report: Report, where: Breakdown | None, chosen: int | None
) -> tuple[Change, ...]:
    """What would have altered the outcome.

    Knobs are varied only where the rules decide as the kernel did; a knob whose value the
    report does not show is varied from its default.
    """
    first = tuple(limit_change(report, where))
    found = list(_resources(report, where))
    if not report.agrees or chosen is None or len(report.tasks) > _MAX_TASKS:
        return (*first, *found)
    snapshot = _with_group(inputs.snapshot, report)
    decision = decide(snapshot, inputs.allocation, inputs.rules)
    if decision.chosen_pid != chosen:
        return (*first, *found)
    size = page_kb(report)
    altered = counterfactuals(snapshot, inputs.allocation, inputs.rules, decision)
    known = (_reword(item, snapshot, decision, size) for item in altered if _honest(item, report))
    return (*first, *(item for item in known if item is not None), *found)


def _with_group(snapshot: Snapshot, report: Report) -> Snapshot:
    if report.oom_group is None:
        return snapshot
    memcgs = tuple(msgspec.structs.replace(m, oom_group=True) for m in snapshot.memcgs)
    return msgspec.structs.replace(snapshot, memcgs=memcgs)


def _honest(item: Counterfactual, report: Report) -> bool:
    """The report shows enough for this change to be more than a guess."""
    if item.kind == "oom_group":
        return report.memcg is not None and report.memcg.swap is not None
    # That panic_on_oom makes a machine panic needs no saying.
    return item.knob not in ("panic_on_oom", "overcommit_memory")


def _reword(
    item: Counterfactual, snapshot: Snapshot, decision: Decision, size_kb: int
) -> Change | None:
    names = {task.pid: label(task.comm, task.pid) for task in snapshot.tasks}
    who = names.get(item.pid or -1, "")
    then = "then nobody can be killed"
    if item.then in names:
        then = "it dies" if item.then == item.pid else f"{names[item.then]} dies"
        then += "" if decision.chosen_pid == item.then else " instead"
    if item.kind == "oom_score_adj":
        bound = "" if item.needed in (-17, -1000) or item.needed > item.now else " or lower"
        text = f"{item.knob} {item.needed}{bound} for {who} (was {item.now}): {then}"
    elif item.kind == "memory":
        text = f"{who} larger by {kb((item.needed - item.now) * size_kb)}: {then}"
    elif item.kind == "oom_group":
        tasks = many(len(names), "process", "processes")
        fate = f"all {tasks} die together" if item.needed else f"only {names[item.then or 0]} dies"
        text = f"memory.oom.group {item.needed}: {fate}"
    else:
        text = f"vm.{item.knob} {item.needed}: {then}"
    return Change(
        kind=item.kind,
        text=text,
        knob=item.knob,
        now=item.now,
        needed=item.needed,
        unit="pages" if item.kind == "memory" else "",
        pid=item.pid,
        then=item.then,
    )


def _resources(report: Report, where: Breakdown | None) -> Iterator[Change]:
    """Swap, with which there would have been no need to kill."""
    if where is None or not report.tasks or report.scope not in ("memcg", "global"):
        return
    anon = where.kb("anon")
    if where.swap_total_kb == 0 and anon > where.total_kb // 2:
        memcg = report.scope == "memcg"
        opening = "memory.swap.max above 0" if memcg else "swap (there was none)"
        yield Change(
            kind="swap",
            knob="memory.swap.max" if memcg else "swap",
            now=0,
            unit="kb",
            text=f"{opening}: part of {kb(anon)} of anonymous memory could have moved there first",
        )
