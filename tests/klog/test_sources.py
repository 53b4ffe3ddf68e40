"""Files of every kind, standard input, and what can't be read."""

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from oomkit.klog import LogError, read_bytes, read_log
from oomkit.klog.lines.sources import kmsg_line
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
