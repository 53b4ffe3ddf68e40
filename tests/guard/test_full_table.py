"""The machine's table of files is full, and what comes free is another's at once."""

import os
import signal
import sys
from pathlib import Path

import pytest

from oomkit.guard.sensors import BLIND_PAUSE_S
from tests.guard import full_table
from tests.guard.arena import Arena
from tests.guard.policies import BRISK, SOFT

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
BY_USER = SOFT + '[whom]\nnever = [{ user = "daemon" }]\n'


def guarded(arena: Arena, policy: str = SOFT) -> Path:
    """A guard; returns the file at whose sight no more can be opened."""
    sign = arena.directory / "full"
    arena.guard(policy, begin=(sys.executable, full_table.__file__, str(sign)))
    return sign


def until_held(arena: Arena, *pids: int) -> None:
    """Wait until the guard holds processes themselves, beside their files."""
    arena.until(
        lambda: all(arena.ask("grips", arena.guard_pid, pid) for pid in pids), f"{pids} are held"
    )


def test_who_was_ranked_before_is_killed(arena: Arena) -> None:
    small = [arena.victim("small", 8) for _ in range(4)]
    large = arena.victim("large", 60)
    full = guarded(arena)
    arena.memory(available=0.15)
    until_held(arena, large, *small)
    full.touch()
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the largest dies")
    (act,) = arena.ended_acts()
    assert (act["victim"]["pid"], act["outcome"]) == (large, "died")
    assert all(map(arena.alive, small))
    assert "internal error" not in arena.log.read_text()


def test_who_is_held_while_all_is_well_is_killed(arena: Arena) -> None:
    """Files are taken before memory is."""
    small = [arena.victim("small", 8) for _ in range(4)]
    large = arena.victim("large", 60)
    full = guarded(arena)
    until_held(arena, large, *small)
    full.touch()
    arena.memory(available=0.15)
    arena.until_said("low memory: ")
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(large), "the largest dies")
    assert all(map(arena.alive, small))
    assert "internal error" not in arena.log.read_text()


def test_one_after_the_other_dies_but_not_soon(arena: Arena) -> None:
    """The one that fills memory may be one that can't be seen, so that no death helps."""
    first, second = arena.victim("first", 80), arena.victim("second", 60)
    full = guarded(arena, BRISK)
    arena.memory(available=0.15)
    until_held(arena, first, second)
    full.touch()
    unseen = arena.victim("unseen", 100)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(first), "the first dies")
    arena.until(lambda: not arena.alive(second), "and the second, as memory stays short")
    one, other = sorted(act["mono_s"] for act in arena.acts())
    assert other - one >= BLIND_PAUSE_S
    arena.until_said("not all processes can be looked at, and the last choice was just now")
    arena.until_said("the machine has too many files open (fs.file-max)")
    assert arena.alive(unseen)


def test_one_after_the_other_dies_where_all_are_held(arena: Arena) -> None:
    first, second = arena.victim("first", 80), arena.victim("second", 60)
    full = guarded(arena, BRISK)
    arena.memory(available=0.15)
    until_held(arena, first, second)
    full.touch()
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(second), "both die")
    assert not arena.alive(first)


def test_who_does_not_exit_is_killed(arena: Arena) -> None:
    deaf = arena.victim("deaf", 60, term="ignore")
    full = guarded(arena)
    arena.memory(available=0.15)
    until_held(arena, deaf)
    full.touch()
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(deaf), "it dies by the second signal")
    (act,) = arena.ended_acts()
    assert [one["name"] for one in act["signals"]] == ["TERM", "KILL"]


def test_a_command_that_can_not_be_started_keeps_none_from_dying(arena: Arena) -> None:
    large = arena.victim("large", 60)
    full = guarded(arena, SOFT + 'before = ["/bin/true"]\nnotify = true\n')
    arena.memory(available=0.15)
    until_held(arena, large)
    full.touch()
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the largest dies")
    arena.until_said("/bin/true: Too many open files in system")


@ROOT
def test_who_becomes_protected_meanwhile_is_spared(arena: Arena) -> None:
    """What protects is read again, by the files that are open."""
    drops, _ = arena.play("drops", "drops", 80, 1)
    other = arena.victim("other", 60)
    full = guarded(arena, BY_USER)
    arena.memory(available=0.15)
    until_held(arena, drops, other)
    full.touch()
    arena.ask("kill", drops, signal.SIGUSR1)
    arena.until(lambda: "\nUid:\t1\t" in arena.ask("read", f"/proc/{drops}/status"), "it drops")
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(other), "another one dies")
    assert arena.alive(drops)


@pytest.mark.parametrize("field", ["exe", "cmdline"])
def test_who_runs_another_program_meanwhile_is_what_it_runs(arena: Arena, field: str) -> None:
    python = Path(sys.executable).resolve()
    program = arena.directory / "safe"
    program.symlink_to(python) if field == "cmdline" else program.write_bytes(python.read_bytes())
    program.chmod(0o755)
    safe = [str(program), "-ISc", "import time; held = b'x' * (80 << 20); time.sleep(600)"]
    becomes, _ = arena.play("becomes", "python", *safe)
    other = arena.victim("other", 20)
    full = guarded(arena, f'{SOFT}[whom]\nnever = [{{ {field} = "{program}*" }}]\n')
    arena.memory(available=0.15)
    until_held(arena, becomes, other)
    full.touch()
    arena.ask("kill", becomes, signal.SIGUSR1)
    arena.until(
        lambda: arena.ask("read", f"/proc/{becomes}/cmdline").startswith(str(program)), "it runs"
    )
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(other), "another one dies")
    assert arena.alive(becomes)


def test_who_can_not_be_looked_at_is_not_signalled(arena: Arena) -> None:
    """It came when nothing could be opened any more, so what protects it can't be read."""
    held = arena.victim("held", 20)
    full = guarded(arena, BRISK + '[whom]\nnever = [{ comm = "precious" }]\n')
    arena.memory(available=0.15)
    until_held(arena, held)
    full.touch()
    late = arena.victim("precious", 80)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(held), "who is held dies")
    arena.until(lambda: "no eligible process" in arena.log.read_text(), "nobody else can be")
    assert arena.alive(late)
    full.unlink()
    seen = arena.victim("seen", 40)
    arena.until(lambda: not arena.alive(seen), "as soon as files can be opened it goes on")
    assert arena.alive(late)
