"""A long log in short: a line for each incident, and tables of what recurs."""

from collections.abc import Sequence

from oomkit.explain.incidents import Incident
from oomkit.explain.killer import proof
from oomkit.explain.recurring import Row, Tables, every_text
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report
from oomkit.printable import printable
from oomkit.render.document import Document, Text
from oomkit.render.quantities import count_of, moment

_MAX_ROWS = 10


def summary_of(
    reports: Sequence[Report],
    evidence: Sequence[Evidence],
    found: Sequence[Incident],
    recurring: Tables,
) -> Document:
    """A line an incident, then tables of what recurs."""
    page = Document(Text(counts_text(reports, found), "bold", rest=""))
    stamps = [when(incident, reports, evidence) for incident in found]
    width = max((len(stamp) for stamp in stamps), default=0)
    for incident, stamp in zip(found, stamps, strict=True):
        opening = f"{incident.number:>4}  {stamp:<{width}}  "
        page.text(printable(incident.summary), first=opening, rest=" " * len(opening))
    page.line()
    for title, rows in (
        ("by cgroup", recurring.cgroup),
        ("by unit", recurring.unit),
        ("by pod", recurring.pod),
        ("by command", recurring.comm),
    ):
        if len(rows) > 1 or any(row.incidents > 1 for row in rows):
            _add_table(page, title, rows)
    return page


def counts_text(reports: Sequence[Report], found: Sequence[Incident]) -> str:
    """How many incidents, reports and victims there are."""
    incidents = count_of(len(found), "incident")
    if not reports:
        return f"{incidents}, no OOM report of the kernel"
    killed = sum(len(report.killed) for report in reports)
    return (
        f"{incidents}, {count_of(len(reports), 'OOM report')}, "
        f"{count_of(killed, 'process', 'processes')} killed by the kernel"
    )


def reported(found: Sequence[Incident], evidence: Sequence[Evidence]) -> Document:
    """The lines that show incidents that only programs other than the kernel report."""
    page = Document()
    for incident in found:
        texts = [
            f"line {p.line}: {p.text}" for p in (proof(evidence[e]) for e in incident.evidence)
        ]
        more = len(texts) - _MAX_ROWS
        if more > 0:
            texts = [*texts[:_MAX_ROWS], f"and {count_of(more, 'more line')}"]
        page.field(f"incident {incident.number}", texts, "dim")
    if found:
        page.line()
    return page


def when(incident: Incident, reports: Sequence[Report], evidence: Sequence[Evidence]) -> str:
    """When an incident began: date, seconds since boot, or the line it begins at."""
    first = reports[incident.reports[0]] if incident.reports else evidence[incident.evidence[0]]
    if first.time is not None:
        return moment(first.time)
    if first.uptime_s is not None:
        return f"{first.uptime_s:.3f} s"
    return f"line {first.source.line}"


def _add_table(page: Document, title: str, rows: Sequence[Row]) -> None:
    page.text(f"{title:<11}incidents  killed", "bold", rest="")
    for row in rows[:_MAX_ROWS]:
        often = f"  {every_text(row.every_s)}" if row.every_s is not None else ""
        opening = f"{'':<11}{row.incidents:>9}  {row.killed:>6}  "
        page.text(f"{printable(row.name)}{often}", first=opening, rest=" " * len(opening))
    if len(rows) > _MAX_ROWS:
        page.text(f"{'':<11}and {count_of(len(rows) - _MAX_ROWS, 'other')}", "dim")
    page.line()
