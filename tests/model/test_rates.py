"""What each task would do and what it gets, on machines made for one question, by hand."""

from typing import Any

import pytest

from oomkit.model.advance import horizon
from oomkit.model.demand import Demand, reads_a_page
from oomkit.model.machine import Machine
from oomkit.model.pools import Pool
from oomkit.model.responsiveness import response_s
from oomkit.model.solve import Rates, solve
from oomkit.model.steps import task_demands
from oomkit.model.tasks import Proc
from oomkit.model.working_sets import mark_working_sets
from oomkit.scenario.format import Step
from tests.model.test_address_spaces import holding, process
from tests.model.test_horizon import file, machine, still

GIB = 1 << 30


def quick(*cgroups: dict[str, Any], **values: Any) -> Machine:
    """A machine of round numbers: 100,000 pages a second are faulted in, 10,240 read."""
    on = machine(*cgroups, **values)
    on.fault_pages_s = 100_000.0
    on.share_s, on.map_s, on.swap_in_s, on.swap_out_s = 2e-5, 3e-5, 4e-5, 5e-6
    on.first_read_s, on.read_s = 2e-5, 5e-6
    return on


def at(on: Machine, verb: Any, *, mm: Any = None, done: float = 0.0, **step: Any) -> Proc:
    """A process in the middle of a step of 2^18 pages, or of a work step."""
    spec = {name: step.pop(name) for name in ("threads", "nice", "cgroup") if name in step}
    if verb != "work":
        step.setdefault("size_bytes", GIB)
    proc = process(on, 100 + len(on.procs), Step(verb=verb, **step), mm=mm, **spec)
    proc.step_total = 1e9 if verb == "work" else (proc.current.size_bytes or 0) / 4096
    proc.step_left = proc.step_total - done
    return proc


def demand(on: Machine, which: int = 0) -> Demand:
    return task_demands(on, mark_working_sets(on))[which]


@pytest.mark.parametrize(("verb", "step", "pace", "tables", "cpus"), [
    # A page table for 512 pages, which takes as long as a page; one CPU does 100,000 of both.
    ("touch", {}, 100_000 / (1 + 1 / 512), 100_000 / 513, 1.0),
    ("touch", {"rate_bytes_s": 51_200 * 4096}, 51_200.0, 100.0, 0.513),
    ("lock", {"rate_bytes_s": 51_200 * 4096}, 51_200.0, 100.0, 0.513),
    # Every fourth page takes a table for 128; further apart than 512 each has its own.
    ("touch", {"rate_bytes_s": 40_000 * 4096, "stride_bytes": 16_384}, 10_000.0, 78.125,
     0.10078125),
    ("touch", {"rate_bytes_s": 1024e4 * 4096, "stride_bytes": 4096 * 1024}, 1e4, 1e4, 0.2),
    # 2e-5 s for a shared page; tmpfs is in no page table.
    ("share", {"rate_bytes_s": 25_600 * 4096}, 25_600.0, 50.0, 0.512 + 0.0005),
    ("tmpfs", {"rate_bytes_s": 25_600 * 4096}, 25_600.0, 0.0, 0.512),
    ("tmpfs", {}, 50_000.0, 0.0, 1.0),
])  # fmt: skip
def test_how_fast_new_memory_is_taken(
    verb: str, step: dict[str, Any], pace: float, tables: float, cpus: float
) -> None:
    on = quick()
    proc = at(on, verb, **step)
    found = demand(on)
    assert (found.pace, found.tables, found.cpus) == pytest.approx((pace, tables, cpus))
    assert found.alloc_rate == pytest.approx(pace + tables)
    mm = proc.mm
    pools = {"touch": mm.anon, "share": mm.shmem, "tmpfs": on.tmpfs_of(None), "lock": None}
    assert found.new_pages == [(pools[verb], found.pace)]


