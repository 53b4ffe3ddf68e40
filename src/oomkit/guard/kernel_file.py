"""A small file of the kernel's that is opened once and read again and again."""

import os
from stat import S_ISREG

from oomkit.host.procfs import pread_pieces, pread_whole

MAX_BYTES = 1 << 20
"""A file that is not the kernel's and longer than this is none that stands in for one."""


class KernelFile:
    """The file.

    Attributes:
        path: where it is.
        fd: -1 while it can't be read.
    """

    __slots__ = ("_replaced", "fd", "path")

    def __init__(self, path: str, *, replaced: bool = False) -> None:
        """Open it if that can be done.

        Args:
            path: where it is.
            replaced: it is no file of the kernel's, and another may be put in its place. It must
                be a regular file.
        """
        self.path = path
        self._replaced = replaced
        self.fd = -1
        self.reopen()

    def read(self, size: int = 16384, *, pieces: bool = False) -> bytes | None:
        """What it says now; None if it can't be read any more, until :meth:`reopen`.

        Args:
            size: enough for it as a rule; all is read in any case.
            pieces: the kernel makes it line by line, and a read may end before the file does.
        """
        if self._replaced:
            self._follow()
        if self.fd < 0:
            return None
        try:
            if self._replaced:
                text = os.pread(self.fd, MAX_BYTES + 1, 0)
                return text if len(text) <= MAX_BYTES else None
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
                # A FIFO put there must not be waited for.
                self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                self.fd = -1
            if self.fd >= 0 and not S_ISREG(os.fstat(self.fd).st_mode):
                self.close()

    def _follow(self) -> None:
        """Open what is in the file's place now; while nothing is, the old one is kept."""
        try:
            now = os.stat(self.path)
            if self.fd >= 0:
                kept = os.fstat(self.fd)
                if (now.st_dev, now.st_ino) == (kept.st_dev, kept.st_ino):
                    return
        except OSError:
            return
        self.close()
        self.reopen()

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
