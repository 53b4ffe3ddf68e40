"""Parts of the guard by themselves."""

import contextlib
import errno
import marshal
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from oomkit.guard import bootstrap, selftest
from oomkit.guard import reload as reload_module
from oomkit.guard.act_record import ActRecord, VictimRecord
from oomkit.guard.config import Places, Settings, from_plain, to_plain
from oomkit.guard.killer import Killer, Sent
from oomkit.guard.messages import MessageWriter
from oomkit.guard.ongoing_acts import OngoingAct
from oomkit.guard.pending_kills import PendingKills
from oomkit.guard.records import Origin
from oomkit.guard.reload import Reload
from oomkit.host.pidfd import start_ticks_of
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.read import find_policy


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


class Anybody:
    """A policy that protects nobody."""

    def refusal(self, pid: int) -> str:
        assert pid > 1
        return ""


def killer(own_pids: frozenset[int] = frozenset(), room: Any = lambda: None) -> Killer:
    return Killer(Places(), own_pids, cast(Any, Anybody()), None, room)


def signal_to(pid: int, start: int | None, name: str = "KILL") -> Signal:
    assert start is not None
    return Signal(Candidate(pid, start, 1, "x"), name, "chosen")


def test_a_signal_reaches_the_process_that_was_meant(child: subprocess.Popen[bytes]) -> None:
    one = killer()
    start = start_ticks_of(child.pid)
    (sent,) = one.send([signal_to(child.pid, start)])
    assert (sent.error, sent.name) == ("", "KILL")
    assert child.wait() == -signal.SIGKILL
    assert one.dead() == [(child.pid, start)]
    assert one.keys == ()


def test_a_process_that_started_at_another_time_is_another(child: subprocess.Popen[bytes]) -> None:
    start = start_ticks_of(child.pid)
    assert start is not None
    (sent,) = killer().send([signal_to(child.pid, start - 1)])
    assert sent.error == "gone"
    assert child.poll() is None


@pytest.mark.parametrize("who", ["init", "own"])
def test_init_and_ourselves_are_refused_whatever_a_policy_says(who: str) -> None:
    pid = 1 if who == "init" else os.getpid()
    (sent,) = killer(frozenset({os.getpid()})).send([signal_to(pid, start_ticks_of(pid) or 0)])
    assert sent.error == "never signalled"


