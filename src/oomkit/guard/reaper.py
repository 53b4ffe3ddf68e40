"""Thread that speeds up exiting victims (nice, process_mrelease)."""

import os
from _thread import allocate_lock, start_new_thread

from oomkit.host.libc import process_mrelease
from oomkit.host.pidfd import hurry
from oomkit.host.self_protection import run_first

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oomkit.host.pidfd import Held


class Reaper:
    """Hurries the killed, and frees their memory (``process_mrelease``, 5.15).

    Both take time that a thread of its own can spend: the call frees memory on the caller's.
    """

    __slots__ = ("_lock", "_todo", "_wanted")

    def __init__(self) -> None:
        """Start the thread."""
        self._todo: list[tuple[int, int]] = []
        self._lock = allocate_lock()
        self._wanted = allocate_lock()
        self._wanted.acquire()
        start_new_thread(self._run, ())

    def help(self, held: "Held", *, killed: bool) -> None:
        """Help a process that was signalled; returns at once.

        Args:
            held: the process.
            killed: by SIGKILL. SIGTERM may be handled: then the kernel refuses to free anything,
                and there is nothing to hurry.
        """
        try:
            own = os.dup(held.fd)
        except OSError:
            return  # it has to do without
        with self._lock:
            self._todo.append((held.pid if killed else 0, own))
            if self._wanted.locked():
                self._wanted.release()

    def _run(self) -> None:
        run_first()
        while True:
            self._wanted.acquire()
            with self._lock:
                todo, self._todo = self._todo, []
            for pid, _ in todo:
                if pid:
                    hurry(pid)
            for _, fd in todo:
                try:
                    process_mrelease(fd)
                except OSError:
                    pass  # it is not dying, has freed everything itself, or the kernel is too old
                finally:
                    os.close(fd)
