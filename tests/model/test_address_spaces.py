"""Address spaces: what is charged, copied by a fork, and given back, page by page by hand."""

from typing import Any

import pytest

from oomkit.model import accounting, address_space
from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Mm, Pool
from oomkit.model.tasks import PROCESS_PAGES, Proc
from oomkit.scenario.draws import Drawn
from oomkit.scenario.format import Step, Task
from tests.model.test_horizon import machine


def process(on: Machine, pid: int, *steps: Step, mm: Mm | None = None, **spec: Any) -> Proc:
    """A process that is at its first step."""
    task = Task(name=f"t{pid}", steps=steps or (Step(verb="hold"),), **spec)
    made = Proc(
        task, 0, pid, 1, mm or Mm(pid, on.groups.get(task.cgroup or "")), Drawn(0.0, (1.0,), ())
    )
    made.mm.users += 1
    made.state = "run"
    on.add_process(made)
    made.enter(task.steps[0])
    return made


def holding(proc: Proc, resident: float, swapped: float = 0.0) -> Proc:
    proc.mm.anon.resident, proc.mm.anon.swapped = resident, swapped
    return proc


TOUCH, SHARE, TMPFS = (Step(verb=verb, size_bytes=1 << 30) for verb in ("touch", "share", "tmpfs"))


@pytest.mark.parametrize(("step", "reserved", "granted", "charged"), [
    # Of 100 pages touched: reserved ones were charged before, granted ones when the piece began.
    (TOUCH, 0.0, 0.0, 100.0), (TOUCH, 30.0, 0.0, 70.0), (TOUCH, 30.0, 60.0, 10.0),
    (TOUCH, 100.0, 0.0, 0.0), (TOUCH, 0.0, 250.0, 0.0), (SHARE, 30.0, 0.0, 100.0),
    (TMPFS, 30.0, 60.0, 40.0),
])  # fmt: skip
def test_what_is_touched_is_charged_once(
    step: Step, reserved: float, granted: float, charged: float
) -> None:
    on = machine()
    proc = process(on, 100, step)
    mm = proc.mm
    mm.reserved, proc.granted = reserved, granted
    address_space.map_touched(on, proc, 100.0)
    assert on.committed == charged
    taken = min(reserved, 100.0) if step is TOUCH else 0.0
    assert mm.reserved == reserved - taken
    assert proc.step_mapped == 100.0 - taken
    assert proc.granted == granted - min(granted, 100.0 - taken)
    # A file's pages are its file's, and tmpfs is in no address space.
    pool = on.tmpfs_of(None)
    assert (mm.charged, mm.shmem.charged, pool.charged) == (
        charged * (step is TOUCH), charged * (step is SHARE), charged * (step is TMPFS),
    )  # fmt: skip
    assert mm.mapped == Mm.BASE_VM + (charged if step is not TMPFS else 0.0)


def test_a_charge_is_taken_back_up_to_what_was_charged() -> None:
    on = machine()
    proc = process(on, 100)
    on.committed, proc.mm.charged = 500.0, 300.0
    address_space.uncharge(on, proc, 100.0)
    assert (on.committed, proc.mm.charged) == (400.0, 200.0)
    address_space.uncharge(on, proc, 900.0)
    assert (on.committed, proc.mm.charged) == (200.0, 0.0)


@pytest.mark.parametrize(("kernel", "vm", "pages", "refusal"), [
    # Of 512 MiB the kernel hands out 118,688 pages. CommitLimit is half of them and 64 MiB of
    # swap, 75,728; less a 32nd of the 900 that the process has mapped, and one.
    ("6.12", {"overcommit_memory": 2}, 75_699.0, None),
    ("6.12", {"overcommit_memory": 2}, 75_700.0, "CommitLimit 296 MiB"),
    # 5.19 and later refuse what is more than RAM and swap together.
    ("6.12", {}, 135_072.0, None),
    ("6.12", {}, 135_073.0, "heuristic 528 MiB"),
    ("6.12", {"overcommit_memory": 1}, 1e9, None),
])  # fmt: skip
def test_the_last_page_that_may_be_mapped(
    kernel: str, vm: dict[str, int], pages: float, refusal: str | None
) -> None:
    on = machine(kernel=kernel, vm=vm)
    assert on.total == 118_688
    proc = process(on, 100, uid=0)
    assert address_space.charge(on, proc, pages) == refusal
    assert (on.committed, proc.mm.charged) == ((pages, pages) if refusal is None else (0.0, 0.0))


