"""What happens inside of the model at moments of runs, as kept in ``tests/data/moments``.

``python -m tests.model.moments`` writes the files anew, after a change that is meant. The scenarios
use what those in ``scenarios/`` use little of; tests/model/test_features.py says of each part what
it has to do, here the numbers in between are held to what they were.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oomkit.kernel.snapshot_json import decode_snapshot
from oomkit.kernel.versions import rules_for
from oomkit.model.advance import charge_rates, horizon
from oomkit.model.candidates import candidates, cgroup_readings, sizes
from oomkit.model.engine import Engine
from oomkit.model.machine import Machine
from oomkit.model.of_snapshot import scenario_of
from oomkit.model.responsiveness import response_s
from oomkit.model.sensors import Counters, Sensors
from oomkit.model.snapshot import take_snapshot
from oomkit.model.solve import Rates
from oomkit.policy.engine.candidate import Growth
from oomkit.policy.read import find_policy, policy_from
from oomkit.records import replace
from oomkit.scenario import scenario_from
from oomkit.scenario.write import scenario_text

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "data" / "moments"
MOMENTS = 12
"""So many of a run's events are kept, evenly."""

HOLD = {"hold": "forever"}


def _task(name: str, *steps: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"name": name, "steps": [*steps, HOLD], **rest}


