"""What is under way: signals, pauses and the bound on kills, to the moment."""

from typing import Any

import pytest

from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.conditions import CALM, HARD, SOFT, WARN
from oomkit.policy.engine.escalation import INFINITY, MIN_SHARE, Escalation, Signal
from tests.policy.making import plan, process

HOW: dict[str, Any] = {
    "term_wait": "5s", "term_least": "1s", "give_up": "10s", "pause": "2s", "hard_pause": "500ms",
    "most_a_minute": 3,
}  # fmt: skip
MB = 1024.0


def escalation(*, dry_run: bool = False, **how: Any) -> Escalation:
    return Escalation(plan(how={**HOW, **how}), dry_run=dry_run)


def choice(*members: Candidate, level: str = "process") -> Ranked:
    one = Ranked(members[0])
    one.members, one.level = members, level
    return one


def said(signals: tuple[Signal, ...]) -> list[tuple[int, int, str, str]]:
    return [(one.pid, one.start_time, one.name, one.why) for one in signals]


@pytest.mark.parametrize(("level", "term", "name"), [
    (SOFT, True, "TERM"), (SOFT, False, "KILL"), (HARD, True, "KILL"), (HARD, False, "KILL"),
])  # fmt: skip
def test_the_signal_of_each_level(level: int, term: bool, name: str) -> None:
    signals = escalation(term=term).begin(choice(process(5, start_time=50)), 0.0, level)
    assert said(signals) == [(5, 50, name, "chosen")]


def test_of_several_the_one_it_is_about_comes_first_then_the_largest() -> None:
    members = (process(5, 1), process(6, 10), process(7, 30), process(8, 20))
    signals = escalation().begin(choice(*members, level="tree"), 0.0, SOFT)
    assert [(one.pid, one.why) for one in signals] == [
        (pid, "in the chosen tree") for pid in (5, 7, 8, 6)
    ]


def test_sigkill_follows_in_time_with_its_reason() -> None:
    made = escalation()
    made.begin(choice(process(5)), 100.0, SOFT)
    assert made.escalate(104.99, SOFT) == ()
    assert made.escalate(105.0, WARN) == ()
    assert said(made.escalate(105.0, SOFT)) == [(5, 5, "KILL", "still there 5.0 s after SIGTERM")]
    assert made.escalate(106.0, HARD) == ()  # once


def test_sigkill_follows_sooner_when_it_gets_hard() -> None:
    made = escalation()
    made.begin(choice(process(5)), 100.0, SOFT)
    assert made.escalate(100.99, HARD) == ()
    assert said(made.escalate(101.0, HARD)) == [
        (5, 5, "KILL", "memory ran hard 1.0 s after SIGTERM")
    ]


def test_who_was_killed_at_once_gets_no_second_signal() -> None:
    made = escalation()
    made.begin(choice(process(5)), 0.0, HARD)
    assert made.escalate(50.0, HARD) == ()


def test_the_bound_on_kills_counts_the_last_minute() -> None:
    made = escalation(pause="0s", hard_pause="0s")
    for t_s in (0.0, 10.0, 20.0):
        assert made.obstacle(t_s, SOFT) == ""
        made.begin(choice(process(5)), t_s, SOFT)
        made.died(5, 5, t_s)
    assert made.obstacle(59.99, HARD) == "3 kills in the last minute"
    assert made.obstacle(60.0, HARD) == ""
    made.begin(choice(process(5)), 60.0, SOFT)
    made.died(5, 5, 60.0)
    assert made.obstacle(69.9, SOFT) == "3 kills in the last minute"
    assert made.obstacle(70.0, SOFT) == ""


def test_one_kill_a_minute_means_a_second_one_after_a_minute() -> None:
    made = escalation(most_a_minute=1, pause="0s")
    made.begin(choice(process(5)), 0.0, SOFT)
    made.died(5, 5, 1.0)
    assert made.obstacle(59.0, SOFT) == "1 kills in the last minute"
    assert made.obstacle(61.0, SOFT) == ""


def test_the_pause_begins_with_the_act_and_again_with_the_death() -> None:
    made = escalation()
    made.begin(choice(process(5)), 0.0, HARD)
    assert made.obstacle(0.49, HARD) == "pause of 0.5 s after the last one"
    assert made.obstacle(1.99, SOFT) == "pause of 2 s after the last one"
    assert made.obstacle(2.0, SOFT) == "p5[5] is exiting"
    made.died(5, 5, 3.0)
    assert made.obstacle(3.49, HARD) == "pause of 0.5 s after the last one"
    assert made.obstacle(3.5, HARD) == ""
    assert made.obstacle(4.99, SOFT) == "pause of 2 s after the last one"
    assert made.obstacle(5.0, SOFT) == ""


def test_a_dry_run_has_a_pause_of_its_own_and_waits_for_nobody() -> None:
    made = escalation(dry_run=True, dry_run_pause="30s")
    assert [one.name for one in made.begin(choice(process(5)), 0.0, SOFT)] == ["TERM"]
    assert made.dying() == ()
    assert made.obstacle(29.9, HARD) == "pause of 30 s after the last one"
    assert made.obstacle(30.0, SOFT) == ""
    assert made.next_s(0.0) == 30.0


def test_after_nobody_could_be_chosen_a_second_passes() -> None:
    made = escalation()
    made.none_found(10.0)
    assert made.obstacle(10.99, HARD) == "no process could be chosen"
    assert made.obstacle(11.0, HARD) == ""
    assert made.next_s(10.25) == 0.75
    assert made.next_s(11.0) == INFINITY