def test_a_fork_shares_what_the_parent_has_until_one_writes() -> None:
    """Anonymous pages by a common pool; of shared memory the child has none resident yet."""
    on = machine()
    parent = holding(process(on, 100), 600.0, 40.0)
    mm = parent.mm
    mm.anon.oldest_s, mm.anon.newest_s = 2.0, 5.0
    mm.shmem.resident, mm.shmem.swapped = 1000.0, 24.0
    mm.reserved, mm.mapped, mm.tables = 7.0, 3000.0, 20.0
    shmem, copy = mm.shmem, Mm(101, None)
    address_space.copy_on_write(on, mm, copy)
    ((pool, seen),) = mm.cow_views
    assert (pool.resident, pool.swapped, seen) == (600.0, 40.0, 640.0)
    assert (pool.oldest_s, pool.newest_s) == (2.0, 5.0)
    assert (mm.anon.resident, mm.anon.swapped) == (0.0, 0.0)
    assert copy.cow_views == [(pool, 640.0)]
    assert (mm.shared, copy.shared) == ([(shmem, 1024.0)], [(shmem, 0.0)])
    assert shmem.mappers == 2
    assert mm.shmem is not shmem
    assert (copy.reserved, copy.mapped) == (7.0, 3000.0)
    assert copy.tables == 20.0 - 1024.0 / 512.0
    # A second child: the common pools are not made anew.
    other = Mm(102, None)
    address_space.copy_on_write(on, mm, other)
    assert other.cow_views == [(pool, 640.0)]
    assert shmem.mappers == 3
    assert on.pools().count(pool) == on.pools().count(shmem) == 1


@pytest.mark.parametrize(("held", "pools"), [(0.5, 0), (0.51, 1)])
def test_half_a_page_is_rounding_and_no_pool(held: float, pools: int) -> None:
    on = machine()
    mm = holding(process(on, 100), held).mm
    mm.shmem.resident = held
    address_space.copy_on_write(on, mm, Mm(101, None))
    assert (len(mm.cow_views), len(mm.shared)) == (pools, pools)


def test_a_child_has_page_tables_of_its_own_at_least() -> None:
    on = machine()
    mm = process(on, 100).mm
    mm.shared = [(Pool("shmem", None), 51_200.0)]
    copy = Mm(101, None)
    address_space.copy_on_write(on, mm, copy)
    assert copy.tables == Mm.BASE_TABLES


def test_shared_memory_comes_into_page_tables_once() -> None:
    """Only what is more than there is takes page tables: 512 pages, one of them."""
    on = machine()
    mm = process(on, 100).mm
    one, other, third = (Pool("shmem", None) for _ in range(3))
    mm.shared = [(one, 100.0), (other, 300.0), (third, 5.0)]
    free, tables = on.free, mm.tables
    address_space.map_shared(on, mm, {one: 612.0, other: 300.0})
    assert mm.shared == [(one, 612.0), (other, 300.0), (third, 5.0)]
    assert (mm.tables, on.free) == (tables + 1.0, free - 1.0)
    address_space.map_shared(on, mm, {one: 50.0})
    assert (mm.shared[0], on.free) == ((one, 612.0), free - 1.0)


