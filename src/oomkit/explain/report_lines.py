"""A report's own lines, each field marked: for who wants to know what a number means."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from oomkit.explain.field_meanings import (
    DECISION,
    FLAGS,
    HARDWARE,
    MEMCG,
    MEMORY,
    REQUEST,
    STATISTICS,
    TASKS,
    Meaning,
)
from oomkit.printable import printable
from oomkit.records import Record
from oomkit.render.quantities import human_bytes

Part = Literal["request", "hardware", "memory", "memcg", "tasks", "decision"]

MAX_CHARS = 4096
"""Of a longer line the rest is left out; the kernel's own are far shorter."""
_NO_LIMIT_KB = 2**52

_HEADER = re.compile(r"\[ *pid *\] +uid .*name")
_ROW = re.compile(r"\[ *\d+\] +\d+ +\d+ ")
_WORD = re.compile(r"[\w.-]+")
_NAMED = re.compile(
    r"(?<![\w-])(?P<n>[A-Za-z_][\w-]*)(?::\s?(?=-?\d)|\s?=\s?)"
    r"(?P<v>(?:[^\s,]|,(?=\d))+?(?=[kK]B\b|[\s,]|$))"
)
_STATISTIC = re.compile(r"(?:^|(?<=[\s\]:]))(?P<n>\w+) (?P<v>\d+)\s*$")
_STATISTICS = {one.name for one in STATISTICS}
_KINDS: tuple[tuple[Part, re.Pattern[str], Sequence[Meaning]], ...] = (
    ("decision", re.compile(
        r"oom-kill:constraint|[Kk]ill(?:ed)? process \d|oom_reaper|memory\.oom\.group|"
        r"[Oo]ut of memory(?:[:(]| and no)|going to be killed"), DECISION),
    ("memcg", re.compile(r"as a result of limit of|memory(?:\+swap)?: usage|(?:swap|kmem): usage|"
                         r"Memory cgroup stats"), (*MEMCG, *STATISTICS)),
    ("request", re.compile(r"invoked oom-killer|cpuset=\S+ mems_allowed="), (*REQUEST, *FLAGS)),
    ("tasks", re.compile(r"\[ *pid *\] +uid |Tasks state \(memory values"), ()),
    ("hardware", re.compile(
        r"\bC[Pp][Uu]: \d+ (?:UID: \d+ )?P[Ii][Dd]: |\bPid: \d+, comm|Hardware name|[Cc]all "
        r"[Tt]race|\+0x[0-9a-f]+/0x|\bR[IS]P:|\bR[A-DS][XIP]:|\bR\d\d: |ORIG_RAX|\bCode: |"
        r"Workqueue: |</?(?:TASK|IRQ)>|Modules linked in"), HARDWARE),
    ("memory", re.compile(
        r"Mem-[Ii]nfo|(?:active|inactive|isolated|unevictable|dirty|slab\w*|mapped|shmem|free|"
        r"bounce|kernel_misc_reclaimable|pagetables|free_cma|unstable|writeback)\w*:\d|"
        r"lowmem_reserve\[\]|protections\[\]|\d\*\d+kB|hugepages_total|pagecache pages|"
        r"swap cache|Swap cache|(?:Free|Total) swap|pages (?:of )?(?:RAM|HIGHMEM|HighMem|reserved|"
        r"cma|hwpoisoned|hardware|shared|non-shared)|reserved pages|[Uu]nreclaimable slab"),
     MEMORY),
)  # fmt: skip


class Piece(Record, frozen=True, kw_only=True, gc=False):
    """A part of a line.

    Attributes:
        text: as the log has it.
        field: the field it is, as ``part/name``; empty: none.
        size: the value for people, where it is an amount of memory.
    """

    text: str
    field: str = ""
    size: str = ""


class MarkedLine(Record, frozen=True, kw_only=True, gc=False):
    """A line of a report.

    Attributes:
        number: of the line in its log, from 1.
        part: what it belongs to.
        pieces: what it is made of.
    """

    number: int
    part: Part
    pieces: tuple[Piece, ...]


