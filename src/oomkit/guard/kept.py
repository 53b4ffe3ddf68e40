"""A small file of the kernel's that is opened once and read again and again."""

import os


class Kept:
    """The file.

    Attributes:
        path: where it is.
        fd: -1 while it can't be read.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        """Open it if that can be done."""
        self.path = path
        self.fd = -1
        self.reopen()

    def read(self, size: int = 16384) -> bytes | None:
        """What it says now; None if it can't be read any more, until :meth:`reopen`."""
        if self.fd < 0:
            return None
        try:
            return os.pread(self.fd, size, 0)
        except OSError:
            self.close()
            return None

    def reopen(self) -> None:
        """Try again where it could not be read."""
        if self.fd < 0:
            try:
                self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self.fd = -1

    def close(self) -> None:
        """Close it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def number_after(data: bytes, key: bytes) -> int | None:
    """The number that follows ``key``, spaces between; None where it is not there."""
    at = data.find(key)
    if at < 0:
        return None
    at += len(key)
    words = data[at : at + 40].split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else None
