"""What goes wrong around a guard: nothing is lost from the history, nobody dies by mistake."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.guard.arena import Arena
from tests.guard.policies import BRISK, SOFT


def test_a_broken_policy_does_not_replace_the_one_in_force(arena: Arena) -> None:
    large = arena.victim("large", 60)
    guard = arena.guard(SOFT)
    arena.policy(SOFT.replace('available = "10%"', 'available = "lots"'))
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: bool(arena.records("reload")), "it has tried")
    (reload,) = arena.records("reload")
    assert reload["ok"] is False
    assert "when[1].available" in reload["text"]
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the old policy acts")


def test_a_good_policy_replaces_the_one_in_force(arena: Arena) -> None:
    large = arena.victim("large", 60)
    guard = arena.guard('name = "nothing"\n')
    arena.memory(available=0.02)
    time.sleep(0.5)
    assert arena.alive(large)
    arena.policy(SOFT)
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: not arena.alive(large), "the new policy acts")
    assert [(r["ok"], r["policy"]) for r in arena.records("reload")] == [(True, "test")]


def test_a_reload_in_the_middle_of_an_act_makes_no_second_victim(arena: Arena) -> None:
    deaf, small = arena.victim("deaf", 60, term="ignore"), arena.victim("small", 20)
    guard = arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "somebody is asked to leave")
    arena.ask("kill", guard, signal.SIGHUP)
    arena.until(lambda: bool(arena.records("reload")), "the policy is read again")
    arena.until(lambda: not arena.alive(deaf), "the first victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(small)
    assert act["outcome"] == "died"


def test_pressure_that_vanishes_is_said_once_and_the_other_rules_hold(arena: Arena) -> None:
    large = arena.victim("large", 60)
    psi = '[[when]]\nlevel = "soft"\navailable = "50%"\npsi_full = "20%"\nover = "1s"\n'
    arena.guard(SOFT + psi)
    os.truncate(arena.signals / "pressure/memory", 0)
    arena.until_said("PSI is no longer readable")
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the rule about memory acts")
    assert len(arena.records("error")) == 1


def test_a_full_disk_loses_nothing_from_the_history(small_disk: Path, arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    arena.journal = small_disk / "journal.jsonl"
    arena.guard(SOFT, "--record", str(small_disk / "recording"), "--record-size", "1M")
    arena.until_said("recording: No space left on device")
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the victim dies all the same")
    arena.memory(available=0.5)
    arena.until_said("memory recovered")
    warnings = 0
    while "journal.jsonl: No space left on device" not in arena.log.read_text():
        warnings += 1
        arena.memory(available=0.15)
        arena.until_said("low memory: ", warnings)
        arena.memory(available=0.5)
        arena.until_said("memory recovered", warnings + 1)
    filler.unlink()
    arena.until_said("journal can be written again")
    (act,) = arena.ended_acts()
    assert act["outcome"] == "died"
    assert arena.alive(small)
    assert len(arena.records("warn")) == warnings
    assert [r["kind"] for r in arena.records() if r["kind"] != "warn"] == ["start", "act", "act"]


def test_too_few_descriptors_do_not_keep_it_from_the_right_one(arena: Arena) -> None:
    others = [arena.victim("small", 8) for _ in range(12)]
    large = arena.victim("large", 60)
    arena.guard(SOFT, files=36)
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    assert all(arena.alive(pid) for pid in others)
    assert "few file descriptors are left" in arena.log.read_text()


def test_another_process_with_the_victims_number_is_left_alone(arena: Arena) -> None:
    """The number is used again between the choice and the SIGKILL that follows SIGTERM."""
    deaf = arena.victim("deaf", 60, term="ignore")
    guard = arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "it is asked to leave")
    arena.ask("kill", guard, signal.SIGSTOP)
    arena.ask("kill", deaf, signal.SIGKILL)
    arena.until(lambda: not arena.alive(deaf), "it is gone")
    try:
        assert arena.ask("reuse", deaf, "other", 1) == deaf
    except OSError as error:
        pytest.skip(f"needs to choose the next pid: {error}")
    time.sleep(1.2)  # SIGKILL would be due
    arena.ask("kill", guard, signal.SIGCONT)
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert act["outcome"] == "died"
    assert [one["name"] for one in act["signals"]] == ["TERM"]
    assert arena.alive(deaf)


def test_being_stopped_in_the_middle_makes_no_second_victim(arena: Arena) -> None:
    deaf, small = arena.victim("deaf", 60, term="ignore"), arena.victim("small", 20)
    guard = arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "somebody is asked to leave")
    arena.ask("kill", guard, signal.SIGSTOP)
    time.sleep(2.5)
    arena.ask("kill", guard, signal.SIGCONT)
    arena.until(lambda: not arena.alive(deaf), "the first victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(small)
    assert act["outcome"] == "died"


@pytest.mark.parametrize("away_s", [0.0, 1.5])  # SIGKILL is due after one second
def test_killed_in_the_middle_and_started_again_it_goes_on_with_the_same_victim(
    arena: Arena, away_s: float
) -> None:
    deaf, small = arena.victim("deaf", 60, term="ignore"), arena.victim("small", 20)
    guard = arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "somebody is asked to leave")
    arena.ask("kill", guard, signal.SIGKILL)
    arena.until(lambda: not arena.alive(guard), "the guard is gone")
    time.sleep(away_s)
    arena.guard()
    arena.until(lambda: not arena.alive(deaf), "the first victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(small)
    assert act["victim"]["pid"] == deaf
    assert act["outcome"] == "died"
    assert act["resumed"] is True
    assert [one["name"] for one in act["signals"]] == ["TERM", "KILL"]
    assert [r["resumed"] for r in arena.records("start")] == [0, 1]


def test_a_second_guard_does_not_begin(arena: Arena) -> None:
    arena.guard(SOFT)
    with pytest.raises(AssertionError, match="another guard is at work"):
        arena.guard()


def test_a_victim_that_does_not_even_die_of_sigkill_is_given_up(
    arena: Arena, freezer: Path
) -> None:
    frozen, next_one = arena.victim("frozen", 60), arena.victim("next", 20)
    arena.ask("write", str(freezer / "cgroup.procs"), str(frozen))
    (freezer / "freezer.state").write_text("FROZEN")
    arena.until(lambda: arena.ask("state", frozen) == "D", "it is frozen")
    arena.guard(BRISK)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(next_one), "the next one dies")
    arena.memory(available=0.5)
    first, second = arena.ended_acts()
    assert arena.alive(frozen)
    assert (first["victim"]["pid"], second["victim"]["pid"]) == (frozen, next_one)
    assert second["mono_s"] - first["mono_s"] >= 1.0, "it was waited for"
    assert second["outcome"] == "died"
    (freezer / "freezer.state").write_text("THAWED")
    first, second = arena.ended_acts(2)
    assert first["outcome"] == "died"
