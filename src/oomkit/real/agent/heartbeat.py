"""Heartbeats: processes that want to run every 10 ms, and note when they could not.

``locked`` has its memory locked and real-time priority: its gaps are times in which the kernel
let no process run. ``ordinary`` does every time what an interactive program does, take a little
memory and go over a little of its program: its gaps are what a user feels. ``meter`` is locked
too, and notes when memory and swap both fall under a share and when they come back. ``service``
is asked twenty times a second, goes over a part of its memory and of its program for each request,
and notes those that it does not answer in time.
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

REQUEST_S = 0.05
"""Time between two requests to the service."""
ANSWER_S = 0.1
"""A request that is not answered by then is given up."""

_SERVICE = 1 << 24
_REQUEST = 1 << 20
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

    def take_note(self, last: float, at: float, value: float | None) -> None:
        """Note a value, if there is one, and when the last beat was."""
        _, count = _HEAD.unpack_from(self.shared, 0)
        if value is not None and count < _NOTES:
            _NOTE.pack_into(self.shared, _HEAD.size + int(count) * _NOTE.size, at, value)
            count += 1
        _HEAD.pack_into(self.shared, 0, last, count)

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
            self.take_note(now, now, note)


class Service(Lane):
    """Answers requests; what is noted is when a late one was due, and how late it was."""

    def __init__(self, name: str, programs: str) -> None:
        super().__init__(name, Errand(), locked=False)
        self.notes_gaps = False
        self.programs = programs

    def close(self, report: Report) -> None:
        """Report the rest, and the requests without an answer."""
        super().close(report)
        due, _ = _HEAD.unpack_from(self.shared, 0)
        now = time.monotonic()
        while now - (due := due + REQUEST_S) > ANSWER_S:
            report.say(self.name, f"{due:.4f}", f"{now - due:.4f}")

    def _beat(self) -> None:
        work = Work(self.programs)
        due, _ = _HEAD.unpack_from(self.shared, 0)
        while True:
            due += REQUEST_S
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            if time.monotonic() <= due + ANSWER_S:
                work.answer()
            late = time.monotonic() - due
            self.take_note(due, due, late if late > ANSWER_S else None)


class Work:
    """What a request costs the service: a part of its memory, and of its program."""

    def __init__(self, programs: str) -> None:
        self.memory = mmap.mmap(-1, _SERVICE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.fd = os.open(programs, os.O_RDONLY | os.O_CLOEXEC) if programs else -1
        self.size = os.fstat(self.fd).st_size if programs else 0
        self.text = bytearray(4 * _CHUNK)
        self.at = self.read_at = 0

    def answer(self) -> None:
        """Write to 1 MiB, and read 64 kB."""
        self.memory[self.at : self.at + _REQUEST : 4096] = bytes(_REQUEST // 4096)
        self.at = (self.at + _REQUEST) % _SERVICE
        if self.size:
            os.preadv(self.fd, [self.text], self.read_at)
            self.read_at = (self.read_at + len(self.text)) % self.size


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
        Service("service", programs),
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
