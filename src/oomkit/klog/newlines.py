"""Count the lines of big logs; with numpy (extra ``fast``) at the speed of memory."""

import os
from collections.abc import Callable

WORTH_IMPORTING_BYTES = 64 << 20
"""Before so much is counted, importing numpy would cost more than it saves."""
CountNewlines = Callable[[bytearray, int, int], int]
"""Counts newlines between two offsets of a buffer."""


class NewlineCounter:
    """Counts newlines; changes to the faster way once a log proves to be big."""

    def __init__(self) -> None:
        self._counted_bytes = 0
        self._count: CountNewlines = _plain

    def count(self, buffer: bytearray, start: int, end: int) -> int:
        """Return how many newlines ``buffer[start:end]`` has."""
        if self._counted_bytes < WORTH_IMPORTING_BYTES:
            self._counted_bytes += end - start
            if self._counted_bytes >= WORTH_IMPORTING_BYTES:
                self._count = _fastest()
        return self._count(buffer, start, end)


def _plain(buffer: bytearray, start: int, end: int) -> int:
    return buffer.count(b"\n", start, end)


def _fastest() -> CountNewlines:
    """The vectorised way, where numpy is installed."""
    # Its algebra, which is not needed, would start a thread on each CPU.
    threads = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        import numpy as np
    except ImportError:
        return _plain
    finally:
        if threads is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = threads

    def vectorised(buffer: bytearray, start: int, end: int) -> int:
        if end - start < _FEW_BYTES:
            return _plain(buffer, start, end)
        part = np.frombuffer(buffer, np.uint8, end - start, start)
        return int(np.count_nonzero(part == _NEWLINE))

    return vectorised


_THREADS = "OPENBLAS_NUM_THREADS"
_NEWLINE = 10
_FEW_BYTES = 4096
