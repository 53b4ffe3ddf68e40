"""The reports of a log that have begun and may still get lines."""

import math
from collections import deque
from collections.abc import Iterator

from oomkit.klog.lines.line import Line
from oomkit.klog.records import Report
from oomkit.klog.report.builder import Builder
from oomkit.klog.report.finish import note_missing
from oomkit.klog.report.scope import has_middle_of_stack
from oomkit.klog.report.stall import Stalls
from oomkit.klog.report.tasks import ROW
from oomkit.records import replace

MAX_UNRELATED_LINES = 2000
"""Lines of other matters after which a report is over."""
MAX_SILENCE_S = 300.0
"""Seconds of the kernel's own clock after which a report is over."""
_MAX_OPEN = 8
_GROUP_S = 1.0
"""Maximum seconds between two kill lines of a group."""
_RATE_LIMIT = 10
_RATE_LIMIT_S = 5.0
"""Maximum number of heads that the kernel prints in these seconds; kill lines it prints all."""
_FORMS_WITH_GROUPS = frozenset({"4.5", "5.1", "5.4", "5.1 or later"})
"""memory.oom.group came with 4.19."""
_ASKED_LINES = 4
"""So far below SysRq-f's own line a report begins that it asked for."""
_MIXED_LINES = 200
"""So far apart two lines of a report stand between which another one is printed."""
_VICTIMS = 256
"""Maximum number of victims of closed reports that are remembered."""
_CGROUPS = 256
"""Maximum number of cgroups of closed reports that are remembered."""


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
        self.asked_at = -_ASKED_LINES
        self.in_table: Builder | None = None
        self._heads: deque[Line] = deque(maxlen=_RATE_LIMIT)
        self._victims: deque[int] = deque(maxlen=_VICTIMS)
        self._cgroups: set[str] = set()
        self._last_number = 0
        self._last_stamp = 0.0
        self._since = 0
        self._count = 0

    @property
    def has_open(self) -> bool:
        """A report has begun and not ended."""
        return any(not report.ended and report.strong for report in self._open)

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
        self._victims.extend(victim.pid for victim in report.killed)
        if (report.strong and not self._is_a_part(report)) or self._is_all_there_is(report):
            self._count += 1
            built = report.build(self._file, note_missing)
            stalls = self.stalls.before(built)
            yield replace(built, stalls=stalls) if stalls else built

    def _is_all_there_is(self, report: Builder) -> bool:
        """It has the middle of a call trace, and the log holds no other report."""
        others = any(other.strong for other in self._open)
        return not self._count and not others and has_middle_of_stack(report)

    def _is_a_part(self, report: Builder) -> bool:
        """It has a cgroup's statistics alone, and another report names that cgroup."""
        others = [other.memcg.paths for other in self._open if other is not report]
        known = self._cgroups.union(*others)
        if len(self._cgroups) < _CGROUPS:
            self._cgroups |= report.memcg.paths
        return not report.stronger and not known.isdisjoint(report.memcg.counted_paths)

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

    def of_victim(self, line: Line, pid: int) -> Builder | None:
        """The report that names a victim, else the youngest if it has just ended."""
        found = next((report for report in reversed(self._open) if report.has_victim(pid)), None)
        if found is None and self._open and self._open[-1].ended:
            last = self._open[-1].last
            apart = _apart_s(last, line)
            if apart is None:
                apart = 0.0 if last.uptime_s is None and line.uptime_s is None else math.inf
            if apart <= MAX_SILENCE_S:
                return self._open[-1]
        return found

    def chose(self, pid: int) -> bool:
        """An open report names a process of that id as its choice."""
        return any(told and told.pid == pid for r in self._open for told in (r.summary, r.selected))

    def was_killed(self, pid: int) -> bool:
        """A process of that id is among the last victims of reports that are closed."""
        return pid in self._victims

    def killed_just_now(self, line: Line, pid: int | None, part: str) -> Builder | None:
        """The report whose kill line came before the line of its choice: loggers may mix lines."""
        for report in reversed(self._open):
            if report.only_kills and report.killed[0].pid == pid and getattr(report, part) is None:
                apart = _apart_s(report.last, line)
                return report if apart is not None and apart <= _GROUP_S else None
        return None

    def panicked(self, panic: str) -> Builder | None:
        """The open report that holds the beginning of a panic."""
        return next((r for r in reversed(self._open) if r.panic in {panic, f"{panic}."}), None)

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
        report.asked = 0 < line.number - self.asked_at <= _ASKED_LINES
        self._open.append(report)
        self._heads.append(line)
        self.in_table = None
        return report

    def current(self, line: Line) -> Builder | None:
        """The youngest open report that the line can belong to."""
        for report in reversed(self._open):
            if line.caller and report.first.caller and report.first.caller != line.caller:
                continue
            return report
        return None

    def unfinished_of(self, pid: int) -> Builder | None:
        """The open report of a task's request that has no end."""
        found = (r for r in reversed(self._open) if r.caller is not None and r.caller.pid == pid)
        return next((report for report in found if not report.ended), None)

    def unfinished(self, line: Line, *, wants: str) -> Builder | None:
        """A report that waits for a part or its end while one that began later has ended.

        Two CPUs print at once; what follows the end of the one belongs to the other.
        """
        for report in reversed(self._open):
            if line.caller and report.first.caller and report.first.caller != line.caller:
                continue
            if report.header is not None and _lacks(report, wants):
                return report if _is_near(report, line) else None
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
            if int(match["pid"]) <= report.tasks[-1].pid and not _is_beside(report, line):
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
        group = self._group(line, text, pid)
        if group is not None:
            return group
        for report in reversed(self._open):
            if line.caller and report.first.caller and report.first.caller != line.caller:
                continue
            if report.oom_group is not None or (report.killed and _repeated(report, line, pid)):
                return report
            if report.ended or report.foreign:
                continue
            expected = report.summary.pid if report.summary else None
            if expected is not None and expected != pid and text is not None:
                tgids = {row.tgid for row in report.tasks}
                if "allocating_task" not in text and pid not in tgids:
                    continue
            return report
        return self.new(line)

    def _group(self, line: Line, text: str | None, pid: int) -> Builder | None:
        """The report with whose victim a process dies (memory.oom.group), without a line on that.

        The kernel prints its choice before each kill, a group's members excepted: a kill line
        without one of its own, at the same moment, is a member's. It also kills the chosen one a
        second time, with the group.
        """
        if self._is_rate_limited(line) or any(self._is_expected(r, pid) for r in self._open):
            return None
        for i, report in reversed(list(enumerate(self._open))):
            if report.oom_group is not None or not report.killed:
                continue
            if report.kill_form not in _FORMS_WITH_GROUPS:
                continue
            known = report.kill_text if report.selected is None else None
            if (text or "").lower() != (known or "").lower() or not _same_moment(report.last, line):
                continue
            if report.has_victim(pid):
                if _is_repetition(report, line, pid):
                    return report
                self._absorb(report, i)
            elif report.summary is None and report.selected is None:
                continue
            report.grouped = True
            return report
        return None

    def _absorb(self, report: Builder, at: int) -> None:
        """Take the members of a group that were taken for reports of their own."""
        for other in [r for r in self._open[at + 1 :] if r.only_kills]:
            self._open.remove(other)
            report.problems = [p for p in report.problems if p.kind != "lines_repeated"]
            for victim in other.killed:
                report.add_killed(replace(victim, killed_as="oom_group"))

    @staticmethod
    def _is_expected(report: Builder, pid: int) -> bool:
        """A report has named its choice, and waits for its kill line: this may be it."""
        if report.ended:
            return False
        told = report.summary
        return report.selected is not None or (told is not None and told.pid in {None, pid})

    def _is_rate_limited(self, line: Line) -> bool:
        heads = self._heads
        if len(heads) < _RATE_LIMIT:
            return False
        then, now = heads[0].uptime_s, line.uptime_s
        return then is None or now is None or 0 <= now - then <= _RATE_LIMIT_S


