"""The daemon's turns: what each reads, decides and says, with made figures and made processes."""

import errno
import json
import marshal
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import daemon as module
from oomkit.guard.config import Places, Settings
from oomkit.guard.daemon import (
    SAMPLE_S,
    Daemon,
)
from oomkit.guard.event_loop import BOUNDED_LOOKS, LOOKS, EventLoop
from oomkit.guard.messages import ERROR, NOTICE, WARNING
from oomkit.guard.records import Record
from oomkit.guard.reserve import ENOUGH, FULL_TABLE, SHORT_OF_FILES, Reserve
from oomkit.guard.sensors import BLIND_PAUSE_S, COME_BACK_S, COOL_S, SAFETY_S
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.driver import ACTED, NOTHING, REFUSED, PolicyDriver
from oomkit.policy.engine.plan import Plan
from oomkit.policy.read import policy_from
from tests.guard.made import ABSENT, TICKS, Fds, Process

pytestmark = pytest.mark.hermetic

TOTAL_KB = 1 << 28
WHEN = [
    {"level": "warn", "available": "20%"}, {"level": "soft", "available": "10%"},
    {"level": "hard", "available": "3%"},
]  # fmt: skip


def plan(name: str = "test", **parts: Any) -> Plan:
    return compile_plan(policy_from({"name": name, "when": WHEN, **parts}))


class Reporting:
    """Stands in for the reporter: keeps what it is given."""

    def __init__(self, *given: Any) -> None:
        self.killed = given[3]
        self.lines: list[tuple[int, str]] = []
        self.repeated: list[tuple[int, str]] = []
        self.records: list[dict[str, Any]] = []
        self.samples: list[tuple[float, int]] = []
        self.statuses: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.full_files = 0
        self.are_written = True
        self.sees_log = True

    def line(self, priority: int, text: str) -> None:
        self.lines.append((priority, text))

    def repeat(self, priority: int, text: str) -> bool:
        new = text[:24] not in [said[:24] for _, said in self.repeated]
        self.repeated.append((priority, text))
        return new

    def record(self, record: Record) -> None:
        self.records.append(json.loads(json.dumps(record.to_values())))

    def log_news(self, _ms: int) -> list[tuple[int, int]]:
        return []

    def sample(self, reading: Any, top: Any) -> None:
        self.samples.append((reading.t_s, len(top)))

    def status(self, origin: Any, level: int, reading: Any, *, looks: int, under_way: int) -> None:
        self.statuses.append({
            "policy": origin.policy, "level": level, "t_s": reading.t_s, "looks": looks,
            "under_way": under_way,
        })  # fmt: skip

    def kernel_kills(self, *, final: bool = False) -> None:
        self.calls.append("kernel_kills final" if final else "kernel_kills")

    def check(self) -> None:
        self.calls.append("check")

    def reopen(self) -> None:
        self.calls.append("reopen")

    def close(self) -> None:
        self.calls.append("close")


class Hooking:
    """Stands in for commands."""

    def __init__(self, **_: object) -> None:
        self.runs = False
        self.counts = False
        self.failed: list[str] = []
        self.calls: list[Any] = []

    def adopt(self, pid: int, what: str) -> None:
        self.calls.append(("adopt", pid, what))

    def busy(self) -> bool:
        return self.counts

    def any(self) -> bool:
        return self.runs

    def collect(self) -> None:
        self.calls.append("collect")

    def failures(self) -> list[str]:
        failed, self.failed = self.failed, []
        return failed

    def notify(self, summary: str, body: str) -> None:
        self.calls.append(("notify", summary, body))

    def take_in(self, argv: tuple[str, ...]) -> None:
        self.calls.append(("take in", argv))


class Managing:
    """Stands in for the service manager."""

    watchdog_s: float | None = None

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.heard.append(message)

    def close(self) -> None:
        self.heard.append(b"closed")


