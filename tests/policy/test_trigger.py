"""When a policy acts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.policy import builtin
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.conditions import CALM, HARD, SOFT, WARN
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.engine.trigger import Watch
from oomkit.policy.read import find_policy
from tests.policy.making import GB, LOW, VERY_LOW, plan, process, reading

THRASH: dict[str, Any] = {
    "level": "soft", "available": "20%", "psi_full": "30%", "over": "2s", "for": "1s",
}  # fmt: skip


def test_levels_follow_memory() -> None:
    watch = Watch(plan({"level": "warn", "available": "20%"}, LOW, VERY_LOW))
    levels = [watch.see(reading(i, share)).level for i, share in enumerate((0.5, 0.2, 0.1, 0.01))]
    assert levels == [CALM, WARN, SOFT, HARD]


def test_all_conditions_of_a_rule_have_to_hold_at_once() -> None:
    watch = Watch(plan({"level": "soft", "available": "10%", "swap_free": "10%"}))
    full = {"swap_total_kb": GB, "swap_free_kb": 0.05 * GB}
    empty = {"swap_total_kb": GB, "swap_free_kb": 0.9 * GB}
    assert watch.see(reading(0, 0.05, **empty)).level == CALM
    assert watch.see(reading(1, 0.5, **full)).level == CALM
    assert watch.see(reading(2, 0.05, **full)).level == SOFT


def test_without_swap_a_bound_on_free_swap_holds_and_one_on_used_swap_never_does() -> None:
    """Row 11: no swap is fine."""
    free = Watch(plan({"level": "soft", "available": "10%", "swap_free": "10%"}))
    used = Watch(plan({"level": "soft", "available": "10%", "swap_used": "90%"}))
    assert free.see(reading(0, 0.05)).level == SOFT
    assert used.see(reading(0, 0.05)).level == CALM


def test_swap_that_appears_later_is_seen() -> None:
    """Row 11: swap and zram are read anew each time."""
    watch = Watch(plan({"level": "soft", "available": "10%", "swap_free": "10%"}))
    assert watch.see(reading(0, 0.05)).level == SOFT
    later = reading(1, 0.05, swap_total_kb=GB, swap_free_kb=GB)
    assert watch.see(later).level == CALM


def test_pressure_is_measured_over_its_window_and_has_to_last() -> None:
    watch = Watch(plan(THRASH))
    levels = []
    for i in range(40):
        t = i / 10
        stalled = 1e6 * 0.5 * max(t - 1.0, 0.0)
        levels.append(watch.see(reading(t, 0.1, psi_full_us=stalled)).level)
    # 30 % of 2 s are full at 2.2 s; a second later it has held for 1 s.
    assert levels.index(SOFT) == 32


def test_evidence_says_what_was_measured_against_what() -> None:
    watch = Watch(plan(THRASH))
    watch.see(reading(0.0, 0.1, psi_full_us=0.0))
    state = watch.see(reading(2.0, 0.1, psi_full_us=1e6))
    available, full = state.evidence
    assert (available.kind.name, available.kind.unit) == ("available", "kb")
    assert available.measured == pytest.approx(0.1 * GB)
    assert available.threshold == pytest.approx(0.2 * GB)
    assert available.held_s == 2.0
    assert (full.kind.name, full.kind.unit, full.threshold, full.holds) == (
        "psi_full",
        "share",
        0.3,
        True,
    )
    assert full.measured == pytest.approx(0.5)


def test_a_machine_without_psi_is_reported_and_keeps_its_other_rules() -> None:
    """Row 9: start-up says which signals are missing."""
    watch = Watch(plan(THRASH, VERY_LOW))
    assert watch.missing(reading(0, 0.5)) == ("psi_full",)
    assert watch.see(reading(0, 0.1)).level == CALM
    assert watch.see(reading(1, 0.01)).level == HARD


def test_memory_on_its_way_counts_as_available() -> None:
    """Row 5."""
    watch = Watch(plan(LOW))
    assert watch.see(reading(0, 0.05), coming_kb=0.2 * GB).level == CALM
    assert watch.see(reading(1, 0.05)).level == SOFT


def test_zfs_cache_counts_as_available_and_zram_can_be_bounded() -> None:
    """Row 25."""
    watch = Watch(plan(LOW, {"level": "hard", "zram": "50%"}))
    assert watch.see(reading(0, 0.05, arc_kb=0.3 * GB)).level == CALM
    assert watch.see(reading(1, 0.5, zram_kb=0.6 * GB)).level == HARD


def test_time_that_is_left_is_reported_from_the_present_rate() -> None:
    watch = Watch(plan({"level": "soft", "empty_within": "5500ms", "over": "1s"}))
    found = []
    for i in range(20):
        available = 1.0 - 0.05 * i  # empty at 20 s
        found.append(watch.see(reading(float(i), available)).level)
    assert found.index(SOFT) == 15


def test_a_cgroup_near_its_limit_is_named() -> None:
    rule = {"level": "soft", "cgroup": "/web*", "limit_left": "10%"}
    watch = Watch(plan(rule))
    calm = CgroupReading("/web-1", 50.0, 100.0)
    near = CgroupReading("/web-2", 95.0, 100.0)
    other = CgroupReading("/db", 100.0, 100.0)
    state = watch.see(reading(0, 0.9, cgroups=(calm, near, other)))
    assert (state.level, state.cgroup) == (SOFT, "/web-2")


@pytest.mark.parametrize(("used_kb", "limit_kb", "level"), [
    (899.0, 1000.0, CALM), (900.0, 1000.0, SOFT), (900.0, None, CALM),
])  # fmt: skip
def test_what_a_cgroup_has_left_is_a_share_of_its_own_limit(
    used_kb: float, limit_kb: float | None, level: int
) -> None:
    """Beside its working set a tenth of the limit is left, or more."""
    watch = Watch(plan({"level": "soft", "cgroup": "/a", "working_set_left": "10%"}))
    group = CgroupReading("/a", 950.0, limit_kb, working_set_kb=used_kb)
    assert watch.see(reading(1.0, 0.9, cgroups=(group,))).level == level


def test_processes_are_ranked_before_any_reading() -> None:
    decider = Decider(plan(LOW))
    ranked = decider.rank([process(10, 10), process(11, 20)])
    assert [one.candidate.pid for one in ranked] == [11, 10]


def test_a_reading_from_before_begins_anew() -> None:
    """A clock that steps back must not make anything last for ever."""
    watch = Watch(plan({**LOW, "for": "10s"}))
    watch.see(reading(100.0, 0.05))
    assert watch.see(reading(5.0, 0.05)).level == CALM
    assert watch.see(reading(14.0, 0.05)).level == CALM
    assert watch.see(reading(15.0, 0.05)).level == SOFT


shares = st.floats(0.0, 1.0)
stalls = st.floats(0.0, 1.0)
gaps = st.floats(0.01, 20.0)


@pytest.mark.parametrize("name", builtin.NAMES)
@settings(deadline=None)
@given(st.lists(st.tuples(gaps, stalls, stalls), min_size=1, max_size=30))
def test_pressure_alone_never_kills_while_memory_is_plentiful(
    name: str, steps: list[tuple[float, float, float]]
) -> None:
    """Row 10: whatever PSI says, with most of memory free and no reclaim nobody dies."""
    watch = Watch(compile_plan(find_policy(name)))
    t = some = full = 0.0
    for gap, more, part in steps:
        t += gap
        some += gap * more
        full += gap * more * part
        group = CgroupReading("/a", 1.0, None, 0.0, 1e6 * some, 1e6 * full, 0.0)
        state = watch.see(
            Reading(
                t, GB, 0.6 * GB, GB, GB, psi_some_us=1e6 * some, psi_full_us=1e6 * full,
                refault_pages=0.0, swap_in_pages=0.0, pgscan_pages=0.0, cgroups=(group,),
            )
        )  # fmt: skip
        assert state.level < SOFT


@settings(deadline=None)
@given(st.lists(st.tuples(gaps, shares, shares), min_size=1, max_size=20), st.floats(0.0, 1.0))
def test_less_memory_never_makes_it_less_serious(
    steps: list[tuple[float, float, float]], fewer: float
) -> None:
    made = plan({"level": "soft", "available": "10%", "swap_free": "20%"}, VERY_LOW)
    more, less = Watch(made), Watch(made)
    t = 0.0
    for gap, available, swap in steps:
        t += gap
        much = reading(t, available, swap_total_kb=GB, swap_free_kb=swap * GB)
        little = reading(t, available * fewer, swap_total_kb=GB, swap_free_kb=swap * fewer * GB)
        assert less.see(little).level >= more.see(much).level


@settings(deadline=None)
@given(shares, shares, st.floats(0.0, 0.99))
def test_no_rule_can_hold_before_the_next_look(available: float, swap: float, part: float) -> None:
    """At the fastest pace the policy thinks possible, it looks again in time."""
    made = plan(
        {"level": "soft", "available": "10%", "swap_free": "20%"},
        look={"least": "1ms", "most": "10m", "fill": "1G/s", "swap_fill": "1G/s"},
    )
    watch = Watch(made)
    now = reading(0.0, available, swap_total_kb=GB, swap_free_kb=swap * GB)
    if watch.see(now).level != CALM:
        return
    wait = watch.next_look_s(now)
    # Memory goes first, and then swap, for part of that time.
    fallen = part * wait
    left = max(available - fallen, 0.1) if available > 0.1 else available
    spent = max(available - left, 0.0)
    later = reading(
        fallen, left, swap_total_kb=GB, swap_free_kb=max(swap - (fallen - spent), 0.0) * GB
    )
    assert watch.see(later).level == CALM or wait <= 0.001


def test_with_triggers_pressure_needs_no_looking() -> None:
    watch = Watch(plan(THRASH, look={"most": "10s"}))
    now = reading(0.0, 0.1, psi_full_us=0.0)
    watch.see(now)
    assert watch.next_look_s(now) < 2.0
    assert watch.next_look_s(now, psi_wakes=True) == 10.0
