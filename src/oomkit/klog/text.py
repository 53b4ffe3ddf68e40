"""From the bytes of a log to its lines."""

from collections.abc import Iterable, Iterator

from oomkit.klog.assemble import Assembler
from oomkit.klog.clean import clean, decode, split_joined
from oomkit.klog.join import join_wrapped
from oomkit.klog.prefix import Line, strip_prefix
from oomkit.klog.records import Report

MAX_LINE_BYTES = 1 << 16
"""Longer lines are cut: no kernel prints them."""


def lines_of(data: bytes, first: int = 1) -> Iterator[Line]:
    """Yield the lines of a stretch of a log whose first line has number ``first``."""
    for offset, raw in enumerate(clean(decode(data)).split("\n")):
        for part in split_joined(raw[:MAX_LINE_BYTES]):
            yield strip_prefix(part, first + offset)


def reports_of(lines: Iterable[Line], file: str) -> Iterator[Report]:
    """Yield the reports that lines hold."""
    assembler = Assembler(file)
    for line, wrapped in join_wrapped(lines):
        yield from assembler.feed(line, wrapped=wrapped)
    yield from assembler.flush()
