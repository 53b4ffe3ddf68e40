"""Small parts of the guard, each by itself: what holds files, sleeps, starts programs and waits."""

import errno
import json
import marshal
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oomkit.guard import hooks as hooks_module
from oomkit.guard import pending_kills, reload, selftest
from oomkit.guard.config import (
    Places,
    Settings,
    from_plain,
    read_boot_id,
    state_directory,
    to_plain,
)
from oomkit.guard.event_loop import EventLoop
from oomkit.guard.hooks import LONGEST_S, MAX, TAKE_IN_S, Hooks
from oomkit.guard.idle_loop import IdleLoop
from oomkit.guard.journal import Journal, rotated
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.reaper import Reaper
from oomkit.guard.reload import Reload
from oomkit.guard.reserve import AMPLE, MIN, WANTED, Reserve
from oomkit.guard.status import Status
from oomkit.policy.engine.candidate import Candidate
from tests.guard.made import Fds
from tests.policy.making import LOW, plan

pytestmark = pytest.mark.hermetic


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many files can be open."""
    sysconf = os.sysconf

    def limit(files: int) -> None:
        monkeypatch.setattr(
            os, "sysconf", lambda name: files if name == "SC_OPEN_MAX" else sysconf(name)
        )

    return limit


# Descriptors in reserve


class Scarce:
    """``os.open`` of ``/dev/null`` while there are so many left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 100
        self.open = os.open
        monkeypatch.setattr(os, "open", self)

    def __call__(self, path: str, *rest: int, **named: int) -> int:
        if path == "/dev/null":
            if not self.left:
                raise OSError(errno.EMFILE, "Too many open files")
            self.left -= 1
        return self.open(path, *rest, **named)


def test_a_reserve_is_lent_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    reserve = Reserve()
    assert (reserve.held, MIN, WANTED) == (MIN, 6, 8)
    assert Fds().since(before) == MIN
    reserve.fill()
    assert reserve.held == WANTED
    with reserve:
        assert (reserve.held, Fds().since(before)) == (0, 0)
        with reserve:
            reserve.fill()
            assert reserve.held == 0, "it is lent"
        assert reserve.held == 0, "still lent"
    assert reserve.held == MIN
    reserve.fill()
    reserve.fill()
    assert reserve.held == WANTED
    reserve.close()
    assert (reserve.held, Fds().since(before)) == (0, 0)


def test_what_is_needed_less_makes_room_for_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    scarce = Scarce(monkeypatch)
    reserve = Reserve()
    made: list[int] = []

    def make_room() -> None:
        made.append(reserve.held)
        scarce.left += 3

    scarce.left = MIN
    with reserve:
        pass
    assert made == []
    scarce.left = 2
    with reserve:
        pass
    assert reserve.held == 2
    reserve.spare(make_room)
    scarce.left = 1
    with reserve:
        pass
    assert (made, reserve.held) == ([1], 4)
    scarce.left = MIN
    with reserve:
        pass
    assert made == [1]
    reserve.close()


@pytest.mark.parametrize(("bounded", "limit", "count", "ample"), [
    (True, 1 << 20, 0, False), (False, AMPLE, 0, True), (False, AMPLE - 1, 0, False),
    (False, -1, 0, True), (False, -1, 10**9, True), (False, AMPLE, 512, True),
    (False, AMPLE, 513, False), (False, 2000, 1488, True), (False, 2000, 1489, False),
])  # fmt: skip
def test_with_very_many_files_none_has_to_be_lent(
    limited: Callable[[int], None], bounded: bool, limit: int, count: int, ample: bool
) -> None:
    limited(limit)
    reserve = Reserve(bounded=bounded)
    assert reserve.ample(count) is ample
    with reserve:
        assert reserve.held == (MIN if reserve.ample() else 0)
    reserve.close()
    assert AMPLE == 1024


# What wakes the daemon


