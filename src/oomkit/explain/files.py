"""Reads logs; one file is one piece of work that any worker can do."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from oomkit.explain.incidents import cause_of
from oomkit.explain.outline import outline, place_of
from oomkit.explain.pod_names import with_names
from oomkit.explain.proximity import seconds
from oomkit.explain.redact import Redactor
from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.sources import KMSG, LogError
from oomkit.klog.reader import read_records
from oomkit.klog.records import KernelName, Report
from oomkit.klog.replay import replay_all
from oomkit.klog.version_texts import NEWEST
from oomkit.records import Record, replace

if TYPE_CHECKING:
    from oomkit.batch import Pool
    from oomkit.klog.lines.ahead import Ahead

_DAY_S = 86400.0
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


def with_kernels(reports: Sequence[Report], named: Sequence[KernelName]) -> Iterator[Report]:
    """Yield the reports, those without a kernel's name with that of their neighbours.

    ``uname`` and forms about bugs name the machine's kernel wherever they stand; a neighbouring
    report does so as long as nothing shows another boot between the two. A name that does not fit
    what the report prints is not taken.
    """
    releases = {name.release for name in named}
    for i, report in enumerate(reports):
        if report.kernel is not None:
            yield report
            continue
        kernel = _neighbours(reports, i) or _of_machine(report, named, releases)
        yield report if kernel is None else replace(report, kernel=kernel)


def _neighbours(reports: Sequence[Report], at: int) -> str | None:
    """The kernel of the nearest report of the same boot, the one before first."""
    report = reports[at]
    for nearest in (reversed(reports[:at]), iter(reports[at + 1 :])):
        other = next((r for r in nearest if r.kernel is not None), None)
        if other is not None and _is_one_boot(other, report) and _fits(other.kernel, report):
            return other.kernel
    return None


def _is_one_boot(a: Report, b: Report) -> bool:
    if a.host is not None and b.host is not None and a.host != b.host:
        return False
    first, second = (a, b) if a.source.line <= b.source.line else (b, a)
    if first.uptime_s is not None and second.uptime_s is not None:
        return first.uptime_s <= second.uptime_s
    then, now = seconds(first), seconds(second)
    if first.time is not None and second.time is not None and then is not None and now is not None:
        return 0 <= now - then <= _DAY_S
    return (first.time is None) == (second.time is None)


def _of_machine(report: Report, named: Sequence[KernelName], releases: set[str]) -> str | None:
    """The one kernel that the log names outside of reports; None where it names several."""
    if len(releases) != 1:
        return None
    name = named[0]
    if name.host is not None and report.host is not None and name.host != report.host:
        return None
    return name.release if _fits(name.release, report) else None


def _fits(kernel: str | None, report: Report) -> bool:
    """Whether a kernel can have printed the report, judging by its format."""
    if kernel is None:
        return False
    if report.kernel_range is None:
        return True
    if ".el" in kernel:
        return True  # a vendor's kernel carries later texts
    low, high = map(_version, report.kernel_range)
    version = _version(kernel)
    return low <= version and (version <= high or report.kernel_range[1] == NEWEST)


def _version(release: str) -> tuple[int, ...]:
    numbers = _NUMBERS.match(release)
    version = tuple(map(int, numbers[0].split("."))) if numbers is not None else ()
    return version[:3] if version[:2] == (2, 6) else version[:2]


class ReadLog(Record, frozen=True, kw_only=True):
    """What was found in one log.

    Attributes:
        name: the log; ``-`` for standard input, ``/dev/kmsg`` for the running kernel's.
        reports: its reports, replayed, in the order in which they end.
        evidence: what others say of deaths and shortages.
        no_kill: lines of failed requests and of pressure, that killed no process; the first ones.
        no_kill_count: how many such lines there are.
        causes: what ran out, by the places of the reports, where they are outlines.
        error: why it could not be read (to its end); None where it could.
    """

    name: str
    reports: tuple[Report, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    no_kill: tuple[Evidence, ...] = ()
    no_kill_count: int = 0
    causes: tuple[tuple[tuple[str, int, int], str], ...] = ()
    error: str | None = None


class Counter:
    """Counts what was found so far, to show progress.

    Attributes:
        log: the log that is read, or was read last.
        reports: how many reports were found.
        logs: how many logs were read to their end.
    """

    def __init__(self) -> None:
        self.log = ""
        self.reports = 0
        self.logs = 0


def read_file(
    name: str | None,
    counter: Counter | None = None,
    redactor: Redactor | None = None,
    searchers: int = 1,
    begun: "Ahead | None" = None,
    *,
    outlines: bool = False,
) -> ReadLog:
    """Read and replay one log; what precedes an error is returned.

    Args:
        name: a file; ``-`` for standard input; None for the running kernel's log.
        counter: counts what is found.
        redactor: takes the names out.
        searchers: how many processes search a large file: see :func:`.read_records`.
        begun: a search of it that has begun: see :func:`.begin_search`.
        outlines: keep no more of its reports than a summary needs: see :mod:`.outline`.
    """
    sorted_out = _Sorted(redactor)
    error = None
    if counter is not None:
        counter.log = name or KMSG
    try:
        for record in read_records(name, searchers=searchers, begun=begun):
            sorted_out.add(record)
            if counter is not None and isinstance(record, Report):
                counter.reports += 1
    except LogError as failure:
        error = str(failure)
    found: Sequence[Report] = sorted_out.reports
    if redactor is None:
        found = with_names(name, found)
    reports = list(replay_all(with_kernels(found, sorted_out.kernels)))
    if name is None:
        reports = [dated(report) for report in reports]
    causes: list[tuple[tuple[str, int, int], str]] = []
    if outlines:
        causes = [(place_of(report), cause_of(report)) for report in reports]
        reports = [outline(report) for report in reports]
    if counter is not None:
        counter.logs += 1
    return ReadLog(
        name=name or KMSG,
        reports=tuple(reports),
        causes=tuple(causes),
        evidence=tuple(sorted_out.evidence),
        no_kill=tuple(sorted_out.no_kill),
        no_kill_count=sorted_out.no_kill_count,
        error=error,
    )


_MAX_NO_KILL = 20


class _Sorted:
    """A log's records by their kind; what others say is taken once."""

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._seen: dict[tuple[str, str, str | None], int] = {}
        self.reports: list[Report] = []
        self.evidence: list[Evidence] = []
        self.no_kill: list[Evidence] = []
        self.no_kill_count = 0
        self.kernels: list[KernelName] = []

    def add(self, record: Report | Evidence | KernelName) -> None:
        redactor = self._redactor
        if isinstance(record, KernelName):
            host = redactor.host(record.host) if redactor and record.host else record.host
            self.kernels.append(replace(record, host=host))
            return
        if isinstance(record, Report):
            self.reports.append(record if redactor is None else redactor.report(record))
            return
        key = (record.by, record.text, record.time)
        # The reader may look at the lines before a report twice.
        before, self._seen[key] = self._seen.get(key), record.source.line
        if before is not None and abs(before - record.source.line) <= 1:
            return
        if record.kind not in ("failure", "pressure"):
            self.evidence.append(record if redactor is None else redactor.evidence(record))
            return
        self.no_kill_count += 1
        if len(self.no_kill) < _MAX_NO_KILL:
            self.no_kill.append(record if redactor is None else redactor.evidence(record))


