"""zswap: a pool of compressed pages in front of the disk's swap (mm/zswap.c, 6.12)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.model.accounting import lines
from oomkit.model.compressed_swap import ZSWAP_ENTRY, ZSWAP_OVERHEAD
from oomkit.model.domains import count_usage
from oomkit.model.engine import Engine
from oomkit.model.machine import Machine
from oomkit.model.solve import Rates
from oomkit.scenario.read import ScenarioError, read_scenario, scenario_from

ROOT = Path(__file__).parents[2]
MB = 256.0
HOLD = {"hold": "forever"}
POOL = 1 / 3 + ZSWAP_OVERHEAD
"""What a page takes in the pool that compresses 3:1."""

GROUP = {"name": "a", "max": "100M"}


class Watched:
    """The most that was ever in the pool, and how often it ran full."""

    def __init__(self) -> None:
        self.most = 0.0
        self.full = 0
        self.on_disk = 0.0
        self.lowest_after_full = float("inf")
        self._was_full = False

    def __call__(self, machine: Machine, rates: Rates) -> None:
        self.most = max(self.most, machine.compressed.used)
        self.on_disk = max(self.on_disk, machine.compressed.on_disk)
        if machine.compressed.full and not self._was_full:
            self.full += 1
        if self.full:
            self.lowest_after_full = min(self.lowest_after_full, machine.compressed.used)
        self._was_full = machine.compressed.full


def played(
    *steps: dict[str, Any], groups: tuple[dict[str, Any], ...] = (), **machine: Any
) -> tuple[Engine, Watched]:
    raw = {
        "name": "x",
        "duration": "60s",
        "machine": {
            "ram": "1G",
            "swap": "1G",
            "zswap": True,
            "cpus": 4,
            "disk": "20M/s",
            **machine,
        },
        "task": [{"name": "t", **({"cgroup": "a"} if groups else {}), "steps": list(steps)}],
        "cgroup": list(groups),
    }
    seen = Watched()
    engine = Engine(scenario_from(raw), seed=0, sample_s=0.5, audit=True, watch=seen)
    engine.run()
    return engine, seen


def grows(size: str, **more: Any) -> dict[str, Any]:
    return {"touch": size, "rate": "100M/s", **more}


def test_meminfo_shows_the_pool_and_what_is_in_it() -> None:
    """200 MB above a limit of 100: a third of them, and what holds that, are in the pool."""
    engine, _ = played(grows("250M"), HOLD, groups=(GROUP,), kernel="5.18")
    pool, pages = lines(engine.machine)
    assert pages / MB == pytest.approx(150.0, abs=1.0)
    assert pool == pytest.approx(pages * POOL)
    assert engine.machine.compressed.held == pytest.approx(pages * (POOL + ZSWAP_ENTRY))
    assert engine.machine.compressed.on_disk == pytest.approx(0.0, abs=1e-6)
    samples = engine.sampler.samples()
    assert samples.lines_mb["Zswapped"][-1] == pytest.approx(150.0, abs=1.0)


def test_its_pages_have_slots_on_the_disk() -> None:
    """SwapTotal is the disk's alone, and SwapFree falls by what is in the pool."""
    engine, _ = played(grows("250M"), HOLD, groups=(GROUP,))
    machine = engine.machine
    assert machine.swap_total == 1024 * MB
    assert machine.swap_left() == pytest.approx(machine.swap_total - machine.compressed.used)


def test_a_cgroup_is_charged_for_it_from_5_19_on() -> None:
    """So what is left of its limit is less: x resident + (250 - x) compressed = 100."""
    cost = POOL + ZSWAP_ENTRY
    tables = 250.0 / 512
    resident = (100.0 - tables - 250.0 * cost) / (1.0 - cost)
    for kernel, expected in (("5.18", 100.0 - tables), ("5.19", resident), ("6.12", resident)):
        engine, _ = played(grows("250M"), HOLD, groups=(GROUP,), kernel=kernel)
        machine = engine.machine
        assert machine.procs[0].mm.anon.resident / MB == pytest.approx(expected, abs=0.7)
        count_usage(machine)
        assert machine.groups["a"].usage <= 100.0 * MB + 1.0
        assert not engine.oom.log()


