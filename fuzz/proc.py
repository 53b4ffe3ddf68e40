"""Fuzz the reading of ``/proc`` and of memory cgroups.

Usage: python -m fuzz.proc [--seconds 120] [libFuzzer's own options]

The first byte of an input says which file of a made ``/proc`` it stands in: what the kernel writes
is regular, but for names, and what a container's file system shows in its place may be anything.
Starts from ``fuzz/corpus/proc``. Besides what is documented nothing may be raised.
"""

import os
import tempfile
from pathlib import Path

import atheris
from fuzz.harness import ROOT, check_shown, fuzz

with atheris.instrument_imports(include=["oomkit.host", "oomkit.guard"]):
    import msgspec

    from oomkit.guard.cgroup_reader import descendants, pressure_us, read_group
    from oomkit.guard.config import Places
    from oomkit.guard.identity import Wanted
    from oomkit.guard.machine_reader import MachineReader
    from oomkit.guard.process_files import watched
    from oomkit.guard.process_sizes import ProcessSizes
    from oomkit.guard.shared_memory import mapped_kb, shared_kb
    from oomkit.host.memcg_stat import parse_events, parse_memory_stat, parse_slabinfo
    from oomkit.host.scan import take_snapshot
    from oomkit.host.stat import parse_stat, parse_status
    from oomkit.printable import printable

FILES = (
    "77/stat", "77/status", "77/statm", "77/cgroup", "77/smaps_rollup", "77/smaps", "77/cmdline",
    "77/oom_score_adj", "77/oom_score", "meminfo", "zoneinfo", "vmstat", "pressure/memory",
    "uptime", "sys/kernel/osrelease", "77/mountinfo", "77/comm", "cgroup/a/memory.current",
    "cgroup/a/memory.max", "cgroup/a/memory.stat", "cgroup/a/memory.pressure",
    "cgroup/a/memory.events", "cgroup/a/cgroup.procs", "self/mountinfo", "77/io",
)  # fmt: skip
USUAL = ROOT / "fuzz" / "machine"
WORDS = (
    " kB\n", "RssAnon:", "VmSwap:", "VmPTE:", "SigPnd:\t", "Uid:\t", "MemTotal:", "MemAvailable:",
    "SwapFree:", "some avg10=", "total=", "0::/", "memory:/", ") S 1 ", "18446744073709551615",
    "-1", "max", "Node 0, zone", "managed", "protection: (", "Threads:\t", "pgscan_kswapd ",
    "Pss_Shmem:", "State:\tZ", "anon ", "oom_kill ", "\\x1b[2J", "9999999999999999999999",
)  # fmt: skip
FIELDS = frozenset(("exe", "cmdline", "user", "cgroup", "unit", "container", "oom_score"))


def one_input(data: bytes) -> None:
    """Put it in its place, read everything with the commands' and the guard's readers."""
    if not data:
        return
    name, text = FILES[data[0] % len(FILES)], data[1:]
    path = Path(PROC, name)
    usual = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    try:
        _commands()
        _guard()
        _parsers(text)
    finally:
        if usual is None:
            path.unlink()
        else:
            path.write_bytes(usual)


def _commands() -> None:
    found = take_snapshot(proc_root=PROC, cgroup_root=f"{PROC}/cgroup", boot_root=PROC)
    msgspec.json.encode(found)
    for line in (*found.missing, *(printable(task.comm) for task in found.tasks)):
        check_shown(line)


def _guard() -> None:
    places = Places(PROC, "", f"{PROC}/sys", f"{PROC}/cgroup", 2)
    sources = MachineReader(places)
    try:
        sources.read(1.0)
    finally:
        sources.close()
    try:
        kept = watched(77, Wanted(places, FIELDS, {0: "root"}), 1e6)
        kept.close()
    except (OSError, ValueError, IndexError):
        pass  # the shortlist leaves out who can't be read
    sizes = ProcessSizes(PROC)
    try:
        sizes.look(1000, 0.0, full=True)
    finally:
        sizes.close()
    read_group(places, "/a")
    descendants(PROC, 77)
    mapped_kb(f"{PROC}/77")
    shared_kb(f"{PROC}/77")


def _parsers(text: bytes) -> None:
    for parse in (parse_stat, parse_status):
        try:
            parse(text)
        except (ValueError, IndexError):
            continue
    pressure_us(text)
    parse_memory_stat(text, 2)
    parse_events(text)
    parse_slabinfo(text, 4096)


def _machine(root: Path) -> None:
    """A machine with one process and one cgroup."""
    for path in USUAL.rglob("*"):
        if path.is_file():
            target = root / path.relative_to(USUAL)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (root / "self/ns").mkdir(parents=True, exist_ok=True)
    (root / "self/ns/pid").symlink_to("pid:[4026531836]")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as made:
        PROC = made
        _machine(Path(made))
        usual = ((f"usual-{i}", bytes([i]) + (USUAL / name).read_bytes())
                 for i, name in enumerate(FILES) if (USUAL / name).is_file())  # fmt: skip
        fuzz(__doc__, one_input, seeds=usual, words=WORDS, most_bytes=4096)