SCENARIOS: dict[str, dict[str, Any]] = {
    "paging": {
        "machine": {"ram": "512M", "swap": "256M", "programs": "60M", "disk": "40M/s", "cpus": 2},
        "vm": {"swappiness": 80, "page-cluster": 2},
        "task": [
            _task("hot", {"touch": "180M"}, {"work": "20s", "set": "150M", "rate": "300M/s"},
                  program="20M", threads=2, nice=5),
            _task("cold", {"touch": "150M", "over": "2s"}, {"read": "90M", "file": "f"}),
            _task("again", {"read": "90M", "file": "f", "rate": "20M/s"}, start="2s"),
            _task("both", {"touch": "60M"}, {"work": "9s", "file": "f"}, start="3s", nice=-5),
        ],
    },
    "writers": {
        "machine": {"ram": "512M", "disk": "30M/s", "cpus": 1},
        "vm": {"dirty_ratio": 15, "dirty_background_ratio": 5},
        "task": [
            _task("one", {"write": "120M", "file": "a"}, {"write": "20M", "rate": "5M/s"}),
            _task("two", {"write": "80M", "file": "b"}, start="1s", cgroup="g"),
            _task("eater", {"touch": "600M", "rate": "60M/s"}, start="2s"),
        ],
        "cgroup": [{"name": "g", "max": "40M"}],
    },
    "forks": {
        "machine": {"ram": "512M", "swap": "128M", "cpus": 4},
        "task": [
            _task("parent", {"touch": "90M", "scatter": 8}, {"fork": 2},
                  {"work": "4s", "rate": "40M/s"}, {"free": "30M"}, {"touch": "150M", "over": "3s"},
                  {"free": "all"}, threads=8),
            _task("sharer", {"touch": "20M"}, start="1s", shares_mm_with="parent"),
        ],
    },
    "limits": {
        "machine": {"ram": "1G", "swap": "256M"},
        "task": [
            _task("inner", {"touch": "200M", "rate": "50M/s"}, {"work": "3s"}, cgroup="a/b"),
            _task("side", {"touch": "30M"}, {"tmpfs": "60M", "over": "3s"}, cgroup="a/c"),
            _task("high", {"touch": "120M", "rate": "80M/s"}, cgroup="h"),
            _task("kept", {"read": "90M", "file": "k"}, cgroup="k"),
            _task("eater", {"touch": "900M", "rate": "120M/s"}, start="3s"),
        ],
        "cgroup": [
            {"name": "a", "max": "200M", "oom_group": True}, {"name": "a/b", "swap_max": "40M"},
            {"name": "a/c"},
            {"name": "h", "high": "60M"}, {"name": "k", "low": "100M", "min": "30M"},
        ],
        "at": [{"t": "6s", "cgroup": {"h": {"max": "50M"}, "k": {"low": 0}}}],
    },
    "limits-v1": {
        "machine": {"ram": "1G", "swap": "256M", "kernel": "4.19"},
        "task": [
            _task("both", {"touch": "250M", "rate": "50M/s"}, cgroup="m"),
            _task("sleeper", {"touch": "90M", "rate": "30M/s"}, cgroup="s"),
            _task("own", {"touch": "80M"}, {"work": "5s"}, {"read": "60M"}, cgroup="w"),
        ],
        "cgroup": [
            {"name": "m", "version": 1, "max": "100M", "memsw_max": "150M"},
            {"name": "s", "version": 1, "max": "50M", "oom_kill_disable": True},
            {"name": "w", "version": 1, "max": "100M", "swappiness": 10},
        ],
        "at": [{"t": "5s", "cgroup": {"s": {"max": "60M"}, "w": {"max": "50M"}}}],
    },
    "commit": {
        "machine": {"ram": "512M", "swap": "64M"},
        "vm": {"overcommit_memory": 2, "overcommit_ratio": 60},
        "task": [
            _task("reserver", {"reserve": "100M"}, {"touch": "40M", "rate": "20M/s"}),
            _task("grower", {"touch": "400M", "rate": "60M/s"}, start="1s", uid=0),
            _task("forker", {"touch": "30M"}, {"fork": 3}, start="2s", uid=7),
        ],
    },
    "heuristic": {
        "machine": {"ram": "256M", "swap": "32M", "kernel": "4.9"},
        "task": [
            _task("grower", {"touch": "300M", "rate": "40M/s"}, uid=7),
            _task("reader", {"read": "80M", "over": "4s"}),
            _task("admin", {"touch": "20M", "rate": "4M/s"}, start="1s", uid=0),
        ],
    },
    "strides": {
        "machine": {"ram": "512M", "thp": True, "swap": "64M"},
        "task": [
            _task("sparse", {"touch": "4G", "stride": "64K", "over": "3s"}),
            _task("locker", {"lock": "80M", "over": "2s"}),
            _task("sharer", {"share": "90M", "rate": "45M/s"}, {"work": "2s"}),
            _task("filler", {"tmpfs": "300M", "rate": "70M/s"}, start="2s"),
        ],
    },
    "crowd": {
        "machine": {"ram": "512M", "cpus": 2},
        "task": [
            _task("tab", {"touch": "15M", "over": "500ms"}, {"work": "2s"}, count=6, every="300ms",
                  jitter="200ms", spread=0.5, oom_score_adj=300),
            {"name": "loop", "steps": [{"touch": "8M"}, {"work": "300ms"}, {"free": "all"}],
             "loops": 4, "restart": "1s"},
            _task("mother", {"touch": "10M"}, children=[
                _task("child", {"touch": "60M", "rate": "30M/s"}, count=4, start="1s")]),
        ],
        "policy": "default",
    },
    "old": {
        "machine": {"ram": "512M", "swap": "64M", "kernel": "2.6.32"},
        "task": [
            _task("mother", {"touch": "40M"}, oom_adj=-5, uid=0, children=[
                _task("child", {"touch": "90M", "rate": "30M/s"}, count=2)]),
            _task("nice", {"touch": "120M", "over": "4s"}, nice=10),
            _task("late", {"touch": "400M", "rate": "80M/s"}, start="3s", oom_adj=3),
        ],
    },
    "stuck": {
        "machine": {"ram": "256M", "cpus": 2},
        "vm": {"oom_killer_disabled": 1},
        "task": [
            _task("spinner", {"touch": "400M", "rate": "80M/s"}),
            _task("worker", {"work": "9s"}, count=2),
            _task("reader", {"read": "300M"}, start="1s"),
        ],
        "at": [{"t": "8s", "machine": {"swap": "64M"}},
               {"t": "11s", "vm": {"oom_killer_disabled": 0, "min_free_kbytes": 9000}}],
    },
    "evicted": {
        "machine": {"ram": "512M", "swap": "128M"},
        "task": [
            _task("pod", {"touch": "60M"}, {"tmpfs": "80M", "over": "4s"}, cgroup="pods/a",
                  restart="2s"),
            _task("other", {"touch": "250M", "rate": "40M/s"}, cgroup="pods/b",
                  on_sigterm="ignore"),
            _task("asked", {"touch": "90M", "over": "6s"}, cgroup="pods/b", sigterm_exit="700ms"),
        ],
        "cgroup": [{"name": "pods", "request": "100M"}, {"name": "pods/a", "max": "200M"},
                   {"name": "pods/b", "max": "300M"}],
        "policy": {
            "name": "mixed",
            "when": [
                {"level": "soft", "cgroup": "/pods/*", "limit_left": "20%"},
                {"level": "soft", "available": "25%", "for": "1s"},
                {"level": "hard", "psi_some": "20%", "over": "3s", "available": "30%"},
            ],
            "whom": {"level": "cgroup"},
            "how": {"term_wait": "2s", "pause": "1s"},
        },
    },
}  # fmt: skip


