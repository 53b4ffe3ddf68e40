"""Sends the signals that a policy decided on, and notes which victims exited."""

import select
import time
from errno import EMFILE, ENFILE

from oomkit.guard.act_record import SignalRecord
from oomkit.guard.cgroup_reader import directory_of
from oomkit.guard.reserve import MIN, can_be_opened
from oomkit.guard.shared_memory import sharers_of
from oomkit.host.pidfd import Held, pids_below, start_ticks_of
from oomkit.host.procfs import NO_FILES, read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from oomkit.guard.config import Places
    from oomkit.guard.reaper import Reaper
    from oomkit.guard.recheck import Recheck
    from oomkit.policy.engine.candidate import Ranked
    from oomkit.policy.engine.escalation import Signal

_NUMBERS = {"TERM": 15, "KILL": 9, "STOP": 19}

Key = tuple[int, int]
"""Pid and start time, in ticks: one process and no other."""

SWEEPS = 8
"""How often a cgroup is looked through for what was forked meanwhile."""
GONE = "gone"
"""Why a process can't be held, or signalled, that has ended."""


class Sent(SignalRecord):
    """One signal, or the attempt to send it.

    Attributes:
        protected: it was not sent because it must not be, to this process or to one that dies
            with it.
    """

    __slots__ = ("protected",)

    def __init__(
        self, signal: "Signal", t_s: float, error: str, *, protected: bool = False
    ) -> None:
        super().__init__(signal.pid, signal.name, signal.why, t_s, error)
        self.protected = protected


