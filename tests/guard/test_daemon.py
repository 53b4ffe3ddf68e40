"""The daemon in a pid namespace, with victims that hold memory and made figures."""

import signal
import time

import pytest

from tests.guard.arena import Arena
from tests.guard.policies import SOFT


def test_the_largest_dies_and_the_record_says_all(arena: Arena) -> None:
    large, small = arena.victim("large", 60), arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(large), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert arena.alive(small)
    assert act["victim"]["pid"] == large
    assert act["victim"]["comm"] == "large"
    assert act["outcome"] == "died"
    assert act["policy"] == "test"
    assert act["dry_run"] is False
    (evidence,) = act["evidence"]
    assert evidence["name"] == "available"
    assert evidence["holds"] is True
    assert [one["comm"] for one in act["candidates"]][:2] == ["large", "small"]
    assert act["candidates"][0]["freed_kb"] == pytest.approx(60 << 10, rel=0.2)
    assert [one["name"] for one in act["signals"]] == ["TERM"]
    assert act["freed_kb"] == pytest.approx(0.42 * (1 << 20), rel=0.01)
    assert act["freed_after_ms"] >= 0
    assert [r["kind"] for r in arena.records()][:2] == ["start", "act"]


def test_a_dry_run_kills_no_process_and_logs_which_it_would(arena: Arena) -> None:
    large = arena.victim("large", 60)
    arena.guard(SOFT, act=False)
    arena.memory(available=0.02)
    (act,) = arena.ended_acts()
    assert act["outcome"] == "dry_run"
    assert act["victim"]["pid"] == large
    assert act["signals"] == []
    assert arena.alive(large)
    assert "would send SIGKILL to large" in arena.log.read_text()


def test_a_victim_that_ignores_sigterm_is_killed_in_time(arena: Arena) -> None:
    deaf, small = arena.victim("deaf", 60, term="ignore"), arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(deaf), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    term, kill = act["signals"]
    assert (term["name"], kill["name"]) == ("TERM", "KILL")
    assert kill["t_s"] - term["t_s"] == pytest.approx(1.0, abs=0.4)
    assert "after SIGTERM" in kill["why"]
    assert arena.alive(small)


def test_when_it_is_hard_sigkill_comes_first(arena: Arena) -> None:
    deaf = arena.victim("deaf", 60, term="ignore")
    arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(deaf), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert [one["name"] for one in act["signals"]] == ["KILL"]
    assert act["level"] == "hard"


def test_a_victim_in_uninterruptible_sleep_dies_of_sigkill(arena: Arena) -> None:
    stuck = arena.victim("stuck", 60, stuck=True, term="exit")
    small = arena.victim("small", 20)
    arena.until(lambda: arena.ask("state", stuck) == "D", "the victim is in D state")
    arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: not arena.alive(stuck), "the victim dies")
    arena.memory(available=0.5)
    (act,) = arena.ended_acts()
    assert [one["name"] for one in act["signals"]] == ["TERM", "KILL"]
    assert arena.alive(small)


def test_memory_that_comes_back_spares_who_was_asked_to_leave(arena: Arena) -> None:
    deaf, small = arena.victim("deaf", 60, term="ignore"), arena.victim("small", 20)
    arena.guard(SOFT)
    arena.memory(available=0.08)
    arena.until(lambda: bool(arena.acts()), "somebody is chosen")
    arena.memory(available=0.5)
    arena.until_said("memory recovered")
    time.sleep(1.5)  # longer than a SIGTERM is waited for while memory is short
    assert arena.alive(deaf)
    assert arena.alive(small)
    (act,) = arena.acts()
    assert [one["name"] for one in act["signals"]] == ["TERM"]


def test_init_and_the_guard_itself_are_never_chosen(arena: Arena) -> None:
    guard = arena.guard(SOFT)
    arena.memory(available=0.02)
    arena.until_said("no eligible process although")
    assert arena.alive(guard)
    assert arena.alive(1)
    assert arena.acts() == []
    assert [r["kind"] for r in arena.records()] == ["start", "error"]


def test_sigterm_ends_it_and_is_recorded(arena: Arena) -> None:
    guard = arena.guard(SOFT)
    arena.ask("kill", guard, signal.SIGTERM)
    arena.until(lambda: not arena.alive(guard), "it ends")
    assert [r["kind"] for r in arena.records()] == ["start", "stop"]
