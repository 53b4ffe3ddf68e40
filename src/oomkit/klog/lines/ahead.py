"""Search a large log ahead of its reader, on several CPUs: where is the next line that matters?

Only the search is shared out. The reader itself goes through the log in its order, and jumps over
what holds nothing; so what it finds depends neither on how many search nor on where the log is cut.
"""

import io
import os
import select
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, Protocol

from oomkit.klog.lines.forked import Forked, receive, send
from oomkit.klog.lines.newlines import count_newlines
from oomkit.klog.lines.scan import (
    BACK_BYTES,
    MAX_GLANCE,
    Judge,
    Readable,
    Stretch,
    Worth,
    judged,
    needles_with,
)

SEGMENT_BYTES = 512 << 10
"""So much is searched at a time: more does not fit into a CPU's cache, and takes twice as long."""
PIECE_SEGMENTS = 4
"""So many are handed over at a time: with fewer more time would be spent on that."""
LARGE_BYTES = 4 << 20
"""From this size on it pays to have a file searched by others."""
MAX_SEARCHERS = 32
"""More would not be faster than memory is, and each has a segment in memory."""
_NEAR_BYTES = 64 << 10
"""What is nearer than this is read through: to jump would save nothing."""
_BEFORE_BYTES = BACK_BYTES + (16 << 10) + 512
"""What is looked at before a segment, for where the reader has to begin.

It ends amid a page: a large buffer begins a few bytes behind the beginning of one, and to copy from
the beginning of a page to there takes four times as long, since the processor takes what is read
for what was just written.
"""
_MARGIN_BYTES = 4 << 10
"""The reader begins by so much earlier than it ever goes back."""
_AFTER_BYTES = 4 << 10
"""What is looked at after a segment, for needles that lie across the cut."""


class Seekable(Readable, Protocol):
    """A log in which one can go to any place."""

    def seek(self, offset: int, /) -> object:
        """Go to an offset."""


class _Segment(NamedTuple):
    """What was found in one segment, or in several that follow each other.

    Attributes:
        newlines: how many it has.
        stretches: each :class:`.Stretch`, of which ``line`` is how many newlines lie between the
            segment's start and where it begins; less than 0: it begins before.
    """

    newlines: int
    stretches: list[tuple[int, int | None, int, bytes | None]]


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
        self.fd = fd
        self._needles = needles_with(tuple(others))
        self._worth = worth
        self.segment_bytes = segment_bytes
        self._buffer = bytearray()

    def segments(self, numbers: range) -> _Segment:
        """Search segments that follow each other, as one.

        Raises:
            OSError: the file can't be read.
        """
        newlines, stretches = self._segment(numbers.start)
        for number in numbers[1:]:
            more, following = self._segment(number)
            stretches += [
                (last, begin, newlines + line, alone) for last, begin, line, alone in following
            ]
            newlines += more
        return _Segment(newlines, stretches)

    def _segment(self, number: int) -> _Segment:
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
                got = os.preadv(self.fd, [view[filled:]], base + filled)
                if not got:
                    break
                filled += got
        start = min(first - base, filled)
        return self._look(base, start, min(start + self.segment_bytes, filled), filled)

    def _look(self, base: int, start: int, end: int, filled: int) -> _Segment:
        """Look through a part of the buffer, which holds what begins at ``base``."""
        buffer = self._buffer
        found: list[tuple[int, int | None, bytes | None]] = []
        merged = line_end = 0
        # Matches depend on where the search begins, but not beyond a line.
        line = buffer.rfind(b"\n", 0, start) + 1
        near = -1
        for hit, needle in self._needles.find(buffer, line, min(end + _AFTER_BYTES, filled)):
            if not start <= hit < end or hit < line_end:
                continue
            kind = judged(buffer, hit, needle, filled, self._worth)
            if kind is Worth.NOTHING:
                continue
            if kind is Worth.LINE:
                alone = self._alone(base, hit, filled)
                if alone is not None:
                    found.append((hit, *alone))
                    line_end = alone[0] + len(alone[1])
                    continue
            if hit <= near:
                found[merged] = (hit, found[merged][1], None)
            else:
                merged = len(found)
                found.append((hit, self._begin(base, hit), None))
            near = hit + _NEAR_BYTES
        placed, at, newlines = self._placed(base, start, found)
        # What lies behind the last place has not been counted yet.
        return _Segment(newlines + count_newlines(buffer, at, end), placed)

    def _alone(self, base: int, hit: int, filled: int) -> tuple[int, bytes] | None:
        """Where the line of a needle begins, and that line, unless it is long or not all here."""
        buffer = self._buffer
        begin = buffer.rfind(b"\n", 0, hit) + 1
        end = buffer.find(b"\n", hit, min(begin + MAX_GLANCE, filled)) + 1
        if (begin == 0 and base) or not end:
            return None
        return begin, bytes(buffer[begin:end])

    def _begin(self, base: int, hit: int) -> int | None:
        """Where the reader has to begin for a needle; None: it goes back across a long line."""
        buffer = self._buffer
        before = buffer.rfind(b"\n", 0, hit)
        back = before - BACK_BYTES - _MARGIN_BYTES
        if back <= 0:
            return 0 if base == 0 else None
        return buffer.find(b"\n", back, before) + 1 or None

    def _placed(
        self, base: int, start: int, found: list[tuple[int, int | None, bytes | None]]
    ) -> tuple[list[tuple[int, int | None, int, bytes | None]], int, int]:
        """Give stretches with offsets of the buffer those of the file, and what counts lines.

        Also returns an offset of the buffer, from the start on, and the newlines up to there.
        """
        placed: list[tuple[int, int | None, int, bytes | None]] = []
        at, newlines = start, 0
        furthest = start, 0
        for hit, begin, alone in found:
            if begin is None:
                placed.append((base + hit, None, 0, None))
                continue
            first, last = sorted((at, begin))
            between = count_newlines(self._buffer, first, last)
            newlines += between if begin >= at else -between
            at = begin
            furthest = max(furthest, (at, newlines))
            placed.append((base + hit, base + begin, newlines, alone))
        return placed, *furthest


