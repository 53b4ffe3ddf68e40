"""A report's whole meaning, put together."""

from collections.abc import Sequence

import msgspec

from oomkit.explain.choice import choice
from oomkit.explain.findings import findings, ranked
from oomkit.explain.killer import verdict
from oomkit.explain.limit import advice, limit_change
from oomkit.explain.records import Explanation, Finding, Shortage
from oomkit.explain.shortage import cause_text, shortage
from oomkit.explain.where import breakdown
from oomkit.explain.words import label, many
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report


def explain(report: Report, related: Sequence[Evidence] = ()) -> Explanation:
    """Explain a replayed report.

    Args:
        report: the report.
        related: what others say of the same kill.
    """
    short = shortage(report)
    where = breakdown(report)
    chosen = choice(report, where)
    return Explanation(
        report=report,
        headline=headline(report, short),
        shortage=short,
        where=where,
        findings=findings(report, where, short),
        choice=chosen,
        killer=verdict(report, related),
        changes=chosen.changes if chosen else tuple(limit_change(report, where)),
        advice=advice(report, where),
        related=tuple(related),
    )


def with_findings(told: Explanation, more: Sequence[Finding]) -> Explanation:
    """The same with further findings, the most telling first."""
    return msgspec.structs.replace(told, findings=ranked((*told.findings, *more)))


def headline(report: Report, short: Shortage) -> str:
    """Who died of what, in one line."""
    if report.scope == "sysrq":
        if report.panic is not None:
            return f"kernel panic: {report.panic.rstrip('. ')}; on request (SysRq-f)"
        return f"{victims(report) or 'nobody known'} {_was(report)} killed on request (SysRq-f)"
    cause = cause_text(short)
    if report.panic is not None:
        return f"kernel panic: {report.panic.rstrip('. ')}; {cause}"
    if report.would_have and report.selected is not None:
        spared = label(report.selected.comm, report.selected.pid)
        return f"{spared} would have been killed, and was spared; {cause}"
    if report.killed:
        return f"{victims(report)} {_was(report)} killed: {cause}"
    if report.already_exiting and report.summary is not None:
        chosen = label(report.summary.comm or "", report.summary.pid or 0)
        return f"{chosen} was chosen, and was exiting already: {cause}"
    if report.no_killable:
        return f"nobody could be killed: {cause}"
    if report.summary is not None and report.summary.comm is not None:
        comm, pid = report.summary.comm, report.summary.pid
        chosen = comm if pid is None else label(comm, pid)
        return f"{chosen} was chosen, its kill line is missing: {cause}"
    return f"victim unknown: {cause}"


def _was(report: Report) -> str:
    return "were" if len(report.killed) > 1 else "was"


def victims(report: Report) -> str:
    """Who died, in a few words; empty where nobody is known to have."""
    if not report.killed:
        return ""
    first = report.killed[0]
    text = label(first.comm, first.pid)
    selected = report.selected
    if first.told_by == "choice":
        text += ", or a child of it,"
    elif first.killed_as == "child" and selected is not None:
        text += f", a child of {label(selected.comm, selected.pid)},"
    elif selected is not None and first.pid not in {selected.pid, selected.tgid}:
        chosen = label(selected.comm, selected.pid)
        text += f", a child of {chosen} or the process of that thread,"
    more = len(report.killed) - 1
    if not more:
        return text
    second = report.killed[1]
    others = label(second.comm, second.pid) if more == 1 else many(more, "more", "more")
    text = f"{text.rstrip(',')} and {others}"
    if any(victim.killed_as == "oom_group" for victim in report.killed):
        text += " of its group (memory.oom.group)"
    return text