class Machine:
    """A made machine, and a daemon on it whose clock stands until it is told."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        (self.proc / "pressure").mkdir(parents=True)
        (root / "sys").mkdir()
        self.places = Places(proc=str(self.proc), sys=str(root / "sys"))
        self.memory(0.9)
        self.now_s = 1000.0
        self.slept_ms: list[int] = []
        self.wakes: list[Any] = []

    def memory(self, available: float, *, anon_kb: int = 50_000) -> None:
        (self.proc / "meminfo").write_text(
            f"MemTotal: {TOTAL_KB:9} kB\nMemAvailable: {int(TOTAL_KB * available):9} kB\n"
            f"AnonPages: {anon_kb:9} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
        )

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        self.slept_ms.append(timeout_ms)
        found: list[tuple[int, int]] = self.wakes.pop(0)() if self.wakes else []
        return found

    def guard(self, made: Plan | None = None, **settings: Any) -> "Guard":
        named = {"files_bounded": False, **settings}
        return Guard(self, Settings(made or plan(), places=self.places, **named))


class Guard:
    def __init__(self, machine: Machine, settings: Settings) -> None:
        self.machine = machine
        self.daemon = Daemon(
            settings, clock=lambda: machine.now_s, wall=lambda: 1.7e9, poll=machine.poll
        )
        made.daemons.append(self.daemon)
        self.reporter: Reporting = made.reporters[-1]
        self.hooks: Hooking = made.hooks[-1]
        self.manager: Managing = made.managers[-1]

    def turn(self, available: float | None = None, *, after_s: float = 0.0) -> float:
        if available is not None:
            self.machine.memory(available)
        self.machine.now_s += after_s
        return self.daemon.turn()


class Made:
    def __init__(self) -> None:
        self.daemons: list[Daemon] = []
        self.reporters: list[Reporting] = []
        self.hooks: list[Hooking] = []
        self.managers: list[Managing] = []


made = Made()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made.__init__()  # type: ignore[misc]  # empty again

    def keeping(kind: Any, kept: list[Any]) -> Any:
        def make(*args: Any, **named: Any) -> Any:
            kept.append(kind(*args, **named))
            return kept[-1]

        return make

    monkeypatch.setattr(module, "Reporter", keeping(Reporting, made.reporters))
    monkeypatch.setattr(module, "Hooks", keeping(Hooking, made.hooks))
    monkeypatch.setattr(module, "ServiceManager", keeping(Managing, made.managers))
    monkeypatch.setattr(module, "units_root", lambda _places: "")
    yield Machine(tmp_path)
    for one in made.daemons:
        one.close()


def test_all_is_well(machine: Machine) -> None:
    guard = machine.guard()
    assert guard.turn() == SAFETY_S
    report = guard.reporter
    assert (report.lines, report.repeated, report.records) == ([], [], [])
    assert report.calls == ["kernel_kills", "check"]
    assert report.statuses == [
        {"policy": "test", "level": 0, "t_s": 1000.0, "looks": 0, "under_way": 0}
    ]
    assert guard.manager.heard == [b"WATCHDOG=1"]
    assert guard.daemon.is_idle


def test_low_memory_is_reported_once_and_its_end(machine: Machine) -> None:
    guard = machine.guard(plan(how={"notify": True}))
    guard.turn()
    assert guard.turn(0.15, after_s=1) < SAFETY_S
    text = "available 38.4 GiB <= 51.2 GiB"
    assert guard.reporter.lines == [(WARNING, f"low memory: {text}")]
    (record,) = guard.reporter.records
    assert (record["kind"], record["rule"], record["policy"]) == ("warn", 0, "test")
    assert guard.hooks.calls == [("notify", "Low memory", text)]
    guard.turn(0.16, after_s=1)
    assert len(guard.reporter.records) == 1
    guard.turn(0.2001, after_s=1)
    assert guard.reporter.lines[1:] == [(NOTICE, "memory recovered")]
    guard.turn(0.9, after_s=1)
    assert len(guard.reporter.lines) == 2
    guard.turn(0.2, after_s=1)
    assert len(guard.reporter.records) == 2


def test_nobody_is_notified_unless_the_policy_wants_it(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn(0.15)
    assert guard.hooks.calls == []


def test_a_shortage_that_begins_below_warn_is_no_warning_but_its_end_is_said(
    machine: Machine,
) -> None:
    Process(machine.proc, ABSENT, anon=50_000)
    guard = machine.guard()
    guard.turn(0.05)
    assert [record["kind"] for record in guard.reporter.records] == ["act"]
    guard.turn(0.9, after_s=1)
    assert guard.reporter.lines[-1] == (NOTICE, "memory recovered")


def test_a_victim_is_chosen_and_what_keeps_the_next_back_is_said(machine: Machine) -> None:
    Process(machine.proc, ABSENT, anon=50_000)
    guard = machine.guard(plan(how={"pause": "9s", "dry_run_pause": "9s"}))
    guard.turn(0.05)
    ((priority, text),) = guard.reporter.lines
    assert priority == WARNING
    assert text.startswith(f"would send SIGTERM to task[{ABSENT}], which frees 48.8 MiB")
    guard.turn(after_s=1)
    assert guard.reporter.repeated == [(NOTICE, "low memory, but pause of 9 s after the last one")]


def test_nobody_to_choose_is_an_error_that_is_recorded_once(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn(0.05)
    text = "no eligible process although available 12.8 GiB <= 25.6 GiB"
    assert guard.reporter.repeated == [(ERROR, text)]
    assert guard.reporter.records == [
        {"kind": "error", "text": text, "policy": "test", "dry_run": True}
    ]
    guard.turn(after_s=0.5)
    assert guard.reporter.repeated[1:] == [(NOTICE, "low memory, but no process could be chosen")]
    guard.turn(after_s=1)
    assert len(guard.reporter.records) == 1


def test_each_choice_protected_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Process(machine.proc, ABSENT, anon=50_000)
    guard = machine.guard()
    monkeypatch.setattr(PolicyDriver, "perform", lambda _self, _look: REFUSED)
    guard.turn(0.05)
    assert guard.reporter.repeated == [
        (ERROR, "each process that was chosen was protected when it was read again")
    ]


def test_without_meminfo_nothing_can_be_decided(machine: Machine) -> None:
    guard = machine.guard()
    (machine.proc / "meminfo").write_text("")
    assert guard.turn() == 1.0
    assert guard.reporter.repeated == [(ERROR, "meminfo can't be read, so nothing can be decided")]
    assert guard.reporter.statuses == []
    assert guard.turn(0.9) == SAFETY_S


def test_meminfo_is_tried_once_more_with_room(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = machine.guard()
    look = PolicyDriver.look
    tried: list[int] = []

    def scarce(self: Any, now_s: float) -> Any:
        tried.append(1)
        return None if len(tried) == 1 else look(self, now_s)

    monkeypatch.setattr(PolicyDriver, "look", scarce)
    assert guard.turn() == SAFETY_S
    assert (len(tried), guard.reporter.repeated) == (2, [])


def test_a_defect_is_said_and_survived_unless_it_is_looked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = machine.guard()

    def broken(_self: Any, _now_s: float) -> None:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(PolicyDriver, "look", broken)
    monkeypatch.delenv("OOMKIT_DEBUG", raising=False)
    assert guard.turn() == 1.0
    assert guard.reporter.repeated == [
        (ERROR, "internal error, please report it: ZeroDivisionError: x")
    ]
    monkeypatch.setenv("OOMKIT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        guard.turn()


@pytest.mark.parametrize(("available", "after_s", "taken"), [
    (0.9, SAFETY_S / 2 - 0.1, False), (0.9, SAFETY_S / 2, True),
    (0.15, SAMPLE_S - 0.01, False), (0.15, SAMPLE_S + 0.001, True),
])  # fmt: skip
def test_the_recorder_takes_a_moment_now_and_then(
    machine: Machine, available: float, after_s: float, taken: bool
) -> None:
    Process(machine.proc, ABSENT, anon=50_000)
    guard = machine.guard()
    guard.turn(available)
    guard.turn(after_s=after_s)
    assert len(guard.reporter.samples) == 1 + taken
    assert guard.reporter.samples[0] == (1000.0, 0 if available > 0.5 else 1)
    assert SAMPLE_S == 0.1


SERVED = {"work": 0.3, "supervisor": [{"cgroup": "*", "because": "x", "restart": "1m"}]}


@pytest.mark.parametrize("killed", [True, False])
def test_a_service_that_was_killed_is_looked_for_until_it_is_up_again(
    machine: Machine, killed: bool
) -> None:
    cgroup = "0::/system.slice/x.service\n"
    Process(machine.proc, ABSENT + 1, anon=20_000)
    first = Process(machine.proc, ABSENT, anon=50_000, cgroup=cgroup)
    guard = machine.guard(plan(whom=SERVED))
    guard.turn(0.15)
    first.remove()
    if killed:
        guard.reporter.killed(ABSENT, machine.now_s)
    begun = int(time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS) + 1
    Process(machine.proc, ABSENT + 2, anon=30_000, cgroup=cgroup, start=begun, utime=7 * TICKS)
    waits = [guard.turn(0.9, after_s=SAFETY_S) for _ in range(int(COOL_S / SAFETY_S) - 1)]
    assert waits == [SAFETY_S] * 5, "it wakes no more often for that"
    settled = {one.name: one.cost_s() for one in guard.daemon.starts.known()}
    assert settled == ({"x.service": 7.0} if killed else {})
    for _ in range(2):
        guard.turn(after_s=SAFETY_S)
    assert guard.daemon.is_idle


def test_no_service_is_looked_for_for_ever(machine: Machine) -> None:
    cgroup = "0::/system.slice/x.service\n"
    first = Process(machine.proc, ABSENT, anon=50_000, cgroup=cgroup)
    guard = machine.guard(plan(whom=SERVED))
    guard.turn(0.15)
    first.remove()
    guard.reporter.killed(ABSENT, machine.now_s)
    busy_s = 0.0
    while not guard.daemon.is_idle:
        guard.turn(0.9, after_s=SAFETY_S)
        busy_s += SAFETY_S
        if busy_s % 100.0 == 0.0:
            guard.reporter.killed(ABSENT, machine.now_s)
    assert COOL_S < busy_s <= COME_BACK_S


def test_pressure_that_comes_or_goes_is_said(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn()
    pressure = machine.proc / "pressure/memory"
    pressure.write_text("some avg10=0.00 total=5\nfull avg10=0.00 total=5\n")
    guard.turn(after_s=10)
    assert guard.reporter.lines == [(NOTICE, "PSI is readable again")]
    pressure.write_text("")
    guard.turn(after_s=1)
    assert guard.reporter.repeated == [
        (ERROR, "PSI is no longer readable; pressure rules are ignored")
    ]
    assert len(guard.reporter.lines) == 1


def test_commands_are_collected_while_there_are_any(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn()
    assert "collect" not in guard.hooks.calls
    guard.hooks.runs = True
    guard.hooks.failed = ["before: /x: exit status 1"]
    guard.turn()
    assert guard.hooks.calls == ["collect"]
    assert guard.reporter.lines == [(WARNING, "before: /x: exit status 1")]


def test_few_files_are_said(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn(0.15)
    assert guard.reporter.repeated == []
    guard.daemon.close()
    shorter = machine.guard()
    shorter.turn()
    shorter.daemon.turn()
    made.daemons.remove(guard.daemon)


@pytest.mark.parametrize(("fault", "idle"), [
    ("", True), ("warm", False), ("busy", False), ("faults", False),
])  # fmt: skip
def test_it_is_idle_when_nothing_is_at_hand_or_under_way(
    machine: Machine, fault: str, idle: bool
) -> None:
    Process(machine.proc, ABSENT, anon=50_000)
    guard = machine.guard()
    guard.turn()
    if fault == "warm":
        guard.turn(0.15, after_s=1)
        guard.turn(0.9, after_s=1)
    guard.hooks.counts = fault == "busy"
    guard.reporter.are_written = fault != "faults"
    assert guard.daemon.is_idle is idle
    guard.turn()
    guard.daemon.sleep(0.007)
    assert len(machine.slept_ms) == (1 + LOOKS if idle else 1)
    assert machine.slept_ms[0] == 8


def test_it_is_not_idle_while_memory_is_low(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn()
    guard.turn(0.21, after_s=1)  # near, though no rule holds
    guard.daemon.sleep(0.007)
    assert machine.slept_ms == [8]


def test_what_idle_looks_saw_is_remembered(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a fall since then has a beginning."""
    guard = machine.guard()
    guard.turn()
    recalled: list[tuple[float, float]] = []
    watch = "oomkit.policy.engine.trigger.Watch.recall"
    monkeypatch.setattr(watch, lambda _self, t_s, kb: recalled.append((t_s, kb)))
    machine.now_s = 1005.0

    def fall() -> list[tuple[int, int]]:
        machine.memory(0.2)
        return []

    machine.wakes = [list, fall]
    guard.daemon.sleep(0.007)
    guard.turn(after_s=10)
    assert recalled == [(1005.0, int(TOTAL_KB * 0.9))]