@pytest.mark.parametrize(("wanted", "resident", "swapped", "left"), [
    (0.0, 600.0, 200.0, 400.0), (200.0, 450.0, 150.0, 400.0), (800.0, 0.0, 0.0, 400.0),
    (900.0, 0.0, 0.0, 300.0), (1200.0, 0.0, 0.0, 0.0), (9e9, 0.0, 0.0, 0.0),
])  # fmt: skip
def test_a_process_frees_its_own_pages_first_then_what_it_shares(
    wanted: float, resident: float, swapped: float, left: float
) -> None:
    """A quarter of 800 is in swap. Of what two see, a page is free when neither does."""
    on = machine()
    proc = holding(process(on, 100), 600.0, 200.0)
    mm, other = proc.mm, process(on, 101).mm
    pool = on.cow_pool(None)
    pool.resident = 400.0
    mm.cow_views, other.cow_views = [(pool, 400.0)], [(pool, 350.0)]
    mm.tables, mm.mapped, mm.charged, on.committed = 12.0, 2500.0, 5000.0, 9000.0
    free = on.free
    address_space.free_anon(on, proc, wanted)
    assert (mm.anon.resident, mm.anon.swapped) == pytest.approx((resident, swapped))
    assert mm.cow_views[0][1] == pytest.approx(left)
    assert pool.resident == pytest.approx(max(left, 350.0))
    gone = min(wanted, 1200.0)
    tables = min(min(wanted, 800.0) / 512.0, 2.0)
    assert mm.tables == pytest.approx(12.0 - tables)
    freed = (600.0 - resident) + tables + (400.0 - max(left, 350.0))
    assert on.free - free == pytest.approx(freed)
    assert (mm.charged, on.committed) == pytest.approx((5000.0 - gone, 9000.0 - gone))
    assert mm.mapped == pytest.approx(2500.0 - gone)


def test_an_address_space_is_never_smaller_than_an_empty_one() -> None:
    on = machine()
    proc = holding(process(on, 100), 2000.0)
    proc.mm.mapped = 1500.0
    address_space.free_anon(on, proc, 2000.0)
    assert proc.mm.mapped == Mm.BASE_VM
    assert proc.mm.tables == Mm.BASE_TABLES


def test_all_that_an_address_space_holds_is_given_back() -> None:
    on = machine()
    free = on.free
    proc, other = holding(process(on, 100), 600.0, 200.0), process(on, 101)
    mm = proc.mm
    last, common, cow = Pool("shmem", None), Pool("shmem", None), on.cow_pool(None)
    last.resident, last.charged, last.mappers = 50.0, 55.0, 1
    common.resident, common.charged, common.mappers = 70.0, 75.0, 2
    cow.resident = 30.0
    mm.shared, mm.cow_views = [(last, 50.0), (common, 70.0)], [(cow, 30.0)]
    mm.shmem.resident, mm.shmem.charged = 40.0, 45.0
    mm.locked, mm.tables, mm.charged = 9.0, 14.0, 800.0
    on.committed = 1000.0
    on.free = 5000.0
    address_space.tear_down(on, mm)
    # `common` has another user; its pages and its charge stay.
    assert on.free == 5000.0 + 600 + 50 + 40 + 30 + 9 + 14
    assert on.committed == 1000.0 - 55 - 45 - 800
    assert (last.resident, last.charged, common.resident, common.mappers) == (0.0, 0.0, 70.0, 1)
    assert (mm.anon.resident, mm.anon.swapped, mm.shmem.resident) == (0.0, 0.0, 0.0)
    assert (mm.shared, mm.cow_views, mm.locked, mm.tables, mm.charged) == ([], [], 0.0, 0.0, 0.0)
    assert free - 2 * (PROCESS_PAGES + Mm.BASE_TABLES) > 0
    assert other.mm.tables == Mm.BASE_TABLES


def test_threads_of_an_address_space_have_one_set_of_tables() -> None:
    on = machine()
    free = on.free
    first = process(on, 100)
    assert on.free == free - PROCESS_PAGES - Mm.BASE_TABLES
    process(on, 101, mm=first.mm)
    assert on.free == free - 2 * PROCESS_PAGES - Mm.BASE_TABLES
    assert on.mms() == [first.mm]