@pytest.mark.parametrize(("cached", "size", "done", "missing"), [
    # At the end of what is known, or within the read-ahead of 32 pages, all has to be read.
    (0.0, 0.0, 0.0, 1.0), (1000.0, 1000.0, 968.0, 1.0), (1000.0, 1000.0, 967.0, 0.0),
    (600.0, 1000.0, 0.0, 0.4), (980.0, 1000.0, 0.0, 0.02), (991.0, 1000.0, 0.0, 0.0),
])  # fmt: skip
def test_how_fast_a_file_is_read(cached: float, size: float, done: float, missing: float) -> None:
    """By the disk, or by what copying a page takes of a CPU, 2e-5 s of a new one, 5e-6 s else."""
    on = quick()
    pool = on.file("f", None)
    pool.resident, pool.dirty, pool.size = max(cached - 100.0, 0.0), min(cached, 100.0), size
    at(on, "read", file="f", done=done)
    found = demand(on)
    page_s = missing * 2e-5 + (1.0 - missing) * 5e-6
    pace = min(1.0 / page_s, 10_240.0 / missing if missing else float("inf"))
    assert (found.pace, found.cpus) == pytest.approx((pace, pace * page_s))
    assert found.alloc_rate == pytest.approx(pace * missing)
    assert found.async_io == pytest.approx(pace * missing / 10_240.0)
    assert [pages for _, pages in found.new_pages] == pytest.approx(
        [pace * missing] * (missing > 0)
    )


@pytest.mark.parametrize(("step", "pace"), [
    ({"rate_bytes_s": 4096 * 500}, 500.0), ({"over_s": 100.0}, 2621.44), ({"over_s": 1.0}, 10_240),
])  # fmt: skip
def test_a_reader_may_be_slower_than_the_disk(step: dict[str, float], pace: float) -> None:
    on = quick()
    at(on, "read", file="f", **step)
    assert demand(on).pace == pytest.approx(pace)


def test_one_reads_and_who_follows_finds_its_pages() -> None:
    """Of two at the end of a file the second reads none from disk, and is no faster."""
    on = quick()
    for _ in range(2):
        at(on, "read", file="f")
    at(on, "read", file="other")
    first, second, third = (demand(on, which) for which in range(3))
    assert (first.alloc_rate, second.alloc_rate, third.alloc_rate) == (10_240, 0.0, 10_240)
    assert (second.pace, second.new_pages, second.async_io) == (10_240, [], 0.0)
    assert second.cpus == pytest.approx(10_240 * 5e-6)


def test_a_writer_copies_four_times_as_fast_as_pages_are_faulted_in() -> None:
    on = quick()
    at(on, "write", file="f")
    found = demand(on)
    assert (found.pace, found.cpus, found.alloc_rate) == (400_000.0, 1.0, 400_000.0)
    assert found.dirty_file is on.file("f", None)
    on = quick()
    at(on, "write", file="f", rate_bytes_s=4096 * 40_000)
    assert (demand(on).pace, demand(on).cpus) == (40_000.0, 0.1)


@pytest.mark.parametrize(("step", "hot", "walk"), [
    ({}, (1000.0, 200.0, 300.0), 1500.0),
    ({"set_bytes": 1100 * 4096}, (1000.0, 100.0, 0.0), 1100.0),
    ({"set_bytes": 1100 * 4096, "rate_bytes_s": 110 * 4096}, (1000.0, 100.0, 0.0), 110.0),
    ({"set_bytes": 500 * 4096}, (500.0, 0.0, 0.0), 500.0),
    ({"set_bytes": 9000 * 4096}, (1000.0, 200.0, 300.0), 1500.0),
])  # fmt: skip
def test_work_goes_over_what_the_task_has_in_its_order(
    step: dict[str, Any], hot: tuple[float, ...], walk: float
) -> None:
    """Its own memory, its shared memory, what it shares with others; once a second, or slower.

    A fifth of its own is in swap: as many refaults, a page of 8 read at a time used.
    """
    on = quick()
    on.free, on.swap_full = 100.0, True
    proc = holding(at(on, "work", threads=3, **step), 800.0, 200.0)
    mm = proc.mm
    mm.shmem.resident = 200.0
    other = Pool("shmem", None)
    other.resident, other.mappers = 300.0, 2
    mm.shared = [(other, 50.0)]
    found = demand(on)
    assert (mm.anon.hot, mm.shmem.hot, other.hot) == hot
    missing = max(1.0 - 800.0 / hot[0], 0.0)
    back = walk * hot[0] / sum(hot) * missing
    assert [pool for pool, _ in found.refaults] == [mm.anon] * (missing > 0.0)
    assert [pages for _, pages in found.refaults] == pytest.approx([back] * (missing > 0.0))
    assert found.cpus == pytest.approx(3.0 + back * 4e-5)
    assert found.sync_io == pytest.approx(
        back * 8.0 / (1.0 + 7.0 * (1.0 - missing)) / 10_240.0 if missing else 0.0
    )
    assert found.passes == pytest.approx(walk / sum(hot))
    assert [pool for pool, _ in found.shared] == [other]