def test_the_watchdog_is_heard_three_times_in_its_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Managing, "watchdog_s", 6.0)
    guard = machine.guard()
    assert guard.turn() == 2.0
    guard.manager.heard.clear()
    guard.daemon.sleep(2.0)
    assert guard.manager.heard == [b"WATCHDOG=1"] * LOOKS
    assert set(machine.slept_ms) == {2001}
    monkeypatch.setattr(Managing, "watchdog_s", 60.0)
    assert machine.guard().turn() == SAFETY_S


def test_nobody_hears_where_nobody_waits(machine: Machine) -> None:
    guard = machine.guard()
    guard.turn()
    guard.manager.heard.clear()
    guard.daemon.sleep(2.0)
    assert guard.manager.heard == []


def test_the_journal_is_taken_in_at_the_start_and_after_each_full_file(machine: Machine) -> None:
    guard = machine.guard(take_in_argv=("/take",))
    for files, times in ((0, 1), (0, 1), (1, 2), (1, 2), (3, 3)):
        guard.reporter.full_files = files
        guard.turn()
        assert guard.hooks.calls == [("take in", ("/take",))] * times
    other = machine.guard()
    other.turn()
    assert other.hooks.calls == []


def test_the_exporter_is_one_of_the_commands(machine: Machine) -> None:
    assert machine.guard(exporter=77).hooks.calls == [("adopt", 77, "metrics")]
    assert machine.guard().hooks.calls == []


