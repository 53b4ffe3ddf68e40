"""What many runs cost: on one core and two, on Dask beside the process pool, and in memory.

Run with ``.venv/bin/python benchmarks/sweep.py`` on a machine with nothing else to do. Runs take
about 10 ms each; rounds of all kinds are interleaved, and each figure is a median. Where others
use the CPUs too, look at the CPU seconds of all processes that take part (workers, scheduler, who
asks): they count what the work costs, whoever else is there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

from oomkit.batch import Pool, cluster_pool, local_pool
from oomkit.sweep.plan import Plan
from oomkit.sweep.read import sweep_from
from oomkit.sweep.run import PRELOAD
from oomkit.sweep.runner import Conduct, Spool
from oomkit.sweep.spec import Sweep

ROOT = Path(__file__).parents[1]
TEN_MS = "browser-tabs.toml"
FEW, MANY = 1_000, 20_000
"""Runs whose parent's memory is compared."""


def sweep_of(scenario: str, runs: int) -> Sweep:
    return sweep_from(
        {
            "name": "benchmark",
            "scenarios": [scenario],
            "runs": runs,
            "vary": {"machine.disk": {"uniform": ["80M/s", "120M/s"]}, "task.*.spread": [0.05]},
        },
        source=str(ROOT / "scenarios" / "sweep.toml"),
    )


def cpu_s() -> float:
    """CPU seconds of this process and all below it."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def play(sweep: Sweep, pool: Pool, folder: str) -> tuple[float, float]:
    """Play a sweep to a spool; returns the seconds it took, and the CPU seconds."""
    plan = Plan(sweep)
    spool = Spool(os.path.join(folder, "rows"), sweep, plan.total)
    spool.begin()
    cpu, start = cpu_s(), time.perf_counter()
    Conduct(sweep, plan, spool).run(pool)
    return time.perf_counter() - start, cpu_s() - cpu


@contextmanager
def dask(folder: str) -> Iterator[str]:
    """A scheduler with two workers on this machine; yields its address."""
    program = str(Path(sys.executable).with_name("dask"))
    address = "tcp://127.0.0.1:18799"
    with open(os.path.join(folder, "dask.log"), "w", encoding="utf-8") as log:
        commands = (
            ["scheduler", "--host", "127.0.0.1", "--port", "18799", "--no-dashboard"],
            ["worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"],
        )
        env = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
        started = [
            subprocess.Popen([program, *command], stdout=log, stderr=log, cwd=folder, env=env)
            for command in commands
        ]
        try:
            time.sleep(8)
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


def executors(runs: int, rounds: int) -> None:
    sweep = sweep_of(TEN_MS, runs)
    taken: dict[str, list[tuple[float, float]]] = {"one": [], "two": [], "dask": []}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pools = {
            "one": stack.enter_context(local_pool(1, preload=PRELOAD)),
            "two": stack.enter_context(local_pool(2, preload=PRELOAD)),
            "dask": stack.enter_context(cluster_pool(stack.enter_context(dask(folder)))),
        }
        for pool in pools.values():
            play(sweep_of(TEN_MS, 20), pool, folder)
        for _ in range(rounds):
            for name, pool in pools.items():
                taken[name].append(play(sweep, pool, folder))

    def ratio(a: str, b: str, which: int) -> float:
        return median(x[which] / y[which] for x, y in zip(taken[a], taken[b], strict=True))

    for name, label in (("one", "one worker"), ("two", "two workers"), ("dask", "Dask, two")):
        wall, cpu = (median(each[i] for each in taken[name]) for i in (0, 1))
        print(f"{label:16} {runs / wall:8.1f} runs/s   {cpu / runs * 1000:6.1f} CPU ms a run")
    print(f"two workers against one: {ratio('one', 'two', 0) / 2:.2f} of twice as fast, "
          f"{ratio('two', 'one', 1):.2f}x the CPU time")  # fmt: skip
    print(f"Dask against the pool: {ratio('dask', 'two', 0):.2f}x the time, "
          f"{ratio('dask', 'two', 1):.2f}x the CPU time")  # fmt: skip


def memory() -> None:
    """The most memory the parent ever had, for few runs and for many."""
    most = {}
    for runs in (FEW, MANY):
        done = subprocess.run(
            [sys.executable, __file__, "--peak", str(runs)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        most[runs] = int(done.stdout)
        print(f"{runs:7,} runs              {most[runs] / 1024:8.1f} MiB")
    print(f"{MANY // FEW} times the runs           {most[MANY] / most[FEW]:8.2f}x the memory")


def peak(runs: int) -> None:
    with local_pool(2, preload=PRELOAD) as pool, tempfile.TemporaryDirectory() as folder:
        play(sweep_of("container-at-limit.toml", runs), pool, folder)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=400)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options.add_argument("--only-executors", action="store_true", help="leave memory out")
    given = options.parse_args()
    if given.peak:
        peak(given.peak)
    else:
        executors(given.runs, given.rounds)
        if not given.only_executors:
            memory()


if __name__ == "__main__":
    main()