def test_a_file_that_work_goes_over_is_in_use() -> None:
    on = quick()
    proc = holding(at(on, "work", file="f"), 1000.0)
    pool = on.file("f", None)
    pool.size, pool.resident, pool.peak_resident = 1000.0, 400.0, 900.0
    found = demand(on)
    assert (pool.hot, proc.mm.anon.hot) == (1000.0, 1000.0)
    # 2000 pages a second: half of them of the file, of which 60 % are missing, 10 % never read.
    assert found.refaults == [(pool, 600.0)]
    assert found.first_read_io == pytest.approx(100.0 / 10_240.0)
    assert found.sync_io == pytest.approx(600.0 / 10_240.0), "memory is free: one read a page"
    assert found.cpus == pytest.approx(1.0 + 600.0 * 3e-5)


@pytest.mark.parametrize(("free", "group", "reads"), [
    (0.0, None, 8.0 / 4.5), (1.0, None, 1.0), (1.0, "limited/below", 8.0 / 4.5),
    (1.0, "free", 1.0),
])  # fmt: skip
def test_what_is_read_besides_stays_where_nothing_is_reclaimed(
    free: float, group: str | None, reads: float
) -> None:
    """Half is missing: of 8 pages read, 4.5 are used where the others are evicted before."""
    on = quick({"name": "limited", "max": "10M"}, {"name": "limited/below"}, {"name": "free"})
    on.free = on.reclaim_mark() + 0.5 + free
    pool = Pool("anon", on.groups[group] if group else None)
    assert reads_a_page(on, pool, 0.5) == pytest.approx(reads)


@pytest.mark.parametrize(("idle", "vm", "full", "reads"), [
    ({"file": 100.0}, {}, False, 1.0), ({"file": 30.0}, {}, False, 8.0 / 4.5),
    ({"anon": 100.0}, {}, False, 1.0), ({"anon": 100.0}, {}, True, 8.0 / 4.5),
    ({"anon": 100.0}, {"swappiness": 0}, False, 8.0 / 4.5),
])  # fmt: skip
def test_what_is_read_besides_stays_while_pages_in_no_use_are_reclaimed(
    idle: dict[str, float], vm: dict[str, int], *, full: bool, reads: float
) -> None:
    on = quick(vm=vm)
    on.free = 0.0
    on.swap_full = full
    on.file("f", None).resident = idle.get("file", 0.0)
    on.tmpfs_of(None).resident = idle.get("anon", 0.0)
    mark_working_sets(on)
    assert reads_a_page(on, on.file("used", None), 0.5) == pytest.approx(reads)


def test_who_stands_still_wants_nothing() -> None:
    on = quick()
    for proc in (at(on, "touch"), at(on, "work"), at(on, "hold")):
        proc.frozen = proc.verb == "work"
        proc.state = "hold" if proc.verb == "hold" else "run"
        proc.mm.anon.resident = 50.0
    assert [one.proc for one in task_demands(on, mark_working_sets(on))] == [on.procs[0]]
    assert [proc.mm.anon.hot for proc in on.procs] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("over", "delay"), [
    # 64 s by the square of how far it is above, 2 s at most, and less than 10 ms is nothing.
    (0.0, None), (0.0124, None), (0.0126, 64 * 0.0126**2), (0.1, 0.64), (0.2, 2.0), (0.17, 1.8496),
])  # fmt: skip
def test_above_memory_high_a_task_sleeps(over: float, delay: float | None) -> None:
    """For each 64 pages that it charges; of its ancestors the strictest holds."""
    on = quick({"name": "g", "high": 4096 * 10_000}, {"name": "g/below", "high": "1G"})
    proc = at(on, "touch", cgroup="g/below", rate_bytes_s=4096 * 8000)
    holding(proc, 10_000.0 * (1.0 + over) - 10.0)
    (found,) = solve(on).demands
    assert on.groups["g"].usage == pytest.approx(10_000.0 * (1.0 + over))
    assert found.alloc_rate == 8000.0 + 8000.0 / 512.0
    speed = 1.0 if delay is None else 64.0 / delay / found.alloc_rate
    assert found.speed == pytest.approx(speed)