# Its beginning and its end


def test_the_start_says_what_is_missing(machine: Machine) -> None:
    guard = machine.guard(missing=("no swap", "no PSI"), source="/p.toml", dry_run=True)
    guard.daemon.start()
    assert guard.reporter.lines[0] == (NOTICE, "started with policy test (dry run)")
    assert guard.reporter.lines[-2:] == [(WARNING, "no swap"), (WARNING, "no PSI")]
    assert guard.reporter.records == [{
        "kind": "start", "policy": "test", "dry_run": True, "source": "/p.toml",
        "missing": ["no swap", "no PSI"], "resumed": 0,
    }]  # fmt: skip
    assert guard.manager.heard == [b"READY=1\nSTATUS=policy test, dry run"]


def test_an_armed_guard_says_so(machine: Machine) -> None:
    guard = machine.guard(dry_run=False)
    guard.daemon.start()
    assert guard.reporter.lines[0] == (NOTICE, "started with policy test (armed)")
    assert guard.manager.heard == [b"READY=1\nSTATUS=policy test, armed"]


def test_a_state_that_cant_be_stored_is_said(machine: Machine, tmp_path: Path) -> None:
    state = str(tmp_path / "no/state")
    guard = machine.guard(state=state)
    guard.daemon.start()
    assert guard.reporter.lines[1] == (
        WARNING,
        (
            f"state {state}: No such file or directory; nothing is known of what was under way, "
            "and nothing is kept"
        ),
    )
    quiet = machine.guard(state=str(tmp_path / "state"))
    quiet.daemon.start()
    assert [line for line in quiet.reporter.lines if "state" in line[1]] == []


