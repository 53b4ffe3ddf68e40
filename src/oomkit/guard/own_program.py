"""A program of ours that a daemon at work runs for what takes more than a small process has."""

import marshal
import os
import select
import time
from typing import Any

from oomkit.host.self_protection import ordinary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_END_MS = 500
"""What has said all ends within this, or is ended."""
_CHUNK = 1 << 16
MAX_BYTES = 1 << 22
"""No program prints more."""
_SIGKILL = 9


class OwnProgram:
    """One run of a program that prints a value as :mod:`marshal` writes it.

    Attributes:
        fd: becomes readable when there is news.
        value: what was printed; None while it runs, if it failed, or if that is no value.
        fault: what is wrong; empty while it runs, or if nothing is.
    """

    __slots__ = (
        "_clock",
        "_data",
        "_errors",
        "_longest_s",
        "_pid",
        "_until_s",
        "fault",
        "fd",
        "value",
    )

    def __init__(
        self,
        argv: tuple[str, ...],
        longest_s: float,
        clock: "Callable[[], float]" = time.monotonic,
    ) -> None:
        """Start it.

        Args:
            argv: the program.
            longest_s: it is ended when it takes longer.
            clock: the monotonic one.

        Raises:
            OSError: it can't be started.
        """
        self.value: Any = None
        self.fault = ""
        self._data = b""
        self._clock = clock
        self._longest_s = longest_s
        self._until_s = clock() + longest_s
        fds: list[int] = []
        try:
            fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            for out in (fds[1], fds[3]):
                os.set_blocking(out, True)
            redirections = [(os.POSIX_SPAWN_DUP2, fds[1], 1), (os.POSIX_SPAWN_DUP2, fds[3], 2)]
            self._pid = os.posix_spawn(
                argv[0], argv, os.environ, file_actions=redirections, setsigdef=(1, 2, 13, 15)
            )
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        self.fd, out, self._errors, err = fds
        os.close(out)
        os.close(err)
        ordinary(self._pid)

    @property
    def left_s(self) -> float:
        """How long it may still take."""
        return max(self._until_s - self._clock(), 0.0)

    def finished(self) -> bool:
        """Take what is there; says whether that was all, and ``value`` or ``fault`` holds."""
        try:
            chunk = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            if self.left_s:
                return False
            self._end(0)
            self.fault = f"reading it took more than {self._longest_s:.0f} s"
            return True
        self._data += chunk
        if chunk and len(self._data) <= MAX_BYTES and self.left_s:
            return False
        said, code = self._end(_END_MS)
        if code:
            self.fault = " ".join(said.split()) or f"reading it ended with status {code}"
            return True
        try:
            self.value = marshal.loads(self._data)
        except (ValueError, EOFError, TypeError):
            self.value = None
        return True

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.fd >= 0:
            self._end(0)

    def _end(self, patience_ms: int) -> tuple[str, int]:
        """Wait for its end a little, then end it; what it said of errors, and its exit status."""
        os.close(self.fd)
        self.fd = -1
        status = _status_of(self._pid, time.monotonic() + patience_ms / 1000)
        try:
            said = os.read(self._errors, 4096).decode("utf-8", "replace")
        except BlockingIOError:
            said = ""
        os.close(self._errors)
        self._errors = -1
        return said, os.waitstatus_to_exitcode(status)


def _status_of(pid: int, until_s: float) -> int:
    """The wait status of a child, which is killed if it does not end in time."""
    killed = False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= until_s:
            if killed:
                return _SIGKILL  # it hangs in the kernel, and is not worth hanging with it
            killed = True
            os.kill(pid, _SIGKILL)
            until_s = time.monotonic() + _END_MS / 1000
        select.poll().poll(5)
