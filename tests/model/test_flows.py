"""What flows where, and what a policy reads of it, on machines made for one question.

Each expected value is worked out by hand from the figures beside it, to both sides of each edge.
"""

import pytest

from oomkit.model.demand import Demand
from oomkit.model.domains import AT_LIMIT_PAGES, Domain, count_usage
from oomkit.model.machine import Machine
from oomkit.model.pools import Mm, Pool
from oomkit.model.psi import Psi
from oomkit.model.reclaim import distribute_reclaim, make_plan, reclaim_from
from oomkit.model.sensors import Counters, Sensors, limit_kb, working_set_kb
from oomkit.model.solve import Rates
from oomkit.model.tasks import Proc
from oomkit.model.writeback import dirty_thresholds, write_back
from oomkit.scenario.draws import Drawn
from oomkit.scenario.format import Task
from tests.model.test_horizon import file, flow, machine, still, tmpfs

# What flows


def test_cold_pages_are_evicted_by_how_many_there_are() -> None:
    on = machine()
    one, other = file(on, 100.0), file(on, 300.0)
    plan = make_plan([one, other], swap_left=0.0, swappiness=60, waiting=0)
    rates = still(on)
    assert distribute_reclaim(plan, 0.0, rates.flows) == 0.0
    assert distribute_reclaim(plan, 40.0, rates.flows) == 0.0
    assert (rates.flows[one].evict, rates.flows[other].evict) == (10.0, 30.0)


@pytest.mark.parametrize(("wanted", "evicted"), [
    (20.0, (2.0, 18.0)), (30.0, (3.0, 27.0)), (70.0, (13.0, 57.0)),
])  # fmt: skip
def test_pages_in_use_come_back_before_more_go(wanted: float, evicted: tuple[float, float]) -> None:
    """10 and 90 % of what comes back; of 40 beyond, a quarter and three, by their size."""
    on = machine()
    one, other = file(on, 100.0, hot=100.0), file(on, 300.0, hot=300.0)
    rates = still(on)
    flow(rates, one, refault=3.0)
    flow(rates, other, refault=27.0)
    plan = make_plan([one, other], swap_left=0.0, swappiness=60, waiting=0)
    assert distribute_reclaim(plan, wanted, rates.flows) == 0.0
    found = (rates.flows[one].evict, rates.flows[other].evict)
    assert found == pytest.approx(evicted)


@pytest.mark.parametrize(("waiting", "swap_left", "found"), [
    (0, 1.0, (15.0, 9.0)), (0, 0.0, (15.0, 5.0)), (5, 0.0, (1.0, 5.0)),
])  # fmt: skip
def test_where_nothing_is_left_what_flows_in_goes_again(
    waiting: int, swap_left: float, found: tuple[float, float]
) -> None:
    """Of a file all of it, or what was written; to swap what is new, or what gave back a slot."""
    on = machine()
    page, shared = file(on, 20.0), tmpfs(on, 20.0)
    plan = make_plan([page, shared], swap_left=swap_left, swappiness=60, waiting=waiting)
    assert plan.layers == []
    rates = still(on)
    flow(rates, page, new=10.0, refault=4.0, cleaned=1.0)
    flow(rates, shared, new=4.0, refault=5.0)
    total = sum(found)
    assert distribute_reclaim(plan, 100.0, rates.flows) == 100.0 - total
    assert (rates.flows[page].evict, rates.flows[shared].evict) == pytest.approx(found)
    flow(rates, page, evict=0.0)
    flow(rates, shared, evict=0.0)
    assert distribute_reclaim(plan, total / 2, rates.flows) == 0.0
    evicted = (rates.flows[page].evict, rates.flows[shared].evict)
    assert evicted == pytest.approx((found[0] / 2, found[1] / 2))


