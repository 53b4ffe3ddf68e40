"""Search a large log ahead of its reader, on several CPUs: where is the next line that matters?

Only the search is shared out. The reader itself goes through the log in its order, and jumps over
what holds nothing; so what it finds depends neither on how many search nor on where the log is cut.
"""

import os
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

from oomkit.klog.lines.forked import Forked, receive, send
from oomkit.klog.lines.newlines import count_newlines
from oomkit.klog.lines.scan import BACK_BYTES, Judge, Readable, Worth, judged, needles_with

SEGMENT_BYTES = 512 << 10
"""So much is searched at a time: more does not fit into a CPU's cache, and takes twice as long."""
LARGE_BYTES = 4 << 20
"""From this size on it pays to have a file searched by others."""
MAX_SEARCHERS = 32
"""More would not be faster than memory is, and each has a segment in memory."""
_NEAR_BYTES = 64 << 10
"""What is nearer than this is read through: to jump would save nothing."""
_BEFORE_BYTES = BACK_BYTES + (16 << 10)
"""What is looked at before a segment, for where the reader has to begin."""
_MARGIN_BYTES = 4 << 10
"""The reader begins by so much earlier than it ever goes back."""
_AFTER_BYTES = 4 << 10
"""What is looked at after a segment, for needles that lie across the cut."""


class Seekable(Readable, Protocol):
    """A log in which one can go to any place."""

    def seek(self, offset: int, /) -> object:
        """Go to an offset."""


class Stretch(NamedTuple):
    """Where lines that matter follow each other closely; offsets are the file's.

    Attributes:
        last: where the last needle stands.
        begin: the line where the reader has to begin; None: no line begins near.
        line: number of that line.
    """

    last: int
    begin: int | None
    line: int


class _Segment(NamedTuple):
    """What was found in one segment.

    Attributes:
        newlines: how many it has.
        stretches: ``last`` and ``begin`` of each :class:`Stretch`, and how many newlines lie
            between the segment's start and that begin; less than 0: it begins before.
    """

    newlines: int
    stretches: list[tuple[int, int | None, int]]


class Search:
    """A search of a file, segment by segment, in any order.

    Args:
        fd: the file, open for reading.
        others: needles besides the kernel's.
        worth: says which of those matter.
        segment_bytes: how much is searched at a time.
    """

    def __init__(
        self,
        fd: int,
        others: Sequence[bytes],
        worth: Judge | None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._fd = fd
        self._needles = needles_with(tuple(others))
        self._worth = worth
        self.segment_bytes = segment_bytes
        self._buffer = bytearray()

    def segment(self, number: int) -> _Segment:
        """Search one segment.

        Raises:
            OSError: the file can't be read.
        """
        if not self._buffer:
            self._buffer = bytearray(_BEFORE_BYTES + self.segment_bytes + _AFTER_BYTES)
        first = number * self.segment_bytes
        base = max(first - _BEFORE_BYTES, 0)
        filled = 0
        with memoryview(self._buffer) as view:
            while filled < len(view):
                got = os.preadv(self._fd, [view[filled:]], base + filled)
                if not got:
                    break
                filled += got
        start = min(first - base, filled)
        return self._look(base, start, min(start + self.segment_bytes, filled), filled)

    def _look(self, base: int, start: int, end: int, filled: int) -> _Segment:
        """Look through a part of the buffer, which holds what begins at ``base``."""
        buffer = self._buffer
        found: list[tuple[int, int | None]] = []
        # Matches depend on where the search begins, but not beyond a line.
        line = buffer.rfind(b"\n", 0, start) + 1
        near = -1
        for hit, needle in self._needles.find(buffer, line, min(end + _AFTER_BYTES, filled)):
            if not start <= hit < end:
                continue
            kind = judged(buffer, hit, needle, filled, self._worth)
            if kind is Worth.NOTHING:
                continue
            begin = self._begin(base, hit, alone=kind is Worth.LINE)
            if hit <= near:
                first = found[-1][1]
                found[-1] = (hit, None if begin is None or first is None else min(begin, first))
            else:
                found.append((hit, begin))
            near = hit + _NEAR_BYTES
        return _Segment(
            count_newlines(buffer, start, end),
            [(base + hit, *self._place(base, start, begin)) for hit, begin in found],
        )

    def _begin(self, base: int, hit: int, *, alone: bool) -> int | None:
        """Where the reader has to begin for a needle; ``alone``: its line is all that matters."""
        buffer = self._buffer
        line = buffer.rfind(b"\n", 0, hit) + 1
        if alone and line:
            return line
        back = line - BACK_BYTES - _MARGIN_BYTES
        if back <= 0:
            return 0 if base == 0 else None
        return buffer.find(b"\n", back, line) + 1 or None

    def _place(self, base: int, start: int, begin: int | None) -> tuple[int | None, int]:
        """An offset of the buffer as one of the file, and the newlines from ``start`` up to it."""
        if begin is None:
            return None, 0
        first, last = sorted((start, begin))
        newlines = count_newlines(self._buffer, first, last)
        return base + begin, newlines if begin >= start else -newlines


class Ahead:
    """Searches a file ahead of its reader.

    Args:
        search: what is looked for, and where.
        file: the file that the reader reads.
        size: so much of the file is searched.
        searchers: how many processes search, up to :data:`MAX_SEARCHERS`; 0: it is done here.
    """

    def __init__(self, search: Search, file: Seekable, size: int, searchers: int) -> None:
        self._search = search
        self._file = file
        self._segments = -(-size // search.segment_bytes)
        self._taken = 0
        self._newlines = 0
        self._stretches: list[Stretch] = []
        self._workers: list[Forked | None] = []
        searchers = min(searchers, MAX_SEARCHERS)
        try:
            for i in range(min(searchers, self._segments)):
                turn = range(i, self._segments, searchers)
                self._workers.append(Forked(partial(_work, search, turn)))
        except OSError:
            # Where there is no process left, its share is searched here.
            self._workers += [None] * (searchers - len(self._workers))

    def next(self, offset: int, /) -> tuple[int | None, int] | None:
        """Where to begin reading for what matters from an offset on: see :class:`.scan.Jumps`."""
        while True:
            while self._stretches:
                first = self._stretches[0]
                if first.last >= offset:
                    return first.begin, first.line
                del self._stretches[0]
            if self._taken == self._segments:
                return None
            self._take_segment()

    def _take_segment(self) -> None:
        newlines, stretches = self._searched(self._taken)
        self._taken += 1
        for last, begin, between in stretches:
            self._stretches.append(Stretch(last, begin, 1 + self._newlines + between))
        self._newlines += newlines

    def _searched(self, number: int) -> _Segment:
        at = number % max(len(self._workers), 1)
        worker = self._workers[at] if self._workers else None
        if worker is not None:
            found = receive(worker.output)
            if found is not None:
                return _Segment(*found)
            # It died: killed for want of memory, of all things.
            worker.close()
            self._workers[at] = None
        return self._search.segment(number)

    def source_at(self, offset: int, /) -> Readable:
        """The file from an offset on."""
        self._file.seek(offset)
        return self._file

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            if worker is not None:
                worker.close()


def _work(search: Search, numbers: range, fd: int) -> None:
    for number in numbers:
        send(fd, tuple(search.segment(number)))
