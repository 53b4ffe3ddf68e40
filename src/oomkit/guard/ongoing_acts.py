"""Acts under way: what is to die, what has come free so far, and the record of it."""

from oomkit.guard.act_record import ActRecord
from oomkit.policy.engine.candidate import Candidate, Ranked
from oomkit.policy.engine.conditions import HARD, SOFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from oomkit.guard.killer import Key, Sent
    from oomkit.guard.records import Origin
    from oomkit.policy.engine.decider import Act
    from oomkit.policy.engine.escalation import Escalation

SETTLE_S = 1.0
"""How long after the last death memory is still waited for."""
GIVE_UP_S = 60.0
"""How long a death is waited for before the record is closed without it."""
_ALL_BACK = 0.9
_TOO_MUCH = 2.0**63


class OngoingAct:
    """One act.

    Attributes:
        record: for the journal.
        victim: the process it is about.
        alive: its members that are not known to be gone.
        begun_s: when, by the monotonic clock.
    """

    __slots__ = (
        "_best_s", "_died_s", "_expected_kb", "_freed_kb", "_left_kb", "alive", "begun_s",
        "record", "victim",
    )  # fmt: skip

    def __init__(
        self,
        record: ActRecord,
        victim: Candidate,
        alive: "set[Key]",
        begun_s: float,
        left_kb: float,
        expected_kb: float,
    ) -> None:
        self.record = record
        self.victim = victim
        self.alive = alive
        self.begun_s = begun_s
        self._left_kb = left_kb
        self._expected_kb = expected_kb
        self._freed_kb = 0.0
        self._best_s = begun_s
        self._died_s: float | None = None

    def sent(self, sent: "Iterable[Sent]") -> None:
        """Note signals."""
        self.record.signals += sent

    def died(self, key: "Key", t_s: float) -> None:
        """Note a death."""
        if key in self.alive:
            self.alive.remove(key)
            if not self.alive:
                self._died_s = t_s

    def settled(self, t_s: float, left_kb: float, *, short: bool) -> bool:
        """Measure what came free; says whether the act is over, and completes its record if so.

        Args:
            t_s: now.
            left_kb: available memory and free swap.
            short: memory is still short.
        """
        freed_kb = left_kb - self._left_kb
        # The time counts at which nearly all of it was back, not that of the last page.
        if freed_kb > self._freed_kb * 1.02:
            self._freed_kb, self._best_s = freed_kb, t_s
        if self._died_s is not None:
            all_back = self._freed_kb >= self._expected_kb * _ALL_BACK
            return (all_back or t_s - self._died_s >= SETTLE_S) and self._end("died", t_s)
        if t_s - self.begun_s < GIVE_UP_S:
            return False
        return self._end("survived" if self.record.killed or short else "spared", t_s)

    def abandon(self, outcome: str) -> None:
        """Close the record without waiting any longer."""
        self.record.outcome = outcome

    def saved(self) -> "dict[str, Any]":
        """What a guard that is started after this one needs, in plain values."""
        return {
            "record": self.record.to_values(),
            "alive": sorted(self.alive),
            "begun_s": self.begun_s,
            "left_kb": self._left_kb,
            "expected_kb": self._expected_kb,
        }

    def _end(self, outcome: str, t_s: float) -> bool:
        self.record.outcome = outcome
        self.record.freed_kb = int(self._freed_kb)
        self.record.freed_after_ms = round((self._best_s - self.begun_s) * 1000, 1)
        if self._died_s is not None:
            self.record.died_after_ms = round((self._died_s - self.begun_s) * 1000, 1)
        return True


def begun(act: "Act", left_kb: float, time_s: float, origin: "Origin") -> OngoingAct:
    """An act that has just begun; its record is without the candidates.

    Args:
        act: what was decided.
        left_kb: available memory and free swap before.
        time_s: seconds since the epoch.
        origin: by which policy.
    """
    choice, begun_s = act.choice, act.state.t_s
    record = ActRecord.of(act, origin, time_s, whole=False)
    alive = {(one.pid, one.start_time) for one in choice.members}
    return OngoingAct(record, choice.candidate, alive, begun_s, left_kb, choice.freed_kb)


def resumed(saved: "dict[str, Any]") -> OngoingAct:
    """An act that another guard began.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it was saved by another version.
    """
    record = ActRecord.from_values(saved["record"])
    record.resumed = True
    victim = record.victim
    begun_s, left_kb, expected_kb = (
        float(saved[name]) for name in ("begun_s", "left_kb", "expected_kb")
    )
    if not abs(begun_s) + abs(left_kb) + abs(expected_kb) < _TOO_MUCH:
        raise ValueError("a number without end")
    one = Candidate(
        victim.pid, victim.start_time, 0, victim.comm, anon_kb=expected_kb, uid=victim.uid,
        cgroup=victim.cgroup,
    )  # fmt: skip
    alive = {(int(pid), int(start)) for pid, start in saved["alive"]}
    return OngoingAct(record, one, alive, begun_s, left_kb, expected_kb)


def take_up(ongoing: OngoingAct, escalation: "Escalation", t_s: float) -> None:
    """Have an escalation wait for the members of an act that it did not begin itself.

    Args:
        ongoing: the act.
        escalation: of the policy that is at work now.
        t_s: now; never before the act began, whatever the saved file says.
    """
    choice = Ranked(ongoing.victim)
    share_kb = ongoing.victim.anon_kb / max(len(ongoing.alive), 1)
    choice.members = tuple(
        Candidate(pid, start, 0, ongoing.victim.comm, anon_kb=share_kb)
        for pid, start in ongoing.alive
    )
    level = HARD if ongoing.record.killed else SOFT
    escalation.begin(choice, min(ongoing.begun_s, t_s), level)