class Pressure:
    """Stands in for a pressure trigger."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.fd, self.wake = os.pipe()
        self.fine = True
        self.closed = 0
        triggers.append(self)

    def close(self) -> None:
        self.closed += 1


triggers: list[Pressure] = []


@pytest.fixture
def pressure(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Pressure]]:
    triggers.clear()
    monkeypatch.setattr("oomkit.guard.event_loop.Trigger", Pressure)
    yield triggers
    for one in triggers:
        os.close(one.fd)
        os.close(one.wake)


class Straight:
    """An idle loop that sleeps once."""

    def __init__(self) -> None:
        self.count = 0
        self.polled: list[int] = []

    def poll(self, poll: Any, timeout_ms: int) -> Any:
        self.polled.append(timeout_ms)
        return poll(0)


@pytest.fixture
def idle() -> Any:
    return Straight()


def test_what_becomes_readable_is_returned(idle: Any) -> None:
    before = Fds()
    loop = EventLoop("")
    there, here = os.pipe()
    assert loop.wait(1.5, [there], idle) == frozenset()
    os.write(here, b"x")
    assert loop.wait(0.0, [there], idle) == {there}
    assert loop.wait(0.25, [], idle) == frozenset()
    assert idle.polled == [1501, 1, 251]
    assert loop.count == 3

    def counting(_poll: Any, _ms: int) -> list[Any]:
        idle.count = 7
        return []

    idle.poll = counting
    loop.wait(0.0, [], idle)
    assert loop.count == 3 + 1 + 7
    loop.close()
    os.close(there)
    os.close(here)
    assert Fds().since(before) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_wake_and_wait_until_dealt_with(idle: Any, number: int) -> None:
    handlers = [signal.getsignal(one) for one in (1, 2, 15)]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    loop = EventLoop("")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {1, 2, 15} == set()
    signal.raise_signal(number)
    assert loop.asked == [number]
    seen: list[Any] = []

    def poll(poll: Any, _ms: int) -> Any:
        seen.append(poll(0))
        return seen[-1]

    idle.poll = poll
    assert loop.wait(0.0, [], idle) == frozenset()
    assert len(seen[0]) == 1
    assert loop.wait(0.0, [], idle) == frozenset()
    assert seen[1] == [], "it woke once"
    loop.close()
    assert [signal.getsignal(one) for one in (1, 2, 15)] == handlers


def test_pressure_wakes_and_a_trigger_that_is_lost_is_set_again(
    idle: Any, pressure: list[Pressure], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = EventLoop("/pressure")
    assert pressure[0].given == ("/pressure", "some", 100_000, 1_000_000)
    assert (loop.by_pressure, loop.has_trigger) == (True, True)
    pressure[0].fine = False
    assert (loop.by_pressure, loop.has_trigger) == (False, True)
    loop.set_trigger()
    assert len(pressure) == 1
    idle.poll = lambda _poll, _ms: [(pressure[0].fd, select.POLLPRI)]
    assert loop.wait(0.0, [], idle) == frozenset()
    assert loop.has_trigger
    idle.poll = lambda _poll, _ms: [(pressure[0].fd, select.POLLERR | select.POLLPRI)]
    assert loop.wait(0.0, [], idle) == frozenset()
    lost = loop.has_trigger
    assert (lost, loop.by_pressure, pressure[0].closed) == (False, False, 1)

    def refused(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patch:
        patch.setattr("oomkit.guard.event_loop.Trigger", refused)
        loop.set_trigger()
    assert vars(pressure[0])["closed"] == 1
    loop.set_trigger()
    assert [loop.has_trigger, len(pressure)] == [True, 2]
    loop.close()
    assert pressure[1].closed == 1
    none = EventLoop("")
    assert not none.has_trigger
    none.close()


def test_a_trigger_that_comes_later_is_polled_for(idle: Any, pressure: list[Pressure]) -> None:
    loop = EventLoop("")
    loop.wait(0.0, [], idle)
    polled: list[Any] = []

    def noting(poll: Any, _ms: int) -> list[Any]:
        polled.append(poll)
        return []

    idle.poll = noting
    loop.wait(0.0, [], idle)
    loop.wait(0.0, [], idle)
    assert polled[0].__self__ is polled[1].__self__, "it is made once for the long sleeps"
    made = EventLoop("/pressure")
    made.wait(0.0, [], idle)
    os.close(os.dup(pressure[0].fd))
    registered = polled[2].__self__
    with pytest.raises(OSError, match=r".*"):
        registered.modify(987, 1)
    registered.modify(pressure[0].fd, select.POLLPRI)
    made.close()
    loop.close()


def test_another_poll_sleeps_in_a_test() -> None:
    slept: list[int] = []
    loop = EventLoop("", lambda ms: slept.append(ms) or [])  # type: ignore[func-returns-value]  # append() is called for what it does
    idle: Any = SimpleNamespace(count=0, poll=lambda poll, ms: poll(ms))
    loop.wait(0.5, [], cast(IdleLoop, idle))
    assert slept == [501]
    loop.close()


# What is under way


def saved(number: int, size: int = 10) -> dict[str, Any]:
    return {"record": {"candidates": ["x" * size], "id": str(number)}, "alive": [(number, 1)]}


def test_what_is_under_way_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state"
    before = Fds()
    first = PendingKills(str(path))
    assert first.read() == []
    first.write([saved(1), saved(2)])
    assert first.read() == [saved(1), saved(2)]
    assert path.stat().st_size == 1 << 18
    assert oct(path.stat().st_mode & 0o777) == oct(0o600)
    first.close()
    first.close()
    assert Fds().since(before) == 0
    first.write([saved(3)])
    assert first.read() == []
    again = PendingKills(str(path))
    assert again.read() == [saved(1), saved(2)]
    again.write([])
    assert again.read() == []
    again.close()
    nothing = PendingKills(None)
    nothing.write([saved(1)])
    assert (nothing.read(), nothing.fault) == ([], "")


@pytest.mark.parametrize("damage", [0, 7, 8, 11, 12, 40])
def test_damage_anywhere_is_noticed(tmp_path: Path, damage: int) -> None:
    path = tmp_path / "state"
    first = PendingKills(str(path))
    first.write([saved(1)])
    first.close()
    data = bytearray(path.read_bytes())
    data[damage] ^= 0x40
    path.write_bytes(data)
    again = PendingKills(str(path))
    assert again.read() == []
    again.close()


@pytest.mark.parametrize("value", [5, ("x",), (read_boot_id(), 5), (read_boot_id(), ()), "xy"])
def test_what_is_whole_and_something_else_is_nothing(tmp_path: Path, value: Any) -> None:
    from binascii import crc32

    path = tmp_path / "state"
    PendingKills(str(path)).close()
    body = marshal.dumps(value)
    head = len(body).to_bytes(8, "little") + crc32(body).to_bytes(4, "little")
    path.write_bytes((head + body).ljust(1 << 18, b"\0"))
    again = PendingKills(str(path))
    assert again.read() == []
    again.close()
    path.write_bytes(
        (b"\1" + bytes(7) + crc32(b"?").to_bytes(4, "little") + b"?").ljust(1 << 18, b"\0")
    )
    again = PendingKills(str(path))
    assert again.read() == []
    again.close()


def test_where_all_does_not_fit_the_candidates_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_kills, "BYTES", 1000)
    state = PendingKills(str(tmp_path / "state"))
    size = len(marshal.dumps((read_boot_id(), [saved(1, 300)]))) - 300
    whole = 1000 - 12 - size
    for extra, kept, fault in (
        (whole, ["x" * whole], ""), (whole + 1, [], ""),
    ):  # fmt: skip
        state.write([saved(1, extra)])
        assert (state.read()[0]["record"]["candidates"], state.fault) == (kept, fault)
    many = [saved(n) for n in range(20)]
    state.write(many)
    assert state.fault == "20 acts are under way, more than can be kept"
    assert state.read()[0]["record"]["candidates"] == [], "what was kept before is kept still"
    state.write([saved(1)])
    assert state.fault == ""
    state.close()


# The journal


def test_a_write_that_is_cut_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0)
    write = os.write
    cuts: list[int | OSError] = [5, 7]

    def cutting(fd: int, data: bytes) -> int:
        cut = cuts.pop(0) if cuts else len(data)
        if isinstance(cut, OSError):
            raise cut
        return write(fd, data[:cut])

    monkeypatch.setattr(os, "write", cutting)
    journal.append({"n": 1})
    assert (journal.waiting, path.stat().st_size) == (1, 5)
    assert not journal.flush()
    assert path.stat().st_size == 12
    assert journal.flush()
    line = path.read_bytes()
    assert line.count(b"\n") == 1
    assert journal.written == 1
    # A disk that is full is tried again with the same file, one that broke is opened anew.
    for code, name in ((errno.ENOSPC, "No space left on device"), (errno.EDQUOT, "Disk quota"),
                       (errno.EFBIG, "File too large"), (errno.EINTR, "Interrupted"),
                       (errno.EIO, "Input/output error")):  # fmt: skip
        opened = Fds()
        cuts.append(OSError(code, os.strerror(code)))
        journal.append({"n": 2})
        assert (journal.fault or "").startswith(name)
        assert (opened.since(Fds()) == 0) == (code != errno.EIO)
        assert journal.flush()
        assert journal.fault is None
    journal.close()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [record["n"] for record in lines] == [1, 2, 2, 2, 2, 2]


def test_a_cut_line_is_ended_in_the_file_that_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), boot_id="b")
    write = os.write
    cuts: list[int | OSError] = [5, OSError(errno.EIO, "Input/output error")]

    def cutting(fd: int, data: bytes) -> int:
        cut = cuts.pop(0) if cuts else len(data)
        if isinstance(cut, OSError):
            raise cut
        return write(fd, data[:cut])

    monkeypatch.setattr(os, "write", cutting)
    journal.append({"n": 1})
    journal.flush()
    assert journal.flush()
    torn, whole = path.read_bytes().splitlines()
    assert (len(torn), whole.startswith(torn)) == (5, True)
    journal.close()


def test_beyond_its_size_it_is_moved_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert rotated("/j") == ["/j.4", "/j.3", "/j.2", "/j.1"]
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0)
    journal.append({"n": 1})
    size = path.stat().st_size
    journal.close()
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0,
                      max_bytes=2 * size)  # fmt: skip
    journal.append({"n": 2})
    assert journal.rotations == 0, "as large as it may be"
    for n in range(3, 10):
        journal.append({"n": n})
    for n in range(10, 27):
        journal.append({"n": n})
    full = [(tmp_path / f"journal.{n}").read_bytes().splitlines() for n in (1, 2, 3, 4)]
    assert not (tmp_path / "journal.5").exists()
    kept = [line for lines in reversed(full) for line in lines] + path.read_bytes().splitlines()
    assert [int(line[:-1].rpartition(b":")[2]) for line in kept] == list(range(27 - len(kept), 27))
    assert 8 < len(kept) < 16
    journal.close()
    path.unlink()
    journal = Journal(str(path), max_bytes=1)
    path.unlink()
    journal.append({"n": 1})
    assert (tmp_path / "journal.1").read_bytes().splitlines() == full[0], "there was none to move"
    journal.close()


def test_where_no_successor_can_be_made_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), max_bytes=10)

    def refused(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("oomkit.guard.journal.rename_own", refused)
        journal.append({"n": 1})
        assert (journal.rotations, journal.fault) == (0, "Permission denied")
    journal.append({"n": 2})
    assert journal.rotations == 1
    journal.close()


def test_what_falls_over_the_bound_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "later/journal"
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0)
    journal.append({"n": 100})
    journal.close()
    size = len(b'{"schema":1,"kind":"error","time_s":1.0,"mono_s":2.0,"boot_id":"b","n":100}\n')
    journal = Journal(str(path), boot_id="b", wall=lambda: 1.0, mono=lambda: 2.0,
                      backlog_bytes=3 * size)  # fmt: skip
    for n in range(101, 104):
        journal.append({"n": n})
    assert (journal.waiting, journal.lost) == (3, 0)
    journal.append({"n": 104})
    assert (journal.waiting, journal.lost) == (3, 1)
    journal.append({"n": 105, "text": "x" * 5 * size})
    assert (journal.waiting, journal.lost) == (2, 3)
    path.parent.mkdir()
    assert journal.flush()
    lines = path.read_text().splitlines()
    assert ['"n":101' in lines[0], '"n":105' in lines[1]] == [True, True]
    assert lines[2] == (
        '{"schema":1,"kind":"error","time_s":1.0,"mono_s":2.0,"boot_id":"b",'
        '"text":"3 records could not be written and are lost","lost":3}'
    )
    assert (journal.written, journal.waiting) == (3, 0)
    journal.append({"n": 106})
    assert path.read_text().count("are lost") == 1
    journal.close()


def test_deferred_records_wait_and_a_disk_is_asked_to_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    journal = Journal(str(path), deferred=True)
    journal.append({"n": 1})
    assert path.read_bytes() == b""
    journal.reopen()
    path.unlink()
    assert journal.flush()
    assert path.exists(), "opened again"
    asked: list[int] = []
    monkeypatch.setattr(os, "fdatasync", asked.append)
    journal.sync()
    assert len(asked) == 1

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    journal.sync()
    assert journal.fault == "Input/output error"
    journal.close()
    journal.sync()


def test_a_status_that_cant_be_written_says_why_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = Status(str(tmp_path / "status"))
    status.flush()
    assert (tmp_path / "status").read_bytes() == b""

    def broken(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        status.write({"a": 1})
    faults = [status.fault]
    status.write({"a": 2})
    assert [*faults, status.fault] == ["No space left on device", None]
    assert (tmp_path / "status").read_bytes() == b'{"n":2,"a":2,"end":2}\n'
    status.write({"a": 12345})
    status.write({"a": 6})
    assert (tmp_path / "status").read_bytes() == b'{"n":4,"a":6,"end":4}    \n'
    before = Fds()
    status.close()
    status.close()
    assert before.since(Fds()) >= 1


# Commands


class Programs:
    """Stands in for the kernel's part in starting and collecting commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[tuple[list[str], dict[str, str]]] = []
        self.options: dict[str, Any] = {}
        self.ended: dict[int, int] = {}
        self.strangers: set[int] = set()
        self.killed: list[int] = []
        self.ordinary: list[int] = []
        self.next = 1000
        monkeypatch.setattr(os, "posix_spawnp", self._spawn)
        monkeypatch.setattr(os, "waitpid", self._wait)
        monkeypatch.setattr(os, "killpg", self._kill)
        monkeypatch.setattr(hooks_module, "ordinary", self.ordinary.append)

    def _spawn(self, program: str, argv: list[str], environ: dict[str, str], **more: Any) -> int:
        if program == "/none":
            raise OSError(errno.ENOENT, "No such file or directory")
        assert program == argv[0]
        self.started.append((argv, environ))
        self.options = more
        self.next += 1
        return self.next

    def _wait(self, pid: int, _flags: int) -> tuple[int, int]:
        if pid in self.strangers:
            raise ChildProcessError(errno.ECHILD, "No child processes")
        return (pid, self.ended.pop(pid)) if pid in self.ended else (0, 0)

    def _kill(self, pid: int, number: int) -> None:
        assert number == 9
        if pid in self.ended:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        self.killed.append(pid)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(monkeypatch)