@pytest.mark.parametrize(("limit", "said"), [
    (ENOUGH, False), (ENOUGH - 1, True), (0, False), (-1, False), (1, True),
])  # fmt: skip
def test_a_low_limit_of_files_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, limit: int, said: bool
) -> None:
    guard = machine.guard()
    sysconf = os.sysconf
    monkeypatch.setattr(
        os, "sysconf", lambda name: limit if name == "SC_OPEN_MAX" else sysconf(name)
    )
    guard.daemon.start()
    assert guard.reporter.repeated == ([(NOTICE, SHORT_OF_FILES)] if said else [])


@pytest.mark.parametrize(("held", "said"), [(6, False), (5, True)])
def test_too_few_files_to_act_are_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, held: int, said: bool
) -> None:
    guard = machine.guard()
    monkeypatch.setattr(Reserve, "held", property(lambda _self: held))
    guard.daemon.start()
    lines = [text for priority, text in guard.reporter.lines if "RLIMIT_NOFILE" in text]
    assert lines == ([
        ("only 5 more files can be opened, of 6 that a choice and a kill take (RLIMIT_NOFILE): it "
        "may not be able to act")
    ] if said else [])  # fmt: skip


def test_the_start_rehearses_without_acting(machine: Machine) -> None:
    process = Process(machine.proc, ABSENT, anon=50_000)
    machine.memory(0.01)
    guard = machine.guard(dry_run=False)
    guard.daemon.start()
    assert guard.daemon.is_idle, "and keeps nothing of it"
    assert [record["kind"] for record in guard.reporter.records] == ["start"]
    process.remove()
    (machine.proc / "meminfo").write_text("")
    machine.guard().daemon.start()


