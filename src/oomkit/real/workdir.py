"""Directories for the time of a run, which die with the process that made them.

What a dead run left is known by more than its name, as any user may make a directory of any name in
``/var/tmp``: it is ours, closed to others, and holds a file that its run has locked while it lives.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from oomkit.files.safely import NotSafeError, expect_directory
from oomkit.real.errors import RealError

_PREFIX = "oomkit-"
_LOCK = ".run"


@contextmanager
def scratch(where: str) -> Iterator[str]:
    """Make a directory (mode 0700) and remove it afterwards, and what dead runs left beside it.

    Args:
        where: directory to make it in.

    Raises:
        RealError: we are root, and another user can change that directory.
    """
    try:
        if os.geteuid() == 0:
            expect_directory(where)
    except NotSafeError as error:
        raise RealError(f"{where}: {error.strerror}") from None
    sweep(where)
    path = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=where)
    lock = _mark(path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep(where: str) -> None:
    """Remove the directories left by runs that have exited."""
    for name in os.listdir(where):
        path = f"{where}/{name}"
        if name.startswith(_PREFIX) and _is_ours(path) and not _is_in_use(path):
            shutil.rmtree(path, ignore_errors=True)


def _mark(path: str) -> int:
    """Lock the file that marks a directory; it has its name only once it is locked."""
    fd = os.open(
        f"{path}/{_LOCK}.new",
        os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
    )
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.rename(f"{path}/{_LOCK}.new", f"{path}/{_LOCK}")
    return fd


def _is_ours(path: str) -> bool:
    """A directory, no link, that no other user can have put anything into."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    closed = not stat.S_IMODE(found.st_mode) & 0o077
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and closed


def _is_in_use(path: str) -> bool:
    """Its run lives, or it is no run's at all."""
    try:
        fd = os.open(f"{path}/{_LOCK}", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
