"""What stands near in time: the distance of two items of a log, and the reports within reach."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from oomkit.explain.cgroup_names import ID_CHARS, place
from oomkit.kernel.cgroup_name import full_container_id
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report

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
