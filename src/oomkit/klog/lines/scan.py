"""Find the few lines of a log that matter without looking at the others.

A log of a gigabyte has a few hundred lines about OOM. They are found by searching the bytes for
what every report must contain; only the neighbourhood of a hit is decoded and parsed. Memory is
that of one buffer, whatever the log's size.
"""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, Protocol

from oomkit.klog.lines.needles import Needles
from oomkit.klog.lines.newlines import count_newlines

KERNEL_NEEDLES = (
    b"oom-kill",
    b"ut of memory",
    b"illed process ",
    b"tgid total_vm",
    b"ut of Memory",
    b"o available memory",
    b"oom_reaper: ",
    b"page allocation stall",
    b"oom_kill_process",
)
"""What the lines of reports contain: head, summary, kill lines, panics, task tables, the
trace; and the warnings of allocations that wait."""

_WRAP = rb"[\s>|=\\]{0,40}"
"""What stands between two words of a line that a terminal or a mail has wrapped."""
_REAL = re.compile(
    rb"oom-kill(?:er:" + _WRAP + rb"(?:gfp|$)|: ?constraint)"
    rb"|illed process" + _WRAP + rb"(?:\d|$)|tgid total_vm"
    rb"|ut of [mM]emory(?:: ?(?:OOM |[Ww]ould have )?[Kk]ill|: ?[\r\n]|: ?$"
    rb"|: (?:system|compuls|OOM victim)"
    rb"| \(oom_kill|\(memcg|\. Comp|\. panic| from page fault| and no killable| in UB)"
    rb"|oom_kill_process\+0x|o available memory (?:\(MPOL|in cpuset)|oom_reaper: (?:reaped|unable)"
    rb"|page allocation stalls? for \d"
)
"""What a needle must be part of to be worth a closer look."""

BUFFER_BYTES = 2 << 20
WHOLE_BYTES = 64 << 10
"""So much of a log's beginning is read whole: what people paste is rarely longer, and says more."""
BLOCK_BYTES = 4 << 10
"""So much is fed at a time, and the rest of a line."""
MAX_GLANCE = 8 << 10
"""So much is shown of a line by itself."""
_MAX_REAL = 64
BACK_BYTES = 48 << 10
"""The furthest that is gone back from a line that matters."""
_SPARE_BYTES = 8 << 10
"""What is kept besides, so that a line may stand across the end of a buffer."""
_JUMP_BYTES = 32 << 10
"""So much is read at a time where the next line that matters is known."""
_HEAD_BACK_LINES = 2
_RECORD_FIELD = re.compile(
    rb"[ \t]*(?:MESSAGE=|[\"'](?:MESSAGE|message|log|msg|line|textPayload|_raw)[\"']\s?:)"
)
"""A record of a journal takes several lines: time and host stand in others before this one."""
_MAX_RECORD_BYTES = 8 << 10
_AROUND_BYTES = 4 << 10
_HEADERS = (b"oom-killer",)
MAX_PIECE_BYTES = 1 << 20
"""A line without an end is taken in pieces of this size."""


class Readable(Protocol):
    """What can be read into a buffer."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer; 0 at the end."""


class Sink(Protocol):
    """Takes stretches of a log."""

    def push(self, data: bytes, first_line: int) -> None:
        """Take whole lines; the first has the number ``first_line``."""

    def glance(self, data: bytes, line: int) -> None:
        """Take one line by itself, number ``line``, that holds a needle but is of no report."""

    def gap(self) -> None:
        """Lines were skipped between the last stretch and the next."""

    def idle(self) -> bool:
        """Nothing of what it took lately was of use."""

    def has_open(self) -> bool:
        """A report has begun and not ended."""


class Stretch(NamedTuple):
    """Where lines that matter follow each other closely, or one is alone; offsets are the log's.

    Attributes:
        last: where the last needle stands.
        begin: the line where the reader has to begin; None: it has to read up to there.
        line: number of that line.
        alone: that line, where it is all that matters; None otherwise.
    """

    last: int
    begin: int | None
    line: int
    alone: bytes | None = None


class Jumps(Protocol):
    """Knows where the lines are that matter."""

    def next(self, offset: int, /) -> Stretch | None:
        """The next of them of which a needle stands at an offset or behind; None: there is none."""

    def source_at(self, offset: int, /) -> Readable:
        """The log from an offset on."""


class Worth(Enum):
    """What a needle of others is worth: nothing, a look at its line, or at those around it."""

    NOTHING = 0
    LINE = 1
    AROUND = 2


Judge = Callable[[bytearray, int, int], Worth]
"""Says what the needle at an offset of a buffer, filled up to another, is worth."""


