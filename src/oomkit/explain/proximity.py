"""What of a log is one happening: what stands near in time, and reports that stand there twice."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from oomkit.explain.cgroup_names import ID_CHARS, place
from oomkit.kernel.cgroup_name import full_container_id
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Killed, Problem, Report
from oomkit.records import replace

NEAR_S = 60.0
"""Maximum seconds from a kill to what others log about it."""
NEAR_LINES = 400
"""The same, in lines, where the log has no time stamps."""


def seconds(item: Report | Evidence) -> float | None:
    """When, on one clock for a log: its date, else seconds since boot."""
    when = None if item.time is None else _date_s(item.time)
    return item.uptime_s if when is None else when


@lru_cache(maxsize=4096)
def _date_s(text: str) -> float | None:
    """Seconds of a date; None where it is none."""
    # Without a year any will do, and one zone for all: what is asked for is a distance.
    dated = text if text[:3].isdigit() else f"2000-{text}"
    try:
        return datetime.fromisoformat(dated).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def distance_s(a: Report | Evidence, b: Report | Evidence) -> float | None:
    """Seconds between two items; None where no clock of theirs is the same."""
    if a.uptime_s is not None and b.uptime_s is not None and a.host == b.host:
        return abs(a.uptime_s - b.uptime_s)
    if a.time is not None and b.time is not None:
        first, second = seconds(a), seconds(b)
        if first is not None and second is not None:
            return abs(first - second)
    return None


def nearness(item: Evidence, report: Report) -> float | None:
    """How near evidence stands to a report that it can be about; None where it can't be."""
    same = _same_victim(item, report)
    if not same and item.kind in ("kill", "eviction"):
        return None
    apart = distance_s(item, report)
    if apart is None:
        if item.source.file != report.source.file:
            return None
        lines = max(
            report.source.line - item.source.line, item.source.line - report.source.end_line, 0
        )
        apart = lines * NEAR_S / NEAR_LINES
    if apart > NEAR_S or not (same or _could_be(item, report)):
        return None
    return apart / 1000 if same else apart


def _same_victim(item: Evidence, report: Report) -> bool:
    if item.pid is not None:
        return any(victim.pid == item.pid for victim in report.killed)
    paths = (report.cgroup, report.summary.task_memcg if report.summary else None)
    return any(_is_of(item, path) for path in paths if path)


def _is_of(item: Evidence, path: str) -> bool:
    """Whether a cgroup's path has what evidence names, as a whole part of it each."""
    parts = [part for part in path.split("/") if part]
    if item.unit is not None and item.unit in parts:
        return True
    if item.cgroup is not None and _lies_in([p for p in item.cgroup.split("/") if p], parts, item):
        return True
    pod = item.pod and item.pod.rpartition("/")[2].replace("_", "-")
    container = item.container
    for part in parts:
        found = place(part)
        if pod and pod in (part, found.pod, f"pod-{found.pod}"):
            return True
        full = full_container_id(part) or part
        if container and (
            full == container or (len(container) >= ID_CHARS and full.startswith(container))
        ):
            return True
    return False


def _lies_in(names: list[str], parts: list[str], item: Evidence) -> bool:
    """Whether the names of a path, of which the last may be cut, follow each other in another."""
    if not names:
        return False
    for at in range(len(parts) - len(names) + 1):
        found = parts[at : at + len(names)]
        if found == names:
            return True
        if item.cgroup_cut and found[:-1] == names[:-1] and found[-1].startswith(names[-1]):
            return True
    return False


def _could_be(item: Evidence, report: Report) -> bool:
    """Evidence without an id that contradicts: the same shortage, reported by another."""
    if item.pid is not None:
        return False
    if item.comm is not None:
        return any(victim.comm == item.comm[:15] for victim in report.killed)
    return item.kind in ("notice", "sigkill")


class _Sorted:
    """Indices of reports by a number, to find those between two bounds."""

    def __init__(self) -> None:
        self._pairs: list[tuple[float, int]] = []
        self._keys: list[float] = []

    def add(self, key: float, index: int) -> None:
        self._pairs.append((key, index))

    def sort(self) -> None:
        self._pairs.sort()
        self._keys = [key for key, _ in self._pairs]

    def between(self, low: float, high: float) -> list[int]:
        first, end = bisect_left(self._keys, low), bisect_right(self._keys, high)
        return [index for _, index in self._pairs[first:end]]


class Reach:
    """Finds the few of many reports that an item can be near to, by any of its clocks."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._by_uptime: dict[str | None, _Sorted] = {}
        self._by_time = _Sorted()
        self._by_line: dict[str, _Sorted] = {}
        self._longest = 0
        for i, report in enumerate(reports):
            if report.uptime_s is not None:
                self._by_uptime.setdefault(report.host, _Sorted()).add(report.uptime_s, i)
            when = seconds(report) if report.time is not None else None
            if when is not None:
                self._by_time.add(when, i)
            source = report.source
            self._by_line.setdefault(source.file, _Sorted()).add(source.line, i)
            self._longest = max(self._longest, source.end_line - source.line)
        for order in (*self._by_uptime.values(), self._by_time, *self._by_line.values()):
            order.sort()

    def around(self, item: Evidence) -> set[int]:
        """Indices of all reports within :data:`NEAR_S` or :data:`NEAR_LINES`, and some more."""
        found: set[int] = set()
        order = self._by_uptime.get(item.host)
        if item.uptime_s is not None and order is not None:
            found.update(_window(order, item.uptime_s, NEAR_S))
        when = seconds(item) if item.time is not None else None
        if when is not None:
            found.update(_window(self._by_time, when, NEAR_S))
        order = self._by_line.get(item.source.file)
        if order is not None:
            line = item.source.line
            found.update(order.between(line - NEAR_LINES - self._longest, line + NEAR_LINES))
        return found


def _window(order: _Sorted, at: float, width: float) -> list[int]:
    # A little wider than the distance that is measured later: two floats' difference is rounded.
    return order.between(at - width - 1, at + width + 1)


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
