"""Reports that stand in the logs twice: two files hold it, or it was pasted again."""

from collections.abc import Sequence

from oomkit.explain.proximity import seconds
from oomkit.klog.records import Killed, Problem, Report
from oomkit.records import replace

_CLOSE_S = 2.0
_ZONE_S = 900.0
_MAX_ZONE_S = 14 * 3600.0
"""Clocks of two loggers may be set to different zones, which differ by quarters of an hour."""

_Key = tuple[object, ...]


def without_repeats(reports: Sequence[Report]) -> list[Report]:
    """Leave out what is the same report again; of two, the one that shows more stays.

    The same: victim and sizes to the kB are alike, or else asker and stamp, and no clock says
    otherwise.
    """
    kept: list[Report] = []
    places: dict[_Key, dict[str, list[int]]] = {}
    for report in reports:
        keys = [key for key in (_key(report), _choice_key(report)) if key is not None]
        known = [i for key in keys for i in of_host(places.get(key, {}), report.host)]
        at = next((i for i in known if is_same(kept[i], report)), None)
        if at is None:
            for key in keys:
                places.setdefault(key, {}).setdefault(report.host or "", []).append(len(kept))
            kept.append(report)
        else:
            kept[at] = _merged(kept[at], report)
    return kept


def of_host(places: dict[str, list[int]], host: str | None) -> list[int]:
    """The places by hosts that may be one host's: its own and those of none, or all."""
    if host:
        return sorted([*places.get(host, ()), *places.get("", ())])
    return sorted(i for found in places.values() for i in found)


def _key(report: Report) -> _Key | None:
    """What two copies have in common; None where too little is known."""
    if report.killed:
        victim = report.killed[0]
        return (victim.pid, victim.comm, *_sizes(victim)) if any(_sizes(victim)) else None
    if report.uptime_s is None:
        return None
    return (report.invoker, report.gfp_mask, report.panic, report.uptime_s)


def _choice_key(report: Report) -> _Key | None:
    """The choice and its score, which a line that was quoted alone has, too."""
    chosen = report.selected
    if chosen is None or chosen.score is None:
        return None
    return report.source.file, chosen.pid, chosen.comm, chosen.score


def is_same(known: Report, report: Report) -> bool:
    """Whether two reports may be one that was logged twice."""
    if _key(known) != _key(report) and not (_is_bare(known) or _is_bare(report)):
        return False
    return not _contradict(known, report)


def _is_bare(report: Report) -> bool:
    """Nothing but the line on the choice was quoted."""
    return (
        report.selected is not None
        and report.invoker is None
        and not report.tasks
        and all(victim.told_by == "choice" for victim in report.killed)
    )


def _sizes(victim: Killed) -> tuple[int | None, ...]:
    return victim.total_vm_kb, victim.anon_rss_kb, victim.file_rss_kb


def _contradict(known: Report, report: Report) -> bool:
    """Whether two reports can't be one: another host, process or time."""
    if known.host and report.host and known.host != report.host:
        return True
    if known.scope and report.scope and known.scope != report.scope:
        return True
    if known.uptime_s is not None and report.uptime_s is not None:
        return abs(known.uptime_s - report.uptime_s) > _CLOSE_S
    first, second = seconds(known), seconds(report)
    if known.time is None or report.time is None or first is None or second is None:
        return False
    apart = abs(first - second)
    if known.source.file == report.source.file and len(known.time) == len(report.time):
        return apart > _CLOSE_S  # one logger, one clock
    return apart > _MAX_ZONE_S or abs(apart - round(apart / _ZONE_S) * _ZONE_S) > _CLOSE_S


def _merged(known: Report, again: Report) -> Report:
    fuller, other = (again, known) if _amount(again) > _amount(known) else (known, again)
    place = f"{other.source.file}:{other.source.line}"
    note = Problem(kind="lines_repeated", text=f"the same report stands in {place}, too")
    return replace(
        fuller,
        time=fuller.time or other.time,
        uptime_s=fuller.uptime_s if fuller.uptime_s is not None else other.uptime_s,
        host=fuller.host or other.host,
        kernel=fuller.kernel or other.kernel,
        problems=(*fuller.problems, note),
    )


def _amount(report: Report) -> tuple[int, ...]:
    return (
        len(report.tasks),
        sum(part is not None for part in (report.memory, report.memcg, report.summary)),
        sum(part is not None for part in (report.gfp_mask, report.kernel, report.cgroup)),
        len(report.killed),
    )
