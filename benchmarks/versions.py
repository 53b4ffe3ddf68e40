"""How fast versions of oomkit play the same runs, one beside the other.

Usage: python benchmarks/versions.py [--rounds 7] NAME=PYTHON:ROOT[:LIB] NAME=PYTHON:ROOT[:LIB]...

Each is a Python with oomkit installed and a checkout whose scenarios and sweep it plays; LIB comes
before what is installed, such as ``build/compiled/lib``. They take turns, in CPU time of their own
process, so that neighbours on the machine slow all alike. All are compared with the first.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys

RUNS = ("sweep", "test1", "compile", "browser-tabs", "fork-bomb")
SWEPT = 48
"""Runs of the sweep: policies in turn, on the first points."""
CHILD = """
import os, sys, time
from itertools import islice
os.chdir(sys.argv[1])
from oomkit.model import play
from oomkit.scenario import read_scenario
from oomkit.sweep.plan import Plan
from oomkit.sweep.read import read_sweep
try:
    from oomkit.sweep.run import Player
except ImportError:  # up to 195f461
    from oomkit.sweep.play import Player
sweep = read_sweep("sweeps/policies.toml")
player = Player(sweep)
jobs = list(islice(Plan(sweep).jobs(), int(sys.argv[2]) * 5))[::5]
known = {}
for line in sys.stdin:
    name = line.strip()
    if name != "sweep" and name not in known:
        known[name] = read_scenario(f"scenarios/{name}.toml")
    start = time.process_time()
    if name == "sweep":
        for job in jobs:
            player.row(job)
    else:
        play(known[name])
    print(time.process_time() - start, flush=True)
"""


class Version:
    """A version of oomkit, at work in a process of its own."""

    def __init__(self, text: str) -> None:
        self.name, _, rest = text.partition("=")
        python, root, *lib = rest.split(":")
        environment = os.environ | ({"PYTHONPATH": lib[0]} if lib else {})
        self._child = subprocess.Popen(
            [python, "-c", CHILD, root, str(SWEPT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def seconds(self, what: str) -> float:
        """CPU time of one of the runs."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(f"{what}\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} could not play {what}")
        return float(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("versions", nargs="+", metavar="NAME=PYTHON:ROOT[:LIB]")
    arguments = parser.parse_args()
    versions = [Version(text) for text in arguments.versions]
    first = versions[0].name
    ratios: dict[str, list[float]] = {version.name: [] for version in versions}
    for what in RUNS:
        taken: dict[str, list[float]] = {version.name: [] for version in versions}
        for version in versions:
            version.seconds(what)  # brings all into memory
        for turn in range(arguments.rounds):
            for version in versions if turn % 2 else reversed(versions):
                taken[version.name].append(version.seconds(what))
        line = [f"{what:14}"]
        for name, costs in taken.items():
            ratio = min(taken[first]) / min(costs)
            middle = statistics.median(taken[first]) / statistics.median(costs)
            ratios[name].append(ratio)
            line.append(f"{name} {min(costs) * 1e3:7.1f} ms {ratio:5.2f}x (median {middle:.2f}x)")
        print("   ".join(line), flush=True)
    for name, values in ratios.items():
        print(f"geometric mean of {name}: {math.exp(statistics.mean(map(math.log, values))):.2f}x")


if __name__ == "__main__":
    main()