VICTIM = Candidate(4711, 1, 1, "big", cgroup="/a", unit=None)


def test_a_command_gets_what_it_is_about(programs: Programs) -> None:
    own: set[int] = set()
    hooks = Hooks(own_pids=own)
    assert hooks.start(("/x", "{pid}", "{comm}:{cgroup}:{unit}"), VICTIM, "before") == 1001
    ((argv, environ),) = programs.started
    assert argv == ["/x", "4711", "big:/a:"]
    said = [environ[f"OOMKIT_{name}"] for name in ("PID", "COMM", "UNIT", "CGROUP")]
    assert said == ["4711", "big", "", "/a"]
    assert environ["PATH"] == os.environ["PATH"]
    assert programs.options == {"setsigdef": (1, 2, 13, 15), "setpgroup": 0}
    assert (own, programs.ordinary) == ({1001}, [1001])
    assert (hooks.busy(), hooks.any()) == (True, True)
    other = Candidate(1, 1, 1, "x", unit="ssh.service")
    hooks.start(("/x", "{unit}", "{cgroup}"), other, "after")
    assert programs.started[-1][0] == ["/x", "ssh.service", ""]


@pytest.mark.parametrize(("status", "said"), [
    (0, []), (3 << 8, ["before: /x: exit status 3"]), (9, ["before: /x: killed by signal 9"]),
])  # fmt: skip
def test_how_a_command_ended_is_said_unless_it_is_well(
    programs: Programs, status: int, said: list[str]
) -> None:
    own: set[int] = {7}
    hooks = Hooks(own_pids=own)
    hooks.start(("/x",), VICTIM, "before")
    hooks.collect()
    assert hooks.any()
    programs.ended[1001] = status
    hooks.collect()
    assert (hooks.failures(), hooks.failures()) == (said, [])
    assert (hooks.any(), own) == (False, {7})