@pytest.mark.parametrize(("first", "together", "level", "waits"), [
    (HARD, True, HARD, False), (HARD, True, SOFT, True), (HARD, False, HARD, True),
    (SOFT, True, HARD, True), (SOFT, True, SOFT, True),
])  # fmt: skip
def test_whether_the_next_one_waits_for_the_last(
    first: int, together: bool, level: int, waits: bool
) -> None:
    """Only for who was killed, only when it is hard, only where the policy says so."""
    made = escalation(together=together, pause="0s", hard_pause="0s")
    made.begin(choice(process(5)), 0.0, first)
    assert made.obstacle(0.5, level) == ("p5[5] is exiting" if waits else "")


def test_who_does_not_die_is_given_up() -> None:
    made = escalation()
    made.begin(choice(process(5)), 0.0, HARD)
    made.begin(choice(process(6)), 1.0, SOFT)
    assert made.stuck(9.99) == ()
    assert made.stuck(10.0) == ((5, 5),)
    assert made.stuck(15.99) == ((5, 5),)
    assert made.stuck(16.0) == ((5, 5), (6, 6))  # SIGTERM at 1, 5 s for it, 10 s more
    assert made.obstacle(15.99, SOFT) == "p6[6] is exiting"
    assert made.obstacle(16.0, SOFT) == ""


def test_a_death_is_over_with_the_last_of_those_under_way() -> None:
    made = escalation()
    made.begin(choice(process(5), process(6)), 0.0, HARD)
    assert made.dying() == ((5, 5), (6, 6))
    assert not made.died(7, 7, 1.0)
    assert not made.died(5, 5, 1.0)
    assert made.died(6, 6, 2.0)
    assert made.dying() == ()
    assert not made.died(6, 6, 3.0)


def test_who_was_spared_before_a_signal_leaves_no_trace() -> None:
    made = escalation(most_a_minute=1)
    made.begin(choice(process(5)), 10.0, SOFT)
    made.spared(5, 5, signalled=False)
    assert made.dying() == ()
    assert made.obstacle(10.0, SOFT) == ""


def test_who_was_spared_after_a_signal_counts_on() -> None:
    made = escalation(most_a_minute=1)
    made.begin(choice(process(5)), 10.0, SOFT)
    made.spared(5, 5, signalled=True)
    assert made.obstacle(10.0, SOFT) == "1 kills in the last minute"


def test_the_pause_of_the_act_before_one_that_was_spared_goes_on() -> None:
    made = escalation()
    made.begin(choice(process(4)), 9.0, SOFT)
    made.died(4, 4, 9.0)
    made.begin(choice(process(5)), 10.0, SOFT)
    made.spared(5, 5, signalled=False)
    assert made.obstacle(10.99, SOFT) == "pause of 2 s after the last one"
    assert made.obstacle(11.0, SOFT) == ""


def test_one_of_several_who_is_spared_ends_nothing() -> None:
    made = escalation(most_a_minute=1)
    made.begin(choice(process(5), process(6)), 10.0, SOFT)
    made.spared(5, 5, signalled=False)
    assert made.dying() == ((6, 6),)
    assert made.obstacle(10.0, SOFT) == "1 kills in the last minute"
    made.spared(99, 99, signalled=False)
    assert made.dying() == ((6, 6),)


def test_memory_on_its_way_is_that_of_the_killed_until_they_are_given_up() -> None:
    made = escalation(together=True)
    made.begin(choice(process(5, 10)), 0.0, SOFT)
    assert made.coming_kb(0.0) == 0.0
    made.begin(choice(process(6, 20)), 0.0, HARD)
    assert made.coming_kb(0.0) == 20 * MB
    made.escalate(5.0, SOFT)
    assert made.coming_kb(5.0) == 30 * MB
    assert made.coming_kb(10.0) == 10 * MB
    made.share = 0.5
    assert made.coming_kb(10.0) == 5 * MB
    shared = escalation()
    shared.begin(choice(process(7, 20, mm_id=1), process(8, 20, mm_id=1)), 0.0, HARD)
    assert shared.coming_kb(0.0) == 20 * MB


def test_what_a_death_gave_is_expected_of_the_next() -> None:
    made = escalation()
    made.learn(100.0, 40.0)
    assert made.share == 0.4
    made.learn(100.0, 400.0)
    assert made.share == 1.0
    made.learn(100.0, -10.0)
    assert made.share == MIN_SHARE == 0.05
    made.learn(0.0, 50.0)
    assert made.share == 0.05
    made.trust()
    assert made.share == 1.0
    made.bound(0.5)
    assert made.share == 0.5
    made.bound(0.7)
    assert made.share == 0.5
    made.bound(0.0)
    assert made.share == 0.05


def test_when_something_changes_by_itself() -> None:
    """SIGTERM at 0: 1 s (hard), 5 s (time), 10 s (as if killed now), 15 s; pauses 0.5 s and 2 s."""
    made = escalation()
    assert made.next_s(0.0) == INFINITY
    made.begin(choice(process(5)), 0.0, SOFT)
    times, now = [], 0.0
    while (left := made.next_s(now)) < INFINITY:
        now += left
        times.append(now)
    assert times == [0.5, 1.0, 2.0, 5.0, 10.0, 15.0]
    made.escalate(5.0, SOFT)
    assert made.next_s(10.5) == 4.5  # given up 10 s after SIGKILL
    made.died(5, 5, 20.0)
    assert made.next_s(20.0) == 0.5
    assert made.next_s(20.5) == 1.5
    assert made.next_s(22.0) == INFINITY


def test_calm_needs_nothing() -> None:
    made = escalation()
    assert made.escalate(0.0, CALM) == ()
    assert made.obstacle(0.0, SOFT) == ""
