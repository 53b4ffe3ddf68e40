"""A report's whole meaning, put together."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from oomkit.explain.choice import choice
from oomkit.explain.evidence_text import is_for_memory, joined, no_kill_text
from oomkit.explain.files import ReadLog
from oomkit.explain.findings import findings, ranked
from oomkit.explain.incidents import Incident, incidents
from oomkit.explain.killer import verdict
from oomkit.explain.limit import advice, limit_change
from oomkit.explain.memory_breakdown import breakdown
from oomkit.explain.outline import place_of, restored
from oomkit.explain.proximity import distance_s, without_repeats
from oomkit.explain.records import Explanation, Finding, Level, Shortage
from oomkit.explain.recurring import tables
from oomkit.explain.shortage import cause_text, shortage
from oomkit.kernel.faults import MEMCG_LOOP, NEXT_SELECTION, SOFT_LIMIT, KernelFault, has_fault
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.sources import LogError
from oomkit.klog.records import Report
from oomkit.records import replace
from oomkit.render.quantities import count_of, label

LOOP_REPORTS = 3
"""Minimum number of reports of one cgroup, after a kill and without a new victim, in a loop."""


def kernel_faults(report: Report, incident: Sequence[Report]) -> tuple[Finding, ...]:
    """The known faults that a report, among those of its incident, shows signs of.

    Args:
        report: the report.
        incident: all reports of the same shortage, in their order.
    """
    return (*_loop(report, incident), *_soft_limit(report), *_selection(report))


def _found(fault: KernelFault, level: Level, seen: str) -> Finding:
    text = f"{seen}: {fault.what}; what helps: {fault.cure}"
    return Finding(kind=fault.code, level=level, text=text)


def _loop(report: Report, incident: Sequence[Report]) -> Iterator[Finding]:
    if report.scope != "memcg" or not has_fault(MEMCG_LOOP, report.kernel, report.rules):
        return
    same = [r for r in incident if r.scope == "memcg" and r.cgroup == report.cgroup]
    dead: set[tuple[int, str]] = set()
    idle = 0
    for one in same:
        new = {(victim.pid, victim.comm) for victim in one.killed} - dead
        idle += bool(dead) and not new
        dead |= new
    if idle >= LOOP_REPORTS:
        yield _found(
            MEMCG_LOOP, "cause", f"{count_of(idle, 'report')} of this cgroup brought no new victim"
        )


def _soft_limit(report: Report) -> Iterator[Finding]:
    v1 = report.memcg is not None and report.memcg.memsw is not None
    if v1 and has_fault(SOFT_LIMIT, report.kernel, report.rules):
        yield _found(SOFT_LIMIT, "note", "this machine limits memory by cgroup v1")


def _selection(report: Report) -> Iterator[Finding]:
    if report.agrees is False and has_fault(NEXT_SELECTION, report.kernel, report.rules):
        yield _found(NEXT_SELECTION, "odd", "the victim is not the first of the kernel's own table")


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


def with_findings(explanation: Explanation, more: Sequence[Finding]) -> Explanation:
    """The same with further findings, the most important first."""
    return replace(explanation, findings=ranked((*explanation.findings, *more)))


def headline(report: Report, short: Shortage) -> str:
    """The victim and the cause, in one line."""
    if report.scope == "sysrq":
        if report.panic is not None:
            return f"kernel panic: {report.panic.rstrip('. ')}; on request (SysRq-f)"
        return (
            f"{victims(report) or 'an unknown process'} {_was(report)} killed on request (SysRq-f)"
        )
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
        return f"no process could be killed: {cause}"
    if report.summary is not None and report.summary.comm is not None:
        comm, pid = report.summary.comm, report.summary.pid
        chosen = comm if pid is None else label(comm, pid)
        return f"{chosen} was chosen, its kill line is missing: {cause}"
    return f"victim unknown: {cause}"


def _was(report: Report) -> str:
    return "were" if len(report.killed) > 1 else "was"


def victims(report: Report) -> str:
    """The victims, in a few words; empty if none is known."""
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
    others = label(second.comm, second.pid) if more == 1 else count_of(more, "more", "more")
    text = f"{text.rstrip(',')} and {others}"
    if any(victim.killed_as == "oom_group" for victim in report.killed):
        text += " of its group (memory.oom.group)"
    return text


def related(report: Report, said: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """What others say of a report's victims, or may mean them where they name no process."""
    pids = {victim.pid for victim in report.killed}
    found = []
    for item in said:
        if item.pid is not None and item.pid not in pids:
            continue
        apart = distance_s(item, report)
        found.append((0.0 if apart is None else apart, item.source.line, item))
    found.sort(key=lambda row: (row[0], row[1]))
    return tuple(item for _, _, item in found)


class Case:
    """What was found in a set of logs.

    Attributes:
        reports: the reports, log by log.
        evidence: what others say, log by log.
        incidents: both, put together.
        tables: what recurs.
        no_kill: one sentence if no process was killed, though requests failed or memory was short;
            None if one was, or where the logs say nothing of the kind.
        failed: the lines that show that.
    """

    def __init__(self, logs: Sequence[ReadLog]) -> None:
        self.reports = without_repeats([report for log in logs for report in log.reports])
        self.evidence = [item for log in logs for item in log.evidence]
        causes = {place: cause for log in logs for place, cause in log.causes}
        self.incidents = incidents(self.reports, self.evidence, causes)
        self.tables = tables(self.reports, self.evidence, self.incidents)
        self.failed = [item for log in logs for item in log.no_kill]
        self.no_kill: str | None = None
        if self.failed and not self.incidents:
            self.no_kill = no_kill_text(self.failed, sum(log.no_kill_count for log in logs))
        self._incident_of = {r: item for item in self.incidents for r in item.reports}

    @property
    def is_bad_news(self) -> bool:
        """A process was killed for lack of memory, or the kernel tried to kill one."""
        return bool(self.reports) or any(is_for_memory(item) for item in joined(self.evidence))

    def restore(self, indices: Iterable[int], read: Callable[[str], ReadLog]) -> None:
        """Read again what outlines lack, of some reports and of those of their incidents.

        Raises:
            LogError: a log is no longer what it was.
        """
        wanted = {r for index in indices for r in self._incident_of[index].reports}
        for name in dict.fromkeys(self.reports[r].source.file for r in sorted(wanted)):
            whole = {place_of(report): report for report in read(name).reports}
            for r in wanted:
                place = place_of(self.reports[r])
                if place[0] != name:
                    continue
                if place not in whole:
                    raise LogError(f"{name}: it changed while it was read")
                self.reports[r] = restored(self.reports[r], whole[place])

    def reported_by_others(self) -> list[Incident]:
        """The incidents without a report of the kernel."""
        return [item for item in self.incidents if not item.reports]

    def incident(self, index: int) -> int:
        """Number of the incident of a report."""
        return self._incident_of[index].number

    def explain(self, index: int) -> Explanation:
        """One report, explained, with what others say of its victims."""
        report, incident = self.reports[index], self._incident_of[index]
        said = [self.evidence[e] for e in incident.evidence]
        found = explain(report, related(report, said))
        faults = kernel_faults(report, [self.reports[r] for r in incident.reports])
        return with_findings(found, faults) if faults else found
