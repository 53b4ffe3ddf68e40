"""How to act: signals that escalate, memory being freed, pauses, maximum kills a minute."""

from oomkit.policy.engine.candidate import Candidate, memories
from oomkit.policy.engine.conditions import HARD, SOFT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oomkit.policy.engine.candidate import Ranked
    from oomkit.policy.engine.plan import Plan

INFINITY = float("inf")

MIN_SHARE = 0.05
"""What is expected of a death at least, of what it should give back."""

NOBODY_PAUSE_S = 1.0
"""Seconds to wait after a failed selection."""


class Signal:
    """One signal to send.

    Attributes:
        pid: the process it goes to.
        start_time: which process of that id.
        name: ``TERM`` or ``KILL``.
        why: what made it so, for the record.
    """

    __slots__ = ("name", "pid", "start_time", "why")

    def __init__(self, candidate: "Candidate", name: str, why: str) -> None:
        self.pid = candidate.pid
        self.start_time = candidate.start_time
        self.name = name
        self.why = why


class _Dying:
    __slots__ = ("candidate", "killed_s", "signalled_s")

    def __init__(self, candidate: "Candidate", t_s: float) -> None:
        self.candidate = candidate
        self.signalled_s = t_s
        self.killed_s: float | None = None


class Escalation:
    """What is under way: victims sent SIGTERM or SIGKILL, and memory that is being freed.

    Args:
        plan: what ``compile_plan`` made of a policy.
        dry_run: no signal is sent: acts are only kept apart by their pause.

    Attributes:
        share: what deaths give back, of what they should.
    """

    __slots__ = (
        "_acts", "_before_s", "_dry_run", "_dying", "_last_s", "_nobody_s", "_pauses",
        "_response", "share",
    )  # fmt: skip

    def __init__(self, plan: "Plan", *, dry_run: bool = False) -> None:
        self._response = plan.response
        self._pauses = {rule.pause_s for rule in plan.rules if rule.pause_s is not None}
        self._dry_run = dry_run
        self._dying: dict[tuple[int, int], _Dying] = {}
        self._nobody_s: float | None = None
        self._acts: list[float] = []
        self._last_s: float | None = None
        self._before_s: float | None = None
        self.share = 1.0

    def obstacle(self, t_s: float, level: int, *, pause_s: float | None = None) -> str:
        """Why no new victim may be chosen now; empty where one may.

        Args:
            t_s: now.
            level: how serious it is.
            pause_s: the pause of the rule that holds; None: the policy's.
        """
        response = self._response
        self._acts = [at for at in self._acts if at > t_s - 60.0]
        if len(self._acts) >= response.most_a_minute:
            return f"{len(self._acts)} kills in the last minute"
        pause = self._pause_s(level, pause_s)
        if self._last_s is not None and t_s < self._last_s + pause:
            return f"pause of {pause:g} s after the last one"
        if self._nobody_s is not None and t_s < self._nobody_s + NOBODY_PAUSE_S:
            return "no process could be chosen"
        waits = [d for d in self._dying.values() if not self._stuck(d, t_s)]
        asked = any(d.killed_s is None for d in waits)
        if waits and (asked or level < HARD or not response.together):
            first = waits[0].candidate
            return f"{first.comm}[{first.pid}] is exiting"
        return ""

    def begin(self, choice: "Ranked", t_s: float, level: int) -> tuple[Signal, ...]:
        """Act on a choice: the signals to send now.

        The one that it is about comes first, as it may start others, then those that free most.
        """
        name = "TERM" if level == SOFT and self._response.term else "KILL"
        self._acts.append(t_s)
        self._before_s, self._last_s = self._last_s, t_s
        if not self._dry_run:
            for member in choice.members:
                dying = _Dying(member, t_s)
                dying.killed_s = t_s if name == "KILL" else None
                self._dying[member.pid, member.start_time] = dying
        why = "chosen" if len(choice.members) == 1 else f"in the chosen {choice.level}"
        rest = sorted(choice.members[1:], key=Candidate.freed_kb, reverse=True)
        return tuple(Signal(member, name, why) for member in (choice.members[0], *rest))

    def none_found(self, t_s: float) -> None:
        """No process could be chosen: asking again at once is of no use."""
        self._nobody_s = t_s

    def escalate(self, t_s: float, level: int) -> tuple[Signal, ...]:
        """SIGKILL for victims that have not exited after SIGTERM.

        Only while memory is still low: after a recovery a slow victim may take its time.
        """
        found = []
        for dying in self._dying.values():
            if dying.killed_s is not None:
                continue
            waited = t_s - dying.signalled_s
            if level >= HARD and t_s >= dying.signalled_s + self._response.term_least_s:
                why = f"memory ran hard {waited:.1f} s after SIGTERM"
            elif (level >= SOFT or self._response.insist) and (
                t_s >= dying.signalled_s + self._response.term_wait_s
            ):
                why = f"still there {waited:.1f} s after SIGTERM"
            else:
                continue
            dying.killed_s = t_s
            found.append(Signal(dying.candidate, "KILL", why))
        return tuple(found)

    def died(self, pid: int, start_time: int, t_s: float) -> bool:
        """A process has exited; returns whether it was one of ours and the last one under way."""
        if self._dying.pop((pid, start_time), None) is None:
            return False
        if self._dying:
            return False
        self._last_s = t_s
        return True

    def spared(self, pid: int, start_time: int, *, signalled: bool) -> None:
        """A process was not signalled after all, as it is protected by now.

        Args:
            pid: the process.
            start_time: which one of that id.
            signalled: it had a signal before, which counts on.
        """
        if self._dying.pop((pid, start_time), None) is None or self._dying:
            return
        self._last_s = self._before_s
        if not signalled and self._acts:
            self._acts.pop()

    def dying(self) -> tuple[tuple[int, int], ...]:
        """(pid, start time) of every signalled process that is not known to have exited."""
        return tuple(self._dying)

    def coming_kb(self, t_s: float) -> float:
        """Memory being freed: of killed processes that will exit soon."""
        killed = [
            d.candidate
            for d in self._dying.values()
            if d.killed_s is not None and not self._stuck(d, t_s)
        ]
        return self.share * sum(one.freed_kb() for one in memories(killed))

    def learn(self, expected_kb: float, freed_kb: float) -> None:
        """Expect of the next deaths the share that the last one gave.

        Forked processes share their pages: all but the last to die give back next to nothing.
        """
        if expected_kb > 0.0:
            self.share = min(max(freed_kb / expected_kb, MIN_SHARE), 1.0)

    def bound(self, share: float) -> None:
        """Expect no more than such a share."""
        self.share = min(self.share, max(share, MIN_SHARE))

    def trust(self) -> None:
        """The shortage is over: what kills freed in it says nothing about the next one."""
        self.share = 1.0

    def stuck(self, t_s: float) -> tuple[tuple[int, int], ...]:
        """Processes whose wait after SIGKILL has timed out."""
        return tuple(key for key, d in self._dying.items() if self._stuck(d, t_s))

    def next_s(self, t_s: float) -> float:
        """Seconds until something here changes by itself; infinity where nothing does."""
        response = self._response
        soonest = INFINITY
        for dying in self._dying.values():
            for at in (
                dying.signalled_s + response.term_least_s,
                dying.signalled_s + response.term_wait_s,
                dying.signalled_s + response.term_wait_s + response.give_up_s,
                (dying.killed_s or dying.signalled_s) + response.give_up_s,
            ):
                if at > t_s:
                    soonest = min(soonest, at - t_s)
        if self._nobody_s is not None and self._nobody_s + NOBODY_PAUSE_S > t_s:
            soonest = min(soonest, self._nobody_s + NOBODY_PAUSE_S - t_s)
        if self._last_s is not None:
            pauses = [self._pause_s(SOFT), self._pause_s(HARD)]
            pauses += [self._pause_s(HARD, own) for own in self._pauses]
            for pause in pauses:
                at = self._last_s + pause
                if at > t_s:
                    soonest = min(soonest, at - t_s)
        return soonest

    def _pause_s(self, level: int, own_s: float | None = None) -> float:
        response = self._response
        if self._dry_run:
            return response.dry_run_pause_s
        if own_s is not None:
            return own_s
        return response.pause_s if level < HARD else response.hard_pause_s

    def _stuck(self, dying: _Dying, t_s: float) -> bool:
        if dying.killed_s is not None:
            given_up = dying.killed_s + self._response.give_up_s
        else:
            given_up = dying.signalled_s + self._response.term_wait_s + self._response.give_up_s
        return t_s >= given_up