def test_room_is_made_when_no_file_can_be_opened(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    opened = os.pidfd_open

    def scarce(pid: int, flags: int = 0) -> int:
        if not made:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(pid, flags)

    monkeypatch.setattr(os, "pidfd_open", scarce)
    one = killer(room=lambda: made.append(1))
    (sent,) = one.send([signal_to(child.pid, start_ticks_of(child.pid))])
    assert sent.error == ""
    assert made == [1]
    one.close()


def test_the_self_test_passes_here_and_fails_where_proc_is_not_to_be_seen(tmp_path: Path) -> None:
    assert selftest.fault() == ""
    assert "is not the proc file system" in selftest.fault(str(tmp_path))
    (tmp_path / "self").symlink_to(str(os.getpid()))
    assert "is not seen" in selftest.fault(str(tmp_path))


def ongoing(alive: set[tuple[int, int]], expected_kb: float = 1000.0) -> OngoingAct:
    record = ActRecord(
        Origin("p", dry_run=False), "7-1-100", 100.0, 100.0, level="hard",
        why_now={"rule": 0, "cgroup": None, "evidence": []}, victim=VictimRecord(7, 1, "x"),
        reason="", candidates=[], considered=1, command=None,
    )  # fmt: skip
    return OngoingAct(record, Candidate(7, 1, 1, "x"), alive, 100.0, 5000.0, expected_kb)


def test_an_act_is_over_when_the_memory_is_back() -> None:
    one = ongoing({(7, 1)})
    one.sent([Sent(signal_to(7, 1), 100.0, "")])
    assert not one.settled(100.1, 5000.0, short=True)
    one.died((7, 1), 100.2)
    assert not one.settled(100.2, 5100.0, short=True)
    assert one.settled(100.3, 5950.0, short=True)
    assert one.record.outcome == "died"
    assert one.record.freed_kb == 950
    assert one.record.freed_after_ms == pytest.approx(300)
    assert one.record.died_after_ms == pytest.approx(200)


def test_an_act_is_over_a_second_after_the_death_whatever_came_back() -> None:
    one = ongoing({(7, 1)})
    one.died((7, 1), 100.2)
    assert not one.settled(101.1, 5000.0, short=True)
    assert one.settled(101.3, 5000.0, short=True)
    assert one.record.freed_kb == 0


@pytest.mark.parametrize(
    ("name", "short", "outcome"), [("TERM", False, "spared"), ("KILL", True, "survived")]
)
def test_who_does_not_die_is_given_up_after_a_minute(name: str, short: bool, outcome: str) -> None:
    one = ongoing({(7, 1)})
    one.sent([Sent(signal_to(7, 1, name), 100.0, "")])
    assert not one.settled(159.0, 5000.0, short=short)
    assert one.settled(161.0, 5000.0, short=short)
    assert one.record.outcome == outcome


def test_what_is_pending_survives_and_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = PendingKills(str(path))
    first.write([ongoing({(7, 1)}).saved()])
    with pytest.raises(BlockingIOError):
        PendingKills(str(path))
    first.close()
    second = PendingKills(str(path))
    assert second.read()[0]["alive"] == [(7, 1)]
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    assert second.read() == []
    second.close()


def test_what_is_pending_counts_in_the_same_boot_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After another boot the same numbers and start times are those of other processes."""
    path = str(tmp_path / "state")
    first = PendingKills(path)
    first.write([ongoing({(7, 1)}).saved()])
    first.close()
    again = PendingKills(path)
    assert len(again.read()) == 1
    again.close()
    monkeypatch.setattr("oomkit.guard.pending_kills.read_boot_id", lambda: b"another")
    other = PendingKills(path)
    assert other.read() == []
    other.close()


def test_what_is_pending_is_bounded_and_keeps_whom_to_wait_for(tmp_path: Path) -> None:
    path = tmp_path / "state"
    pending = PendingKills(str(path))
    size = path.stat().st_size
    one = ongoing({(7, 1)})
    one.record.candidates = [{"comm": "x" * 1000}] * 400
    pending.write([one.saved()])
    assert pending.fault == ""
    (saved,) = pending.read()
    assert saved["alive"] == [(7, 1)]
    one.record.reason = "x" * (size + 1)
    pending.write([one.saved()])
    assert "more than can be kept" in pending.fault
    assert path.stat().st_size == size
    assert pending.read() == [saved]
    pending.close()


def test_pending_on_a_full_or_missing_disk_is_a_fault_not_an_error(
    tmp_path: Path, small_disk: Path
) -> None:
    missing = PendingKills(str(tmp_path / "no/state"))
    missing.write([])
    assert missing.fault == "No such file or directory"
    (small_disk / "filler").write_bytes(bytes(128 << 10))
    full = PendingKills(str(small_disk / "state"))
    assert full.fault == "No space left on device"
    full.write([{}])
    assert full.read() == []
    full.close()


def test_settings_survive_the_way_to_the_small_process() -> None:
    plan = compile_plan(find_policy("nohang"))
    plan.users = {1000: "me"}
    settings = Settings(
        plan,
        source="nohang",
        dry_run=False,
        places=Places(signals="/drill", cgroups="/sys/fs/cgroup", cgroup_version=2),
        missing=("no swap",),
        journal="/j",
    )
    again = from_plain(marshal.loads(marshal.dumps(to_plain(settings))))
    assert to_plain(again) == to_plain(settings)


def reloaded(*argv: str) -> Reload:
    one = Reload(argv)
    end = time.monotonic() + 20
    while not one.finished():
        assert time.monotonic() < end
    return one


@pytest.mark.parametrize(
    ("printed", "fault"),
    [
        ({"schema": 1, "name": "x"}, "of version 3, not 1: another version of oomkit"),
        ({"schema": 3, "name": "x"}, "expected a compiled policy"),
        ([1, 2], "expected a compiled policy"),
        (b"", "expected a compiled policy"),
    ],
)
def test_what_is_no_plan_of_this_version_is_refused(printed: Any, fault: str) -> None:
    data = marshal.dumps(printed) if printed else b""
    program = f"import sys; sys.stdout.buffer.write({data!r})"
    one = reloaded(sys.executable, "-c", program)
    assert one.plan is None
    assert fault in one.fault


def test_a_policy_is_read_by_another_process(tmp_path: Path) -> None:
    compiler = (sys.executable, "-m", "oomkit.guard.compile")
    good = reloaded(*compiler, "earlyoom")
    assert good.plan is not None
    assert good.plan.to_values() == compile_plan(find_policy("earlyoom")).to_values()
    path = tmp_path / "bad.toml"
    path.write_text(
        'name = "x"\n[[when]]\nlevel = "soft"\navailable = "lots"\n[whom]\nby = "luck"\n'
    )
    bad = reloaded(*compiler, str(path))
    assert bad.plan is None
    assert bad.fault.startswith(f"{path}: ")
    assert "when[0].available" in bad.fault
    assert "whom.by" in bad.fault
    assert "\n" not in bad.fault
    odd = reloaded(sys.executable, "-c", "print('hello')")
    assert odd.fault == "expected a compiled policy"
    crashed = reloaded(sys.executable, "-c", "import os; os.abort()")
    assert crashed.fault == "reading it ended with status -6"


def test_lines_are_clean_and_carry_their_priority_under_systemd() -> None:
    there, here = os.pipe()
    say = MessageWriter(here, priorities=True)
    say.line(4, "killed a\nb\x1b[31m é")
    os.close(here)
    with os.fdopen(there, "rb") as pipe:
        assert pipe.read() == "<4>killed a\\nb\\x1b[31m é\n".encode()


def test_a_reader_that_is_gone_is_no_error() -> None:
    there, here = os.pipe()
    os.close(there)
    say = MessageWriter(here)
    say.line(4, "nobody reads this")
    os.close(here)


def test_the_small_process_ends_in_one_line_if_it_can_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", bootstrap.__file__, "99"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "oomkit: internal error, please report it: OSError: [Errno 9] Bad file descriptor\n"
    )


def test_reading_a_policy_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload_module, "LONGEST_S", 0.2)
    for code in ("import time; time.sleep(600)",
                 "import sys, time; print(flush=True); sys.stdout.close(); time.sleep(600)",
                 "import sys\nwhile True: sys.stderr.write('x' * 65536)"):  # fmt: skip
        before = psutil.Process().children()
        one = reloaded(sys.executable, "-S", "-c", code)
        assert one.plan is None
        assert one.fault
        assert psutil.Process().children() == before, "it was ended, and waited for"


def test_a_pipe_that_is_full_is_not_waited_for_and_nothing_is_said_twice() -> None:
    there, here = os.pipe()
    os.set_blocking(here, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(here, bytes(4096))
    os.set_blocking(here, True)
    say = MessageWriter(here)
    assert say.never_blocks
    for number in range(1200):
        say.line(4, f"line {number}")
    assert say.waiting
    assert os.get_blocking(here), "its flags are others' as well"
    os.set_blocking(there, False)
    got = b""
    end = time.monotonic() + 20
    while b"are lost" not in got:
        assert time.monotonic() < end
        with contextlib.suppress(BlockingIOError):
            got += os.read(there, 1 << 20)
        say.flush()
    lines = got.lstrip(b"\0").decode().splitlines()
    assert lines[:1000] == [f"line {number}" for number in range(1000)]
    assert lines[1000:] == ["200 lines are lost: stderr was not read"]
    os.close(here)
    os.close(there)


def test_a_socket_that_is_full_is_not_waited_for() -> None:
    one, other = socket.socketpair()
    with one, other:
        say = MessageWriter(one.fileno())
        for _ in range(900):
            say.line(4, "x" * 2000)
        assert say.waiting
        say.close()
