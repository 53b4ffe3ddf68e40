"""The loop that daemon, replay and model share: what is called, and in which order."""

from typing import Any

import pytest

from oomkit.policy.engine.candidate import Candidate, Growth, Ranked
from oomkit.policy.engine.decider import Act, Decider
from oomkit.policy.engine.driver import (
    ACTED,
    MAX_CHOICES,
    NO_CANDIDATE,
    NOTHING,
    REFUSED,
    PolicyDriver,
)
from oomkit.policy.engine.easing import Ease
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.engine.reading import Reading
from tests.policy.making import GB, LOW, VERY_LOW, plan, process, reading

EASE = {"level": "ease", "available": "20%"}


class Stage:
    """A machine with a share of memory available, and everything that was asked of it."""

    def __init__(self, *candidates: Candidate, **how: Any) -> None:
        self.available: float | None = 0.5
        self.found = list(candidates)
        self.calls: list[str] = []
        self.signals: list[tuple[int, str]] = []
        self.refuses: list[int] = []
        self.spares: list[int] = []
        when = [EASE] if "freeze" in how else []
        self.decider = Decider(plan(*when, LOW, VERY_LOW, look={"warm": "30%"}, how=how))
        self.driver = PolicyDriver(self.decider, self, self)

    def turn(self, t_s: float, available: float) -> str:
        self.available = available
        look = self.driver.look(t_s)
        assert look is not None
        return self.driver.perform(look)

    def reading(self, now_s: float) -> Reading | None:
        return None if self.available is None else reading(now_s, self.available)

    def candidates(self, now: Reading, growth: Growth) -> tuple[list[Candidate], tuple[()]]:
        self.calls.append("candidates")
        for one in self.found:
            one.growth_kb = growth.of(one.pid, one.start_time, one.freed_kb())
        return [one for one in self.found if one.pid not in self.refuses], ()

    def sizes(self, now: Reading, growth: Growth) -> dict[tuple[int, int], float]:
        self.calls.append("sizes")
        return {(one.pid, one.start_time): one.freed_kb() for one in self.found}

    def signal(self, signals: tuple[Signal, ...]) -> None:
        self.calls.append("signal")
        self.signals += [(one.pid, one.name) for one in signals]

    def ease(self, ease: Ease, now: Reading) -> bool:
        self.calls.append(f"ease {ease.step.kind}")
        return ease.step.kind == "freeze"

    def check(self, choice: Ranked) -> str:
        return "protected" if choice.candidate.pid in self.spares else ""

    def act(self, act: Act, now: Reading) -> bool:
        self.calls.append("act")
        if act.choice.candidate.pid in self.refuses or self.refuses == [0]:
            return False
        self.signals += [(one.pid, one.name) for one in act.signals]
        return True


def test_while_all_is_well_only_the_machine_is_read() -> None:
    stage = Stage(process(10))
    assert stage.turn(0.0, 0.5) == NOTHING
    assert stage.calls == []
    assert stage.driver.reading is not None
    assert stage.driver.reading.available_kb == 0.5 * GB


def test_what_can_not_be_read_is_not_decided_on() -> None:
    stage = Stage(process(10))
    stage.available = None
    assert stage.driver.look(0.0) is None
    assert stage.driver.reading is None
    with pytest.raises(AssertionError):
        stage.driver.perform(stage.decider.look(reading(0.0, 0.01)))


def test_it_chooses_and_then_notes_sizes() -> None:
    stage = Stage(process(10), process(20, 20))
    assert stage.turn(0.0, 0.01) == ACTED
    assert stage.calls == ["candidates", "act", "sizes"]
    assert stage.signals == [(20, "KILL")]
    assert stage.decider.growth.of(10, 10, 11 * 1024.0) == 1024.0


def test_sizes_are_noted_as_soon_as_memory_is_low() -> None:
    stage = Stage(process(10))
    assert stage.turn(0.0, 0.25) == NOTHING
    assert stage.calls == ["sizes"]


def test_who_was_asked_is_signalled_again_before_any_is_chosen() -> None:
    stage = Stage(process(10), process(20, 20), term_wait="5s")
    assert stage.turn(0.0, 0.08) == ACTED
    stage.calls.clear()
    assert stage.turn(5.0, 0.08) == NOTHING
    assert stage.calls == ["signal"]
    assert stage.signals == [(20, "TERM"), (20, "KILL")]
    stage.driver.died(20, 20, 5.1)
    assert stage.decider.escalation.dying() == ()


def test_where_the_actuator_refuses_another_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(process(10), process(20, 20))

    def act(one: Act, now: Reading) -> bool:
        stage.calls.append(f"act on {one.choice.candidate.pid}")
        if one.choice.candidate.pid != 20:
            return True
        # As the daemon does with a process that is protected by now.
        stage.decider.spared(20, 20, signalled=False)
        stage.refuses.append(20)
        return False

    monkeypatch.setattr(stage, "act", act)
    assert stage.turn(0.0, 0.01) == ACTED
    assert stage.calls == ["candidates", "act on 20", "candidates", "act on 10", "sizes"]


def test_choices_that_are_all_refused_come_to_an_end() -> None:
    stage = Stage(process(10))
    stage.refuses = [0]
    assert stage.turn(0.0, 0.01) == REFUSED
    assert stage.calls.count("act") == MAX_CHOICES


def test_a_choice_that_is_checked_and_fails_is_passed_over() -> None:
    stage = Stage(process(10), process(20, 20))
    stage.spares = [20]
    assert stage.turn(0.0, 0.01) == ACTED
    assert stage.signals == [(10, "KILL")]
    nobody = Stage(process(20, 20))
    nobody.spares = [20]
    assert nobody.turn(0.0, 0.01) == NO_CANDIDATE


def test_of_the_softer_acts_the_least_harmful_that_can_be_done_is() -> None:
    stage = Stage(process(10, 100, cgroup="/job"), reclaim={}, throttle={}, freeze={})
    assert stage.turn(1.0, 0.15) == NOTHING
    eases = [call for call in stage.calls if call.startswith("ease")]
    assert eases == ["ease reclaim", "ease throttle", "ease freeze"]
    assert stage.signals == []
