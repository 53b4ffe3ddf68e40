"""Transparent huge pages: who gets them, what they take, what comes of them (mm/huge_memory.c)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.model.accounting import lines
from oomkit.model.engine import Engine
from oomkit.model.huge_pages import HUGE_COST
from oomkit.scenario.read import read_scenario, scenario_from

ROOT = Path(__file__).parents[2]
MB = 256.0
HOLD = {"hold": "forever"}


def played(
    *steps: dict[str, Any],
    task: dict[str, Any] | None = None,
    others: tuple[dict[str, Any], ...] = (),
    groups: tuple[dict[str, Any], ...] = (),
    **machine: Any,
) -> Engine:
    raw = {
        "name": "x",
        "duration": "60s",
        "machine": {"ram": "1G", "thp": "always", "cpus": 4, **machine},
        "task": [{"name": "t", **(task or {}), "steps": [*steps, HOLD]}, *others],
        "cgroup": list(groups),
    }
    engine = Engine(scenario_from(raw), seed=0, sample_s=0.1, audit=True)
    engine.run()
    return engine


def huge_mb(engine: Engine) -> float:
    return lines(engine.machine)[0] / MB


def anon_mb(engine: Engine) -> float:
    mm = engine.machine.procs[0].mm
    return (mm.anon.resident + mm.anon.swapped) / MB


def table(size: str, stride: str | None = None, **more: Any) -> tuple[dict[str, Any], ...]:
    touch = {"touch": size, **more}
    return {"reserve": size}, touch if stride is None else {**touch, "stride": stride}


def test_a_reserved_heap_is_all_in_huge_pages() -> None:
    engine = played(*table("200M"))
    assert huge_mb(engine) == pytest.approx(200.0)
    assert anon_mb(engine) == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("stride", "held"), [("4K", 256.0), ("64K", 256.0), ("2M", 256.0), ("8M", 64.0)]
)
def test_a_sparse_table_takes_all_that_its_huge_pages_hold(stride: str, held: float) -> None:
    """Of 256 MB one page in each 2 MB brings the other 511; one in each 8 MB a fourth of them."""
    engine = played(*table("256M", stride))
    assert anon_mb(engine) == pytest.approx(held)
    small = played(*table("256M", stride), thp="never")
    assert anon_mb(small) == pytest.approx(256.0 * 4 / {"4K": 4, "64K": 64}.get(stride, 2048)
                                           if stride != "8M" else 32 / 256)  # fmt: skip


def test_memory_mapped_a_megabyte_at_a_time_has_no_room_for_one() -> None:
    assert huge_mb(played({"touch": "200M"})) == 0.0


def test_large_pieces_have() -> None:
    """An allocator that maps 16 strides of 128 KB at a time maps 2 MB."""
    assert anon_mb(played({"touch": "128M", "stride": "128K"})) == pytest.approx(128.0)
    assert anon_mb(played({"touch": "128M", "stride": "64K"})) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("machine", "task", "huge"),
    [
        ("always", None, 64.0),
        ("always", "madvise", 64.0),
        ("always", "never", 0.0),
        ("madvise", None, 0.0),
        ("madvise", "madvise", 64.0),
        ("madvise", "never", 0.0),
    ],
)
def test_who_gets_them(machine: str, task: str | None, huge: float) -> None:
    own = {"thp": task} if task is not None else {}
    assert huge_mb(played(*table("64M"), task=own, thp=machine)) == pytest.approx(huge)


def test_what_was_read_before_is_written_to_page_by_page() -> None:
    """The zero page's huge mapping is split by the first write (6.12)."""
    engine = played({"reserve": "64M"}, {"peek": "64M"}, {"touch": "64M"})
    assert huge_mb(engine) == 0.0
    assert anon_mb(engine) == pytest.approx(64.0)


def test_a_huge_fault_costs_its_share_of_small_ones() -> None:
    times = {
        thp: 1.0 / played(*table("512M"), thp=thp, fault_rate="256M/s").machine.procs[0].cpu_s
        for thp in ("never", "always")
    }
    small, huge = 1 / times["never"], 1 / times["always"]
    tables = 1 / 512
    assert small == pytest.approx(2.0 * (1 + tables))
    assert huge == pytest.approx(2.0 * (HUGE_COST + tables))


def test_a_group_at_its_limit_faults_small_pages() -> None:
    """``mem_cgroup_charge()`` of a huge page fails without reclaim, so the fault falls back."""
    engine = played(
        *table("256M", "64K", rate="64M/s"),
        task={"cgroup": "a"},
        groups=({"name": "a", "max": "100M"},),
        swap="1G",
    )
    resident = engine.machine.procs[0].mm.anon.resident / MB
    assert not engine.oom.log()
    assert resident < 100.0
    # 98 MB or so in huge pages, then a page in each 64 KB of the other 158.
    assert anon_mb(engine) == pytest.approx(98 + 158 / 16, abs=2.5)


