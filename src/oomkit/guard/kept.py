"""A small file of the kernel's that is opened once and read again and again."""

import os

from oomkit.host.procfs import pread_pieces, pread_whole


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

    def read(self, size: int, *, pieces: bool = False) -> bytes | None:
        """What it says now; None if it can't be read any more, until :meth:`reopen`.

        Args:
            size: enough for it as a rule; all is read in any case.
            pieces: the kernel makes it line by line, and a read may end before the file does.
        """
        if self.fd < 0:
            return None
        try:
            if pieces:
                return pread_pieces(self.fd, size)
            return pread_whole(self.fd, size)
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
