"""How long rates hold, and who has to reclaim, on machines made for one question.

Each expected value is worked out by hand from the figures beside it, to both sides of each edge.
"""

from typing import Any

import pytest

from oomkit.model.advance import advance, charge_rates, horizon
from oomkit.model.domains import AT_LIMIT_PAGES, Domain, count_usage, find_domains, run_kswapd
from oomkit.model.machine import Machine
from oomkit.model.pools import Pool, PoolFlow
from oomkit.model.reclaim import Layer, Plan
from oomkit.model.solve import Rates
from oomkit.model.writeback import dirty_thresholds
from oomkit.scenario import scenario_from

NEVER = float("inf")


def machine(*cgroups: dict[str, Any], vm: Any = None, **values: Any) -> Machine:
    """A machine on which nothing runs yet."""
    made: dict[str, Any] = {"ram": "512M", "swap": "64M", "disk": "40M/s", "programs": 0, **values}
    return Machine(scenario_from({
        "name": "n", "machine": made, "vm": vm or {}, "cgroup": list(cgroups),
        "task": [{"name": "t", "steps": [{"hold": "forever"}]}],
    }))  # fmt: skip


def still(on: Machine) -> Rates:
    """Rates of nothing."""
    return Rates([], {None: Domain(None, on.pools())})


def file(on: Machine, resident: float, group: str = "", **values: float) -> Pool:
    made = on.file(f"f{len(on.files)}", on.groups[group] if group else None)
    made.resident = resident
    for name, value in values.items():
        setattr(made, name, value)
    return made


def tmpfs(on: Machine, resident: float, group: str = "", **values: float) -> Pool:
    made = on.tmpfs_of(on.groups[group] if group else None)
    made.resident = resident
    for name, value in values.items():
        setattr(made, name, value)
    return made


def flow(rates: Rates, pool: Pool, **values: float) -> PoolFlow:
    made = rates.flows[pool]
    for name, value in values.items():
        setattr(made, name, value)
    return made


# How long rates hold


def test_nothing_flows_for_ever() -> None:
    on = machine()
    assert horizon(on, still(on)) == NEVER


@pytest.mark.parametrize(("above", "rate", "seconds"), [
    (1000.0, -100.0, 10.0), (1000.0, 0.0, NEVER), (1000.0, 100.0, NEVER),
    (0.6, -100.0, 0.006),
    (0.5, 100.0, 0.005), (0.0, 100.0, 0.01), (-100.0, 100.0, 1.01),  # a page above it
    (0.6, 100.0, NEVER),
])  # fmt: skip
def test_free_memory_comes_to_the_mark_of_reclaim(
    above: float, rate: float, seconds: float
) -> None:
    on = machine()
    rates = still(on)
    on.free, rates.free_rate = on.reclaim_mark() + above, rate
    assert horizon(on, rates) == pytest.approx(seconds)


@pytest.mark.parametrize(("above", "seconds"), [(100.0, 10.0), (0.6, 0.06), (0.5, NEVER)])
def test_and_below_that_to_the_least_that_is_left(above: float, seconds: float) -> None:
    on = machine()
    rates = still(on)
    on.free, rates.free_rate = on.watermarks.floor_pages + above, -10.0
    assert horizon(on, rates) == pytest.approx(seconds)


@pytest.mark.parametrize(("left", "values", "seconds"), [
    (1000.0, {"evict": 100.0}, 9.995), (1.0, {"evict": 100.0}, 0.005),
    (0.9, {"evict": 100.0}, NEVER),
    (1000.0, {"refault": 100.0}, NEVER), (256.0, {"refault": 100.0}, NEVER),
    (255.9, {"refault": 100.0}, 0.006), (6.5, {"refault": 100.0}, 2.5),
    (100.0, {"evict": 50.0, "refault": 50.0}, NEVER),
])  # fmt: skip
def test_swap_runs_full_and_counts_again_from_a_batch_of_slots(
    left: float, values: dict[str, float], seconds: float
) -> None:
    on = machine()
    pool = tmpfs(on, 5000.0, swapped=on.swap_total - left)
    rates = still(on)
    flow(rates, pool, **values)
    assert horizon(on, rates) == pytest.approx(seconds)
    assert on.swap_batch == 256.0


@pytest.mark.parametrize(("left", "values", "seconds"), [
    (50.0, {"evict": 10.0}, 4.95), (1.0, {"evict": 10.0}, 0.05),
    (0.9, {"evict": 10.0}, 1612.84),  # when the machine's is full: 16384 - 255.1 - 0.5
    (56.0, {"refault": 10.0}, 20.05),
])  # fmt: skip
def test_so_does_a_cgroups_share_of_it(
    left: float, values: dict[str, float], seconds: float
) -> None:
    on = machine({"name": "g", "swap_max": "1M"}, {"name": "g/h"})
    pool = tmpfs(on, 5000.0, "g/h", swapped=256.0 - left)
    count_usage(on)
    rates = still(on)
    flow(rates, pool, **values)
    assert horizon(on, rates) == pytest.approx(seconds)


