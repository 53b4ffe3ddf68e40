"""Why this process: the ranking as that kernel saw it."""

from collections.abc import Iterator

from oomkit.explain.limit import limit_change
from oomkit.explain.memory_breakdown import held_pages
from oomkit.explain.records import Breakdown, Candidate, Change, Choice
from oomkit.kernel.alloc import decide
from oomkit.kernel.constraint import control_for
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Counterfactual, Decision
from oomkit.kernel.state import Snapshot
from oomkit.klog.records import Report, TaskRow
from oomkit.klog.replay import inputs_of
from oomkit.klog.snapshot import (
    Bounds,
    Inputs,
    base_is_printed,
    bounds_by_score,
    chosen_pid,
    total_is_printed,
)
from oomkit.records import replace
from oomkit.render.quantities import count_of, kb, label

MAX_TASKS = 4000
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
    if not report.agrees or chosen is None or len(report.tasks) > MAX_TASKS:
        return (*first, *found)
    snapshot = _with_group(inputs.snapshot, report)
    decision = decide(snapshot, inputs.allocation, inputs.rules)
    if decision.chosen_pid != chosen:
        return (*first, *found)
    size = report.page_kb
    altered = counterfactuals(snapshot, inputs.allocation, inputs.rules, decision)
    known = (_reword(item, snapshot, decision, size) for item in altered if _honest(item, report))
    return (*first, *(item for item in known if item is not None), *found)


def _with_group(snapshot: Snapshot, report: Report) -> Snapshot:
    if report.oom_group is None:
        return snapshot
    memcgs = tuple(replace(m, oom_group=True) for m in snapshot.memcgs)
    return replace(snapshot, memcgs=memcgs)


def _honest(item: Counterfactual, report: Report) -> bool:
    """The report shows enough for this change to be more than a guess."""
    if item.kind == "oom_group":
        return report.memcg is not None and report.memcg.swap is not None
    # That panic_on_oom makes a machine panic needs no saying.
    return item.knob not in ("panic_on_oom", "overcommit_memory")


def _reword(
    item: Counterfactual, snapshot: Snapshot, decision: Decision, size_kb: int
) -> Change | None:
    names: dict[int | None, str] = {t.pid: label(t.comm, t.pid) for t in snapshot.tasks}
    who = names.get(item.pid, "")
    then = "then no process can be killed"
    if item.then in names:
        then = "it dies" if item.then == item.pid else f"{names[item.then]} dies"
        then += "" if decision.chosen_pid == item.then else " instead"
    if item.kind == "oom_score_adj":
        bound = "" if item.needed in (-17, -1000) or item.needed > item.now else " or lower"
        text = f"{item.knob} {item.needed}{bound} for {who} (was {item.now}): {then}"
    elif item.kind == "memory":
        text = f"{who} larger by {kb((item.needed - item.now) * size_kb)}: {then}"
    elif item.kind == "oom_group":
        tasks = count_of(len(names), "process", "processes")
        fate = f"all {tasks} die together" if item.needed else f"only {names[item.then]} dies"
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
    if where is None or report.scope not in ("memcg", "global"):
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


_SHOWN = 5
"""Rows of the ranking that are shown."""


def choice(report: Report, where: Breakdown | None) -> Choice | None:
    """Why the victim was chosen; None where the report has no task table."""
    inputs = inputs_of(report)
    if inputs is None:
        return None
    ranked = bool(report.predicted)
    rows = _ranked_rows(report) if ranked else _rows_by_size(report)
    chosen = chosen_pid(report)
    oc = control_for(inputs.snapshot, inputs.allocation, inputs.rules)
    bounds = bounds_by_score(report, inputs.rules)
    total = _sure_total(report, oc.total_pages, bounds) if ranked else None
    first = next((row for row in rows if row.pid == chosen), None)
    return Choice(
        rows=tuple(_head(rows, {chosen} | {v.pid for v in report.killed[:2]})),
        candidates=len(report.predicted),
        tasks=len(report.tasks),
        total_pages=total,
        total_bounds=None if bounds is None else (bounds.least, bounds.most),
        ranked=ranked,
        complete=report.table_complete,
        terms=_terms(first, report, inputs, total, bounds) if first is not None else "",
        runner_up=_runner_up(rows, chosen, inputs.rules.badness, report.page_kb)
        if report.table_complete
        else "",
        difference=report.why,
        changes=changes(inputs, report, where, chosen),
    )


def _sure_total(report: Report, total_pages: int | None, bounds: Bounds | None) -> int | None:
    """A total that is more than a guess: printed, or a limit that the score confirms."""
    if total_pages is None or total_is_printed(report):
        return total_pages
    confirmed = base_is_printed(report) and bounds is not None and bounds.hold(total_pages)
    return total_pages if confirmed else None


