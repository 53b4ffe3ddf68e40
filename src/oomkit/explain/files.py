"""From logs to what they tell: one file is one piece of work that any worker can do."""

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from oomkit.explain.redact import Redactor
from oomkit.klog.read import read_records
from oomkit.klog.records import Evidence, Report
from oomkit.klog.replay import replay_all
from oomkit.klog.sources import KMSG, LogError

if TYPE_CHECKING:
    from oomkit.batch import Pool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one log tells.

    Attributes:
        name: the log; ``-`` for standard input, ``/dev/kmsg`` for the running kernel's.
        reports: its reports, replayed, in the order in which they end.
        evidence: what others say of deaths and shortages.
        error: why it could not be read (to its end); None where it could.
    """

    name: str
    reports: tuple[Report, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    error: str | None = None


class Counter:
    """Counts what was found so far, for whoever shows progress."""

    def __init__(self) -> None:
        self.log = ""
        self.reports = 0


def read_file(
    name: str | None, counter: Counter | None = None, redactor: Redactor | None = None
) -> Told:
    """Read and replay one log; what it held before an error is kept.

    Args:
        name: a file; ``-`` for standard input; None for the running kernel's log.
        counter: counts what is found.
        redactor: takes the names out.
    """
    found: list[Report] = []
    evidence: list[Evidence] = []
    error = None
    if counter is not None:
        counter.log = name or KMSG
    try:
        for report in replay_all(sorted_out(read_records(name), evidence, redactor)):
            found.append(report if name is not None else dated(report))
            if counter is not None:
                counter.reports += 1
    except LogError as failure:
        error = str(failure)
    return Told(name=name or KMSG, reports=tuple(found), evidence=tuple(evidence), error=error)


def sorted_out(
    records: Iterable[Report | Evidence], evidence: list[Evidence], redactor: Redactor | None
) -> Iterator[Report]:
    """Yield the reports among a log's records; what others say goes to ``evidence``, once."""
    seen: dict[tuple[str, str, str | None], int] = {}
    for record in records:
        if isinstance(record, Report):
            yield record if redactor is None else redactor.report(record)
            continue
        key = (record.by, record.text, record.time)
        # The reader may look at the lines before a report twice.
        if abs(seen.get(key, -9) - record.source.line) > 1:
            evidence.append(record if redactor is None else redactor.evidence(record))
        seen[key] = record.source.line


PRELOAD = ("oomkit.explain.files",)
"""What a worker needs to have imported."""


def read_files(
    names: Sequence[str | None],
    pool: "Pool | None" = None,
    counter: Counter | None = None,
    redactor: Redactor | None = None,
) -> Iterator[Told]:
    """Read logs in their order, here or on workers.

    Args:
        names: as :func:`read_file` takes them; workers see files only.
        pool: who reads; None reads one after the other here.
        counter: counts what is found.
        redactor: takes the names out; its tokens agree only across logs that are read here, so
            that there is none with workers.

    Raises:
        PoolError: the workers can't be had any more.
    """
    if pool is None:
        return map(partial(read_file, counter=counter, redactor=redactor), names)
    from oomkit.batch import Work

    work = Work(pool, read_file, iter(names), lost=_lost, total=len(names), max_batch=50)
    return _counted(work, counter)


def _counted(logs: Iterable[Told], counter: Counter | None) -> Iterator[Told]:
    for told in logs:
        if counter is not None:
            counter.log = told.name
            counter.reports += len(told.reports)
        yield told


def _lost(name: str | None, deaths: int) -> Told:
    error = f"{name}: its reader died, {deaths} times (out of memory?)"
    return Told(name=name or KMSG, error=error)


def dated(report: Report) -> Report:
    """Give a report of the running kernel its date, by the clock that its stamps count."""
    if report.time is not None or report.uptime_s is None:
        return report
    ago = time.clock_gettime(time.CLOCK_MONOTONIC) - report.uptime_s
    then = datetime.now(UTC).astimezone() - timedelta(seconds=max(ago, 0.0))
    return msgspec.structs.replace(report, time=then.isoformat(timespec="seconds"))