def marked_lines(lines: Iterable[tuple[int, str]], page_kb: int = 4) -> Iterator[MarkedLine]:
    """Mark the fields in the lines of one report.

    Args:
        lines: numbers and texts, in the order in which the kernel printed them; the texts may hold
            anything.
        page_kb: size of a page.
    """
    part: Part = "request"
    columns: list[str] = []
    counters = False
    for number, raw in lines:
        line = printable(raw[:MAX_CHARS].expandtabs())
        part = _kind(line, counters=counters, table=bool(columns)) or part
        counters = part == "memcg" and (counters or "cgroup stats for" in line)
        if part == "tasks":
            if (header := _HEADER.search(line)) is not None:
                columns = [word[0] for word in _WORD.finditer(header[0])]
            spans = _cells(line, columns)
        else:
            spans = _found(line, part)
        yield MarkedLine(number=number, part=part, pieces=tuple(_pieces(line, spans, page_kb)))


def meanings(lines: Iterable[MarkedLine]) -> dict[str, Meaning]:
    """The fields that occur in lines, by their key, in order of their first appearance."""
    found: dict[str, Meaning] = {}
    for line in lines:
        for piece in line.pieces:
            if piece.field and piece.field not in found:
                found[piece.field] = _BY_KEY[piece.field]
    return found


def _kind(line: str, *, counters: bool, table: bool) -> Part | None:
    """What a line belongs to; None: to what the one before does."""
    if table and _ROW.search(line) is not None:
        return "tasks"
    if counters:
        counter = _STATISTIC.search(line)
        if counter is not None and _plain(counter["n"]) in _STATISTICS:
            return "memcg"
    return next((part for part, pattern, _ in _KINDS if pattern.search(line) is not None), None)


_Span = tuple[int, int, str, str]
"""First and last place in the line, key of the field, its value."""


def _found(line: str, part: Part) -> list[_Span]:
    names, patterns = _FIELDS[part]
    spans = []
    for form in (_NAMED, _STATISTIC) if part == "memcg" else (_NAMED,):
        for match in form.finditer(line):
            name = _plain(match["n"])
            if name in names:
                spans.append((match.start(), match.end("v"), f"{part}/{name}", match["v"]))
    for field in patterns:
        assert field.pattern is not None
        for match in field.pattern.finditer(line):
            start, end = match.span("s" if "s" in field.pattern.groupindex else 0)
            spans.append((start, end, f"{part}/{field.name}", match["v"]))
    return spans


def _plain(name: str) -> str:
    """A counter's name as it is today: without the capital of old kernels, and without total_."""
    name = name.removeprefix("total_")
    return name[0].lower() + name[1:] if name[:2] in ("Ac", "In") else name


def _cells(line: str, columns: Sequence[str]) -> list[_Span]:
    """The cells of a row of the task table, or the words of its heading."""
    header = _HEADER.search(line)
    if header is not None:
        words = _WORD.finditer(line, header.start())
    else:
        row = _ROW.search(line)
        if row is None:
            return []
        words = _WORD.finditer(line, row.start())
    spans = []
    for name, word in zip(columns, words, strict=False):
        if name in TASKS:
            end = len(line.rstrip()) if name == "name" and header is None else word.end()
            spans.append((word.start(), end, f"tasks/{name}", "" if header else word[0]))
    return spans


def _pieces(line: str, spans: list[_Span], page_kb: int) -> Iterator[Piece]:
    at = 0
    for start, end, key, value in sorted(spans):
        if start < at:
            continue
        if start > at:
            yield Piece(text=line[at:start])
        suffix = line[end : end + 2].lower()
        unit = "kB" if suffix == "kb" else _BY_KEY[key].unit
        at = end + 2 if suffix == "kb" else end
        yield Piece(text=line[start:at], field=key, size=_size(value, unit, page_kb))
    if at < len(line):
        yield Piece(text=line[at:])


def _size(value: str, unit: str, page_kb: int) -> str:
    """An amount for people; empty where it is none, or prints alike."""
    if not unit or not value.isascii() or not value.isdigit():
        return ""
    number = int(value)
    size_kb = number / 1024 if unit == "bytes" else number * (page_kb if unit == "pages" else 1)
    return "no limit" if size_kb >= _NO_LIMIT_KB else human_bytes(size_kb * 1024)


_FIELDS = {
    part: (
        {field.name for field in fields if field.pattern is None},
        [field for field in fields if field.pattern is not None],
    )
    for part, _, fields in _KINDS
}
_BY_KEY: dict[str, Meaning] = {
    **{f"tasks/{name}": field for name, field in TASKS.items()},
    **{f"{part}/{field.name}": field for part, _, fields in _KINDS for field in fields},
}
