"""A log that others search ahead of its reader is read as if nobody did, wherever it is cut."""

import bz2
import gzip
import io
import lzma
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.klog import LogError, read_records
from oomkit.klog.lines import ahead, sources
from oomkit.klog.lines.ahead import Ahead, Search
from oomkit.klog.lines.forked import Forked
from oomkit.klog.lines.scan import Readable, Scanner, Stretch
from oomkit.klog.lines.sources import Log, open_log
from oomkit.klog.reader import scan_records
from oomkit.klog.searched import begin_search, searched
from oomkit.klog.userspace import needles
from tests.klog.logs import bytes_of

ORDINARY = b"Nov 29 06:25:01 host CRON[4711]: (root) CMD (test -x /usr/sbin/anacron) number %d\n"
REPORT = bytes_of("g-3.10.0-514-el7-sed-mysqld.log")
OTHERS = (
    b"systemd[1]: a.service: A process of this unit has been killed by the OOM killer.\n",
    b"Nov 29 06:25:02 host app[12]: exit status 137\n",
    b"Nov 29 06:25:02 host kubelet[12]: OOMKilled=true of a container\n",
    b"Nov 29 06:25:02 host app[12]: java.lang.OutOfMemoryError, Out of memory it says\n",
    b"Nov 29 06:25:02 host kernel: Linux version 5.10.0-20-amd64 (debian-kernel@lists)\n",
)


def quiet(count: int) -> bytes:
    return b"".join(ORDINARY % i for i in range(count))


def told(data: bytes) -> list[object]:
    return list(scan_records(io.BytesIO(data), "log", evidence=True))


def told_ahead(path: Path, segment_bytes: int, searchers: int) -> list[object]:
    with (
        open_log(str(path)) as log,
        searched(log, searchers, least_bytes=1, segment_bytes=segment_bytes) as jumps,
    ):
        assert jumps is not None
        return list(scan_records(log, "log", evidence=True, jumps=jumps))


@contextmanager
def searched_here(path: Path, segment_bytes: int) -> Iterator[tuple[Log, Ahead]]:
    """As where there is no further process."""
    with open_log(str(path)) as log:
        assert log.plain is not None
        search = Search(log.plain.fileno(), needles.NEEDLES, needles.is_worth, segment_bytes)
        made = Ahead(search, log, path.stat().st_size, 0)
        yield log, made
        made.close()