def test_the_end_is_recorded_and_all_is_closed(machine: Machine, tmp_path: Path) -> None:
    before = Fds()
    guard = machine.guard(state=str(tmp_path / "state"))
    guard.turn(0.15)
    guard.manager.heard.clear()
    guard.daemon.close()
    made.daemons.clear()
    assert guard.reporter.records[-1] == {
        "kind": "stop", "policy": "test", "dry_run": True, "under_way": 0,
    }  # fmt: skip
    assert guard.reporter.lines[-1] == (NOTICE, "stopped")
    assert guard.reporter.calls[-2:] == ["kernel_kills final", "close"]
    assert guard.manager.heard == [b"STOPPING=1", b"closed"]
    assert Fds().since(before) == 0
    again = machine.guard(state=str(tmp_path / "state"))
    with pytest.raises(BlockingIOError):
        machine.guard(state=str(tmp_path / "state"))
    again.daemon.close()
    made.daemons.clear()


# Signals, and another policy


class Reloading:
    """Stands in for the process that reads the policy again."""

    def __init__(self, argv: tuple[str, ...], _clock: Any) -> None:
        self.argv = argv
        self.fd, self.wake = os.pipe()
        self.left_s = 10.0
        self.over = False
        self.plan: Plan | None = None
        self.fault = ""
        self.closed = False
        reloads.append(self)

    def finished(self) -> bool:
        return self.over

    def close(self) -> None:
        self.closed = True


reloads: list[Reloading] = []


@pytest.fixture
def reloading(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Reloading]]:
    reloads.clear()
    monkeypatch.setattr("oomkit.guard.own_program.Reload", Reloading)
    yield reloads
    for one in reloads:
        os.close(one.fd)
        os.close(one.wake)


