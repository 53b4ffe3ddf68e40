"""A fleet's week: many logs of many reports each, explained in one go.

    python benchmarks/fleet.py [--files 50] [--reports 100] [--full] [--how summary last json]

Each file is a host's week: real reports of tests/data with times and a host of their own, ordinary
lines between them. A quarter of the files is read, then all of them: what grows with them is what
is held of a report. ``--full`` is 1,000 files of 100 reports, 1.4 GB in a temporary directory.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from klog import lines_and_reports

OOMKIT = [sys.executable, "-c", "from oomkit.cli.main import main; main()", "explain"]
HOW = {"summary": ["--summary"], "last": ["--last", "5"], "json": ["--json"]}
WEEK_S = 7 * 86400
STAMP = re.compile(rb"(?m)^\w{3} +\d+ \d\d:\d\d:\d\d \S+ ")
BETWEEN = 40
"""Ordinary lines between two reports."""


class Cost(NamedTuple):
    """What a command took: seconds on the clock and of CPU, peak memory of all its processes."""

    wall_s: float
    cpu_s: float
    peak_kb: int
    peak_one_kb: int
    output: bytes


def make_fleet(directory: Path, files: int, reports: int) -> tuple[list[str], int]:
    """Write the logs; returns their names and their size."""
    ordinary, texts = lines_and_reports()
    ordinary = [line for line in ordinary if STAMP.match(line)]
    names, size = [], 0
    for number in range(files):
        parts = []
        for i in range(reports):
            when = WEEK_S * i // reports + number % 60
            day, second = divmod(when, 86400)
            clock = b"%02d:%02d:%02d" % (second // 3600, second // 60 % 60, second % 60)
            stamp = b"May %2d %s web-%04d " % (1 + day, clock, number)
            at = (number * 7 + i) * BETWEEN % (len(ordinary) - BETWEEN)
            before = b"\n".join(ordinary[at : at + BETWEEN]) + b"\n"
            parts.append(STAMP.sub(stamp, before + texts[(number + i) % len(texts)]))
        path = directory / f"web-{number:04}.log"
        data = b"".join(parts)
        path.write_bytes(data)
        size += len(data)
        names.append(str(path))
    return names, size


class Tree:
    """What a process and all below it use; workers are nobody's children who waits for them.

    Attributes:
        peak_kb: memory of all at once, each page once.
        peak_one_kb: memory of one of them.
        cpu_s: CPU seconds of each, by its pid.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak_kb = self.peak_one_kb = 0
        self.cpu_s: dict[int, float] = {}

    def look(self) -> None:
        """Read what they use now."""
        self.peak_kb = max(self.peak_kb, self._look(self._pid))

    def _look(self, pid: int) -> int:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            used = int(text.split("\nPss:")[1].split()[0])
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            return 0
        self.peak_one_kb = max(self.peak_one_kb, used)
        self.cpu_s[pid] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
        return used + sum(self._look(int(child)) for child in children)


def cost(argv: list[str]) -> Cost:
    """Run a command."""
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    tree = Tree(process.pid)
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.2):
            tree.look()

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    assert process.stdout is not None
    first, lines = b"", 0
    while block := process.stdout.read(1 << 20):
        first = first or block[:200]
        lines += block.count(b"\n")
    _, status, usage = os.wait4(process.pid, 0)
    done.set()
    watcher.join()
    assert os.waitstatus_to_exitcode(status) == 1, first
    wall_s = time.perf_counter() - start
    told = b"%d lines, beginning %s" % (lines, first.strip().partition(b"\n")[0][:90])
    tree.cpu_s[process.pid] = usage.ru_utime + usage.ru_stime
    return Cost(wall_s, sum(tree.cpu_s.values()), tree.peak_kb, tree.peak_one_kb, told)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--reports", type=int, default=100, help="in each file")
    parser.add_argument("--full", action="store_true", help="1,000 files")
    parser.add_argument("--how", nargs="+", choices=HOW, default=["summary", "last", "json"])
    options = parser.parse_args()
    files = 1000 if options.full else options.files
    with tempfile.TemporaryDirectory() as name:
        names, size = make_fleet(Path(name), files, options.reports)
        print(f"{files} files of {options.reports} reports, {size / 1e6:.0f} MB\n")
        print("| | files | wall, s | CPU, s | ms a report | peak of all, MiB | of one, MiB |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        told = []
        for how in (HOW[name] for name in options.how):
            for count in (files // 4, files):
                found = cost([*OOMKIT, *how, *names[:count]])
                title = " ".join(("explain", *how))
                print(
                    f"| {title} | {count:,} | {found.wall_s:.1f} | {found.cpu_s:.1f} "
                    f"| {found.cpu_s / count / options.reports * 1e3:.2f} "
                    f"| {found.peak_kb / 1024:.0f} | {found.peak_one_kb / 1024:.0f} |",
                    flush=True,
                )
                told.append(f"{title}, {count} files: {found.output.decode()}")
        print("\n" + "\n".join(told))


if __name__ == "__main__":
    main()
