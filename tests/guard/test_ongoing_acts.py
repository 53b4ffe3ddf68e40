"""When an act is over."""

import pytest

from oomkit.guard.killer import Sent
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.escalation import Signal
from tests.guard.made import ongoing


def signal_to(pid: int, start: int | None, name: str = "KILL") -> Signal:
    assert start is not None
    return Signal(Candidate(pid, start, 1, "x"), name, "chosen")


def test_an_act_is_over_when_the_memory_is_back() -> None:
    one = ongoing({(7, 1)})
    one.sent([Sent(signal_to(7, 1), 100.0, "")])
    assert not one.settled(100.1, 5000.0, short=True)
    one.died((7, 1), 100.2)
    assert not one.settled(100.2, 5100.0, short=True)
    assert one.settled(100.3, 5950.0, short=True)
    assert one.record.outcome == "died"
    assert one.record.freed_kb == 950
    assert one.record.freed_after_ms == pytest.approx(300)
    assert one.record.died_after_ms == pytest.approx(200)


def test_an_act_is_over_a_second_after_the_death_whatever_came_back() -> None:
    one = ongoing({(7, 1)})
    one.died((7, 1), 100.2)
    assert not one.settled(101.1, 5000.0, short=True)
    assert one.settled(101.3, 5000.0, short=True)
    assert one.record.freed_kb == 0


@pytest.mark.parametrize(
    ("name", "short", "outcome"), [("TERM", False, "spared"), ("KILL", True, "survived")]
)
def test_who_does_not_die_is_given_up_after_a_minute(name: str, short: bool, outcome: str) -> None:
    one = ongoing({(7, 1)})
    one.sent([Sent(signal_to(7, 1, name), 100.0, "")])
    assert not one.settled(159.0, 5000.0, short=short)
    assert one.settled(161.0, 5000.0, short=short)
    assert one.record.outcome == outcome
