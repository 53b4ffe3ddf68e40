"""Scenarios that nobody would write, but the format allows: they play or are refused in words."""

import json
import math
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oomkit.kernel.versions import history
from oomkit.model import ModelError, play
from oomkit.scenario import scenario_from
from oomkit.scenario.record import from_json, to_json

SIZE = st.sampled_from(["300M", "3G", "64M", "50G", "7M", "900T", "100K", "4095B", "1B", 0])
RATE = st.sampled_from(["50M/s", "400M/s", "100G/s", "1M/s", "900T/s", "1B/s"])
HARDWARE = st.sampled_from(["200M/s", "1M/s", "1G/s", "1B/s"])
TIME = st.sampled_from(["0s", "10ms", "100ms", "1s", "7s", "30d"])
SOON = st.sampled_from(["0s", "10ms", "100ms", "1s"])
SPAN = st.sampled_from(["1s", "1ms", "3s", "10d"])
ADJ = st.sampled_from([-1000, -999, 0, 1, 1000])
TASKS = ("a", "b", "c")
GROUPS = ("g", "g/h", "g/h/i", "k")
KERNELS = st.sampled_from([row.rules.name for row in history()])


def paced(verb: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    rated = st.fixed_dictionaries({verb: SIZE}, optional={"rate": RATE, **more})
    return rated | st.fixed_dictionaries({verb: SIZE, "over": SPAN}, optional=more)


FILE = st.sampled_from(["f", "g"])
STEP = st.one_of(
    st.fixed_dictionaries({"touch": st.just("300M")}, optional={"hugetlb": st.booleans()}),
    paced("touch", stride=st.sampled_from(["4K", "5000B", "2M", "1G"])),
    paced("peek", stride=st.sampled_from(["4K", "2M"])),
    *(paced(verb) for verb in ("share", "tmpfs", "lock")),
    *(paced(verb, file=FILE) for verb in ("read", "write")),
    st.fixed_dictionaries({"reserve": SIZE}, optional={"shared": st.booleans()}),
    st.fixed_dictionaries({"free": SIZE | st.just("all")}, optional={"lazy": st.booleans()}),
    st.fixed_dictionaries(
        {"work": TIME | st.just("forever")}, optional={"set": SIZE, "rate": RATE, "file": FILE}
    ),
    st.fixed_dictionaries({"hold": TIME | st.just("forever")}),
    st.fixed_dictionaries({"fork": st.integers(1, 3)}),
    st.fixed_dictionaries({"exit": st.sampled_from([0, 255])}),
)
STEPS = st.lists(STEP, min_size=1, max_size=5)

PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "count": st.integers(1, 4),
    "start": SOON,
    "every": SOON,
    "jitter": TIME,
    "spread": st.just(0.9),
    "oom_score_adj": ADJ,
    "oom_adj": st.sampled_from([-17, -16, 0, 15]),
    "uid": st.sampled_from([0, 2**32 - 2]),
    "nice": st.sampled_from([-20, 19]),
    "threads": st.sampled_from([1, 100_000]),
    "program": SIZE,
    "cgroup": st.sampled_from(GROUPS),
    "role": st.sampled_from(["innocent", "culprit", "protected"]),
    "loops": st.integers(1, 3),
    "thp": st.sampled_from(["madvise", "never"]),
    "restart": st.just("1s"),
    "shares_mm_with": st.sampled_from(TASKS),
}
TASK = st.fixed_dictionaries(
    {"steps": STEPS},
    optional={
        **PLAIN,
        "children": st.lists(
            st.fixed_dictionaries({"steps": STEPS}, optional=PLAIN), min_size=1, max_size=2
        ),
    },
)
GROUP = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([1, 2]),
        "max": SIZE,
        "high": SIZE,
        "low": SIZE,
        "swap_max": SIZE,
        "memsw_max": SIZE,
        "swappiness": st.sampled_from([0, 100]),
        "oom_group": st.booleans(),
        "oom_kill_disable": st.booleans(),
    },
)
IO = st.sampled_from(["4K/s", "1M/s", "100G/s"])
LIMITED_IO = st.fixed_dictionaries(
    {"io_max": st.fixed_dictionaries({}, optional={"rbps": IO, "wbps": IO})},
    optional={"max": SIZE, "high": SIZE},
)
FLAG = st.integers(0, 1)
VM = st.fixed_dictionaries(
    {},
    optional={
        "overcommit_memory": st.integers(0, 2),
        "overcommit_ratio": st.sampled_from([0, 10000]),
        "overcommit_kbytes": st.sampled_from([0, 1, 10**6]),
        "admin_reserve_kbytes": st.sampled_from([0, 10**9]),
        "user_reserve_kbytes": st.sampled_from([0, 10**9]),
        "panic_on_oom": st.integers(0, 2),
        "oom_kill_allocating_task": FLAG,
        "oom_killer_disabled": FLAG,
        "would_have_oomkilled": FLAG,
        "swappiness": st.sampled_from([0, 200]),
        "min_free_kbytes": st.sampled_from([1, 5000, 10**9]),
        "watermark_scale_factor": st.sampled_from([1, 3000]),
        "dirty_ratio": st.sampled_from([1, 100]),
        "dirty_background_ratio": st.sampled_from([0, 100]),
        "page-cluster": st.sampled_from([0, 10]),
        "nr_hugepages": st.sampled_from([0, 1, 200, 2**20]),
    },
)
AT = st.fixed_dictionaries(
    {"t": TIME},
    optional={
        "vm": VM,
        "task": st.dictionaries(
            st.sampled_from(TASKS),
            st.fixed_dictionaries({}, optional={"oom_score_adj": ADJ, "nice": st.just(-20)}),
        ),
        "cgroup": st.dictionaries(
            st.sampled_from(GROUPS),
            st.fixed_dictionaries({}, optional={"max": SIZE, "high": SIZE, "low": SIZE}),
        ),
        "machine": st.fixed_dictionaries({"swap": SIZE}),
    },
)
MACHINE = st.fixed_dictionaries(
    {
        "ram": st.sampled_from(["64M", "128M", "512M", "2G", "2T", "16M"]),
        "swap": st.sampled_from([0, "1B", "64M", "4T"]),
        "cpus": st.sampled_from([1, 2, 8192]),
        "kernel": KERNELS,
    },
    optional={
        "disk": HARDWARE,
        "zram": st.sampled_from(["1B", "64M", "1G"]),
        "compression": st.sampled_from([1.1, 3, 100]),
        "fault_rate": HARDWARE,
        "reserved": st.sampled_from([0, "8M", "900T"]),
        "kernel_memory": st.sampled_from([0, "8M"]),
        "programs": SIZE,
        "thp": st.sampled_from([True, False, "madvise"]),
        "hz": st.sampled_from([100, 1000]),
    },
)


