"""A thread that waits for the disk, so that the daemon does not have to.

When memory is short, a write to a slow disk can block for seconds; the next kill must not wait
for it.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
