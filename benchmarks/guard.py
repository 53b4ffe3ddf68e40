"""What the guard costs, beside earlyoom.

    python benchmarks/guard.py [--idle SECONDS] [--rounds N] [--processes N]

Both run at the same time while all is well, and in turn while they choose a victim again and
again in a dry run. Needs earlyoom (Debian's package is 1.7) in PATH; ours is in a drill, so that
nothing has to be short of memory.
"""

import argparse
import contextlib
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from oomkit.guard.config import Settings
from oomkit.guard.daemon import Daemon as GuardDaemon
from oomkit.policy.compile import compile_plan
from oomkit.policy.read import find_policy
from scan import crowd

OOMKIT = str(Path(sys.executable).with_name("oomkit"))
TOTAL_KB = 24 << 20
STRETCH_S = 10.0
"""About the time from one look to the next while all is well."""
POLICY = """
name = "benchmark"
[look]
least = "50ms"
most = "50ms"
[[when]]
level = "hard"
available = "10%"
[whom]
by = "freed"
growth = 0.95
work = 0.3
[how]
dry_run_pause = "100ms"
pause = "0s"
hard_pause = "0s"
most_a_minute = 100000
"""


class Daemon:
    """One of the two, and what it has used so far."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.log = log
        with open(log, "wb") as file:
            self._process = subprocess.Popen(argv, stdout=file, stderr=file)
        self.pid = self._process.pid

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def cpu_ms(self) -> float:
        return sum(self._per_thread("schedstat", lambda text: int(text.split()[0]))) / 1e6

    def wakeups(self) -> int:
        def voluntary(text: str) -> int:
            return int(text.partition("voluntary_ctxt_switches:")[2].split(None, 1)[0])

        return sum(self._per_thread("status", voluntary))

    def memory_kb(self, name: str) -> int:
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(rollup.split(f"\n{name}:")[1].split()[0])

    def _per_thread(self, file: str, number: Callable[[str], int]) -> list[int]:
        threads = Path(f"/proc/{self.pid}/task")
        return [number((thread / file).read_text()) for thread in threads.iterdir()]


@contextlib.contextmanager
def guard(directory: Path, *options: str, policy: str = "default") -> Iterator[Daemon]:
    daemon = Daemon(
        [
            OOMKIT,
            "guard",
            "--policy",
            policy,
            "--journal",
            str(directory / "journal"),
            "--state",
            str(directory / "state"),
            *options,
        ],
        directory / "oomkit.log",
    )
    try:
        wait_for(lambda: b"started with policy" in daemon.log.read_bytes())
        yield daemon
    finally:
        daemon.close()


@contextlib.contextmanager
def earlyoom(directory: Path, *options: str) -> Iterator[Daemon]:
    daemon = Daemon(["earlyoom", "-r", "3600", "--dryrun", *options], directory / "earlyoom.log")
    try:
        time.sleep(1)
        yield daemon
    finally:
        daemon.close()


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        if time.monotonic() > end:
            sys.exit("the guard does not start or does not act")
        time.sleep(0.05)


def write_meminfo(directory: Path, available: float) -> None:
    (directory / "meminfo").write_text(
        f"MemTotal:       {TOTAL_KB} kB\nMemAvailable:   {int(TOTAL_KB * available):>9} kB\n"
        f"AnonPages:      {int(TOTAL_KB * (1 - available)):>9} kB\n"
        "SwapTotal:      0 kB\nSwapFree:       0 kB\n"
    )


def idle(seconds: float, directory: Path, *, told: bool) -> None:
    """Both at once, memory plentiful."""
    know_the_log(directory / "state")
    options = (
        ("--status", str(directory / "status"), "--record", str(directory / "recording"))
        if told
        else ()
    )
    with guard(directory, *options) as ours, earlyoom(directory) as theirs:
        settle(directory / "journal")
        daemons = {"oomkit guard": ours, "earlyoom": theirs}
        before = {name: (d.cpu_ms(), d.wakeups()) for name, d in daemons.items()}
        dearest = dearest_stretch(seconds, daemons)
        print(f"\n### All is well, {seconds:.0f} s, both at once\n")
        print(
            "| | RSS, KiB | PSS, KiB | CPU, ms a minute | wake-ups a minute "
            f"| dearest {STRETCH_S:.0f} s, CPU ms |"
        )
        print("|---|---|---|---|---|---|")
        for name, daemon in daemons.items():
            cpu, woken = daemon.cpu_ms() - before[name][0], daemon.wakeups() - before[name][1]
            minute = 60 / seconds
            print(
                f"| {name} | {daemon.memory_kb('Rss')} | {daemon.memory_kb('Pss')} "
                f"| {cpu * minute:.2f} | {woken * minute:.1f} | {dearest[name]:.2f} |"
            )


def dearest_stretch(seconds: float, daemons: dict[str, Daemon]) -> dict[str, float]:
    """Wait so long; returns the most that each used in one of the stretches."""
    end = time.monotonic() + seconds
    dearest = dict.fromkeys(daemons, 0.0)
    while (left := end - time.monotonic()) > 0:
        before = {name: daemon.cpu_ms() for name, daemon in daemons.items()}
        time.sleep(min(STRETCH_S, left))
        for name, daemon in daemons.items():
            dearest[name] = max(dearest[name], daemon.cpu_ms() - before[name])
    return dearest


def cold_memory(seconds: float) -> None:
    """What reading a page of one's own takes after a sleep: a virtual machine's grows cold."""
    pages = 1000
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1
        for slept in (10.0, seconds):
            time.sleep(slept)
            begin = time.process_time_ns()
            for page in range(pages):
                memory[page * mmap.PAGESIZE]
            took_us = (time.process_time_ns() - begin) / pages / 1000
            print(f"A page of one's own after {slept:.0f} s: {took_us:.2f} µs of CPU.")


def know_the_log(state: Path) -> None:
    """Leave word of a guard before that told of every kill which the kernel's log still holds."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    newest = -1
    with contextlib.suppress(OSError), open("/dev/kmsg", "rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        while record := log.read(8192):
            newest = int(record.split(b",", 2)[1])
    state.with_name(f"{state.name}.kmsg").write_bytes(b"%s %20d\n" % (boot, newest))


def settle(journal: Path) -> None:
    """Wait until the start is over."""
    end = time.monotonic() + 300
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 25 and time.monotonic() < end:
        time.sleep(1)
        if journal.stat().st_size != size:
            size, since = journal.stat().st_size, time.monotonic()


def choosing(rounds: int, processes: int, directory: Path) -> None:
    """One after the other, each choosing about ten times a second."""
    signals = directory / "signals"
    signals.mkdir()
    policy = directory / "policy.toml"
    policy.write_text(POLICY)
    rates: dict[str, list[float]] = {"first": [], "ours": [], "theirs": []}
    rss_kb = 0
    with crowd(processes):
        for _ in range(rounds):
            write_meminfo(signals, 0.9)
            with guard(directory, "--drill", str(signals), policy=str(policy)) as ours:
                time.sleep(1)
                begin = ours.cpu_ms()
                write_meminfo(signals, 0.05)
                wait_for(lambda: acts(directory) > 0)
                rates["first"].append(ours.cpu_ms() - begin)
                time.sleep(1)
                begin, chosen = ours.cpu_ms(), acts(directory)
                time.sleep(5)
                used, chosen = ours.cpu_ms() - begin, acts(directory) - chosen
                rates["ours"].append(used / chosen)
                rss_kb = max(rss_kb, ours.memory_kb("Rss"))
            (directory / "journal").unlink()
            with earlyoom(directory, "-m", "99", "-s", "100") as theirs:
                begin, chosen = theirs.cpu_ms(), chosen_by_earlyoom(theirs)
                time.sleep(5)
                used, chosen = theirs.cpu_ms() - begin, chosen_by_earlyoom(theirs) - chosen
                rates["theirs"].append(used / chosen)
    first, mine, peer = (statistics.median(rates[name]) for name in ("first", "ours", "theirs"))
    count = sum(name.isdigit() for name in os.listdir("/proc")) + processes
    print(f"\n### Choosing among {count} processes, CPU ms a choice, all that it takes\n")
    print(
        "| earlyoom | oomkit, ranking warm | oomkit, the first one | warm / earlyoom | RSS, KiB |"
    )
    print("|---|---|---|---|---|")
    print(f"| {peer:.1f} | {mine:.1f} | {first:.1f} | {mine / peer:.2f} | {rss_kb} |")


def one_look() -> None:
    """A turn of the daemon while all is well, one after the other."""
    daemon = GuardDaemon(Settings(compile_plan(find_policy("default"))))
    looks = 500
    for _ in range(looks):
        daemon.turn()
    begin = time.process_time()
    for _ in range(looks):
        next_s = daemon.turn()
    used_us = (time.process_time() - begin) / looks * 1e6
    print(f"\nA look while all is well: {used_us:.0f} µs of CPU, the next one in {next_s:.1f} s.")


def acts(directory: Path) -> int:
    journal = directory / "journal"
    lines = journal.read_bytes().splitlines() if journal.exists() else []
    return sum(json.loads(line)["kind"] == "act" for line in lines if line.endswith(b"}"))


def chosen_by_earlyoom(daemon: Daemon) -> int:
    return daemon.log.read_bytes().count(b"sending SIG")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--idle", type=float, default=120, help="seconds (default 120), 0: none")
    parser.add_argument(
        "--told", action="store_true", help="idle with a status file and a recording, too"
    )
    parser.add_argument("--cold", type=float, default=0, help="what memory costs after so long")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default 5), 0: none")
    parser.add_argument("--processes", type=int, default=2000, help="idle ones to add")
    options = parser.parse_args()
    if shutil.which("earlyoom") is None:
        sys.exit("needs earlyoom in PATH")
    version = subprocess.run(["earlyoom", "-v"], capture_output=True, text=True, check=True)
    print(f"Linux {os.uname().release}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}, ")
    print(f"{(version.stdout + version.stderr).strip()}, median of {options.rounds} rounds.")
    one_look()
    if options.cold:
        cold_memory(options.cold)
    with tempfile.TemporaryDirectory() as name:
        if options.idle:
            idle(options.idle, Path(name), told=options.told)
    if not options.rounds:
        return
    with tempfile.TemporaryDirectory() as name:
        choosing(options.rounds, options.processes, Path(name))


if __name__ == "__main__":
    main()
