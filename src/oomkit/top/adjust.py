"""Changes ``oom_score_adj`` of one process, and of that process alone."""

import errno
import os
from types import TracebackType
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
            try:
                os.write(fd, b"%d" % value)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error(error, value) from None

    def _name(self) -> str:
        return label(self.task.comm, self.task.pid)

    def _error(self, error: Exception, value: int | None = None) -> AdjustError:
        name = f"{self.key} of {self._name()}"
        number = error.errno if isinstance(error, OSError) else errno.ESRCH
        if number in GONE:
            return AdjustError(f"{self._name()} has exited")
        if number in REFUSED:
            # An ordinary user may raise that of a process of his own, and lower it no further
            # than somebody with CAP_SYS_RESOURCE has set it.
            lowers = value is not None and value < self.task.oom_score_adj
            needs = "lowering it needs CAP_SYS_RESOURCE" if lowers else "it is another user's"
            return AdjustError(f"{name} can't be changed: permission denied; {needs}")
        return AdjustError(f"{name} can't be changed: {os.strerror(number or 0)}")
