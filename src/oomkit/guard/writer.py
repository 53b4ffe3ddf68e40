"""The status file, and the thread that waits for the disk, so that the daemon does not have to.

The file says what the daemon is doing, rewritten in place; metrics are made of it. When memory is
short, a write to a slow disk can block for seconds; the next kill must not wait for it.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, start_new_thread

from oomkit.files.safely import open_own
from oomkit.guard.journal import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODE = 0o644


class Status:
    """Writes the file.

    The number of the write stands at both ends of the line, so that a reader recognises a whole
    line from two halves.

    Attributes:
        path: the file.
        fault: why it could not be written; None when all is well.
    """

    def __init__(self, path: str) -> None:
        """Open the file (:func:`oomkit.files.safely.open_own`)."""
        self.path = path
        self.fault: str | None = None
        self._fd = -1
        self._written = 0
        self._longest = 0
        self._line = b""
        self._open()

    def write(self, values: Mapping[str, object]) -> None:
        """Replace what the file says. Never raises."""
        self.put(values)
        self.flush()

    def put(self, values: Mapping[str, object]) -> None:
        """Have the next :meth:`flush` write this."""
        self._written += 1
        self._line = encode({"n": self._written, **values, "end": self._written})

    def flush(self) -> None:
        """Write what was put, into a file that is opened now if it could not be before.

        Never raises.
        """
        if self._fd < 0:
            self._open()
        line, self._line = self._line, b""
        if self._fd < 0 or not line:
            return
        # A shorter line than the last is filled up: cutting the file is a second step.
        self._longest = max(self._longest, len(line))
        try:
            os.pwrite(self._fd, line[:-1].ljust(self._longest - 1) + b"\n", 0)
        except OSError as error:
            self.fault = error.strerror or str(error)
        else:
            self.fault = None

    def _open(self) -> None:
        try:
            self._fd = open_own(self.path, os.O_RDWR, MODE)
            self._longest = os.fstat(self._fd).st_size
        except OSError as error:
            self.fault = error.strerror or str(error)

    def close(self) -> None:
        """Close the file; what it says last stays."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Writer:
    """Calls functions, such as ``Journal.flush`` and ``FlightRecorder.flush``, when asked to.

    Attributes:
        failures: calls that ended in an exception; what they write is theirs to try again.
    """

    def __init__(
        self, *flushes: Callable[[], object], begin: Callable[[], object] | None = None
    ) -> None:
        """Start the thread.

        Args:
            flushes: what it calls, in this order.
            begin: what it calls once, first.
        """
        self.failures = 0
        self._flushes = flushes
        self._begin = begin
        self._wanted = allocate_lock()
        self._wanted.acquire()
        self._ended = allocate_lock()
        self._ended.acquire()
        self._stop = False
        start_new_thread(self._run, ())

    def kick(self) -> None:
        """Have everything written that waits by now; returns at once."""
        # Released twice means what released once means: there is something to do.
        if self._wanted.locked():
            try:
                self._wanted.release()
            except RuntimeError:
                return

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Write what waits and end the thread; says whether it ended in time."""
        self._stop = True
        self.kick()
        return self._ended.acquire(timeout=timeout_s)

    def _run(self) -> None:
        if self._begin is not None:
            self._begin()
        stopping = False
        while not stopping:
            self._wanted.acquire()
            stopping = self._stop
            for flush in self._flushes:
                try:
                    flush()
                except Exception:
                    self.failures += 1
        self._ended.release()
