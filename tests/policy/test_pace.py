"""How soon a condition could hold, worked out by hand."""

from typing import Any

import pytest

from oomkit.policy.engine.conditions import KINDS
from oomkit.policy.engine.pace import Calm, calm_of, fill_pace_kb_s, wait_s
from oomkit.policy.engine.reading import INFINITY, CgroupReading, Pace, Reading
from tests.policy.making import GB, plan

MACHINE = Reading(0.0, 1000.0, 500.0, 200.0, 100.0)


def pace(**known: Any) -> Pace:
    """Nothing changes but what is given."""
    made = Pace()
    made.available_kb_s = made.swap_kb_s = made.zram_kb_s = made.limit_kb_s = 0.0
    for name, value in known.items():
        setattr(made, name, value)
    return made


def wait(
    kind: str, value: float | None, threshold: float, made: Pace, over_s: float = 2.0
) -> float:
    return wait_s(KINDS[kind], value, threshold, over_s, MACHINE, made)


@pytest.mark.parametrize(("kind", "field"), [
    ("available", "available_kb_s"), ("swap_free", "swap_kb_s"), ("limit_left", "limit_kb_s"),
])  # fmt: skip
def test_an_amount_that_falls_nears_its_threshold_at_its_own_pace(kind: str, field: str) -> None:
    assert wait(kind, 500.0, 100.0, pace(**{field: 50.0})) == 8.0
    assert wait(kind, 100.0, 100.0, pace(**{field: 50.0})) == 0.0
    assert wait(kind, 99.0, 100.0, pace(**{field: 50.0})) == 0.0
    assert wait(kind, 500.0, 100.0, pace()) == INFINITY


@pytest.mark.parametrize(("kind", "field"), [("swap_used", "swap_kb_s"), ("zram", "zram_kb_s")])
def test_an_amount_that_rises_does_too(kind: str, field: str) -> None:
    assert wait(kind, 100.0, 500.0, pace(**{field: 50.0})) == 8.0
    assert wait(kind, 500.0, 500.0, pace(**{field: 50.0})) == 0.0
    assert wait(kind, 100.0, 500.0, pace()) == INFINITY


def test_a_new_pace_knows_nothing_so_that_anything_can_happen_at_once() -> None:
    for kind in ("available", "swap_free", "limit_left"):
        assert wait(kind, 500.0, 100.0, Pace()) == 0.0
    assert wait("psi_full", 0.0, 0.25, Pace(), 4.0) == 1.0
    assert wait("empty_within", None, 10.0, Pace()) == 0.0


def test_pressure_of_which_nothing_is_known_takes_what_is_missing_of_its_window() -> None:
    """At worst all time is stalled from now on: 25 % of 4 s are full after 1 s."""
    assert wait("psi_full", 0.0, 0.25, pace(), 4.0) == 1.0
    assert wait("psi_full", 0.2, 0.25, pace(), 4.0) == pytest.approx(0.2)
    assert wait("psi_full", 0.25, 0.25, pace(), 4.0) == 0.0


def test_pressure_that_wakes_the_guard_need_not_be_waited_for_unless_it_has_begun() -> None:
    assert wait("psi_full", 0.0, 0.25, pace(pressure_begins=False), 4.0) == INFINITY
    assert wait("psi_full", 0.05, 0.25, pace(pressure_begins=False), 4.0) == pytest.approx(0.8)


def test_a_counter_of_which_nothing_is_known_is_looked_at_four_times_a_window() -> None:
    assert wait("refault", 0.0, 100.0, pace(), 4.0) == 1.0
    assert wait("swap_in", 99.0, 100.0, pace(pressure_begins=False), 2.0) == 0.5


def test_with_a_known_gain_a_window_fills_as_fast_as_that() -> None:
    """25 pages a second are 100 kB/s; at a threshold of 80 kB/s over 2 s that is 1.6 s away."""
    gains = Reading(0.0, 0.0, 0.0, refault_pages=25.0, psi_full_us=5e5)
    made = pace(gains=(gains, None))
    assert wait("refault", 0.0, 80.0, made) == 1.6
    assert wait("refault", 40.0, 80.0, made) == 0.8
    assert wait("refault", 0.0, 100.0, made) == 2.0
    assert wait("refault", 0.0, 101.0, made) == INFINITY
    assert wait("swap_in", 0.0, 80.0, made) == INFINITY  # it does not gain at all
    assert wait("psi_full", 0.0, 0.25, made) == 1.0


def test_what_is_a_cgroups_own_gains_as_the_cgroup_does() -> None:
    group = CgroupReading("/a", 0.0, pgscan_pages=25.0)
    made = pace(gains=(Reading(0.0, 0.0, 0.0, pgscan_pages=1.0), group))
    assert wait("reclaim", 0.0, 80.0, made) == 1.6


def test_time_that_is_left_is_found_from_what_is_left_and_how_it_falls() -> None:
    """600 kB are left (500 available, 100 of swap) and last 60 s: 10 kB/s are lost. It can be 100.

    After t seconds 600 - 100 t are left, and the mean over a window of 10 s is at most
    10 + 100 t / 10. The one is 20 s of the other when 600 - 100 t = 20 (10 + 10 t).
    """
    made = pace(available_kb_s=100.0)
    assert wait("empty_within", 60.0, 20.0, made, 10.0) == pytest.approx(400.0 / 300.0)