@pytest.fixture(scope="module")
def cut_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of which the beginning is read anyhow, then reports with long quiet between them."""
    path = tmp_path_factory.mktemp("cut") / "log"
    path.write_bytes(quiet(1200) + REPORT + quiet(1800) + OTHERS[0] + quiet(1500) + REPORT * 2)
    return path


def test_cuts_at_every_line_of_a_report_change_nothing(cut_log: Path) -> None:
    data = cut_log.read_bytes()
    expected = told(data)
    begin = data.index(REPORT)
    offsets = [i + 1 for i in range(begin - 500, begin + len(REPORT) + 500) if data[i] == 10]
    assert len(offsets) > 40
    for offset in offsets:
        with searched_here(cut_log, offset) as (log, jumps):
            assert list(scan_records(log, "log", evidence=True, jumps=jumps)) == expected


@pytest.mark.parametrize("long", [9_000, 13_000, 30_000, 60_000, 200_000])
@pytest.mark.parametrize("segment_bytes", [4_000, 61_000, 450_000])
def test_lines_longer_than_what_is_looked_back_at_change_nothing(
    long: int, segment_bytes: int, tmp_path: Path
) -> None:
    """A part that is searched may begin in such a line, or have nothing but it."""
    told_in_it = OTHERS[1].rstrip() + b" x" * (long // 2) + b"\n"
    end_of_it = b"x " * (long // 2) + OTHERS[1]
    data = quiet(1000) + told_in_it + quiet(1500) + end_of_it + OTHERS[0] + quiet(1500)
    data += b"x " * (long // 2) + b"\n" + REPORT + quiet(1300) + REPORT
    path = tmp_path / "log"
    path.write_bytes(data)
    expected = told(data)
    assert len(expected) >= 3
    with searched_here(path, segment_bytes) as (log, jumps):
        assert list(scan_records(log, "log", evidence=True, jumps=jumps)) == expected
    with searched_here(path, segment_bytes) as (log, jumps):
        assert shown(log, jumps) == shown(io.BytesIO(data))


def found_by(data: bytes, path: Path, segment_bytes: int = 1 << 20) -> list[Stretch]:
    """What a search of a log finds, one after the other."""
    path.write_bytes(data)
    found, offset = [], 0
    with searched_here(path, segment_bytes) as (_, jumps):
        while (stretch := jumps.next(offset)) is not None:
            found.append(stretch)
            offset = stretch.last + 1
    return found


@pytest.mark.parametrize("segment_bytes", [1 << 20, 100_000, 7_777])
def test_a_line_that_is_all_that_matters_is_given_with_its_number(
    segment_bytes: int, tmp_path: Path
) -> None:
    before, between = quiet(1200), quiet(1000)
    data = before + OTHERS[1] + between + OTHERS[1] + OTHERS[1] + between
    found = found_by(data, tmp_path / "log", segment_bytes)
    begins = [len(before)]
    begins += [begins[0] + len(OTHERS[1]) + len(between)]
    begins += [begins[1] + len(OTHERS[1])]
    assert [(s.begin, s.line, s.alone) for s in found] == [
        (begins[0], 1201, OTHERS[1]), (begins[1], 2202, OTHERS[1]), (begins[2], 2203, OTHERS[1])
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "alone"), [(8191, True), (8192, True), (8193, False)])
def test_a_line_alone_is_no_longer_than_what_is_shown_of_one(
    size: int, alone: bool, tmp_path: Path
) -> None:
    start = OTHERS[1].rstrip()
    line = start + b" " + b"x" * (size - len(start) - 2) + b"\n"
    assert len(line) == size
    (found,) = found_by(quiet(1500) + line + quiet(500), tmp_path / "log")
    assert (found.alone == line) == alone


def test_a_needle_at_the_very_beginning_is_found(tmp_path: Path) -> None:
    line = b"OOMKilled=true of a container\n"
    (found,) = found_by(line, tmp_path / "log")
    assert found[:3] == (0, 0, 1)
    first, second = found_by(b"exit status 137\n" + b"exit status 137\n", tmp_path / "log")
    assert (first.line, second.line) == (1, 2)


def test_what_is_near_is_one_stretch(tmp_path: Path) -> None:
    """Needles no further than 64 KiB from the one before are read through, as one."""
    needle = REPORT.index(b" oom-killer")
    for apart, count in ((65_536, 1), (65_537, 2)):
        path = tmp_path / f"log{apart}"
        only = REPORT[: needle + 40] + b"\n"
        gap = quiet(3000)[: apart - len(only) - 1] + b"\n"
        assert len(only + gap) == apart
        found = found_by(quiet(2000) + only + gap + only + quiet(100), path)
        assert len(found) == count, apart
        assert found[-1].last == len(quiet(2000)) + apart + needle


def test_the_reader_begins_where_it_never_goes_further_back(tmp_path: Path) -> None:
    before = quiet(2000)
    (found,) = found_by(before + REPORT + quiet(100), tmp_path / "log")
    assert found.begin is not None
    assert 48 << 10 < len(before) - found.begin <= (52 << 10) + 1
    assert found.begin == before.index(b"\n", len(before) - 1 - (52 << 10)) + 1
    assert before[found.begin - 1 : found.begin] == b"\n"
    assert found.line == before.count(b"\n", 0, found.begin) + 1
    (near,) = found_by(quiet(500) + REPORT, tmp_path / "near")
    assert (near.begin, near.line) == (0, 1)


@pytest.mark.parametrize(("searchers", "forks"), [(1, 0), (2, 1), (3, 2), (40, 3)])
def test_one_of_the_searchers_is_the_reader(
    searchers: int, forks: int, cut_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor are there more than parts of the file: this one has four."""
    begun = []

    class Noted(Forked):
        def __init__(self, work: object) -> None:
            super().__init__(work)  # type: ignore[arg-type]  # as it is called
            begun.append(self)

    monkeypatch.setattr(ahead, "Forked", Noted)
    size = cut_log.stat().st_size
    with open_log(str(cut_log)) as log:
        assert log.plain is not None
        search = Search(
            log.plain.fileno(),
            needles.NEEDLES,
            needles.is_worth,
            size // (4 * ahead.PIECE_SEGMENTS) + 1,
        )
        made = Ahead(search, log, size, searchers)
        try:
            assert len(begun) == forks
            records = list(scan_records(log, "log", evidence=True, jumps=made))
        finally:
            made.close()
    assert records == told(cut_log.read_bytes())


