"""The records that a guard left, read: a class for each kind.

A journal may be another version's, so that every field but the time and the kind can be missing,
unknown fields are passed over, and an unknown kind is a plain :class:`Record`.
"""

from typing import Any

import msgspec


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One condition: see :class:`oomkit.policy.engine.conditions.Evidence`."""

    name: str
    holds: bool
    measured: float | None = None
    threshold: float | None = None
    unit: str | None = None
    held_s: float | None = None
    over_s: float | None = None
    cgroup: str | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A process that dies with others."""

    pid: int | None = None
    comm: str | None = None


class Victim(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice took: see :class:`oomkit.guard.records.VictimRecord`.

    Attributes:
        name: what people call its cgroup, looked up when it is shown; not recorded.
    """

    pid: int | None = None
    comm: str | None = None
    uid: int | None = None
    user: str | None = None
    cmdline: str | None = None
    unit: str | None = None
    cgroup: str | None = None
    container: str | None = None
    name: str | None = None
    level: str | None = None
    note: str | None = None
    expected_kb: float | None = None
    members: tuple[Member, ...] | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What starts of a service took: see :class:`oomkit.policy.engine.starts.Start`."""

    service: str | None = None
    cpu_s: float | None = None
    times: int | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One of the ranking, with what its score was made of."""

    pid: int | None = None
    comm: str | None = None
    freed_kb: float | None = None
    swap_kb: float | None = None
    oom_score_adj: int | None = None
    score: float | None = None
    dies_with: int | None = None
    verdict: str | None = None
    factors: dict[str, float | None] | None = None
    starts: tuple[Start, ...] | None = None


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal of an act: see :class:`oomkit.guard.act_record.SignalRecord`."""

    pid: int | None = None
    name: str | None = None
    why: str | None = None
    t_s: float | None = None
    error: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Any record.

    Attributes:
        time_s: when, seconds since the epoch.
        kind: what sort it is.
        mono_s: when, by the monotonic clock.
        policy: the policy that was in force.
        dry_run: no signal was sent.
        text: what there is to say besides.
    """

    time_s: float
    kind: str
    mono_s: float | None = None
    policy: str | None = None
    dry_run: bool | None = None
    text: str | None = None


class Warned(Record, frozen=True, kw_only=True):
    """Memory was low."""

    evidence: tuple[Evidence, ...] | None = None


class Reloaded(Record, frozen=True, kw_only=True):
    """The policy was read again; ``ok``: and taken."""

    ok: bool | None = None


class Act(Record, frozen=True, kw_only=True):
    """A choice, and what came of it: see :class:`oomkit.guard.act_record.ActRecord`."""

    level: str | None = None
    rule: int | None = None
    evidence: tuple[Evidence, ...] | None = None
    victim: Victim | None = None
    reason: str | None = None
    candidates: tuple[Candidate, ...] | None = None
    signals: tuple[Signal, ...] | None = None
    outcome: str | None = None
    freed_kb: float | None = None
    freed_after_ms: float | None = None


class Eased(Record, frozen=True, kw_only=True):
    """A softer act than a signal: see :class:`oomkit.guard.undo.EaseRecord`."""

    act: str | None = None
    rule: int | None = None
    evidence: tuple[Evidence, ...] | None = None
    victim: Victim | None = None
    reason: str | None = None
    place: str | None = None
    before: str | None = None
    value: str | None = None
    lasts_s: float | None = None
    outcome: str | None = None
    freed_kb: float | None = None
    after_ms: float | None = None


class KernelKill(Record, frozen=True, kw_only=True):
    """A kill of the kernel's, or several that only its counter showed (``seen`` is ``vmstat``)."""

    pid: int | None = None
    comm: str | None = None
    seen: str | None = None
    scope: str | None = None
    kernel_s: float | None = None
    count: int | None = None
    cgroups: dict[str, int] | None = None
    lines: tuple[str, ...] | None = None


_CLASSES: dict[str, type[Record]] = {
    "act": Act,
    "ease": Eased,
    "kernel_kill": KernelKill,
    "reload": Reloaded,
    "warn": Warned,
}


def read_record(values: dict[str, Any]) -> Record:
    """Return a record as what it is.

    Raises:
        msgspec.ValidationError: a field is not what it should be; the text says which.
    """
    return msgspec.convert(values, _CLASSES.get(str(values.get("kind")), Record))
