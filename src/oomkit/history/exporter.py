"""The exporter of a guard that runs, with metrics of containers beside its own.

Everything is read when somebody asks: kills from the guard's journal, what fills containers from
their cgroups. The daemon itself is neither asked nor made larger.
"""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from oomkit.files.safely import open_regular
from oomkit.guard import exporter
from oomkit.guard.journal import rotated
from oomkit.history.records import Act, KernelKill, Record, read_record
from oomkit.host.cgroups import Hierarchy, find_hierarchy, read_memcgs
from oomkit.host.machine import kernel_release, read_memory
from oomkit.host.memcg_stat import read_memcg_stat
from oomkit.host.names import NameBook
from oomkit.kernel.cgroup_name import place
from oomkit.kernel.names import Names
from oomkit.kernel.state import Memcg, Snapshot
from oomkit.posture.anatomy import Anatomy, anatomy
from oomkit.posture.anatomy_findings import Rates, rates, time_to_limit_s
from oomkit.printable import printable

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from oomkit.kernel.memcg_stat import MemcgStat

MAX_CONTAINERS = 250
"""Containers that have series of their own; those nearest their limit have them."""
MAX_KILL_SERIES = 500
"""Sets of labels of kills; what is beyond is counted under :data:`OTHER`."""
OTHER = "(other)"
MAX_LABEL = 63
_MAX_BYTES = 8 << 20
_LABELS = ("namespace", "pod", "container")


class Kills:
    """Counts the kills that a journal records, from now on.

    Args:
        path: the journal.
        names: says what a cgroup belongs to.
    """

    def __init__(self, path: str, names: "Callable[[str], Names]") -> None:
        self.path = path
        self.counts: Counter[tuple[str, ...]] = Counter()
        self._names = names
        self._file = self._identity(path)
        self._offset = self._file[2]

    def read(self) -> None:
        """Count what was written since the last time."""
        now = self._identity(self.path)
        if now[:2] != self._file[:2]:
            # It was moved aside when it was full: the rest of it first.
            for old in rotated(self.path):
                if self._identity(old)[:2] == self._file[:2]:
                    self._offset = self._count(old, self._offset)
            self._file, self._offset = now, 0
        elif now[2] < self._offset:
            self._offset = 0
        self._offset = self._count(self.path, self._offset)

    @staticmethod
    def _identity(path: str) -> tuple[int, int, int]:
        try:
            found = os.stat(path)
        except OSError:
            return 0, 0, 0
        return found.st_dev, found.st_ino, found.st_size

    def _count(self, path: str, offset: int) -> int:
        """Count the whole lines from a place on; returns where the next one begins."""
        try:
            with open(open_regular(path), "rb") as file:
                file.seek(offset)
                data = file.read(_MAX_BYTES)
        except OSError:
            return offset
        end = data.rfind(b"\n") + 1
        for line in data[:end].splitlines():
            try:
                record = read_record(msgspec.json.decode(line))
            except (msgspec.MsgspecError, ValueError, AttributeError, RecursionError):
                continue
            for labels, count in self._kills(record):
                self._add(labels, count)
        return offset + end

    def _add(self, labels: tuple[str, ...], count: int) -> None:
        if labels not in self.counts and len(self.counts) >= MAX_KILL_SERIES:
            labels = (OTHER, OTHER, OTHER, OTHER, *labels[4:])
        self.counts[labels] += count

    def _kills(self, record: Record) -> Iterator[tuple[tuple[str, ...], int]]:
        if isinstance(record, KernelKill):
            yield from self._of_kernel(record)
        elif isinstance(record, Act) and record.victim is not None and not record.dry_run:
            victim = record.victim
            if record.outcome == "died":
                labels = self._labels(
                    victim.cgroup, victim.comm, "guard", record.level or "unknown"
                )
                yield labels, max(1, len(victim.members or ()))

    def _of_kernel(self, record: KernelKill) -> Iterator[tuple[tuple[str, ...], int]]:
        if record.cgroups:
            for path, count in record.cgroups.items():
                yield self._labels(path, None, "kernel", "unknown"), max(0, count)
            return
        cgroup, cause = _place_and_cause(record)
        yield self._labels(cgroup, record.comm, "kernel", cause), record.count or 1

    def _labels(
        self, cgroup: str | None, comm: str | None, killer: str, cause: str
    ) -> tuple[str, ...]:
        return (*names_of(cgroup or "", self._names), label(comm or ""), killer, cause)


def _place_and_cause(record: KernelKill) -> tuple[str | None, str]:
    """The victim's cgroup, and which limit was met, by the report."""
    # Loaded with the first kill: it is as large as the rest of this process.
    from oomkit.klog.reader import read_bytes

    text = "\n".join(record.lines or ()).encode()
    report = next(iter(read_bytes(text)), None) if text else None
    if report is None:
        return None, "machine" if record.scope == "global" else "unknown"
    own = report.summary.task_memcg if report.summary is not None else None
    own = own or report.oom_group or report.cgroup
    if report.cgroup is None:
        return own, "machine"
    if own is None:
        return own, "unknown"
    container = place(report.cgroup).container is not None or own == report.cgroup
    return own, "container_limit" if container else "limit_above"


def label(value: str) -> str:
    """A value of a label: printable, and no longer than names of Kubernetes are."""
    return printable(value)[:MAX_LABEL]