class Killer:
    """Holds victims, each by a pidfd.

    Args:
        places: where processes and cgroups are.
        own_pids: never signalled, whatever a policy says.
        recheck: looks at each process again before it is signalled; :meth:`obey` changes it.
        reaper: speeds up exiting victims; None: nothing does.
        make_room: called when we have too many files open, to close some that can be spared. Where
            the machine has, what we close is anybody's, so nothing is.
        clock: the monotonic one.
        ample: whether that many more files can be opened for certain; None: it has to be tried.
    """

    __slots__ = (
        "_ample", "_clock", "_held", "_loose", "_make_room", "_own_pids", "_places", "_ready",
        "_reaper", "_recheck",
    )  # fmt: skip

    def __init__(
        self,
        places: "Places",
        own_pids: "AbstractSet[int]",
        recheck: "Recheck | None",
        reaper: "Reaper | None",
        make_room: "Callable[[], None]",
        clock: "Callable[[], float]" = time.monotonic,
        ample: "Callable[[int], bool] | None" = None,
    ) -> None:
        self._ample = ample
        self._places = places
        self._own_pids = own_pids
        self._recheck = recheck
        self._ready: Callable[[int, int], int] = _none_is_ready
        self._reaper = reaper
        self._make_room = make_room
        self._clock = clock
        self._held: dict[Key, Held] = {}
        # Signalled, and not held for want of a descriptor: looked for by number and start.
        self._loose: set[Key] = set()

    def obey(self, recheck: "Recheck") -> None:
        """Hold processes against another policy from now on."""
        self._recheck = recheck

    def draw_on(self, ready: "Callable[[int, int], int]") -> None:
        """Take pidfds from where they are held since memory got low.

        Args:
            ready: finds that of a process, by number and start; -1: there is none.
        """
        self._ready = ready

    def rehearse(self, pid: int) -> None:
        """Look at a process as before a signal, so that all of that is in memory by then."""
        if self._recheck is not None:
            try:
                self._recheck.refusal(pid)
            except OSError:
                return  # it is said when it matters

    @property
    def keys(self) -> tuple[Key, ...]:
        """The processes whose pidfds are held."""
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
                self._held[key] = Held(pid, start_ticks, self._places.proc, ready=self._ready(*key))
            except ProcessLookupError:
                return GONE
            except OSError as error:
                if attempt == 1 and error.errno == EMFILE:
                    self._make_room()
                    continue
                return error.strerror or str(error)
            break
        return ""

    def refusal(self, key: Key) -> str:
        """Why a process that is held must not be signalled now; empty where it may.

        This is the one question that is asked for every signal that is ever sent: the first and
        those that follow, to a victim and to what it takes along, in a cgroup, for a guard that
        was killed before.
        """
        if key not in self._held:
            return "not held"
        if self._recheck is None:
            return "no policy is known"
        for attempt in (1, 2):
            try:
                return self._recheck.refusal(key[0])
            except OSError as error:
                if attempt == 1 and error.errno == EMFILE:
                    self._make_room()
                    continue
                return f"what it is can't be read: {error.strerror or error}"
        return ""

    def complete(self, choice: "Ranked", pids: "Sequence[int]") -> None:
        """Add to a choice what shares the memory of its process and was no candidate."""
        one = choice.candidate
        known = {member.pid for member in choice.members}
        unknown = [pid for pid in pids if pid not in known]
        also = sharers_of(one.pid, unknown, self._places.proc, tid=one.tid) if unknown else []
        if also and self._recheck is not None:
            one.mm_id = one.mm_id or one.pid
            found = [self._recheck.candidate(pid) for pid in also]
            for other in found:
                if other is not None:
                    other.mm_id = one.mm_id
                    choice.members = (*choice.members, other)
            if choice.level == "process":
                choice.level = "address space"

    def check(self, keys: "Iterable[Key]", *, keep: bool = True) -> "tuple[Key, str] | None":
        """The first of some processes that must not be signalled, and why; None: all may be.

        Args:
            keys: the processes; what is not there any more is passed over.
            keep: victims for which there are descriptors are held from then on; else only those
                that were before.
        """
        keys = tuple(keys)
        fresh = tuple(key for key in keys if self._needs_a_file(key))
        kept = {*keys} - {*(fresh[self._room(len(fresh)) :] if keep else fresh)}
        for key in keys:
            error = self.hold(key)
            why = error or self.refusal(key)
            self._let_go_unless(key, kept=key in kept)
            if why and error != GONE:
                return key, why
        return None

    def check_group(self, path: str, known: "Iterable[Key]") -> "tuple[Key, str] | None":
        """The first process of a cgroup, beside those known, that must not be signalled; and why.

        A cgroup may hold more processes than are looked at for a choice.
        """
        seen = {pid for pid, _ in known}
        try:
            listed = read_at(f"{directory_of(self._places, path)}/cgroup.procs")
        except OSError as error:
            if error.errno in NO_FILES:
                return (0, 0), f"what is in {path} can't be read: {error.strerror}"
            listed = b""
        for pid in map(int, listed.split()):
            try:
                started = None if pid in seen else start_ticks_of(pid, self._places.proc)
            except OSError as error:
                return (pid, 0), f"what it is can't be read: {error.strerror}"
            if started is None:
                continue
            found = self.check([(pid, started)], keep=False)
            if found is not None:
                return found
        return None

    def send(self, signals: "Sequence[Signal]", *, together: bool = True) -> list[Sent]:
        """Send signals, in this order; each process is held and looked at immediately before.

        Args:
            signals: to which processes, and which.
            together: they go together or not at all: all are looked at before the first is
                signalled, and where one is protected, none is. False where they need not, or
                where that was seen to just now.
        """
        keys = [(signal.pid, signal.start_time) for signal in signals]
        fresh = [key for key in keys if self._needs_a_file(key)]
        loose = {*fresh[self._room(len(fresh)) :]}
        if together and len(signals) > 1:
            for key in keys:
                if key not in loose:
                    self.hold(key)
            found = self.check(key for key in keys if key not in loose) or self.check(
                loose, keep=False
            )
            if found is not None:
                (pid, _), why = found
                return [
                    Sent(one, self._clock(), f"with process {pid}: {why}", protected=True)
                    for one in signals
                ]
        sent = [
            self._send_loosely(signal) if key in loose else self._send_one(signal)
            for key, signal in zip(keys, signals, strict=True)
        ]
        # The reaper, too, takes a descriptor for each, and one more, beside whatever comes next.
        if self._reaper is not None and self._has_numbers(len(sent) + 1):
            for signal, one in zip(signals, sent, strict=True):
                grip = self._held.get((signal.pid, signal.start_time))
                if not one.error and grip is not None:
                    self._reaper.help(grip, killed=one.name == "KILL")
        return sent

    def _send_one(self, signal: "Signal") -> Sent:
        """Signal a process, if it is there and may be."""
        key = (signal.pid, signal.start_time)
        error = self.hold(key)
        why = "" if error else self.refusal(key)
        said = error or why or _deliver(self._held[key], _NUMBERS[signal.name])
        return Sent(signal, self._clock(), said, protected=bool(why))

    def _room(self, count: int) -> int:
        """How many of some processes can be held at once, with each looked at meanwhile."""
        if not count:
            return 0
        # A held process takes one, and one more while the reaper has it.
        if self._ample is not None and self._ample(2 * (len(self._held) + count)):
            return count
        wanted = count + MIN  # so that there is always room for one more that is let go of
        free, why = can_be_opened(wanted)
        if why == EMFILE:
            self._make_room()
            free, why = can_be_opened(wanted)
        return max(free - MIN, 0)

    def _has_numbers(self, count: int) -> bool:
        """Whether we may have so many more descriptors, of files that are open, and some more."""
        if self._ample is not None and self._ample(len(self._held) + count):
            return True
        wanted = count + MIN
        free, why = can_be_opened(wanted)
        return free == wanted or why == ENFILE

    def _needs_a_file(self, key: Key) -> bool:
        """Whether a file has to be opened to hold a process."""
        return key not in self._held and self._ready(*key) < 0

    def _send_loosely(self, signal: "Signal") -> Sent:
        """Signal a process that is let go of at once, as descriptors are low."""
        key = (signal.pid, signal.start_time)
        sent = self._send_one(signal)
        self.let_go(key)
        if not sent.error:
            self._loose.add(key)
        return sent

    def sweep(self, path: str, keys: "Iterable[Key]", since_ticks: int) -> int:
        """Kill what was forked into a cgroup while its members were being killed.

        Each is held and looked at by itself; ``cgroup.kill`` would also kill what was moved in from
        elsewhere between the look and the kill.

        Args:
            path: the cgroup.
            keys: pid and start time of the intended victims.
            since_ticks: ticks since boot at which they were all that was in it.

        Returns:
            how many were killed; none from the first on that was there before, or may not be.
        """
        directory = directory_of(self._places, path)
        seen = {pid for pid, _ in keys}
        killed = 0
        if path in ("", "/"):
            return killed
        for _ in range(SWEEPS):
            fresh = [pid for pid in pids_below(directory) if pid not in seen]
            seen.update(fresh)
            if not fresh:
                break
            for pid in fresh:
                try:
                    started = start_ticks_of(pid, self._places.proc)
                except OSError:
                    return killed
                if started is None:
                    continue
                key = (pid, started)
                kept = key in self._held
                if started < since_ticks or self.check([key]) is not None:
                    self._let_go_unless(key, kept=kept)
                    return killed
                if key in self._held:
                    killed += not _deliver(self._held[key], _NUMBERS["KILL"])
                self._let_go_unless(key, kept=kept)
        return killed

    def _let_go_unless(self, key: Key, *, kept: bool) -> None:
        if not kept:
            self.let_go(key)

    def dead(self) -> list[Key]:
        """The processes that exited since the last look; their pidfds are closed."""
        ended = []
        if self._held:
            poller = select.poll()
            keys = {}
            for key, held in self._held.items():
                keys[held.fd] = key
                poller.register(held.fd, select.POLLIN)
            ended = [keys[fd] for fd, _ in poller.poll(0)]
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
        """Descriptors that poll as readable when a victim exits."""
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


def _none_is_ready(_pid: int, _start_time: int) -> int:
    return -1


def _deliver(held: Held, number: int) -> str:
    try:
        held.send(number)
    except ProcessLookupError:
        return GONE
    except OSError as error:
        return error.strerror or str(error)
    return ""
