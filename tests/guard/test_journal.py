"""The journal: nothing is lost that can be kept, and nothing it meets raises."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.journal import Journal, rotated
from oomkit.guard.writer import Writer

pytestmark = pytest.mark.timeout(60)


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of the lines that are whole."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def numbers(path: Path) -> list[int]:
    return [record["n"] for record in lines(path) if "n" in record]


def test_a_record_gets_schema_clocks_and_boot(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), wall=lambda: 1700000000.5, mono=lambda: 12.25)
    journal.append({"kind": "start", "policy": "default"})
    journal.append({"kind": "act", "time_s": 1.0})
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    first, second = lines(path)
    assert first == {
        "schema": 1, "kind": "start", "time_s": 1700000000.5, "mono_s": 12.25, "boot_id": boot,
        "policy": "default",
    }  # fmt: skip
    assert second["time_s"] == 1.0
    assert (journal.written, journal.waiting, journal.lost, journal.fault) == (2, 0, 0, None)


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"n":1}\n{"n":2,"half')
    Journal(str(path)).append({"n": 3})
    assert numbers(path) == [1, 3]


def test_records_wait_for_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "later" / "journal"
    journal = Journal(str(path))
    journal.append({"n": 1})
    assert journal.fault == "No such file or directory"
    path.parent.mkdir()
    journal.append({"n": 2})
    assert numbers(path) == [1, 2]
    assert journal.fault is None


def test_out_of_file_descriptors_records_wait(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        journal = Journal(str(path))
        journal.append({"n": 1})
        assert journal.fault == "Too many open files"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    journal.append({"n": 2})
    assert numbers(path) == [1, 2]


def limited(path: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Fifty records into a file that can't grow over the limit, then the limit is lifted."""
    code = f"""
import resource, signal
from oomkit.guard.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, hard))
journal = Journal({str(path)!r})
for n in range(50):
    journal.append({{"n": n, "text": "x" * 100}})
print(journal.fault, journal.waiting > 0, journal.lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.append({{"n": 50}})
print(journal.fault, journal.waiting, journal.lost)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("limit", [5000, 5001, 5050, 5100, 5200])
def test_a_line_cut_by_a_full_disk_is_ended_later(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "journal"
    done = limited(path, limit)
    assert done.stdout == "File too large True 0\nNone 0 0\n"
    assert numbers(path) == list(range(51))
    assert path.read_bytes().count(b"\n") == 51


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    path = small_disk / "journal"
    journal = Journal(str(path))
    journal.append({"n": 0})
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    for n in range(1, 100):
        journal.append({"n": n, "text": "x" * 200})
    assert journal.fault == "No space left on device"
    assert journal.waiting
    ballast.unlink()
    assert journal.flush()
    assert numbers(path) == list(range(100))
    journal.close()


def test_what_falls_over_the_bound_is_counted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "later" / "journal"
    journal = Journal(str(path), backlog_bytes=3000)
    for n in range(100):
        journal.append({"n": n, "text": "x" * 100})
    assert journal.lost > 50
    path.parent.mkdir()
    journal.flush()
    written = numbers(path)
    assert written[0] == 0
    assert written[-1] == 99
    assert len(written) == 100 - journal.lost
    (told,) = [record for record in lines(path) if record["kind"] == "error" and "lost" in record]
    assert told["lost"] == journal.lost


def test_a_full_journal_makes_room(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), max_bytes=4000)
    for n in range(100):
        journal.append({"n": n, "text": "x" * 100})
    full = [Path(name) for name in rotated(str(path))]
    assert [old.name for old in full] == ["journal.4", "journal.3", "journal.2", "journal.1"]
    assert sorted(tmp_path.iterdir()) == [path, *reversed(full)]
    assert all(old.stat().st_size < 4000 + 300 for old in full)
    kept = [number for file in (*full, path) for number in numbers(file)]
    assert kept == list(range(kept[0], 100))
    assert kept[0] > 0
    assert journal.rotations > len(full)


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    code = f"""
from oomkit.guard.journal import Journal
journal = Journal({str(path)!r}, max_bytes=1 << 30)
n = 0
while True:
    journal.append({{"n": n, "text": "x" * 5000}})
    n += 1
    print(n, flush=True)
"""
    for _ in range(3):
        before = len(numbers(path)) if path.exists() else 0
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(20):
            said = int(writer.stdout.readline())
        time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        said = max([said, *map(int, rest[-1:])])
        assert len(numbers(path)) - before >= said
    damaged = [p for p in path.read_bytes().split(b"\n") if p and not p.endswith(b"}")]
    assert len(damaged) <= 3


def test_a_thread_writes_what_is_deferred(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), deferred=True)
    writer = Writer(journal.flush)
    for n in range(300):
        journal.append({"n": n})
        writer.kick()
    assert writer.stop()
    assert numbers(path) == list(range(300))
    assert writer.failures == 0


def test_a_write_that_blocks_does_not_block_recording() -> None:
    free = threading.Event()
    writer = Writer(free.wait)
    begin = time.monotonic()
    for _ in range(1000):
        writer.kick()
    assert not writer.stop(timeout_s=0.05)
    assert time.monotonic() - begin < 30
    free.set()
