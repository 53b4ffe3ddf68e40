"""What programs do with memory besides writing to it, each worked out by hand."""

from typing import Any

import pytest

from oomkit.model import play
from oomkit.model.engine import Engine
from oomkit.model.machine import Machine
from oomkit.scenario import Run, scenario_from

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
    gained = (lazy.memory().available_pages or 0) - (full.memory().available_pages or 0)
    assert gained == pytest.approx(60 * MB - kept, abs=2)
    assert lazy.memory().anon_pages == full.memory().anon_pages


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
    shmem = four.memory().shmem_pages - four.rootfs
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
