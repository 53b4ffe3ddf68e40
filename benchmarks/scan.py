"""How fast this machine is looked at, beside ps and psutil.

    python benchmarks/scan.py [--rounds N] [--processes N,N,...]

Starts idle processes, runs each contestant in turn, round after round, and prints the medians
as Markdown. Needs psutil; ps is left out where it is not installed.
"""

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from oomkit.host.scan import Scanner, take_snapshot

OOMKIT = str(Path(sys.executable).with_name("oomkit"))
PSUTIL_COMMAND = """
import json, psutil
found = []
for process in psutil.process_iter(["pid", "name", "memory_info"]):
    try:
        with open(f"/proc/{process.pid}/oom_score") as file:
            score = int(file.read())
    except OSError:
        continue
    info = process.info
    found.append({"pid": info["pid"], "comm": info["name"], "rss": info["memory_info"].rss,
                  "oom_score": score})
found.sort(key=lambda row: -row["oom_score"])
print(json.dumps(found))
"""

Contest = dict[str, Callable[[], object]]


class Crowd:
    """Many cheap processes, idle unless disturbed."""

    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self._signals = itertools.cycle((signal.SIGSTOP, signal.SIGCONT))

    def disturb(self) -> None:
        """Have every process change state, so that nothing read of it before still holds."""
        number = next(self._signals)
        for pid in self.pids:
            os.kill(pid, number)
        time.sleep(0.05)


@contextlib.contextmanager
def crowd(count: int) -> Iterator[Crowd]:
    started = [subprocess.Popen(["sleep", "86400"]) for _ in range(count)]
    try:
        time.sleep(0.5)
        yield Crowd([process.pid for process in started])
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def command(*words: str) -> Callable[[], object]:
    def run() -> None:
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)

    return run


def ps_command() -> tuple[str, ...] | None:
    """Procps 4 calls the column oom, newer ones and busybox's kin may say oom_score."""
    if shutil.which("ps") is None:
        return None
    for column in ("oom_score", "oom"):
        words = ("ps", "-eo", f"pid,rss,{column},comm")
        if subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return words
    return None


def psutil_scan() -> list[tuple[object, int]]:
    found: list[tuple[object, int]] = []
    for process in psutil.process_iter(["pid", "name", "memory_info"]):
        with contextlib.suppress(OSError), open(f"/proc/{process.pid}/oom_score") as file:
            found.append((process.info, int(file.read())))
    return found


def medians_ms(
    contest: Contest, rounds: int, before: Callable[[], None] | None = None
) -> dict[str, float]:
    """Run everybody in turn, so that what else the machine does meets all alike.

    Args:
        contest: who runs.
        rounds: how often.
        before: called before each run, its time not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in contest}
    for run in contest.values():
        run()
    for _ in range(rounds):
        for name, run in contest.items():
            if before is not None:
                before()
            begin = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - begin) * 1000)
    return {name: statistics.median(taken) for name, taken in times.items()}


def print_table(title: str, rows: list[tuple[str, dict[str, float]]], ours: int = 1) -> None:
    """Print medians, and of the first contestants (ours) the ratio to each peer."""
    names = list(rows[0][1])
    peers = names[ours:]
    ratios = [f"{mine} / {peer}" for mine in names[:ours] for peer in peers]
    print(f"\n### {title}\n")
    print("| processes | " + " | ".join([*(f"{n}, ms" for n in names), *ratios]) + " |")
    print("|---" * (1 + len(names) + len(ratios)) + "|")
    for label, medians in rows:
        cells = [f"{medians[name]:.1f}" for name in names]
        cells += [f"{medians[n] / medians[p]:.2f}" for n in names[:ours] for p in peers]
        print(f"| {label} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each (default 15)")
    parser.add_argument("--processes", default="50,500,2000", help="idle processes to add")
    options = parser.parse_args()
    counts = [int(count) for count in options.processes.split(",")]
    commands: Contest = {"oomkit rank --json": command(OOMKIT, "rank", "--json")}
    if (ps := ps_command()) is not None:
        commands[" ".join(ps[:2])] = command(*ps)
    commands["psutil command"] = command(sys.executable, "-c", PSUTIL_COMMAND)
    whole, library, disturbed = [], [], []
    for count in counts:
        with crowd(count) as others, Scanner() as scanner:
            label = f"{len(psutil.pids())} ({count} added)"
            whole.append((label, medians_ms(commands, options.rounds)))
            contest: Contest = {
                "warm Scanner.snapshot()": scanner.snapshot,
                "take_snapshot()": take_snapshot,
                "psutil in process": psutil_scan,
            }
            library.append((label, medians_ms(contest, options.rounds)))
            disturbed.append((label, medians_ms(contest, options.rounds, others.disturb)))
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}, ")
    print(f"psutil {psutil.__version__}, median of {options.rounds} interleaved rounds.")
    print_table("The whole command", whole)
    print_table("The library call alone, processes idle", library, ours=2)
    print_table("The library call alone, every process changed since the last", disturbed, ours=2)
    start = {
        "oomkit --version": command(OOMKIT, "--version"),
        "oomkit rank --help": command(OOMKIT, "rank", "--help"),
        "python -c pass": command(sys.executable, "-c", "pass"),
    }
    print_table("Start-up", [("any", medians_ms(start, options.rounds))], ours=2)


if __name__ == "__main__":
    main()
