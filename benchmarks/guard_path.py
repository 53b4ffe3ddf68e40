"""What the guard does between waking up and the signal, counted.

    sudo python benchmarks/guard_path.py --before OOMKIT [--processes N,N,...] [--rounds N]

Plays one script in namespaces of its own with made figures of memory, once with each version: all
is well, memory gets low, memory is used up. Counted are the system calls (strace) and the
instructions of the interpreter of the thread that acts. Unlike times these are the same in each
run, however busy the machine is. --rounds measures times as well, by turns, from the look to the
signal. Needs root, for the mounts, and strace.
"""

import argparse
import contextlib
import ctypes
import errno
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from oomkit.host.cgroups import find_hierarchy

OOMKIT = str(Path(sys.executable).with_name("oomkit"))
TOTAL_KB = 8 << 20
MEMBERS = 26
VICTIM_MIB, OTHERS_MIB = 40, 1
LOW, USED_UP = 0.15, 0.02
PATIENCE_S = 60.0
POLICY = """
name = "path"
[look]
least = "2s"
most = "2s"
[[when]]
level = "warn"
available = "20%"
[[when]]
level = "hard"
available = "3%"
[how]
pause = "60s"
hard_pause = "60s"
[whom]
by = "freed"
growth = 0.95
work = 0.3
adj = 0.5
"""
NEVER = (
    'never = [{ comm = "no" }, { user = "no" }, { cgroup = "/no/*" }, { unit = "no.service" }, '
    '{ exe = "/no/*" }, { cmdline = "no *" }]\n'
)
SCENARIOS = {
    "one": ("", 0),
    "one, with six never": (NEVER, 0),
    f"a tree of {MEMBERS}": ('level = "tree"\n', MEMBERS),
}
COUNTER = '''
"""Runs the daemon and counts instructions of the interpreter: a line for each turn."""
import json, runpy, sys
out = open(sys.argv[1], "w", buffering=1)
del sys.argv[0:2]
count = since = 0
signals = []
def trace(frame, event, argument):
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return opcode
def opcode(frame, event, argument):
    global count
    count += event == "opcode"
    return opcode
def profile(frame, event, function):
    global since
    if event not in ("c_call", "c_return"):
        return
    name = function.__name__
    if name == "pidfd_send_signal" and event == "c_call":
        signals.append(count - since)
    elif name == "poll" and frame.f_code.co_filename.rpartition("/")[2] in WAITS:
        if event == "c_call":
            out.write(json.dumps([count - since, signals]) + "\\n")
        else:
            since = count
            signals.clear()
WAITS = ("doze.py", "wake.py", "idle_loop.py", "event_loop.py")
sys.setprofile(profile)
sys.settrace(trace)
runpy.run_path(sys.argv[0], run_name="__main__")
'''
LAUNCH = """
import os, runpy, sys
counter, counts = sys.argv[1:3]
really = os.execve
def execve(program, argv, environ=os.environ):
    at = next(n for n, word in enumerate(argv) if word.endswith(".py"))
    really(program, [*argv[:at], counter, counts, *argv[at:]], environ)
os.execv = os.execve = execve
sys.argv[0:3] = []
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Turn:
    """What one turn took: all of it, to the first signal, to the last."""

    def __init__(self, whole: int, signals: list[int]) -> None:
        self.whole = whole
        self.signals = signals


class Calls:
    """Counts system calls of the daemon's main thread."""

    def __init__(self, directory: Path) -> None:
        self._trace = Path(os.environ.get("KEEP_TRACE") or directory / "trace")

    def argv(self, oomkit: str) -> list[str]:
        return ["strace", "-f", "-qq", "-s", "0", "-o", str(self._trace), oomkit]

    def turns(self) -> list[Turn]:
        text = self._trace.read_text(errors="replace") if self._trace.exists() else ""
        first = text.partition(" ")[0]
        found: list[Turn] = []
        signals: list[int] = []
        whole = 0
        for line in text.splitlines():
            pid, _, call = line.partition(" ")
            call = call.strip()
            if pid != first or call.startswith(("<... ", "---", "futex(")):
                continue
            if re.match(r"poll\(\[.*?\], \d+, [1-9]\d*", call):
                found.append(Turn(whole, signals))
                whole, signals = 0, []
                continue
            whole += 1
            if call.startswith("pidfd_send_signal("):
                signals.append(whole)
        return found


class Instructions:
    """Counts instructions of the interpreter in the daemon's main thread."""

    def __init__(self, directory: Path) -> None:
        self._counts = directory / "counts"
        self._counter = directory / "counter.py"
        self._counter.write_text(COUNTER)

    def argv(self, oomkit: str) -> list[str]:
        python = str(Path(oomkit).with_name("python"))
        return [python, "-I", "-c", LAUNCH, str(self._counter), str(self._counts), oomkit]

    def turns(self) -> list[Turn]:
        text = self._counts.read_text() if self._counts.exists() else ""
        return [Turn(*json.loads(line)) for line in text.splitlines(keepends=True) if "\n" in line]


class Plain:
    """Counts nothing."""

    def argv(self, oomkit: str) -> list[str]:
        return [oomkit]