def test_pages_are_reclaimed_at_once_from_layer_to_layer() -> None:
    on = machine()
    page, shared = file(on, 100.0), tmpfs(on, 200.0)
    free = on.free
    plan = make_plan([page, shared], swap_left=500.0, swappiness=60, waiting=0)
    assert reclaim_from(on, plan, 500.0, 150.0)
    assert (page.resident, shared.resident, shared.swapped) == (0.0, 150.0, 50.0)
    assert on.free == free + 150.0
    plan = make_plan([page, shared], swap_left=500.0, swappiness=60, waiting=0)
    assert not reclaim_from(on, plan, 30.0, 100.0), "no more than there is swap"
    assert (shared.resident, shared.swapped) == (120.0, 80.0)
    assert reclaim_from(on, plan, 30.0, 0.5), "half a page is rounding"
    assert not reclaim_from(on, make_plan([], swap_left=0.0, swappiness=60, waiting=0), 9.0, 1.0)


def writer(into: Pool, pace: float, **values: float) -> Demand:
    made = Demand(None)
    made.dirty_file, made.pace, made.cpus, made.alloc_rate = into, pace, 0.5, pace
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_flushers_write_what_there_is_once_nobody_writes() -> None:
    on = machine()
    one, other = file(on, 0.0, dirty=0.3), file(on, 0.0, dirty=0.6)
    rates = still(on)
    assert write_back(on, [], rates.flows, low_memory=False) == (0.0, False)
    assert dict(rates.flows) == {}
    one.dirty, other.dirty = 100.0, 300.0
    assert write_back(on, [], rates.flows, low_memory=False) == (1.0, False)
    assert on.disk_pages_s == 10_240.0
    assert (rates.flows[one].cleaned, rates.flows[other].cleaned) == (2560.0, 7680.0)


@pytest.mark.parametrize("wait", ["sync_io", "async_io"])
def test_flushers_share_the_disk_with_one_that_waits_for_it(wait: str) -> None:
    on = machine()
    one = file(on, 0.0, dirty=100.0)
    rates = still(on)
    waiting = [Demand(None) for _ in range(3)]
    for demand in waiting[:2]:
        setattr(demand, wait, 0.5)
    assert write_back(on, waiting, rates.flows, low_memory=False) == (0.5, False)
    assert rates.flows[one].cleaned == 5120.0


def test_while_somebody_writes_flushers_begin_at_the_lower_threshold_or_when_memory_is_low() -> (
    None
):
    on = machine()
    pool = file(on, 10_000.0)
    low, _ = dirty_thresholds(on)
    for dirty, low_memory, share in (
        (low - 0.1, False, 0.0), (low, False, 1.0), (low - 0.1, True, 1.0),
    ):  # fmt: skip
        pool.resident, pool.dirty = 10_000.0 - dirty, dirty
        found = write_back(on, [writer(pool, 50.0)], still(on).flows, low_memory=low_memory)
        assert found == (share, False)


def test_writers_wait_for_the_flushers_at_the_higher_threshold() -> None:
    on = machine()
    pool = file(on, 20_000.0)
    _, high = dirty_thresholds(on)
    for dirty, throttled in ((high - AT_LIMIT_PAGES - 0.1, False), (high - AT_LIMIT_PAGES, True)):
        pool.resident, pool.dirty = 20_000.0 - dirty, dirty
        rates = still(on)
        fast, slow = writer(pool, 30_720.0, alloc_rate=30_800.0), writer(pool, 10_240.0)
        found = write_back(on, [fast, slow], rates.flows, low_memory=False)
        assert found == (1.0, throttled)
        # 40,960 pages a second into a disk of 10,240: a quarter each.
        part = 0.25 if throttled else 1.0
        assert (fast.pace, slow.pace, fast.cpus) == (30_720.0 * part, 10_240.0 * part, 0.5 * part)
        assert fast.alloc_rate == pytest.approx(80.0 + 30_720.0 * part)
        assert rates.flows[pool].cleaned == (0.0 if throttled else pytest.approx(10_240.0))
    gentle = writer(pool, 100.0)
    write_back(on, [gentle], still(on).flows, low_memory=False)
    assert (gentle.pace, gentle.alloc_rate) == (100.0, 100.0), "slower than the disk"


# What a policy reads


def sensors(on: Machine, rates: Rates) -> Sensors:
    return Sensors(on, rates, Psi(250), Counters(), cgroups=True, working_sets=True)


