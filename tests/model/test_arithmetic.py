"""Small parts of the model, each worked out by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.model import cpu, disk, sample_curves
from oomkit.model.boot import mem_total_pages
from oomkit.model.demand import Demand, amplification
from oomkit.model.pools import Group, Mm, Pool, PoolFlow
from oomkit.model.psi import Psi
from oomkit.model.reclaim import make_plan
from oomkit.model.responsiveness import Prober
from oomkit.model.tasks import nominal_s, step_pace
from oomkit.scenario.definitions import Probe
from oomkit.scenario.format import Machine, Step


def test_psi_is_brought_up_to_date_every_two_seconds_and_a_jiffy() -> None:
    """``PSI_FREQ`` is 2*HZ+1 jiffies; the decays are exp(-2/10), /60, /300 in 1/2048."""
    psi = Psi(100)
    assert psi.period_s == 2.01
    psi.advance(2.0, 1.0, 0.5)
    assert psi.averages() == ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    psi.advance(0.01, 1.0, 0.5)
    # (2048 * 100 * (2048 - 1677) + 2047) // 2048 = 37101 of 2048: 18.11
    some, full = psi.averages()
    assert some == (18.11, 3.27, 0.68)
    assert full == (9.05, 1.63, 0.34)
    assert psi.avg10() == (18.11, 9.05)
    assert (psi.some_total_s, psi.full_total_s) == pytest.approx((2.01, 1.005))


def test_psi_counts_whole_percents_and_falls_again() -> None:
    psi = Psi(250)
    psi.advance(psi.period_s, 0.0199, 0.0)
    assert psi.averages()[0][0] == 0.18, "one percent, not nearly two"
    psi = Psi(250)
    psi.advance(psi.period_s, 1.0, 1.0)
    peak = psi.avg10()[0]
    psi.advance(psi.period_s, 0.0, 0.0)
    assert psi.avg10()[0] == pytest.approx(peak * 1677 / 2048, abs=0.02)
    psi.advance(5000.0, 0.0, 0.0)
    assert psi.averages() == ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    for _ in range(3000):
        psi.advance(psi.period_s, 1.0, 0.0)
    assert psi.averages()[0] == (100.0, 100.0, 100.0)


def test_a_long_time_at_once_is_as_many_short_ones() -> None:
    once, often = Psi(250), Psi(250)
    for psi in (once, often):
        psi.advance(1.3, 0.7, 0.1)
    once.advance(7000.0, 0.35, 0.2)
    for _ in range(7000):
        often.advance(1.0, 0.35, 0.2)
    assert once.averages() == often.averages()
    once.advance(1.1, 1.0, 1.0)
    often.advance(1.1, 1.0, 1.0)
    assert once.averages() == often.averages()


@pytest.mark.parametrize(("cpus", "needs", "shares"), [
    (2.0, [(1.0, 1024.0), (1.0, 1024.0)], [1.0, 1.0]),
    (1.0, [(1.0, 1024.0), (1.0, 1024.0)], [0.5, 0.5]),
    (1.0, [(1.0, 3072.0), (1.0, 1024.0)], [0.75, 0.25]),
    (1.0, [(0.1, 1024.0), (1.0, 1024.0), (1.0, 1024.0)], [0.1, 0.45, 0.45]),
    (2.0, [(0.0, 1024.0), (4.0, 1024.0)], [0.0, 2.0]),
    (1.0, [(0.0, 9e9), (1.0, 1.0), (1.0, 1.0)], [0.0, 0.5, 0.5]),
    (1.0, [], []),
])  # fmt: skip
def test_what_one_leaves_is_shared_by_weight(
    cpus: float, needs: list[tuple[float, float]], shares: list[float]
) -> None:
    wants, weights = [need for need, _ in needs], [weight for _, weight in needs]
    assert cpu.fair_shares(cpus, wants, weights) == pytest.approx(shares)


def test_the_weight_of_nice_levels() -> None:
    assert cpu.nice_weight(0) == 1024.0
    assert cpu.nice_weight(5) == pytest.approx(335.5, abs=0.1)
    assert cpu.nice_weight(-5) == pytest.approx(3125.0)


def demand(**values: float) -> Demand:
    made = Demand(None)
    made.cpu_share = 1.0
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(("values", "queue", "speed"), [
    ({}, 1.0, 1.0), ({"cpu_share": 0.5}, 1.0, 0.5), ({"cpu_share": 0.0}, 1.0, 0.0),
    ({"sync_io": 1.0}, 1.0, 0.5),  # as long for the disk as for the CPU
    ({"sync_io": 1.0}, 3.0, 0.25), ({"async_io": 1.0}, 1.0, 1.0), ({"async_io": 1.0}, 2.0, 0.5),
    ({"swap_io": 1.0}, 2.0, 0.5), ({"async_io": 1.0, "swap_io": 2.0, "sync_io": 1.0}, 2.0, 1 / 6),
    ({"cpu_share": 0.5, "sync_io": 2.0}, 1.0, 0.25),
    ({"sync_io": 1.0, "behind": 2.0}, 1.0, 0.25), ({"sync_io": 1.0, "behind": 2.0}, 4.0, 0.2),
    ({"async_io": 1.0, "behind": 2.0}, 1.0, 1 / 3), ({"swap_io": 1.0, "behind": 2.0}, 1.0, 1.0),
])  # fmt: skip
def test_waits_for_the_disk_slow_a_task(
    values: dict[str, float], queue: float, speed: float
) -> None:
    assert disk.speed_of(demand(**values), queue) == pytest.approx(speed)


@pytest.mark.parametrize(("demands", "background", "queue"), [
    ([], 0.0, 1.0),
    ([demand(sync_io=0.5)], 0.0, 1.0),  # 0.5 / 1.5 of the disk
    ([demand(async_io=2.0)], 0.0, 1.5),  # 2 / (1 + 2 * 0.5) = 1
    ([demand(async_io=2.0)], 0.5, 2.5),  # 2 / (1 + 2 * 1.5) = 0.5
    ([demand(sync_io=1.0)] * 4, 0.0, 3.0),  # 4 / (1 + 3) = 1
    ([demand(swap_io=2.0)], 0.0, 1.5),
    ([demand(async_io=1.0)], 0.95, 10.0),  # a tenth is left whatever is written back
    ([demand(async_io=2.0, cpu_share=0.0)], 0.0, 1.0),
    ([demand(async_io=2.0, behind=1.0)], 0.0, 1.0),  # 2 / (1 + 2) is below 1
    # (1 / 4 of the disk by one that waits for the writes of the other, 3 / 4 by these)
    ([demand(async_io=1.0, behind=3.0), demand(swap_io=3.0)], 0.0, 2.0),
    ([demand(async_io=9.0, behind=0.5)], 0.0, 1.889),  # or as long as the readers have it
])  # fmt: skip
def test_requests_take_as_long_as_leaves_the_disk_busy_and_no_more(
    demands: list[Demand], background: float, queue: float
) -> None:
    assert disk.queue_factor(demands, background) == pytest.approx(queue, rel=2e-3)


@pytest.mark.parametrize(("demands", "busy"), [
    ([], 0.0),
    ([demand(sync_io=0.5, queued_io=0.5)], 0.0),  # nobody swaps out
    ([demand(swap_io=0.5)], 0.5),
    ([demand(swap_io=1.0, cpu_share=0.25)], 0.25),
    ([demand(swap_io=0.75)] * 2, 1.0),  # it can't be more
    ([demand(swap_io=9.0, cpu_share=0.0)], 0.0),
    # One that swaps out for what it reads: 1 / (1 + 1 + 4.8 * busy) is busy.
    ([demand(swap_io=1.0, sync_io=1.0, queued_io=1.0)], 0.2934),
])  # fmt: skip
def test_reads_queue_behind_what_is_swapped_out(demands: list[Demand], busy: float) -> None:
    reader = demand(sync_io=0.3, queued_io=0.6)
    assert disk.queue_behind_swap([*demands, reader]) == pytest.approx(busy, abs=0.01)
    assert reader.behind == pytest.approx(2.0 * 4.8 * busy, abs=0.1)  # by twice as many requests


@pytest.mark.parametrize(("missing", "cluster", "reads"), [
    (1.0, 8, 8.0), (0.0, 8, 1.0), (0.5, 8, 8 / 4.5), (0.3, 1, 1.0),
])  # fmt: skip
def test_of_a_cluster_that_is_read_few_pages_are_used(
    missing: float, cluster: int, reads: float
) -> None:
    assert amplification(missing, cluster) == pytest.approx(reads)


def frozen(*pieces: tuple[float, float]) -> tuple[list[tuple[float, float]], int]:
    """Freezes and answered rounds: a round takes so long, until then."""
    prober, now = Prober(Probe(text_bytes=0)), 0.0
    for until, response in pieces:
        prober.advance(until - now, response)
        now = until
    return [(round(a.from_s, 6), round(a.to_s, 6)) for a in prober.freezes(now)], prober.answered


def test_rounds_begin_at_full_seconds_and_late_ones_take_the_place_of_the_next() -> None:
    assert frozen((10.0, 0.01)) == ([], 9)
    assert frozen((10.0, 1.0)) == ([], 9)
    assert frozen((10.5, 2.5)) == ([(1.0, 9.5)], 3)
    assert frozen((9.4, 2.5)) == ([(1.0, 9.4)], 2)
    assert frozen((100.0, float("inf"))) == ([(1.0, 100.0)], 0)


def test_a_round_goes_on_at_the_pace_of_the_moment() -> None:
    """A fifth of it in the first second, the rest at a tenth of a second for all of it."""
    assert frozen((2.0, 5.0), (20.0, 0.1)) == ([(1.0, 2.08)], 18)
    assert frozen((2.0, float("inf")), (20.0, 0.1)) == ([(1.0, 2.1)], 18)
    assert frozen((1.5, 0.1), (1.9, 5.0), (20.0, 0.1))[0] == [], "no round was under way"
    assert frozen((3.5, 0.1), (6.0, float("inf")), (8.5, 0.1), (9.0, 3.0)) == ([(4.0, 6.1)], 6)


@given(st.lists(st.tuples(st.floats(0.01, 4.0), st.sampled_from([0.01, 0.5, 1.0, 1.3, 4.0, 1e9])),
                max_size=12))  # fmt: skip
def test_how_time_is_cut_into_pieces_shows_nothing(parts: list[tuple[float, float]]) -> None:
    whole, cut, now = Prober(Probe(text_bytes=0)), Prober(Probe(text_bytes=0)), 0.0
    for seconds, response in parts:
        now += seconds
        whole.advance(seconds, response)
        for _ in range(7):
            cut.advance(seconds / 7, response)
    spans = [[t for a in one.freezes(now) for t in (a.from_s, a.to_s)] for one in (whole, cut)]
    assert spans[0] == pytest.approx(spans[1], abs=1e-5)
    assert whole.answered == pytest.approx(cut.answered, abs=1)


@pytest.mark.parametrize(("step", "pace"), [
    (Step(verb="touch", size_bytes=40960), 1000.0),
    (Step(verb="read", size_bytes=40960), 100.0),
    (Step(verb="touch", size_bytes=40960, rate_bytes_s=4096.0 * 7), 7.0),
    (Step(verb="touch", size_bytes=40960, over_s=5.0), 4.0),  # twice as much as is said
    (Step(verb="touch", size_bytes=40960, rate_bytes_s=4096.0 * 8, stride_bytes=8192), 4.0),
    (Step(verb="touch", size_bytes=40960, rate_bytes_s=4e9), 1000.0),
])  # fmt: skip
def test_the_pace_of_a_step(step: Step, pace: float) -> None:
    assert step_pace(step, 2.0, 1000.0, 100.0) == pytest.approx(pace)


@pytest.mark.parametrize(("step", "seconds"), [
    (Step(verb="work", seconds=3.0), 6.0), (Step(verb="work"), 0.0),
    (Step(verb="hold", seconds=1.0), 2.0),
    (Step(verb="fork", count=3), 0.0), (Step(verb="exit"), 0.0), (Step(verb="free"), 0.0),
    (Step(verb="reserve", size_bytes=4096), 0.0), (Step(verb="touch", size_bytes=0), 0.0),
    (Step(verb="touch", size_bytes=4096 * 500), 1.0),
    (Step(verb="read", size_bytes=4096 * 50), 1.0),
    (Step(verb="touch", size_bytes=4096 * 500, stride_bytes=8192), 0.5),
])  # fmt: skip
def test_how_long_a_step_takes_on_an_idle_machine(step: Step, seconds: float) -> None:
    assert nominal_s(step, 2.0, 1000.0, 100.0) == pytest.approx(seconds)


@pytest.mark.parametrize(("machine", "pages"), [
    (Machine(ram_bytes=1 << 30, reserved_bytes=0), 262144),
    (Machine(ram_bytes=1 << 30, reserved_bytes=4097), 262142),
    (Machine(ram_bytes=1 << 30, reserved_bytes=1 << 40), 0),
    (Machine(ram_bytes=1 << 30), 262144 - 10336 - 4096),  # 41344 KiB, and a 64th
    (Machine(ram_bytes=64 << 20), 16384 - 4096 - 256),  # no more than a quarter
])  # fmt: skip
def test_memory_that_a_kernel_hands_out(machine: Machine, pages: int) -> None:
    assert mem_total_pages(machine) == pages


# Pools


def pool(kind: Any = "anon", resident: float = 0.0, **values: float) -> Pool:
    made = Pool(kind, None)
    made.resident = resident
    for name, value in values.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(("values", "missing", "unread"), [
    ({"hot": 0.0}, 0.0, 0.0), ({"hot": 100.0, "resident": 60.0, "peak_resident": 70.0}, 0.4, 0.3),
    ({"hot": 100.0, "resident": 99.1}, 0.0, 0.009),
    ({"hot": 100.0, "resident": 98.9}, 0.011, 0.011),
    ({"hot": 100.0, "resident": 120.0}, 0.0, 0.0),
])  # fmt: skip
def test_what_is_missing_of_the_pages_in_use(
    values: dict[str, float], missing: float, unread: float
) -> None:
    made = pool("file", **values)
    assert made.missing_share == pytest.approx(missing)
    assert made.unread_share == pytest.approx(unread)
    assert pool("anon", **values).unread_share == 0.0


def test_flows_sum_to_a_change() -> None:
    flow = PoolFlow()
    flow.new, flow.refault, flow.evict, flow.release, flow.cleaned = 100.0, 20.0, 7.0, 3.0, 1000.0
    flow.dirtied = 5.0
    assert flow.net() == 1110.0


def test_swap_that_a_group_may_take_is_the_least_of_its_limits_and_those_above() -> None:
    outer = Group("a", None)
    inner = Group("a/b", outer)
    assert inner.swap_left() == float("inf")
    assert inner.ancestry == (inner, outer)
    outer.swap_max_pages, outer.swap_usage = 100.0, 30.0
    assert inner.swap_left() == 70.0
    inner.memsw_pages, inner.usage, inner.swap_usage = 90.0, 50.0, 5.0
    assert inner.swap_left() == 35.0
    inner.swap_max_pages = 10.0
    assert inner.swap_left() == 5.0


def test_what_an_address_space_holds() -> None:
    mm = Mm(1, None)
    assert (mm.rss(), mm.swap(), mm.footprint(), mm.freed_by_kill()) == (185.0, 0.0, 0.0, 10.0)
    mm.anon.resident, mm.anon.swapped, mm.shmem.resident, mm.shmem.swapped = 100.0, 20.0, 30.0, 7.0
    mm.locked = 5.0
    shared = pool("anon", 60.0, swapped=40.0)
    mm.cow_views = [(shared, 50.0)]
    assert mm.cow_rss() == 30.0
    assert mm.rss() == 100 + 30 + 5 + 30 + 185
    assert mm.swap() == 20 + 20
    assert mm.unmapped_on_exit() == 130
    assert mm.freed_by_kill() == 100 + 5 + 40 + 10
    assert mm.footprint() == 100 + 20 + 30 + 7 + 50
    empty = pool()
    mm.cow_views = [(empty, 50.0)]
    assert (mm.cow_rss(), mm.swap()) == (0.0, 20.0)


# What is reclaimed first


def layers(pools: list[Pool], **options: Any) -> list[tuple[list[Pool], bool]]:
    plan = make_plan(pools, **{"swap_left": 9999.0, "swappiness": 60, "waiting": 0, **options})
    return [(layer.pools, layer.hot) for layer in plan.layers]


def test_what_is_in_no_use_goes_first_files_before_memory() -> None:
    cold_file, cold_anon = pool("file", 500.0), pool("anon", 600.0)
    hot_file, hot_anon = pool("file", 400.0, hot=400.0), pool("anon", 300.0, hot=300.0)
    everything = [hot_anon, hot_file, cold_anon, cold_file]
    assert layers(everything) == [
        ([cold_file], False), ([cold_anon], False), ([hot_anon, hot_file], True),
        ([hot_file], True),
    ]  # fmt: skip
    assert layers(everything, swap_left=1.0)[1] == ([cold_anon], False)
    without_swap = [([cold_file], False), ([hot_file], True)]
    assert layers(everything, swap_left=0.9) == without_swap
    assert layers(everything, swappiness=0) == [
        ([cold_file], False), ([hot_file], True), ([cold_anon], False), ([hot_anon], True),
    ]  # fmt: skip


def aged(oldest_s: float, newest_s: float, resident: float, kind: Any = "anon") -> Pool:
    made = pool(kind, resident)
    made.oldest_s, made.newest_s = oldest_s, newest_s
    return made


def test_of_unused_pages_the_oldest_go_first_until_others_are_as_old() -> None:
    old, younger, alike = aged(0, 10, 1000), aged(4, 8, 2000), aged(0.2, 5.2, 500)
    plan = make_plan([younger, old, alike], swap_left=9999.0, swappiness=60, waiting=0)
    first, rest = plan.layers
    assert first.pools == [old, alike]
    assert first.amounts == [100.0, 100.0]  # pages of each second
    assert first.stock == pytest.approx(400 + 380)  # up to those that were last used at 4 s
    assert (rest.pools, rest.stock) == ([younger, old, alike], 3500.0)
    # Where only a batch or two is older, the next go with them.
    near = aged(0.5, 1.5, 2000)
    plan = make_plan([old, near], swap_left=9999.0, swappiness=60, waiting=0)
    assert [layer.pools for layer in plan.layers] == [[old, near]]
    files = [aged(5, 6, 900, "file"), aged(0, 1, 900, "file")]
    assert layers(files, swap_left=0.0)[0] == ([files[1]], False)


def test_a_pool_knows_when_its_oldest_and_its_newest_page_were_last_used() -> None:
    made = pool()
    made.note_used(3.0, 5.0)
    made.resident = 200.0
    made.note_used(5.0, 7.0)
    assert (made.oldest_s, made.newest_s) == (3.0, 7.0)
    made.note_evicted(50.0)
    assert (made.oldest_s, made.newest_s) == (4.0, 7.0)
    made.resident, made.hot = 150.0, 50.0
    made.note_evicted(50.0)  # half of those in no use
    assert made.oldest_s == 5.5
    made.note_evicted(1e9)
    assert made.oldest_s == made.newest_s == 7.0


def test_less_than_a_batch_is_nothing_and_pages_being_read_are_no_files() -> None:
    assert layers([pool("file", 32.0)]) == []
    assert layers([pool("file", 32.1)])
    assert layers([pool("file", 320.0)], waiting=10) == []
    assert layers([pool("file", 320.1)], waiting=10)
    both = [pool("file", 320.0), pool("anon", 100.0)]
    assert layers(both, waiting=10) == [([both[1]], False)]
    partly = pool("file", 100.0, hot=99.6)
    assert layers([partly], swap_left=0.0) == [([partly], True)], "half a page is rounding"


def test_of_pools_in_use_those_with_most_of_their_pages_go_first_by_swappiness() -> None:
    full, nearly, less = (pool("anon", r, hot=1000.0) for r in (1000.0, 985.0, 970.0))
    file = pool("file", 990.0, hot=1000.0)
    ((found, hot), *_) = layers([full, nearly, less, file])
    assert (found, hot) == ([full, nearly, file], True)
    plan = make_plan([full, file], swap_left=99.0, swappiness=60, waiting=0)
    assert plan.layers[0].amounts == [1000.0 * 60, 1000.0 * 140]
    assert plan.anon_share == pytest.approx(0.3)
    assert plan.layers[0].stock == 1990.0
    assert make_plan([], swap_left=0.0, swappiness=60, waiting=0).anon_share == 0.0


@given(
    st.one_of(
        st.floats(0.0, 1e13),
        st.floats(0.0, 1.0),
        # The middles between two decimals, and amounts of pages.
        st.integers(0, 10**9).map(lambda n: n / 2000),
        st.integers(0, 10**9).map(lambda n: n / 20000),
        st.integers(0, 10**9).map(lambda n: n / 256),
    ),
    st.sampled_from([2, 3, 4, 6]),
)
def test_samples_are_rounded_as_python_rounds(value: float, digits: int) -> None:
    assert repr(sample_curves.rounded(value, digits)) == repr(round(value, digits))
