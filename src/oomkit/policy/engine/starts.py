"""What starts of services took: learnt where one is seen to be started again."""

from oomkit.policy.engine.candidate import Start, leads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from oomkit.policy.engine.candidate import Candidate

MAX_SERVICES = 64
"""Services of which something is known at most, and as many are followed."""
MAX_NAME = 256
"""Characters of a name, as of a unit's (UNIT_NAME_MAX); a longer one is not learnt."""
MAX_COST_S = 600.0
"""A start that took more CPU time is not believed."""
MAX_SEEN = 5
"""The newest starts of a service that count."""
MAX_TIMES = 9999
MAX_AGE_S = 30 * 86400.0
"""What was last seen longer ago counts no more."""

SETTLED_S = 40.0
"""A start is over when the memory of the process stayed as it was for so long. Longer than the
guard takes to read processes again while memory is low and stands still."""
LONGEST_S = 300.0
"""A start that is not over by then, seen from its first look on, is none that can be measured."""
_FRESH_S = 30.0
"""A process that is older when it is first seen has done other things than start."""
_AWAITED_S = 120.0
"""How long a service whose process was killed is expected to come back."""
_CHANGE = 1 / 16
_SMALL_KB = 2048
"""Memory stays as it was within this, and within :data:`_CHANGE` of it."""
_TICKS_A_SECOND = 100.0
"""Of ``starttime`` (USER_HZ)."""


class _Followed:
    """The first process of a service, as it was seen last.

    Attributes:
        pid: its number.
        start_time: clock ticks after boot.
        read_ticks: when it was last read, clock ticks after boot.
        seen_s: when it was last listed, by the readings' clock.
        size_kb: memory at the last change of it.
        cpu_s: CPU time at that change.
        changed_s: when that was, by the readings' clock.
        first_s: when it was first listed, by the readings' clock.
        starting: its start is measured.
        killed_s: when it was killed, by the readings' clock; None: that is not known.
    """

    __slots__ = (
        "changed_s", "cpu_s", "first_s", "killed_s", "pid", "read_ticks", "seen_s", "size_kb",
        "start_time", "starting",
    )  # fmt: skip

    def __init__(self, one: "Candidate", t_s: float, *, starting: bool) -> None:
        self.pid = one.pid
        self.start_time = one.start_time
        self.first_s = self.seen_s = self.changed_s = t_s
        self.read_ticks = _read_ticks(one)
        self.size_kb = _size_kb(one)
        self.cpu_s = one.cpu_s
        self.starting = starting
        self.killed_s: float | None = None

    def note(self, one: "Candidate", t_s: float) -> None:
        """Take in what it is now."""
        self.seen_s = t_s
        self.read_ticks = _read_ticks(one)
        size_kb = _size_kb(one)
        if abs(size_kb - self.size_kb) > max(_SMALL_KB, self.size_kb * _CHANGE):
            self.size_kb, self.cpu_s, self.changed_s = size_kb, one.cpu_s, t_s