@lru_cache(maxsize=4)
def needles_with(others: tuple[bytes, ...]) -> Needles:
    """What looks for the kernel's needles and others."""
    return Needles(tuple(dict.fromkeys((*KERNEL_NEEDLES, *others))))


def judged(buffer: bytearray, hit: int, needle: int, end: int, worth: Judge | None) -> Worth:
    """What a needle in a buffer filled up to ``end`` is worth."""
    if needle < len(KERNEL_NEEDLES) and _real(buffer, hit, needle, end) is not None:
        return Worth.AROUND
    found = Worth.NOTHING if worth is None else worth(buffer, hit, end)
    if found is Worth.LINE:
        line_end = buffer.find(b"\n", hit, end) + 1 or end
        if _real_beside(buffer, hit, line_end) is not None or _is_record_field(buffer, hit, 0):
            return Worth.AROUND
    return found


def _real_beside(buffer: bytearray, hit: int, line_end: int) -> re.Match[bytes] | None:
    """One of the kernel's needles that one of others may overlap, in the same line."""
    return _REAL.search(buffer, hit, min(line_end, hit + MAX_GLANCE))


def _is_record_field(buffer: bytearray, hit: int, begin: int) -> bool:
    """Whether a line is one of several that make a record."""
    return _RECORD_FIELD.match(buffer, buffer.rfind(b"\n", begin, hit) + 1 or begin) is not None


def _real(buffer: bytearray, hit: int, needle: int, end: int) -> re.Match[bytes] | None:
    """What a needle of the kernel's is part of, if it is worth a closer look."""
    if needle >= len(KERNEL_NEEDLES):
        return None
    return _REAL.match(buffer, hit, min(end, hit + _MAX_REAL))


