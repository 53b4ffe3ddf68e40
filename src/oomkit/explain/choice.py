"""Why this process: the ranking as that kernel saw it."""

from oomkit.explain.changes import changes
from oomkit.explain.records import Breakdown, Candidate, Choice
from oomkit.explain.words import kb, label, many
from oomkit.kernel.constraint import control_for
from oomkit.klog.records import Report, TaskRow
from oomkit.klog.replay import inputs_of
from oomkit.klog.snapshot import Inputs, chosen_pid, page_kb
from oomkit.klog.total import Bounds, base_is_printed, bounds_by_score, total_is_printed

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
    total = oc.total_pages if ranked and _is_sure(report, oc.total_pages, bounds) else None
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
        runner_up=_runner_up(rows, chosen) if ranked and report.table_complete else "",
        difference=report.why,
        changes=changes(inputs, report, where, chosen),
    )


def _is_sure(report: Report, total_pages: int | None, bounds: Bounds | None) -> bool:
    """Whether a total is more than a guess: printed, or a limit that the score confirms."""
    if total_pages is None:
        return False
    if total_is_printed(report):
        return True
    return base_is_printed(report) and bounds is not None and bounds.hold(total_pages)


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
    largest = sorted(report.tasks, key=lambda row: -(row.rss_pages + (row.swapents or 0)))
    return [_candidate(row, report, None, None, dead) for row in largest]


def _candidate(
    row: TaskRow, report: Report, rank: int | None, badness: int | None, dead: set[int]
) -> Candidate:
    size = page_kb(report)
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
        return text if row.badness is None else f"{text} = badness {row.badness}"
    if row.badness is not None:
        permille = inputs.rules.badness == "permille"
        amount = f"{row.badness} of 1000" if permille else many(row.badness, "page")
        text += f" = badness {amount}"
    size_kb = page_kb(report)
    if total is not None:
        return f"{text}, measured against {kb(total * size_kb)}"
    if bounds is not None:
        score = report.selected.score if report.selected is not None else None
        low, high = kb(bounds.least * size_kb), kb(bounds.most * size_kb)
        between = f"about {high}" if low == high else f"{low} to {high}"
        return f"{text}; its score {score} shows what it was measured against: {between}"
    part = report.memcg
    if report.scope == "memcg" and part is not None and part.memory and part.memory.limit_kb:
        limit = kb(part.memory.limit_kb)
        return f"{text}, measured against {limit} and the swap it may use, which is not in the log"
    return f"{text}; the total it is measured against is not in the log"


def _is_classic(report: Report) -> bool:
    return bool(report.tasks) and report.tasks[0].oom_score_adj is None


def _runner_up(rows: list[Candidate], chosen: int | None) -> str:
    ranked = [row for row in rows if row.rank is not None and row.badness is not None]
    if not ranked or ranked[0].pid != chosen:
        return ""
    if len(ranked) == 1:
        return "nobody else could be chosen"
    first, second = ranked[0], ranked[1]
    assert first.badness is not None
    assert second.badness is not None
    gap = first.badness - second.badness
    equals = sum(row.badness == first.badness for row in ranked) - 1
    if gap == 0:
        return (
            f"{many(equals, 'other')} had the same badness, {label(second.comm, second.pid)} next"
        )
    return f"next {label(second.comm, second.pid)}, {gap} behind"
