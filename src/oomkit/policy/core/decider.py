"""The whole of a policy at work: look, choose, act, wait."""

from oomkit.policy.core.conditions import available_kb
from oomkit.policy.core.growth import Growth
from oomkit.policy.core.how import Escalation, Signal
from oomkit.policy.core.levels import HARD, SOFT
from oomkit.policy.core.match import Matcher
from oomkit.policy.core.when import State, Watch
from oomkit.policy.core.whom import Chooser, best

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from oomkit.policy.core.candidate import Candidate
    from oomkit.policy.core.ranked import Ranked
    from oomkit.policy.core.reading import CgroupReading, Reading

STEP = 0.01
"""Sizes are noted anew when such a share of memory has gone."""

TURN_S = 0.1
"""From one choice to the next: what is taken meanwhile has to come free as well."""

WIDEN_WITHIN_S = 60.0
"""Kills of one parent's children so close together are taken for one cause."""


class Look:
    """What a reading calls for.

    Attributes:
        state: what the rules say.
        signals: to send at once to those already asked to leave.
        choose: candidates are wanted: somebody has to be chosen.
        sizes: everybody's size should be noted now (:meth:`.growth.Growth.note`), so that growth
            can be told later.
        obstacle: why nobody is chosen although it is serious; empty otherwise.
    """

    __slots__ = ("choose", "obstacle", "signals", "sizes", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.signals: tuple[Signal, ...] = ()
        self.choose = False
        self.sizes = False
        self.obstacle = ""


class Act:
    """A choice that was made.

    Attributes:
        state: why now, with the evidence.
        ranked: everybody, as :meth:`.whom.Chooser.rank` left them.
        choice: whom.
        signals: what to send.
        command: what to run instead of sending it; None: send the signals.
    """

    __slots__ = ("choice", "command", "ranked", "signals", "state")

    def __init__(
        self,
        state: State,
        ranked: "list[Ranked]",
        choice: "Ranked",
        signals: tuple[Signal, ...],
        command: tuple[str, ...] | None,
    ) -> None:
        self.state = state
        self.ranked = ranked
        self.choice = choice
        self.signals = signals
        self.command = command


class Decider:
    """A policy at work. Whoever drives it reads the machine and sends the signals.

    In turn: :meth:`look` with a reading; where it says ``sizes``, note them in ``growth``; where
    it says ``choose``, :meth:`choose` with the candidates; :meth:`died` whenever somebody
    signalled is gone; and again after :meth:`next_look_s`.

    Args:
        plan: what ``compile_plan`` made of a policy.
        own_pids: never chosen: the guard itself.
        cpus: of the machine, for how fast its memory can fill; None: unknown.
        dry_run: decide everything, and take nobody for dying.
    """

    __slots__ = (
        "_calm_since_s",
        "_enough",
        "_instead",
        "_mem_total_kb", "_parents", "_state", "_widen_after", "chooser", "escalation", "growth",
        "watch",
    )  # fmt: skip

    def __init__(
        self,
        plan: "dict[str, Any]",
        *,
        own_pids: "frozenset[int]" = frozenset(),
        cpus: int | None = None,
        dry_run: bool = False,
    ) -> None:
        self.watch = Watch(plan, cpus=cpus)
        self.chooser = Chooser(plan, own_pids=own_pids)
        self.escalation = Escalation(plan, dry_run=dry_run)
        self.growth = Growth(plan["whom"]["growth_over_s"])
        self._widen_after: int = plan["whom"]["widen_after"]
        self._enough: float = plan["whom"]["enough"]
        self._mem_total_kb = 0.0
        self._instead = [(Matcher(p), tuple(argv)) for p, argv in plan["how"]["instead"]]
        self._parents: list[tuple[float, int]] = []
        self._state: State | None = None
        self._calm_since_s: float | None = None

    def look(self, reading: "Reading") -> Look:
        """Take in a reading, and say what it calls for."""
        t_s = reading.t_s
        escalation = self.escalation
        state = self.watch.see(reading, coming_kb=escalation.coming_kb(t_s))
        self._state = state
        self._mem_total_kb = reading.mem_total_kb
        look = Look(state)
        self._forget_old_sizes(state)
        if state.warm:
            left_kb = available_kb(reading) + reading.swap_free_kb
            step_kb = STEP * reading.mem_total_kb
            look.sizes = self.growth.due(t_s, left_kb, step_kb)
        look.signals = escalation.escalate(t_s, state.level)
        if state.level >= SOFT and not look.signals:
            look.obstacle = escalation.obstacle(t_s, state.level)
            look.choose = not look.obstacle
        return look

    def _forget_old_sizes(self, state: State) -> None:
        """Sizes of an earlier shortage tell nothing of who grows in this one."""
        if not state.warm:
            if self._calm_since_s is None:
                self._calm_since_s = state.t_s
        elif self._calm_since_s is not None:
            if state.t_s - self._calm_since_s >= self.growth.window_s:
                self.growth.forget()
            self._calm_since_s = None

    def choose(
        self,
        candidates: "Sequence[Candidate]",
        groups: "Sequence[CgroupReading]" = (),
    ) -> Act | None:
        """Choose among candidates by the last reading; None where nobody can be chosen."""
        state = self._state
        if state is None or state.level < SOFT:
            return None
        ranked = self.rank(candidates, groups)
        choice = best(ranked)
        if choice is None:
            self.escalation.nobody(state.t_s)
            return None
        signals = self.escalation.begin(choice, state.t_s, state.level)
        self._parents.append((state.t_s, choice.candidate.ppid))
        return Act(state, ranked, choice, signals, self._command(choice, state.level))

    def rank(
        self,
        candidates: "Sequence[Candidate]",
        groups: "Sequence[CgroupReading]" = (),
    ) -> "list[Ranked]":
        """The order in which they would be chosen now, without choosing."""
        state = self._state
        return self.chooser.rank(
            candidates,
            groups=groups,
            by=state.by if state is not None else None,
            within=state.cgroup if state is not None else None,
            widened=self._widened(state.t_s) if state is not None else None,
        )

    def died(self, pid: int, start_time: int, t_s: float) -> None:
        """A process is gone. When the last one signalled is, pressure is measured anew."""
        if self.escalation.died(pid, start_time, t_s):
            self.watch.begin_anew()

    def next_look_s(self, reading: "Reading", *, psi_wakes: bool = False) -> float:
        """Seconds until the next reading is due."""
        own = self.escalation.next_s(reading.t_s)
        return min(self.watch.next_look_s(reading, psi_wakes=psi_wakes), max(own, 1e-3))

    def _widened(self, t_s: float) -> dict[int, float]:
        """Parents who lost so many children lately that several go at once: more each time."""
        if not self._widen_after:
            return {}
        self._parents = [(at, ppid) for at, ppid in self._parents if at > t_s - WIDEN_WITHIN_S]
        lost: dict[int, int] = {}
        for _, ppid in self._parents:
            lost[ppid] = lost.get(ppid, 0) + 1
        least_kb = self.watch.falls_kb_s() * TURN_S
        return {
            ppid: max((1 + n - self._widen_after) * self._enough * self._mem_total_kb, least_kb)
            for ppid, n in lost.items()
            if n >= self._widen_after and ppid > 1
        }

    def _command(self, choice: "Ranked", level: int) -> tuple[str, ...] | None:
        """The command a policy wants instead of SIGTERM; where it is hard, signals it is."""
        if level >= HARD:
            return None
        for matcher, argv in self._instead:
            if matcher.matches(choice.candidate):
                return argv
        return None
