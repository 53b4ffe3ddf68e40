"""Softer acts than a signal: read, explained, and decided on in the order of harm."""

from typing import Any

import pytest

from oomkit.policy.describe import explain
from oomkit.policy.engine.conditions import SOFT, WARN
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.easing import AGAIN_S, FREEZE, RECLAIM, THROTTLE
from oomkit.policy.engine.plan import Plan
from oomkit.policy.read import PolicyError
from tests.policy.making import GB, INIT, LOW, plan, policy, process, reading

pytestmark = pytest.mark.hermetic

EASE: dict[str, Any] = {"level": "ease", "available": "20%"}
ALL: dict[str, Any] = {
    "reclaim": {"amount": "10%", "wait": "2s"},
    "throttle": {"high": "64M", "time": "30s", "wait": "5s"},
    "freeze": {"time": "1m", "wait": "10s"},
}


def candidates() -> list[Any]:
    return [INIT, process(10, 100, cgroup="/job"), process(11, 10, cgroup="/other")]


def at(decider: Decider, t_s: float, available: float = 0.15) -> str:
    """What is done at a moment; empty: nothing."""
    look = decider.look(reading(t_s, available))
    if not look.ease:
        return ""
    ease = decider.ease(candidates())
    if ease is None:
        return ""
    decider.eased(ease, done=True)
    return f"{ease.step.kind} {ease.cgroup or ease.choice.candidate.pid}"


def test_they_come_in_the_order_of_harm_each_after_its_wait() -> None:
    decider = Decider(plan(EASE, LOW, how=ALL))
    assert at(decider, 0.0, 0.5) == ""
    assert at(decider, 1.0) == "reclaim /job"
    assert at(decider, 2.9) == ""
    assert at(decider, 3.0) == "throttle /job"
    assert at(decider, 7.9) == ""
    assert at(decider, 8.0) == "freeze 10"
    assert at(decider, 18.0) == "", "all that can be done to what would die first is done"
    assert at(decider, 1.0 + AGAIN_S - 0.1 + 1.0) == "reclaim /job"


def test_no_softer_act_where_a_signal_is_due_and_no_signal_where_it_is_not() -> None:
    decider = Decider(plan(EASE, LOW, how=ALL))
    look = decider.look(reading(1.0, 0.15))
    assert (look.state.level, look.state.eases, look.ease, look.choose) == (WARN, True, True, False)
    look = decider.look(reading(1.1, 0.09))
    assert (look.state.level, look.state.eases, look.ease, look.choose) == (
        SOFT, False, False, True,
    )  # fmt: skip
    assert decider.ease(candidates()) is None
    assert decider.choose(candidates()) is not None


def test_a_rule_that_eases_counts_more_than_one_that_warns_and_is_looked_for_beside_it() -> None:
    warn = {"level": "warn", "available": "30%"}
    decider = Decider(plan(warn, EASE, how={"freeze": {}}))
    look = decider.look(reading(1.0, 0.25))
    assert (look.state.level, look.state.eases) == (WARN, False)
    assert decider.next_look_s(reading(1.0, 0.25)) < 1.0, "a rule that eases could hold soon"
    assert decider.look(reading(2.0, 0.15)).state.rule == 1


def test_what_can_t_be_done_lets_the_next_follow_at_once() -> None:
    decider = Decider(plan(EASE, how=ALL))
    decider.look(reading(1.0, 0.15))
    done = []
    for kind in (RECLAIM, THROTTLE, FREEZE):
        ease = decider.ease(candidates())
        assert ease is not None
        done.append(ease.step.kind)
        assert ease.step.kind == kind
        decider.eased(ease, done=False)
    assert decider.ease(candidates()) is None


@pytest.mark.parametrize("cgroup", ["/", None])
def test_the_root_cgroup_is_neither_reclaimed_from_nor_throttled(cgroup: str | None) -> None:
    decider = Decider(plan(EASE, how=ALL))
    decider.look(reading(1.0, 0.15))
    ease = decider.ease([INIT, process(10, 100, cgroup=cgroup)])
    assert ease is not None
    assert (ease.step.kind, ease.cgroup) == (FREEZE, "")


