"""The daemon has real processes stand still, and lets them go on, whatever becomes of it."""

import signal
import sys
from pathlib import Path

from tests.guard.arena import Arena

FREEZES = """
name = "gentle"
[look]
most = "200ms"
[[when]]
level = "ease"
available = "20%"
[[when]]
level = "soft"
available = "10%"
[how]
term_wait = "30s"
[how.freeze]
time = "10m"
wait = "10m"
"""


def frozen(arena: Arena, pid: int) -> None:
    arena.memory(available=0.15)
    arena.until(lambda: bool(arena.ask("state", pid) == "T"), "it stands still")


def goes_on(arena: Arena, pid: int) -> None:
    arena.until(lambda: bool(arena.ask("state", pid) != "T"), "it goes on")
    assert arena.alive(pid)


def test_a_guard_that_is_killed_leaves_none_frozen_for_the_next_one(arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    first = arena.guard(FREEZES)
    frozen(arena, large)
    assert arena.ask("state", small) != "T"
    (eased,) = arena.records("ease")
    assert (eased["act"], eased["victim"]["pid"], eased["value"]) == ("freeze", large, "stopped")
    arena.ask("kill", first, signal.SIGKILL)
    arena.until(lambda: not arena.alive(first), "the guard is killed")
    assert arena.ask("state", large) == "T"
    arena.memory(available=0.9)
    arena.guard(FREEZES, act=False)
    goes_on(arena, large)
    arena.until_said("freeze large[")
    arena.until(lambda: len(arena.records("ease")) == 2, "it is recorded")
    last = arena.records("ease")[-1]
    assert (last["outcome"], last["id"]) == ("taken back", eased["id"])


def test_undo_takes_back_what_a_killed_guard_left_and_not_what_one_at_work_does(
    arena: Arena, tmp_path: Path
) -> None:
    large = arena.victim("large", 60)
    guard = arena.guard(FREEZES)
    frozen(arena, large)
    program = str(Path(sys.executable).with_name("oomkit"))
    out = tmp_path / "undo"

    def undo() -> str:
        out.write_text("")
        argv = [program, "guard", "--undo", "--state", str(arena.state)]
        pid = arena.ask("start", argv, out=str(out))
        arena.until(lambda: not arena.alive(pid), "it is done")
        return out.read_text()

    assert "a guard is at work with this file" in undo()
    assert arena.ask("state", large) == "T"
    arena.ask("kill", guard, signal.SIGKILL)
    arena.until(lambda: not arena.alive(guard), "the guard is killed")
    assert undo() == f"freeze large[{large}]: taken back\n"
    goes_on(arena, large)
    assert undo() == "nothing to take back\n"


def test_what_stands_still_and_is_asked_to_exit_can_do_so(arena: Arena) -> None:
    large = arena.victim("large", 60, term="exit")
    arena.guard(FREEZES)
    frozen(arena, large)
    arena.memory(available=0.05)
    arena.until(lambda: not arena.alive(large), "it exits")
    arena.memory(available=0.9)
    (act,) = arena.ended_acts()
    assert [one["name"] for one in act["signals"]] == ["TERM"]


def test_a_guard_that_ends_leaves_none_frozen(arena: Arena) -> None:
    large = arena.victim("large", 60)
    guard = arena.guard(FREEZES)
    frozen(arena, large)
    arena.ask("kill", guard, signal.SIGTERM)
    arena.until(lambda: not arena.alive(guard), "the guard ends")
    goes_on(arena, large)