def _short(value: Any) -> Any:
    """Numbers to five digits, so that the order of an addition shows nothing."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(f"{value:.5g}") + 0.0 if value - value == 0.0 else str(value)
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, (list, tuple)) else value


def _line(name: str, value: Any) -> str:
    return f"{name} {msgspec.json.encode(_short(value)).decode()}"


_SHOWN = {
    "Demand": (
        "alloc_rate", "async_io", "cow_left", "cow_rate", "cpu_share", "cpus", "cpus_given",
        "first_read_io", "pace", "speed", "stall", "swap_io", "sync_io", "tables",
    ),
    "Pool": (
        "dirty", "hot", "is_cow", "kind", "name", "peak_resident", "resident", "size", "swapped",
    ),
    "Domain": ("blocked", "exits", "release"),
}  # fmt: skip
"""What is shown of those that also hold what is worked out once for speed."""


def _fields(one: Any) -> dict[str, Any]:
    found = {}
    # Of a compiled class the names stand elsewhere.
    names = one.__slots__ if hasattr(one, "__slots__") else sorted(one.__mypyc_attrs__)
    for name in _SHOWN.get(type(one).__name__, names):
        value = getattr(one, name)
        if isinstance(value, (bool, int, float, str)) and value:
            found[name] = value
    return found


def _moment(engine: Engine, machine: Machine, rates: Rates) -> Iterator[str]:
    yield _line("t", [
        machine.now, machine.free, machine.committed, horizon(machine, rates),
        response_s(machine, rates), machine.low_since_s,
    ])  # fmt: skip
    yield _line("rates", _fields(rates))
    for demand in rates.demands:
        name = demand.proc.key if demand.proc is not None else "system"
        yield _line(f"demand {name}", _fields(demand))
    for pool in machine.pools():
        flow = rates.flows.get(pool)
        yield _line("pool", [_fields(pool), _fields(flow) if flow is not None else None])
    for group, domain in rates.domains.items():
        layers = domain.plan.layers if domain.plan is not None else ()
        yield _line(f"domain {group.name if group is not None else ''}", [
            _fields(domain), [(layer.stock, layer.amounts, layer.anon_share) for layer in layers],
        ])  # fmt: skip
    yield _line("charged", [_fields_of_group(group, rate) for group, rate in
                            charge_rates(machine, rates).items()])  # fmt: skip
    sensors = Sensors(machine, rates, engine.psi, Counters(), cgroups=True, working_sets=True)
    for after_s in (0.0, 0.25):
        reading = sensors.reading(after_s)
        yield _line("reading", [_fields(reading), [_fields(one) for one in reading.cgroups]])
    pace = sensors.pace(0.5)
    assert pace.gains is not None
    yield _line("pace", [
        _fields(pace), _fields(pace.gains[0]),
        {path: [_fields(own), _fields(own.gains[1])] for path, own in pace.groups.items()
         if own.gains is not None and own.gains[1] is not None},
    ])  # fmt: skip


def _fields_of_group(group: Any, rate: float) -> list[Any]:
    return [group.name, group.usage, group.swap_usage, group.swap_left(), rate]


def _tasks(machine: Machine) -> Iterator[str]:
    snapshot = take_snapshot(machine)
    for task in snapshot.tasks:
        yield _line("task", {k: v for k, v in msgspec.to_builtins(task).items() if v})
    yield _line("memory", {k: v for k, v in msgspec.to_builtins(snapshot.memory).items() if v})
    for memcg in snapshot.memcgs:
        yield _line("memcg", {k: v for k, v in msgspec.to_builtins(memcg).items() if v})
    growth = Growth(1.0)
    growth.note(0.0, 0.0, {key: kb / 2 for key, kb in sizes(machine).items()})
    for one in candidates(machine, growth, with_scores=True):
        yield _line("candidate", _fields(one))
    for group in cgroup_readings(machine, {}):
        yield _line("cgroup", _fields(group))


def moments(name: str) -> str:
    """A run, event by event."""
    raw = {"name": name, "duration": "16s", **SCENARIOS[name]}
    named = raw.pop("policy", None)
    policy = find_policy(named) if isinstance(named, str) else policy_from(named) if named else None
    found: list[list[str]] = []

    def watch(machine: Machine, rates: Rates) -> None:
        found.append([*_moment(engine, machine, rates), *_tasks(machine)])

    engine = Engine(
        scenario_from(raw), seed=5, sample_s=None, audit=True, policy=policy, watch=watch
    )
    outcome = engine.run()
    count = len(found)
    kept = sorted({round(i * (count - 1) / (MOMENTS - 1)) for i in range(MOMENTS)})
    lines = [_line("events", [engine.events, outcome, engine.machine.now, engine.oom.panic])]
    lines += [_line("kill", msgspec.to_builtins(kill)) for kill in engine.lifecycle.kills]
    lines += [_line("denied", msgspec.to_builtins(one)) for one in engine.lifecycle.denied]
    lines.append(
        _line(
            "frozen", [(one.from_s, one.to_s) for one in engine.prober.freezes(engine.machine.now)]
        )
    )
    samples = engine.sampler.samples()
    lines.append(
        _line("samples", [len(samples.t_s), samples.t_s[:: max(len(samples.t_s) // 40, 1)]])
    )
    for key, task in samples.tasks.items():
        step = max(len(samples.t_s) // 12, 1)
        lines.append(_line(f"progress {key}", [task.progress[::step], task.rss_mb[::step]]))
    for number in kept:
        lines += [f"== {number}", *found[number]]
    return "\n".join(lines) + "\n"


def _variants() -> Iterator[tuple[str, str, dict[str, Any]]]:
    shop, node = "docs/examples/shop.json", "tests/data/machines/node.json"
    for path in (shop, node):
        stem = Path(path).stem
        yield stem, path, {}
        yield f"{stem}-no-swappiness", path, {"sysctl": {"swappiness": 0, "overcommit_memory": 2}}
        yield f"{stem}-old", path, {"kernel": "2.6.32", "sysctl": {"swappiness": 10}}
        yield f"{stem}-4.4", path, {"kernel": "4.4", "hz": 50, "page_size": 16384}


VARIANTS = {name: (path, change) for name, path, change in _variants()}


def machine_of(name: str) -> str:
    """The scenario of a machine in ``tests/data`` or ``docs/examples``, and what is said of it."""
    path, change = VARIANTS[name]
    snapshot = decode_snapshot((ROOT / path).read_bytes(), path)
    sysctl = replace(snapshot.sysctl, **change.get("sysctl", {}))
    rest = {key: value for key, value in change.items() if key != "sysctl"}
    snapshot = replace(snapshot, sysctl=sysctl, **rest)
    made = scenario_of(snapshot, rules_for(snapshot.kernel), name=name, cpus=None)
    lines = [f"# ready {made.ready_s}", *(f"# {note}" for note in made.notes)]
    return "\n".join([*lines, scenario_text(made.scenario)])


def write() -> None:
    """Write all files anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in SCENARIOS:
        (KEPT / f"{name}.txt").write_text(moments(name))
    for name in VARIANTS:
        (KEPT / f"machine-{name}.txt").write_text(machine_of(name))


if __name__ == "__main__":
    write()
