"""An explained report as JSON; field names are part of the interface (docs/explain.md)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from oomkit.explain.cgroup_names import place
from oomkit.explain.evidence_text import joined
from oomkit.explain.incidents import Incident
from oomkit.explain.killer import death, proof
from oomkit.explain.records import Explanation
from oomkit.explain.recurring import Tables
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report
from oomkit.records import to_builtins
from oomkit.views.explain_report import span

if TYPE_CHECKING:
    from oomkit.explain.explanation import Case

_FIRST = (
    "source",
    "time",
    "kernel",
    "rules",
    "scope",
    "cgroup",
    "invoker",
    "gfp_mask",
    "order",
    "memory",
    "tasks",
    "killed",
    "panic",
    "predicted",
    "agrees",
    "why",
    "problems",
)


def report_object(item: Explanation, incident: int | None = None) -> dict[str, Any]:
    """Return the object that ``oomkit explain --json`` prints for a report.

    Args:
        item: the report, explained.
        incident: number of the incident it belongs to, from 1.
    """
    report: dict[str, Any] = to_builtins(item.report)
    meaning: dict[str, Any] = to_builtins(item)
    del meaning["report"]
    found = {name: report[name] for name in _FIRST}
    found.update((name, value) for name, value in report.items() if name not in found)
    found["record"] = "report"
    found["incident"] = incident
    found.update(meaning)
    return found


def incident_object(incident: Incident, evidence: Sequence[Evidence]) -> dict[str, Any]:
    """Return the object for an incident that only programs other than the kernel report."""
    said = [evidence[e] for e in incident.evidence]
    return _evidence_record("incident", incident.summary, said, incident.number)


def evidence_object(item: Evidence) -> dict[str, Any]:
    """Return the object for one line of others, as ``--follow`` comes upon it."""
    kind = "no_kill" if item.kind in ("failure", "pressure") else "incident"
    return _evidence_record(kind, death(item).text, [item], None)


def no_kill_object(text: str, failed: Sequence[Evidence]) -> dict[str, Any]:
    """Return the object for logs in which requests failed and no process was killed."""
    return _evidence_record("no_kill", text, failed, None)


def objects(found: "Case", shown: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield what ``oomkit explain --json`` prints, an object a line.

    Args:
        found: the logs.
        shown: which of their reports.
    """
    for index in shown:
        yield report_object(found.explain(index), found.incident(index))
    for incident in found.reported_by_others():
        yield incident_object(incident, found.evidence)
    if found.no_kill is not None:
        yield no_kill_object(found.no_kill, found.failed)


_DEADLY = ("kill", "notice", "eviction")


def _evidence_record(
    record: str, headline: str, said: Sequence[Evidence], number: int | None
) -> dict[str, Any]:
    first, killer = said[0], death(said[0])
    one = joined(said)
    dead = [item for item in one if record == "incident" and item.kind in _DEADLY]
    return {
        "source": to_builtins(first.source),
        "time": first.time,
        "record": record,
        "uptime_s": first.uptime_s,
        "host": first.host,
        "incident": number,
        "headline": headline,
        "killed": [
            {
                "pid": item.pid,
                "comm": item.comm,
                "unit": item.unit or place(item.cgroup).unit,
                "cgroup": item.cgroup,
                "pod": item.pod,
                "container": item.container or item.container_name,
                "job": item.job,
                "processes": item.processes,
            }
            for item in dead
        ],
        "killer": {
            "by": killer.by,
            "text": headline,
            "evidence": [to_builtins(proof(item)) for item in said],
        },
        "related": [to_builtins(item) for item in one],
    }


def summary_object(
    reports: Sequence[Report],
    evidence: Sequence[Evidence],
    found: Sequence[Incident],
    recurring: Tables,
    no_kill: str | None = None,
) -> dict[str, Any]:
    """Return the object that ``oomkit explain --summary --json`` prints."""
    return {
        "no_kill": no_kill,
        "reports": len(reports),
        "killed": sum(len(report.killed) for report in reports),
        "incidents": [
            {
                "number": incident.number,
                "summary": incident.summary,
                "when": span(incident, reports, evidence),
                "reports": [to_builtins(reports[r].source) for r in incident.reports],
                "evidence": [to_builtins(evidence[e]) for e in incident.evidence],
            }
            for incident in found
        ],
        "tables": to_builtins(recurring),
    }