PRELOAD = ("oomkit.explain.files",)
"""What a worker needs to have imported."""


def read_files(
    names: Sequence[str | None],
    pool: "Pool | None" = None,
    counter: Counter | None = None,
    redactor: Redactor | None = None,
    searchers: int = 1,
    begun: "Ahead | None" = None,
    *,
    outlines: bool = False,
) -> Iterator[ReadLog]:
    """Read logs in their order, here or on workers.

    Args:
        names: as :func:`read_file` takes them; workers see files only.
        pool: reads; None reads one after the other here.
        counter: counts what is found.
        redactor: takes the names out; its tokens agree only across logs that are read here, so
            that there is none with workers.
        searchers: without a pool, how many processes search one large file.
        begun: without a pool, a search that has begun of the only file.
        outlines: as :func:`read_file` takes it.

    Raises:
        PoolError: the workers can't be had any more.
    """
    if pool is None:
        read = partial(
            read_file,
            counter=counter,
            redactor=redactor,
            searchers=searchers,
            begun=begun,
            outlines=outlines,
        )
        return map(read, names)
    from oomkit.batch import Work

    read_there = partial(read_file, outlines=outlines)
    work = Work(pool, read_there, iter(names), lost=_lost, total=len(names), max_batch=50)
    return _counted(work, counter)


def _counted(logs: Iterable[ReadLog], counter: Counter | None) -> Iterator[ReadLog]:
    for log in logs:
        if counter is not None:
            counter.log = log.name
            counter.reports += len(log.reports)
            counter.logs += 1
        yield log


def _lost(name: str | None, deaths: int) -> ReadLog:
    error = f"{name}: its reader died, {deaths} times (out of memory?)"
    return ReadLog(name=name or KMSG, error=error)


def dated(report: Report) -> Report:
    """Give a report of the running kernel its date, by the clock that its stamps count."""
    if report.time is not None or report.uptime_s is None:
        return report
    ago = time.clock_gettime(time.CLOCK_MONOTONIC) - report.uptime_s
    then = datetime.now(UTC).astimezone() - timedelta(seconds=max(ago, 0.0))
    return replace(report, time=then.isoformat(timespec="seconds"))
