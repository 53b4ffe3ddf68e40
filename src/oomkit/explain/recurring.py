"""What recurs across a long log: which cgroups ran out, which processes were killed, how often."""

import re
from collections.abc import Callable, Iterable, Sequence

from oomkit.explain.cgroup_names import innermost, place
from oomkit.explain.evidence_text import asked_only, joined
from oomkit.explain.incidents import Incident
from oomkit.explain.proximity import seconds
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report
from oomkit.records import Record

_DAY_S = 86400.0
_NAMED_POD = re.compile(r"pod ([^,\s]+)")


class Row(Record, frozen=True, kw_only=True):
    """One line of a table.

    Attributes:
        name: the cgroup, unit, pod or comm.
        incidents: in how many incidents it stands.
        killed: how many processes died under that name.
        first: time of the first incident; None where the log has none.
        last: time of the last.
        every_s: mean time between its incidents; None for one, or without time stamps.
    """

    name: str
    incidents: int
    killed: int
    first: str | None = None
    last: str | None = None
    every_s: float | None = None


class Tables(Record, frozen=True, kw_only=True):
    """Incidents by what ran out and by what was killed, the most frequent first."""

    cgroup: tuple[Row, ...] = ()
    unit: tuple[Row, ...] = ()
    pod: tuple[Row, ...] = ()
    comm: tuple[Row, ...] = ()


Names = Callable[[Report], Iterable[tuple[str, int]]]


def tables(
    reports: Sequence[Report], evidence: Sequence[Evidence], found: Sequence[Incident]
) -> Tables:
    """Count incidents by cgroup, unit, pod and comm."""
    told = {
        incident.number: innermost(joined(evidence[e] for e in incident.evidence))
        for incident in found
        if not incident.reports
    }

    def table(by_report: Names, by_evidence: Callable[[Evidence], str | None]) -> tuple[Row, ...]:
        counts: dict[str, list[tuple[int, int, Report | Evidence]]] = {}
        for incident in found:
            for r in incident.reports:
                for name, killed in by_report(reports[r]):
                    counts.setdefault(name, []).append((incident.number, killed, reports[r]))
            for item in told.get(incident.number, ()):
                said = by_evidence(item)
                if said is not None:
                    counts.setdefault(said, []).append((incident.number, _deaths(item), item))
        rows = [_row(name, uses) for name, uses in counts.items()]
        return tuple(sorted(rows, key=lambda row: (-row.incidents, -row.killed, row.name)))

    return Tables(
        cgroup=table(lambda r: _once(r, r.cgroup), lambda e: e.cgroup),
        unit=table(lambda r: _once(r, _unit(r)), lambda e: e.unit or place(e.cgroup).unit),
        pod=table(lambda r: _once(r, _pod(r)), lambda e: e.pod),
        comm=table(_comms, lambda e: e.comm),
    )


def _deaths(item: Evidence) -> int:
    """How many died by what others say, as far as they say it."""
    if item.processes is not None:
        return item.processes
    if asked_only(item):
        return 0
    known = item.kind == "kill" or (item.kind == "notice" and item.killer is not None)
    return (item.count or 1) if known else 0


def _path(report: Report) -> str | None:
    return (report.summary.task_memcg if report.summary else None) or report.cgroup


def _pod(report: Report) -> str | None:
    """The pod's name where it is known, else its uid."""
    uid = place(_path(report)).pod
    named = _NAMED_POD.match(report.owner or "") if uid else None
    return named[1] if named else uid


def _unit(report: Report) -> str | None:
    found = place(_path(report))
    return found.unit if found.pod is None and found.container is None else None


def _once(report: Report, name: str | None) -> list[tuple[str, int]]:
    return [] if name is None else [(name, len(report.killed))]


def _comms(report: Report) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for victim in report.killed:
        counts[victim.comm] = counts.get(victim.comm, 0) + 1
    return list(counts.items())


def _row(name: str, uses: list[tuple[int, int, Report | Evidence]]) -> Row:
    count = len({number for number, _, _ in uses})
    times = [item.time for _, _, item in uses if item.time is not None]
    clocks = [clock for clock in (seconds(item) for _, _, item in uses) if clock is not None]
    every = None
    one_clock = len({_clock(item) for _, _, item in uses}) == 1
    if count > 1 and one_clock and len(clocks) == len(uses) and max(clocks) > min(clocks):
        every = (max(clocks) - min(clocks)) / (count - 1)
    return Row(
        name=name,
        incidents=count,
        killed=sum(killed for _, killed, _ in uses),
        first=times[0] if times else None,
        last=times[-1] if times else None,
        every_s=every,
    )


def _clock(item: Report | Evidence) -> tuple[str, str]:
    """What a time is counted from: times of different clocks have no distance."""
    if item.time is None:
        return "since boot", item.source.file
    return ("date", "") if item.time[4:5] == "-" else ("date without a year", item.source.file)


def every_text(every_s: float) -> str:
    """``every 2.0 h``: a mean interval in the unit that fits."""
    for unit, size in (("d", _DAY_S), ("h", 3600.0), ("min", 60.0)):
        if every_s >= size:
            return f"every {every_s / size:.1f} {unit}"
    return f"every {every_s:.0f} s"