def test_swap_that_falls_at_the_same_time_adds_to_it() -> None:
    made = pace(available_kb_s=100.0, swap_kb_s=100.0, in_turn=False)
    assert wait("empty_within", 60.0, 20.0, made, 10.0) == pytest.approx(400.0 / 600.0)
    made.in_turn = True
    assert wait("empty_within", 60.0, 20.0, made, 10.0) == pytest.approx(400.0 / 300.0)


def test_time_that_is_left_beyond_its_window_is_that_of_the_pace_alone() -> None:
    """600 kB at 10 kB/s last 60 s: 20 s are left in 40 s, longer than the window of 1 s."""
    made = pace(available_kb_s=10.0)
    assert wait("empty_within", INFINITY, 20.0, made, 1.0) == 40.0
    assert wait("empty_within", None, 20.0, made, 1.0) == 40.0
    assert wait("empty_within", None, 59.5, made, 1.0) == pytest.approx(600.0 / (10.0 * 60.5))


def test_what_does_not_fall_lasts_for_ever() -> None:
    assert wait("empty_within", 60.0, 20.0, pace()) == INFINITY
    assert wait("empty_within", 20.0, 20.0, pace()) == 0.0


def test_a_cgroup_has_its_own_pace_where_that_is_known() -> None:
    made, own = pace(limit_kb_s=10.0), pace(limit_kb_s=40.0)
    made.groups["/a"] = own
    assert made.of(CgroupReading("/a", 0.0)) is own
    assert made.of(CgroupReading("/b", 0.0)) is made
    assert made.of(None) is made


def test_while_there_is_plenty_the_next_look_is_as_far_as_memory_can_fall() -> None:
    calm = Calm(250.0, 100.0, 50.0, 10.0)
    assert calm.next_look_s(400.0) == 6.0
    assert calm.next_look_s(900.0) == 10.0
    assert calm.next_look_s(250.5) == pytest.approx(3.01)
    assert calm.next_look_s(250.0) == 0.0
    assert calm.next_look_s(100.0) == 0.0


def test_the_floor_is_a_128th_lower_or_what_the_longest_wait_needs() -> None:
    calm = Calm(250.0, 100.0, 50.0, 10.0)
    assert calm.floor_kb(512.0) == 509  # a 128th of it is 4
    assert calm.floor_kb(10_000.0) == 601  # 100 + 10 s x 50, and whole kB above
    assert calm.floor_kb(251.0) == 251  # never below what has to be looked at


LOOK = {"most": "10s", "fill": "1G/s", "swap_fill": "512M/s", "warm": "25%"}


def calm(*rules: dict[str, Any], cpus: int | None = None, **look: str) -> Calm:
    found = calm_of(plan(*rules, look={**LOOK, **look}), float(4 * GB), cpus=cpus)
    assert found is not None
    return found


def test_it_is_calm_above_the_highest_bound_on_available_memory_and_above_warm() -> None:
    low = {"level": "soft", "available": "10%"}
    assert calm(low).above_kb == 1.0 * GB  # warm
    assert calm(low, warm="5%").above_kb == pytest.approx(0.4 * GB)
    assert calm(low, {"level": "warn", "available": "1G"}, warm="5%").above_kb == GB
    assert calm(low, {"level": "hard", "available": "5%"}, warm="1%").above_kb == pytest.approx(
        0.4 * GB
    )


def test_from_there_it_takes_memory_the_time_to_fall_to_the_highest_bound() -> None:
    low = {"level": "soft", "available": "512M"}
    assert calm(low).next_look_s(2.0 * GB) == 1.5
    assert calm(low, {"level": "hard", "available": "1G"}).next_look_s(2.0 * GB) == 1.0


def test_of_a_rule_that_also_asks_how_long_memory_lasts_less_has_to_be_left() -> None:
    """In 500 ms no more than 512 MB of memory and 256 MB of swap are filled: 768 MB."""
    rule = {"level": "soft", "available": "1G", "empty_within": "500ms"}
    assert calm(rule).next_look_s(2.0 * GB) == 1.25
    longer = {"level": "soft", "available": "1G", "empty_within": "10s"}
    assert calm(longer).next_look_s(2.0 * GB) == 1.0
    assert calm(rule).above_kb == GB


def test_a_rule_without_a_bound_on_available_memory_may_hold_at_any_time() -> None:
    made = plan({"level": "soft", "available": "1G"}, {"level": "soft", "zram": "50%"})
    assert calm_of(made, float(4 * GB), cpus=1) is None


def test_each_cpu_fills_memory_at_its_own_pace_where_their_number_is_known() -> None:
    by_cpu = plan(look={"fill": "2G/s", "fill_cpu": "1G/s"}).polling
    assert fill_pace_kb_s(by_cpu, 3) == 3.0 * GB
    assert fill_pace_kb_s(by_cpu, None) == 2.0 * GB
    assert fill_pace_kb_s(plan(look={"fill": "2G/s"}).polling, 3) == 2.0 * GB
