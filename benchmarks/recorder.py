"""What the flight recorder costs: bytes a day, CPU a sample, beside atop and sadc.

    python benchmarks/recorder.py [--samples N] [--rounds N] [--atop PATH] [--sadc PATH]

A made day (calm but for fifty minutes of little memory and ten of pressure) is recorded and its
bytes counted. Then the largest processes of this machine are recorded once a second, in turns
with atop and sadc, who are left out where they are not installed. oomkit's figure includes its
scan of this machine.
"""

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from oomkit.guard import recording_format as fmt
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.history.recording import read_recording
from oomkit.host.scan import Scanner
from oomkit.kernel.state import Snapshot
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.reading import Reading

DAY_S = 86400.0
TOP = 20
KB = 4


def made_day() -> Iterator[tuple[float, list[Candidate]]]:
    """Samples of a day: every 10 s without tasks; then each second, and ten times a second."""
    rng = random.Random(1)
    tasks = [
        Candidate(1000 + n, 5000 + n, 1, f"task{n}", anon_kb=rng.randrange(20_000, 2_000_000),
                  uid=1000, exe=f"/usr/lib/app/task{n}", cgroup=f"/system.slice/app-{n}.service",
                  cmdline=f"/usr/lib/app/task{n} --workers 4 --config /etc/app/{n}.toml")
        for n in range(TOP)
    ]  # fmt: skip
    t_s = 0.0
    while t_s < DAY_S:
        pressed, short = 43_200.0 <= t_s < 43_800.0, 40_200.0 <= t_s < 43_800.0
        if short:
            for task in tasks[: 5 if pressed else 2]:
                task.anon_kb *= rng.uniform(0.97, 1.04)
        yield t_s, tasks if short else []
        t_s += 0.1 if pressed else 1.0 if short else 10.0


def reading(t_s: float) -> Reading:
    return Reading(t_s, 8 << 20, 4 << 20, 1 << 20, 1 << 19, 3 << 20, psi_some_us=t_s, psi_full_us=0)


def day(place: str) -> str:
    """Record the made day; say how large it is and what it cost."""
    path = f"{place}/day"
    ring = FlightRecorder(path, 1 << 24, wall=lambda: 0.0)
    costs_us = []
    for t_s, tasks in made_day():
        now = reading(t_s)
        begin = time.perf_counter()
        ring.sample(now, tasks)
        costs_us.append((time.perf_counter() - begin) * 1e6)
    ring.close()
    with open(path, "rb") as file:
        file.seek(fmt.HEADER_BYTES)
        used = 0
        while (slot := file.read(fmt.SLOT_BYTES)) and slot.strip(b"\0"):
            used += len(slot)
    begin = time.perf_counter()
    whole = read_recording(path)
    read_s = time.perf_counter() - begin
    return (
        f"A made day of {len(whole.samples):,} samples takes {used / 1e6:.2f} MB "
        f"({used / len(whole.samples):.0f} bytes a sample); a sample costs "
        f"{statistics.median(costs_us):.0f} us (median), {statistics.mean(costs_us):.0f} (mean); "
        f"reading it back takes {read_s:.1f} s."
    )


def candidates(snapshot: Snapshot) -> list[Candidate]:
    """The largest processes of a snapshot."""
    tasks = sorted(snapshot.tasks, key=lambda task: -task.rss_pages - task.swap_pages)[:TOP]
    return [
        Candidate(task.pid, task.start_s, task.ppid or 0, task.comm, swap_kb=task.swap_pages * KB,
                  anon_kb=(task.anon_rss_pages or task.rss_pages) * KB, uid=task.uid,
                  pgtables_kb=task.pgtable_pages * KB, oom_score_adj=task.oom_score_adj,
                  cgroup=task.cgroup)
        for task in tasks
    ]  # fmt: skip


def ours(path: str, samples: int) -> None:
    """Scan and record in a process of its own, once a second."""
    if os.fork():
        os.wait()
        return
    try:
        ring = FlightRecorder(path, 16 << 20)
        with Scanner() as scanner:
            for _ in range(samples):
                snapshot = scanner.snapshot()
                ring.sample(reading(time.monotonic()), candidates(snapshot))
                time.sleep(1.0)
        ring.close()
    finally:
        os._exit(0)


def used_bytes(path: str) -> int:
    """Bytes that were written, of a file that may have its full size from the start."""
    data = Path(path).read_bytes()
    return len(data.rstrip(b"\0"))


def measured(run: Callable[[str, int], None], place: str, samples: int) -> tuple[float, float]:
    """Bytes and CPU milliseconds a sample, without what starting costs."""
    costs = []
    for count in (1, samples + 1):
        path = f"{place}/{time.monotonic_ns()}"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(path, count)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        costs.append((used_bytes(path), cpu_s * 1000))
    (bytes_1, ms_1), (bytes_n, ms_n) = costs
    return (bytes_n - bytes_1) / samples, (ms_n - ms_1) / samples


def command(*words: str) -> Callable[[str, int], None]:
    def run(path: str, samples: int) -> None:
        filled = [word.format(path=path, samples=samples) for word in words]
        subprocess.run(filled, check=True, stdout=subprocess.DEVNULL)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20, help="samples a round (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default 3)")
    parser.add_argument("--atop", default=shutil.which("atop"))
    parser.add_argument("--sadc", default=shutil.which("sadc", path="/usr/lib/sysstat"))
    options = parser.parse_args()
    contest: dict[str, Callable[[str, int], None]] = {"oomkit (Scanner and Ring)": ours}
    if options.atop:
        contest["atop -w"] = command(options.atop, "-w", "{path}", "1", "{samples}")
    if options.sadc:
        contest["sadc"] = command(options.sadc, "1", "{samples}", "{path}")
    with tempfile.TemporaryDirectory() as place:
        print(day(place))
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in contest}
        for _ in range(options.rounds):
            for name, run in contest.items():
                found[name].append(measured(run, place, options.samples))
    print(f"\nLinux {os.uname().release}, {len(os.listdir('/proc'))} entries in /proc, median of ")
    print(f"{options.rounds} interleaved rounds of {options.samples} samples, one a second.\n")
    print("| recorder | bytes a sample | MB a day at one in 10 s | CPU ms a sample |")
    print("|---|---|---|---|")
    medians = {n: [statistics.median(c) for c in zip(*f, strict=True)] for n, f in found.items()}
    for name, (size, cpu_ms) in medians.items():
        print(f"| {name} | {size:.0f} | {size * 8640 / 1e6:.1f} | {cpu_ms:.2f} |")
    own_size, own_ms = medians["oomkit (Scanner and Ring)"]
    for name, (size, cpu_ms) in list(medians.items())[1:]:
        print(
            f"\noomkit / {name}: {own_size / size:.2f} of its bytes, {own_ms / cpu_ms:.2f} of its"
        )
        print("CPU time.")


if __name__ == "__main__":
    main()
