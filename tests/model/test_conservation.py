"""What holds in every run, whatever the scenario."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oomkit.model import ModelError, accounting, play
from oomkit.model.engine import Engine
from oomkit.model.machine import Machine
from oomkit.model.solve import Rates, solve
from oomkit.scenario import Scenario, scenario_from
from oomkit.scenario.record import to_json

SIZE = st.integers(0, 900).map(lambda mb: f"{mb}M")
RATE = st.integers(1, 400).map(lambda mb: f"{mb}M/s")
SECONDS = st.integers(1, 5000).map(lambda ms: f"{ms}ms")


def paced(verb: str) -> st.SearchStrategy[dict[str, Any]]:
    plain = st.fixed_dictionaries({verb: SIZE}, optional={"rate": RATE})
    over = st.fixed_dictionaries({verb: SIZE, "over": SECONDS})
    return plain | over


STEP = st.one_of(
    paced("touch"),
    paced("share"),
    paced("tmpfs"),
    paced("lock"),
    paced("read"),
    paced("write"),
    st.fixed_dictionaries({"read": SIZE, "file": st.just("f")}),
    st.fixed_dictionaries({"touch": SIZE, "stride": st.sampled_from(["64K", "2M"])}),
    st.fixed_dictionaries({"reserve": SIZE}),
    st.fixed_dictionaries({"work": SECONDS}, optional={"set": SIZE, "file": st.just("f")}),
    st.fixed_dictionaries({"hold": SECONDS}),
    st.fixed_dictionaries({"free": SIZE | st.just("all")}),
    st.fixed_dictionaries({"fork": st.integers(1, 3)}),
)

TASK = st.fixed_dictionaries(
    {"steps": st.lists(STEP, max_size=5)},
    optional={
        "count": st.integers(1, 4),
        "start": SECONDS,
        "every": SECONDS,
        "spread": st.just(0.3),
        "oom_score_adj": st.sampled_from([-1000, -500, 0, 300, 1000]),
        "uid": st.sampled_from([0, 1000]),
        "nice": st.integers(-20, 19),
        "threads": st.integers(1, 4),
        "program": SIZE,
        "cgroup": st.sampled_from(["a", "a/b"]),
        "loops": st.integers(1, 3),
    },
)


def scenario(draw: Any) -> Scenario:
    return scenario_from(
        {
            "name": "random",
            "duration": "40s",
            "machine": {
                "ram": draw(st.sampled_from(["128M", "512M", "1G"])),
                "swap": draw(st.sampled_from(["0", "64M", "1G"])),
                "cpus": draw(st.integers(1, 4)),
                "kernel": draw(st.sampled_from(["2.6.32-article", "3.10", "4.18", "6.12"])),
                "programs": draw(st.sampled_from(["0", "20M"])),
            },
            "vm": {
                "swappiness": draw(st.sampled_from([0, 60, 200])),
                "overcommit_memory": draw(st.integers(0, 2)),
                "oom_killer_disabled": draw(st.integers(0, 1)),
                "oom_kill_allocating_task": draw(st.integers(0, 1)),
            },
            "cgroup": [
                {"name": "a", "max": draw(SIZE), "low": draw(SIZE)},
                {"name": "a/b", "high": draw(SIZE), "swap_max": draw(SIZE)},
            ],
            "task": [
                {"name": f"t{i}", **task}
                for i, task in enumerate(draw(st.lists(TASK, min_size=1, max_size=4)))
            ],
        }
    )


@st.composite
def scenarios(draw: Any) -> Scenario:
    return scenario(draw)


def rates_of(rates: Rates) -> list[tuple[float, ...]]:
    flows = [
        (flow.new, flow.refault, flow.evict, flow.release, flow.dirtied, flow.cleaned)
        for flow in rates.flows.values()
    ]
    tasks = [(demand.speed, demand.stall, demand.cpus_given) for demand in rates.demands]
    return [(rates.free_rate, rates.dirty_rate, rates.queue, rates.some), *tasks, *flows]


def check(machine: Machine, rates: Rates) -> None:
    """At every event the rates add up, and solving again gives the same."""
    assert rates_of(solve(machine)) == rates_of(rates)
    flows = [flow.net() + flow.dirtied - flow.cleaned for flow in rates.flows.values()]
    for demand in rates.demands:
        locks = demand.proc is not None and demand.proc.current.verb == "lock"
        flows.append((demand.tables + (demand.pace if locks else 0.0)) * demand.speed)
    scale = sum(map(abs, flows)) + abs(rates.free_rate)
    assert abs(sum(flows) + rates.free_rate) <= 1e-9 * scale + 1e-6
    spent = sum(d.cpus_given for d in rates.demands if d.proc is not None)
    assert spent <= machine.cpus + 1e-9
    for pool in machine.pools():
        assert pool.resident > -1e-6
        assert pool.swapped > -1e-6
        assert pool.dirty > -1e-6


@given(scenarios())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_pages_swap_and_cpu_are_conserved(chosen: Scenario) -> None:
    try:
        engine = Engine(chosen, seed=1, sample_s=1.0, audit=True, watch=check)
    except ModelError:
        return
    engine.run()
    swap = engine.machine.swap_total - accounting.memory(engine.machine).free_swap_pages
    owners = sum(pool.swapped for pool in engine.machine.pools())
    assert swap == pytest.approx(owners, abs=2)


@given(scenarios())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_same_file_gives_the_same_record(chosen: Scenario) -> None:
    try:
        first = to_json(play(chosen, seed=3))
    except ModelError:
        return
    assert to_json(play(chosen, seed=3)) == first


def test_the_seed_moves_only_what_is_declared_random() -> None:
    raw: dict[str, Any] = {
        "name": "n",
        "machine": {"ram": "512M"},
        "task": [{"name": "a", "count": 3, "steps": [{"touch": "300M", "rate": "50M/s"}]}],
    }
    fixed = scenario_from(raw)
    assert to_json(play(fixed, seed=1)) == to_json(play(fixed, seed=2))
    raw["task"][0]["jitter"] = "2s"
    random = scenario_from(raw)
    assert to_json(play(random, seed=1)) != to_json(play(random, seed=2))


def test_what_comes_back_into_a_shared_pool_that_ends_is_not_lost() -> None:
    """The last sharer writes to its last shared page while others of it are swapped in."""
    steps = [
        {"touch": "50M", "rate": "100M/s"},
        {"work": "1s"},
        {"free": "1M"},
        {"touch": "50M", "rate": "100M/s"},
        {"fork": 1},
        {"work": "1s"},
    ]
    machine = {"ram": "256M", "swap": "512M", "disk": "20M/s", "cpus": 4, "kernel": "5.10"}
    raw = {
        "name": "x",
        "duration": "60s",
        "machine": machine,
        "task": [{"name": "t", "steps": steps}],
    }
    Engine(scenario_from(raw), seed=0, sample_s=0.5, audit=True).run()
