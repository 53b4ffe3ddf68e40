"""Make docs/examples/night.recording and night.jsonl: ``python docs/record_example.py``.

A made night: an image converter leaks beside a database, swap fills, and the kernel kills the
database because it is the biggest. A guard ran, dry, under the default policy.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

from oomkit.guard import recording_format as fmt
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.guard.journal import Journal
from oomkit.history.recording import read_recording
from oomkit.history.replay import replay
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.reading import Reading
from oomkit.policy.read import find_policy

EXAMPLES = Path(__file__).parent / "examples"
MIDNIGHT_S = 1_764_115_200.0  # 2025-11-26 00:00 UTC
UP_S = 700_000.0
TOTAL_KB, SWAP_KB = 8 << 20, 1 << 20
BEGIN_S, LEAK_KB_S, SWAP_KB_S = 10_980.0, 40 << 10, 20 << 10
LEFT_KB = 2_700_000
NEVER_LEFT_KB = 120_000
KERNEL_S = BEGIN_S + 118.0

KILL_LINES = """\
convert invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), \
order=0, oom_score_adj=0
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
task_memcg=/system.slice/mysql.service,task=mysqld,pid=845,uid=112
Out of memory: Killed process 845 (mysqld) total-vm:6291456kB, anon-rss:2882560kB, \
file-rss:0kB, shmem-rss:0kB, UID:112 pgtables:7040kB oom_score_adj:0"""


def times() -> Iterator[float]:
    """The recorder's pace: slow while all is well, fast while memory is short."""
    t_s = BEGIN_S - 600.0
    while t_s < BEGIN_S + 400.0:
        yield t_s
        t_s += 0.5 if BEGIN_S + 10.0 <= t_s < KERNEL_S + 2.0 else 10.0


def moment(t_s: float, stall_us: float) -> tuple[Reading, list[Candidate]]:
    """The machine at a second of the day."""
    leaked_kb = max(t_s - BEGIN_S, 0.0) * LEAK_KB_S
    fits_kb = LEFT_KB - NEVER_LEFT_KB
    swapped_kb = 0.0
    if leaked_kb > fits_kb:
        late_s = (leaked_kb - fits_kb) / LEAK_KB_S
        swapped_kb = min(late_s * SWAP_KB_S, float(SWAP_KB))
        leaked_kb = fits_kb + swapped_kb
    killed = t_s > KERNEL_S
    mysqld_kb, mysqld_swap_kb = 3_600_000 - 0.7 * swapped_kb, 0.7 * swapped_kb
    available_kb = LEFT_KB - leaked_kb + swapped_kb
    swap_free_kb = SWAP_KB - swapped_kb
    tasks = [
        Candidate(1402, 9000, 1, "java", anon_kb=1_500_000 - 0.3 * swapped_kb,
                  swap_kb=0.3 * swapped_kb, pgtables_kb=3500, uid=1001, cpu_s=9000.0, age_s=t_s,
                  user="app", unit="app.service", cgroup="/system.slice/app.service",
                  cmdline="java -jar app.jar"),
    ]  # fmt: skip
    if killed:
        available_kb += mysqld_kb
        swap_free_kb += mysqld_swap_kb
    else:
        tasks.append(
            Candidate(845, 8000, 1, "mysqld", anon_kb=mysqld_kb, swap_kb=mysqld_swap_kb,
                      pgtables_kb=7040, uid=112, cpu_s=31_000.0, age_s=t_s, user="mysql",
                      unit="mysql.service", cgroup="/system.slice/mysql.service",
                      cmdline="/usr/sbin/mysqld")
        )  # fmt: skip
    if t_s > BEGIN_S:
        tasks.append(
            Candidate(23817, 71_000_000, 1402, "convert", anon_kb=leaked_kb, pgtables_kb=5000,
                      uid=1001, cpu_s=(t_s - BEGIN_S) / 4.0, age_s=t_s - BEGIN_S, user="app",
                      unit="app.service", cgroup="/system.slice/app.service",
                      cmdline="convert -resize 640x huge.tiff thumb.png")
        )  # fmt: skip
    reading = Reading(
        UP_S + t_s, TOTAL_KB, available_kb, SWAP_KB, swap_free_kb,
        anon_kb=sum(task.anon_kb for task in tasks), psi_some_us=1.4 * stall_us,
        psi_full_us=stall_us, swap_in_pages=stall_us / 900.0,
    )  # fmt: skip
    return reading, tasks


def record(path: Path) -> None:
    """Write the recording."""
    clock = [0.0]
    ring = FlightRecorder(
        str(path), 64 << 10, wall=lambda: MIDNIGHT_S + clock[0],
        boot_id="example", release="6.12.57-amd64",
    )  # fmt: skip
    stall_us = 0.0
    for before_s, t_s in itertools.pairwise(times()):
        clock[0] = t_s
        reading, tasks = moment(t_s, stall_us)
        if reading.available_kb < 2 * NEVER_LEFT_KB:
            stall_us += (t_s - before_s) * 1e6 * min(0.6, (SWAP_KB - reading.swap_free_kb) / 9e5)
            reading.psi_some_us, reading.psi_full_us = 1.4 * stall_us, stall_us
        is_warm = reading.available_kb < TOTAL_KB / 4 or before_s > BEGIN_S
        if before_s < KERNEL_S <= t_s:
            clock[0] = KERNEL_S
            ring.mark(
                fmt.KERNEL_KILL, UP_S + KERNEL_S, 845, "mysqld", by="kmsg", freed_kb=2_882_560
            )
            clock[0] = t_s
        ring.sample(reading, tasks if is_warm else [])
    ring.close()


def write_journal(path: Path, recording: Path) -> None:
    """Write what a guard under the default policy would have written, dry."""
    would = replay(read_recording(str(recording)), find_policy("default")).would_kill[0]
    now = [UP_S + BEGIN_S - 600.0]
    journal = Journal(
        str(path), wall=lambda: MIDNIGHT_S + now[0] - UP_S, mono=lambda: now[0], boot_id="example"
    )
    journal.append({"kind": "start", "policy": "default", "dry_run": True})
    now[0] = would.t_s
    journal.append(
        {**would.act, "id": 1, "policy": "default", "dry_run": True, "outcome": "dry_run",
         "signals": [], "freed_kb": None, "freed_after_ms": None}
    )  # fmt: skip
    now[0] = UP_S + KERNEL_S
    stamp = f"[{now[0]:12.6f}] "
    journal.append(
        {"kind": "kernel_kill", "seen": "kmsg", "pid": 845, "comm": "mysqld", "scope": "global",
         "kernel_s": now[0], "lines": [stamp + line for line in KILL_LINES.splitlines()]}
    )  # fmt: skip
    journal.close()


def main() -> None:
    recording, journal = EXAMPLES / "night.recording", EXAMPLES / "night.jsonl"
    recording.unlink(missing_ok=True)
    journal.unlink(missing_ok=True)
    record(recording)
    write_journal(journal, recording)
    for path in (recording, journal):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
