"""A guard whose standard input is closed gets 0 for the first file that it opens: a file as any."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oomkit.guard.config import Places
from oomkit.guard.event_loop import EventLoop
from oomkit.guard.exporter import listening
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.guard.identity import Users, Wanted
from oomkit.guard.journal import Journal
from oomkit.guard.kernel_file import KernelFile
from oomkit.guard.kernel_kills import KernelKills
from oomkit.guard.machine_reader import MachineReader
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.process_files import ProcessFiles
from oomkit.guard.process_sizes import ProcessSizes
from oomkit.guard.reserve import Reserve
from oomkit.guard.writer import Status
from oomkit.policy.engine.reading import Reading
from tests.guard.made import Fds, Process

pytestmark = pytest.mark.hermetic


@pytest.fixture
def free_0() -> Iterator[None]:
    """Number 0 is free, as in a program that was started with ``<&-``."""
    saved = os.dup(0)
    os.close(0)
    yield
    os.dup2(saved, 0)
    os.close(saved)


def link_0() -> str:
    try:
        return os.readlink("/proc/self/fd/0")
    except OSError:
        return ""


def closed(close: Callable[[], object]) -> bool:
    """Whether number 0 was open, and is not any more."""
    before = link_0()
    close()
    return bool(before) and not link_0()


def at_once(path: str, flags: int, mode: int) -> int:
    """Opens a file without its directory, which would get the number first."""
    return os.open(path, flags | os.O_CREAT, mode)


@pytest.mark.usefixtures("free_0")
class TestNumber0:
    def test_a_file_of_the_kernels(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("text")
        file = KernelFile(str(tmp_path / "file"), replaced=True)
        assert (file.fd, file.read()) == (0, b"text")
        file.reopen()
        assert file.read() == b"text"
        assert closed(file.close)

    def test_a_journal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("oomkit.guard.journal.open_own", at_once)
        journal = Journal(str(tmp_path / "journal"), max_bytes=10)
        assert link_0().endswith("/journal")
        journal.append({"n": 1})
        journal.append({"n": 2})
        assert (journal.written, journal.fault, journal.rotations) == (2, None, 2)
        assert journal.flush()
        journal.reopen()
        journal.sync()
        journal.close()
        assert not link_0()
        assert not [fd for fd in os.listdir("/proc/self/fd") if _is(fd, "/journal")]

    def test_a_recorder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("oomkit.guard.flight_recorder.open_own", at_once)
        recorder = FlightRecorder(str(tmp_path / "recording"), 1 << 14)
        assert link_0().endswith("/recording")
        recorder.sample(Reading(1.0, 1.0, 1.0), ())
        recorder.mark(1, 1.0, 1, "x")
        assert (recorder.samples, recorder.flush(), recorder.fault) == (1, True, None)
        assert closed(recorder.close)

    def test_a_status_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("oomkit.guard.writer.open_own", at_once)
        status = Status(str(tmp_path / "status"))
        assert link_0().endswith("/status")
        status.write({"a": 1})
        assert b'"a":1' in (tmp_path / "status").read_bytes()
        assert closed(status.close)

    def test_what_is_under_way(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("oomkit.guard.pending_kills.open_own", at_once)
        pending = PendingKills(str(tmp_path / "state"))
        assert link_0().endswith("/state")
        pending.write([])
        assert pending.fault == ""
        assert closed(pending.close)

    def test_the_list_of_users(self, tmp_path: Path) -> None:
        (tmp_path / "passwd").write_text("a:x:5:5::/:\n")
        users = Users({}, str(tmp_path / "passwd"))
        users.refresh()
        (tmp_path / "passwd").write_text("bb:x:5:5::/:\n")
        users.refresh()
        assert (users.names, link_0().endswith("/passwd")) == ({5: "bb"}, True)
        assert closed(users.close)

    def test_processes(self, tmp_path: Path) -> None:
        Process(tmp_path, 10, anon=4096)
        sizes = ProcessSizes(str(tmp_path))
        assert link_0() == str(tmp_path)
        (tmp_path / "10").rename(tmp_path / "11")
        sizes.look(0, 0.0, full=True)
        assert list(sizes.kb) == ["11"]
        assert closed(sizes.close)
        wanted = Wanted(Places(proc=str(tmp_path)), frozenset({"oom_score"}), {}, root="")
        (tmp_path / "11/oom_score").write_text("7\n")
        one = ProcessFiles(11, wanted, 1.0)
        assert one.is_open
        one.identify(wanted)
        assert closed(one.close)

    @pytest.mark.parametrize("name", ["oom_score", "cgroup", "cmdline"])
    def test_what_is_read_of_a_process(self, tmp_path: Path, name: str) -> None:
        process = Process(tmp_path, 11)
        (process.directory / "oom_score").write_text("7\n")
        (process.directory / "cmdline").write_bytes(b"x\0")
        places = Places(proc=str(tmp_path), cgroups="/c", cgroup_version=2)
        wanted = Wanted(places, frozenset({"oom_score", "cmdline"}), {}, root="")
        held = [os.open("/dev/null", os.O_RDONLY)]
        opened = os.open

        def freeing(path: str, *rest: int, **named: int) -> int:
            if path.endswith(f"/{name}") and held and reading:
                os.close(held.pop())
            return opened(path, *rest, **named)

        patch = pytest.MonkeyPatch()
        with patch.context() as last:
            last.setattr(os, "open", freeing)
            reading = name == "oom_score"
            one = ProcessFiles(11, wanted, 1.0)
            reading = True
            if name != "oom_score":
                with pytest.raises(ProcessLookupError):
                    one.hold(wanted)  # its files are held by then
        assert link_0().endswith(f"/{name}")
        one.identify(wanted)
        opened_by_then = Fds()
        one.identify(wanted)
        assert Fds().since(opened_by_then) == 0
        found = one.candidate
        assert (found.oom_score, found.cgroup, found.cmdline) == (7, "/user.slice/app.scope", "x")
        assert closed(one.close)

    @pytest.mark.parametrize("which", ["kmsg", "vmstat"])
    def test_the_kernels_log_and_its_counter(self, tmp_path: Path, which: str) -> None:
        (tmp_path / "vmstat").write_text("oom_kill 1\n")
        os.mkfifo(tmp_path / "kmsg")
        kmsg = tmp_path / ("kmsg" if which == "kmsg" else "none")
        kills = KernelKills(kmsg=str(kmsg), vmstat=str(tmp_path / "vmstat"))
        assert link_0().endswith(f"/{which}")
        assert (kills.kmsg_fd == 0) is (which == "kmsg")
        (tmp_path / "vmstat").write_text("oom_kill 2\n")
        kills.look(1.0, 1.0)
        assert closed(kills.close)

    def test_the_files_of_a_drill(self, tmp_path: Path) -> None:
        (tmp_path / "pressure").mkdir()
        (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 5 kB\n")
        sources = MachineReader(Places(signals=str(tmp_path)))
        assert sources.news_fd == 0
        (tmp_path / "other").write_text("")
        assert sources.read(1.0) is not None
        with pytest.raises(BlockingIOError):
            os.read(0, 99)
        assert closed(sources.close)

    def test_pressure(self, tmp_path: Path) -> None:
        (tmp_path / "pressure").mkdir()
        (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 5 kB\n")
        (tmp_path / "pressure/memory").write_text("some total=1\nfull total=1\n")
        held: list[int] = []
        opened = os.open

        def freeing(path: str, *rest: int, **named: int) -> int:
            if str(path).endswith("pressure/memory") and held:
                os.close(held.pop())
            return opened(path, *rest, **named)

        held.append(os.open("/dev/null", os.O_RDONLY))
        patch = pytest.MonkeyPatch()
        with patch.context() as last:
            last.setattr(os, "open", freeing)
            sources = MachineReader(Places(proc=str(tmp_path)))
        assert link_0().endswith("/memory")
        assert sources.sees_pressure
        assert closed(sources.close)

    def test_what_wakes(self) -> None:
        loop = EventLoop("")
        assert link_0().startswith("pipe:")
        assert closed(loop.close)

    def test_the_reserve(self) -> None:
        reserve = Reserve()
        assert link_0() == "/dev/null"
        assert closed(reserve.close)

    def test_the_socket_of_metrics(self, tmp_path: Path) -> None:
        made = listening(f"unix:{tmp_path}/s")
        assert made.fileno() >= 0
        made.close()


def _is(fd: str, end: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").endswith(end)
    except OSError:
        return False
