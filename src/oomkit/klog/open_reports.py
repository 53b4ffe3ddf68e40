"""The reports of a log that have begun and may still get lines."""

import math
from collections.abc import Iterator

import msgspec

from oomkit.klog.builder import Builder
from oomkit.klog.finish import note_missing
from oomkit.klog.prefix import Line
from oomkit.klog.records import Report
from oomkit.klog.stall import Stalls
from oomkit.klog.tasks import ROW

MAX_UNRELATED_LINES = 2000
"""Lines of other matters after which a report is over."""
MAX_SILENCE_S = 300.0
"""Seconds of the kernel's own clock after which a report is over."""
_MAX_OPEN = 8


class OpenReports:
    """Finds the report that a line belongs to, by order, caller and pid; closes what is over.

    Attributes:
        kernel: the release that the log named last outside of reports.
        stalls: warnings of allocations that wait, for the report that follows.
        in_table: the report whose task table has begun; the next line is likely one of its rows.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: list[Builder] = []
        self.kernel: str | None = None
        self.stalls = Stalls()
        self.in_table: Builder | None = None
        self._last_number = 0
        self._last_stamp = 0.0
        self._since = 0

    @property
    def has_open(self) -> bool:
        """A report has begun and not ended."""
        return any(report.strong and not report.ended for report in self._open)

    @property
    def youngest(self) -> Builder | None:
        """The report that began last."""
        return self._open[-1] if self._open else None

    @property
    def oldest_open_line(self) -> float:
        """First line of the oldest report that may still get lines; infinite without one."""
        return min((report.first.number for report in self._open), default=math.inf)

    def flush(self) -> Iterator[Report]:
        """End of the log, or of a stretch of it: yields what is open."""
        for report in self._open:
            yield from self._close(report)
        self._open = []
        self.in_table = None

    def _close(self, report: Builder) -> Iterator[Report]:
        if report is self.in_table:
            self.in_table = None
        if report.strong:
            built = report.build(self._file, note_missing)
            stalls = self.stalls.before(built)
            yield msgspec.structs.replace(built, stalls=stalls) if stalls else built

    def over_by(self, line: Line, count: int = 1) -> list[Report]:
        """Give the reports that are over when a line comes; looks seldom, and after every leap.

        Args:
            line: the line.
            count: how many lines came, of which this is the last.
        """
        return self.expire(line) if self._open and self._due(line, count) else []

    def limit(self) -> list[Report]:
        """Close the oldest report if there are too many."""
        return list(self._close(self._open.pop(0))) if len(self._open) > _MAX_OPEN else []

    def of_victim(self, pid: int) -> Builder | None:
        """The report that names a victim, else the youngest if it has ended."""
        found = next((report for report in reversed(self._open) if report.has_victim(pid)), None)
        if found is None and self._open and self._open[-1].ended:
            return self._open[-1]
        return found

    def add(self, report: Builder) -> None:
        """Open a report that was made elsewhere."""
        report.kernel = self.kernel
        self._open.append(report)

    def _due(self, line: Line, count: int) -> bool:
        """It is time to look for reports that are over: seldom, and after every leap."""
        leap = line.number - self._last_number
        self._last_number = line.number
        self._since += count
        stamp = line.uptime_s
        late = stamp is not None and abs(stamp - self._last_stamp) > MAX_SILENCE_S
        if stamp is not None:
            self._last_stamp = stamp
        if self._since < 64 and leap < 64 and not late:
            return False
        self._since = 0
        return True

    def expire(self, line: Line) -> list[Report]:
        """Give the reports that are over when a line comes."""
        over: list[Report] = []
        for report in [r for r in self._open if _is_over(r, line)]:
            self._open.remove(report)
            over.extend(self._close(report))
        return over

    def new(self, line: Line) -> Builder:
        """Open a report with the line that begins it."""
        report = Builder(line)
        report.kernel = self.kernel
        self._open.append(report)
        self.in_table = None
        return report

    def current(self, line: Line) -> Builder | None:
        """The youngest open report that the line can belong to."""
        for report in reversed(self._open):
            if line.caller and report.first.caller and report.first.caller != line.caller:
                continue
            return report
        return None

    def lacking(self, line: Line, *, wants: str) -> Builder:
        """The report that still lacks a part, or a new one."""
        for report in reversed(self._open):
            if line.caller and report.first.caller and report.first.caller != line.caller:
                continue
            if _lacks(report, wants):
                return report
        return self.new(line)

    def interrupted_table(self, line: Line) -> Builder | None:
        """The table that a whole other report interrupted, if a row carries it on."""
        match = ROW.match(line.text)
        for i, report in enumerate(self._open):
            if report.ended or report.table_done or not report.tasks or match is None:
                continue
            if int(match["pid"]) <= report.tasks[-1].pid:
                continue
            for mixed in self._open[i:]:
                if mixed.has_table:
                    text = "two task tables are mixed; rows may stand in the wrong one"
                    mixed.problem("mixed", text, mixed.table_at)
            self.in_table = report
            return report
        return None

    def for_kill(self, line: Line, text: str | None, pid: int) -> Builder:
        """The report whose victim a kill line names, or a new one."""
        for report in reversed(self._open):
            chosen = report.selected
            if chosen is not None and chosen.pid == pid and not report.has_victim(pid):
                return report
        for report in reversed(self._open):
            if line.caller and report.first.caller and report.first.caller != line.caller:
                continue
            if report.oom_group is not None or (report.killed and _repeated(report, line, pid)):
                return report
            if report.ended:
                continue
            expected = report.summary.pid if report.summary else None
            if expected is not None and expected != pid and text is not None:
                tgids = {row.tgid for row in report.tasks}
                if "allocating_task" not in text and pid not in tgids:
                    continue
            return report
        return self.new(line)


def _lacks(report: Builder, part: str) -> bool:
    """Whether a report can still take a part, by the order in which the kernel prints them."""
    if report.ended or report.foreign:
        return False
    later = bool(report.selected or report.summary)
    if part == "memory":
        return report.memory.empty and not report.has_table and not later
    if part == "table":
        return not report.has_table and not later
    if part == "summary":
        return not later
    if part == "selected":
        return report.selected is None
    return True


def _repeated(report: Builder, line: Line, pid: int) -> bool:
    """The kill line of an ended report stands there again (the same stamp, the same pid)."""
    return (
        any(victim.pid == pid for victim in report.killed)
        and line.uptime_s is not None
        and line.uptime_s <= (report.last.uptime_s or 0.0)
    )


def _is_over(report: Builder, line: Line) -> bool:
    if line.number - report.last.number > MAX_UNRELATED_LINES:
        return True
    if line.uptime_s is None or report.last.uptime_s is None:
        return False
    return abs(line.uptime_s - report.last.uptime_s) > MAX_SILENCE_S