@st.composite
def wild(draw: Any) -> dict[str, Any]:
    tasks = draw(st.lists(TASK, min_size=len(TASKS), max_size=len(TASKS)))
    named = []
    for name, task in zip(TASKS, tasks, strict=True):
        children = [{"name": f"{name}{i}", **c} for i, c in enumerate(task.get("children", []))]
        named.append({"name": name, **task, "children": children})
        if named[-1].get("shares_mm_with") == name:
            del named[-1]["shares_mm_with"]
    return {
        "name": "wild",
        "duration": draw(st.sampled_from(["1ms", "3s", "20s"])),
        "machine": draw(MACHINE),
        "vm": draw(VM),
        "task": named,
        "cgroup": [{"name": name, **draw(st.one_of(GROUP, LIMITED_IO))} for name in GROUPS],
        "at": draw(st.lists(AT, max_size=2)),
    }


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers(inner)]
    return [value] if isinstance(value, float) else []


PARTS = 4
"""Workers share the examples: each part draws all of them, and plays its own."""


@pytest.mark.parametrize("part", range(PARTS))
def test_plays_or_is_refused(part: int) -> None:
    """No crash, no page lost (audit), no negative amount; the record survives JSON."""

    @given(wild())
    @settings(
        max_examples=160, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    def plays(raw: dict[str, Any]) -> None:
        if crc32(json.dumps(raw).encode()) % PARTS == part:
            _plays_or_is_refused(raw)

    plays()


def _plays_or_is_refused(raw: dict[str, Any]) -> None:
    scenario = scenario_from(raw)
    try:
        run = play(scenario, audit=True)
    except ModelError:
        return
    assert from_json(to_json(run)) == run
    record = json.loads(to_json(run))
    assert all(math.isfinite(n) and n >= 0.0 for n in numbers(record))
    assert len({len(task.rss_mb) for task in run.samples.tasks.values()}) == 1
    assert run.ended_s <= scenario.duration_s + 1e-5
    assert list(run.kills) == sorted(run.kills, key=lambda kill: kill.t_s)
