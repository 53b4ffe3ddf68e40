"""Sleeping until there is a reason to look."""

import os
import select

from oomkit.host.psi_trigger import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Collection

    from oomkit.guard.idle_loop import IdleLoop, Poll
else:  # the public module brings enum, which a small daemon can't afford
    import _signal

SIGHUP, SIGINT, SIGTERM = 1, 2, 15

STALL_US = 100_000
WINDOW_US = 1_000_000
"""Tasks that stalled for a tenth of a second within one wake us."""
_NOTHING: "frozenset[int]" = frozenset()


class EventLoop:
    """What can wake the daemon: pressure, signals, whatever descriptors it waits for, and time.

    Attributes:
        asked: signals that came and were not dealt with yet.
        count: how often it woke.
    """

    __slots__ = (
        "_before", "_path", "_pipe", "_poll", "_poller", "_trigger", "asked", "count",
    )  # fmt: skip

    def __init__(self, pressure: str, poll: "Poll | None" = None) -> None:
        """Set a trigger and take over signals.

        Args:
            pressure: the PSI file; empty: there is none to wait for.
            poll: sleeps instead of ``poll.poll``, as in a test.
        """
        self._poll = poll
        self.asked: list[int] = []
        self.count = 0
        self._path = pressure
        self._trigger: Trigger | None = None
        self._poller: select.poll | None = None
        self._pipe, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._before = [
            (number, _signal.signal(number, lambda signum, _frame: self.asked.append(signum)))
            for number in (SIGHUP, SIGINT, SIGTERM)
        ]
        # SIGHUP was blocked until there was a handler for it: see cli.
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (SIGHUP, SIGINT, SIGTERM))
        self.set_trigger()

    @property
    def by_pressure(self) -> bool:
        """Pressure wakes us at once, and no event is lost."""
        return self._trigger is not None and self._trigger.fine

    @property
    def has_trigger(self) -> bool:
        """There is a trigger, if only a coarse one."""
        return self._trigger is not None

    def set_trigger(self) -> None:
        """Set the trigger where there is none, or not any more."""
        if self._trigger is None and self._path:
            try:
                self._trigger = Trigger(self._path, "some", STALL_US, WINDOW_US)
                self._poller = None
            except OSError:
                self._trigger = None

    def wait(
        self, timeout_s: float, fds: "Collection[int]", idle_loop: "IdleLoop"
    ) -> "frozenset[int]":
        """Sleep until something happens.

        Args:
            timeout_s: no longer than this, unless ``idle_loop`` finds nothing to do then.
            fds: descriptors whose becoming readable is a reason.
            idle_loop: sleeps.

        Returns:
            those of them that are.
        """
        # It is made once for the long sleeps, in which no victim is waited for.
        poller = self._polls(fds) if fds else self._poller
        if poller is None:
            poller = self._poller = self._polls(())
        # Rounded up: a sleep that ends a moment early only has to begin again.
        looked = idle_loop.count
        ready = idle_loop.poll(self._poll or poller.poll, int(timeout_s * 1000) + 1)
        self.count += 1 + idle_loop.count - looked
        if not ready:
            return _NOTHING
        events = dict(ready)
        if events.pop(self._pipe, 0):
            self._drain()
        if self._trigger is not None and events.pop(self._trigger.fd, 0) & select.POLLERR:
            self._trigger.close()
            self._trigger = self._poller = None
        return frozenset(events)

    def close(self) -> None:
        """Give back signals and the trigger."""
        write = _signal.set_wakeup_fd(-1)
        for fd in (self._pipe, write):
            if fd >= 0:
                os.close(fd)
        for number, handler in self._before:
            _signal.signal(number, handler)
        if self._trigger is not None:
            self._trigger.close()
            self._trigger = None

    def _polls(self, fds: "Collection[int]") -> "select.poll":
        poller = select.poll()
        poller.register(self._pipe, select.POLLIN)
        if self._trigger is not None:
            poller.register(self._trigger.fd, select.POLLPRI)
        for fd in fds:
            poller.register(fd, select.POLLIN)
        return poller

    def _drain(self) -> None:
        try:
            while os.read(self._pipe, 64):
                pass
        except BlockingIOError:
            return