def test_one_that_is_collected_by_others_is_forgotten(programs: Programs) -> None:
    own: set[int] = set()
    hooks = Hooks(own_pids=own)
    hooks.start(("/x",), VICTIM, "before")
    hooks.start(("/x",), VICTIM, "before")
    programs.strangers.add(1001)
    programs.ended[1002] = 0
    hooks.collect()
    assert (hooks.any(), own, hooks.failures()) == (False, set(), [])


def test_one_that_cant_be_started_is_said(programs: Programs) -> None:
    hooks = Hooks()
    assert hooks.start(("/none",), VICTIM, "after") is None
    assert hooks.failures() == ["after: /none: No such file or directory"]
    assert not hooks.any()


@pytest.mark.parametrize(("late_s", "killed"), [(-0.1, False), (0.0, True)])
@pytest.mark.parametrize("taking_in", [False, True])
def test_one_that_runs_too_long_is_killed(
    programs: Programs, late_s: float, killed: bool, taking_in: bool
) -> None:
    now = [100.0]
    hooks = Hooks(clock=lambda: now[0])
    if taking_in:
        hooks.take_in(("/x", "y"))
        assert programs.started[0][0] == ["/x", "y"]
    else:
        hooks.start(("/x",), VICTIM, "after")
    now[0] += (TAKE_IN_S if taking_in else LONGEST_S) + late_s
    hooks.collect()
    assert programs.killed == ([1001] if killed else [])
    what = "history" if taking_in else "after"
    assert hooks.failures() == (
        [f"{what}: /x: killed, as it has run for too long"] if killed else []
    )
    assert (hooks.busy(), hooks.any()) == (not killed, True)
    programs.ended[1001] = 9
    hooks.collect()
    assert hooks.failures() == ([] if killed else [f"{what}: /x: killed by signal 9"])
    assert (LONGEST_S, TAKE_IN_S) == (60.0, 600.0)


