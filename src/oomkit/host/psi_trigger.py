"""Triggers on pressure: descriptors that poll as ready when tasks stalled for too long."""

import errno
import os

_UNPRIVILEGED_STEP_US = 2_000_000


class Trigger:
    """One trigger (5.2); poll ``fd`` for POLLPRI, at most one event a window.

    Attributes:
        fd: the descriptor; POLLERR means that the file is gone.
        fine: the kernel watches it by a thread of its own, ten times a window. Without
            CAP_SYS_RESOURCE (allowed since 6.4, 6.1 as well) it is looked at every two seconds
            only, and an event is lost whenever another process reads the file at the wrong moment
            (``psi_show()``, kernel/sched/psi.c), so that such a trigger is a help, not a promise.
    """

    __slots__ = ("fd", "fine")

    def __init__(self, path: str, kind: str, stall_us: int, window_us: int) -> None:
        """Set a trigger.

        Args:
            path: ``/proc/pressure/memory`` or a cgroup's ``memory.pressure``.
            kind: ``some`` or ``full``.
            stall_us: how much stalled time within the window makes an event.
            window_us: 500,000 to 10,000,000 (less since 6.5).

        Raises:
            OSError: there is no such file, or triggers are refused.
        """
        self.fine = True
        try:
            self.fd = _set(path, kind, stall_us, window_us)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
            self.fine = False
            coarse_us = -(-window_us // _UNPRIVILEGED_STEP_US) * _UNPRIVILEGED_STEP_US
            self.fd = _set(path, kind, stall_us, coarse_us)

    def close(self) -> None:
        """Remove the trigger."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _set(path: str, kind: str, stall_us: int, window_us: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # The kernel overwrites the last byte, which therefore must not be one of the number.
        os.write(fd, b"%s %d %d\0" % (kind.encode(), stall_us, window_us))
    except OSError:
        os.close(fd)
        raise
    return fd
