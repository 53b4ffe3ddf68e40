"""Sleeping until there is a reason to look; while all is well the reason is looked for here."""

import os
import select
import time

from oomkit.guard.kernel_file import number_after
from oomkit.host.psi_trigger import Trigger
from oomkit.policy.engine.pace import calm_of

TYPE_CHECKING = False

if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Collection

    from oomkit.guard.machine_reader import MachineReader
    from oomkit.policy.engine.pace import Calm
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import Reading

    Poll = Callable[[int], list[tuple[int, int]]]
else:  # the public module brings enum, which a small daemon can't afford
    import _signal

LOOKS = 359
"""Maximum number of looks in a row: what is not about memory needs a whole turn at times.

A whole turn is cheap by itself, but not where the machine has slept since the last: then none of
what it touches is near, and it costs as much as a hundred looks.
"""
BLIND_LOOKS = 29
"""The same where the kernel's log can't be read, and its kills are only counted."""
TOLD_LOOKS = 5
"""The same where a status file or a recording has to be kept up to date."""
BOUNDED_LOOKS = 5
"""The same where the machine may refuse us files, so that the largest processes are held ready."""
SOONEST_S = 1.0
"""Where the next look is due sooner than this, it is not that calm."""
_TOTAL_KEY = b"MemTotal:"
_KEY = b"MemAvailable:"
_AFTER_KEY = b"MemAvailable;"
_NEWLINE = 10


def most_looks(*, told: bool, sees_log: bool, bounded: bool) -> int:
    """Maximum number of looks in a row.

    Args:
        told: a status file or a recording has to be kept up to date.
        sees_log: the kernel's log is ours to read.
        bounded: the machine may refuse us files.
    """
    looks = TOLD_LOOKS if told else LOOKS if sees_log else BLIND_LOOKS
    return min(looks, BOUNDED_LOOKS) if bounded else looks


class IdleLoop:
    """Stands in for whole turns, where nothing but available memory can matter.

    Args:
        plan: the policy.
        sources: where available memory is read.
        news: says, as ``poll.poll`` does, whether the kernel's log wants a whole turn.
        cpus: of the machine; None: unknown.
        longest_s: the longest sleep.
        looks: maximum number in a row.
        alive: called after each look; None: not called.
        clock: the monotonic one.

    Attributes:
        count: how often it looked.
    """

    __slots__ = (
        "_alive", "_at", "_calm", "_clock", "_cpus", "_end", "_floor", "_head", "_last", "_left",
        "_longest_s", "_looks", "_news", "_plan", "_size", "_sources", "_timeout_ms", "_total_kb",
        "count",
    )  # fmt: skip

    def __init__(
        self,
        plan: "Plan",
        sources: "MachineReader",
        news: "Poll",
        *,
        cpus: int | None,
        longest_s: float,
        looks: int = LOOKS,
        alive: "Callable[[], object] | None" = None,
        clock: "Callable[[], float]" = time.monotonic,
    ) -> None:
        self._plan = plan
        self._sources = sources
        self._news = news
        self._cpus = cpus
        self._longest_s = longest_s
        self._looks = looks
        self._alive = alive
        self._clock = clock
        self._calm: Calm | None = None
        self._total_kb = 0.0
        self._left = self._at = self._end = self._size = self._timeout_ms = 0
        self._floor = self._head = b""
        self._last: tuple[float, bytes] | None = None
        self.count = 0

    def allow(self, reading: "Reading") -> None:
        """A whole turn has found all well, and nothing under way."""
        self._left = 0
        if reading.mem_total_kb != self._total_kb:
            self._total_kb = reading.mem_total_kb
            self._calm = calm_of(self._plan, self._total_kb, cpus=self._cpus)
        if self._aim(self._find_line()):
            self._left = self._looks

    def forbid(self) -> None:
        """Something is not well."""
        self._left = 0

    def poll(self, poll: "Poll", timeout_ms: int) -> "list[tuple[int, int]]":
        """Sleep and look, again and again, until something happens or a whole turn is due.

        It is one loop over local names that parses nothing: each look finds the CPU's caches
        cold, so it costs what it touches. One line is compared with the least it may say, which
        is written as the kernel writes it: both begin with the same key and end in the same
        place, so the numbers are padded to one width, and the bytes are in the numbers' order.

        Args:
            poll: what to sleep in; it is all there is to do where :meth:`allow` was not called.
            timeout_ms: how long to sleep first.

        Returns:
            what ``poll`` did; nothing where a whole turn is due.
        """
        fd, size, at, end, floor = (
            self._sources.meminfo_fd, self._size, self._at, self._end, self._floor,
        )  # fmt: skip
        head = self._head
        pread, news, alive, clock = os.pread, self._news, self._alive, self._clock
        left = self._left
        t_s, seen = 0.0, b""
        while True:
            ready = poll(timeout_ms)
            if ready or not left:
                break
            left -= 1
            try:
                meminfo = pread(fd, size, 0)
                moved = meminfo[end] != _NEWLINE
            except (OSError, IndexError):
                break  # a whole turn finds out why
            line = meminfo[at:end]
            if moved or not line < _AFTER_KEY or not meminfo.startswith(head) or news(0):
                break
            if line < floor:
                if not self._aim(line):
                    break
                floor = self._floor
            t_s, seen = clock(), meminfo
            if alive is not None:
                alive()
            timeout_ms = self._timeout_ms
        self.count += self._left - left
        self._left = left
        if seen:
            self._last = (t_s, seen)
        return ready

    def last(self) -> "tuple[float, float] | None":
        """When a look last found all well, and memory and free swap then; each is returned once."""
        if self._last is None:
            return None
        (t_s, meminfo), self._last = self._last, None
        available_kb = number_after(meminfo, _KEY) or 0
        return t_s, available_kb + (number_after(meminfo, b"\nSwapFree:") or 0)

    def _find_line(self) -> bytes:
        """The line on available memory, whose place is noted; empty where there is none."""
        meminfo = self._sources.meminfo
        # All shares are of the total, which comes first; memory can be plugged in.
        self._head = meminfo[: meminfo.find(b"\n") + 1] if meminfo.startswith(_TOTAL_KEY) else b""
        self._at = max(meminfo.find(_KEY), 0)
        self._end = max(meminfo.find(b"\n", self._at), 0)
        # Up to the free swap is read; what comes after it is of no use.
        swap_end = meminfo.find(b"\n", meminfo.find(b"\nSwapFree:") + 1)
        self._size = max(self._end, swap_end) + 1
        return meminfo[self._at : self._end]

    def _aim(self, line: bytes) -> bool:
        """Find the least that the line may say from here on; False where a whole turn is due."""
        available_kb = number_after(line, _KEY)
        if self._calm is None or available_kb is None:
            return False
        floor_kb = self._calm.floor_kb(available_kb)
        next_s = self._calm.next_look_s(floor_kb)
        if available_kb < floor_kb or next_s < min(SOONEST_S, self._plan.polling.max_interval_s):
            return False
        self._floor = _KEY + b"%*d kB" % (len(line) - len(_KEY) - len(b" kB"), floor_kb)
        # Rounded up: a sleep that ends a moment early only has to begin again.
        self._timeout_ms = int(min(next_s, self._longest_s) * 1000) + 1
        return True


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
