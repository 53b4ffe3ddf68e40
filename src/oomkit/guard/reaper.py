"""A thread that frees the memory of the killed, who may be too slow to do it themselves."""

import os
from _thread import allocate_lock, start_new_thread

from oomkit.host.libc import process_mrelease


class Reaper:
    """Calls ``process_mrelease`` (5.15) for whom it is told, one after the other.

    The call frees a victim's memory on the caller's time; in a thread of its own nobody has to
    wait for that.
    """

    __slots__ = ("_lock", "_todo", "_wanted")

    def __init__(self) -> None:
        """Start the thread."""
        self._todo: list[int] = []
        self._lock = allocate_lock()
        self._wanted = allocate_lock()
        self._wanted.acquire()
        start_new_thread(self._run, ())

    def release(self, pidfd: int) -> None:
        """Free the memory of a process that has been sent SIGKILL; returns at once."""
        try:
            own = os.dup(pidfd)
        except OSError:
            return  # the kernel frees it, a little later
        with self._lock:
            self._todo.append(own)
            if self._wanted.locked():
                self._wanted.release()

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            with self._lock:
                todo, self._todo = self._todo, []
            for fd in todo:
                try:
                    process_mrelease(fd)
                except OSError:
                    pass  # it has freed everything itself, or the kernel is too old
                finally:
                    os.close(fd)
