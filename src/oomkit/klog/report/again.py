"""Lines that stand in a log twice: copied screens that overlap, or a report that is copied."""

from oomkit.klog.lines.line import Line
from oomkit.klog.report.builder import Builder
from oomkit.klog.report.header import parse_frame
from oomkit.klog.report.meminfo import MemoryPart
from oomkit.klog.report.tasks import ROW

_REMEMBERED = 4096
"""Lines that are remembered, to know those that stand in the log again."""


class Again:
    """Remembers the lines of reports; knows those of them that stand there again.

    Attributes:
        latest_s: the last line's stamp.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[float, str], None] = {}
        self.latest_s = 0.0
        self._repeating = False

    def remember(self, uptime_s: float, text: str) -> None:
        """Take a line of a report."""
        self.latest_s = uptime_s
        self._repeating = False
        self._seen[uptime_s, text] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def is_again(self, line: Line, uptime_s: float, report: Builder) -> bool:
        """Whether a line stood in a report before.

        A stamp and a text alone may come twice; together with a clock that went back they don't.
        Rows, frames and lines of the memory part that were taken the short way are not remembered:
        in a copy of a report that has ended they stand below a line that was, or its first line
        shows what the report holds.

        Args:
            line: the line.
            uptime_s: its stamp, of no later time than the last line's.
            report: the open report that it would be of.
        """
        known = (uptime_s, line.text) in self._seen
        if not known and not self._repeating:
            known = (
                report.ended
                and uptime_s < self.latest_s
                and report.holds(uptime_s)
                and _is_part(line.text, report)
            )
            if not known:
                return False
        if not report.holds(uptime_s) if report.ended else not known:
            return False
        if uptime_s == self.latest_s and not self._repeating:
            return False
        self._repeating = uptime_s < self.latest_s or self._repeating
        report.problem("lines_repeated", "lines stand in the log twice", line.number)
        return True


def _is_part(text: str, report: Builder) -> bool:
    """Whether an ended report has a row, a frame or a memory part as a line has."""
    row = ROW.match(text) if text.startswith("[") else None
    if row is not None:
        name = text.rstrip()
        return any(str(t.pid) == row["pid"] and name.endswith(t.comm) for t in report.tasks)
    frame = parse_frame(text) if "+0x" in text else None
    if frame is not None:
        return frame[0] in report.trace or frame[0] in report.guesses
    return report.memory.begun and MemoryPart().parse_line(text)
