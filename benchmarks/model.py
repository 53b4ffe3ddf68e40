"""What a run of the model costs: by events, not by bytes, seconds or tasks squared.

Run with ``.venv/bin/python benchmarks/model.py``. Beside the model a SimPy program plays the load
of scenarios/test1.toml the usual way: each task a process that takes its pages chunk by chunk and
its CPU time slice by slice.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
import simpy

from oomkit.model.engine import Engine
from oomkit.model.play import play
from oomkit.scenario import Scenario, Step, read_scenario, scenario_from

TEST1 = Path(__file__).parents[1] / "scenarios" / "test1.toml"
CHUNK = 2**20 // 4
"""Bytes a SimPy task touches at a time: 64 pages."""
SLICE_S = 0.004
"""CPU time a SimPy task gets at a time: a tick of HZ 250."""


def seconds(act: Callable[[], object], rounds: int = 7) -> float:
    """CPU time of a call: whatever else the machine does, it is done by others."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        act()
        taken.append(time.process_time() - start)
    return median(taken)


def scaled(scenario: Scenario, factor: int) -> Scenario:
    """The same with every size and rate so many times larger."""

    def step(old: Step) -> Step:
        changes: dict[str, float] = {}
        for field in ("size_bytes", "set_bytes", "rate_bytes_s"):
            value = getattr(old, field)
            if value is not None:
                changes[field] = value * factor
        return msgspec.structs.replace(old, **changes)

    machine = scenario.machine
    larger = {
        field: getattr(machine, field) * factor
        for field in (
            "ram_bytes", "swap_bytes", "disk_bytes_s", "fault_bytes_s", "programs_bytes",
        )
    }  # fmt: skip
    tasks = tuple(
        msgspec.structs.replace(task, steps=tuple(map(step, task.steps))) for task in scenario.tasks
    )
    return msgspec.structs.replace(
        scenario, machine=msgspec.structs.replace(machine, **larger), tasks=tasks
    )


def crowd(count: int) -> Scenario:
    """Tasks that take 60 MB each on a machine with room for two thirds of them."""
    return scenario_from(
        {
            "name": f"{count} tasks",
            "duration": "10m",
            "machine": {"ram": f"{40 * count}M", "cpus": 4},
            "task": [
                {
                    "name": "task",
                    "count": count,
                    "every": "50ms",
                    "steps": [{"touch": "60M", "rate": "10M/s"}, {"work": "100ms"}],
                }
            ],
        }
    )


def bomb(depth: int) -> Scenario:
    """A fork bomb of three to the power of ``depth`` tasks, of which a third has room."""
    return scenario_from(
        {
            "name": f"fork bomb of {3**depth}",
            "duration": "30s",
            "machine": {"ram": f"{max(3 * 3**depth, 200)}M", "cpus": 4},
            "task": [
                {
                    "name": "bomb",
                    "steps": [
                        {
                            "repeat": depth,
                            "steps": [{"touch": "8M", "rate": "20M/s"}, {"fork": 2}],
                        },
                        {"hold": "forever"},
                    ],
                }
            ],
        }
    )


def simpy_test1(scenario: Scenario) -> int:
    """Tick the load of test1 through SimPy; returns how many tasks ended."""
    env = simpy.Environment()
    ram = scenario.machine.ram_bytes
    memory = simpy.Container(env, capacity=ram, init=ram)
    cpus = simpy.PriorityResource(env, capacity=scenario.machine.cpus)
    ended = 0

    def task(spec_steps: tuple[Step, ...], start: float):  # type: ignore[no-untyped-def]  # a SimPy process
        nonlocal ended
        yield env.timeout(start)
        held = 0
        for step in spec_steps:
            if step.verb in ("touch", "read"):
                left = step.size_bytes or 0
                while left > 0:
                    if memory.level < CHUNK:
                        memory.put(held)  # killed: what it held comes back
                        return
                    yield memory.get(CHUNK)
                    held += CHUNK
                    left -= CHUNK
                    yield env.timeout(CHUNK / (step.rate_bytes_s or 2**30))
            elif step.verb == "work":
                left_s = step.seconds or 0.0
                while left_s > 0:
                    with cpus.request(priority=0) as turn:
                        yield turn
                        yield env.timeout(SLICE_S)
                    left_s -= SLICE_S
            elif step.verb == "free":
                back = min(step.size_bytes or held, held)
                yield memory.put(back)
                held -= back
        yield memory.put(held)
        ended += 1

    for spec in scenario.tasks:
        for i in range(spec.count):
            env.process(task(spec.steps, spec.start_s + i * spec.every_s))
    env.run(until=scenario.duration_s)
    return ended


def main() -> None:
    test1 = read_scenario(str(TEST1))
    play(test1)
    once = seconds(lambda: play(test1))
    print(f"test1 (2 GB)              {once * 1000:8.1f} ms")
    big = scaled(test1, 1000)
    thousand = seconds(lambda: play(big))
    print(f"test1 x1000 (2 TB)        {thousand * 1000:8.1f} ms   {thousand / once:.2f}x")
    ticked = seconds(lambda: simpy_test1(test1), rounds=3)
    print(f"test1 ticked in SimPy     {ticked * 1000:8.1f} ms   {ticked / once:.1f}x")
    ten = scaled(test1, 10)
    ours = seconds(lambda: play(ten), rounds=3)
    ticked = seconds(lambda: simpy_test1(ten), rounds=1)
    print(f"test1 x10 ticked in SimPy {ticked * 1000:8.1f} ms   {ticked / ours:.1f}x")
    for count in (20, 200, 2000):
        cost(f"{count:5} tasks", crowd(count), count)
    for depth in (4, 5, 6, 7):
        cost(f"bomb of {3**depth:5}", bomb(depth), 3**depth)


def cost(what: str, scenario: Scenario, count: int) -> None:
    """What a run costs, by its events and its tasks."""
    engine = Engine(scenario, seed=0, sample_s=1.0)
    start = time.process_time()
    engine.run()
    taken = time.process_time() - start
    each = taken / engine.events
    print(
        f"{what}: {engine.events:6} events, {len(engine.lifecycle.kills):5} kills {taken:8.2f} s   "
        f"{each * 1e6:8.0f} us an event, {each / count * 1e6:6.2f} us an event and task"
    )


if __name__ == "__main__":
    main()