def memory(available: float) -> None:
    """Say how much is left, in the file that stands in for meminfo."""
    left = int(TOTAL_KB * available)
    rows = {"MemTotal": TOTAL_KB, "MemAvailable": left, "AnonPages": TOTAL_KB // 8, "Shmem": 0,
            "SwapTotal": 0, "SwapFree": 0}  # fmt: skip
    text = "".join(f"{name + ':':<16}{kb:>8} kB\n" for name, kb in rows.items())
    fd = os.open("/proc/meminfo", os.O_WRONLY)
    os.pwrite(fd, text.encode(), 0)
    os.close(fd)


def stand_in(directory: Path) -> int:
    """Put files in the place of the kernel's, so that all that others do here is out of sight.

    Those of memory; the log and the count of what it kills; and of the cgroups there is one, in
    which the processes are.

    Returns:
        a descriptor of the log, to be kept.
    """
    pressure = "".join(
        f"{kind} avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" for kind in ("some", "full")
    )
    for path, text in (
        ("/proc/meminfo", " " * 28 * 6), ("/proc/pressure/memory", pressure),
        ("/proc/vmstat", "nr_free_pages 1\noom_kill 0\n"), ("/dev/kmsg", ""),
    ):  # fmt: skip
        made = directory / path[1:].replace("/", "-")
        if text:
            made.write_text(text)
        else:
            os.mkfifo(made)
        subprocess.run(["mount", "--bind", made, path], check=True)
    memory(0.9)
    hierarchy = find_hierarchy("/proc")
    if hierarchy is not None:
        options = ["cgroup", "-o", "memory"] if hierarchy.version == 1 else ["cgroup2"]
        subprocess.run(["umount", "-l", hierarchy.directory], check=True)
        words = ["mount", "-t", *options, "none", hierarchy.directory]
        subprocess.run(words, check=True)
        own = Path(hierarchy.directory, "crowd")
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text("0")
    return os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)


def holder(name: str, mib: int, children: int = 0) -> int:
    """Fork a process that holds memory, with children that hold as much."""
    there, here = os.pipe()
    pid = os.fork()
    if pid:
        os.close(here)
        os.read(there, 1)
        os.close(there)
        return pid
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    held = bytearray(mib << 20)
    held[::4096] = b"x" * len(held[::4096])
    for _ in range(children):
        holder(name, mib)
    os.write(here, b"x")
    while True:
        time.sleep(600)


def wait_for(true: Callable[[], object], what: object) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            said = what.read_text() if isinstance(what, Path) else what
            sys.exit(f"{said}: not within {PATIENCE_S:.0f} s")
        time.sleep(0.01)


def play(oomkit: str, way: str, scenario: str, processes: int, *, cold: bool) -> dict[str, Any]:
    """In the namespace: the script, with one version."""
    rules, members = SCENARIOS[scenario]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log_fd = stand_in(directory)
        for _ in range(processes):
            holder("other", OTHERS_MIB)
        victim = holder("victim", 2 if members else VICTIM_MIB, max(members - 1, 0))
        (directory / "policy.toml").write_text(POLICY + rules)
        counter = {"calls": Calls, "instructions": Instructions}.get(way)
        counts: Any = counter(directory) if counter else Plain()
        journal = directory / "journal"
        argv = [
            *counts.argv(oomkit), "guard", "--act", "--policy", str(directory / "policy.toml"),
            "--journal", str(journal), "--state", str(directory / "state"),
        ]  # fmt: skip
        log = directory / "log"
        with open(log, "wb") as file:
            guard = subprocess.Popen(argv, stdout=file, stderr=file)
        wait_for(lambda: guard.poll() is not None or b"policy path (" in log.read_bytes(), log)
        if guard.poll() is not None:
            sys.exit(log.read_text())
        found = phases(counts, victim, cold=cold)
        wait_for(lambda: b'"outcome"' in journal.read_bytes(), "the act ends")
        os.close(log_fd)
        found["latency_s"] = latency_s(journal)
        return found


def phases(counts: Any, victim: int, *, cold: bool) -> dict[str, Any]:
    """Play the script; returns what each kind of turn took, where it is counted."""
    found: dict[str, Any] = {}

    def next_turns(number: int) -> list[Turn]:
        if isinstance(counts, Plain):
            time.sleep(2.5 * number)
            return []
        before = len(counts.turns())
        wait_for(lambda: len(counts.turns()) >= before + number, "turns")
        turns: list[Turn] = counts.turns()[before:]
        return turns

    next_turns(1)
    idle = next_turns(6)
    if idle:
        # Between the short ones a whole one may come, after something was written.
        found["a look while all is well"] = min(turn.whole for turn in idle)
    if not cold:
        memory(LOW)
        low = next_turns(4)
        if low:
            found["memory gets low"] = max(turn.whole for turn in low[:2])
            found["a look while it is low"] = min(turn.whole for turn in low[1:])
    before = 0 if isinstance(counts, Plain) else len(counts.turns())
    memory(USED_UP)
    wait_for(lambda: os.waitid(os.P_PID, victim, os.WEXITED | os.WNOHANG | os.WNOWAIT), "the kill")
    if not isinstance(counts, Plain):
        wait_for(lambda: any(turn.signals for turn in counts.turns()[before:]), "the signal")
        acting = next(turn for turn in counts.turns()[before:] if turn.signals)
        found["to the first signal"] = acting.signals[0]
        found["to the last signal"] = acting.signals[-1]
        found["the whole turn"] = acting.whole
    return found


