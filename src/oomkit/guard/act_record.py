"""The record of an act: why it was chosen, what it takes, which signals were sent, how it ended."""

from __future__ import annotations

from oomkit.guard.records import (
    NONE,
    NUMBER,
    Origin,
    Record,
    VictimRecord,
    expect,
    rounded,
    why_now,
)
from oomkit.policy.engine.conditions import NAMES

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from oomkit.policy.engine.candidate import Candidate, Ranked
    from oomkit.policy.engine.decider import Act

MAX_CANDIDATES = 20
"""Processes of the ranking in a record."""
MAX_STARTS = 3
"""Services of which a candidate's row says what their starts took."""


class SignalRecord:
    """A signal of an act, sent or not.

    Attributes:
        pid: to which process.
        name: ``TERM`` or ``KILL``.
        why: what made it so.
        t_s: when, by the monotonic clock.
        error: why it was not sent; empty if it was.
    """

    __slots__ = ("error", "name", "pid", "t_s", "why")

    def __init__(self, pid: int, name: str, why: str, t_s: float, error: str) -> None:
        self.pid = pid
        self.name = name
        self.why = why
        self.t_s = t_s
        self.error = error

    def to_values(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "pid": self.pid, "name": self.name, "why": self.why, "t_s": self.t_s,
            "error": self.error,
        }  # fmt: skip


_ACT = {
    **dict.fromkeys(("policy", "id", "level", "reason"), (str,)),
    **dict.fromkeys(("time_s", "mono_s"), NUMBER),
    **dict.fromkeys(("rule", "considered"), (int,)),
    **dict.fromkeys(("evidence", "candidates"), (list, tuple)),
    "command": (list, tuple, NONE),
    **dict.fromkeys(("cgroup", "outcome"), (str, NONE)),
    **dict.fromkeys(("freed_kb", "freed_after_ms", "died_after_ms"), (*NUMBER, NONE)),
}
"""What each field of an act holds, apart from those that are records."""


class ActRecord(Record):
    """A choice, and what came of it: recorded when it begins, and again when it ends.

    Attributes:
        origin: the policy.
        id: distinguishes it from others of this boot.
        time_s: when it began, seconds since the epoch.
        mono_s: the same by the monotonic clock.
        level: ``soft`` or ``hard``.
        why_now: see :func:`why_now`.
        victim: the process, and all that die with it.
        reason: why this one, in a sentence.
        candidates: the head of the ranking, see :func:`candidates`.
        considered: how many were ranked.
        command: what was run instead of a signal; None: nothing.
        signals: what was sent.
        spared: processes that were protected when they were looked at again, and why.
        resumed: another guard began it.
        outcome: how it ended; None: it is under way.
        freed_kb: memory that came back; None: not known yet.
        freed_after_ms: when nearly all of that was back.
        died_after_ms: when the last of its processes was gone; None: it is not.
    """

    __slots__ = (
        "candidates", "command", "considered", "died_after_ms", "freed_after_ms", "freed_kb", "id",
        "level", "mono_s", "origin", "outcome", "reason", "resumed", "signals", "spared", "time_s",
        "victim", "why_now",
    )  # fmt: skip
    kind = "act"

    def __init__(
        self,
        origin: Origin,
        act_id: str,
        time_s: float,
        mono_s: float,
        *,
        level: str,
        why_now: dict[str, Any],
        victim: VictimRecord,
        reason: str,
        candidates: list[dict[str, Any]],
        considered: int,
        command: tuple[str, ...] | None,
    ) -> None:
        self.origin = origin
        self.id = act_id
        self.time_s = time_s
        self.mono_s = mono_s
        self.level = level
        self.why_now = why_now
        self.victim = victim
        self.reason = reason
        self.candidates = candidates
        self.considered = considered
        self.command = command
        self.signals: list[SignalRecord] = []
        self.spared: list[tuple[int, str]] = []
        self.resumed = False
        self.outcome: str | None = None
        self.freed_kb: int | None = None
        self.freed_after_ms: float | None = None
        self.died_after_ms: float | None = None

    @classmethod
    def of(cls, act: Act, origin: Origin, time_s: float, *, whole: bool = True) -> ActRecord:
        """Return what is known of an act when it begins.

        Args:
            act: what was decided.
            origin: by which policy.
            time_s: now, seconds since the epoch.
            whole: with the candidates, which take longer than all the rest, and nobody needs
                before the signal.
        """
        one, begun_s = act.choice.candidate, act.state.t_s
        return cls(
            origin,
            f"{one.pid}-{one.start_time}-{begun_s:.3f}",
            round(time_s, 6),
            round(begun_s, 6),
            level=NAMES[act.state.level],
            why_now=why_now(act.state),
            victim=VictimRecord.of(act.choice),
            reason=reason(act.ranked),
            candidates=candidates(act.ranked) if whole else [],
            considered=len(act.ranked),
            command=act.command,
        )

    @property
    def killed(self) -> bool:
        """SIGKILL was sent, or should have been."""
        return any(one.name == "KILL" for one in self.signals)

    def to_values(self) -> dict[str, Any]:
        """Return the record as plain values; what is not known yet is left out."""
        values = {
            "kind": self.kind,
            "level": self.level,
            **self.why_now,
            "victim": self.victim.to_values(),
            "reason": self.reason,
            "candidates": self.candidates,
            "considered": self.considered,
            "command": self.command,
            "id": self.id,
            "time_s": self.time_s,
            "mono_s": self.mono_s,
            **self.origin.to_values(),
            "signals": [one.to_values() for one in self.signals],
        }
        if self.spared:
            values["spared"] = [{"pid": pid, "why": why} for pid, why in self.spared]
        if self.resumed:
            values["resumed"] = True
        for name in ("outcome", "freed_kb", "freed_after_ms", "died_after_ms"):
            known = getattr(self, name)
            if known is not None:
                values[name] = known
        return values

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ActRecord:
        """Return the record of an act that was under way.

        Raises:
            KeyError, TypeError, ValueError: it was saved by another version.
        """
        expect(values, _ACT)
        made = cls(
            Origin(values["policy"], dry_run=values["dry_run"]),
            values["id"],
            values["time_s"],
            values["mono_s"],
            level=values["level"],
            why_now={name: values[name] for name in ("rule", "cgroup", "evidence")},
            victim=VictimRecord.from_values(values["victim"]),
            reason=values["reason"],
            candidates=values["candidates"],
            considered=values["considered"],
            command=values["command"],
        )
        made.signals = [
            SignalRecord(
                int(one["pid"]), str(one["name"]), str(one["why"]), float(one["t_s"]),
                str(one["error"]),
            )
            for one in values["signals"]
        ]  # fmt: skip
        made.spared = [(int(one["pid"]), str(one["why"])) for one in values.get("spared", ())]
        made.resumed = bool(values.get("resumed"))
        made.outcome = values.get("outcome")
        made.freed_kb = values.get("freed_kb")
        made.freed_after_ms = values.get("freed_after_ms")
        made.died_after_ms = values.get("died_after_ms")
        return made


