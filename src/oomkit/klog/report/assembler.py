"""Turn lines without prefixes into reports: which line belongs to which report."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.clean import MAX_MARK, is_left_out
from oomkit.klog.lines.line import Line
from oomkit.klog.records import Damage, KernelName, Report
from oomkit.klog.report.again import Again
from oomkit.klog.report.builder import Builder
from oomkit.klog.report.endings import Endings
from oomkit.klog.report.header import (
    parse_caller,
    parse_cpuset,
    parse_frame,
    parse_header,
    parse_version,
)
from oomkit.klog.report.meminfo import START
from oomkit.klog.report.scope import OOM_FRAMES
from oomkit.klog.report.stall import parse_stall
from oomkit.klog.report.tasks import ROW, TABLE_HEADER, parse_table_header

if TYPE_CHECKING:
    from oomkit.klog.report.line_records import Caller

_ANCHOR = re.compile(
    # First what any of them begins with: most places are passed over by that.
    r"(?=[oi\[KkOWwaPpLdmMb])(?:"
    r"(?P<header>oom-killer: ?gfp|invoked\s+oom-killer:?$)|(?P<table>\[\s*pid\s*\]\s+uid\s+tgid)"
    r"|(?P<summary>oom-kill: ?(?i:constraint)=)|(?P<killed>[Kk]illed process \d)"
    r"|(?P<sharer>Kill process \d+ .* sharing same memory)|(?P<selected>[Kk]ill process \d)"
    r"|(?P<exiting>OOM victim \d+ )|(?P<would>[Ww]ould have killed process \d)"
    r"|(?P<reaper>oom_reaper: )"
    r"|(?P<group>are going to be killed\s+due)|(?P<no_killable>[Oo]ut of memory and no killable)"
    r"|(?P<panic>Kernel panic - not syncing: )|(?P<foreign>page allocation (?:failure|stalls?))"
    r"|(?P<version>Linux version \d)"
    r"|(?P<limited>(?:oom_kill_process|dump_header): \d+ callbacks suppressed)"
    r"|(?P<lost>printk messages dropped|messages suppressed|Missed \d+ kernel messages"
    r"|kernel messages? lost|begin to drop messages))"
)

_MAX_TRACE_HEAD = 24
"""So far above ``oom_kill_process`` in a call trace the line of its caller stands."""
_OOM_STACK = ("dump_header", "oom_kill_process", "out_of_memory")
_SOURCE_LINES = (".c:", ".h:", ".S:", ".s:")
"""In the place of an offset where a trace was decoded."""


class Assembler(Endings):
    """Takes lines, gives reports; keeps a few reports open for lines that come late."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self._again = Again()
        self.named: list[KernelName] = []
        self._caller: Caller | None = None
        self._caller_line = Line(number=0, text="")
        self._takers: dict[str | None, Callable[[Line], Builder | None]] = {
            name: getattr(self, f"_take_{name}") for name in _ANCHOR.groupindex
        }

    @property
    def has_open(self) -> bool:
        """A report has begun and not ended."""
        return self._reports.has_open

    @property
    def oldest_open_line(self) -> float:
        """First line of the oldest report that may still get lines; infinite without one."""
        return self._reports.oldest_open_line

    def expire(self, line: Line) -> list[Report]:
        """Give the reports that are over when a line comes."""
        return self._reports.expire(line)

    def pass_over(self, last: int, count: int) -> list[Report]:
        """Pass ``count`` lines of others, the last is ``last``; give the reports that are over."""
        return self._reports.over_by(Line(number=last, text=""), count)

    def flush(self) -> Iterator[Report]:
        """End of the log, or of a stretch of it: yields what is open."""
        yield from self._reports.flush()

    def accept(self, line: Line, *, wrapped: bool = False) -> tuple[list[Report], bool]:
        """Take a line; the reports that it shows to be over, and whether it was of use."""
        over = self._reports.over_by(line)
        uptime_s = line.uptime_s
        if uptime_s is not None and uptime_s <= self._again.latest_s:
            report = self._reports.current(line)
            if report is not None and self._again.is_again(line, uptime_s, report):
                return over, True
        report = self._take(line)
        if report is None:
            return over, False
        report.touch(line)
        if wrapped:
            report.problem("line_wrapped", "a wrapped line was put together", line.number)
        if line.cut:
            report.problem("line_damaged", "the end of a line is cut", line.number)
        over.extend(self._reports.limit())
        if line.uptime_s is not None:
            self._again.remember(line.uptime_s, line.text)
        return over, True

    @property
    def in_table(self) -> bool:
        """A task table has begun; the next line is likely one of its rows."""
        return self._reports.in_table is not None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of the open table."""
        return None if self._reports.in_table is None else self._reports.in_table.columns

    def take_rows(self, rows: list[re.Match[str]], number: int, caller: str | None) -> int:
        """Take what are whole rows of the open table, the first in line ``number``.

        Returns how many were taken.
        """
        report = self._reports.in_table
        if report is None or (caller and report.first.caller not in {None, caller}):
            return 0
        taken = report.take_whole_rows(rows, number)
        if taken:
            report.touch(_last_of(rows[:taken], number))
        return taken

    def take_frames(self, frames: list[re.Match[str]], number: int, caller: str | None) -> int:
        """Take lines of a call trace; returns how many were of a report."""
        last = _last_of(frames, number)
        last.caller = caller
        report = self._reports.current(last)
        if report is None or report.ended:
            return 0
        report.add_frames([frame["name"] for frame in frames if not frame["guess"]])
        report.add_guesses([frame["name"] for frame in frames if frame["guess"]])
        report.touch(last)
        return len(frames)

    @property
    def in_memory(self) -> bool:
        """A memory part has begun; the next line is likely one of it."""
        report = self._reports.youngest
        return (
            report is not None
            and not report.ended
            and report.memory.begun
            and not (report.has_table or report.memcg.in_stats)
        )

    def take_memory(self, lines: list[re.Match[str]], number: int, caller: str | None) -> int:
        """Take lines of the memory part; returns how many were, up to the first that is not."""
        last = _last_of(lines, number)
        last.caller = caller
        report = self._reports.current(last)
        if report is None or report is not self._reports.youngest:
            return 0
        for taken, match in enumerate(lines):
            if not report.memory.parse_line(match["memory"]):
                lines = lines[:taken]
                break
        if lines:
            report.touch(_last_of(lines, number))
        return len(lines)

    # -- one line --------------------------------------------------------------------------

    def _take(self, line: Line) -> Builder | None:
        text = line.text
        if text.endswith("Manual OOM execution"):
            self._reports.asked_at = line.number
        if line.tag is not None:
            return None
        if text.startswith("[") and ROW.match(text):
            return self._take_row(line)
        if self._begun is not None and (rest := self._take_rest_of_summary(line)) is not None:
            return rest
        if _may_be_anchor(text):
            taken = self._take_anchored(line)
            if taken is not None:
                return taken
        return self._take_part(line)

    def _take_anchored(self, line: Line) -> Builder | None:
        """Lines that open or end a part; a task's name may look like any of them."""
        for anchor in _ANCHOR.finditer(line.text):
            taken = self._takers[anchor.lastgroup](line)
            if taken is not None:
                return taken
        return self._take_left_out(line) if is_left_out(line.text) else None

    def _take_header(self, line: Line) -> Builder | None:
        header = parse_header(line.text)
        if header is None or (header.gfp_mask is None and line.uptime_s is None):
            return None
        current = self._reports.current(line)
        if current is not None and current.header is not None and not current.ended:
            text = "another report begins before this one ends"
            current.problem("interleaved", text, line.number)
        report = self._reports.new(line)
        report.header = header
        return report

    def _take_table(self, line: Line) -> Builder | None:
        columns = parse_table_header(line.text)
        if columns is None:
            return self._take_cut_table(line)
        report = self._reports.lacking(line, wants="table")
        report.columns = columns
        report.table_at = line.number
        match = TABLE_HEADER.search(line.text)
        report.wide_pid = match is not None and "[  pid" in match.group()
        self._reports.in_table = report
        return report

    def _take_cut_table(self, line: Line) -> Builder:
        """The head of a table, cut in its columns: rows can't follow, but only a report has it."""
        report = self._reports.lacking(line, wants="table")
        report.table_due = True
        return report

    def _take_row(self, line: Line) -> Builder | None:
        report = self._reports.in_table
        if report is None or (
            line.caller and report.first.caller and line.caller != report.first.caller
        ):
            report = self._reports.current(line)
            if report is None or report.ended or report.table_done:
                report = self._reports.interrupted_table(line) or self._reports.new(line)
        report.add_row(line)
        return report

    def _take_foreign(self, line: Line) -> Builder | None:
        """A report of another kind begins; its memory part is not an OOM report's."""
        report = self._reports.new(line)
        report.foreign = True
        stall = parse_stall(line)
        if stall is not None:
            self._reports.stalls.append(stall)
        return None

    def _take_version(self, line: Line) -> Builder | None:
        self.name_kernel(parse_version(line.text), line)
        return None

    def name_kernel(self, release: str | None, line: Line) -> None:
        """Take a release that the log names outside of reports."""
        if release is not None:
            self._reports.kernel = release
            self.named.append(KernelName(line=line.number, release=release, host=line.host))

    def _take_lost(self, line: Line) -> Builder | None:
        report = self._reports.current(line)
        if report is None or report.ended:
            return None
        inside = report.has_table and not report.table_done
        kind: Damage = "table_truncated" if inside else "lines_lost"
        report.problem(kind, "the log lost lines here", line.number)
        return report

    def _take_limited(self, line: Line) -> Builder | None:
        """The kernel limits heads and tables in five seconds; kill lines it prints all."""
        report = self._reports.current(line)
        if report is not None:
            text = "heads and tables before this line were left out by the kernel's rate limit"
            report.problem("limited", text, line.number)
        return report

    def _take_left_out(self, line: Line) -> Builder | None:
        report = self._reports.current(line)
        if report is None or report.ended or not report.strong:
            return None
        inside = report.has_table and bool(report.tasks or report.rows) and not report.table_done
        kind: Damage = "table_truncated" if inside else "lines_lost"
        report.problem(kind, "lines were left out here", line.number)
        return report

    def _take_part(self, line: Line) -> Builder | None:
        """Lines that only a report's head or memory part can claim."""
        text = line.text
        if "Mem-" in text and START.search(text):
            foreign = self._reports.current(line)
            if foreign is None or not foreign.foreign or not foreign.memory.empty:
                foreign = None
            report = foreign or self._reports.lacking(line, wants="memory")
            report.memory.parse_line(text)
            return report
        current = self._reports.current(line)
        if current is not None and current.ended:
            if current.panic and "omm: " in text:
                self._give_panic(current, text)
            current = self._reports.unfinished(line, wants="table") or current
        if current is None or current.ended:
            return self._take_weak(line, current)
        if current.memcg.in_stats and current.memcg.parse_line(text):
            return current
        if text.startswith("Tasks state (memory values in"):
            current.table_due = True
            return current
        if self._take_head(current, line):
            return current
        if text.startswith("memory: usage") and current.memcg.restarts(text):
            current = self._reports.new(line)
        if current.memory.parse_line(text) or current.memcg.parse_line(text):
            return current
        return None

    def _give_panic(self, report: Builder, text: str) -> None:
        """A panic names its task below itself: with two CPUs' reports, maybe the other's."""
        caller, own = parse_caller(text), report.caller
        if caller is None or own is None or own.pid == caller.pid:
            return
        other = self._reports.unfinished_of(caller.pid)
        if other is not None:
            other.panic, report.panic = report.panic, None

    def _take_weak(self, line: Line, ended: Builder | None) -> Builder | None:
        """A memory part without a head: a report only if more of one follows."""
        report = Builder(line)
        if report.memcg.parse_line(line.text) or report.memory.parse_line(line.text):
            self._reports.add(report)
            return report
        caller = parse_caller(line.text) if "omm: " in line.text else None
        if ended is not None and caller is not None and ended.panic and ended.caller is None:
            ended.caller, ended.kernel = caller, caller.release
            return ended
        if caller is not None:
            self._caller, self._caller_line = caller, line
        elif any(name in line.text for name in _OOM_STACK):
            frame = parse_frame(line.text)
            if frame is not None and frame[0] in OOM_FRAMES:
                return self._begin_in_trace(line)
        return None

    def _begin_in_trace(self, line: Line) -> Builder:
        """A report whose head is lost: the trace, and the caller's line if that is there."""
        caller, first = self._caller, self._caller_line
        if caller is None or not 0 <= line.number - first.number <= _MAX_TRACE_HEAD:
            caller, first = None, line
        self._caller = None
        report = self._reports.new(first)
        if caller is not None:
            report.caller, report.kernel = caller, caller.release
        self._take_head(report, line)
        return report

    def _take_head(self, report: Builder, line: Line) -> bool:
        text = line.text
        if "omm: " in text:
            caller = parse_caller(text)
            if caller is not None:
                if report.caller is None:
                    report.caller, report.kernel = caller, caller.release
                if report.foreign:
                    self.name_kernel(caller.release, line)
                return True
        if "cpuset=" in text:
            found = parse_cpuset(text)
            if found is not None and report.header is not None:
                _, report.cpuset, report.mems_allowed = found
                return True
        is_frame = "+0x" in text or ("." in text and any(mark in text for mark in _SOURCE_LINES))
        frame = parse_frame(text) if is_frame else None
        if frame is not None:
            name, guessed = frame
            if guessed:
                report.add_guesses([name])
            else:
                report.add_frames([name])
            return True
        return text in {"Call Trace:", "Call trace:"}


def _last_of(matches: list[re.Match[str]], number: int) -> Line:
    """The last of several lines, the first of which is line ``number``."""
    last = matches[-1]
    up = last["up"] if "up" in last.re.groupindex else None
    return Line(number=number + len(matches) - 1, text="", uptime_s=float(up) if up else None)


def _may_be_anchor(text: str) -> bool:
    """A quick check that spares most lines the search for anchors."""
    return (
        "ill" in text
        or "tgid" in text
        or "oom" in text
        or "panic" in text
        or "allocation" in text
        or "version" in text
        or "messages" in text
        or "callbacks" in text
        or (len(text) <= MAX_MARK and is_left_out(text))
    )