@pytest.mark.parametrize(("resident", "hot", "rate", "seconds"), [
    (80.0, 100.0, 5.0, 2.0),  # half of what is missing comes back
    (99.0, 100.0, 5.0, 0.2), (99.9, 100.0, 5.0, 0.125),  # all of it, but for an eighth of a step
    (100.0, 100.0, 5.0, NEVER), (110.0, 100.0, 5.0, NEVER),
    (110.0, 100.0, -5.0, 2.0), (100.0, 100.0, -5.0, 1.0),  # a twentieth goes
    (60.0, 1000.0, -5.0, 6.4), (20.0, 1000.0, -5.0, 4.0),  # no less than 32 pages, but all there is
    (3000.0, 6400.0, -5.0, 300.0), (150.0, 6400.0, -5.0, 20.0),  # nor than a 64th
    (100.0, 0.0, -5.0, NEVER), (80.0, 100.0, 0.0, NEVER),
])  # fmt: skip
def test_what_is_missing_of_pages_in_use_changes_by_a_step(
    resident: float, hot: float, rate: float, seconds: float
) -> None:
    on = machine()
    pool = file(on, resident, hot=hot)
    rates = still(on)
    flow(rates, pool, new=max(rate, 0.0), evict=max(-rate, 0.0))
    assert horizon(on, rates) == pytest.approx(seconds)


@pytest.mark.parametrize(("resident", "stock", "hot", "seconds"), [
    (100.0, 1000.0, False, 9.975),  # a quarter of a page is none
    (0.2, 1000.0, False, 0.01), (100.0, 100.0, False, 6.85),  # or what is left is no batch
    (100.0, 31.0, False, 0.01), (100.0, 1000.0, True, 96.85),
])  # fmt: skip
def test_what_is_reclaimed_runs_out(
    resident: float, stock: float, hot: bool, seconds: float
) -> None:
    on = machine()
    pool = file(on, resident)
    layer = Layer([pool], [resident], stock, hot=hot)
    plan = Plan([layer], [pool], reclaims_files=True, can_swap=True)
    rates = Rates([], {None: Domain(None, [pool], plan)})
    flow(rates, pool, evict=10.0)
    assert horizon(on, rates) == pytest.approx(seconds)
    flow(rates, pool, evict=10.0, new=10.0)
    assert horizon(on, rates) == NEVER


LIMITS = {"name": "g", "max": "1000K", "high": "600K", "low": "400K", "min": "200K"}
"""Of pages: 250, 150, 100, 50."""


@pytest.mark.parametrize(("usage", "rate", "seconds"), [
    (20.0, 10.0, 3.0), (49.4, 10.0, 0.06), (49.5, 10.0, 5.05),  # half a page is there
    (60.0, 10.0, 4.0), (120.0, 10.0, 3.0), (149.5, 10.0, 10.05), (149.6, 10.0, 3.2),
    (160.0, 10.0, 3.2), (240.0, 10.0, 1.0),
    (120.0, -10.0, 2.0), (100.0, -10.0, 5.0), (80.0, -10.0, 3.0), (50.0, -10.0, NEVER),
    (300.0, 0.0, NEVER),
])  # fmt: skip
def test_a_cgroup_comes_to_one_of_its_limits(usage: float, rate: float, seconds: float) -> None:
    """Above ``memory.high`` tasks are slowed the more, so that is looked at again and again."""
    on = machine(LIMITS)
    pool = file(on, usage, "g")
    count_usage(on)
    rates = still(on)
    flow(rates, pool, new=max(rate, 0.0), evict=max(-rate, 0.0))
    assert horizon(on, rates) == pytest.approx(seconds, abs=2e-6)


def test_a_large_cgroup_above_high_is_looked_at_each_64th() -> None:
    on = machine({"name": "g", "high": "10M"})
    pool = file(on, 6400.0, "g")
    count_usage(on)
    rates = still(on)
    flow(rates, pool, new=10.0)
    assert horizon(on, rates) == pytest.approx(10.0)


def test_a_cgroup_is_charged_for_all_that_flows_below_it() -> None:
    on = machine({"name": "g"}, {"name": "g/h"}, {"name": "x"})
    rates = still(on)
    flow(rates, file(on, 0.0, "g/h"), new=9.0, evict=2.0, dirtied=5.0, cleaned=1.0)
    flow(rates, tmpfs(on, 0.0, "g"), new=3.0)
    flow(rates, file(on, 0.0), new=100.0)
    found = {group.name: rate for group, rate in charge_rates(on, rates).items()}
    # A page that is cleaned stays: 9 + 1 - 2 resident, and 5 - 1 dirty.
    assert found == {"g": 15.0, "g/h": 12.0, "x": 0.0}