def test_a_cgroup_dies_of_its_compressed_pages_alone() -> None:
    """With swap without end its limit holds 100 MB / cost, where without zswap it held all."""
    engine, _ = played(grows("400M"), HOLD, groups=(GROUP,))
    assert engine.oom.log()
    assert not played(grows("400M"), HOLD, groups=(GROUP,), zswap=False)[0].oom.log()


def test_the_pool_is_no_larger_than_its_share_of_memory() -> None:
    engine, seen = played(grows("1500M"), HOLD, zswap_max_pool_percent=10)
    most = engine.machine.total * 0.1 / POOL
    assert seen.most == pytest.approx(most, rel=0.001)
    assert seen.on_disk > 100 * MB


def test_a_full_pool_takes_pages_again_below_nine_tenths() -> None:
    """``accept_threshold_percent``: the worker writes a tenth of it to disk first."""
    engine, seen = played(grows("1500M"), HOLD, zswap_max_pool_percent=3)
    assert seen.full > 1
    accepts = 0.9 * engine.machine.compressed.total
    assert seen.lowest_after_full == pytest.approx(accepts, rel=0.01)


def test_what_fits_into_the_pool_costs_no_disk() -> None:
    """150 MB to a disk of 1 MB/s would take minutes."""
    engine, _ = played(grows("250M"), {"exit": 0}, groups=(GROUP,), disk="1M/s", kernel="5.18")
    assert engine.machine.now == pytest.approx(2.5, abs=0.3)
    slow, _ = played(
        grows("250M"), {"exit": 0}, groups=(GROUP,), disk="1M/s", kernel="5.18", zswap=False
    )
    assert slow.machine.now > 30.0


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({"swap": 0}, "expected swap, whose slots its pages take"),
        ({"zram": "64M"}, "expected no zram beside it: one of them compresses"),
    ],
)
def test_what_zswap_needs_and_does_not_go_with(machine: dict[str, Any], expected: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        played(HOLD, **machine)
    assert caught.value.lines() == [f"scenario: machine.zswap: {expected}"]


@settings(max_examples=15, deadline=None)
@given(
    grown=st.integers(50, 900),
    freed=st.integers(1, 600),
    percent=st.sampled_from([1, 20, 40]),
    compression=st.sampled_from([1.1, 3, 8]),
    limit=st.sampled_from([None, "60M", "300M"]),
    kernel=st.sampled_from(["5.10", "6.12"]),
)
def test_memory_is_conserved(
    grown: int, freed: int, percent: int, compression: float, limit: str | None, kernel: str
) -> None:
    """The audit at each event adds all pages up; the pool stays within its bounds."""
    engine, seen = played(
        grows(f"{grown}M"),
        {"work": "1s"},
        {"free": f"{freed}M"},
        grows("50M"),
        {"fork": 1},
        {"work": "1s"},
        groups=() if limit is None else ({"name": "a", "max": limit},),
        ram="256M",
        swap="512M",
        zswap_max_pool_percent=percent,
        compression=compression,
        kernel=kernel,
    )
    assert seen.most <= engine.machine.compressed.total + 1.0
    assert (
        engine.machine.compressed.used + engine.machine.compressed.on_disk
        <= engine.machine.swap_total + 1
    )


def test_as_6_12_played_it() -> None:
    """Debian's 6.12.117 in QEMU: the leak died at 22.9 s; the pool was 46.4 MB at most."""
    scenario = read_scenario(str(ROOT / "scenarios" / "zswap.toml"))
    engine = Engine(scenario, seed=0, sample_s=0.1, audit=True)
    engine.run()
    (kill,) = engine.lifecycle.kills
    assert kill.task == "leak"
    assert 22.9 / 1.3 <= kill.t_s <= 22.9 * 1.3
    samples = engine.sampler.samples()
    assert max(samples.lines_mb["Zswap"]) == pytest.approx(46.41, rel=0.01)
    assert max(samples.lines_mb["Zswapped"]) == pytest.approx(127.2, rel=0.02)
    begins = next(t for t, kb in zip(samples.t_s, samples.lines_mb["Zswap"], strict=True) if kb)
    assert begins == pytest.approx(11.4, rel=0.05)