def names_of(path: str, names: "Callable[[str], Names]") -> tuple[str, str, str]:
    """Namespace, pod and container of a cgroup; of what has no name its id, or nothing."""
    found, ids = names(path), place(path)
    return (
        label(found.namespace or ""),
        label(found.pod or ids.pod or ""),
        label(found.container or ids.container or ""),
    )


class Book:
    """Remembers the names of cgroups: what lies on the node about a container goes with it.

    Args:
        root: what the folders are below.

    Attributes:
        known: names by the path of their cgroup, :attr:`MAX` at a time; the last one asked for
            stands last.
    """

    MAX = 4096

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self.known: dict[str, Names] = {}
        self._book = NameBook(root)

    def fresh(self) -> None:
        """Look again at folders that were listed before."""
        self._book = NameBook(self._root)

    def of(self, path: str) -> Names:
        """The names of a cgroup; those that were known once are kept."""
        known = self.known.pop(path, None)
        if known is None or known.container is None:
            known = self._book.of(path)
        self.known[path] = known  # the last one that was asked for
        while len(self.known) > self.MAX:
            del self.known[next(iter(self.known))]
        return known


class ContainerCollector:
    """Makes metrics of containers, again for each scrape.

    Args:
        journal: the guard's; empty: none is kept.
        hierarchy: of the memory cgroups; None: there is none.
        proc: the proc file system.
        root: what the folders of names are below.
    """

    def __init__(
        self,
        journal: str,
        hierarchy: Hierarchy | None,
        *,
        proc: str = "/proc",
        root: str = "/",
    ) -> None:
        self._hierarchy = hierarchy
        self._proc = proc
        self._book = Book(root)
        self._kills = Kills(journal, self._book.of) if journal else None
        self._before: dict[str, MemcgStat] = {}
        self._began_s = time.time()

    def collect(self) -> "Iterator[Metric]":
        """Yield the metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        self._book.fresh()
        found = self._containers()
        if self._kills is not None:
            self._kills.read()
            kills = CounterMetricFamily(
                "oomkit_container_kills",
                "Processes killed for memory.",
                labels=[*_LABELS, "comm", "killer", "cause"],
            )
            for labels, count in self._kills.counts.items():
                kills.add_metric(labels, count, created=self._began_s)
            yield kills
        left = GaugeMetricFamily(
            "oomkit_container_time_to_limit_seconds",
            "When usage meets the lowest limit at the rate since the last scrape; none: never.",
            labels=_LABELS,
        )
        share = GaugeMetricFamily(
            "oomkit_container_unreclaimable_ratio",
            "What the kernel cannot take back, of the lowest limit.",
            labels=_LABELS,
        )
        seen: set[tuple[str, str, str]] = set()
        for one, rate in found[:MAX_CONTAINERS]:
            labels = names_of(one.path, self._book.of)
            if labels in seen or not one.limit_bytes:
                continue
            seen.add(labels)
            share.add_metric(labels, one.unreclaimable_bytes / one.limit_bytes)
            seconds = time_to_limit_s(one, rate)
            if seconds is not None and math.isfinite(seconds):
                left.add_metric(labels, seconds)
        yield left
        yield share
        yield GaugeMetricFamily(
            "oomkit_containers_without_series",
            "Containers beyond the bound of series.",
            value=max(0, len(found) - MAX_CONTAINERS),
        )

    def _containers(self) -> list[tuple[Anatomy, Rates | None]]:
        """Containers with a limit, those whose memory is least reclaimable first."""
        if self._hierarchy is None:
            return []
        size = os.sysconf("SC_PAGE_SIZE")
        groups = read_memcgs(self._hierarchy, size).groups
        by_path = {group.path: group for group in groups}
        memory, _ = read_memory(self._proc, size)
        kernel = kernel_release(self._proc)
        before, self._before = self._before, {}
        found = []
        for group in groups:
            if place(group.path).container is None:
                continue
            above = _with_ancestors(group, by_path)
            if all(one.limit_pages is None for one in above):
                continue
            stat = read_memcg_stat(self._hierarchy, group.path)
            if stat is None:
                continue
            self._before[group.path] = stat
            snapshot = Snapshot(kernel=kernel, memory=memory, memcgs=above, page_size=size)
            earlier = before.get(group.path)
            rate = rates(earlier, stat) if earlier is not None else None
            found.append((anatomy(snapshot, stat), rate))
        return sorted(
            found, key=lambda one: -one[0].unreclaimable_bytes / (one[0].limit_bytes or 1)
        )


def _with_ancestors(group: Memcg, by_path: dict[str, Memcg]) -> tuple[Memcg, ...]:
    """A cgroup and those it lies in, the root first."""
    found, path = [group], group.path
    while path not in ("", "/"):
        path = path.rpartition("/")[0] or "/"
        if path in by_path:
            found.append(by_path[path])
    return tuple(reversed(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a guard's metrics and those of containers until interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    journal = ""
    if "--journal" in given:
        at = given.index("--journal")
        journal = given[at + 1]
        del given[at : at + 2]
    collectors: list[Any] = [ContainerCollector(journal, find_hierarchy("/proc"))]
    return exporter.main(given, more=collectors)


if __name__ == "__main__":
    sys.exit(main())
