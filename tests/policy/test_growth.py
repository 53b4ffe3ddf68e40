"""Who grew since the shortage began."""

from oomkit.policy.engine.candidate import Growth
from oomkit.policy.engine.decider import Decider
from tests.policy.making import LOW, plan, reading


def test_growth_is_what_was_gained_over_sizes_of_a_window_or_two_ago() -> None:
    growth = Growth(10.0)
    assert growth.of(2, 2, 50.0) is None
    growth.note(0.0, 1000.0, {(2, 2): 50.0, (3, 3): 70.0})
    assert growth.of(2, 2, 80.0) == 30.0
    assert growth.of(3, 3, 60.0) == 0.0
    assert growth.of(4, 4, 25.0) == 25.0
    assert growth.of(2, 999, 80.0) == 80.0  # another process of that pid
    growth.note(10.0, 900.0, {(2, 2): 90.0})
    assert growth.of(2, 2, 100.0) == 50.0
    growth.note(20.0, 800.0, {(2, 2): 100.0})
    assert growth.of(2, 2, 110.0) == 20.0


def test_sizes_are_noted_only_while_memory_falls() -> None:
    growth = Growth(10.0)
    assert growth.due(0.0, 1000.0, 10.0)
    growth.note(0.0, 1000.0, {})
    assert not growth.due(5.0, 900.0, 10.0)
    assert not growth.due(15.0, 995.0, 10.0)
    assert growth.due(15.0, 990.0, 10.0)


def test_sizes_of_an_earlier_shortage_are_forgotten() -> None:
    guard = Decider(plan(LOW, look={"warm": "30%"}, whom={"growth_over": "10s"}))
    assert not guard.look(reading(0.0, 0.5)).sizes
    assert guard.look(reading(1.0, 0.3)).sizes
    guard.growth.note(1.0, 0.3, {(2, 2): 5.0})
    assert not guard.look(reading(2.0, 0.3)).sizes
    guard.look(reading(3.0, 0.5))
    assert not guard.look(reading(5.0, 0.3)).sizes  # calm for a moment only
    guard.look(reading(6.0, 0.5))
    assert guard.look(reading(60.0, 0.3)).sizes
    assert guard.growth.of(2, 2, 9.0) is None
