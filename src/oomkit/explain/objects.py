"""An explained report as JSON; field names are part of the interface (docs/explain.md)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from oomkit.explain.incidents import Incident
from oomkit.explain.records import Explanation
from oomkit.explain.recurring import Tables
from oomkit.explain.summary import when
from oomkit.klog.records import Evidence, Report

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
    report: dict[str, Any] = msgspec.to_builtins(item.report)
    meaning: dict[str, Any] = msgspec.to_builtins(item)
    del meaning["report"]
    found = {name: report[name] for name in _FIRST}
    found.update((name, value) for name, value in report.items() if name not in found)
    found["incident"] = incident
    found.update(meaning)
    return found


def summary_object(
    reports: Sequence[Report],
    evidence: Sequence[Evidence],
    found: Sequence[Incident],
    recurring: Tables,
) -> dict[str, Any]:
    """Return the object that ``oomkit explain --summary --json`` prints."""
    return {
        "reports": len(reports),
        "killed": sum(len(report.killed) for report in reports),
        "incidents": [
            {
                "number": incident.number,
                "summary": incident.summary,
                "when": when(incident, reports, evidence),
                "reports": [msgspec.to_builtins(reports[r].source) for r in incident.reports],
                "evidence": [msgspec.to_builtins(evidence[e]) for e in incident.evidence],
            }
            for incident in found
        ],
        "tables": msgspec.to_builtins(recurring),
    }