@pytest.mark.parametrize(("dirty", "cleaned", "seconds"), [
    (50.0, 10.0, 5.0), (0.1, 10.0, 0.025), (0.3, 10.0, 0.03),
])  # fmt: skip
def test_a_file_is_clean_some_time(dirty: float, cleaned: float, seconds: float) -> None:
    on = machine()
    pool = file(on, 5.0, dirty=dirty)
    rates = still(on)
    flow(rates, pool, cleaned=cleaned + 7.0, dirtied=7.0)
    assert horizon(on, rates) == pytest.approx(seconds)
    flow(rates, pool, cleaned=7.0, dirtied=7.0)
    assert horizon(on, rates) == NEVER


def test_dirty_pages_come_half_way_to_where_flushers_or_writers_notice() -> None:
    """Both thresholds move with what is free, so it is looked at again before they are met."""
    on = machine()
    pool = file(on, 30_000.0)
    low, high = dirty_thresholds(on)
    dirtyable = on.free - on.watermarks.totalreserve_pages + 30_000.0
    # A tenth, and half way from there to a fifth (vm.dirty_background_ratio, vm.dirty_ratio).
    assert (low, high) == pytest.approx((dirtyable * 0.1, dirtyable * 0.15))
    rates = still(on)
    rates.dirty_rate = 10.0
    for dirty, mark in ((low - 50.0, low), (low - 0.6, low), (low - 0.4, high), (low + 9.0, high)):
        pool.resident, pool.dirty = 30_000.0 - dirty, dirty
        assert horizon(on, rates) == pytest.approx((mark - dirty) / 20.0 + 1e-3)
    pool.resident, pool.dirty = 0.0, 30_000.0
    assert horizon(on, rates) == NEVER
    pool.resident, pool.dirty = 29_000.0, 1000.0
    rates.dirty_rate = 0.0
    assert horizon(on, rates) == NEVER


def test_time_moves_pages_along_their_flows() -> None:
    on = machine()
    page, shared = file(on, 100.0, dirty=10.0, peak_resident=105.0), tmpfs(on, 50.0, swapped=3.0)
    rates = still(on)
    rates.free_rate = -7.0
    free = on.free
    flow(rates, page, new=10.0, dirtied=6.0, cleaned=2.0)
    flow(rates, shared, refault=2.0, evict=1.0)
    advance(on, rates, 2.0)
    assert (on.free, page.resident, page.dirty, page.peak_resident) == (
        free - 14.0, 124.0, 18.0, 124.0,
    )  # fmt: skip
    assert (shared.resident, shared.swapped) == (52.0, 1.0)
    advance(on, rates, 2.0)
    assert shared.swapped == 0.0, "no less than none"
    advance(on, rates, 0.0)
    advance(on, rates, -1.0)
    assert page.resident == 148.0


def test_the_last_fraction_of_a_page_is_counted_once() -> None:
    on = machine()
    page, shared = file(on, 5.0, dirty=1.0), tmpfs(on, 0.5)
    rates = still(on)
    free = on.free
    flow(rates, page, cleaned=1.5, evict=1.5)
    flow(rates, shared, evict=1.0)
    advance(on, rates, 1.0)
    assert (page.dirty, page.resident) == (0.0, 4.5), "half a page more than was dirty"
    assert (shared.resident, on.free) == (0.0, free - 0.5)


# Who has to reclaim


def test_the_machine_reclaims_at_the_mark_and_not_above() -> None:
    on = machine()
    pool = file(on, 500.0)
    for above, reclaims in ((AT_LIMIT_PAGES + 0.01, False), (AT_LIMIT_PAGES, True)):
        on.free = on.reclaim_mark() + above
        assert (find_domains(on, [], 0)[None].plan is not None) is reclaims
    pool.resident = 32.0  # less than a batch: nothing, and it has until the last to find some
    for above, reclaims in ((AT_LIMIT_PAGES + 0.01, False), (AT_LIMIT_PAGES, True)):
        on.free = on.watermarks.floor_pages + above
        assert (find_domains(on, [], 0)[None].plan is not None) is reclaims


@pytest.mark.parametrize(("usage", "reclaims"), [(249.4, False), (249.5, True), (300.0, True)])
def test_a_cgroup_reclaims_at_its_limit(usage: float, reclaims: bool) -> None:
    on = machine({"name": "g", "max": "1000K"}, {"name": "g/h"})
    file(on, usage, "g/h")
    count_usage(on)
    assert (on.groups["g"] in find_domains(on, [], 0)) is reclaims
    assert on.groups["g/h"] not in find_domains(on, [], 0)


