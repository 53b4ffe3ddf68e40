"""A cgroup that is held by a descriptor, to read and write its files."""

import errno
import os
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_SINGLE = 65536

Identity = tuple[int, int]
"""Device and inode of a cgroup's directory: one cgroup and no later one of the same name."""


class HeldCgroup:
    """One cgroup, and no other one.

    Its directory is opened from one to the next below the mount, none of them through a link or
    in another file system, so that no name that others can make leads elsewhere.

    Args:
        root: where the hierarchy is mounted.
        path: of the cgroup, below that.
        identity: which one is meant; None: the one that is there.

    Attributes:
        identity: which one it is.

    Raises:
        FileNotFoundError: it is gone, or another one has its name by now.
        OSError: it can't be opened.
    """

    __slots__ = ("_fd", "identity")

    def __init__(self, root: str, path: str, identity: Identity | None = None) -> None:
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            device = os.fstat(self._fd).st_dev
            for part in path.strip("/").split("/"):
                if part in ("", ".", ".."):
                    raise FileNotFoundError(errno.ENOENT, f"{path!r} names no cgroup", path)
                below = os.open(part, _DIRECTORY, dir_fd=self._fd)
                os.close(self._fd)
                self._fd = below
            found = os.fstat(self._fd)
            self.identity = (found.st_dev, found.st_ino)
            if found.st_dev != device or identity not in (None, self.identity):
                raise FileNotFoundError(errno.ENOENT, "another one has its name by now", path)
        except BaseException:
            self.close()
            raise

    def read(self, name: str) -> str:
        """What one of its files says, without the newline.

        Raises:
            OSError: there is no such file, or it can't be read.
        """
        fd = os.open(name, os.O_RDONLY | _FILE, dir_fd=self._fd)
        try:
            return os.read(fd, _SINGLE).decode("ascii", "replace").strip()
        finally:
            os.close(fd)

    def open(self, name: str) -> int:
        """Open one of its files for writing; the descriptor is the caller's.

        Raises:
            OSError: there is no such file, or it can't be written.
        """
        return os.open(name, os.O_WRONLY | _FILE, dir_fd=self._fd)

    def write(self, name: str, text: str) -> None:
        """Write one of its files.

        Raises:
            OSError: there is no such file, or the kernel refuses.
        """
        fd = self.open(name)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def pids(self) -> list[int]:
        """The processes in it and below; 0 for one of a pid namespace that we can't see.

        Raises:
            OSError: too many files are open.
        """
        found: list[int] = []
        for _, _, files, directory in os.fwalk(".", dir_fd=self._fd, onerror=_refuse):
            if "cgroup.procs" in files:
                fd = os.open("cgroup.procs", os.O_RDONLY | _FILE, dir_fd=directory)
                try:
                    parts = []
                    while data := os.read(fd, _SINGLE):
                        parts.append(data)
                finally:
                    os.close(fd)
                found += map(int, b"".join(parts).split())
        return found

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Self":
        """Hold it for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self.close()


def _refuse(error: OSError) -> None:
    if error.errno != errno.ENOENT:
        raise error


class SlowWrite:
    """A write to a cgroup's file, which may take as long as the kernel reclaims for.

    Attributes:
        fd: the file; closed when it is done.
        data: what is written.
        usage_kb: what the cgroup used before.
        done: it is over.
        error: the error number it ended with; 0: none.
    """

    __slots__ = ("data", "done", "error", "fd", "usage_kb")

    def __init__(self, fd: int, data: bytes, usage_kb: float) -> None:
        self.fd = fd
        self.data = data
        self.usage_kb = usage_kb
        self.done = False
        self.error = 0

    def run(self) -> None:
        """Write it, and close the file."""
        try:
            os.write(self.fd, self.data)
        except OSError as error:
            self.error = error.errno or errno.EIO
        finally:
            os.close(self.fd)
            self.done = True


class SlowWriter:
    """A thread for writes that wait for reclaim, which a guard must not; one after the other."""

    __slots__ = ("_lock", "_todo", "_wanted")

    def __init__(self) -> None:
        self._todo: list[SlowWrite] = []
        self._lock = allocate_lock()
        self._wanted = allocate_lock()
        self._wanted.acquire()
        start_new_thread(self._run, ())

    def put(self, job: SlowWrite) -> None:
        """Have it written; returns at once."""
        with self._lock:
            self._todo.append(job)
            if self._wanted.locked():
                self._wanted.release()

    def cancel(self, job: SlowWrite) -> bool:
        """Have it not written; False where that has begun."""
        with self._lock:
            if job not in self._todo:
                return False
            self._todo.remove(job)
        os.close(job.fd)
        return True

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            while True:
                with self._lock:
                    job = self._todo.pop(0) if self._todo else None
                if job is None:
                    break
                job.run()