@pytest.mark.parametrize("searchers", [2, 3, 7])
@pytest.mark.parametrize("segment_bytes", [150, 999, 20_000, 123_457])
def test_any_number_of_searchers_finds_the_same(
    cut_log: Path, searchers: int, segment_bytes: int
) -> None:
    assert told_ahead(cut_log, segment_bytes, searchers) == told(cut_log.read_bytes())


def told_begun(path: Path, begun: Ahead | None) -> list[object]:
    return list(read_records(str(path), searchers=2, begun=begun))


def test_a_search_that_has_begun_is_gone_on_with(cut_log: Path) -> None:
    begun = begin_search(str(cut_log), 2, least_bytes=1)
    assert begun is not None
    records = told_begun(cut_log, begun)
    assert records == list(read_records(str(cut_log)))
    with pytest.raises(ValueError, match="closed file"):
        begun.source_at(0).readinto(memoryview(bytearray(1)))


def test_a_search_of_a_file_that_was_replaced_counts_for_nothing(
    cut_log: Path, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(quiet(3000))
    begun = begin_search(str(path), 2, least_bytes=1)
    assert begun is not None
    path.rename(tmp_path / "log.1")
    path.write_bytes(cut_log.read_bytes())
    assert len(told_begun(path, begun)) == len(told(cut_log.read_bytes()))


def test_no_search_begins_where_there_is_none_to_do(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert begin_search(str(path), 2, least_bytes=1) is None
    path.write_bytes(quiet(100))
    assert begin_search(str(path), 2) is None, "it is small"
    assert begin_search(str(path), 1, least_bytes=1) is None, "nobody is to search"
    assert begin_search(str(tmp_path), 2, least_bytes=1) is None
    os.mkfifo(tmp_path / "pipe")
    assert begin_search(str(tmp_path / "pipe"), 2, least_bytes=0) is None, "it is read once"
    path.write_bytes(gzip.compress(quiet(2000)))
    assert begin_search(str(path), 2, least_bytes=1) is None, "it is packed"


class Feeds:
    """Notes what a scanner shows it; half of it is of use."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self._idle = 0

    def push(self, data: bytes, first_line: int) -> None:
        self.seen.append(("push", data, first_line))
        self._idle = self._idle + data.count(b"CRON") if b"killed" not in data else 0

    def glance(self, data: bytes, line: int) -> None:
        self.seen.append(("glance", data, line))

    def gap(self) -> None:
        self.seen.append(("gap",))

    def idle(self) -> bool:
        return self._idle > 40

    def has_open(self) -> bool:
        return self._idle < 20


class Pieces:
    """Bytes that come in pieces of some size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def readinto(self, buffer: memoryview, /) -> int:
        return self._file.readinto(buffer[: self._size])


def shown(source: Readable, jumps: Ahead | None = None) -> list[tuple[object, ...]]:
    sink = Feeds()
    scanner = Scanner(source, sink, needles.NEEDLES, worth=needles.is_worth, jumps=jumps)
    for _ in scanner.run():
        pass
    return sink.seen


PARTS = st.one_of(
    st.integers(1, 1500).map(quiet),
    st.sampled_from([*OTHERS, REPORT, REPORT[: len(REPORT) // 2], b"\n", b"killed " * 400 + b"\n"]),
)


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(PARTS, min_size=1, max_size=8), size=st.integers(1_000, 300_000))
def test_what_a_scanner_shows_depends_neither_on_pieces_nor_on_jumps(
    parts: list[bytes], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = quiet(1000) + b"".join(parts)
    expected = shown(io.BytesIO(data))
    assert shown(Pieces(data, size)) == expected
    path = tmp_path_factory.mktemp("jumps") / "log"
    path.write_bytes(data)
    with searched_here(path, size) as (log, jumps):
        assert shown(log, jumps) == expected


def test_quiet_parts_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(quiet(40_000) + REPORT + quiet(40_000))
    with searched_here(path, 200_000) as (log, jumps):
        counted = Counted(log)
        records = list(scan_records(counted, "log", evidence=True, jumps=jumps))
        assert len(records) == 1
        assert counted.bytes + path.stat().st_size // 4 < path.stat().st_size
    assert records == told(path.read_bytes())


class Counted:
    def __init__(self, log: Log) -> None:
        self._log = log
        self.bytes = 0

    def readinto(self, buffer: memoryview, /) -> int | None:
        got = self._log.readinto(buffer)
        self.bytes += got or 0
        return got


def test_a_searcher_that_is_killed_is_stood_in_for(
    cut_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Forked):
        def __init__(self, work: object) -> None:
            super().__init__(lambda _: os.kill(os.getpid(), signal.SIGKILL))

    monkeypatch.setattr(ahead, "Forked", Killed)
    assert told_ahead(cut_log, 50_000, 2) == told(cut_log.read_bytes())


def test_without_a_further_process_all_is_searched_here(
    cut_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> int:
        raise BlockingIOError("no process is left")

    monkeypatch.setattr(os, "fork", refused)
    assert told_ahead(cut_log, 50_000, 3) == told(cut_log.read_bytes())


def test_without_a_further_file_all_is_searched_here(
    cut_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> tuple[int, int]:
        raise OSError("no file is left")

    monkeypatch.setattr(os, "pipe", refused)
    assert told_ahead(cut_log, 50_000, 3) == told(cut_log.read_bytes())


def random_lines(count: int) -> bytes:
    """Lines that can hardly be packed."""
    draw = random.Random(5)
    return b"".join(b"Nov 29 06:25:01 host app: %s\n" % draw.randbytes(60).hex().encode()
                    for _ in range(count))  # fmt: skip


PACKERS = {"gz": lambda data: gzip.compress(data, 1), "xz": lzma.compress, "bz2": bz2.compress}


@pytest.fixture(scope="module")
def much() -> bytes:
    return random_lines(20_000) + REPORT + random_lines(2_000)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_file_unpacked_by_another_process_reads_the_same(
    kind: str, much: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[kind](much))
    assert path.stat().st_size > 1 << 20
    alone = list(read_records(str(path)))
    forks = []

    class Noted(Forked):
        def __init__(self, work: object) -> None:
            super().__init__(work)  # type: ignore[arg-type]  # as it is called
            forks.append(self)

    monkeypatch.setattr(sources, "Forked", Noted)
    assert list(read_records(str(path), searchers=2)) == alone
    assert len(alone) == 1
    assert len(forks) == 1


@pytest.mark.parametrize("kind", PACKERS)
def test_damage_is_said_in_the_same_words(kind: str, much: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[kind](much)[:-50_000])
    words = []
    for searchers in (1, 2):
        with pytest.raises(LogError) as caught:
            list(read_records(str(path), searchers=searchers))
        words.append(str(caught.value))
    assert words[0] == words[1]


def test_an_unpacker_that_is_killed_is_named(
    much: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Forked):
        def __init__(self, work: object) -> None:
            super().__init__(lambda _: os.kill(os.getpid(), signal.SIGKILL))

    monkeypatch.setattr(sources, "Forked", Killed)
    path = tmp_path / "log.gz"
    path.write_bytes(PACKERS["gz"](much))
    with pytest.raises(LogError, match=r"log\.gz: the process that unpacks it died"):
        list(read_records(str(path), searchers=2))
