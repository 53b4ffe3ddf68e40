"""What is looked at while all is well, and what ends that."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.books import Books
from oomkit.guard.daemon import Daemon
from oomkit.guard.glance import LOOKS, Glance
from oomkit.guard.launch import take_in_argv
from oomkit.guard.places import Places
from oomkit.guard.settings import Settings
from oomkit.guard.sources import Sources
from oomkit.guard.store import Store
from oomkit.policy.find import find_policy
from oomkit.policy.plan import compile_plan

TOTAL_KB = 1 << 28


class Machine:
    """A made ``meminfo``, and glances at it."""

    def __init__(self, directory: Path, plan: dict[str, Any]) -> None:
        self.meminfo = directory / "meminfo"
        self.set(0.9)
        self.sources = Sources(Places(signals=str(directory)))
        self.glance = Glance(plan, self.sources, 2)

    def set(self, available: float) -> None:
        self.meminfo.write_text(
            f"MemTotal:       {TOTAL_KB} kB\nMemAvailable:   {int(TOTAL_KB * available)} kB\n"
            "SwapTotal:      4096 kB\nSwapFree:       1024 kB\n"
        )

    def turn(self, t_s: float) -> None:
        """What a whole turn reads."""
        reading = self.sources.read(t_s)
        assert reading is not None
        self.glance.allow(reading)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, compile_plan(find_policy("default")))


def test_glances_stand_in_for_turns_but_not_for_all(machine: Machine) -> None:
    machine.turn(0.0)
    seen = [machine.glance.next_s(10.0 * n) for n in range(1, LOOKS + 2)]
    assert seen == [10.0] * LOOKS + [0.0]


def test_nothing_is_glanced_at_before_a_turn_found_all_well(machine: Machine) -> None:
    assert machine.glance.next_s(0.0) == 0.0
    machine.turn(1.0)
    machine.glance.forbid()
    assert machine.glance.next_s(2.0) == 0.0


def test_a_fall_calls_for_a_turn_and_leaves_the_moment_before_it(machine: Machine) -> None:
    machine.turn(0.0)
    assert machine.glance.next_s(10.0) == 10.0
    machine.set(0.2)
    assert machine.glance.next_s(20.0) == 0.0
    assert machine.glance.last() == (10.0, int(TOTAL_KB * 0.9) + 1024)
    assert machine.glance.last() is None


def test_where_meminfo_is_gone_a_turn_has_to_see_to_it(machine: Machine) -> None:
    machine.turn(0.0)
    machine.sources.close()
    assert machine.glance.next_s(10.0) == 0.0


def test_a_daemon_whose_memory_is_plentiful_reads_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Machine(tmp_path, {"rules": [], "look": {}})
    settings = Settings(compile_plan(find_policy("default")), places=Places(signals=str(tmp_path)))
    daemon = Daemon(settings)
    # The kernel's log may speak at any time, and calls for a turn.
    monkeypatch.setattr(Books, "are_quiet", lambda _self: True)
    daemon.turn()
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        read.append(fd)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    daemon._wake.timed_out = True
    assert daemon._turn() == 10.0
    assert len(read) == 1
    made.set(0.05)
    assert daemon._turn() < 1.0
    assert len(read) > 2
    daemon._stop()


def test_a_calm_daemon_has_its_journal_taken_into_the_history(tmp_path: Path) -> None:
    Machine(tmp_path, {"rules": [], "look": {}})
    journal, store = str(tmp_path / "journal"), str(tmp_path / "store")
    settings = Settings(
        compile_plan(find_policy("default")),
        places=Places(signals=str(tmp_path)),
        journal=journal,
        take_in_argv=take_in_argv(journal, store),
    )
    daemon = Daemon(settings)
    daemon._books.record({"kind": "start"})
    daemon._books._writer.stop()
    daemon.turn()
    end = time.monotonic() + 60
    while daemon._hooks.busy() and time.monotonic() < end:
        daemon.turn()
        time.sleep(0.05)
    assert daemon._hooks.failures() == []
    assert [entry.record["kind"] for entry in Store(store).entries(kinds=("start",))] == ["start"]
    daemon._stop()