@pytest.mark.parametrize(("pages", "reclaims"), [(149.4, False), (149.5, True), (160.0, True)])
def test_above_high_it_does_if_it_has_something(pages: float, reclaims: bool) -> None:
    for kind in (file, tmpfs):
        on = machine({"name": "g", "high": "600K", "max": "1000K"}, swap=0)
        kind(on, pages, "g")
        count_usage(on)
        found = on.groups["g"] in find_domains(on, [], 0)
        assert found is (reclaims and kind is file), "shared memory stays without swap"
    on = machine({"name": "g", "high": "600K", "max": "1000K"}, swap=0)
    tmpfs(on, 249.5, "g")
    count_usage(on)
    assert on.groups["g"] in find_domains(on, [], 0), "at its limit all the same"


@pytest.mark.parametrize(("low", "minimum", "spared"), [
    ("0", "0", False), ("2000K", "0", True), ("1999K", "0", False),
    ("0", "2000K", True), ("0", "1999K", False),
])  # fmt: skip
def test_low_and_min_spare_what_is_within_them(low: str, minimum: str, spared: bool) -> None:
    on = machine({"name": "g", "low": low, "min": minimum}, {"name": "g/h"})
    kept, other = file(on, 500.0, "g/h"), file(on, 600.0)
    count_usage(on)
    on.free = on.reclaim_mark()
    plan = find_domains(on, [], 0)[None].plan
    assert plan is not None
    (layer,) = plan.layers
    assert layer.pools == ([other] if spared else [kept, other])
    other.resident = 0.0
    plan = find_domains(on, [], 0)[None].plan
    if minimum == "2000K":
        assert plan is None, "min is kept whatever happens"
    else:
        assert plan is not None
        assert plan.layers[0].pools == [kept], "low is not"


def test_what_a_limited_cgroup_keeps_below_it_is_out_of_its_own_reach_too() -> None:
    on = machine({"name": "g", "max": "4000K", "min": "4000K"}, {"name": "g/h", "min": "2000K"},
                 {"name": "g/i"})  # fmt: skip
    file(on, 500.0, "g/h")
    free = file(on, 500.0, "g/i")
    count_usage(on)
    plan = find_domains(on, [], 0)[on.groups["g"]].plan
    assert plan is not None
    assert plan.layers[0].pools == [free], "its own min is against others"


def test_swap_that_ran_full_counts_as_full_until_a_batch_is_free() -> None:
    on = machine()
    pool = tmpfs(on, 5000.0)
    file(on, 500.0)
    on.free = on.reclaim_mark()
    for left, swaps in ((1.0, True), (0.9, False), (255.9, False), (256.0, True), (1.0, True)):
        pool.swapped = on.swap_total - left
        plan = find_domains(on, [], 0)[None].plan
        assert plan is not None
        assert plan.can_swap is swaps, left


def test_with_swappiness_0_a_kernel_from_3_5_on_does_not_swap() -> None:
    for kernel, swaps in (("3.2", True), ("6.12", False)):
        on = machine(vm={"swappiness": 0}, kernel=kernel)
        tmpfs(on, 5000.0)
        on.free = on.watermarks.floor_pages + 0.0
        plan = find_domains(on, [], 0)[None].plan
        assert plan is not None
        assert bool(plan.layers) is swaps, kernel


def test_kswapd_reclaims_what_is_in_no_use_up_to_its_goal() -> None:
    on = machine()
    cold = file(on, 50_000.0)
    awake: list[bool] = []
    for above in (AT_LIMIT_PAGES + 0.1, AT_LIMIT_PAGES):
        on.free = on.reclaim_mark() + above
        had, before = on.free, cold.resident
        run_kswapd(on)
        awake.append(on.kswapd_awake)
    assert awake == [False, True]
    assert on.free == pytest.approx(on.reclaim_mark())
    assert before - cold.resident == pytest.approx(on.free - had)
    on.free, before = on.reclaim_mark() + AT_LIMIT_PAGES + 0.1, cold.resident
    run_kswapd(on)
    assert (on.kswapd_awake, cold.resident) == (False, before)


def test_kswapd_leaves_a_batch_and_what_is_in_use() -> None:
    on = machine()
    cold, used = file(on, 100.0), file(on, 50_000.0, hot=50_000.0)
    on.free = on.reclaim_mark() - 1000.0
    had = on.free
    run_kswapd(on)
    assert (cold.resident, used.resident) == pytest.approx((32.0, 50_000.0))
    assert on.free == pytest.approx(had + 68.0)
