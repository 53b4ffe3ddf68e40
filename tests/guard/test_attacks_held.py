"""Attacks on what is held: files and pidfds that were opened before they are needed."""

import os
import signal
import sys

import pytest

from tests.guard.arena import Arena
from tests.guard.policies import SOFT
from tests.guard.test_full_table import guarded, until_held

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_who_runs_anew_in_another_thread_is_read_and_killed(arena: Arena) -> None:
    """The number stays, and the thread whose files were open is gone."""
    pid, _ = arena.play("execs", "execs", 60)
    small = arena.victim("small", 8)
    arena.guard(f'{SOFT}[whom]\nnever = [{{ comm = "execs" }}]\n')
    arena.memory(available=0.15)
    until_held(arena, pid, small)
    arena.ask("kill", pid, signal.SIGUSR1)
    arena.until(lambda: arena.ask("read", f"/proc/{pid}/comm") == "anew\n", "it runs anew")
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(pid), "it dies")
    assert arena.alive(small)


@ROOT
def test_another_process_with_the_number_of_one_that_is_held_is_spared(arena: Arena) -> None:
    held, other = arena.victim("held", 80), arena.victim("other", 40)
    full = guarded(arena, f'{SOFT}[whom]\nnever = [{{ comm = "precious" }}]\n')
    arena.memory(available=0.15)
    until_held(arena, held, other)
    full.touch()
    arena.ask("kill", held, signal.SIGKILL)
    arena.until(lambda: not arena.alive(held), "it is gone")
    again = arena.ask("reuse", held, "precious", 80)
    assert again == held
    arena.memory(available=0.02)
    arena.until(lambda: not arena.alive(other), "the other one dies")
    assert arena.alive(again)
    assert "internal error" not in arena.log.read_text()


def test_a_leading_thread_that_exits_once_it_is_held_hides_nothing(arena: Arena) -> None:
    argv = [sys.executable, "-ISc", LEADERLESS_WHEN_TOLD]
    pid, _ = arena.ask("play", argv)
    small = arena.victim("small", 8)
    arena.guard(SOFT)
    arena.memory(available=0.15)
    until_held(arena, pid, small)
    arena.ask("kill", pid, signal.SIGUSR1)
    arena.until(lambda: arena.ask("state", pid) == "Z", "its leading thread exits")
    arena.memory(available=0.02)
    arena.until(lambda: not arena.living(pid), "it dies")
    assert arena.alive(small)


LEADERLESS_WHEN_TOLD = """
import ctypes, os, signal, threading, time
held = bytearray(60 << 20)
held[::4096] = b"x" * len(held[::4096])
threading.Thread(target=time.sleep, args=(600,)).start()
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
print("null", flush=True)
while not told:
    time.sleep(0.01)
ctypes.CDLL(None).syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)
"""
