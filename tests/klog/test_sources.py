"""Files of every kind, standard input, and what can't be read."""

import bz2
import gzip
import io
import lzma
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from oomkit.klog import LogError, read_bytes, read_log
from oomkit.klog.lines import sources
from oomkit.klog.lines.sources import kmsg_line, open_log, running_kernel_log
from tests.klog.logs import bytes_of

DATA = bytes_of("s-5.13-ubuntu-sysrq-order-1.log")
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "utf-16": lambda data: data.decode().encode("utf-16"),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_every_packing_reads_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[kind](DATA))
    (report,) = read_log(str(path))
    (expected,) = read_bytes(DATA, str(path))
    assert report == expected
    assert report.killed[0].pid == 651


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_damaged_packing_is_said_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[kind](DATA * 50)[:-30])
    with pytest.raises(LogError, match=str(path)) as caught:
        list(read_log(str(path)))
    assert "\n" not in str(caught.value)


def test_frames_of_zstd_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    cut = len(DATA) // 2
    path.write_bytes(PACKERS["zst"](DATA[:cut]) + PACKERS["zst"](b"") + PACKERS["zst"](DATA[cut:]))
    assert list(read_log(str(path))) == list(read_bytes(DATA, str(path)))


def test_zstd_of_the_standard_library_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("compression.zstd", reason="needs Python 3.14")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = tmp_path / "log"
    path.write_bytes(PACKERS["zst"](DATA))
    assert list(read_log(str(path))) == list(read_bytes(DATA, str(path)))


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cant_be_opened_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(LogError, match=str(tmp_path)):
        list(read_log(str(tmp_path / name)))


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(DATA)))
    monkeypatch.setattr("sys.stdin", stdin)
    (report,) = read_log("-")
    assert report.source.file == "-"


def test_records_of_kmsg_become_lines() -> None:
    record = b"6,1234,5000001,-,caller=T77;Out of memory: Killed process 1 (x)\n DEVICE=a\n"
    assert kmsg_line(record) == b"<6>[    5.000001][   T77] Out of memory: Killed process 1 (x)\n"


def test_line_numbers_hold_far_into_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ordinary = b"Jun  1 10:00:00 web sshd[1]: Accepted publickey for root\n"
    path.write_bytes(ordinary * 150_000 + DATA + ordinary * 50_000 + DATA)
    first, second = read_log(str(path))
    length = DATA.count(b"\n") + (not DATA.endswith(b"\n"))
    assert first.source.line == 150_001
    assert second.source.line == 200_001 + length


def test_a_no_break_space_of_latin_1_is_a_blank() -> None:
    line = b"[  1.000001] Killed\xa0process 7 (caf\xe9) total-vm:9kB, anon-rss:9kB, file-rss:0kB\n"
    (report,) = read_bytes(line)
    assert (report.killed[0].pid, report.killed[0].comm) == (7, "caf\ufffd")


@pytest.mark.parametrize("name", ["-", "log"])
def test_what_standard_input_and_a_file_are_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    packed = gzip.compress(DATA * 50)[:-30]
    Path("log").write_bytes(packed)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed))))
    said = {"-": "standard input", "log": "log"}[name]
    with pytest.raises(LogError, match=f"^{said}: the compressed data is damaged: "):
        list(read_log(name))


