"""Which evidence is about which report of an incident."""

from collections.abc import Sequence

from oomkit.explain.near import distance_s
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report


def related(report: Report, said: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """What others say of a report's victims, or may say of them where they name nobody."""
    pids = {victim.pid for victim in report.killed}
    found = []
    for item in said:
        if item.pid is not None and item.pid not in pids:
            continue
        apart = distance_s(item, report)
        found.append((0.0 if apart is None else apart, item.source.line, item))
    found.sort(key=lambda row: (row[0], row[1]))
    return tuple(item for _, _, item in found)
