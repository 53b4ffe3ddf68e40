"""What a guest under systemd, cgroup v2, finds out about softer acts; a fact a line, in JSON."""

import ctypes
import json
import os
import signal
import sys
from functools import partial

from tests.real.in_guest import finish, main_pid, run, say, shown, until

HOG = """
import os, time
held = bytearray(48 << 20)
held[::4096] = b"x" * len(held[::4096])
if os.fork():
    held = None
time.sleep(36000)
"""
CGROUP = "/sys/fs/cgroup/system.slice/hog.service"
JOURNAL = "/var/lib/oomkit/journal.jsonl"
TOTAL_KB = 1 << 20
DISKS = ("/dev/vda", "/dev/ubda")
"""QEMU's, and User Mode Linux's."""


def memory(available: float) -> None:
    left = int(TOTAL_KB * available)
    with open("/var/drill/new", "w") as file:
        file.write(f"MemTotal: {TOTAL_KB} kB\nMemAvailable: {left} kB\nAnonPages: 1 kB\n")
    os.rename("/var/drill/new", "/var/drill/meminfo")


def read(name: str) -> str:
    with open(f"{CGROUP}/{name}") as file:
        return file.read().strip()


def says(name: str, text: str) -> bool:
    return text in read(name).splitlines()


def holds() -> bool:
    """Both processes of the hog run, and one holds its memory."""
    if not os.path.exists(CGROUP):
        return False
    return len(read("cgroup.procs").split()) == 2 and int(read("memory.current")) > 48 << 20


def swap_on() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for name in sorted(os.listdir("/modules")):
        fd = os.open(f"/modules/{name}", os.O_RDONLY)
        libc.syscall(313, fd, b"", 0)  # finit_module() of x86-64
        os.close(fd)
    until(lambda: any(map(os.path.exists, DISKS)))
    disk = next(filter(os.path.exists, DISKS))
    say("swap", libc.swapon(disk.encode(), 0))


def eased(act: str, outcome: str | None = None) -> bool:
    return bool(records(act, outcome))


def records(act: str, outcome: str | None = None) -> list[dict[str, object]]:
    with open(JOURNAL) as file:
        found = [json.loads(line) for line in file.read().split("\n")[:-1]]
    return [
        one
        for one in found
        if one["kind"] == "ease" and one["act"] == act and outcome in (None, one.get("outcome"))
    ]


def restarted_since(before: str) -> bool:
    return shown("oomkit-guard.service", "NRestarts")["NRestarts"] != before


def active() -> bool:
    return shown("oomkit-guard.service", "ActiveState")["ActiveState"] == "active"


def check() -> None:
    swap_on()
    until(active)
    run("systemd-run", "-q", "--unit=hog", sys.executable, "-c", HOG)
    until(holds)
    memory(0.15)
    say("reclaim", until(partial(eased, "reclaim", "done")))
    say("reclaimed", [one["freed_kb"] for one in records("reclaim", "done")][:1])
    say("in swap", int(read("memory.swap.current")) >> 10)
    say("throttle", until(lambda: not says("memory.high", "max")))
    say("freeze", until(partial(says, "cgroup.events", "frozen 1")))
    memory(0.9)
    before = shown("oomkit-guard.service", "NRestarts")["NRestarts"]
    os.kill(main_pid(), signal.SIGKILL)
    say("restarted", until(partial(restarted_since, before)) and until(active))
    say("undone", [read("memory.high"), read("cgroup.freeze")])
    say("goes on", until(partial(says, "cgroup.events", "frozen 0")))
    memory(0.15)
    until(partial(says, "cgroup.events", "frozen 1"))
    memory(0.05)
    say("ended", until(lambda: not os.path.exists(CGROUP)))


if __name__ == "__main__":
    finish(check)
