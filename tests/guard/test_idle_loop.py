"""What is looked at while all is well, and what ends that."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.guard.config import Places, Settings
from oomkit.guard.daemon import Daemon
from oomkit.guard.event_loop import BLIND_LOOKS, BOUNDED_LOOKS, LOOKS, TOLD_LOOKS, IdleLoop
from oomkit.guard.launch import take_in_argv
from oomkit.guard.machine_reader import MachineReader
from oomkit.guard.reporter import Reporter
from oomkit.guard.reserve import Reserve
from oomkit.history.store import Store
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.pace import calm_of
from oomkit.policy.engine.plan import Plan
from oomkit.policy.read import find_policy
from tests.policy.making import plan as plan_of

TOTAL_KB = 1 << 28


class Machine:
    """A made ``meminfo``, somebody who dozes before it, and nights in which things happen."""

    def __init__(self, directory: Path, plan: Plan, **options: Any) -> None:
        self.meminfo = directory / "meminfo"
        self.total_kb = TOTAL_KB
        self.set(0.9)
        self.sources = MachineReader(Places(signals=str(directory)))
        self.log: list[tuple[int, int]] = []
        self.idle_loop = IdleLoop(
            plan, self.sources, lambda _ms: self.log, cpus=2, **{"longest_s": 10.0, **options}
        )
        self.slept_ms: list[int] = []

    def set(self, available: float, *, before: str = "") -> None:
        self.set_kb(int(self.total_kb * available), before=before)

    def set_kb(self, available_kb: int, *, before: str = "") -> None:
        self.meminfo.write_text(
            f"MemTotal:       {self.total_kb:8} kB\n{before}MemAvailable:   {available_kb:8} kB\n"
            "SwapTotal:          4096 kB\nSwapFree:           1024 kB\n"
        )

    def turn(self, t_s: float) -> None:
        """What a whole turn does that has found all well."""
        reading = self.sources.read(t_s)
        assert reading is not None
        self.idle_loop.allow(reading)

    def sleep(self, *happens: Callable[[], Any]) -> list[tuple[int, int]]:
        """Doze; each of these happens in a sleep of its own, and its answer wakes if it has one."""
        waits = list(happens)
        self.slept_ms = []

        def poll(timeout_ms: int) -> list[tuple[int, int]]:
            self.slept_ms.append(timeout_ms)
            found = waits.pop(0)() if waits else None
            return found if isinstance(found, list) else []

        return self.idle_loop.poll(poll, 7)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, compile_plan(find_policy("default")))


def test_looks_stand_in_for_turns_but_not_for_all(machine: Machine) -> None:
    machine.turn(0.0)
    assert machine.sleep() == []
    assert machine.slept_ms == [7] + [10001] * LOOKS
    assert machine.idle_loop.count == LOOKS
    machine.sleep()
    assert machine.slept_ms == [7]


def test_no_dozing_before_a_turn_found_all_well(machine: Machine) -> None:
    machine.sleep()
    assert machine.slept_ms == [7]
    machine.turn(1.0)
    machine.idle_loop.forbid()
    machine.sleep()
    assert machine.slept_ms == [7]


def test_a_fall_calls_for_a_turn_and_leaves_the_moment_before_it(machine: Machine) -> None:
    machine.turn(0.0)
    begin_s = time.monotonic()
    machine.sleep(lambda: None, lambda: machine.set(0.2))
    assert machine.slept_ms == [7, 10001]
    last = machine.idle_loop.last()
    assert last is not None
    assert begin_s <= last[0] <= time.monotonic()
    assert last[1] == int(TOTAL_KB * 0.9) + 1024
    assert machine.idle_loop.last() is None


def test_a_fall_that_leaves_enough_shortens_the_sleep(machine: Machine) -> None:
    machine.total_kb = 24 << 20
    machine.set(0.97)
    machine.turn(0.0)
    machine.sleep(lambda: None, lambda: machine.set(0.6), lambda: machine.set(0.9))
    assert machine.slept_ms[:2] == [7, 10001]
    assert len(machine.slept_ms) == 1 + LOOKS
    assert set(machine.slept_ms[2:]) == {machine.slept_ms[2]}
    assert 1000 < machine.slept_ms[2] < 8000


def test_memory_that_is_plugged_in_calls_for_a_turn(machine: Machine) -> None:
    machine.turn(0.0)

    def plug() -> None:
        machine.total_kb *= 2
        machine.set_kb(int(TOTAL_KB * 0.9))

    machine.sleep(lambda: None, plug)
    assert machine.slept_ms == [7, 10001]


def test_whatever_wakes_is_passed_on(machine: Machine) -> None:
    machine.turn(0.0)
    assert machine.sleep(lambda: None, lambda: [(5, 1)]) == [(5, 1)]
    assert machine.idle_loop.count == 1


def test_news_in_the_kernels_log_call_for_a_turn(machine: Machine) -> None:
    machine.turn(0.0)
    machine.sleep(lambda: None, lambda: machine.log.append((3, 1)))
    assert machine.slept_ms == [7, 10001]


def test_who_wants_to_hear_from_us_does_after_each_look(tmp_path: Path) -> None:
    heard: list[int] = []
    plan = compile_plan(find_policy("default"))
    machine = Machine(tmp_path, plan, longest_s=3.0, alive=lambda: heard.append(1))
    machine.turn(0.0)
    machine.sleep()
    assert machine.slept_ms == [7] + [3001] * LOOKS
    assert len(heard) == LOOKS


def test_where_meminfo_is_gone_or_cut_a_turn_has_to_see_to_it(machine: Machine) -> None:
    for spoil in (
        lambda: machine.meminfo.write_text(""),
        lambda: machine.meminfo.write_text(machine.meminfo.read_text().partition(" kB\nSw")[0]),
        machine.sources.close,
    ):
        machine.set(0.9)
        machine.turn(0.0)
        machine.sleep(spoil)
        assert machine.slept_ms == [7]
        assert machine.idle_loop.last() is None


@pytest.mark.parametrize(
    ("kb", "before"),
    [
        (20_000_000, ""),  # a digit less, which is larger than the first digit was
        (99_999_999, ""),
        (120_000_000, "MemFree:               1 kB\n"),
        (20_000_000, "MemFree:       900000000 kB\n"),
    ],
)
def test_a_line_that_moved_or_has_another_width_is_not_guessed_at(
    machine: Machine, kb: int, before: str
) -> None:
    machine.set_kb(110_000_000)
    machine.turn(0.0)
    machine.sleep(lambda: machine.set_kb(kb, before=before))
    assert machine.slept_ms == [7]


@given(st.integers(1, 10**10), st.integers(0, 10**10))
def test_a_sleep_is_never_longer_than_what_is_available_allows(before: int, now: int) -> None:
    plan = compile_plan(find_policy("default"))
    with tempfile.TemporaryDirectory() as name:
        machine = Machine(Path(name), plan)
        machine.set_kb(before)
        machine.turn(0.0)
        machine.sleep(lambda: machine.set_kb(now))
    if len(machine.slept_ms) > 1:
        calm = calm_of(plan, TOTAL_KB, cpus=2)
        assert calm is not None
        assert calm.next_look_s(now) * 1000 >= machine.slept_ms[1] - 1


def test_a_daemon_whose_memory_is_plentiful_reads_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Machine(tmp_path, plan_of())
    settings = Settings(compile_plan(find_policy("default")), places=Places(signals=str(tmp_path)))
    # The kernel's log may speak at any time, and calls for a turn.
    monkeypatch.setattr(Reporter, "log_news", property(lambda _self: lambda _ms: []))
    sleeps: list[Callable[[], None]] = []

    def poll(_ms: int) -> list[tuple[int, int]]:
        sleeps.pop(0)()
        return []

    daemon = Daemon(settings, poll=poll)
    daemon.turn()
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        read.append(fd)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    sleeps += [lambda: None, lambda: None, lambda: made.set(0.05)]
    daemon.sleep(0.007)
    assert not sleeps
    assert len(read) == 3
    assert len(set(read)) == 1
    assert daemon.turn() < 1.0
    assert len(read) > 5
    daemon.close()


@pytest.mark.parametrize(
    ("sees_log", "told", "bounded", "looks"),
    [
        (True, False, False, LOOKS),
        (False, False, False, BLIND_LOOKS),
        (True, True, False, TOLD_LOOKS),
        (True, False, True, BOUNDED_LOOKS),
    ],
)
def test_who_has_to_know_more_gets_whole_turns_more_often(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sees_log: bool,
    told: bool,
    bounded: bool,
    looks: int,
) -> None:
    Machine(tmp_path, plan_of())
    slept_ms: list[int] = []

    def poll(timeout_ms: int) -> list[tuple[int, int]]:
        slept_ms.append(timeout_ms)
        return []

    monkeypatch.setattr(Reporter, "log_news", property(lambda _self: lambda _ms: []))
    monkeypatch.setattr(Reporter, "sees_log", property(lambda _self: sees_log))
    daemon = Daemon(
        Settings(
            compile_plan(find_policy("default")),
            places=Places(signals=str(tmp_path)),
            status=str(tmp_path / "status.json") if told else "",
        ),
        Reserve(bounded=bounded),
        poll=poll,
    )
    daemon.turn()
    daemon.sleep(0.007)
    assert len(slept_ms) == 1 + looks
    daemon.close()


def test_a_calm_daemon_has_its_journal_taken_into_the_history(tmp_path: Path) -> None:
    Machine(tmp_path, plan_of())
    journal, store = str(tmp_path / "journal"), str(tmp_path / "store")
    settings = Settings(
        compile_plan(find_policy("default")),
        places=Places(signals=str(tmp_path)),
        journal=journal,
        take_in_argv=take_in_argv(journal, store),
    )
    daemon = Daemon(settings)
    daemon.start()
    end = time.monotonic() + 60
    while not Path(journal).read_bytes().endswith(b"\n") and time.monotonic() < end:
        time.sleep(0.01)
    daemon.turn()
    assert not daemon.is_idle
    while not daemon.is_idle and time.monotonic() < end:
        daemon.turn()
        time.sleep(0.05)
    assert [entry.record.kind for entry in Store(store).entries(kinds=("start",))] == ["start"]
    daemon.close()


@pytest.mark.parametrize("number", ["", "x", "-5"])
def test_a_line_without_a_number_has_a_whole_turn_find_out_why(
    machine: Machine, number: str
) -> None:
    machine.turn(0.0)

    def damage() -> None:
        text = machine.meminfo.read_text().splitlines()
        text[1] = f"MemAvailable:   {number:>8} kB"
        machine.meminfo.write_text("\n".join([*text, ""]))

    machine.sleep(lambda: None, damage)
    assert len(machine.slept_ms) == 2
