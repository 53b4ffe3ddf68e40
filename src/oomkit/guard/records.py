"""What the journal holds: a class for each kind of record.

As plain values (:meth:`Record.to_values`) they go into the journal; docs/history.md documents the
names of the fields, and :mod:`oomkit.history.records` reads them again.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from oomkit.policy.engine.candidate import Ranked
    from oomkit.policy.engine.trigger import State

MAX_CMDLINE = 4096
"""Characters of a command line in a record."""


class Record:
    """One record. The journal adds the time where a record has none of its own.

    Attributes:
        kind: what sort it is.
    """

    __slots__ = ()
    kind = ""

    def to_values(self) -> dict[str, Any]:
        """Return the record as dictionaries, lists, texts, numbers and None."""
        return {"kind": self.kind}


class Origin:
    """Whose record it is.

    Attributes:
        policy: the policy that is in force.
        dry_run: no signal is sent.
    """

    __slots__ = ("dry_run", "policy")

    def __init__(self, policy: str, *, dry_run: bool) -> None:
        self.policy = policy
        self.dry_run = dry_run

    def to_values(self) -> dict[str, Any]:
        """Return it as fields of a record."""
        return {"policy": self.policy, "dry_run": self.dry_run}


class StartRecord(Record):
    """The guard started.

    Attributes:
        origin: the policy.
        source: its name or file.
        missing: what can't be seen or done on this machine, in sentences.
        resumed: acts that were under way.
    """

    __slots__ = ("missing", "origin", "resumed", "source")
    kind = "start"

    def __init__(self, origin: Origin, source: str, missing: tuple[str, ...], resumed: int) -> None:
        self.origin = origin
        self.source = source
        self.missing = missing
        self.resumed = resumed

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {
            "kind": self.kind, **self.origin.to_values(), "source": self.source,
            "missing": self.missing, "resumed": self.resumed,
        }  # fmt: skip


class StopRecord(Record):
    """The guard stopped.

    Attributes:
        origin: the policy.
        under_way: acts whose end it did not see.
    """

    __slots__ = ("origin", "under_way")
    kind = "stop"

    def __init__(self, origin: Origin, under_way: int) -> None:
        self.origin = origin
        self.under_way = under_way

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {"kind": self.kind, **self.origin.to_values(), "under_way": self.under_way}


class ReloadRecord(Record):
    """The policy was read again.

    Attributes:
        origin: the policy that is in force from then on.
        fault: why it is still the old one; empty where it is the new one.
    """

    __slots__ = ("fault", "origin")
    kind = "reload"

    def __init__(self, origin: Origin, fault: str = "") -> None:
        self.origin = origin
        self.fault = fault

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        text = {"text": self.fault} if self.fault else {}
        return {"kind": self.kind, **self.origin.to_values(), "ok": not self.fault, **text}


class ErrorRecord(Record):
    """Something that the guard needs failed.

    Attributes:
        origin: the policy.
        text: what.
    """

    __slots__ = ("origin", "text")
    kind = "error"

    def __init__(self, origin: Origin, text: str) -> None:
        self.origin = origin
        self.text = text

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {"kind": self.kind, "text": self.text, **self.origin.to_values()}


class WarnRecord(Record):
    """Memory is low.

    Attributes:
        origin: the policy.
        why_now: see :func:`why_now`.
    """

    __slots__ = ("origin", "why_now")
    kind = "warn"

    def __init__(self, origin: Origin, state: State) -> None:
        self.origin = origin
        self.why_now = why_now(state)

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {"kind": self.kind, **self.origin.to_values(), **self.why_now}


class KernelKillRecord(Record):
    """A kill of the kernel's that its log showed.

    Attributes:
        pid: the victim; None where the line was damaged.
        comm: its name.
        scope: ``global`` or ``memcg``.
        kernel_s: seconds since boot by the kernel's log.
        lines: the report.
        lines_dropped: how many more lines it had.
        mono_s: when, by the monotonic clock.
        time_s: when, seconds since the epoch.
    """

    __slots__ = (
        "comm", "kernel_s", "lines", "lines_dropped", "mono_s", "pid", "scope", "time_s",
    )  # fmt: skip
    kind = "kernel_kill"
    count = 1

    def __init__(
        self,
        pid: int | None,
        comm: str,
        scope: str,
        kernel_s: float,
        lines: list[bytes],
        lines_dropped: int = 0,
    ) -> None:
        self.pid = pid
        self.comm = comm
        self.scope = scope
        self.kernel_s = kernel_s
        self.lines = lines
        self.lines_dropped = lines_dropped
        self.mono_s = self.time_s = 0.0

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        dropped = {"lines_dropped": self.lines_dropped} if self.lines_dropped else {}
        return {
            "kind": self.kind, "seen": "kmsg", "pid": self.pid, "comm": self.comm,
            "scope": self.scope, "kernel_s": self.kernel_s, "lines": self.lines, **dropped,
            "mono_s": self.mono_s, "time_s": self.time_s,
        }  # fmt: skip


class CountedKillsRecord(Record):
    """Kills of the kernel's that only its counter showed.

    Attributes:
        count: how many.
        cgroups: how many more each cgroup counts, by its path.
        mono_s: when they were noticed, by the monotonic clock.
        time_s: when, seconds since the epoch.
    """

    __slots__ = ("cgroups", "count", "mono_s", "time_s")
    kind = "kernel_kill"

    def __init__(self, count: int, cgroups: dict[str, int]) -> None:
        self.count = count
        self.cgroups = cgroups
        self.mono_s = self.time_s = 0.0

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {
            "kind": self.kind, "seen": "vmstat", "count": self.count, "cgroups": self.cgroups,
            "mono_s": self.mono_s, "time_s": self.time_s,
        }  # fmt: skip


def why_now(state: State) -> dict[str, Any]:
    """Return the rule that holds and the evidence for each of its conditions."""
    return {
        "rule": state.rule,
        "cgroup": state.cgroup,
        "evidence": [
            {
                "name": one.kind.name,
                "measured": rounded(one.measured),
                "threshold": rounded(one.threshold),
                "unit": one.kind.unit,
                "holds": one.holds,
                "held_s": rounded(one.held_s),
                "over_s": one.over_s,
                "cgroup": one.cgroup,
            }
            for one in state.evidence
        ],
    }


def rounded(value: float | None) -> float | int | None:
    """Keep what matters of a number; whole ones without a point, None for an infinity."""
    if value is None or value - value != 0.0:
        return None
    short = round(value, 3) if abs(value) < 1000.0 else round(value)
    return int(short) if short == short // 1 else short


NONE = type(None)
NUMBER = (int, float)
_VICTIM = {
    **dict.fromkeys(("pid", "start_time"), (int,)),
    **dict.fromkeys(("comm", "level", "note"), (str,)),
    **dict.fromkeys(("user", "exe", "cmdline", "cgroup", "unit", "container"), (str, NONE)),
    "uid": (int, NONE),
    **dict.fromkeys(("cpu_s", "expected_kb"), (*NUMBER, NONE)),
}
"""What each field of a victim holds."""


def expect(values: dict[str, Any], kinds: dict[str, tuple[type, ...]]) -> None:
    """Look whether plain values are what a record holds.

    Raises:
        TypeError: one is of another kind, or a number without end.
    """
    for name, kind in kinds.items():
        if name not in values:
            continue
        value = values[name]
        if not isinstance(value, kind) or (isinstance(value, NUMBER) and not abs(value) < 2.0**63):
            raise TypeError(f"{name}: {value!r}")


class VictimRecord:
    """What a choice takes.

    Attributes:
        pid: of the process it is about, as are the fields up to ``cpu_s``.
        start_time: see :class:`oomkit.policy.engine.candidate.Candidate`, as for those below.
        comm: its name.
        uid: its user.
        user: that user's name.
        exe: its program.
        cmdline: its arguments, not much more than :data:`MAX_CMDLINE` characters of them.
        cgroup: its memory cgroup.
        unit: its unit.
        container: its container.
        cpu_s: CPU time that is lost.
        level: how far the choice reaches.
        note: why it reaches less far than the policy asks.
        expected_kb: what should come free.
        members: pid and name of each process that dies.
    """

    __slots__ = (
        "cgroup", "cmdline", "comm", "container", "cpu_s", "exe", "expected_kb", "level", "members",
        "note", "pid", "start_time", "uid", "unit", "user",
    )  # fmt: skip

    def __init__(
        self,
        pid: int,
        start_time: int,
        comm: str,
        *,
        uid: int | None = None,
        user: str | None = None,
        exe: str | None = None,
        cmdline: str | None = None,
        cgroup: str | None = None,
        unit: str | None = None,
        container: str | None = None,
        cpu_s: float | None = None,
        level: str = "process",
        note: str = "",
        expected_kb: float | None = None,
        members: tuple[tuple[int, str], ...] = (),
    ) -> None:
        self.pid = pid
        self.start_time = start_time
        self.comm = comm
        self.uid = uid
        self.user = user
        self.exe = exe
        self.cmdline = cmdline
        self.cgroup = cgroup
        self.unit = unit
        self.container = container
        self.cpu_s = cpu_s
        self.level = level
        self.note = note
        self.expected_kb = expected_kb
        self.members = members

    @classmethod
    def of(cls, choice: Ranked) -> VictimRecord:
        """Return what a choice takes."""
        one = choice.candidate
        return cls(
            one.pid, one.start_time, one.comm, uid=one.uid, user=one.user, exe=one.exe,
            cmdline=_short(one.cmdline), cgroup=one.cgroup, unit=one.unit,
            container=one.container, cpu_s=rounded(one.cpu_s), level=choice.level,
            note=choice.note, expected_kb=rounded(choice.freed_kb),
            members=tuple((c.pid, c.comm) for c in choice.members),
        )  # fmt: skip

    def to_values(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "pid": self.pid, "start_time": self.start_time, "comm": self.comm, "uid": self.uid,
            "user": self.user, "exe": self.exe, "cmdline": self.cmdline, "cgroup": self.cgroup,
            "unit": self.unit, "container": self.container, "cpu_s": self.cpu_s,
            "level": self.level, "note": self.note, "expected_kb": self.expected_kb,
            "members": [{"pid": pid, "comm": comm} for pid, comm in self.members],
        }  # fmt: skip

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> VictimRecord:
        """Return it again.

        Raises:
            KeyError, TypeError, ValueError: it was saved by another version.
        """
        expect(values, _VICTIM)
        members = tuple((int(one["pid"]), str(one["comm"])) for one in values["members"])
        return cls(**{**values, "members": members})


def _short(cmdline: str | None) -> str | None:
    if cmdline is None or len(cmdline) <= MAX_CMDLINE:
        return cmdline
    return f"{cmdline[:MAX_CMDLINE]}\u2026"
