"""Processes that can't do what a signal asks of them: stopped, or in a frozen cgroup."""

import signal
from pathlib import Path

from tests.guard.arena import Arena
from tests.guard.policies import BRISK, SOFT


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
    arena: Arena, freezer: Path
) -> None:
    """The freezer of version 1 holds it even against SIGKILL: the next one is chosen."""
    still, other = arena.victim("still", 60), arena.victim("other", 30)
    arena.ask("write", str(freezer / "cgroup.procs"), str(still))
    (freezer / "freezer.state").write_text("FROZEN")
    arena.until(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
    arena.guard(BRISK)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(other), "the other one dies")
    assert arena.alive(still)
    (freezer / "freezer.state").write_text("THAWED")
    arena.until(lambda: not arena.alive(still), "it dies once it is thawed")
    assert "internal error" not in arena.log.read_text()
