"""How a policy acts: escalation, pauses, bounds."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.policy.engine.conditions import HARD, SOFT
from oomkit.policy.engine.decider import Decider
from tests.policy.making import LOW, VERY_LOW, plan, process, reading

HOW: dict[str, Any] = {"term_wait": "5s", "term_least": "1s", "give_up": "10s", "pause": "2s"}


def decider(**how: Any) -> Decider:
    return Decider(plan(LOW, VERY_LOW, how={**HOW, **how}))


def act(guard: Decider, t_s: float, share: float, *pids: int) -> list[tuple[int, str]]:
    """Look, and do what it calls for; returns the signals."""
    look = guard.look(reading(t_s, share))
    signals = list(look.signals)
    if look.choose:
        dying = {pid for pid, _ in guard.escalation.dying()}
        found = guard.choose([process(pid, pid, dying=pid in dying) for pid in pids])
        signals += found.signals if found is not None else ()
    return [(s.pid, s.name) for s in signals]


def test_sigterm_when_soft_and_sigkill_when_hard() -> None:
    assert act(decider(), 0.0, 0.08, 10, 20) == [(20, "TERM")]
    assert act(decider(), 0.0, 0.01, 10, 20) == [(20, "KILL")]
    assert act(decider(term=False), 0.0, 0.08, 10, 20) == [(20, "KILL")]


def test_sigkill_follows_by_time_while_memory_is_between_the_levels() -> None:
    """Row 7."""
    guard = decider()
    assert act(guard, 0.0, 0.08, 10, 20) == [(20, "TERM")]
    assert act(guard, 4.9, 0.08, 10, 20) == []
    assert act(guard, 5.0, 0.08, 10, 20) == [(20, "KILL")]


def test_sigkill_follows_at_once_when_it_gets_hard_but_not_before_a_moment() -> None:
    guard = decider()
    assert act(guard, 0.0, 0.08, 10, 20) == [(20, "TERM")]
    assert act(guard, 0.5, 0.01, 10, 20) == []
    assert act(guard, 1.0, 0.01, 10, 20) == [(20, "KILL")]


def test_who_takes_its_time_may_when_memory_is_back() -> None:
    guard = decider()
    assert act(guard, 0.0, 0.08, 10, 20) == [(20, "TERM")]
    assert act(guard, 8.0, 0.5, 10, 20) == []


def test_the_next_one_waits_for_the_last_ones_memory() -> None:
    """Row 5: no second victim while the first is on its way out."""
    guard = decider()
    assert act(guard, 0.0, 0.08, 10, 20) == [(20, "TERM")]
    assert act(guard, 3.0, 0.08, 10, 20) == []
    guard.died(20, 20, 3.5)
    assert act(guard, 4.0, 0.08, 10) == []  # the pause
    assert act(guard, 5.5, 0.08, 10) == [(10, "TERM")]


def test_a_victim_that_does_not_die_is_given_up() -> None:
    """A victim in D state must not stop the guard."""
    guard = decider(together=False)
    assert act(guard, 0.0, 0.01, 10, 20) == [(20, "KILL")]
    assert act(guard, 9.9, 0.01, 10, 20) == []
    assert act(guard, 10.0, 0.01, 10, 20) == [(10, "KILL")]


def test_when_hard_even_with_the_memory_on_its_way_another_one_goes() -> None:
    guard = decider(hard_pause="0s")
    assert act(guard, 0.0, 0.01, 10, 20) == [(20, "KILL")]
    assert guard.escalation.coming_kb(0.1) == 20 * 1024
    # 1 % and 20 MB on their way are less than 5 %.
    assert act(guard, 0.1, 0.01, 10, 20) == [(10, "KILL")]


def test_memory_that_suffices_holds_the_second_kill_back() -> None:
    guard = decider(hard_pause="0s")
    assert act(guard, 0.0, 0.01, 10, 200) == [(200, "KILL")]
    assert act(guard, 0.1, 0.01, 10, 200) == []


def test_a_death_that_gave_little_back_lowers_what_the_next_is_expected_to_give() -> None:
    """Forked processes share their pages: only the last to die gives them back."""
    guard = decider(hard_pause="0s")
    assert act(guard, 0.0, 0.01, 200, 300, 310) == [(310, "KILL")]
    guard.died(310, 310, 0.1)
    assert act(guard, 0.1, 0.011, 200, 300) == [(300, "KILL")]
    assert guard.escalation.coming_kb(0.1) < 0.1 * 300 * 1024
    assert act(guard, 0.2, 0.011, 200, 300) == [(200, "KILL")]


def test_after_a_shortage_deaths_are_trusted_again() -> None:
    guard = decider(hard_pause="0s")
    assert act(guard, 0.0, 0.01, 200, 300) == [(300, "KILL")]
    guard.died(300, 300, 0.1)
    assert act(guard, 0.2, 0.9) == []
    assert act(guard, 5.0, 0.01, 100, 200) == [(200, "KILL")]
    assert guard.escalation.coming_kb(5.0) == 200 * 1024


def test_another_process_of_the_same_pid_is_not_taken_for_the_victim() -> None:
    guard = decider()
    act(guard, 0.0, 0.08, 20)
    guard.died(20, 999, 1.0)
    assert guard.escalation.dying() == ((20, 20),)


def test_a_dry_run_chooses_and_waits_for_none() -> None:
    """Row 17."""
    guard = Decider(plan(LOW, how={**HOW, "dry_run_pause": "30s"}), dry_run=True)
    assert act(guard, 0.0, 0.08, 10, 20) == [(20, "TERM")]
    assert guard.escalation.dying() == ()
    assert act(guard, 10.0, 0.08, 10, 20) == []
    assert act(guard, 30.0, 0.08, 10, 20) == [(20, "TERM")]


def test_of_many_that_grow_several_go_at_once() -> None:
    """Ten take 102 MB a second together and 26 are left: for half a second two have to go."""
    guard = Decider(plan(VERY_LOW, whom={"lasts": "500ms"}))
    guard.growth.note(0.0, 1.0, {})
    for i in range(11):
        guard.look(reading(i / 10, 0.125 - i / 100))
    found = guard.choose([process(pid, 10, comm="bomb", growth_kb=10240) for pid in range(10, 20)])
    assert found is not None
    assert found.choice.level == "namesakes"
    assert [s.pid for s in found.signals] == [19, 18]
    alone = Decider(plan(VERY_LOW))
    for i in range(11):
        alone.look(reading(i / 10, 0.125 - i / 100))
    found = alone.choose([process(pid, 10, comm="bomb", growth_kb=10240) for pid in range(10, 20)])
    assert found is not None
    assert [s.pid for s in found.signals] == [19]


def test_a_command_replaces_sigterm_but_not_sigkill() -> None:
    how = {"instead": [{"comm": "p20", "command": ["/bin/restart", "{unit}"]}]}
    soft = Decider(plan(LOW, VERY_LOW, how=how))
    soft.look(reading(0.0, 0.08))
    found = soft.choose([process(20, 20)])
    assert found is not None
    assert found.command == ("/bin/restart", "{unit}")
    hard = Decider(plan(LOW, VERY_LOW, how=how))
    hard.look(reading(0.0, 0.01))
    found = hard.choose([process(20, 20)])
    assert found is not None
    assert found.command is None


def test_none_to_choose_is_not_asked_for_again_at_once() -> None:
    guard = decider()
    assert act(guard, 0.0, 0.01) == []
    assert guard.look(reading(0.5, 0.01)).obstacle == "no process could be chosen"
    assert guard.look(reading(1.0, 0.01)).choose


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 3.0), st.floats(0.0, 0.2), st.booleans()), max_size=80),
    st.integers(1, 5),
)
def test_kills_a_minute_are_bounded(steps: list[tuple[float, float, bool]], most: int) -> None:
    guard = decider(most_a_minute=most, pause="0s", hard_pause="0s")
    t = 0.0
    acts: list[float] = []
    pids = list(range(2, 400))
    for gap, share, dies in steps:
        t += gap
        look = guard.look(reading(t, share))
        if look.choose:
            found = guard.choose([process(pid, 2) for pid in pids])
            assert found is not None
            assert look.state.level in (SOFT, HARD)
            acts.append(t)
            pids.remove(found.choice.candidate.pid)
        if dies:
            for key in guard.escalation.dying():
                guard.died(*key, t)
        assert sum(at > t - 60.0 for at in acts) <= most
