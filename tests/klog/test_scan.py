"""What a scanner shows of a large log: whole lines, their numbers, how far before and after."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.klog.lines.scan import Scanner
from oomkit.klog.userspace import needles
from tests.klog.test_ahead import OTHERS, PARTS, Pieces, quiet

BEFORE = quiet(3000)
HEAD = b"[    1.000000] db invoked oom-killer: gfp_mask=0x1(X), order=0, oom_score_adj=0\n"
KILL = b"[    1.000000] Out of memory: Killed process 7 (db) total-vm:9kB, anon-rss:9kB\n"
AROUND = b"Nov 29 06:25:02 host kubelet[12]: OOMKilled=true of a container\n"
RECORD = b"MESSAGE=Out of memory: Killed process 7 (db) total-vm:9kB, anon-rss:9kB\n"
TOLD_RECORD = b"MESSAGE=exit status 137\n"


class Sink:
    """Notes each stretch as it is in the log: where it begins and ends; of no use is any of it."""

    def __init__(self, data: bytes, *, has_open: bool = False) -> None:
        self._data = data
        self._lines = data.splitlines(keepends=True)
        self._begins = [0]
        for line in self._lines:
            self._begins.append(self._begins[-1] + len(line))
        self._has_open = has_open
        self.stretches: list[tuple[int, int]] = []
        self.glances: list[tuple[int, bytes]] = []
        self._goes_on = False

    def push(self, data: bytes, first_line: int) -> None:
        begin = self._begins[first_line - 1]
        end = begin + len(data)
        assert self._data[begin:end] == data, "it is not what stands in that line"
        assert end in self._begins, "a line is cut"
        if self._goes_on:
            assert begin == self.stretches[-1][1]
            self.stretches[-1] = self.stretches[-1][0], end
        else:
            self.stretches.append((begin, end))
        self._goes_on = True

    def glance(self, data: bytes, line: int) -> None:
        assert data == self._lines[line - 1][: 8 << 10]
        self.glances.append((line, data))

    def gap(self) -> None:
        assert self._goes_on
        self._goes_on = False

    def idle(self) -> bool:
        return True

    def has_open(self) -> bool:
        return self._has_open


def shown(data: bytes, size: int = 1 << 30, *, has_open: bool = False) -> Sink:
    sink = Sink(data, has_open=has_open)
    scanner = Scanner(Pieces(data, size), sink, needles.NEEDLES, worth=needles.is_worth)
    for _ in scanner.run():
        pass
    return sink


def line_at(data: bytes, offset: int) -> int:
    """Where the first line begins that begins at an offset or behind."""
    return data.index(b"\n", offset - 1) + 1


def lines_above(data: bytes, offset: int, count: int) -> int:
    for _ in range(count):
        offset = data.rindex(b"\n", 0, offset - 1) + 1
    return offset


def test_the_beginning_is_shown_whole() -> None:
    sink = shown(BEFORE)
    ((begin, end),) = sink.stretches
    assert begin == 0
    blocks = 0
    while blocks < 64 << 10:
        blocks = line_at(BEFORE, blocks + (4 << 10) + 1)
    assert end == blocks
    assert sink.glances == []


@pytest.mark.parametrize("size", [1 << 30, 4096, 777])
@pytest.mark.parametrize("has_open", [True, False])
def test_how_far_before_a_line_that_matters_reading_begins(size: int, has_open: bool) -> None:
    at = len(BEFORE)
    open_back = (12 if has_open else 48) << 10
    for line, begin in (
        (HEAD, lines_above(BEFORE, at, 2)),
        (KILL, line_at(BEFORE, at - open_back + 1)),
        (RECORD, line_at(BEFORE, at - (8 << 10) + 1)),
        (AROUND, line_at(BEFORE, at + AROUND.index(b"OOMK") - (4 << 10) + 1)),
        (TOLD_RECORD, line_at(BEFORE, at + TOLD_RECORD.index(b" 137") - (4 << 10) + 1)),
    ):
        data = BEFORE + line + quiet(1000)
        _, (begun, ended) = shown(data, size, has_open=has_open).stretches
        assert begun == begin, line
        assert at + len(line) <= ended <= at + (9 << 10), line
        if line in (AROUND, TOLD_RECORD):
            assert ended > at + (4 << 10)


def test_it_never_begins_in_what_was_shown() -> None:
    near = quiet(830)
    assert 64 << 10 < len(near) < 68 << 10
    for line in (HEAD, KILL, RECORD, AROUND, TOLD_RECORD):
        sink = shown(near + quiet(20) + line + quiet(500))
        (_, first), *others = sink.stretches
        assert all(begin >= first for begin, _ in others)
        assert [begin for begin, _ in others] == [first] or line is HEAD


@pytest.mark.parametrize("long", [100, 8191, 8192, 8193, 20_000])
def test_a_line_of_others_is_shown_by_itself_as_far_as_8_kib(long: int) -> None:
    line = (OTHERS[1].rstrip() + b" ").ljust(long - 1, b"x") + b"\n"
    sink = shown(BEFORE + line + quiet(100) + OTHERS[1] + quiet(100))
    assert sink.glances == [(3001, line[: 8 << 10]), (3102, OTHERS[1])]
    assert len(sink.stretches) == 1


def test_the_last_line_may_lack_its_end() -> None:
    for line in (OTHERS[1], KILL, HEAD, AROUND):
        sink = shown(BEFORE + line.rstrip())
        assert [data for _, data in sink.glances] == ([line.rstrip()] if line == OTHERS[1] else [])
        assert line == OTHERS[1] or sink.stretches[-1][1] == len(BEFORE + line) - 1


@pytest.mark.parametrize(
    "line",
    [
        b"x oom-kill-x", b"x illed process x", b"x ut of memory", b"x oom_reaper: x",
        b"x page allocation stall x", b"x oom_kill_process x", b"x o available memory x",
    ],
)  # fmt: skip
def test_a_needle_of_the_kernels_that_is_part_of_nothing_else_is_passed_over(line: bytes) -> None:
    data = BEFORE + line + b"\n"
    sink = Sink(data)
    for _ in Scanner(io.BytesIO(data), sink).run():
        pass
    assert (len(sink.stretches), sink.glances) == (1, [])


@settings(deadline=None, max_examples=25)
@given(
    parts=st.lists(PARTS | st.sampled_from([RECORD, TOLD_RECORD, HEAD, KILL]), max_size=8),
    size=st.sampled_from([777, 4096, 70_001, 1 << 30]),
    has_open=st.booleans(),
)
def test_what_is_shown_is_whole_lines_with_their_numbers(
    parts: list[bytes], size: int, has_open: bool
) -> None:
    data = quiet(1000) + b"".join(parts)
    sink, whole = shown(data, size, has_open=has_open), shown(data, has_open=has_open)
    assert (sink.stretches, sink.glances) == (whole.stretches, whole.glances)
    for (_, end), (begin, _) in zip(sink.stretches, sink.stretches[1:], strict=False):
        assert begin >= end
