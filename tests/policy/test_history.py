"""Rates over a window: each value worked out by hand."""

import pytest

from oomkit.policy.engine.history import History


def history(*moments: tuple[float, float | None]) -> History:
    made = History(10.0, 1.0)
    for t_s, total in moments:
        made.add(t_s, {"x": total})
    return made


def test_before_the_second_reading_inside_a_window_there_is_no_more_than_nothing() -> None:
    assert history().rate("x", 2.0) is None
    assert history((0.0, 5.0)).rate("x", 2.0) == 0.0
    assert history((0.0, 5.0)).rate("y", 2.0) is None
    assert history((0.0, None)).rate("x", 2.0) is None


def test_a_rate_is_what_was_gained_inside_the_window_by_its_whole_length() -> None:
    """From 10 to 16 within the last 2 s: 3 a second, though the readings are 1.5 s apart."""
    assert history((8.5, 10.0), (10.0, 16.0)).rate("x", 2.0) == 3.0


def test_where_the_window_begins_between_two_readings_the_larger_estimate_counts() -> None:
    """Inside it 4 of 2 s; since the reading before it 12 in 3 s."""
    made = history((7.0, 0.0), (9.0, 8.0), (10.0, 12.0))
    assert made.rate("x", 2.0) == 4.0
    slow_before = history((7.0, 7.0), (9.0, 8.0), (10.0, 12.0))
    assert slow_before.rate("x", 2.0) == 2.0


def test_a_reading_at_the_windows_begin_is_before_it() -> None:
    """8 to 10: gained 10 in the 2 s since then; inside only the last 3."""
    made = history((8.0, 0.0), (9.0, 7.0), (10.0, 10.0))
    assert made.rate("x", 2.0) == 5.0
    just_inside = history((8.001, 0.0), (9.0, 7.0), (10.0, 10.0))
    assert just_inside.rate("x", 2.0) == 5.0


def test_a_counter_that_fell_gained_nothing() -> None:
    assert history((9.0, 10.0), (10.0, 4.0)).rate("x", 2.0) == 0.0


def test_moments_of_which_the_total_is_not_known_are_passed_over() -> None:
    made = history((7.0, 0.0), (7.5, None), (9.0, None), (9.5, 6.0), (10.0, 12.0))
    assert made.rate("x", 2.0) == 4.0


def test_a_change_goes_up_or_down_from_the_reading_at_the_begin_of_the_window() -> None:
    made = history((0.0, 100.0), (6.0, 80.0), (8.0, 70.0), (9.0, 64.0), (10.0, 60.0))
    assert made.change("x", 2.0) == -5.0  # from the reading at 8
    assert made.change("x", 1.5) == -5.0  # still from 8, the last before 8.5
    assert made.change("x", 1.0) == -4.0  # from 9
    assert made.change("x", 100.0) == -4.0  # from the first there is
    assert history((0.0, 10.0), (10.0, 60.0)).change("x", 1.0) == 5.0


def test_a_change_takes_two_readings_that_know_it() -> None:
    assert history().change("x", 1.0) is None
    assert history((0.0, 1.0)).change("x", 1.0) is None
    assert history((0.0, None), (1.0, 1.0)).change("x", 1.0) is None
    assert history((0.0, 1.0), (1.0, None)).change("x", 1.0) is None
    assert history((1.0, 1.0), (1.0, 3.0)).change("x", 1.0) is None  # no time has passed


def test_what_is_older_than_the_longest_window_goes_but_for_the_last_before_it() -> None:
    made = History(10.0, 1.0)
    for t_s in range(31):
        made.add(float(t_s), {"x": 2.0 * t_s})
    # From the reading at 20 on: a longer window has no reading before it.
    assert made.rate("x", 10.0) == 2.0
    assert made.rate("x", 20.0) == 20.0 / 20.0
    assert made.change("x", 100.0) == 2.0


def test_readings_much_closer_than_the_shortest_window_replace_each_other() -> None:
    """Every sixteenth of it is kept: of a second 62.5 ms."""
    made = History(10.0, 1.0)
    made.add(0.0, {"x": 0.0})
    made.add(0.03, {"x": 1.0})
    made.add(0.06, {"x": 50.0})  # 60 ms after the first: takes the place of the second
    assert made.change("x", 0.03) == pytest.approx(50.0 / 0.06)
    made.add(0.0625, {"x": 50.0})
    made.add(0.125, {"x": 60.0})  # 62.5 ms after 62.5 ms would be kept; 65 ms after 60 are
    assert made.change("x", 0.05) == pytest.approx(10.0 / 0.0625)


def test_a_clock_that_went_back_begins_anew() -> None:
    made = history((100.0, 1000.0), (5.0, 10.0))
    assert made.change("x", 1.0) is None
    same = history((5.0, 10.0), (5.0, 30.0), (6.0, 40.0))
    assert same.change("x", 1.0) == 10.0


def test_after_a_death_only_the_last_reading_counts() -> None:
    made = history((8.0, 0.0), (9.0, 90.0))
    made.clear()
    made.add(10.0, {"x": 92.0})
    assert made.rate("x", 2.0) == 1.0
    assert made.change("x", 2.0) == 2.0


def test_a_decaying_rate_nears_a_steady_one_as_avg10_does() -> None:
    """1 - exp(-t/10 s) of it after t; and it falls the same way."""
    made = History(40.0, 10.0)
    expected = {10: 0.8 * 0.632, 20: 0.8 * 0.865, 30: 0.8 * 0.950, 40: 0.8 * 0.950 * 0.368}
    for t_s in range(41):
        made.add(float(t_s), {"stall": 0.8 * min(t_s, 30)})
        if t_s in expected:
            assert made.decaying_rate("stall", 10.0) == pytest.approx(expected[t_s], abs=0.02)
    assert made.decaying_rate("other", 10.0) is None
    made.clear()
    assert made.decaying_rate("stall", 10.0) == 0.0
