"""Changes ``oom_score_adj`` of one process, and of that process alone."""

import errno
import os
from typing import Self

from oomkit.errors import OomkitError
from oomkit.host.procfs import GONE, REFUSED, read_at
from oomkit.host.stat import parse_stat
from oomkit.kernel.state import Task
from oomkit.render.quantities import label


class AdjustError(OomkitError):
    """The adjustment can't be changed; the text names the process and says why."""


class Adjustment:
    """The file of one process, held by its directory: a later process with its pid is another.

    Attributes:
        task: the process, as it was when it was chosen.
        key: name of the file: ``oom_score_adj``, or ``oom_adj``.
    """

    def __init__(self, task: Task, key: str = "oom_score_adj", proc_root: str = "/proc") -> None:
        """Open the process's directory.

        Args:
            task: the process.
            key: name of the file.
            proc_root: the proc file system.

        Raises:
            AdjustError: it has exited, or can't be looked at.
        """
        self.task = task
        self.key = key
        self._fd = -1
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._fd = os.open(f"{proc_root}/{task.pid}", flags)
            start_s = parse_stat(read_at("stat", self._fd)).start_ticks // os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError) as error:
            self.close()
            raise self._error(error) from None
        if start_s != task.start_s:
            self.close()
            raise AdjustError(f"{self._name()} has exited; its pid is another process's now")

    def __enter__(self) -> Self:
        """Return the adjustment itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the process."""
        self.close()

    def close(self) -> None:
        """Let go of the process."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def write(self, value: int) -> None:
        """Set the adjustment.

        Raises:
            AdjustError: that is not allowed, or the process has exited.
        """
        try:
            fd = os.open(self.key, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError as error:
            raise self._error(error, "it is another user's") from None
        try:
            os.write(fd, b"%d" % value)
        except OSError as error:
            # Anybody may raise it, and lower it no further than CAP_SYS_RESOURCE has set it.
            raise self._error(error, "lowering it needs CAP_SYS_RESOURCE") from None
        finally:
            os.close(fd)

    def _name(self) -> str:
        return label(self.task.comm, self.task.pid)

    def _error(self, error: Exception, refused: str = "") -> AdjustError:
        number = error.errno if isinstance(error, OSError) else errno.ESRCH
        if number in GONE:
            return AdjustError(f"{self._name()} has exited")
        why = os.strerror(number or 0)
        if number in REFUSED and refused:
            why = f"permission denied; {refused}"
        return AdjustError(f"{self.key} of {self._name()} can't be changed: {why}")
