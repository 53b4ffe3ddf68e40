"""Heartbeats: processes that want to run every 10 ms, and note when they could not.

``locked`` has its memory locked and real-time priority: its gaps are times in which the kernel
let no process run. ``ordinary`` does every time what an interactive program does, take a little
memory and go over a little of its program: its gaps are what a user feels. ``meter`` is locked
too, and notes when memory and swap both fall under a share and when they come back.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time

from .groups import write
from .samples import KernelFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .report import Report

BEAT_S = 0.01
GAP_S = 0.03
"""Beats further apart than this are noted."""

_HEAD = struct.Struct("dd")
"""When the last beat was, and how many notes there are."""
_NOTE = struct.Struct("dd")
_NOTES = 2000
_PRIORITY = 50
_MCL_CURRENT_AND_FUTURE = 3
_CHUNK = 1 << 14
_FAR_S = 0.05


class Lane:
    """One heartbeat, and the memory through which it passes its notes without waiting.

    Args:
        name: what the reports call it.
        errand: what it does each time, and how often.
        locked: it never waits for memory.
    """

    def __init__(self, name: str, errand: Errand, *, locked: bool) -> None:
        self.name = name
        self.errand = errand
        self.locked = locked
        self.notes_gaps = name != "meter"
        self.shared = mmap.mmap(-1, _HEAD.size + _NOTES * _NOTE.size)
        self.reported = 0
        self.pid = 0

    def start(self) -> None:
        """Fork it."""
        _HEAD.pack_into(self.shared, 0, time.monotonic(), 0.0)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.become()
                self._beat()
            finally:
                os._exit(1)

    def report_notes(self, report: Report) -> None:
        """Report what it has noted since the last time."""
        _, count = _HEAD.unpack_from(self.shared, 0)
        while self.reported < count:
            at, value = _NOTE.unpack_from(self.shared, _HEAD.size + self.reported * _NOTE.size)
            report.say(self.name, f"{at:.4f}", f"{value:.4f}")
            self.reported += 1

    def close(self, report: Report) -> None:
        """Report the rest, and a gap that has not ended."""
        self.report_notes(report)
        last, _ = _HEAD.unpack_from(self.shared, 0)
        now = time.monotonic()
        if self.notes_gaps and now - last > GAP_S:
            report.say(self.name, f"{now:.4f}", f"{now - last:.4f}")

    def become(self) -> None:
        """Take the name, and the priority, that the forked process has."""
        write("/proc/self/comm", f"beat-{self.name}")
        if self.locked:
            ctypes.CDLL(None).mlockall(_MCL_CURRENT_AND_FUTURE)
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))

    def _beat(self) -> None:
        last = due = time.monotonic()
        while True:
            due = max(due + self.errand.every_s, last)
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            note = self.errand.run()
            now = time.monotonic()
            if self.notes_gaps and now - last > GAP_S:
                note = now - last
            last = now
            _, count = _HEAD.unpack_from(self.shared, 0)
            if note is not None and count < _NOTES:
                _NOTE.pack_into(self.shared, _HEAD.size + int(count) * _NOTE.size, now, note)
                count += 1
            _HEAD.pack_into(self.shared, 0, now, count)


def lanes(programs: str, share: float) -> list[Lane]:
    """All heartbeats of a guest.

    Args:
        programs: file with the text of the system's programs; empty: there is none.
        share: of memory and of swap, under which ``meter`` calls both low.
    """
    return [
        Lane("locked", Errand(), locked=True),
        Lane("meter", Meter(share), locked=True),
        Lane("ordinary", Keystroke(programs), locked=False),
    ]


class Errand:
    """What is done at a beat; here nothing.

    Attributes:
        every_s: distance of the beats.
    """

    every_s = BEAT_S

    def run(self) -> float | None:
        """Do it; what is returned besides None is noted."""
        return None


class Keystroke(Errand):
    """What an interactive program does for a keystroke, in small."""

    def __init__(self, programs: str) -> None:
        self.fd = os.open(programs, os.O_RDONLY | os.O_CLOEXEC) if programs else -1
        self.size = os.fstat(self.fd).st_size if programs else 0
        self.at = 0

    def run(self) -> float | None:
        """Take 16 kB and give it back; read the next 16 kB of the programs."""
        with mmap.mmap(-1, _CHUNK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as scratch:
            scratch[::4096] = bytes(_CHUNK // 4096)
            if self.size:
                os.preadv(self.fd, [scratch], self.at)
                self.at = (self.at + _CHUNK) % self.size
        return None


class Meter(Errand):
    """Sees when memory and swap are both low; looks less often while that is far away."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.meminfo = KernelFile("/proc/meminfo")
        self.low = False

    def run(self) -> float | None:
        """Return 1 when both have become low, 0 when one has not been any more; else None."""
        text = self.meminfo.read()
        left = max(
            _share(text, b"MemAvailable:", b"MemTotal:"),
            _share(text, b"SwapFree:", b"SwapTotal:"),
        )
        self.every_s = _FAR_S if left > 2 * self.share else BEAT_S
        low = left <= self.share
        if low == self.low:
            return None
        self.low = low
        return float(low)


def _share(text: bytes, part: bytes, whole: bytes) -> float:
    return _kb(text, part) / (_kb(text, whole) or 1)


def _kb(text: bytes, key: bytes) -> int:
    at = text.find(key)
    return int(text[at + len(key) : text.index(b"kB", at)]) if at >= 0 else 0
