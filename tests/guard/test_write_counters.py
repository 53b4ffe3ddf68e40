"""Who writes files that lie in memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oomkit.guard.config import Places
from oomkit.guard.tmpfs import Tmpfs, WriteCounters
from tests.guard.arena import Arena
from tests.guard.policies import SOFT

MB = 1024

WRITER = """
import sys
path, = sys.argv[1:]
file = open(path, "wb", buffering=0)
for line in sys.stdin:
    file.write(bytes(int(line) << 20))
    print("written", flush=True)
"""


class Writer:
    """A process that writes as it is told, and keeps its file open."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def write(self, mib: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{mib}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "written\n"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start() -> Iterator[Callable[[Path], Writer]]:
    writers = []

    def begin(path: Path) -> Writer:
        writers.append(Writer(path))
        return writers[-1]

    yield begin
    for writer in writers:
        writer.close()


@pytest.fixture
def in_memory() -> Iterator[Path]:
    if not os.access("/proc/self/io", os.R_OK):
        pytest.skip("needs /proc/PID/io (CONFIG_TASK_IO_ACCOUNTING)")
    if not _is_tmpfs("/dev/shm"):
        pytest.skip("needs a tmpfs at /dev/shm")
    path = Path(f"/dev/shm/oomkit-test-{os.getpid()}")
    yield path
    path.unlink(missing_ok=True)


def _is_tmpfs(directory: str) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(f" {directory} " in line and " - tmpfs " in line for line in lines)


def test_writers_to_tmpfs_are_distinguished_from_those_elsewhere(
    in_memory: Path, tmp_path: Path, start: Callable[[Path], Writer]
) -> None:
    filler, idle = start(in_memory), start(Path(f"{in_memory}"))
    if _is_tmpfs(str(tmp_path)) or os.stat(tmp_path).st_dev == os.stat("/dev/shm").st_dev:
        pytest.skip("needs a directory that does not lie in memory")
    other = start(tmp_path / "file")
    filler.write(4)
    written = WriteCounters("/proc")
    before = written.now()
    filler.write(20)
    other.write(30)
    found = written.to_tmpfs(20 * MB, before, [filler.pid, idle.pid, other.pid])
    assert set(found) == {filler.pid}
    assert 20 * MB - 64 <= found[filler.pid] <= 20 * MB
    assert filler.pid in written.to_tmpfs(20 * MB, before)
    assert written.to_tmpfs(400 * MB, before, [filler.pid]) == {}, "too little to have been it"


def test_without_cgroups_the_writer_is_found_by_what_it_wrote(
    in_memory: Path, start: Callable[[Path], Writer]
) -> None:
    filler = start(in_memory)
    tmpfs = Tmpfs(Places())
    tmpfs.note(1000.0)
    filler.write(30)
    wrote = {filler.pid: pytest.approx(30 * MB, abs=64)}
    assert tmpfs.writers(1000.0 + 30 * MB, 10 * MB) == wrote
    tmpfs.note(1000.0 + 30 * MB)
    assert tmpfs.writers(1000.0 + 30 * MB, 10 * MB) == wrote, "a new moment hides nothing"
    tmpfs.forget()
    tmpfs.note(1000.0 + 30 * MB)
    assert tmpfs.writers(1000.0 + 30 * MB, 10 * MB) == {}


def test_in_a_cgroup_that_grew_only_the_writer_counts(
    in_memory: Path, tmp_path: Path, start: Callable[[Path], Writer]
) -> None:
    filler, idle = start(in_memory), start(Path("/dev/null"))
    (tmp_path / "app").mkdir()
    (tmp_path / "app/memory.stat").write_text("anon 1\nshmem 1048576\n")
    (tmp_path / "app/cgroup.procs").write_text(f"{filler.pid}\n{idle.pid}\n")
    tmpfs = Tmpfs(Places(cgroups=str(tmp_path), cgroup_version=2))
    tmpfs.note(0.0)
    filler.write(30)
    (tmp_path / "app/memory.stat").write_text(f"anon 1\nshmem {(1 + 30) << 20}\n")
    assert tmpfs.writers(30 * MB, 10 * MB) == {filler.pid: pytest.approx(30 * MB, abs=64)}


def test_a_pid_that_was_given_anew_counts_from_nothing(tmp_path: Path) -> None:
    process = tmp_path / "77"
    (process / "fd").mkdir(parents=True)
    io = "rchar: 1\nwchar: {}\nsyscr: 1\nsyscw: 1\nread_bytes: 0\nwrite_bytes: 4096\n"
    (process / "io").write_text(io.format(900 << 20))
    device = os.stat(tmp_path).st_dev
    (process / "mountinfo").write_text(
        f"24 1 {os.major(device)}:{os.minor(device)} / /tmp rw - tmpfs none rw\n"
    )
    (process / "fd/3").write_text("")
    written = WriteCounters(str(tmp_path))
    before = written.now()
    (process / "io").write_text(io.format((10 << 20) + 4096))
    assert written.to_tmpfs(20 * MB, before) == {77: 10 * MB}
    (process / "mountinfo").write_text("24 1 0:1 / /tmp rw - tmpfs none rw\n")
    assert written.to_tmpfs(20 * MB, before) == {}, "none of its open files lies in memory"


def test_a_process_that_cant_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "78").mkdir()
    written = WriteCounters(str(tmp_path))
    before = written.now()
    assert written.to_tmpfs(1.0, before) == {}
    assert WriteCounters(str(tmp_path / "missing")).to_tmpfs(1.0, {}) == {}


def test_a_guard_stops_who_fills_tmpfs_and_says_so(arena: Arena) -> None:
    """The large one would be killed first by what it holds."""
    if not _is_tmpfs("/dev/shm"):
        pytest.skip("needs a tmpfs at /dev/shm")
    large = arena.victim("large", 60)
    path = Path(f"/dev/shm/oomkit-test-{os.getpid()}-filler")
    try:
        filler = int(arena.ask("filler", "filler", str(path)))
        arena.guard(SOFT + "[whom]\ngrowth = 0.95\n")
        arena.memory(available=0.2, shmem=0.01)
        time.sleep(0.5)  # what everybody has written is noted
        Path(f"{path}.go").write_text("24")
        arena.until(lambda: path.stat().st_size >= 24 << 20, "it writes")
        arena.memory(available=0.08, shmem=0.04)
        arena.until(lambda: not arena.alive(filler), "the writer dies")
        arena.memory(available=0.5)
        arena.ended_acts()
        assert arena.alive(large)
        arena.until_said("MiB to tmpfs: available")
    finally:
        path.unlink(missing_ok=True)
        Path(f"{path}.go").unlink(missing_ok=True)