def latency_s(journal: Path) -> float:
    """From the look to the first signal, by the guard's own record."""
    for line in journal.read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "act" and record["signals"]:
            return float(record["signals"][0]["t_s"] - record["mono_s"])
    raise ValueError("no act in the journal")


@contextlib.contextmanager
def inside(*words: object) -> Iterator[subprocess.Popen[str]]:
    """This program in namespaces of its own, and all it started gone afterwards."""
    argv = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "--cgroup", "--kill-child"]
    hierarchy = find_hierarchy("/proc")
    own = Path(hierarchy.directory, f"oomkit-path-{os.getpid()}") if hierarchy else None
    if own is not None:
        own.mkdir(exist_ok=True)
        argv[:0] = ["sh", "-c", f'echo 0 > {own}/cgroup.procs && exec "$@"', "sh"]
    process = subprocess.Popen(
        [*argv, sys.executable, __file__, "--inside", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if own is not None:
            remove(own)


def remove(cgroup: Path) -> None:
    """Remove a cgroup and the one in it, once what was in there is gone."""
    for path in (cgroup / "crowd", cgroup):
        wait_for(partial(is_removed, path), f"{path} is empty")


def is_removed(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            path.rmdir()
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
    return True


def played(oomkit: str, way: str, scenario: str, processes: int, *, cold: bool) -> dict[str, Any]:
    """The script in a namespace of its own."""
    with inside(json.dumps([oomkit, way, scenario, processes, cold])) as process:
        said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{oomkit} {way} {scenario}: {said}")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


ROWS = (
    "a look while all is well", "memory gets low", "a look while it is low",
    "to the first signal", "to the last signal", "the whole turn",
)  # fmt: skip


def table(before: str, scenario: str, processes: int, *, cold: bool) -> None:
    """Both versions, counted."""
    kind = "cold" if cold else "warm"
    print(f"\n### {scenario}, {kind}, {processes} other processes\n")
    print("| | calls before | now | ratio | instructions before | now | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    counts = [
        played(oomkit, way, scenario, processes, cold=cold)
        for way in ("calls", "instructions")
        for oomkit in (before, OOMKIT)
    ]
    for row in ROWS:
        if row in counts[0] and not (row == "to the last signal" and not SCENARIOS[scenario][1]):
            old, new, old_steps, new_steps = (one[row] for one in counts)
            print(
                f"| {row} | {old:,} | {new:,} | {ratio(new, old)} "
                f"| {old_steps:,} | {new_steps:,} | {ratio(new_steps, old_steps)} |",
                flush=True,
            )


def ratio(new: float, old: float) -> str:
    return f"{new / old:.2f}" if old else "-"


def times(before: str, processes: int, rounds: int) -> None:
    """From the look to the signal, by turns."""
    print(f"\n### From the look to the signal, {processes} other processes, {rounds} rounds\n")
    print("| | least before, ms | now | ratio | median before, ms | now | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for scenario in SCENARIOS:
        for cold in (False, True):
            took: dict[str, list[float]] = {before: [], OOMKIT: []}
            for number in range(rounds):
                for oomkit in (before, OOMKIT) if number % 2 else (OOMKIT, before):
                    one = played(oomkit, "plain", scenario, processes, cold=cold)
                    took[oomkit].append(one["latency_s"] * 1000)
            least, middle = ([f(took[one]) for one in took] for f in (min, statistics.median))
            print(
                f"| {scenario}, {'cold' if cold else 'warm'} "
                f"| {least[0]:.1f} | {least[1]:.1f} | {ratio(least[1], least[0])} "
                f"| {middle[0]:.1f} | {middle[1]:.1f} | {ratio(middle[1], middle[0])} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--before", help="the oomkit command of the version to compare with")
    parser.add_argument("--processes", default="50,500", help="how many others (default 50,500)")
    parser.add_argument("--rounds", type=int, default=0, help="times, so many rounds (default 0)")
    parser.add_argument("--only", help="one scenario of: " + "; ".join(SCENARIOS))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        oomkit, way, scenario, processes, cold = json.loads(options.inside)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        print(json.dumps(play(oomkit, way, scenario, processes, cold=cold)))
        return
    # So that what it started does not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if os.geteuid() != 0 or shutil.which("strace") is None:
        sys.exit("needs root and strace")
    before = options.before or OOMKIT
    for processes in map(int, options.processes.split(",")):
        for scenario in [options.only] if options.only else SCENARIOS:
            for cold in (False, True):
                table(before, scenario, processes, cold=cold)
        if options.rounds:
            times(before, processes, options.rounds)


if __name__ == "__main__":
    main()