def test_one_that_had_ended_by_then_is_not_killed(programs: Programs) -> None:
    now = [100.0]
    hooks = Hooks(clock=lambda: now[0])
    hooks.start(("/x",), VICTIM, "after")
    programs.ended[1001] = 0
    now[0] += LONGEST_S
    hooks.collect()
    assert hooks.failures() == ["after: /x: killed, as it has run for too long; it had ended"]
    assert not hooks.any()


def test_a_child_of_another_part_is_collected_and_never_late(programs: Programs) -> None:
    now = [100.0]
    hooks = Hooks(clock=lambda: now[0])
    hooks.adopt(55, "metrics")
    assert (hooks.busy(), hooks.any()) == (False, True)
    now[0] += 1e9
    hooks.collect()
    assert programs.killed == []
    programs.ended[55] = 2 << 8
    hooks.collect()
    assert hooks.failures() == ["metrics: exit status 2"]


def test_of_very_many_the_oldest_is_killed_and_one_that_ended_makes_room(
    programs: Programs,
) -> None:
    hooks = Hooks()
    hooks.adopt(55, "metrics")
    for _ in range(MAX):
        hooks.start(("/x",), VICTIM, "after")
    assert (programs.killed, MAX) == ([], 8)
    programs.ended[1003] = 0
    hooks.start(("/x",), VICTIM, "after")
    assert programs.killed == []
    hooks.start(("/x",), VICTIM, "after")
    assert programs.killed == [1001]
    assert hooks.failures() == ["after: /x: killed, as 8 commands run already, the maximum"]
    hooks.start(("/x",), VICTIM, "after")
    assert programs.killed == [1001, 1002]