class Scanner:
    """Feeds a sink with the stretches of a log around the needles."""

    def __init__(
        self,
        source: Readable,
        sink: Sink,
        others: Sequence[bytes] = (),
        *,
        worth: Judge | None = None,
        jumps: Jumps | None = None,
    ) -> None:
        """Look for the kernel's needles and others; ``worth`` says which of those that no report
        holds the sink is shown (without it, none). With ``jumps`` what holds nothing is not read.
        """
        self._jumps = jumps
        self._worth = worth
        self._source = source
        self._sink = sink
        self._needles = needles_with(tuple(others))
        self._buffer = bytearray(BUFFER_BYTES)
        self._filled = 0
        self._fed = 0
        self._counted = 0
        self._line = 1
        self._active = True
        self._dropped = 0
        self._until = 0
        self._hit = 0

    def run(self) -> Iterator[None]:
        """Read to the end; yields whenever the sink may have found something."""
        view = memoryview(self._buffer)
        most = BUFFER_BYTES if self._jumps is None else _JUMP_BYTES
        while True:
            if self._jumps is not None and not self._active:
                stretch = yield from self._show_alone(self._jumps)
                if stretch is None:
                    return
                self._jump(self._jumps, stretch)
            got = self._source.readinto(view[self._filled : self._filled + most])
            if not got:
                break
            self._filled += got
            whole = self._buffer.rfind(b"\n", 0, self._filled) + 1
            if self._filled - whole > MAX_PIECE_BYTES:
                whole = self._filled
            yield from self._take(whole)
            self._drop(whole)
        yield from self._take(self._filled, last=True)

    def _show_alone(self, jumps: Jumps) -> Generator[None, None, Stretch | None]:
        """Show the sink the lines that stand alone, unread; returns the next that is to be read."""
        while (found := jumps.next(self._dropped + self._hit)) is not None:
            begin = found.begin
            if found.alone is None or begin is None or begin < self._dropped + self._fed:
                return found
            self._sink.glance(found.alone[:MAX_GLANCE], found.line)
            self._hit = begin + len(found.alone) - self._dropped
            yield
        return None

    def _jump(self, jumps: Jumps, stretch: Stretch) -> None:
        """Go to where reading has to begin, unless what was read reaches there."""
        begin = stretch.begin
        if begin is not None and begin > self._dropped + self._filled:
            self._source = jumps.source_at(begin)
            self._hit = max(self._dropped + self._hit - begin, 0)
            self._dropped, self._line = begin, stretch.line
            self._filled = self._fed = self._counted = self._until = 0

    def _take(self, end: int, *, last: bool = False) -> Iterator[None]:
        """Look through the whole lines of the buffer; nothing follows the ``last``.

        What it does must not depend on where a buffer happens to end.
        """
        position = self._fed
        hits = self._needles.find(self._buffer, max(position, self._hit), end)
        none = (end, 0)
        hit, needle = next(hits, none)
        while position < end:
            if self._active:
                if end - position <= BLOCK_BYTES and not last:
                    self._fed = position
                    return
                position = self._feed_block(position, end)
                yield
                continue
            while hit < end and (hit < position or hit < self._hit):
                hit, needle = next(hits, none)
            if hit >= end:
                break
            if hit + _MAX_REAL > end and not last and self._begins_near_end(hit, end):
                self._hit = hit
                return
            self._hit = hit + 1
            real = _real(self._buffer, hit, needle, end)
            worth = Worth.NOTHING
            if real is None and self._worth is not None:
                worth = self._worth(self._buffer, hit, end)
            if worth is not Worth.NOTHING:
                line_end = self._buffer.find(b"\n", hit, end) + 1 or end
                real = _real_beside(self._buffer, hit, line_end)
                if real is None and self._goes_around(hit, worth, position):
                    position = self._begin_around(hit, position)
                elif real is None:
                    self._glance(hit, line_end, position)
                    self._hit = line_end
                    yield
            if real is not None:
                position = self._begin(real.start(), position, end)
        self._hit = max(self._hit, end)

    def _begins_near_end(self, hit: int, end: int) -> bool:
        """Whether a line begins so near the end that the buffer keeps all of it."""
        return self._buffer.find(b"\n", max(end - _SPARE_BYTES // 2, 0), hit) >= 0

    def _reads_whole(self, stop: int) -> bool:
        """Still in the beginning, which is read line by line: as a rule it is a whole paste."""
        return self._dropped + stop < WHOLE_BYTES

    def _goes_around(self, hit: int, worth: Worth, position: int) -> bool:
        """The lines around this one belong to what it reports."""
        return worth is Worth.AROUND or _is_record_field(self._buffer, hit, position)

    def _begin_around(self, hit: int, position: int) -> int:
        """Start feeding a little before a line of others."""
        self._active = True
        self._until = hit + _AROUND_BYTES
        back = max(position, hit - _AROUND_BYTES)
        if back > position:
            back = self._buffer.find(b"\n", back, hit) + 1 or hit
        return self._buffer.rfind(b"\n", position, back) + 1 or position

    def _feed_block(self, position: int, end: int) -> int:
        stop = end
        if end - position > BLOCK_BYTES:
            stop = self._buffer.find(b"\n", position + BLOCK_BYTES, end) + 1 or end
        self._count_to(position)
        self._sink.push(bytes(self._buffer[position:stop]), self._line)
        self._fed = stop
        at_ease = stop > max(self._hit, self._until) and not self._reads_whole(stop)
        if at_ease and self._sink.idle():
            self._active = False
            self._sink.gap()
        return stop

    def _begin(self, hit: int, position: int, end: int) -> int:
        """Start feeding; how far before the hit depends on what it is."""
        self._active = True
        start = self._buffer.rfind(b"\n", position, hit) + 1 or position
        if _RECORD_FIELD.match(self._buffer, start):
            back = max(position, start - _MAX_RECORD_BYTES)
            if back > position:
                back = self._buffer.find(b"\n", back, start) + 1 or start
            return back
        if self._buffer.startswith(_HEADERS, hit):
            for _ in range(_HEAD_BACK_LINES):
                if start > position:
                    start = self._buffer.rfind(b"\n", position, start - 1) + 1 or position
            return start
        if self._sink.has_open():
            back = max(position, start - BACK_BYTES // 4)
        else:
            back = max(position, start - BACK_BYTES)
        if back > position:
            back = self._buffer.find(b"\n", back, start) + 1 or start
        return back

    def _glance(self, hit: int, line_end: int, position: int) -> None:
        """Show one line to the sink."""
        start = max(self._buffer.rfind(b"\n", position, hit) + 1, position)
        self._count_to(start)
        stop = min(line_end, start + MAX_GLANCE)
        self._sink.glance(bytes(self._buffer[start:stop]), self._line)

    def _count_to(self, position: int) -> None:
        first, last = sorted((self._counted, position))
        lines = count_newlines(self._buffer, first, last)
        # Lines before a report are fed after a later one of them was shown by itself.
        self._line += lines if position >= self._counted else -lines
        self._counted = position

    def _drop(self, whole: int) -> None:
        """Forget what was looked through, except what may be needed before a later hit."""
        keep = self._fed
        back = whole - BACK_BYTES - _SPARE_BYTES
        if not self._active and back > keep:
            keep = self._buffer.find(b"\n", back, whole) + 1 or whole
        self._count_to(keep)
        self._dropped += keep
        rest = self._filled - keep
        self._buffer[:rest] = self._buffer[keep : self._filled]
        self._filled = rest
        self._counted = 0
        self._fed = max(self._fed - keep, 0)
        self._hit = max(self._hit - keep, 0)
        self._until = max(self._until - keep, 0)