class Running:
    """Has ``run`` go through sleeps in which things happen, and ends it after the last."""

    def __init__(self, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.guard = guard
        self.loops: list[EventLoop] = []
        self.timeouts: list[float] = []
        self.waits: list[list[int]] = []
        self.idle: list[bool] = []
        self.steps: list[Any] = []
        wait = EventLoop.wait

        def stepping(loop: EventLoop, timeout_s: float, fds: Any, idle_loop: Any) -> Any:
            self.timeouts.append(timeout_s)
            self.waits.append(list(fds))
            if self.steps:
                step = self.steps.pop(0)
                if isinstance(step, int):
                    loop.asked.append(step)
                elif step is not None:
                    step()
            else:
                loop.asked.append(15)
            return wait(loop, 0.0, fds, idle_loop)

        monkeypatch.setattr(EventLoop, "wait", stepping)

    def run(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.guard.daemon.run()
        made.daemons.remove(self.guard.daemon)


@pytest.mark.parametrize("number", [2, 15])
def test_it_ends_when_it_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    guard = machine.guard()
    running = Running(guard, monkeypatch)
    running.run(None, number)
    assert running.timeouts == [0.0, SAFETY_S]
    assert [text for _, text in guard.reporter.lines][-1] == "stopped"
    assert [record["kind"] for record in guard.reporter.records] == ["start", "stop"]


def test_a_hangup_has_the_policy_read_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reloading: list[Reloading]
) -> None:
    guard = machine.guard(compile_argv=("/compile", "x"))
    running = Running(guard, monkeypatch)
    seen: list[Any] = []
    began_ns = time.monotonic_ns()

    def midway() -> None:
        seen.append((guard.daemon.is_idle, list(guard.manager.heard)))
        reloading[0].over, reloading[0].plan = True, plan("other")

    running.run(1, midway, None, lambda: seen.append(guard.reporter.statuses[-1]["policy"]))
    assert reloading[0].argv == ("/compile", "x")
    assert running.waits == [[], [reloading[0].fd], [], [], []]
    assert running.timeouts == [0.0, SAFETY_S, 0.0, SAFETY_S, SAFETY_S]
    (idle, heard), policy = seen[0], seen[1]
    assert not idle
    (begun,) = (one for one in heard if one.startswith(b"RELOADING=1\nMONOTONIC_USEC="))
    # systemd takes it for a time on CLOCK_MONOTONIC (sd_notify(3)).
    assert began_ns // 1000 <= int(begun.rpartition(b"=")[2]) <= time.monotonic_ns() // 1000
    assert policy == "other"
    assert (NOTICE, "policy reloaded: other") in guard.reporter.lines
    assert {"kind": "reload", "policy": "other", "dry_run": True, "ok": True} in (
        guard.reporter.records
    )
    assert guard.reporter.statuses[-1]["policy"] == "other"
    assert "reopen" in guard.reporter.calls
    assert guard.manager.heard.count(b"READY=1") == 1


def test_what_is_being_read_is_waited_for_no_longer_than_it_may_take(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reloading: list[Reloading]
) -> None:
    guard = machine.guard(compile_argv=("/compile",))
    running = Running(guard, monkeypatch)

    def shorten() -> None:
        reloading[0].left_s = 3.0

    running.run(1, shorten, None)
    assert running.timeouts == [0.0, SAFETY_S, 3.0, 3.0]
    assert reloading[0].closed, "it is ended with the guard"


def test_a_policy_that_is_wrong_leaves_the_old_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reloading: list[Reloading]
) -> None:
    guard = machine.guard(compile_argv=("/compile",))
    running = Running(guard, monkeypatch)

    def fail() -> None:
        reloading[0].over, reloading[0].fault = True, "whom.by: bad"

    running.run(1, fail, None)
    assert (ERROR, "policy reload failed, keeping the old one: whom.by: bad") in (
        guard.reporter.lines
    )
    assert {
        "kind": "reload", "policy": "test", "dry_run": True, "ok": False, "text": "whom.by: bad",
    } in guard.reporter.records  # fmt: skip
    assert guard.manager.heard.count(b"READY=1") == 1
    assert guard.reporter.statuses[-1]["policy"] == "test"


def test_what_starts_took_is_learnt_while_it_guards(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [("db.service", 2, 0.0, (3.0, 5.0))]
    code = f"import sys; sys.stdout.buffer.write({marshal.dumps(values)!r})"
    guard = machine.guard(learn_argv=(sys.executable, "-I", "-S", "-c", code))
    running = Running(guard, monkeypatch)
    waited: list[bool] = []

    def wait() -> None:
        waited.append(guard.daemon.is_idle)
        poller = select.poll()
        poller.register(running.waits[-1][0], select.POLLIN)
        poller.poll(60_000)

    running.run(wait, wait, None)
    assert waited == [False, False]
    assert [(one.name, one.costs_s) for one in guard.daemon.starts.known()] == [
        ("db.service", (3.0, 5.0))
    ]


def test_a_second_hangup_while_it_is_read_has_it_read_once_more(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reloading: list[Reloading]
) -> None:
    guard = machine.guard(compile_argv=("/compile",))
    running = Running(guard, monkeypatch)

    def finish(number: int) -> Any:
        def step() -> None:
            reloading[number].over, reloading[number].plan = True, plan(f"p{number}")

        return step

    running.run(1, 1, 1, finish(0), finish(1), None)
    assert len(reloading) == 2
    assert guard.reporter.statuses[-1]["policy"] == "p1"
    assert guard.reporter.calls.count("reopen") == 3


def test_a_reader_that_cant_be_started_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("oomkit.guard.own_program.Reload", none)
    guard = machine.guard(compile_argv=("/compile",))
    Running(guard, monkeypatch).run(1, None)
    assert (
        ERROR,
        (
            "policy reload failed, keeping the old one: it can't be read: Resource temporarily "
            "unavailable"
        ),
    ) in guard.reporter.lines


def test_without_a_policy_file_a_hangup_is_passed_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reloading: list[Reloading]
) -> None:
    guard = machine.guard()
    Running(guard, monkeypatch).run(1, None)
    assert reloading == []
    assert "reopen" not in guard.reporter.calls


