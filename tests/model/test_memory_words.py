"""What programs do with memory besides writing to it, each worked out by hand."""

from typing import Any

import pytest

from oomkit.model import accounting, play
from oomkit.model.engine import Engine
from oomkit.model.machine import Machine
from oomkit.scenario import Run, ScenarioError, scenario_from

HOLD = {"hold": "forever"}
MB = 256.0
"""Pages of a megabyte."""


def scenario(*tasks: dict[str, Any], **rest: Any) -> Any:
    raw = {"name": "n", "duration": "30s", "machine": {"ram": "512M"}, "task": list(tasks), **rest}
    return scenario_from(raw)


def run(*tasks: dict[str, Any], **rest: Any) -> Run:
    return play(scenario(*tasks, **rest), audit=True)


def machine_at_end(*tasks: dict[str, Any], **rest: Any) -> Machine:
    engine = Engine(scenario(*tasks, **rest), seed=0, sample_s=1.0, audit=True)
    engine.run()
    return engine.machine


def rss_mb(machine: Machine) -> list[float]:
    return [(proc.mm.rss() - proc.mm.BASE_RSS) / MB for proc in machine.procs]


def test_a_read_of_memory_that_was_never_written_takes_page_tables_alone() -> None:
    """``do_anonymous_page()`` maps the zero page, which no counter of rss knows."""
    before = machine_at_end({"name": "t", "steps": [HOLD]})
    after = machine_at_end({"name": "t", "steps": [{"peek": "400M"}, HOLD]})
    assert rss_mb(after) == [0.0]
    # 400 MB are 102,400 pages of 8 bytes each in tables of 512.
    assert before.free - after.free == pytest.approx(200.0)
    assert after.committed - before.committed == pytest.approx(400 * MB)


def test_what_was_only_read_costs_its_pages_when_it_is_written_to() -> None:
    """``do_wp_page()`` gives the writer a page of its own; the tables are there already."""
    read = machine_at_end({"name": "t", "steps": [{"peek": "200M"}, HOLD]})
    written = machine_at_end({"name": "t", "steps": [{"peek": "200M"}, {"touch": "120M"}, HOLD]})
    assert rss_mb(written) == [pytest.approx(120.0)]
    assert read.free - written.free == pytest.approx(120 * MB)
    assert written.committed == pytest.approx(read.committed)


def test_peek_reads_what_was_reserved_first_and_takes_a_fifth_of_the_time() -> None:
    reserved = machine_at_end({"name": "t", "steps": [{"reserve": "90M"}, {"peek": "100M"}, HOLD]})
    assert reserved.procs[0].mm.charged == pytest.approx(100 * MB)
    machine = {"ram": "512M", "fault_rate": "100M/s", "cpus": 1}
    quick = run({"name": "t", "steps": [{"peek": "300M"}]}, machine=machine)
    slow = run({"name": "t", "steps": [{"touch": "300M"}]}, machine=machine)
    # 0.21 of a fault each, and a page table for 512 of them; an exit is 8 times as fast as a fault.
    assert quick.ended_s == pytest.approx(3.0 * (0.21 + 1 / 512), abs=0.02)
    assert slow.ended_s == pytest.approx(3.0 * (1 + 1 / 512 + 1 / 8), abs=0.02)


def test_pages_freed_lazily_stay_rss_and_count_as_available() -> None:
    """``lru_lazyfree_fn()`` moves them to the inactive list of files."""
    full = machine_at_end({"name": "t", "steps": [{"touch": "100M"}, HOLD]})
    lazy = machine_at_end(
        {"name": "t", "steps": [{"touch": "100M"}, {"free": "60M", "lazy": True}, HOLD]}
    )
    assert rss_mb(lazy) == rss_mb(full) == [pytest.approx(100.0)]
    assert (lazy.free, lazy.committed) == (full.free, full.committed)
    kept = min(30 * MB, lazy.watermarks.low_pages)
    gained = (accounting.memory(lazy).available_pages or 0) - (
        accounting.memory(full).available_pages or 0
    )
    assert gained == pytest.approx(60 * MB - kept, abs=2)
    assert accounting.memory(lazy).anon_pages == accounting.memory(full).anon_pages


