"""What many runs cost: on one core and two, on Dask beside the process pool, and in memory.

Run with ``.venv/bin/python benchmarks/sweep.py`` on a machine with nothing else to do. Runs take
about 10 ms each; rounds of all kinds are interleaved, and each figure is a median.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from oomkit.batch import Pool, cluster_pool, local_pool
from oomkit.sweep.conduct import Conduct
from oomkit.sweep.format import Sweep
from oomkit.sweep.plan import Plan
from oomkit.sweep.play import PRELOAD
from oomkit.sweep.read import sweep_from
from oomkit.sweep.spool import Spool

ROOT = Path(__file__).parents[1]
RUNS = 150
ROUNDS = 5
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


def play(sweep: Sweep, pool: Pool, folder: str) -> float:
    """Play a sweep to a spool; returns the seconds it took."""
    plan = Plan(sweep)
    spool = Spool(os.path.join(folder, "rows"), sweep, plan.total)
    spool.begin()
    start = time.perf_counter()
    Conduct(sweep, plan, spool).run(pool)
    return time.perf_counter() - start


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
        started = [
            subprocess.Popen([program, *command], stdout=log, stderr=log, cwd=folder)
            for command in commands
        ]
        try:
            time.sleep(8)
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


def executors() -> None:
    sweep = sweep_of("browser-tabs.toml", RUNS)
    taken: dict[str, list[float]] = {"one": [], "two": [], "dask": []}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pools = {
            "one": stack.enter_context(local_pool(1, preload=PRELOAD)),
            "two": stack.enter_context(local_pool(2, preload=PRELOAD)),
            "dask": stack.enter_context(cluster_pool(stack.enter_context(dask(folder)))),
        }
        for pool in pools.values():
            play(sweep_of("browser-tabs.toml", 40), pool, folder)
        for _ in range(ROUNDS):
            for name, pool in pools.items():
                taken[name].append(play(sweep, pool, folder))
    one, two, far = (median(taken[name]) for name in ("one", "two", "dask"))
    efficiency = median(a / (2 * b) for a, b in zip(taken["one"], taken["two"], strict=True))
    overhead = median(a / b for a, b in zip(taken["dask"], taken["two"], strict=True))
    print(f"a run                     {one / RUNS * 1000:8.1f} ms")
    print(f"one worker                {RUNS / one:8.0f} runs/s")
    print(f"two workers               {RUNS / two:8.0f} runs/s   efficiency {efficiency:.2f}")
    print(f"Dask, two workers         {RUNS / far:8.0f} runs/s   {overhead:.2f}x the pool's time")


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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        peak(int(sys.argv[2]))
    elif sys.argv[1:2] == ["--memory"]:
        memory()
    else:
        executors()
        memory()
