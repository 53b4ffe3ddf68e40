"""Processes that can't do what a signal asks of them: stopped, or in a frozen cgroup."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.guard.arena import Arena
from tests.guard.policies import BRISK, SOFT

FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def frozen() -> Iterator[Path]:
    """A cgroup of version 1 that can be frozen; thawed and removed afterwards."""
    path = FREEZER / f"oomkit-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"needs the freezer of cgroup v1: {error}")
    yield path
    (path / "freezer.state").write_text("THAWED")
    for pid in (path / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    while (path / "cgroup.procs").read_text():
        os.sched_yield()
    path.rmdir()


def test_who_is_stopped_dies_of_sigkill(arena: Arena) -> None:
    """SIGTERM waits until it is continued."""
    stopped, small = arena.victim("stopped", 60), arena.victim("small", 8)
    arena.ask("kill", stopped, signal.SIGSTOP)
    arena.until(lambda: arena.ask("state", stopped) == "T", "it is stopped")
    arena.guard(SOFT)
    arena.memory(available=0.15)
    arena.until_ranked(stopped)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(stopped), "it dies")
    assert arena.alive(small)


def test_who_can_not_die_in_a_frozen_cgroup_does_not_keep_the_guard(
    arena: Arena, frozen: Path
) -> None:
    """The freezer of version 1 holds it even against SIGKILL: the next one is chosen."""
    still, other = arena.victim("still", 60), arena.victim("other", 30)
    arena.ask("write", str(frozen / "cgroup.procs"), str(still))
    (frozen / "freezer.state").write_text("FROZEN")
    arena.until(lambda: (frozen / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
    arena.guard(BRISK)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(other), "the other one dies")
    assert arena.alive(still)
    (frozen / "freezer.state").write_text("THAWED")
    arena.until(lambda: not arena.alive(still), "it dies once it is thawed")
    assert "internal error" not in arena.log.read_text()