def test_what_is_protected_is_not_what_would_die_first() -> None:
    decider = Decider(plan(EASE, how=ALL, whom={"never": [{"comm": "p10"}]}))
    decider.look(reading(1.0, 0.15))
    ease = decider.ease(candidates())
    assert ease is not None
    assert ease.cgroup == "/other"


def test_amounts_are_shares_of_the_usage_or_sizes() -> None:
    reclaim, throttle, freeze = plan(EASE, how=ALL).response.easements
    assert reclaim.of_kb(GB) == pytest.approx(GB / 10)
    assert throttle.of_kb(GB) == 64 * 1024
    assert (throttle.lasts_s, freeze.lasts_s, reclaim.lasts_s) == (30.0, 60.0, 0.0)


def test_a_plan_with_them_goes_to_another_process_and_back() -> None:
    made = plan(EASE, how=ALL)
    again = Plan.from_values(made.to_values())
    assert again.to_values() == made.to_values()
    assert [one.kind for one in again.response.easements] == [RECLAIM, THROTTLE, FREEZE]
    assert [rule.eases for rule in again.rules] == [True]


def test_they_are_said_in_words() -> None:
    text = "\n".join(explain(policy(EASE, how=ALL)))
    assert "acts more softly than by a signal when memory available is at or below 20 %" in text
    assert "reclaims 10 % of the memory of the cgroup of what would die first" in text
    assert "above 64.0 MiB (memory.high), for 30 s; the next 5 s later" in text
    assert "stand still, for 60 s" in text
    assert "no cgroup with a protected process in it" in text


@pytest.mark.parametrize(
    ("when", "how", "place", "expected"),
    [
        (EASE, None, "when[0].level", "how.reclaim, how.throttle or how.freeze"),
        (LOW, {"freeze": {}}, "how.freeze", 'level = "ease"'),
        (EASE, {"freeze": {"time": "11m"}}, "how.freeze.time", "at most"),
        (EASE, {"freeze": {"time": "0s"}}, "how.freeze.time", "from 1ms on"),
        (EASE, {"freeze": {"high": "5%"}}, "how.freeze.high", "unknown key"),
        (EASE, {"reclaim": {"amount": 5}}, "how.reclaim.amount", "unit"),
        (EASE, {"reclaim": {"amount": "0%"}}, "how.reclaim.amount", "above 0"),
        (EASE, {"reclaim": {"time": "5s"}}, "how.reclaim.time", "unknown key"),
        (EASE, {"throttle": "5s"}, "how.throttle", "expected a table"),
    ],
)
def test_what_can_t_be_meant_is_refused_with_its_place(
    when: dict[str, Any], how: Any, place: str, expected: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(when, how=how)
    assert any(f.path == place and expected in f.expected for f in caught.value.faults), (
        caught.value.faults
    )


def test_what_stands_still_is_still_the_cause_when_a_signal_is_due() -> None:
    """Else what grows beside it would die for it."""
    decider = Decider(plan(EASE, LOW, how={"freeze": {}}, whom={"growth": 0.95}))
    decider.look(reading(1.0, 0.15))
    ease = decider.ease([process(10, 100, growth_kb=90_000.0), process(11, 90, growth_kb=10.0)])
    assert ease is not None
    decider.eased(ease, done=True)
    later = [process(10, 100, growth_kb=0.0), process(11, 95, growth_kb=5_000.0)]
    decider.look(reading(20.0, 0.09))
    act = decider.choose(later)
    assert act is not None
    assert act.choice.candidate.pid == 10
    decider.look(reading(30.0, 0.9))
    decider.look(reading(60.0, 0.09))
    assert (
        decider.rank([process(10, 100, growth_kb=0.0), process(11, 95, growth_kb=5_000.0)])[
            0
        ].candidate.pid
        == 11
    ), "that was another shortage"
