"""The lines that end a report: the process chosen, killed, reaped, or why it panicked."""

from typing import NamedTuple

from oomkit.klog.lines.line import Line
from oomkit.klog.records import Killed
from oomkit.klog.report import kill
from oomkit.klog.report.builder import Builder
from oomkit.klog.report.open_reports import OpenReports

_QUOTING = ("OOMKilling", "kernel-monitor")
"""Events of Kubernetes repeat the kernel's line; they are not it."""


class _BegunSummary(NamedTuple):
    """The beginning of a summary line, and the report that it is of."""

    text: str
    number: int
    report: Builder


_RULED_LINES = 100
"""So far below its beginning the rest of such a line stands."""


def _is_told(line: Line) -> bool:
    """Whether a line is another's on what the kernel printed: an event, or a person's sentence."""
    if any(word in line.text for word in _QUOTING):
        return True
    return not line.stamped and kill.is_prose(line.text)


class Endings:
    """Takes the lines that end a report, each by the kind that :mod:`assemble` has seen in it."""

    def __init__(self, file: str) -> None:
        self._reports = OpenReports(file)
        self._begun: _BegunSummary | None = None

    def _current(self, line: Line) -> Builder | None:
        """The youngest open report that the line can end: not one of another kind."""
        report = self._reports.current(line)
        return None if report is None or report.foreign else report

    def _take_summary(self, line: Line) -> Builder | None:
        text = kill.before_rule(line.text)
        summary = kill.parse_summary(text, line.number)
        if summary is None:
            return None
        report = self._reports.killed_just_now(line, summary.pid, "summary")
        report = report or self._reports.lacking(line, wants="summary")
        report.end_table()
        report.summary = summary
        self._reports.in_table = None
        if text != line.text:
            report.problem("line_damaged", "another report begins within a line", line.number)
        self._begun = None
        if summary.pid is None and not line.cut:
            self._begun = _BegunSummary(text, line.number, report)
        return report

    def _take_rest_of_summary(self, line: Line) -> Builder | None:
        """The rest of a summary within which another CPU began its report."""
        begun = self._begun
        if begun is None or not 0 < line.number - begun.number <= _RULED_LINES:
            self._begun = None
            return None
        if not kill.ends_summary(line.text):
            return None
        whole = kill.parse_summary(begun.text + line.text, begun.number)
        if whole is None or whole.pid is None:
            return None
        self._begun = None
        begun.report.summary = whole
        return begun.report

    def _take_selected(self, line: Line) -> Builder | None:
        if _is_told(line):
            return None
        parsed = kill.parse_selected(line.text, line.number)
        if parsed is None:
            return None
        report = self._reports.killed_just_now(line, parsed[1].pid, "selected")
        report = report or self._reports.lacking(line, wants="selected")
        report.end_table()
        report.kill_text, report.selected = parsed
        self._reports.in_table = None
        return report

    def _take_killed(self, line: Line) -> Builder | None:
        if _is_told(line):
            return None
        parsed = kill.parse_killed(line.text, line.number, cut=line.cut)
        if parsed is None:
            return None
        killed = parsed.killed
        if not killed.comm and not line.stamped and not self._reports.chose(killed.pid):
            return None
        report = self._reports.for_kill(line, parsed.text, killed.pid)
        report.end_table()
        if report.kill_text is None:
            report.kill_text = parsed.text
        report.kill_form = report.kill_form or parsed.form
        report.would_have = report.would_have or parsed.would_have
        if not killed.comm:
            report.problem("line_damaged", "the line that names the victim is cut", line.number)
        if not parsed.would_have:
            report.add_killed(kill.with_context(killed, report, line), line.uptime_s)
        self._reports.in_table = None
        return report

    def _take_would(self, line: Line) -> Builder | None:
        return self._take_killed(line)

    def _take_exiting(self, line: Line) -> Builder | None:
        parsed = kill.parse_exiting(line.text, line.number)
        if parsed is None:
            return None
        report = self._reports.lacking(line, wants="end")
        report.kill_text = parsed[0]
        report.summary = report.summary or parsed[1]
        report.exiting = True
        self._reports.in_table = None
        return report

    def _take_sharer(self, line: Line) -> Builder | None:
        killed = kill.parse_sharer(line.text, line.number)
        report = self._current(line)
        if killed is None or report is None:
            return None
        report.add_killed(killed)
        return report

    def _take_reaper(self, line: Line) -> Builder | None:
        """oom_reaper reaps victims only, so its line names one where the kill line is lost."""
        reaped = kill.parse_reaped(line.text, line.number)
        if reaped is None:
            return None
        report = self._reports.of_victim(line, reaped.pid)
        if report is None:
            if self._reports.was_killed(reaped.pid):
                return None
            report = self._current(line)
            if report is None or report.ended:
                report = self._reports.new(line)
            report.add_killed(
                Killed(
                    pid=reaped.pid,
                    comm=reaped.comm,
                    told_by="reaper",
                    killed_as=kill.killed_as(reaped.pid, report),
                    time=line.time,
                    line=line.number,
                )
            )
            self._reports.in_table = None
        report.add_reaped(reaped)
        return report

    def _take_group(self, line: Line) -> Builder | None:
        path = kill.parse_group(line.text)
        report = self._current(line)
        if path is None:
            return None
        if report is None or (report.oom_group not in {None, path}):
            report = self._reports.new(line)
        elif report.oom_group == path:
            report.problem("lines_repeated", "lines stand in the log twice", line.number)
        report.oom_group = path
        return report

    def _take_no_killable(self, line: Line) -> Builder | None:
        if _is_told(line):
            return None
        report = self._reports.lacking(line, wants="end")
        report.no_killable = True
        self._reports.in_table = None
        return report

    def _take_panic(self, line: Line) -> Builder | None:
        parsed = kill.parse_panic(line.text)
        if parsed is None or _is_told(line):
            return None
        panic, is_end = parsed
        report = self._current(line)
        if is_end:
            begun = self._reports.panicked(panic)
            if begun is not None:
                return begun
        if report is None or report.killed or report.panic:
            report = self._reports.unfinished(line, wants="end") or self._reports.new(line)
        report.panic = panic
        self._reports.in_table = None
        return report