def _ranked_rows(report: Report) -> list[Candidate]:
    by_pid = {row.tgid: row for row in report.tasks}
    dead = {victim.pid for victim in report.killed}
    rows = []
    for place, item in enumerate(report.predicted, start=1):
        row = by_pid.get(item.pid)
        if row is not None:
            rows.append(_candidate(row, report, place, item.badness, dead))
    shown = {row.pid for row in rows}
    rows.extend(
        _candidate(row, report, None, None, dead) for row in report.tasks if row.tgid not in shown
    )
    return rows


def _rows_by_size(report: Report) -> list[Candidate]:
    dead = {victim.pid for victim in report.killed}
    largest = sorted(report.tasks, key=lambda row: -held_pages(row))
    return [_candidate(row, report, None, None, dead) for row in largest]


def _candidate(
    row: TaskRow, report: Report, rank: int | None, badness: int | None, dead: set[int]
) -> Candidate:
    size = report.page_kb
    pgtables = None
    if row.pgtables_bytes is not None:
        pgtables = row.pgtables_bytes // 1024
    elif row.nr_ptes is not None:
        pgtables = (row.nr_ptes + (row.nr_pmds or 0)) * size
    return Candidate(
        rank=rank,
        pid=row.tgid,
        comm=row.comm,
        rss_kb=row.rss_pages * size,
        swap_kb=None if row.swapents is None else row.swapents * size,
        pgtables_kb=pgtables,
        total_vm_kb=row.total_vm_pages * size,
        adj=row.oom_score_adj if row.oom_score_adj is not None else row.oom_adj,
        badness=badness,
        killed=bool(dead & {row.pid, row.tgid}),
    )


def _head(rows: list[Candidate], always: set[int | None]) -> list[Candidate]:
    ranked = [row for row in rows if row.rank is not None] or rows
    shown = ranked[:_SHOWN]
    shown.extend(row for row in rows if row.pid in always and row not in shown)
    return shown


def _terms(
    row: Candidate, report: Report, inputs: Inputs, total: int | None, bounds: Bounds | None
) -> str:
    parts = [f"rss {kb(row.rss_kb)}"]
    if row.swap_kb:
        parts.append(f"swap {kb(row.swap_kb)}")
    if row.pgtables_kb:
        parts.append(f"page tables {kb(row.pgtables_kb)}")
    text = f"{label(row.comm, row.pid)}: {' + '.join(parts)}"
    if row.adj:
        text += f", {'oom_adj' if _is_classic(report) else 'oom_score_adj'} {row.adj}"
    if inputs.rules.badness == "classic":
        return text  # which are not ranked
    if row.badness is not None:
        permille = inputs.rules.badness == "permille"
        amount = f"{row.badness} of 1000" if permille else count_of(row.badness, "page")
        text += f" = badness {amount}"
    size_kb = report.page_kb
    if total is not None:
        return f"{text}, measured against {kb(total * size_kb)}"
    if bounds is not None:
        score = report.selected.score if report.selected is not None else None
        low, high = kb(bounds.least * size_kb), kb(bounds.most * size_kb)
        between = f"about {high}" if low == high else f"{low} to {high}"
        return f"{text}; its score {score} shows what it was measured against: {between}"
    part = report.memcg
    if part is not None and part.memory is not None and part.memory.limit_kb:
        limit = kb(part.memory.limit_kb)
        return f"{text}, measured against {limit} and the swap it may use, which is not in the log"
    return f"{text}; the total it is measured against is not in the log"


def _is_classic(report: Report) -> bool:
    return report.tasks[0].oom_score_adj is None


def _runner_up(rows: list[Candidate], chosen: int | None, badness: str, size_kb: int) -> str:
    ranked = [row for row in rows if row.badness is not None]
    if not ranked or ranked[0].pid != chosen:
        return ""
    if len(ranked) == 1:
        return "no other process could be chosen"
    first, second = ranked[0], ranked[1]
    assert first.badness is not None
    assert second.badness is not None
    gap = first.badness - second.badness
    equals = sum(row.badness == first.badness for row in ranked) - 1
    if gap == 0:
        others = count_of(equals, "other")
        return f"{others} had the same badness, {label(second.comm, second.pid)} next"
    return f"next {label(second.comm, second.pid)}, {_distance(gap, badness, size_kb)} behind"


def _distance(gap: int, badness: str, size_kb: int) -> str:
    """A difference in badness with its unit, as these rules count it."""
    if badness == "pages":
        return f"{count_of(gap, 'page')} ({kb(gap * size_kb)})"
    return count_of(gap, "thousandth")
