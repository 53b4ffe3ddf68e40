"""What a live view costs, beside htop and top.

    sudo python benchmarks/top.py [--seconds N] [--processes N] [--rounds N]

Starts sleeping processes in a pid namespace of their own, where nothing else is, and runs each
contestant in turn in a terminal of 120 columns and 40 lines, at one look a second. Prints the CPU
time that its process took, by ``/proc/PID/stat``, as a share of the time that passed, and its
memory at the begin and the end. Needs root for the namespace; htop and top are left out where
they are not installed.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scan import OOMKIT, crowd

LINES, COLUMNS = 40, 120
WARM_S = 8.0
INSIDE = "--inside"


@contextlib.contextmanager
def in_a_terminal(words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Run a command in a terminal; yields its pid and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(words[0], list(words))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    try:
        yield pid, terminal
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def drain(terminal: int, seconds: float) -> int:
    """Take what is drawn, as a terminal does; returns how many bytes."""
    end, taken = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            taken += len(os.read(terminal, 65536))
    return taken


def used(pid: int) -> tuple[float, float]:
    """CPU seconds, and resident MiB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return cpu, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(words: Sequence[str], seconds: float) -> tuple[float, float, float, float]:
    """CPU time as a share of a CPU, resident MiB before and after, and kB drawn a second."""
    with in_a_terminal(words) as (pid, terminal):
        drain(terminal, WARM_S)
        (cpu, rss), begin = used(pid), time.monotonic()
        drawn = drain(terminal, seconds)
        after, rss_after = used(pid)
        passed = time.monotonic() - begin
    return (after - cpu) / passed, rss, rss_after, drawn / passed / 1000


def contestants() -> dict[str, list[str]]:
    found = {"oomkit top": [OOMKIT, "top"]}
    if shutil.which("htop"):
        found["htop -d 10"] = ["htop", "-d", "10"]
    if shutil.which("top"):
        found["top -d 1"] = ["top", "-d", "1"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of each (default 60)")
    parser.add_argument("--processes", type=int, default=500, help="that sleep (default 500)")
    parser.add_argument("--rounds", type=int, default=3, help="in turns (default 3)")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        again = [*unshare, sys.executable, __file__, *sys.argv[1:], INSIDE]
        sys.exit(subprocess.run(again, check=False).returncode)
    rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in contestants()}
    with crowd(options.processes):
        for _ in range(options.rounds):
            for name, words in contestants().items():
                rows[name].append(measured(words, options.seconds))
        count = sum(name.isdigit() for name in os.listdir("/proc"))
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}, "
          f"{count} processes, {options.seconds:g} s each, medians of {options.rounds} rounds in "
          f"turns, a window of {COLUMNS} columns and {LINES} lines.\n")  # fmt: skip
    print("| | share of a CPU | oomkit top / it | resident, first and last MiB | drawn, kB/s |")
    print("|---|---|---|---|---|")
    ours = statistics.median(row[0] for row in rows["oomkit top"])
    for name, found in rows.items():
        share, first, last, drawn = (statistics.median(c) for c in zip(*found, strict=True))
        of = ours / share
        print(f"| {name} | {share:.2%} | {of:.2f} | {first:.1f}, {last:.1f} | {drawn:.1f} |")


if __name__ == "__main__":
    main()
