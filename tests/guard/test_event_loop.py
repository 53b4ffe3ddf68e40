"""What wakes the daemon: files, signals, pressure."""

import errno
import os
import select
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oomkit.guard.event_loop import EventLoop, IdleLoop
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


class Pressure:
    """Stands in for a pressure trigger."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.fd, self.wake = os.pipe()
        self.fine = True
        self.closed = 0
        triggers.append(self)

    def close(self) -> None:
        self.closed += 1


triggers: list[Pressure] = []


@pytest.fixture
def pressure(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Pressure]]:
    triggers.clear()
    monkeypatch.setattr("oomkit.guard.event_loop.Trigger", Pressure)
    yield triggers
    for one in triggers:
        os.close(one.fd)
        os.close(one.wake)


class Straight:
    """An idle loop that sleeps once."""

    def __init__(self) -> None:
        self.count = 0
        self.polled: list[int] = []

    def poll(self, poll: Any, timeout_ms: int) -> Any:
        self.polled.append(timeout_ms)
        return poll(0)


@pytest.fixture
def idle() -> Any:
    return Straight()


def test_what_becomes_readable_is_returned(idle: Any) -> None:
    before = Fds()
    loop = EventLoop("")
    there, here = os.pipe()
    assert loop.wait(1.5, [there], idle) == frozenset()
    os.write(here, b"x")
    assert loop.wait(0.0, [there], idle) == {there}
    assert loop.wait(0.25, [], idle) == frozenset()
    assert idle.polled == [1501, 1, 251]
    assert loop.count == 3

    def counting(_poll: Any, _ms: int) -> list[Any]:
        idle.count = 7
        return []

    idle.poll = counting
    loop.wait(0.0, [], idle)
    assert loop.count == 3 + 1 + 7
    loop.close()
    os.close(there)
    os.close(here)
    assert Fds().since(before) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_wake_and_wait_until_dealt_with(idle: Any, number: int) -> None:
    handlers = [signal.getsignal(one) for one in (1, 2, 15)]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    loop = EventLoop("")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {1, 2, 15} == set()
    signal.raise_signal(number)
    assert loop.asked == [number]
    seen: list[Any] = []

    def poll(poll: Any, _ms: int) -> Any:
        seen.append(poll(0))
        return seen[-1]

    idle.poll = poll
    assert loop.wait(0.0, [], idle) == frozenset()
    assert len(seen[0]) == 1
    assert loop.wait(0.0, [], idle) == frozenset()
    assert seen[1] == [], "it woke once"
    loop.close()
    assert [signal.getsignal(one) for one in (1, 2, 15)] == handlers


def test_pressure_wakes_and_a_trigger_that_is_lost_is_set_again(
    idle: Any, pressure: list[Pressure], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = EventLoop("/pressure")
    assert pressure[0].given == ("/pressure", "some", 100_000, 1_000_000)
    assert (loop.by_pressure, loop.has_trigger) == (True, True)
    pressure[0].fine = False
    assert (loop.by_pressure, loop.has_trigger) == (False, True)
    loop.set_trigger()
    assert len(pressure) == 1
    idle.poll = lambda _poll, _ms: [(pressure[0].fd, select.POLLPRI)]
    assert loop.wait(0.0, [], idle) == frozenset()
    assert loop.has_trigger
    idle.poll = lambda _poll, _ms: [(pressure[0].fd, select.POLLERR | select.POLLPRI)]
    assert loop.wait(0.0, [], idle) == frozenset()
    lost = loop.has_trigger
    assert (lost, loop.by_pressure, pressure[0].closed) == (False, False, 1)

    def refused(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patch:
        patch.setattr("oomkit.guard.event_loop.Trigger", refused)
        loop.set_trigger()
    assert vars(pressure[0])["closed"] == 1
    loop.set_trigger()
    assert [loop.has_trigger, len(pressure)] == [True, 2]
    loop.close()
    assert pressure[1].closed == 1
    none = EventLoop("")
    assert not none.has_trigger
    none.close()


def test_a_trigger_that_comes_later_is_polled_for(idle: Any, pressure: list[Pressure]) -> None:
    loop = EventLoop("")
    loop.wait(0.0, [], idle)
    polled: list[Any] = []

    def noting(poll: Any, _ms: int) -> list[Any]:
        polled.append(poll)
        return []

    idle.poll = noting
    loop.wait(0.0, [], idle)
    loop.wait(0.0, [], idle)
    assert polled[0].__self__ is polled[1].__self__, "it is made once for the long sleeps"
    made = EventLoop("/pressure")
    made.wait(0.0, [], idle)
    os.close(os.dup(pressure[0].fd))
    registered = polled[2].__self__
    with pytest.raises(OSError, match=r".*"):
        registered.modify(987, 1)
    registered.modify(pressure[0].fd, select.POLLPRI)
    made.close()
    loop.close()


def test_another_poll_sleeps_in_a_test() -> None:
    slept: list[int] = []
    loop = EventLoop("", lambda ms: slept.append(ms) or [])  # type: ignore[func-returns-value]  # append() is called for what it does
    idle: Any = SimpleNamespace(count=0, poll=lambda poll, ms: poll(ms))
    loop.wait(0.5, [], cast(IdleLoop, idle))
    assert slept == [501]
    loop.close()
