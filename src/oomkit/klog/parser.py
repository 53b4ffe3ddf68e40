"""From the bytes of a log to its reports; rows of a CSV export are lines too."""

from collections.abc import Iterator
from typing import Any

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.clean import QuotedPrintable, clean_bytes, split_joined
from oomkit.klog.lines.code import is_code
from oomkit.klog.lines.join import Joiner, begins_line, breakable_width
from oomkit.klog.lines.line import Line
from oomkit.klog.lines.prefix import OTHERS_LINE, PrefixStripper, WholeLines, strip_prefix
from oomkit.klog.lines.prose import explains, is_guide
from oomkit.klog.lines.wrappers import (
    ExportReader,
    PrettyReader,
    is_list_of_strings,
    lines_of_json,
)
from oomkit.klog.records import KernelName, Report
from oomkit.klog.report.assembler import Assembler
from oomkit.klog.report.header import (
    FRAME_EXPRESSION,
    asks_release,
    parse_bare_release,
    parse_uname,
)
from oomkit.klog.report.meminfo import MEMORY_EXPRESSION
from oomkit.klog.report.tasks import row_expression
from oomkit.klog.userspace.context import Witness
from oomkit.klog.userspace.objects import in_one_line
from oomkit.klog.userspace.reader import is_fields_value, is_talk, may_tell, names_nobody
from oomkit.records import replace

_CSV_FIELD = r"(?:\"(?:[^\"]|\"\")*\"|[^\",{}]{0,200})"
_CSV_ROW = re.compile(rf"{_CSV_FIELD}(?:,{_CSV_FIELD}){{1,40}}$")
_DATE_CELL = re.compile(r"(?!\W*\[)[\d\W]*(?:[A-Z][a-z]{2,8})?[\d\WT]+(?:Z|[AP]M|[A-Z]{3,4})?$")
_MIN_WORDS = 3
"""A message has more words than a date, a name or a number."""


def line_of_row(raw: str, number: int) -> Line | None:
    """Return the message of a row, with a date that stands beside it; None for other lines.

    The message is the quoted field with the most words.
    """
    if ',"' not in raw and not (raw.startswith('"') and '",' in raw):
        return None
    if _CSV_ROW.match(raw) is None:
        return None
    import csv  # only where there are such rows

    fields = next(csv.reader([raw]))
    text = max(fields, key=lambda field: 0 if _DATE_CELL.match(field) else len(field.split()))
    if len(text.split()) < _MIN_WORDS or not (raw.startswith('"') or f',"{text[:1]}' in raw):
        return None
    line = strip_prefix(text, number)
    line.stamped = True
    for field in fields:
        if field is not text and line.time is None:
            line.time = strip_prefix(field, number).time
    return line


_EVENTS_MESSAGE = re.compile(
    r"^(\s*-?\s*)[Mm]essage: +['\"]?(?=(?:Memory cgroup o|O)ut of memory: )"
)
"""Kubernetes' events, printed as YAML, hold what the kernel printed."""
MAX_LINE_CHARS = 4096
"""Longer lines are cut: no kernel prints them."""
_MAX_UNAME = 200
_IDLE_LINES = 40
_IDLE_LINES_AFTER_END = 8