@pytest.mark.parametrize(("states", "processes"), [
    (("run", "run"), 2), (("run", "exiting"), 2), (("hold", "dead"), 1), (("new", "dead"), 0),
])  # fmt: skip
def test_pages_by_use_sum_to_the_machine(states: tuple[Any, Any], processes: int) -> None:
    on = machine()
    for pid, state in enumerate(states, 100):
        process(on, pid).state = state
    uses = accounting.page_usage(on)
    assert uses["kernel"] == on.kernel + PROCESS_PAGES * processes
    assert uses["tables"] == 2 * Mm.BASE_TABLES
    holding(on.procs[0], 300.0).mm.locked = 20.0
    on.file("f", None).dirty = 7.0
    on.tmpfs_of(None).resident = 11.0
    used = accounting.page_usage(on)
    assert (used["anon"], used["locked"], used["dirty"], used["shmem"]) == (300.0, 20.0, 7.0, 11.0)


def test_memory_as_the_kernels_rules_read_it() -> None:
    """The initramfs and tmpfs are in Cached and in Shmem, mlocked pages among the anonymous."""
    on = machine()
    proc = holding(process(on, 100), 300.0, 10.0)
    proc.mm.locked = 20.0
    page, shared = on.file("f", None), on.tmpfs_of(None)
    page.resident, page.dirty, shared.resident, shared.swapped = 500.0, 40.0, 60.0, 6.0
    on.committed = 1234.5
    memory = accounting.memory(on)
    assert memory.file_pages == 500 + 40 + 60 + on.rootfs
    assert memory.shmem_pages == 60 + on.rootfs
    assert memory.anon_pages == 320
    assert memory.free_swap_pages == 64 * 256 - 16
    assert memory.committed_pages == 1234
    assert memory.pgtable_pages == Mm.BASE_TABLES
    assert memory.slab_unreclaimable_pages == int(on.kernel) + PROCESS_PAGES
    held = on.watermarks.totalreserve_pages
    assert memory.available_pages == int(on.free - held + 540 - min(270, on.watermarks.low_pages))


@pytest.mark.parametrize(("kernel", "mark"), [("3.14", "low_pages"), ("4.6", "totalreserve_pages")])
def test_what_a_kernel_calls_available(kernel: str, mark: str) -> None:
    """``si_mem_available()``: up to 4.5 without the low watermarks, then without the reserves."""
    on = machine(kernel=kernel)
    low = on.watermarks.low_pages
    held = getattr(on.watermarks, mark)
    assert accounting.available(on, 0.0, 50_000.0) == 50_000.0 - held
    assert accounting.available(on, 100.0, 50_000.0) == 50_000.0 - held + 50.0
    assert accounting.available(on, 4.0 * low, 50_000.0) == 50_000.0 - held + 3.0 * low
    assert accounting.available(on, 0.0, held - 1.0) == 0.0
    assert accounting.available(on, 0.0) == on.free - held


def test_limits_by_the_names_of_a_scenario() -> None:
    group = Group("g", None)
    assert not group.is_limited
    assert machine({"name": "a/b", "max": "8K"}).groups["a"].is_limited is False
    on = machine(
        {"name": "a", "max": "10M", "version": 1}, {"name": "a/b", "high": "8K", "oom_group": True}
    )
    outer, inner = on.groups["a"], on.groups["a/b"]
    assert (outer.max_pages, outer.version, inner.high_pages) == (2560.0, 1, 2.0)
    assert (inner.max_pages, inner.oom_group, inner.is_limited) == (float("inf"), True, True)
    assert inner.ancestry == (inner, outer)


def test_large_swap_comes_back_in_larger_batches() -> None:
    """256 slots, and a 128th of 32,768 slots and more."""
    assert machine(swap="64M").swap_batch == 256.0
    assert machine(swap="128M").swap_batch == 256.0
    assert machine(swap="256M").swap_batch == 512.0