def test_a_reading_is_what_it_will_be_then() -> None:
    on = machine()
    shared = tmpfs(on, 1000.0, swapped=on.swap_total - 100.0)
    page = file(on, 400.0, hot=300.0, dirty=20.0, peak_resident=200.0)
    rates = still(on)
    rates.some, rates.full = 0.5, 0.25
    flow(rates, shared, evict=30.0, refault=10.0)
    flow(rates, page, new=8.0, refault=9.0, evict=4.0)
    made = sensors(on, rates)
    now, then = made.reading(0.0), made.reading(2.0)
    assert (now.t_s, then.t_s, now.mem_total_kb) == (0.0, 2.0, on.total * 4)
    assert (now.swap_free_kb, then.swap_free_kb) == (400.0, 240.0)
    assert made.reading(100.0).swap_free_kb == 0.0, "no less than none"
    assert (now.anon_kb, now.psi_some_us, then.psi_some_us) == (0.0, 0.0, 1e6)
    assert (then.psi_full_us, then.pgscan_pages, then.swap_in_pages) == (5e5, 68.0, 20.0)
    # Of a file that was never read whole, a quarter of what is missing is no refault; all is there.
    assert then.refault_pages == 2 * (10.0 + 9.0)
    # Shared memory, the root's files, and of the file what is in use: 300 of 420.
    assert now.working_set_kb == (1000.0 + on.rootfs + 300.0) * 4
    assert then.working_set_kb == now.working_set_kb - 2 * 20.0 * 4
    pace = made.pace(0.5)
    assert (pace.swap_kb_s, pace.zram_kb_s, pace.working_set_kb_s) == (80.0, 0.0, 0.0)
    rates.flows[shared].evict, rates.flows[shared].new = 10.0, 5.0
    assert sensors(on, rates).pace(0.5).working_set_kb_s == 20.0


@pytest.mark.parametrize(("resident", "hot", "peak", "refault"), [
    (50.0, 100.0, 60.0, 6.0),  # four tenths were never read
    (50.0, 100.0, 100.0, 10.0), (50.0, 100.0, 40.0, 5.0),
])  # fmt: skip
def test_the_first_read_of_a_page_is_no_refault(
    resident: float, hot: float, peak: float, refault: float
) -> None:
    on = machine()
    page = file(on, resident, hot=hot, peak_resident=peak)
    rates = still(on)
    flow(rates, page, refault=10.0)
    assert sensors(on, rates).refault == pytest.approx(refault)


def test_a_cgroup_is_read_as_it_will_be_then() -> None:
    on = machine({"name": "g", "max": "4000K", "request": "100K"}, {"name": "g/h", "max": "8M"})
    page = file(on, 100.0, "g/h", hot=60.0, dirty=5.0)
    shared = tmpfs(on, 200.0, "g/h", swapped=9.0)
    count_usage(on)
    rates = still(on)
    flow(rates, page, evict=3.0, new=1.0)
    flow(rates, shared, new=10.0)
    made = sensors(on, rates)
    own, _ = made.reading(2.0).cgroups
    assert (own.path, own.usage_kb, own.limit_kb, own.swap_kb) == (
        "/g", (305.0 + 16.0) * 4, 4000.0, 36.0,
    )  # fmt: skip
    assert (own.pgscan_pages, own.request_kb) == (0.0, 100.0)
    # 45 of the file are in no use, or dirty; shared memory grows.
    assert own.working_set_kb == (305.0 - 45.0 + 20.0) * 4
    assert working_set_kb(on, on.groups["g"]) == 260.0 * 4
    assert limit_kb(on.groups["g/h"]) == 4000.0, "the lowest above it"
    pace = made.pace(1.0).groups["/g"]
    assert (pace.limit_kb_s, pace.working_set_kb_s) == (8.0 * 4, 10.0 * 4)
    flow(rates, shared, new=0.0, evict=7.0)
    falling = sensors(on, rates)
    assert falling.pace(1.0).groups["/g"].working_set_kb_s == 0.0
    assert falling.pace(1.0).groups["/g"].limit_kb_s == 0.0
    made.advance(3.0)
    assert made.reading(0.0).pgscan_pages == 9.0


