"""QEMU's monitor: every answer is read; a disk that is not slowed is an error; the guest's pace."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.real.disks import Disks
from oomkit.real.monitor import Monitor, MonitorClosedError, MonitorError
from oomkit.real.pace import Pace
from oomkit.scenario import scenario_from

pytestmark = pytest.mark.hermetic

GREETING: dict[str, object] = {"QMP": {"version": {}, "capabilities": []}}
Answer = Callable[[str, dict[str, Any]], object]
Make = Callable[..., Monitor]


@pytest.fixture
def monitor() -> Iterator[Make]:
    """Makes monitors whose other end answers as a function says; None: it closes."""
    made: list[Monitor] = []

    def make(answer: Answer, greeting: object = GREETING) -> Monitor:
        made.append(answering(answer, greeting))
        return made[-1]

    yield make
    for one in made:
        one.end.close()


def answering(answer: Answer, greeting: object) -> Monitor:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, theirs.makefile("rwb") as file:
            file.write(json.dumps(greeting).encode() + b"\r\n")
            file.flush()
            for line in file:
                asked = json.loads(line)
                reply = answer(asked["execute"], asked.get("arguments", {}))
                if reply is None:
                    return
                event = json.dumps({"event": "RESUME", "data": {"return": 1}}).encode()
                file.write(event + b"\r\n" + json.dumps(reply).encode() + b"\r\n")
                file.flush()

    threading.Thread(target=serve, daemon=True).start()
    return Monitor(ours)


def test_answers_are_found_among_events(monitor: Make) -> None:
    asked = monitor(lambda name, _: {"return": name})
    assert [asked.ask("query-status"), asked.ask("stop")] == ["query-status", "stop"]


def test_an_error_is_raised_with_qemus_words(monitor: Make) -> None:
    def answer(name: str, _: dict[str, Any]) -> object:
        if name == "qmp_capabilities":
            return {"return": {}}
        return {"error": {"class": "GenericError", "desc": "Device has no block backend"}}

    with pytest.raises(MonitorError, match="refused block_set_io_throttle: Device has no block"):
        monitor(answer).ask("block_set_io_throttle", device="x")


def test_that_qemu_has_ended_is_an_error_of_its_own(monitor: Make) -> None:
    with pytest.raises(MonitorClosedError, match="ended before an answer to qmp_capabilities"):
        monitor(lambda *_: None).ask("stop")
    with pytest.raises(MonitorError, match="expected a greeting"):
        monitor(lambda *_: {"return": {}}, greeting={}).ask("stop")


class Qemu:
    """Throttles as told, in units of ``step``."""

    def __init__(self, step: int = 1) -> None:
        self.step = step
        self.bps: dict[str, int] = {}

    def __call__(self, name: str, arguments: dict[str, Any]) -> object:
        if name == "block_set_io_throttle":
            if "device" not in arguments:
                return {"error": {"desc": f"Device '{arguments.get('id')}' has no block backend"}}
            self.bps[arguments["device"]] = arguments["bps"] // self.step * self.step
        if name == "query-block":
            return {"return": [{"device": one, "inserted": {"bps": bps}}
                               for one, bps in self.bps.items()]}  # fmt: skip
        return {"return": {}}


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    machine = {"ram": "256M", "swap": "8M", "disk": "80M/s"}
    scenario = scenario_from({"name": "x", "machine": machine, "task": [{"name": "t"}]})
    made = Disks(str(tmp_path), scenario)
    made.plan({}, needed=False)
    return made


def test_disks_go_at_the_guests_pace(disks: Disks, monitor: Make) -> None:
    qemu = Qemu()
    ask = monitor(qemu)
    disks.slow_down(ask)
    assert qemu.bps == {"swap": 80 << 20}
    disks.slow_down(ask, 0.25)
    assert qemu.bps == {"swap": 20 << 20}


def test_a_disk_that_is_not_slowed_is_an_error(disks: Disks, monitor: Make) -> None:
    with pytest.raises(MonitorError, match="disk swap can't be slowed down: expected 83886080"):
        disks.slow_down(monitor(Qemu(step=1000)))


def let_through(paces: list[float], every_s: float) -> tuple[Pace, float, float]:
    """Let a guest report its clock at steps of its own; returns what disks had of both clocks."""
    pace = Pace()
    there = here = had = 0.0
    pace.note(there, here)
    for one in paces:
        there += every_s
        here += every_s / one
        had += pace.now * every_s / one
        if pace.note(there, here):
            had += 0.1 * pace.now  # QEMU's burst at a new limit
    return pace, had, there


def test_the_pace_is_the_guests_time_in_ours() -> None:
    pace, had, there = let_through([1.0] * 50 + [0.2] * 50, 0.1)
    assert pace.now == pytest.approx(0.2, abs=0.06)
    assert pace.mean == pytest.approx(10 / (5 + 25))
    assert had == pytest.approx(there, rel=0.05)


@given(st.lists(st.sampled_from([0.06, 0.1, 0.4, 0.9, 1.3]), min_size=100, max_size=300))
def test_disks_have_the_guests_time_however_it_changes(paces: list[float]) -> None:
    """One that now waits and now works has its busy time at the speed that suited the other."""
    _, had, there = let_through(paces, 0.02)
    assert abs(had - there) < 0.7


def test_one_stamp_says_nothing_of_the_pace() -> None:
    pace = Pace()
    assert not pace.note(5.0, 1.0)
    assert not pace.note(5.0, 9.0)
    assert pace.now == 1.0