@pytest.mark.parametrize(("end_s", "users", "released"), [
    (2.0, 1, 650.0), (2.0, 2, 0.0), (0.0, 1, 0.0), (None, 1, 0.0),
])  # fmt: skip
def test_memory_of_one_that_exits_flows_out_until_it_is_gone(
    end_s: float | None, users: int, released: float
) -> None:
    """1300 pages in two seconds; not where another uses the same address space."""
    on = quick({"name": "g", "max": "100M"})
    proc = holding(process(on, 100, cgroup="g"), 1000.0)
    proc.mm.shmem.resident = 300.0
    proc.state, proc.end_s, proc.mm.users = "exiting", end_s, users
    rates = solve(on)
    assert rates.free_rate == released
    assert rates.flows[proc.mm.anon].release == released / 1.3
    assert rates.flows[proc.mm.shmem].release == pytest.approx(released * 0.3 / 1.3)


def test_cpus_of_who_spins_and_of_who_sleeps() -> None:
    """A task that retries takes a whole CPU, one that sleeps none, whatever their steps want."""
    on = quick()
    spins, sleeps, works = (at(on, "work", rate_bytes_s=4096) for _ in range(3))
    spins.spinning, sleeps.asleep = True, True
    rates = solve(on)
    assert [one.cpus_given for one in rates.demands] == [1.0, 0.0, 1.0]
    assert [one.cpu_share for one in rates.demands] == [1.0, 0.0, 1.0]
    assert [one.speed for one in rates.demands] == [1.0, 0.0, 1.0]
    assert rates.cpu_busy == 1.0
    works.frozen = True
    assert solve(on).cpu_busy == 0.5


def test_threads_weigh_where_a_task_wants_more_than_a_cpu() -> None:
    """Two CPUs among three threads and one."""
    on = quick()
    at(on, "work", threads=3)
    at(on, "work")
    assert [one.cpus_given for one in solve(on).demands] == [1.5, 0.5]


@pytest.mark.parametrize(("release", "speed"), [(0.0, 0.0), (0.5, 0.5), (2.0, 1.0)])
def test_where_nothing_is_left_tasks_get_what_exits_free(release: float, speed: float) -> None:
    on = quick(swap=0)
    at(on, "lock", rate_bytes_s=4096 * 5120)
    need = 5120.0 + 10.0
    leaving = holding(process(on, 200), need * release)
    leaving.state, leaving.end_s = "exiting", 1.0
    on.free = float(on.watermarks.floor_pages)
    rates = solve(on)
    taker = rates.demands[0]
    assert taker.speed == pytest.approx(speed)
    assert rates.domains[None].blocked is (speed < 1.0)
    assert taker.stall == pytest.approx(1.0 - speed)
    assert rates.free_rate == pytest.approx(need * (release - speed))


def probed(on: Machine, **rates: Any) -> float:
    made: Rates = still(on)
    for name, value in rates.items():
        setattr(made, name, value)
    return response_s(on, made)


@pytest.mark.parametrize(("wants", "share"), [
    ([], 1.0), ([(1.0, 1024.0)], 1.0), ([(1.01, 1024.0)], 1.0), ([(1.0, 1024.0)] * 3, 0.5),
    ([(4.0, 1024.0)] * 3, 0.5), ([(0.5, 1024.0)] * 3, 2.0 / 2.5), ([(2.0, 3072.0)], 0.5),
])  # fmt: skip
def test_the_probe_has_its_part_of_the_cpus(wants: list[tuple[float, float]], share: float) -> None:
    """Two CPUs, by weight; a task weighs on one CPU's part of it at most."""
    on = quick()
    assert on.cpus_worth == 2.0
    demands = []
    for need, weight in wants:
        demands.append(Demand(None))
        demands[-1].need, demands[-1].weight = need, weight
    assert probed(on, demands=demands) == pytest.approx(on.probe.cpu_s / share)


def test_the_probe_gets_no_page_where_none_is_left() -> None:
    on = quick()
    pages = on.probe.scratch_bytes / 4096
    assert pages >= 1.0
    rates = still(on)
    rates.domains[None].blocked = True
    on.free = on.watermarks.floor_pages + pages
    assert response_s(on, rates) == pytest.approx(on.probe.cpu_s)
    on.free -= 1.0
    assert response_s(on, rates) == float("inf")
    rates.domains[None].blocked = False
    assert response_s(on, rates) == pytest.approx(on.probe.cpu_s)


def test_pages_in_use_of_a_read_file_change_the_rates_when_they_end() -> None:
    """A reader of cached pages comes to the end of what is known: 32 pages before it."""
    on = quick()
    file(on, 1000.0, size=1000.0)
    at(on, "read", file="f0", rate_bytes_s=4096 * 100, done=500.0)
    rates = solve(on)
    assert horizon(on, rates) == pytest.approx((1000 - 500 - 32 + 1) / 100.0)