class Ahead:
    """Searches a file ahead of its reader.

    Args:
        search: what is looked for, and where.
        file: the file that the reader reads.
        size: so much of the file is searched.
        searchers: how many processes search, up to :data:`MAX_SEARCHERS`; one of them is this,
            which does so where it would wait for the others.
        own: the file that is searched, if it is to be closed with the search.
    """

    def __init__(
        self,
        search: Search,
        file: Seekable,
        size: int,
        searchers: int,
        *,
        own: io.FileIO | None = None,
    ) -> None:
        self._own = own
        self._search = search
        self._file = file
        self._segments = -(-size // search.segment_bytes)
        self._pieces = -(-self._segments // PIECE_SEGMENTS)
        self._taken = 0
        self._newlines = 0
        self._stretches: deque[Stretch] = deque()
        self._shares: _Shares | None = None
        self._found: dict[int, _Segment] = {}
        self._workers: dict[int, Forked] = {}
        self._poll = select.poll()
        # Where there is no process left, or no file, all is searched here.
        with suppress(OSError):
            self._shares = _Shares(self._pieces)
            for _ in range(min(searchers, MAX_SEARCHERS, self._pieces) - 1):
                worker = Forked(partial(_work, self._piece, self._shares))
                self._workers[worker.output.fileno()] = worker
                self._poll.register(worker.output, select.POLLIN)

    def is_of(self, fd: int) -> bool:
        """Whether an open file is the one that is searched."""
        return os.path.sameopenfile(self._search.fd, fd)

    def read_by(self, file: Seekable) -> None:
        """Have another read what was found: the same file, opened anew."""
        self._file = file

    def next(self, offset: int, /) -> Stretch | None:
        """The next that matters from an offset on: see :class:`.scan.Jumps`."""
        while True:
            while self._stretches:
                first = self._stretches[0]
                if first.last >= offset:
                    return first
                self._stretches.popleft()
            if self._taken == self._pieces:
                return None
            self._take_piece()

    def _take_piece(self) -> None:
        newlines, stretches = self._searched(self._taken)
        self._taken += 1
        for last, begin, between, alone in stretches:
            self._stretches.append(Stretch(last, begin, 1 + self._newlines + between, alone))
        self._newlines += newlines

    def _piece(self, number: int) -> _Segment:
        """Search one piece."""
        first = number * PIECE_SEGMENTS
        return self._search.segments(range(first, min(first + PIECE_SEGMENTS, self._segments)))

    def _searched(self, number: int) -> _Segment:
        while number not in self._found:
            if self._workers and self._receive(0):
                continue
            share = self._shares.take() if self._shares is not None else None
            if share:
                self._found.update((n, self._piece(n)) for n in share)
            elif self._workers:
                self._receive(None)
            else:
                return self._piece(number)  # whoever had it died
        return self._found.pop(number)

    def _receive(self, timeout_ms: int | None) -> bool:
        """Take what others have found; whether there was anything."""
        ready = self._poll.poll(timeout_ms)
        for fd, _ in ready:
            found = receive(self._workers[fd].output)
            if found is None:
                # It is done, or was killed: for want of memory, of all things.
                self._poll.unregister(fd)
                self._workers.pop(fd).close()
            else:
                number, newlines, stretches = found
                self._found[number] = _Segment(newlines, stretches)
        return bool(ready)

    def source_at(self, offset: int, /) -> Readable:
        """The file from an offset on."""
        self._file.seek(offset)
        return self._file

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        if self._shares is not None:
            self._shares.close()
            self._shares = None
        if self._own is not None:
            self._own.close()


class _Shares:
    """The pieces, which whoever has nothing to do takes, the first that are left.

    They stand in a pipe that all of them read, and none waits for another.
    """

    def __init__(self, pieces: int) -> None:
        self._pieces = pieces
        self._step = max(-(-pieces // _MAX_SHARES), 1)
        self._fd, writes = os.pipe()
        for first in range(0, pieces, self._step):
            os.write(writes, first.to_bytes(_SHARE_BYTES, "little"))
        os.close(writes)

    def take(self) -> range:
        """The numbers of some pieces, one after the other; empty: none are left."""
        first = os.read(self._fd, _SHARE_BYTES)
        if not first:
            return range(0)
        begin = int.from_bytes(first, "little")
        return range(begin, min(begin + self._step, self._pieces))

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)


_SHARE_BYTES = 4
_MAX_SHARES = select.PIPE_BUF // _SHARE_BYTES
"""So many fit into a pipe of any size, so that to write them waits for nobody."""


def _work(search: Callable[[int], _Segment], shares: _Shares, fd: int) -> None:
    while share := shares.take():
        for number in share:
            send(fd, (number, *search(number)))
