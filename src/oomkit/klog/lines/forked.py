"""A process of its own that works for the reader of a log, and what it hands back.

It is a fork: nothing has to be imported again, which would take longer than most logs do.
"""

import fcntl
import io
import marshal
import os
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_HEAD = 8
_PIPE_BYTES = 1 << 20
"""So far it may be ahead of the reader."""


class Forked:
    """A child process that runs a function, whose output is read here.

    Attributes:
        output: what the function writes.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        """Start it.

        Args:
            work: called in the child with the descriptor to write to.

        Raises:
            OSError: there is no further process, or no further file.
        """
        reads, writes = os.pipe()
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of threads, which the child never asks for anything.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
        except OSError:
            os.close(reads)
            os.close(writes)
            raise
        if self._pid == 0:
            _run(work, reads, writes)
        os.close(writes)
        with suppress(OSError):  # more than a user is allowed
            fcntl.fcntl(reads, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self.output = io.FileIO(reads, "rb")

    def close(self) -> None:
        """End it, whether it is done or not."""
        self.output.close()
        try:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def _run(work: Callable[[int], None], reads: int, writes: int) -> None:
    """The child's life: whatever happens, nothing of the parent's is run or written out."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.close(reads)
        work(writes)
        os._exit(0)
    finally:
        os._exit(1)


def send(fd: int, message: Any) -> None:
    """Write plain values, that :mod:`marshal` can carry, as one message."""
    data = marshal.dumps(message)
    write_all(fd, len(data).to_bytes(_HEAD, "little") + data)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of some bytes."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])


def receive(file: io.FileIO) -> Any:
    """The next message; None where the other process ended before it was whole."""
    head = _read(file, _HEAD)
    data = None if head is None else _read(file, int.from_bytes(head, "little"))
    return None if data is None else marshal.loads(data)


def _read(file: io.FileIO, size: int) -> bytes | None:
    first = file.read(size)
    if not first or len(first) == size:
        return first or None
    data = bytearray(size)
    with memoryview(data) as view:
        filled = len(first)
        view[:filled] = first
        while filled < size:
            got = file.readinto(view[filled:])
            if not got:
                return None
            filled += got
    return bytes(data)