@pytest.mark.parametrize(("euid", "told"), [(0, ["0", "7", "8"]), (7, ["7"]), (9, [])])
def test_each_session_that_may_be_reached_is_notified(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, euid: int, told: list[str]
) -> None:
    for user in ("0", "7", "8", "9x"):
        (tmp_path / user).mkdir()
        (tmp_path / user / "bus").touch()
    (tmp_path / "6").mkdir()
    stat = os.stat

    def search(path: str, **rest: Any) -> os.stat_result:
        if str(path).endswith("8/bus"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **rest)

    monkeypatch.setattr(os, "stat", search)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    Hooks(str(tmp_path)).notify("Low memory", "x")
    buses = {environ["DBUS_SESSION_BUS_ADDRESS"]: argv for argv, environ in programs.started}
    assert sorted(buses) == [f"unix:path={tmp_path}/{user}/bus" for user in told]
    note = ["notify-send", "--urgency=critical", "--app-name=oomkit", "Low memory", "x"]
    for user in told:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        assert buses[f"unix:path={tmp_path}/{user}/bus"] == (
            note if int(user) == euid else become + note
        )
    programs.started.clear()
    Hooks(str(tmp_path / "none")).notify("Low memory", "x")
    assert programs.started == []


def test_a_command_is_waited_for_a_little(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = os.pipe()
    monkeypatch.setattr(os, "pidfd_open", lambda _pid: os.dup(there))
    hooks = Hooks()
    hooks.start(("/x",), VICTIM, "before")
    before = Fds()
    assert not hooks.wait(1001, 0.0)
    os.write(here, b"x")
    programs.ended[1001] = 0
    assert hooks.wait(1001, 60.0)
    assert not hooks.any()
    assert Fds().since(before) == 0

    def none(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none)
    assert not hooks.wait(1001, 60.0)
    os.close(there)
    os.close(here)


# Help for those that exit


def test_the_killed_are_hurried_and_freed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr("oomkit.guard.reaper.run_first", lambda: done.append("first"))
    monkeypatch.setattr("oomkit.guard.reaper.hurry", lambda pid: done.append(("hurry", pid)))

    def release(fd: int) -> None:
        done.append("release")
        raise OSError(errno.EINVAL, f"Invalid argument {fd}")

    monkeypatch.setattr("oomkit.guard.reaper.process_mrelease", release)
    reaper = Reaper()
    gone: Any = SimpleNamespace(pid=7, fd=-1)
    for pid, killed in ((70, True), (71, False), (72, True)):
        there, here = os.pipe()
        reaper.help(cast(Any, SimpleNamespace(pid=pid, fd=here)), killed=killed)
        os.close(here)
        assert os.read(there, 1) == b"", "its own descriptor is closed when it is done"
        os.close(there)
        reaper.help(gone, killed=True)
    assert done == ["first", ("hurry", 70), "release", "release", ("hurry", 72), "release"]


# Reading the policy again


@pytest.fixture
def reading() -> Callable[..., Reload]:
    """Starts a reader that says what a test wants."""
    now = [100.0]

    def start(code: str) -> Reload:
        return Reload((sys.executable, "-I", "-S", "-c", code), lambda: now[0])

    start.now = now  # type: ignore[attr-defined]  # for the tests to move
    return start


def finished(one: Reload) -> Reload:
    poller = select.poll()
    poller.register(one.fd, select.POLLIN)
    while poller.poll(60_000) and not one.finished():
        pass
    return one


def test_a_plan_that_is_printed_is_taken(reading: Callable[..., Reload]) -> None:
    before = Fds()
    made = plan(LOW)
    one = reading(f"import sys; sys.stdout.buffer.write({marshal.dumps(made.to_values())!r})")
    assert Fds().since(before) == 2
    assert (one.plan, one.fault, one.left_s) == (None, "", 10.0)
    finished(one)
    assert one.plan is not None
    assert (one.plan.to_values(), one.fault) == (made.to_values(), "")
    assert (one.fd, Fds().since(before)) == (-1, 0)
    one.close()


@pytest.mark.parametrize(("code", "fault"), [
    ("import sys; sys.exit('whom.by:   bad\\n more')", "whom.by: bad more"),
    ("import sys; sys.exit(3)", "reading it ended with status 3"),
    ("import os; os.kill(os.getpid(), 9)", "reading it ended with status -9"),
    ("print('x')", "expected a compiled policy"),
    ("", "expected a compiled policy"),
])  # fmt: skip
def test_what_is_wrong_is_said(reading: Callable[..., Reload], code: str, fault: str) -> None:
    one = finished(reading(code))
    assert (one.plan, one.fault) == (None, fault)


def test_a_reader_has_its_time(reading: Callable[..., Reload]) -> None:
    before = Fds()
    one = reading("import time; time.sleep(600)")
    now = reading.now  # type: ignore[attr-defined]  # set by the fixture
    assert not one.finished()
    now[0] += 9.75
    assert one.left_s == 0.25
    assert not one.finished()
    now[0] += 0.25
    assert one.left_s == 0.0
    assert one.finished()
    assert one.fault == "reading it took more than 10 s"
    now[0] += 5
    assert one.left_s == 0.0
    assert Fds().since(before) == 0
    another = reading("import time; time.sleep(600)")
    another.close()
    assert Fds().since(before) == 0


def test_a_reader_that_prints_for_too_long_is_ended(
    reading: Callable[..., Reload], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "MAX_BYTES", 100)
    one = finished(
        reading("import sys\nwhile True: sys.stdout.write('x' * 4096); sys.stdout.flush()")
    )
    assert (one.plan, one.fault != "") == (None, True)


def test_a_reader_takes_signals_as_programs_do_and_may_be_killed_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ordinary: list[int] = []
    given: dict[str, Any] = {}
    spawn = os.posix_spawn

    def spawning(path: str, argv: Any, environ: Any, **options: Any) -> int:
        given.update(options)
        return spawn(path, argv, environ, **options)

    monkeypatch.setattr(os, "posix_spawn", spawning)
    monkeypatch.setattr(reload, "ordinary", ordinary.append)
    one = Reload((sys.executable, "-S", "-c", ""))
    assert given["setsigdef"] == (1, 2, 13, 15)
    assert len(ordinary) == 1
    one.close()


def test_a_reader_that_cant_be_started_leaves_nothing_open() -> None:
    before = Fds()
    with pytest.raises(FileNotFoundError):
        Reload(("/none",))
    assert Fds().since(before) == 0


# Before it is needed


def test_the_self_test_says_what_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    assert selftest.fault() == ""

    def refused(_self: Any, _number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr("oomkit.host.pidfd.Held.send", refused)
        assert selftest.fault() == "a process can't be killed by pidfd: Operation not permitted"
    with monkeypatch.context() as patch:
        patch.setattr("oomkit.host.pidfd.Held.send", lambda _self, _number: None)
        patch.setattr(selftest, "PATIENCE_MS", 50)
        assert selftest.fault() in ("a process that was sent SIGKILL did not exit", "")
    assert Fds().since(before) == 0


# Settings


def test_settings_come_back_whole() -> None:
    made = Settings(
        plan(LOW), source="/p.toml", compile_argv=("/c", "x"), dry_run=False,
        places=Places("/p", "/drill", "/s", "/c", 2), missing=("a",), journal="/j",
        take_in_argv=("/t",), recording="/r", recording_bytes=77, status="/st", state="/sa",
        exporter=55, files_bounded=False, self_test=False,
    )  # fmt: skip
    again = from_plain(marshal.loads(marshal.dumps(to_plain(made))))
    assert to_plain(again) == to_plain(made)
    for name in Settings.__slots__:
        if name not in ("plan", "places"):
            assert getattr(again, name) == getattr(made, name)
    bare = Settings(plan(LOW))
    assert (bare.source, bare.dry_run, bare.files_bounded, bare.self_test) == (
        "test", True, True, True,
    )  # fmt: skip
    assert (bare.exporter, bare.recording_bytes, bare.places.proc) == (0, 8 << 20, "/proc")


def test_pressure_is_waited_for_where_it_is_the_machines_own() -> None:
    assert Places(proc="/p").pressure == "/p/pressure/memory"
    assert Places(proc="/p", signals="/drill").pressure == ""
    assert Places(proc="/p").signals == "/p"


@pytest.mark.parametrize(("euid", "environ", "directory"), [
    (0, {}, "/var/lib/oomkit"), (0, {"STATE_DIRECTORY": "/a:/b"}, "/a"),
    (0, {"STATE_DIRECTORY": ""}, "/var/lib/oomkit"),
    (0, {"XDG_STATE_HOME": "/x"}, "/var/lib/oomkit"),
    (5, {"XDG_STATE_HOME": "/x"}, "/x/oomkit"),
    (5, {"STATE_DIRECTORY": "/a"}, "/h/.local/state/oomkit"),
])  # fmt: skip
def test_where_the_state_of_a_user_is(
    monkeypatch: pytest.MonkeyPatch, euid: int, environ: dict[str, str], directory: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(os, "environ", {"HOME": "/h", **environ})
    assert state_directory() == directory


def test_the_boot_is_known_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    assert read_boot_id() == Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    assert Fds().since(before) == 0

    def none(*_: object) -> int:
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "open", none)
    assert read_boot_id() == b""
