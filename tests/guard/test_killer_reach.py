"""A signal reaches whom it is meant for, and nobody else."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from oomkit.guard.config import Places
from oomkit.guard.killer import Killer
from oomkit.host.pidfd import start_ticks_of
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.escalation import Signal


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
