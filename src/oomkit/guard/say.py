"""What the daemon says on stderr, without ever waiting for whoever reads it."""

import os
from _thread import allocate_lock

from oomkit.printable import printable

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""syslog's priorities."""

_BACKLOG = 1000


class Say:
    """Lines for stderr; under systemd each with its priority in front.

    Args:
        fd: where to.
        deferred: lines wait until :meth:`flush` is called, from another thread.
        priorities: ``<4>`` in front of each line, as the journal understands it.
    """

    __slots__ = ("_deferred", "_fd", "_lock", "_priorities", "_waiting")

    def __init__(self, fd: int = 2, *, deferred: bool = False, priorities: bool = False) -> None:
        self._fd = fd
        self._deferred = deferred
        self._priorities = priorities
        self._waiting: list[bytes] = []
        self._lock = allocate_lock()

    def line(self, priority: int, text: str) -> None:
        """Say a line; control characters in it are escaped."""
        prefix = f"<{priority}>" if self._priorities else ""
        with self._lock:
            if len(self._waiting) < _BACKLOG:
                self._waiting.append(
                    f"{prefix}{printable(text)}\n".encode("utf-8", "backslashreplace")
                )
        if not self._deferred:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Never raises."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for line in waiting:
            try:
                os.write(self._fd, line)
            except OSError:
                return