def test_memory_that_is_short_takes_them_without_swap_and_without_a_kill() -> None:
    lazy = {"name": "lazy", "steps": [{"touch": "200M"}, {"free": "150M", "lazy": True}, HOLD]}
    grower = {"name": "grower", "start": "2s", "steps": [{"touch": "300M", "rate": "100M/s"}, HOLD]}
    plain = {"name": "lazy", "steps": [{"touch": "200M"}, HOLD]}
    machine = {"ram": "512M", "swap": "300M"}
    record = run(lazy, grower, machine=machine)
    assert record.kills == ()
    assert record.samples.swap_free_mb[-1] == 300.0
    assert 50.0 <= record.samples.tasks["lazy/0"].rss_mb[-1] < 130.0
    assert run(plain, grower, machine=machine).samples.swap_free_mb[-1] < 250.0
    assert [kill.task for kill in run(plain, grower).kills] == ["grower"]


def test_what_is_left_of_them_is_written_to_again_without_a_fault() -> None:
    steps = [{"touch": "200M"}, {"free": "all", "lazy": True}, {"hold": "1s"}, {"touch": "150M"}]
    machine = machine_at_end({"name": "t", "steps": [*steps, HOLD]})
    assert rss_mb(machine) == [pytest.approx(200.0)]
    (proc,) = machine.procs
    assert proc.mm.charged == pytest.approx(200 * MB)
    assert proc.mm.lazy_rss() == pytest.approx(50 * MB, abs=1.0)
    # 200 MB at 1 GB/s, then 150 at a tenth of the cost, and no page table.
    assert proc.cpu_s == pytest.approx((200 * (1 + 1 / 512) + 150 * 0.1) / 1024, rel=0.01)


def test_free_takes_them_too_and_what_swap_has_goes_at_once() -> None:
    steps = [{"touch": "100M"}, {"free": "80M", "lazy": True}, {"free": "10M"}]
    machine = machine_at_end({"name": "t", "steps": [*steps, HOLD]})
    assert rss_mb(machine) == [pytest.approx(10.0)]
    assert machine.procs[0].mm.charged == pytest.approx(10 * MB)
    swapped = machine_at_end(
        {"name": "idle", "steps": [{"touch": "200M"}, {"hold": "8s"},
                                   {"free": "all", "lazy": True}, HOLD]},
        {"name": "grower", "start": "1s", "steps": [{"touch": "350M", "rate": "100M/s"}, HOLD]},
        machine={"ram": "512M", "swap": "300M"},
    )  # fmt: skip
    # madvise_free_pte_range() frees swap entries; a tenth of the grower went there meanwhile.
    assert swapped.procs[0].mm.swap() == 0.0
    assert swapped.swap_left() == pytest.approx(300 * MB - swapped.procs[1].mm.swap(), abs=1.0)


def sharing(children: int) -> Machine:
    steps = [{"reserve": "100M", "shared": True}, {"fork": children},
             {"share": "100M", "rate": "50M/s"}, HOLD]  # fmt: skip
    return machine_at_end({"name": "pg", "steps": steps})


def test_children_touch_the_shared_mapping_of_their_parent_once() -> None:
    """A page is in the file's cache for all (``shmem_get_folio_gfp()``), and in each one's rss."""
    alone, four = sharing(1), sharing(3)
    assert [proc.mm.rss() - proc.mm.BASE_RSS for proc in four.procs] == [
        pytest.approx(100 * MB, abs=34)
    ] * 4
    shmem = accounting.memory(four).shmem_pages - four.rootfs
    assert shmem == pytest.approx(100 * MB, abs=34)
    # What two children more take: their kernel memory and page tables, of the mapping as well.
    more = alone.free - four.free
    assert more == pytest.approx(2 * (6 + alone.procs[1].mm.tables), abs=40)
    assert four.committed == pytest.approx(100 * MB)


def test_it_is_there_until_the_last_of_them_has_gone() -> None:
    steps = [{"reserve": "100M", "shared": True}, {"share": "60M"}, {"fork": 1}, {"share": "40M"},
             {"hold": "2s"}]  # fmt: skip
    parent = {"name": "pg", "steps": steps}
    record = run(parent, {"name": "clock", "steps": [{"hold": "9s"}]})
    free = dict(zip(record.samples.t_s, record.samples.free_mb, strict=True))
    assert free[1.0] + 99.0 < free[8.0]
    assert record.samples.tasks["pg/1"].rss_mb[1] == pytest.approx(40 + 185 / MB, abs=0.2)


