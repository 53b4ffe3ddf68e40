"""Sending the signals that a policy decided on, and seeing who died of them."""

import errno
import os
import time

from oomkit.guard.groups import directory_of
from oomkit.host.cgroupkill import kill_cgroup, pids_below
from oomkit.host.pidfd import Held, start_ticks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oomkit.guard.places import Places
    from oomkit.guard.reaper import Reaper
    from oomkit.policy.core.how import Signal

_NUMBERS = {"TERM": 15, "KILL": 9}

Key = tuple[int, int]
"""Pid and start time, in ticks: one process and no other."""


class Sent:
    """One signal, or the attempt to send it.

    Attributes:
        pid: to whom.
        name: ``TERM`` or ``KILL``.
        why: what made it so.
        t_s: when, by the monotonic clock.
        error: why it was not sent; empty if it was.
    """

    __slots__ = ("error", "name", "pid", "t_s", "why")

    def __init__(self, signal: "Signal", t_s: float, error: str) -> None:
        self.pid = signal.pid
        self.name = signal.name
        self.why = signal.why
        self.t_s = t_s
        self.error = error


class Striker:
    """Holds those who are to die, each by a pidfd.

    Args:
        places: where processes and cgroups are.
        own_pids: never signalled, whatever a policy says.
        reaper: helps the dying along; None: nobody does.
        make_room: called when no file can be opened, to close some that can be spared.
        clock: the monotonic one.
    """

    __slots__ = ("_clock", "_held", "_loose", "_make_room", "_own_pids", "_places", "_reaper")

    def __init__(
        self,
        places: "Places",
        own_pids: "frozenset[int]",
        reaper: "Reaper | None",
        make_room: "Callable[[], None]",
        clock: "Callable[[], float]" = time.monotonic,
    ) -> None:
        self._places = places
        self._own_pids = own_pids
        self._reaper = reaper
        self._make_room = make_room
        self._clock = clock
        self._held: dict[Key, Held] = {}
        # Signalled, and not held for want of a descriptor: looked for by number and start.
        self._loose: set[Key] = set()

    @property
    def keys(self) -> tuple[Key, ...]:
        """Who is held."""
        return tuple(self._held)

    def hold(self, key: Key) -> str:
        """Take hold of a process; returns why that can't be done, or nothing."""
        pid, start_ticks = key
        if pid <= 1 or pid in self._own_pids:
            return "never signalled"
        if key in self._held:
            return ""
        for attempt in (1, 2):
            try:
                self._held[key] = Held(pid, start_ticks, self._places.proc)
            except ProcessLookupError:
                return "gone"
            except OSError as error:
                if attempt == 1 and error.errno in (errno.EMFILE, errno.ENFILE):
                    self._make_room()
                    continue
                return error.strerror or str(error)
            break
        return ""

    def send(self, signals: "Sequence[Signal]") -> list[Sent]:
        """Send signals: everybody is taken hold of before anybody is told."""
        # Two are left for whoever can't be held until the end: a pidfd, and what tells its start.
        held = signals if len(signals) < 2 else signals[: max(self._room(len(signals) + 2) - 2, 1)]
        errors = [self.hold((signal.pid, signal.start_time)) for signal in held]
        sent = []
        for signal, error in zip(held, errors, strict=True):
            grip = self._held.get((signal.pid, signal.start_time))
            said = error if error or grip is None else _deliver(grip, _NUMBERS[signal.name])
            sent.append(Sent(signal, self._clock(), said))
        loose = signals[len(held) :]
        sent += [Sent(signal, self._clock(), self._send_loosely(signal)) for signal in loose]
        if self._reaper is not None:
            for signal, one in zip(signals, sent, strict=True):
                grip = self._held.get((signal.pid, signal.start_time))
                if not one.error and grip is not None:
                    self._reaper.help(grip, killed=one.name == "KILL")
        return sent

    def _room(self, most: int) -> int:
        """So many more descriptors can be had, up to the most that matter."""
        fds: list[int] = []
        try:
            while len(fds) < most:
                fds.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self._make_room()
        finally:
            for fd in fds:
                os.close(fd)
        return len(fds)

    def _send_loosely(self, signal: "Signal") -> str:
        """Signal one who is let go of at once, as descriptors are short; returns what failed."""
        key = (signal.pid, signal.start_time)
        error = self.hold(key)
        if not error:
            error = _deliver(self._held[key], _NUMBERS[signal.name])
            self.let_go(key)
        if not error:
            self._loose.add(key)
        return error

    def sweep(self, path: str, pids: "Iterable[int]", since_ticks: int) -> bool:
        """Kill what was forked into a cgroup while its members were being killed.

        Args:
            path: the cgroup.
            pids: those who were meant.
            since_ticks: ticks since boot at which they were all that was in it.

        Returns:
            False where ``cgroup.kill`` is missing, or somebody else is in there as well.
        """
        directory = directory_of(self._places, path)
        others = set(pids_below(directory)) - set(pids)
        if path in ("", "/") or others & self._own_pids:
            return False
        try:
            for pid in others:
                started = start_ticks_of(pid, self._places.proc)
                if started is not None and started < since_ticks:
                    return False
            kill_cgroup(directory)
        except OSError:
            return False
        return True

    def dead(self) -> list[Key]:
        """Who ended since the last look; they are let go of."""
        ended = [key for key, held in self._held.items() if held.dead()]
        for pid, start_ticks in tuple(self._loose):
            try:
                gone = start_ticks_of(pid, self._places.proc) != start_ticks
            except OSError:
                continue
            if gone:
                ended.append((pid, start_ticks))
        for key in ended:
            self.let_go(key)
        return ended

    def fds(self) -> list[int]:
        """Descriptors that poll as readable when somebody ends."""
        return [held.fd for held in self._held.values()]

    def let_go(self, key: Key) -> None:
        """Hold it no longer."""
        self._loose.discard(key)
        held = self._held.pop(key, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Let go of all."""
        for key in self.keys:
            self.let_go(key)


def _deliver(held: Held, number: int) -> str:
    try:
        held.send(number)
    except ProcessLookupError:
        return "gone"
    except OSError as error:
        return error.strerror or str(error)
    return ""
