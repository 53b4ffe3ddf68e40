"""Raw reads below a root directory, so that the same readers work on ``/proc`` and on a copy."""

import errno
import os

GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTDIR})
"""The process or file is not there (any more)."""

REFUSED = frozenset({errno.EACCES, errno.EPERM})
"""It is there, and not for us."""

NO_FILES = frozenset({errno.EMFILE, errno.ENFILE})
"""Too many files are open, so that nothing is known of the one that was asked for."""

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_CHUNK = 65536
_SINGLE = 4096


def read_at(name: str, dir_fd: int | None = None) -> bytes:
    """Return a whole small file.

    Args:
        name: path, relative to ``dir_fd`` if that is given.
        dir_fd: an open directory.

    Raises:
        OSError: it can't be opened or read.
    """
    fd = os.open(name, _OPEN_FLAGS, dir_fd=dir_fd)
    try:
        # One read may end with the kernel's buffer rather than with the file.
        parts = []
        while data := os.read(fd, _CHUNK):
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_single(name: str) -> bytes:
    """Return a whole small file whose text the kernel makes in one piece (``single_open()``).

    Such a file is over when a read gives less than was asked for.

    Raises:
        OSError: it can't be opened or read.
    """
    fd = os.open(name, _OPEN_FLAGS)
    try:
        data = os.read(fd, _SINGLE)
        if len(data) == _SINGLE:
            parts = [data]
            while data := os.read(fd, _CHUNK):
                parts.append(data)
            data = b"".join(parts)
        return data
    finally:
        os.close(fd)


def pread_whole(fd: int, size: int) -> bytes:
    """Return all of an open file whose text the kernel makes in one piece (``single_open()``).

    Args:
        fd: the open file.
        size: enough for it as a rule; more is asked for as long as that is all used.

    Raises:
        OSError: it can't be read.
    """
    data = os.pread(fd, size, 0)
    while len(data) == size:
        size *= 8
        data = os.pread(fd, size, 0)
    return data


def pread_pieces(fd: int, size: int) -> bytes:
    """Return all of an open file whose text the kernel makes line by line.

    One read may end with the kernel's buffer, which is a page, rather than with the file.

    Args:
        fd: the open file.
        size: bytes to read at once.

    Raises:
        OSError: it can't be read.
    """
    data = b""
    while piece := os.pread(fd, size, len(data)):
        data += piece
    return data


def read_or_none(path: str) -> bytes | None:
    """Return a whole small file, or None if it can't be read for whatever reason."""
    try:
        return read_at(path)
    except (OSError, ValueError):  # also a NUL in what was to be a part of the path
        return None


def read_int(path: str, *, default: int | None = None) -> int | None:
    """Return the number that a file holds, or ``default`` where there is none to be read."""
    data = read_or_none(path)
    try:
        return default if data is None else int(data)
    except ValueError:
        return default


def keyed_numbers(data: bytes) -> dict[bytes, int]:
    """Parse lines of ``name number`` or ``name: number kB``; other lines are passed over."""
    numbers = {}
    for line in data.splitlines():
        words = line.split(None, 2)
        if len(words) >= 2 and words[1].isdigit():
            numbers[words[0].rstrip(b":")] = int(words[1])
    return numbers


def stat_fields(data: bytes, most: int = -1) -> list[bytes]:
    """Split ``/proc/PID/stat`` after the name: the state is first, the parent second.

    A name may hold blanks and brackets, so that what is before its last bracket can't be split.

    Args:
        data: the file.
        most: split at so many blanks only; -1: at all of them.
    """
    return data.rpartition(b")")[2].split(None, most)


def text(data: bytes) -> str:
    r"""Decode a name from the kernel; bytes that are not UTF-8 stay readable as ``\xff``."""
    return data.decode("utf-8", "backslashreplace")
