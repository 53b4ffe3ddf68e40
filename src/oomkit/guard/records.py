"""What the journal holds: a class for each kind of record.

As plain values (:meth:`Record.to_values`) they go into the journal; docs/history.md documents the
names of the fields, and :mod:`oomkit.history.records` reads them again.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from oomkit.policy.engine.trigger import State


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
