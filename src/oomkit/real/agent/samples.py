"""What the watcher reads ten times a second: memory, pressure, CPUs, and its tasks."""

from __future__ import annotations

import os
import struct

from .task import SLOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any

    from .report import Report

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_KB = 1024
_UNKNOWN = -1.0
_BUFFER = 65536


class KernelFile:
    """A file that is read repeatedly from its start."""

    def __init__(self, path: str) -> None:
        try:
            self.fd: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.fd = None

    def read(self) -> bytes:
        """Its content now; empty where there is none."""
        if self.fd is None:
            return b""
        try:
            return os.pread(self.fd, _BUFFER, 0)
        except OSError:
            return b""


def keyed(text: bytes) -> dict[bytes, int]:
    """``name value`` and ``Name: value kB`` lines."""
    values = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].lstrip(b"-").isdigit():
            values[words[0].rstrip(b":")] = int(words[1])
    return values


class Sampler:
    """Takes samples and reports them."""

    def __init__(self, report: Report, slots: mmap.mmap, sources: dict[str, Any]) -> None:
        self.report = report
        self.slots = slots
        self.sources = sources
        self.group = sources["cgroup"]
        self.files = {name: KernelFile(path) for name, path in sources["files"].items()}
        self.cpu_before = (0, 0)

    def sample(self, pids: dict[int, int]) -> None:
        """Report the machine, and each task: pid to its slot."""
        values = self._memory() if self.group is None else self._group()
        self.report.say("sample", *(f"{value:.2f}" for value in values), self._busy())
        if self.sources["lines"]:
            found = keyed(self.files["meminfo"].read())
            kb = [found.get(name.encode(), 0) for name in self.sources["lines"]]
            self.report.say("lines", *(f"{value / _KB:.2f}" for value in kb))
        for pid, slot in pids.items():
            self._task(pid, slot)

    def _memory(self) -> list[float]:
        meminfo = keyed(self.files["meminfo"].read())
        keys = (b"MemFree", b"MemAvailable", b"Cached", b"SwapFree", b"MemTotal")
        return [meminfo.get(key, 0) / _KB for key in keys] + self._pressure()

    def _group(self) -> list[float]:
        """The group's limit is its machine: what is left of it is free."""
        limit, usage = self.group["limit"], _number(self.files["usage"].read())
        stat = keyed(self.files["stat"].read())
        names = self.group["names"]
        file = sum(stat.get(name, 0) for name in names["file"])
        cached = sum(stat.get(name, 0) for name in names["cache"])
        free = max(limit - usage, 0)
        swap = max(self.group["swap"] - _number(self.files["swap"].read()), 0)
        if self.group["version"] == 1:
            # v1 counts memory and swap together.
            swap = max(self.group["swap"] - stat.get(b"total_swap", 0), 0)
        values = [free, free + file, cached, swap, limit]
        return [value / (_KB * _KB) for value in values] + self._pressure()

    def _pressure(self) -> list[float]:
        found = {}
        for line in self.files["pressure"].read().splitlines():
            words = line.split()
            found[words[0]] = float(words[1].partition(b"=")[2])
        return [found.get(b"some", _UNKNOWN), found.get(b"full", _UNKNOWN)]

    def _busy(self) -> str:
        words = self.files["cpu"].read().split(b"\n", 1)[0].split()[1:9]
        times = [int(word) for word in words]
        total, idle = sum(times), sum(times[3:5])
        spent, idled = total - self.cpu_before[0], idle - self.cpu_before[1]
        self.cpu_before = (total, idle)
        return f"{1 - idled / spent if spent > 0 else 0.0:.3f}"

    def _task(self, pid: int, slot: int) -> None:
        try:
            stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            swap_kb = 0
            if self.sources["swap"]:
                swap_kb = keyed(_read(f"/proc/{pid}/status")).get(b"VmSwap", 0)
        except OSError:
            return
        cpu_s = (int(stat[11]) + int(stat[12])) * _TICK_S
        loop, at = SLOT.unpack_from(self.slots, slot * SLOT.size)
        rss_mb = int(stat[21]) * 4096 / 2**20
        self.report.say("task", pid, f"{rss_mb:.3f} {swap_kb / _KB:.3f} {cpu_s:.2f} {loop:g}",
                        f"{at:.4f}")  # fmt: skip


def state_of(pid: int) -> bytes:
    """One letter of ``/proc/PID/stat``; empty when it is gone."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b""


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _BUFFER)
    finally:
        os.close(fd)


def _number(text: bytes) -> int:
    word = text.strip()
    return int(word) if word.isdigit() else 0


def slot_of(slots: mmap.mmap, slot: int) -> tuple[float, float]:
    """A task's loops (or ``FOREVER``) and position."""
    try:
        loop, at = SLOT.unpack_from(slots, slot * SLOT.size)
    except struct.error:
        return (0.0, 0.0)
    return (loop, at)