def test_a_defect_while_it_attends_is_survived(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, reloading: list[Reloading]
) -> None:
    monkeypatch.delenv("OOMKIT_DEBUG", raising=False)
    guard = machine.guard(compile_argv=("/compile",))
    running = Running(guard, monkeypatch)

    def spoil() -> None:
        reloading[0].finished = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]  # fails

    def mend() -> None:
        reloading[0].finished = lambda: False  # type: ignore[method-assign]  # never done

    running.run(1, spoil, mend, None)
    assert (ERROR, "internal error, please report it: ZeroDivisionError: division by zero") in (
        guard.reporter.repeated
    )
    assert running.timeouts[2] == 1.0


def test_after_a_shortage_the_ranking_stays_for_a_minute(machine: Machine) -> None:
    Process(machine.proc, ABSENT, anon=50_000)
    guard = machine.guard()
    guard.turn(0.15)
    guard.turn(0.9, after_s=COOL_S - 0.1)
    assert not guard.daemon.is_idle
    guard.turn(after_s=0.1)
    assert guard.daemon.is_idle


def test_an_act_is_held_against_each_moment_and_whether_memory_is_still_low(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, bool]] = []
    monkeypatch.setattr(
        "oomkit.guard.actions.Actions.settle",
        lambda _self, reading, *, short: seen.append((reading.t_s, short)),
    )
    guard = machine.guard()
    for available in (0.9, 0.15, 0.05, 0.01):
        guard.turn(available, after_s=1)
    assert seen == [(1001.0, False), (1002.0, False), (1003.0, True), (1004.0, True)]


def test_where_not_all_can_be_looked_at_it_acts_seldom_and_counts_on_no_file(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that fills memory may be one that it did not see."""
    Process(machine.proc, ABSENT, anon=50_000)
    blind = property(lambda _self: True)
    monkeypatch.setattr("oomkit.guard.shortlist.Shortlist.is_blind", blind)
    outcomes = [REFUSED, ACTED, ACTED]

    def perform(_self: PolicyDriver, look: Any) -> str:
        return outcomes.pop(0) if look.choose else NOTHING

    monkeypatch.setattr(PolicyDriver, "perform", perform)
    guard = machine.guard()
    guard.turn(0.05)
    for after_s, left in ((0.1, 1), (0.1, 1), (BLIND_PAUSE_S - 0.2, 1), (0.1, 0)):
        guard.turn(after_s=after_s)
        assert len(outcomes) == left
    assert BLIND_PAUSE_S == 5.0
    said = [text for _, text in guard.reporter.repeated]
    held_back = (
        "low memory, but not all processes can be looked at, and the last choice was just now"
    )
    assert said.count(held_back) == 2
    assert said.count(FULL_TABLE) == 5
    monkeypatch.setattr("oomkit.guard.shortlist.Shortlist.is_blind", property(lambda _self: False))
    held: list[int] = []
    monkeypatch.setattr("oomkit.guard.shortlist.Shortlist.hold", lambda _self, n: held.append(n))
    for one in (guard, machine.guard()):
        held.clear()
        one.turn(0.9, after_s=2 * COOL_S)
        one.turn(after_s=2 * COOL_S)
        assert len(held) == (2 if one is guard else 0), "another may take all files again"


def test_where_files_may_be_refused_it_looks_at_all_more_often(machine: Machine) -> None:
    guard = machine.guard(files_bounded=True)
    guard.turn()
    guard.daemon.sleep(0.007)
    assert len(machine.slept_ms) == 1 + BOUNDED_LOOKS


def test_in_a_drill_new_figures_wake_it(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[list[str]] = []

    def wait(_loop: EventLoop, _next_s: float, fds: list[int], _idle: Any) -> frozenset[int]:
        waits.append([os.readlink(f"/proc/self/fd/{fd}") for fd in fds])
        return frozenset()

    monkeypatch.setattr(EventLoop, "wait", wait)
    drill = tmp_path / "drill"
    drill.mkdir()
    (drill / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    places = Places(proc=str(machine.proc), sys=machine.places.sys, signals=str(drill))
    Guard(machine, Settings(plan(), places=places, files_bounded=False)).daemon.sleep(1.0)
    machine.guard().daemon.sleep(1.0)
    assert waits == [["anon_inode:inotify"], []]