def test_lists_are_scanned_as_they_are_long() -> None:
    """Of 40 for the outer limit a quarter is scanned in one cgroup, 7 for a limit of its own."""
    on = machine({"name": "a", "max": "4M"}, {"name": "a/b", "max": "2M"}, {"name": "a/c"})
    pools = [file(on, 100.0, "a/b"), file(on, 250.0, "a/c"), file(on, 50.0, "a")]
    count_usage(on)
    rates = still(on)
    for name, scan, inside in (("a", 40.0, pools), ("a/b", 7.0, pools[:1])):
        plan = make_plan(inside, swap_left=0.0, swappiness=60, waiting=0)
        domain = rates.domains[on.groups[name]] = Domain(on.groups[name], inside, plan)
        domain.scan = scan
    made = sensors(on, rates)
    assert [one.pgscan_pages for one in made.reading(2.0).cgroups] == [94.0, 34.0, 50.0]
    made.advance(3.0)
    assert [one.pgscan_pages for one in made.reading(0.0).cgroups] == [141.0, 51.0, 75.0]


# What is set, and what a task asks for


def test_one_way_to_set_the_commit_limit_replaces_the_other() -> None:
    """As the handlers of both knobs do (mm/util.c, 3.14 and later)."""
    on = machine(vm={"overcommit_kbytes": 4000})
    found = [(on.sysctl.overcommit_kbytes, on.sysctl.overcommit_ratio)]
    on.set_knobs({"overcommit_ratio": 80})
    found.append((on.sysctl.overcommit_kbytes, on.sysctl.overcommit_ratio))
    on.set_knobs({"swappiness": 10})
    found.append((on.sysctl.overcommit_kbytes, on.sysctl.overcommit_ratio))
    on.set_knobs({"overcommit_kbytes": 7})
    found.append((on.sysctl.overcommit_kbytes, on.sysctl.overcommit_ratio))
    assert found == [(4000, 0), (0, 80), (0, 80), (7, 0)]


@pytest.mark.parametrize(("verb", "reserved", "granted", "needs"), [
    ("touch", 0.9, 0.0, True), ("touch", 1.0, 0.0, False), ("touch", 0.0, 0.01, True),
    ("touch", 0.0, 0.02, False), ("share", 5.0, 0.0, True), ("tmpfs", 5.0, 0.02, False),
])  # fmt: skip
def test_a_page_needs_address_space_that_is_neither_reserved_nor_charged(
    verb: str, reserved: float, granted: float, needs: bool
) -> None:
    """Only heaps are reserved beforehand."""
    proc = Proc(Task(name="x", steps=()), 1, 100, 1, Mm(1, None), Drawn(0.0, (), ()))
    proc.verb, proc.mm.reserved, proc.granted = verb, reserved, granted
    assert proc.needs_address_space is needs


@pytest.mark.parametrize(("swap", "batch"), [(0, 256.0), (128 << 20, 256.0), (1 << 30, 2048.0)])
def test_full_swap_is_used_again_from_a_batch_of_slots(swap: int, batch: float) -> None:
    """256 slots, or a 128th: of 128 MiB (32,768 pages) both are the same."""
    assert machine(swap=swap).swap_batch == batch


def test_what_no_address_space_sees_any_more_of_a_fork_is_free() -> None:
    on = machine()
    mm = Mm(1, None)
    on.add_process(Proc(Task(name="x", steps=()), 1, 100, 1, mm, Drawn(0.0, (), ())))
    pool = on.cow_pool(None)
    pool.resident, pool.swapped = 90.0, 10.0
    free = on.free
    for view, resident, swapped in ((100.0, 90.0, 10.0), (50.0, 45.0, 5.0), (60.0, 45.0, 5.0)):
        mm.cow_views = [(pool, view)]
        on.shrink_cow_pools()
        assert (pool.resident, pool.swapped) == pytest.approx((resident, swapped))
    assert on.free == pytest.approx(free + 45.0)
    assert pool in on.pools()
    mm.cow_views = []
    on.shrink_cow_pools()
    assert (pool.resident, pool.swapped, pool in on.pools()) == (0.0, 0.0, False)
    assert on.free == pytest.approx(free + 90.0)