def test_who_asks_gets_them_at_the_limit_by_reclaim() -> None:
    engine = played(
        *table("256M", "64K", rate="64M/s"),
        task={"cgroup": "a", "thp": "madvise"},
        groups=({"name": "a", "max": "100M"},),
        swap="1G",
    )
    assert anon_mb(engine) == pytest.approx(256.0, abs=1.0)


def test_who_swaps_huge_pages_out_gets_their_blocks() -> None:
    """On 6.12 they went on coming 2 MB at a time until the swap was full."""
    engine = played(*table("2G", "64K", rate="500M/s"), swap="2G")
    assert not engine.oom.log()
    assert anon_mb(engine) == pytest.approx(2048.0, abs=1.0)


def test_what_is_reclaimed_in_small_pages_gives_none() -> None:
    """Half of the memory is page cache when the table grows into it."""
    reader = {"name": "reader", "steps": [{"read": "500M"}, HOLD]}
    engine = played(
        {"hold": "10s"}, *table("800M", "64K", rate="500M/s"), others=(reader,), swap="1G"
    )
    left = engine.machine.total / MB - 500.0
    assert left * 0.7 < anon_mb(engine) < left + 50.0


def test_what_is_swapped_out_is_split() -> None:
    late = {"name": "late", "start": "5s", "steps": [{"touch": "500M"}, HOLD]}
    engine = played(*table("600M"), others=(late,), swap="1G")
    mm = engine.machine.procs[0].mm
    assert mm.anon.swapped / MB > 100.0
    assert mm.anon.huge == pytest.approx(mm.anon.resident, rel=1e-6)


def test_a_fork_shares_them_and_exits_give_them_back() -> None:
    engine = played(*table("64M"), {"fork": 2})
    assert huge_mb(engine) == pytest.approx(64.0)
    ended = played(*table("64M"), {"exit": 0})
    assert huge_mb(ended) == 0.0


def test_samples_have_the_line_where_there_are_any() -> None:
    samples = played(*table("64M"), {"hold": "1s"}).sampler.samples()
    assert samples.lines_mb["AnonHugePages"][-1] == pytest.approx(64.0)
    without = played(*table("64M"), thp="never").sampler.samples()
    assert without.lines_mb == {}


sizes = st.integers(1, 300).map(lambda mb: f"{mb}M")


@settings(max_examples=25, deadline=None)
@given(
    reserved=sizes,
    touched=sizes,
    freed=sizes,
    stride=st.sampled_from(["4K", "32K", "512K", "2M", "3M"]),
    thp=st.sampled_from(["always", "madvise"]),
    asks=st.sampled_from([{}, {"thp": "madvise"}]),
    forks=st.integers(1, 3),
)
def test_memory_is_conserved(
    reserved: str, touched: str, freed: str, stride: str, thp: str, asks: dict[str, str], forks: int
) -> None:
    """The audit at each event adds up all pages; huge ones are never more than the resident."""
    engine = played(
        {"reserve": reserved},
        {"touch": touched, "stride": stride, "rate": "400M/s"},
        {"fork": forks},
        {"touch": reserved, "rate": "200M/s"},
        {"free": freed},
        task=asks,
        ram="512M",
        swap="256M",
        thp=thp,
    )
    for pool in engine.machine.pools():
        assert -1e-6 <= pool.huge <= pool.resident + 1e-6


def test_as_6_12_played_it() -> None:
    """Debian's 6.12.117 in QEMU: redis died at 8.9 s (in another run 10.0 s) with 363 MB."""
    scenario = read_scenario(str(ROOT / "scenarios" / "thp.toml"))
    engine = Engine(scenario, seed=0, sample_s=0.1, audit=True)
    engine.run()
    (kill,) = engine.lifecycle.kills
    assert kill.task == "redis"
    assert 8.9 / 1.3 <= kill.t_s <= 10.0 * 1.3
    samples = engine.sampler.samples()
    at = samples.t_s.index(6.0)
    assert samples.lines_mb["AnonHugePages"][at] == pytest.approx(288.0, abs=10.0)
    assert samples.tasks["redis/0"].rss_mb[at] == pytest.approx(192.8, abs=10.0)
    assert samples.swap_free_mb[at] == 64.0
    assert max(samples.tasks["redis/0"].rss_mb) == pytest.approx(363.3, rel=0.05)
