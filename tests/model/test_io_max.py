"""A cgroup's io.max (block/blk-throttle.c): what waits for it, and what does not."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.model.engine import Engine
from oomkit.model.pools import Group
from oomkit.model.reclaim import spread
from oomkit.scenario.read import scenario_from

MB = 256.0

DISK = {"ram": "1G", "disk": "100M/s", "cpus": 4, "read_rate": "10G/s", "first_read_rate": "10G/s"}


def played(
    tasks: list[dict[str, Any]],
    groups: list[dict[str, Any]],
    *,
    at: tuple[dict[str, Any], ...] = (),
    **machine: Any,
) -> Engine:
    raw = {
        "name": "x",
        "machine": {**DISK, **machine},
        "task": tasks,
        "cgroup": groups,
        "at": list(at),
    }
    engine = Engine(scenario_from(raw), seed=0, sample_s=0.5, audit=True)
    engine.run()
    return engine


def ended(engine: Engine) -> float:
    """When the last task had gone through its steps."""
    return engine.machine.now


def reader(name: str, size: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "steps": [{"read": size}], **keys}


def test_reads_wait_for_rbps() -> None:
    """40 MB at 4 MB/s are 10 s, of a disk that would take 0.4 s."""
    groups = [{"name": "a", "io_max": {"rbps": "4M/s"}}]
    engine = played([reader("one", "40M", cgroup="a")], groups)
    assert ended(engine) == pytest.approx(10.0, abs=0.01)


def test_two_readers_share_what_a_group_may_read() -> None:
    groups = [{"name": "a", "io_max": {"rbps": "4M/s"}}]
    tasks = [reader(name, "20M", cgroup="a") for name in ("one", "two")]
    assert ended(played(tasks, groups)) == pytest.approx(10.0, abs=0.02)


def test_a_group_above_holds_those_below_it_together() -> None:
    """Each may read 8 MB/s, both together 8: 40 MB take 5 s."""
    limit = {"rbps": "8M/s"}
    groups = [{"name": name, "io_max": limit} for name in ("a", "a/b", "a/c")]
    del groups[1]["io_max"]
    tasks = [reader("one", "20M", cgroup="a/b"), reader("two", "20M", cgroup="a/b")]
    assert ended(played(tasks, groups)) == pytest.approx(5.0, abs=0.02)


def test_a_limit_above_the_disk_changes_nothing() -> None:
    groups = [{"name": "a", "io_max": {"rbps": "400M/s"}}]
    tasks = [reader("one", "100M", cgroup="a"), reader("two", "100M")]
    without = [{"name": "a"}]
    assert ended(played(tasks, groups)) == pytest.approx(ended(played(tasks, without)), abs=1e-6)


def test_what_a_group_may_not_read_is_left_to_others() -> None:
    """100 MB/s of which one group takes 10: 180 MB of another take 2 s."""
    groups = [{"name": "a", "io_max": {"rbps": "10M/s"}}]
    tasks = [reader("one", "100M", cgroup="a"), reader("two", "180M")]
    engine = played(tasks, groups)
    samples = engine.sampler.samples()
    done = [t for t, p in zip(samples.t_s, samples.tasks["two/0"].progress, strict=True) if p >= 1]
    assert done[0] == pytest.approx(2.0, abs=0.5)
    assert ended(engine) == pytest.approx(10.0, abs=0.1)


def test_a_limit_is_lifted_in_the_middle() -> None:
    """5 s at 4 MB/s are 20 MB; the other 20 come at 20 MB/s in 1 s."""
    groups = [{"name": "a", "io_max": {"rbps": "4M/s"}}]
    at = ({"t": "5s", "cgroup": {"a": {"io_max": {"rbps": "20M/s"}}}},)
    engine = played([reader("one", "40M", cgroup="a")], groups, at=at)
    assert ended(engine) == pytest.approx(6.0, abs=0.02)


def test_what_is_cached_is_read_without_waiting() -> None:
    groups = [{"name": "a", "io_max": {"rbps": "4M/s"}}]
    step = {"read": "40M", "file": "f"}
    tasks = [
        {"name": "first", "steps": [step]},
        {"name": "then", "cgroup": "a", "start": "2s", "steps": [step]},
    ]
    assert ended(played(tasks, groups)) == pytest.approx(2.0, abs=0.1)


GROWS = {
    "name": "grows",
    "cgroup": "a",
    "steps": [{"touch": "164M", "rate": "100M/s"}, {"exit": 0}],
}
LIMITED = {"name": "a", "max": "64M", "io_max": {"wbps": "4M/s"}}


@pytest.mark.parametrize(("kernel", "seconds"), [("6.1", 25.0), ("6.11", 25.0), ("6.12", 0.9)])
def test_what_is_swapped_out_waits_for_wbps_until_6_12(kernel: str, seconds: float) -> None:
    """100 MB above the limit at 4 MB/s are 25 s; from 6.12 on they are written in debt.

    6.1.0-57 took 27 s for 96 MB, 6.12.117 four, at 20 MB/s.
    """
    engine = played([GROWS], [LIMITED], swap="512M", kernel=kernel)
    assert not engine.oom.log()
    assert ended(engine) == pytest.approx(0.64 + seconds, rel=0.15)


def test_others_pages_are_swapped_out_where_one_group_waits() -> None:
    """The machine reclaims from two, of which one may only be written at 1 MB/s."""
    tasks = [
        {"name": "slow", "cgroup": "a", "steps": [{"touch": "200M"}, {"hold": "forever"}]},
        {"name": "other", "steps": [{"touch": "200M"}, {"hold": "forever"}]},
        {
            "name": "late",
            "start": "2s",
            "steps": [{"touch": "150M", "rate": "50M/s"}, {"hold": "forever"}],
        },
    ]
    groups = [{"name": "a", "io_max": {"wbps": "1M/s"}}]
    engine = played(tasks, groups, ram="512M", swap="512M", kernel="6.1")
    swapped = {p.spec.name: p.mm.swap() / MB for p in engine.machine.procs}
    assert swapped["slow"] < 12.0
    assert swapped["other"] > 50.0


def test_a_file_is_written_back_at_wbps() -> None:
    """Writers of the group wait for its flusher (``balance_dirty_pages()``), others do not."""
    groups = [{"name": "a", "io_max": {"wbps": "2M/s"}}]
    write = {"write": "60M"}
    slow = {"name": "slow", "cgroup": "a", "steps": [write]}
    vm = {"dirty_ratio": 1, "dirty_background_ratio": 1}
    raw = {"name": "x", "duration": "2m", "machine": DISK, "vm": vm, "task": [slow]}
    seconds = {}
    for limited in (groups, [{"name": "a"}]):
        engine = Engine(scenario_from({**raw, "cgroup": limited}), seed=0, sample_s=1.0, audit=True)
        engine.run()
        seconds[len(limited[0])] = ended(engine)
    # About 10 MB may be dirty; the other 50 go at 2 MB/s.
    assert seconds[2] == pytest.approx(25.0, rel=0.1)
    assert seconds[1] < 2.0


groups_of = st.lists(st.floats(0.5, 500.0), min_size=1, max_size=4)


@given(
    total=st.floats(0.0, 1000.0),
    limits=groups_of,
    wanted=st.lists(
        st.tuples(st.just(0.0) | st.floats(1e-6, 100.0), st.integers(-1, 3)), max_size=8
    ),
)
def test_no_limit_is_passed_and_nothing_is_lost(
    total: float, limits: list[float], wanted: list[tuple[float, int]]
) -> None:
    groups = [Group(str(i), None) for i in range(len(limits))]
    for group, limit in zip(groups, limits, strict=True):
        group.io_write_pages_s = limit
    whose = [groups[i] if 0 <= i < len(groups) else None for _, i in wanted]
    amounts = [amount for amount, _ in wanted]
    given_ = spread(total, amounts, whose)
    sums: dict[Group | None, float] = defaultdict(float)
    for pages, whose_limit in zip(given_, whose, strict=True):
        assert pages >= 0.0
        sums[whose_limit] += pages
    for group in groups:
        assert sums[group] <= group.io_write_pages_s * (1 + 1e-9)
    used = {one for one, amount in zip(whose, amounts, strict=True) if amount > 0.0}
    if None in used:
        assert sum(given_) == pytest.approx(total, rel=1e-9, abs=1e-9)
    else:
        most = sum(one.io_write_pages_s for one in used if one is not None)
        assert sum(given_) == pytest.approx(min(total, most), rel=1e-9, abs=1e-9)