class Parser:
    """Takes stretches of a log, gives the records found in them.

    Attributes:
        abouts: what lines are about that stand in printed objects, by their numbers.
        no_log: numbers of lines that are a program's texts, or examples of what to look for.
        beginning: the whole text, where it is short.
    """

    def __init__(self, file: str, *, evidence: bool = False) -> None:
        self._file = file
        self._evidence = evidence
        self._assembler = Assembler(file)
        self._joiner = Joiner()
        self._export = ExportReader()
        self._pretty = PrettyReader()
        self._quoted = QuotedPrintable()
        self._prefix = PrefixStripper()
        self._witness = Witness(file)
        self._asked_release = False
        self._unrelated = 0
        self._found: list[Report | Evidence] = []
        self._tells = False
        self._waiting = 0
        self._floor = 0.0
        self.abouts: dict[int, dict[str, Any]] = {}
        self.no_log: frozenset[int] = frozenset()
        self.beginning = b""
        self._is_explanation: bool | None = None
        self._is_guide: bool | None = None
        self._talk: Evidence | None = None
        self._is_shown = False

    def push(self, data: bytes, first_line: int) -> None:
        """Take whole lines; the first has the number ``first_line``."""
        text = clean_bytes(data.removesuffix(b"\n"))
        lines = text.split("\n")
        self._tells = self._evidence and may_tell(text)
        i = 0
        while i < len(lines):
            taken = self._pass_over(lines, i, first_line + i) if self._unrelated else 0
            taken = taken or self.take_alike(lines, i, first_line + i)
            if taken:
                i += taken
                continue
            raw = lines[i]
            if raw or self._export.active:
                if "=" in raw or self._quoted.active:
                    raw = self._quoted.decode(raw)
                self._take_raw(raw, first_line + i)
            else:
                self._joiner.blank()
            i += 1

    def _pass_over(self, lines: list[str], first: int, number: int) -> int:
        """Pass over lines of other programs that report nothing; returns how many.

        They are of no report, and none goes on in the next, which has a stamp of its own.
        """
        if self._export.active or self._pretty.active or self._quoted.active:
            return 0
        end = first
        while end < len(lines) and OTHERS_LINE.match(lines[end]):
            if self._tells and may_tell(lines[end]):
                break
            end += 1
        count = end - first - 1  # the last may go on in the next
        if count <= 0:
            return 0
        for line, wrapped in self._joiner.flush():
            self._take(line, wrapped=wrapped)
        self._joiner.widen(max(breakable_width(raw, len(raw)) for raw in lines[first : end - 1]))
        self._found.extend(self._assembler.pass_over(number + count - 1, count))
        self._unrelated += count
        return count

    def take_alike(self, lines: list[str], first: int, number: int) -> int:
        """Take rows, frames and lines of the memory part in the short way; returns how many."""
        in_table, columns = self._assembler.in_table, self._assembler.columns
        in_memory = False
        if columns:
            expression = row_expression(columns)
        elif not in_table and "+0x" in lines[first]:
            expression = FRAME_EXPRESSION
        elif not in_table and self._assembler.in_memory:
            expression, in_memory = MEMORY_EXPRESSION, True
        else:
            return 0
        whole = self._prefix.whole_lines(expression)
        found = self._alike(lines, first, whole) if whole is not None else []
        if not found:
            return 0
        if in_memory:
            self._joiner.widen(max(len(match.string) for match in found))
        for line, wrapped in self._joiner.flush():
            self._take(line, wrapped=wrapped)
        if (in_table, columns) != (self._assembler.in_table, self._assembler.columns):
            return 0  # the line before was the head or the end of a table
        caller = self._prefix.last_caller
        if in_table:
            taken = self._assembler.take_rows(found, number, caller)
        elif in_memory:
            taken = self._assembler.take_memory(found, number, caller)
        else:
            taken = self._assembler.take_frames(found, number, caller)
        if taken:
            self._unrelated = 0
        return taken

    def _alike(self, lines: list[str], first: int, whole: WholeLines) -> list[re.Match[str]]:
        """Lines that match, without one that may go on in the next."""
        found = whole.beginning(lines, first)
        following = first + len(found)
        if found and (following == len(lines) or not self._is_new(lines[following], found[-1])):
            found.pop()
        return found

    def _is_new(self, raw: str, last: re.Match[str]) -> bool:
        """Whether a line goes on in none of those that stand behind the last one's prefix."""
        return self._prefix.is_like_last(raw) or (
            begins_line(raw) and not last.string.endswith((":", "-", "\\"))
        )

    def _take_raw(self, raw: str, number: int) -> None:
        for line in self._lines(raw, number):
            for whole, wrapped in self._joiner.push(line):
                self._take(whole, wrapped=wrapped)

    def _lines(self, raw: str, number: int) -> list[Line]:
        if is_code(raw) or number in self.no_log:
            return []
        if ("{" in raw and raw.rstrip("], ").endswith("}")) or is_list_of_strings(raw):
            lines = lines_of_json(raw, number)
            if lines is not None:
                return lines
            if "OOMKilled" in raw and (lines := in_one_line(raw, number)):
                return lines
        if "essage: " in raw and b"OOMKilling" in self.beginning:
            raw = _EVENTS_MESSAGE.sub(r"\1OOMKilling: ", raw)
        if '"' in raw:
            row = line_of_row(raw, number)
            if row is not None:
                return [row]
        exported = self._export.parse_line(raw, number)
        if exported is None:
            exported = self._pretty.parse_line(raw, number)
        if exported is not None:
            return exported
        parts = split_joined(raw)
        if len(parts) == 1:
            return [self._prefix.strip(parts[0][:MAX_LINE_CHARS], number)]
        lines = [self._prefix.strip(part[:MAX_LINE_CHARS], number) for part in parts]
        for line in lines:
            line.width = 0
        return lines

    def _take(self, line: Line, *, wrapped: bool) -> None:
        found, used = self._assembler.accept(line, wrapped=wrapped)
        self._found.extend(found)
        self._is_shown = self._is_shown or bool(found)
        self._unrelated = 0 if used else self._unrelated + 1
        if used:
            return
        if line.tag is None and (self._asked_release or len(line.text) < _MAX_UNAME):
            self._take_kernel(line)
        if self._evidence:
            self._take_evidence(line)

    def _take_evidence(self, line: Line) -> None:
        if line.number in self.abouts:
            line.about = {**(line.about or {}), **self.abouts[line.number], "is_object": True}
        self._take_found(self._witness.accept(line))

    def _take_found(self, found: Iterator[Evidence]) -> None:
        """Of a text that explains what such lines mean those that name nobody are of no event.

        What a person says of a status is of the event that a line of a log shows beside it; where
        none does, it is of one, however often it is said.
        """
        for evidence in found:
            if self.beginning and self._is_of_none(evidence):
                continue
            if self.beginning and is_talk(evidence):
                self._talk = self._talk or evidence
                continue
            self._is_shown = True
            self._found.append(evidence)

    def _is_of_none(self, evidence: Evidence) -> bool:
        """Whether what names nobody stands in a guide, an explanation or a program."""
        if not names_nobody(evidence, fields=True):
            return False
        if self._is_in_guide() or is_fields_value(evidence, clean_bytes(self.beginning)):
            return True
        return names_nobody(evidence) and self._explains()

    def _explains(self) -> bool:
        if self._is_explanation is None:
            self._is_explanation = explains(clean_bytes(self.beginning))
        return self._is_explanation

    def _is_in_guide(self) -> bool:
        if self._is_guide is None:
            self._is_guide = is_guide(clean_bytes(self.beginning))
        return self._is_guide

    def _take_kernel(self, line: Line) -> None:
        """A line outside of reports may name the kernel: ``uname``, a form about a bug."""
        text = line.text
        if self._asked_release:
            self._asked_release = False
            self._assembler.name_kernel(parse_bare_release(text), line)
        if "Linux " in text or "ernel" in text:
            self._assembler.name_kernel(parse_uname(text), line)
        elif "uname" in text:
            self._assembler.name_kernel(parse_uname(text), line)
            self._asked_release = asks_release(text)

    @property
    def kernels(self) -> list[KernelName]:
        """The lines outside of reports that name the kernel."""
        return self._assembler.named

    def glance(self, data: bytes, line: int) -> None:
        """Take one line by itself, number ``line``, that holds a needle but is of no report."""
        if not self._evidence:
            return
        for raw in clean_bytes(data).split("\n"):
            for part in self._lines(raw, line) if raw else ():
                self._found.extend(self._assembler.expire(part))
                self._take_evidence(part)

    def gap(self) -> None:
        """Lines were skipped between the last stretch and the next."""
        self._prefix.look_again()
        ended = self._export.flush() if self._export.active else []
        for line in ended + self._pretty.flush():
            for whole, wrapped in self._joiner.push(line):
                self._take(whole, wrapped=wrapped)
        for whole, wrapped in self._joiner.flush():
            self._take(whole, wrapped=wrapped)

    def idle(self) -> bool:
        """Nothing of what it took lately was of use."""
        lines = _IDLE_LINES if self._assembler.has_open else _IDLE_LINES_AFTER_END
        return self._unrelated >= lines

    def has_open(self) -> bool:
        """A report has begun and not ended."""
        return self._assembler.has_open

    def drain(self) -> list[Report | Evidence]:
        """Give what was found so far, in the order in which it began in the log."""
        if not self._found:
            return []
        floor = self._assembler.oldest_open_line
        if floor == self._floor and all(
            record.source.line >= floor for record in self._found[self._waiting :]
        ):
            self._waiting = len(self._found)
            return []
        self._found.sort(key=lambda record: record.source.line)
        ready = sum(record.source.line < floor for record in self._found)
        found, self._found = self._found[:ready], self._found[ready:]
        self._floor, self._waiting = floor, len(self._found)
        return [self._without_prefix(record) for record in found]

    def _without_prefix(self, record: Report | Evidence) -> Report | Evidence:
        """The first line of a report may stand before those that taught its prefix."""
        if not isinstance(record, Report) or record.invoker is None:
            return record
        invoker = self._prefix.without_learned(record.invoker)
        return replace(record, invoker=invoker)

    def finish(self) -> list[Report | Evidence]:
        """End of the log: give what is left."""
        self.gap()
        self._take_found(self._witness.flush())
        reports = list(self._assembler.flush())
        self._found.extend(reports)
        if self._talk is not None and not (self._is_shown or reports):
            self._found.append(self._talk)
        return self.drain()
