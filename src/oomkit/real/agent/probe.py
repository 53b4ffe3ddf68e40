"""The probe: what a keystroke needs, once a second; docs/scenarios.md says what a round is."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import time
import zlib

from .groups import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .report import Report

_PAGE = 4096
_HEAD = struct.Struct("qq")
"""How many rounds have begun, and how many are over."""
_ROUND = struct.Struct("dd")
_ROUNDS = 4096
_T0 = struct.Struct("d")
_MCL_CURRENT = 1
_PR_SET_PDEATHSIG = 1
_BUSY = bytes(16 * 1024)


class Probe:
    """A process that goes through rounds, and the memory by which it reports them without waiting.

    Args:
        given: what a round does.
        programs: file with the text of the system's programs; empty: there is none.
    """

    def __init__(self, given: dict[str, Any], programs: str) -> None:
        self.given = given
        self.text = given["text"] if programs else 0
        self.shared = mmap.mmap(-1, _HEAD.size + _ROUNDS * _ROUND.size)
        self.reported = 0
        reader, self.starter = os.pipe()
        ready, answer = os.pipe()
        if os.fork() == 0:
            os.close(self.starter)
            self._live(programs, reader, answer)
        os.close(reader)
        os.close(answer)
        code = os.read(ready, 1)
        os.close(ready)
        if code != b"\0":
            number = code[0] if code else 0
            raise OSError(number, os.strerror(number), programs)

    def start(self, t0: float) -> None:
        """Begin the rounds of a run that started then."""
        os.write(self.starter, _T0.pack(t0))

    def report_rounds(self, report: Report) -> None:
        """Report rounds that are over since the last time, and one that is not."""
        begun, over = _HEAD.unpack_from(self.shared, 0)
        while self.reported < over:
            began_s, over_s = self._round(self.reported)
            report.say("probe", f"{began_s:.4f}", f"{over_s:.4f}")
            self.reported += 1
        if begun > over:
            report.say("probing", f"{self._round(over)[0]:.4f}")

    def _round(self, index: int) -> tuple[float, float]:
        began_s, over_s = _ROUND.unpack_from(self.shared, _HEAD.size + index * _ROUND.size)
        return began_s, over_s

    def _live(self, programs: str, reader: int, answer: int) -> None:
        code = 1
        try:
            write("/proc/self/comm", "probe")
            libc = ctypes.CDLL(None)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it ends with the watcher
            libc.mlockall(_MCL_CURRENT)
            area = self._program(programs)
            self._go_over(area)
            os.write(answer, b"\0")
            data = os.read(reader, _T0.size)
            if data:
                self._go_through_rounds(area, *_T0.unpack(data))
        except OSError as error:
            os.write(answer, bytes([error.errno or 1]))
        finally:
            os._exit(code)

    def _program(self, programs: str) -> mmap.mmap | None:
        if not self.text:
            return None
        fd = os.open(programs, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return mmap.mmap(fd, self.text, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        finally:
            os.close(fd)

    def _go_over(self, area: mmap.mmap | None) -> None:
        if area is not None:
            area[0 : self.text : _PAGE]

    def _go_through_rounds(self, area: mmap.mmap | None, t0: float) -> None:
        every_s = self.given["every"]
        due = t0 + every_s
        while True:
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            index = _HEAD.unpack_from(self.shared, 0)[1]
            if index < _ROUNDS:
                _ROUND.pack_into(self.shared, _HEAD.size + index * _ROUND.size, due, 0.0)
                _HEAD.pack_into(self.shared, 0, index + 1, index)
            self._round_of_work(area)
            now = time.monotonic()
            if index < _ROUNDS:
                _ROUND.pack_into(self.shared, _HEAD.size + index * _ROUND.size, due, now)
                _HEAD.pack_into(self.shared, 0, index + 1, index + 1)
            # One that is not over when the next is due takes its place.
            due = t0 + (int((now - t0) / every_s) + 1) * every_s

    def _round_of_work(self, area: mmap.mmap | None) -> None:
        began = time.process_time()
        self._go_over(area)
        size = self.given["scratch"]
        with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as scratch:
            scratch[::_PAGE] = bytes([1]) * (size // _PAGE)
        while time.process_time() - began < self.given["cpu"]:
            zlib.crc32(_BUSY)