def _same_moment(before: Line, line: Line) -> bool:
    """Two lines were written at one moment, as far as their stamps show; false without stamps."""
    if before.uptime_s is not None and line.uptime_s is not None:
        return 0 <= line.uptime_s - before.uptime_s <= _GROUP_S
    if before.time is None or line.time is None:
        return False
    return before.time[:_TO_SECONDS] == line.time[:_TO_SECONDS]


def _apart_s(a: Line, b: Line) -> float | None:
    if a.uptime_s is not None and b.uptime_s is not None:
        return abs(a.uptime_s - b.uptime_s)
    same = (
        a.time is not None and b.time is not None and a.time[:_TO_SECONDS] == b.time[:_TO_SECONDS]
    )
    return 0.0 if same else None


_TO_SECONDS = len("2026-11-24T03:00:00")


def _is_repetition(report: Builder, line: Line, pid: int) -> bool:
    """The very line of a victim stands in the log again."""
    then = next((v for v in report.killed if v.pid == pid), None)
    if then is None or then.time != line.time:
        return False
    return line.uptime_s is None or report.stamp_of(pid) == line.uptime_s


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


def _is_near(report: Builder, line: Line) -> bool:
    """A report had a line just before, by the log and by the kernel's clock."""
    if not 0 < line.number - report.last.number <= _MIXED_LINES:
        return False
    then, now = report.last.uptime_s, line.uptime_s
    return then is None or now is None or abs(now - then) <= _GROUP_S


def _is_beside(report: Builder, line: Line) -> bool:
    """A report had one of the last lines but a few."""
    return line.number - report.last.number <= _ASKED_LINES and _is_near(report, line)


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