def candidates(ranked: Iterable[Ranked]) -> list[dict[str, Any]]:
    """Return the head of the ranking, with what the scores are made of."""
    rows: list[dict[str, Any]] = []
    for one in ranked:
        if len(rows) >= MAX_CANDIDATES:
            break
        row = {
            **_sizes(one.candidate),
            "dies_with": len(one.members) - 1,
            "freed_kb": rounded(one.freed_kb),
            "score": rounded(one.score),
            "factors": {name: rounded(value) for name, value in one.factors},
            "verdict": one.verdict,
        }
        if one.starts:
            row["starts"] = [
                {"service": start.name, "cpu_s": rounded(start.cost_s()), "times": start.times}
                for start in one.starts[:MAX_STARTS]
            ]
        rows.append(row)
    return rows


def reason(ranked: Iterable[Ranked]) -> str:
    """Return in a sentence why the first that can be chosen is, by the factor that decided."""
    first, second = None, None
    for one in ranked:
        if not one.verdict:
            if first is not None:
                second = one
                break
            first = one
    if first is None:
        return "no process can be chosen"
    if second is None:
        return "no other process can be chosen"
    lead = f"ahead of {second.candidate.comm}[{second.candidate.pid}]"
    if second.score <= 0.0 or first.score <= 0.0:
        return f"first, {lead}"
    ratio = first.score / second.score
    theirs = dict(second.factors)
    factor, best = "", 1.0
    for name, value in first.factors:
        other = theirs.get(name, 1.0)
        if other > 0.0 and value / other > best:
            factor, best = name, value / other
    by = f", most by {factor}" if factor else ""
    return f"score {ratio:.3g} times that of {second.candidate.comm}[{second.candidate.pid}]{by}"


def _sizes(one: Candidate) -> dict[str, Any]:
    return {
        "pid": one.pid,
        "comm": one.comm,
        "uid": one.uid,
        "anon_kb": rounded(one.anon_kb),
        "shmem_kb": rounded(one.shmem_kb),
        "swap_kb": rounded(one.swap_kb),
        "pgtables_kb": rounded(one.pgtables_kb),
        "oom_score_adj": one.oom_score_adj,
        "growth_kb": rounded(one.growth_kb),
        "cpu_s": rounded(one.cpu_s),
    }