def test_shared_memory_that_was_reserved_is_refused_in_whole() -> None:
    record = run(
        {"name": "pg", "steps": [{"reserve": "400M", "shared": True}, HOLD]},
        vm={"overcommit_memory": 2, "overcommit_ratio": 50},
    )
    assert [(one.call, one.mb) for one in record.denied] == [("mmap", 400.0)]


ZRAM = {"ram": "512M", "zram": "200M"}
COST = 1 / 3 + 0.018
"""What a page takes in zram that compresses 3:1: what is left of it, and what holds that."""

LEAK = {"name": "leak", "steps": [{"touch": "2G", "rate": "100M/s"}, HOLD]}


def test_zram_takes_memory_and_no_disk() -> None:
    """``zram_write_page()`` compresses in the context of whoever swaps out."""
    tasks = [{"name": "t", "steps": [{"touch": "500M", "rate": "100M/s"}, HOLD]}]
    plain = machine_at_end({"name": "t", "steps": [{"touch": "300M", "rate": "100M/s"}, HOLD]})
    machine = machine_at_end(*tasks, machine={**ZRAM, "disk": "1M/s"})
    used = machine.swap_used()
    assert 20 * MB < used < 200 * MB
    assert machine.compressed.used == pytest.approx(used)
    assert machine.compressed.held == pytest.approx(used * COST)
    # 500 MB as fast as without swap, although the disk would have taken a minute.
    assert machine.now == pytest.approx(5.0, abs=0.3)
    taken = 500 * MB - used + used * COST
    assert plain.free - machine.free == pytest.approx(taken - 300 * MB, rel=0.01)
    (proc,) = machine.procs
    faults = 500 * (1 + 1 / 512) / 1024
    assert proc.cpu_s == pytest.approx(faults + used / MB * 3.34 / 1024, rel=0.1)


def size_at_kill(**machine: Any) -> float:
    (kill,) = run(LEAK, machine={"ram": "512M", **machine}, duration="60s").kills
    return kill.freed_mb


def test_a_leak_grows_by_what_zram_saves() -> None:
    without = size_at_kill()
    assert size_at_kill(zram="200M") - without == pytest.approx(200 * (1 - COST), abs=2.0)
    saved = 200 * (1 - 1 / 1.5 - 0.018)
    assert size_at_kill(zram="200M", compression=1.5) - without == pytest.approx(saved, abs=2.0)


def test_the_disk_is_swapped_to_when_zram_is_full() -> None:
    engine = Engine(
        scenario(LEAK, machine={**ZRAM, "swap": "100M"}), seed=0, sample_s=1.0, audit=True,
        watch=lambda machine, _: seen.append((machine.compressed.used, machine.compressed.on_disk)),
    )  # fmt: skip
    seen: list[tuple[float, float]] = []
    engine.run()
    assert max(zram for zram, _ in seen) == pytest.approx(200 * MB, abs=2.0)
    assert max(disk for _, disk in seen) == pytest.approx(100 * MB, abs=260.0)
    assert all(disk < 1.0 for zram, disk in seen if 0.0 < zram < 199 * MB and not engine.oom.log())
    assert engine.machine.compressed.held == pytest.approx(0.0, abs=1e-6)


def test_what_leaves_swap_gives_zrams_memory_back() -> None:
    steps = [{"touch": "450M", "rate": "200M/s"}, {"hold": "2s"}, {"free": "all"}, HOLD]
    machine = machine_at_end({"name": "t", "steps": steps}, machine=ZRAM)
    empty = machine_at_end({"name": "t", "steps": [HOLD]}, machine=ZRAM)
    assert (machine.swap_used(), machine.compressed.held) == (0.0, 0.0)
    assert machine.free == pytest.approx(empty.free, abs=1.0)


def test_work_over_what_is_in_zram_costs_cpu_alone() -> None:
    """``zram_read_page()``: no disk, and no neighbours are read (``SWP_SYNCHRONOUS_IO``)."""
    tasks = [{"name": "t", "steps": [{"touch": "470M"}, {"work": "4s", "rate": "470M/s"}]}]
    slow = {"disk": "1M/s", "cpus": 1}
    with_zram = run(*tasks, machine={**ZRAM, **slow}, duration="100s")
    with_disk = run(*tasks, machine={"ram": "512M", "swap": "200M", **slow}, duration="100s")
    assert with_zram.outcome == "completed"
    assert with_zram.ended_s < 12.0
    assert with_disk.outcome != "completed"


