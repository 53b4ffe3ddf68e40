"""Deaths that belong together: one shortage is one incident, however many reports it took."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from oomkit.klog.records import Evidence, Report

GAP_S = 10.0
"""Reports of one shortage follow each other within so many seconds."""

_UNIT = re.compile(r"[^/]+\.(?:service|scope|mount|socket|swap)(?=/|$)")
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_CONTAINER = re.compile(r"(?:^|[/-])([0-9a-f]{64})(?:\.scope)?(?=/|$)")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a cgroup's path says of its owner.

    Attributes:
        unit: the systemd unit.
        pod: the Kubernetes pod's uid.
        container: the container's id.
    """

    unit: str | None = None
    pod: str | None = None
    container: str | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One shortage of memory and the deaths it cost.

    Attributes:
        by: who killed: ``kernel``, or the killer that its lines name.
        scope: what ran out; None for another killer than the kernel, or where nothing tells.
        cgroup: the memory cgroup that ran out, or that was killed.
        unit: the unit of that cgroup, or of the first victim's.
        pod: the pod, by the name or the uid that the log has.
        comm: the first victim's name.
        victims: pid and name of every process killed.
        panics: panics among the reports.
        reports: the kernel's reports.
        evidence: lines of others.
        time: when it began.
        uptime_s: the same by the kernel's clock.
        first_line: the first line about it.
    """

    by: str
    scope: str | None
    cgroup: str | None
    unit: str | None
    pod: str | None
    comm: str | None
    victims: tuple[tuple[int, str], ...]
    panics: int
    reports: tuple[Report, ...]
    evidence: tuple[Evidence, ...]
    time: str | None
    uptime_s: float | None
    first_line: int


class Recurrence(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was part of an incident.

    Attributes:
        kind: ``cgroup``, ``unit``, ``pod`` or ``comm``.
        name: which one.
        incidents: in how many incidents.
        kills: how many processes died in them.
        first_time: when the first began.
        last_time: when the last began.
    """

    kind: str
    name: str
    incidents: int
    kills: int
    first_time: str | None
    last_time: str | None


def place_of(path: str | None) -> Place:
    """Read a cgroup's path: systemd unit, pod, container."""
    if path is None:
        return Place()
    units = _UNIT.findall(path)
    pod = _POD.search(path)
    container = _CONTAINER.search(path)
    return Place(
        unit=units[-1] if units else None,
        pod=pod[1].replace("_", "-") if pod else None,
        container=container[1] if container else None,
    )


def incidents(records: Iterable[Report | Evidence]) -> Iterator[Incident]:
    """Group the records of one log, in their order, into incidents.

    A plain SIGKILL or a notice is no incident of its own: it belongs to the one it follows, and
    makes one only where nothing else explains it.
    """
    group: _Group | None = None
    for record in records:
        if group is not None and group.takes(record):
            group.add(record)
            continue
        if group is not None:
            yield group.build()
        group = _Group(record)
    if group is not None:
        yield group.build()


def recurrences(found: Iterable[Incident]) -> list[Recurrence]:
    """Count incidents by cgroup, unit, pod and name of the first victim; most frequent first."""
    rows: dict[tuple[str, str], Recurrence] = {}
    for incident in found:
        for kind in ("cgroup", "unit", "pod", "comm"):
            name = getattr(incident, kind)
            if name is None:
                continue
            row = rows.get((kind, name))
            rows[kind, name] = Recurrence(
                kind=kind,
                name=name,
                incidents=(row.incidents if row else 0) + 1,
                kills=(row.kills if row else 0) + len(incident.victims),
                first_time=row.first_time if row else incident.time,
                last_time=incident.time,
            )
    return sorted(rows.values(), key=lambda row: (-row.incidents, -row.kills, row.kind, row.name))


class _Group:
    def __init__(self, record: Report | Evidence) -> None:
        self.records: list[Report | Evidence] = []
        self.add(record)

    def add(self, record: Report | Evidence) -> None:
        self.records.append(record)
        self.last = record

    def takes(self, record: Report | Evidence) -> bool:
        """Whether a record tells of the same shortage."""
        if not _near(self.last, record):
            return False
        if isinstance(record, Evidence):
            return record.kind in ("notice", "sigkill") or self._killer() == record.by
        kernel = [r for r in self.records if isinstance(r, Report)]
        if not kernel:
            lines = [e for e in self.records if isinstance(e, Evidence)]
            return all(line.kind in ("notice", "sigkill") for line in lines)
        before = kernel[-1]
        if None in (before.scope, record.scope):
            return True
        return (before.scope, before.cgroup) == (record.scope, record.cgroup)

    def _killer(self) -> str:
        if any(isinstance(record, Report) for record in self.records):
            return "kernel"
        kinds = {r.kind: r.by for r in reversed(self.records) if isinstance(r, Evidence)}
        for kind in ("kill", "eviction", "notice", "sigkill"):
            if kind in kinds:
                return kinds[kind]
        return "unknown"

    def build(self) -> Incident:
        reports = tuple(r for r in self.records if isinstance(r, Report))
        evidence = tuple(e for e in self.records if isinstance(e, Evidence))
        victims = [(k.pid, k.comm) for report in reports for k in report.killed]
        if not reports:
            victims = [(e.pid, e.comm or "") for e in evidence if e.pid is not None]
        cgroup = next((r.cgroup for r in reports if r.cgroup), None)
        cgroup = cgroup or next((e.cgroup for e in evidence if e.cgroup), None)
        task_path = next((r.summary.task_memcg for r in reports if r.summary), None)
        place = place_of(cgroup)
        outer = place_of(task_path)
        first = self.records[0]
        return Incident(
            by=self._killer(),
            scope=next((r.scope for r in reports if r.scope), None),
            cgroup=cgroup,
            unit=place.unit or outer.unit or next((e.unit for e in evidence if e.unit), None),
            pod=next((e.pod for e in evidence if e.pod), None) or place.pod or outer.pod,
            comm=victims[0][1] or None if victims else None,
            victims=tuple(dict.fromkeys(victims)),
            panics=sum(report.panic is not None for report in reports),
            reports=reports,
            evidence=evidence,
            time=first.time,
            uptime_s=first.uptime_s,
            first_line=first.source.line,
        )


def _near(before: Report | Evidence, after: Report | Evidence) -> bool:
    if before.uptime_s is not None and after.uptime_s is not None:
        return abs(after.uptime_s - before.uptime_s) <= GAP_S
    earlier, later = _seconds(before.time), _seconds(after.time)
    if earlier is None or later is None:
        return before.time is None and after.time is None
    return abs(later - earlier) <= GAP_S


def _seconds(time: str | None) -> float | None:
    """A time as seconds since some day; without a year, that of a leap year."""
    if time is None:
        return None
    text = time if time[4:5] == "-" else f"2024-{time}"
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