class Starts:
    """Learns from the largest processes, look by look, and knows what was learnt.

    A service was started again where the first process of its unit (or cgroup) is another one
    than before, that began after the one before was last seen. Its start took the CPU time that
    the process had used when its memory stopped changing. What children of it used, and waits
    for disks, are not known.

    Args:
        known: what was learnt before.
    """

    __slots__ = ("_followed", "_known")

    def __init__(self, known: "Iterable[Start]" = ()) -> None:
        self._known: dict[str, Start] = {one.name: one for one in known}
        self._followed: dict[str, _Followed] = {}

    def known(self) -> list[Start]:
        """What was learnt, by name."""
        return [self._known[name] for name in sorted(self._known)]

    def take_in(self, known: "Iterable[Start]") -> None:
        """Take in what was learnt elsewhere, of services of which nothing is known here."""
        for one in known:
            if one.name not in self._known and self._make_room(one.name):
                self._known[one.name] = one

    def of(self, one: "Candidate") -> Start | None:
        """What is known of the service that a process is the first of; None: nothing."""
        return self._known.get(service_of(one)) if self._known else None

    def see(self, t_s: float, wall_s: float, tasks: "Iterable[Candidate]") -> None:
        """Take in the largest processes.

        Args:
            t_s: when they were read, by the readings' clock.
            wall_s: the same in seconds since the epoch.
            tasks: the processes.
        """
        by_pid = {one.pid: one for one in tasks}
        smallest_kb = min((_size_kb(one) for one in by_pid.values()), default=0.0)
        for name, one in _first_of_each(by_pid).items():
            self._meet(name, one, smallest_kb, t_s)
        for name in list(self._followed):
            followed = self._followed[name]
            if followed.starting:
                self._settle(name, followed, t_s, wall_s)
            if not 0.0 <= t_s - followed.seen_s <= LONGEST_S:
                del self._followed[name]
        for name in [n for n, one in self._known.items() if not is_recent(one.wall_s, wall_s)]:
            del self._known[name]

    def killed(self, pid: int, t_s: float) -> None:
        """A process was killed, which has its service started again perhaps."""
        for followed in self._followed.values():
            if followed.pid == pid:
                followed.killed_s = t_s

    def begin_boot(self) -> None:
        """Numbers of processes and clocks begin again; what was learnt stays."""
        self._followed.clear()

    def awaits(self, t_s: float) -> bool:
        """Whether looks at processes would show a service that comes back, or its start."""
        return any(
            one.starting or (one.killed_s is not None and t_s - one.killed_s <= _AWAITED_S)
            for one in self._followed.values()
        )

    def _meet(self, name: str, one: "Candidate", smallest_kb: float, t_s: float) -> None:
        before = self._followed.get(name)
        if before is None:
            if len(self._followed) < MAX_SERVICES:
                self._followed[name] = _Followed(one, t_s, starting=False)
        elif (before.pid, before.start_time) == (one.pid, one.start_time):
            before.note(one, t_s)
        else:
            # One that is not listed any more may only have shrunk below all that are.
            ended = before.killed_s is not None or before.size_kb > smallest_kb
            again = ended and one.start_time >= before.read_ticks and one.age_s <= _FRESH_S
            self._followed[name] = _Followed(one, t_s, starting=again)

    def _settle(self, name: str, followed: _Followed, t_s: float, wall_s: float) -> None:
        """Learn what a start took when it is over; pass over one that is too long."""
        if followed.seen_s != t_s:
            followed.starting = t_s - followed.seen_s < SETTLED_S
        elif t_s - followed.changed_s >= SETTLED_S:
            followed.starting = False
            self._learn(name, followed.cpu_s, wall_s)
        elif t_s - followed.first_s > LONGEST_S:
            followed.starting = False

    def _learn(self, name: str, cost_s: float, wall_s: float) -> None:
        if not 0.0 <= cost_s <= MAX_COST_S:
            return
        before = self._known.pop(name, None)
        if before is None and not self._make_room(name):
            return
        costs_s = (*(before.costs_s if before is not None else ()), cost_s)[-MAX_SEEN:]
        times = min(before.times + 1 if before is not None else 1, MAX_TIMES)
        self._known[name] = Start(name, times, wall_s, costs_s)

    def _make_room(self, name: str) -> bool:
        """Whether there is room for one more; those that users name make way for others first."""
        if len(self._known) < MAX_SERVICES:
            return True
        theirs = [other for other in self._known if _is_users(other)]
        if not theirs and _is_users(name):
            return False
        del self._known[theirs[0] if theirs else next(iter(self._known))]
        return True


def service_of(one: "Candidate") -> str:
    """The unit that a process is in, else its cgroup; empty where neither is one to learn of.

    Scopes are not started: another login may have the number of one that is over. That of a
    container has the container's name.
    """
    name = one.unit or one.cgroup or ""
    if name == "/" or len(name) > MAX_NAME or "unit" in one.unknown or "cgroup" in one.unknown:
        return ""
    return "" if name.endswith(".scope") and one.container is None else name


def is_recent(seen_s: float, wall_s: float) -> bool:
    """Whether what was seen at a time counts at another, both in seconds since the epoch."""
    return wall_s - seen_s <= MAX_AGE_S


def to_values(starts: "Iterable[Start]") -> "list[tuple[Any, ...]]":
    """What was learnt, as plain values."""
    return [(one.name, one.times, one.wall_s, one.costs_s) for one in starts]


def from_values(values: "Iterable[tuple[Any, ...]]") -> list[Start]:
    """It again."""
    return [Start(*one) for one in values]


def _first_of_each(by_pid: "dict[int, Candidate]") -> "dict[str, Candidate]":
    """The first process of each service; of several the eldest."""
    found: dict[str, Candidate] = {}
    for one in by_pid.values():
        name = service_of(one)
        if not name or one.kthread or one.dying or not leads(one, by_pid):
            continue
        other = found.get(name)
        if other is None or one.start_time < other.start_time:
            found[name] = one
    return found


def _is_users(name: str) -> bool:
    """Whether others than root may have given the name: below a user's manager, or of a cgroup."""
    return "/" in name


def _size_kb(one: "Candidate") -> float:
    return one.anon_kb + one.shmem_kb + one.swap_kb


def _read_ticks(one: "Candidate") -> float:
    return one.start_time + one.age_s * _TICKS_A_SECOND