def test_only_a_plain_file_can_be_read_from_any_place(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for kind, pack in PACKERS.items():
        path.write_bytes(pack(DATA))
        with open_log(str(path)) as log:
            assert (log.plain is not None) == (kind == "plain"), kind


def test_what_is_not_even_a_character_of_utf_16_reads_on(tmp_path: Path) -> None:
    """A lone half of a pair becomes U+FFFD, an odd byte at the end nothing."""
    path = tmp_path / "log"
    path.write_bytes(DATA.decode().encode("utf-16") + b"\n\0\x00\xd8x\0" + b"x")
    (report,) = read_log(str(path))
    assert report.killed[0].pid == 651


# -- the running kernel's log --------------------------------------------------------------------

RECORDS = (
    b"4,1,5000001,-;first\n SUBSYSTEM=cpu\n DEVICE=+cpu:0\n",
    b"30,2,3725000042,-,caller=C11;second\n",
    b"6,3,5000003,c;third; with a semicolon\n",
)
LINES = (
    b"<4>[    5.000001] first\n"
    b"<6>[ 3725.000042][   C11] second\n"
    b"<6>[    5.000003] third; with a semicolon\n"
)


@pytest.fixture
def kmsg(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A pipe of packets, which gives a record for each read, and blocks after the last."""
    reads, writes = os.pipe2(os.O_DIRECT)
    for record in RECORDS:
        os.write(writes, record)
    monkeypatch.setattr(sources, "KMSG", f"/proc/self/fd/{reads}")
    yield
    os.close(reads)
    os.close(writes)


@pytest.fixture
def no_kmsg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine where it can't be read; the directory whose programs are found."""
    monkeypatch.setattr(sources, "KMSG", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("kmsg")
def test_every_record_of_the_running_kernel_is_read() -> None:
    before = set(os.listdir("/proc/self/fd"))
    assert running_kernel_log() == LINES
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.usefixtures("kmsg")
def test_records_that_are_overwritten_meanwhile_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel says so once, as EPIPE, and goes on with the oldest that it still has."""
    read = os.read
    said: list[int] = []

    def overwritten(fd: int, size: int) -> bytes:
        if not said:
            said.append(fd)
            raise BrokenPipeError
        return read(fd, size)

    monkeypatch.setattr(os, "read", overwritten)
    assert running_kernel_log() == LINES


def test_a_record_that_is_none_stays_as_it_is() -> None:
    assert kmsg_line(b"x,1,5000001,-;text\n") == b"text\n"
    assert kmsg_line(b"6,1;text\n") == b"text\n"
    # The priority's lowest three bits are the level, the rest the facility.
    assert kmsg_line(b"14,1,999999,-;text\n") == b"<6>[    0.999999] text\n"
    assert kmsg_line(b"6,1,1000000,-,x=1,caller=T7;text\n") == b"<6>[    1.000000][    T7] text\n"


def test_where_kmsg_cant_be_read_dmesg_and_the_journal_are_asked(no_kmsg: Path) -> None:
    with pytest.raises(LogError) as nothing:
        running_kernel_log()
    assert str(nothing.value) == (
        f"{no_kmsg}/none: No such file or directory; expected to be run as root, or a FILE"
    )
    program(no_kmsg / "journalctl", 'echo "journal: $*"')
    assert running_kernel_log() == b"journal: -q -k -o short-monotonic --no-pager\n"
    program(no_kmsg / "dmesg", "echo what it may see; exit 1")
    assert running_kernel_log().startswith(b"journal: ")
    program(no_kmsg / "dmesg", "exit 0")
    assert running_kernel_log().startswith(b"journal: ")
    program(no_kmsg / "dmesg", "echo ring")
    assert running_kernel_log() == b"ring\n"
    with open_log(None) as log:
        assert log.name == f"{no_kmsg}/none"


def test_a_journal_that_fails_gives_nothing(no_kmsg: Path) -> None:
    program(no_kmsg / "journalctl", "echo part; exit 1")
    with pytest.raises(LogError):
        running_kernel_log()


def test_an_unpacker_hands_over_all_in_any_pieces(tmp_path: Path) -> None:
    """More than it sends at a time, read in pieces that divide none of its own."""
    path = tmp_path / "log.gz"
    data = os.urandom(3 << 19)
    path.write_bytes(gzip.compress(data, 0))
    assert path.stat().st_size > 1 << 20
    for size in (4096, 100_003, 1 << 19):
        with open_log(str(path), apart=True) as log:
            got = bytearray()
            buffer = bytearray(size)
            while count := log.readinto(memoryview(buffer)):
                got += buffer[:count]
            assert got == data
            assert log.readinto(memoryview(buffer)) == 0