@pytest.mark.parametrize("wrong", [1, 1.05, 101, True, "3"])
def test_a_compression_that_none_reaches_is_refused(wrong: object) -> None:
    with pytest.raises(ScenarioError, match=r"machine\.compression: expected a number from 1.1"):
        scenario({"name": "t", "steps": [HOLD]}, machine={"ram": "512M", "compression": wrong})


HUGE = {"touch": "100M", "hugetlb": True, "rate": "200M/s"}


def with_huge(*tasks: dict[str, Any], pages: int = 60) -> Machine:
    return machine_at_end(*tasks, vm={"nr_hugepages": pages})


def test_huge_pages_set_aside_are_no_rss_no_charge_and_nobody_elses() -> None:
    """``alloc_pool_huge_folio()`` takes them; no counter of rss has them, nor has Committed_AS."""
    idle = {"name": "t", "steps": [HOLD]}
    user = {"name": "t", "steps": [HUGE, HOLD]}
    none, unused, used = with_huge(idle, pages=0), with_huge(idle), with_huge(user)
    assert none.free - unused.free == 60 * 512
    assert used.free == unused.free
    assert rss_mb(used) == [0.0]
    assert (used.committed, used.hugetlb_reserved) == (unused.committed, 100 * MB)
    assert accounting.memory(used).hugetlb_pages == 60 * 512
    assert accounting.memory(none).hugetlb_pages == 0
    assert used.now == pytest.approx(0.5, abs=0.01)


def test_more_than_were_set_aside_is_refused_as_it_is_mapped() -> None:
    """``hugetlb_acct_memory()``: in pages of 2 MB, the whole mapping, before any is touched."""
    late = {"name": "late", "start": "1s", "steps": [{"touch": "19M", "hugetlb": True}, HOLD]}
    first = {"name": "first", "steps": [HUGE, HOLD]}
    record = run(first, late, vm={"nr_hugepages": 60})
    assert record.denied == ()
    record = run(first, late, vm={"nr_hugepages": 59})
    assert [(one.task, one.call, one.limit) for one in record.denied] == [
        ("late", "mmap", "huge pages left 18.0 MiB")
    ]


def test_an_exit_gives_them_back_to_the_pool_and_the_pool_can_be_made_smaller() -> None:
    tasks: list[dict[str, Any]] = [
        {"name": "t", "steps": [HUGE, {"hold": "4s"}]},
        {"name": "clock", "steps": [{"hold": "9s"}]},
    ]
    record = run(
        *tasks,
        vm={"nr_hugepages": 60},
        at=[{"t": "2s", "vm": {"nr_hugepages": 10}}, {"t": "7s", "vm": {"nr_hugepages": 10}}],
    )
    free = dict(zip(record.samples.t_s, record.samples.free_mb, strict=True))
    assert free[3.0] - free[1.0] == pytest.approx(20.0, abs=0.1)
    assert free[6.0] - free[3.0] == pytest.approx(0.0, abs=0.1)
    assert free[8.0] - free[6.0] == pytest.approx(80.0, abs=0.1)


def test_badness_does_not_know_of_them() -> None:
    record = run(
        {"name": "database", "steps": [HUGE, {"touch": "20M"}, HOLD]},
        {"name": "worker", "steps": [{"touch": "50M"}, HOLD]},
        {"name": "leak", "oom_score_adj": -900, "steps": [{"touch": "1G", "rate": "50M/s"}]},
        vm={"nr_hugepages": 60},
    )
    assert [kill.task for kill in record.kills[:2]] == ["worker", "database"]
    assert record.kills[1].freed_mb == pytest.approx(20.0, abs=0.5)


@pytest.mark.parametrize("beside", [{"stride": "2M"}, {"scatter": 2}])
def test_huge_pages_are_touched_whole(beside: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match=r"task\[0\]\.steps\[0\]\.(hugetlb|scatter): expected"):
        scenario({"name": "t", "steps": [{"touch": "10M", "hugetlb": True, **beside}]})
