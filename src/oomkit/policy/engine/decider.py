"""The whole of a policy at work: look, choose, act, wait."""

from oomkit.policy.engine.candidate import Growth, memories
from oomkit.policy.engine.conditions import HARD, SOFT
from oomkit.policy.engine.easing import Ease, Easing
from oomkit.policy.engine.escalation import NOBODY_PAUSE_S, Escalation, Signal
from oomkit.policy.engine.kill_scope import take_along
from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.engine.reading import left_kb
from oomkit.policy.engine.trigger import State, Watch
from oomkit.policy.engine.victim import Chooser, best

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from oomkit.policy.engine.candidate import Candidate, Ranked
    from oomkit.policy.engine.plan import Plan, Rule
    from oomkit.policy.engine.reading import CgroupReading, Reading
    from oomkit.policy.engine.starts import Starts

STEP = 0.01
"""Share of memory consumed after which sizes are sampled again."""


class Assessment:
    """What a reading calls for.

    Attributes:
        state: what the rules say.
        signals: to send at once to those already asked to leave.
        choose: candidates are wanted: a victim has to be chosen.
        ease: candidates are wanted for a softer act than a signal.
        sizes: all sizes should be noted now (:meth:`.growth.Growth.note`), so that growth
            is known later.
        obstacle: why no victim is chosen although a rule holds; empty otherwise.
    """

    __slots__ = ("choose", "ease", "obstacle", "signals", "sizes", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.signals: tuple[Signal, ...] = ()
        self.choose = self.ease = False
        self.sizes = False
        self.obstacle = ""


class Act:
    """A choice that was made.

    Attributes:
        state: why now, with the evidence.
        ranked: all candidates, as :meth:`.victim.Chooser.rank` left them.
        choice: the victim, and what dies with it.
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
    """A policy at work. Its driver reads the machine and sends the signals.

    In turn: :meth:`look` with a reading; where it says ``sizes``, note them in ``growth``; where
    it says ``choose``, :meth:`choose` with the candidates; where it says ``ease``, :meth:`ease`;
    :meth:`died` whenever a victim signalled is gone; and again after :meth:`next_look_s`.

    Args:
        plan: what ``compile_plan`` made of a policy.
        own_pids: never chosen: the guard itself.
        cpus: of the machine, for how fast its memory can fill; None: unknown.
        dry_run: decide everything, and take no process for dying.
        starts: what starts of services took; who gave it goes on learning. None: nothing is known.
    """

    __slots__ = (
        "_anon_kb", "_calm_since_s", "_instead", "_lasts_s", "_left_kb", "_most", "_owed",
        "_reading", "_rules", "_settled", "_state", "chooser", "easing", "escalation", "growth",
        "watch",
    )  # fmt: skip

    def __init__(
        self,
        plan: "Plan",
        *,
        own_pids: "AbstractSet[int]" = frozenset(),
        cpus: int | None = None,
        dry_run: bool = False,
        starts: "Starts | None" = None,
    ) -> None:
        self.watch = Watch(plan, cpus=cpus)
        self.chooser = Chooser(plan, own_pids=own_pids, starts=starts)
        self.escalation = Escalation(plan, dry_run=dry_run)
        self.easing = Easing(plan, dry_run=dry_run)
        self.growth = Growth(plan.selection.growth_over_s)
        self._lasts_s = plan.selection.lasts_s
        self._most = plan.selection.most_processes
        self._anon_kb = 0.0
        self._instead = [
            (Matcher(one.match.patterns), one.command) for one in plan.response.instead
        ]
        self._rules = plan.rules
        self._state: State | None = None
        self._reading: Reading | None = None
        self._calm_since_s: float | None = None
        self._left_kb = 0.0
        self._owed: tuple[float, float] | None = None
        self._settled = False

    def look(self, reading: "Reading") -> Assessment:
        """Take in a reading, and say what it calls for."""
        t_s = reading.t_s
        escalation = self.escalation
        self._left_kb = left_kb(reading)
        self._learn()
        state = self.watch.see(reading, coming_kb=escalation.coming_kb(t_s))
        self._state, self._reading = state, reading
        self._anon_kb = reading.anon_kb
        look = Assessment(state)
        self._forget_old_sizes(state)
        if state.warm:
            step_kb = STEP * reading.mem_total_kb
            look.sizes = self.growth.due(t_s, self._left_kb, step_kb)
        look.signals = escalation.escalate(t_s, state.level)
        if state.level >= SOFT and not look.signals:
            rule = self._rule()
            pause_s = rule.pause_s if rule is not None else None
            look.obstacle = escalation.obstacle(t_s, state.level, pause_s=pause_s)
            look.choose = not look.obstacle
        elif state.eases and not escalation.dying():
            look.ease = self.easing.is_due(t_s)
        return look

    def _learn(self) -> None:
        """Compare what deaths gave back with what was expected of them, when the last is over."""
        if self._settled and self._owed is not None:
            before_kb, expected_kb = self._owed
            self.escalation.learn(expected_kb, self._left_kb - before_kb)
            self._owed = None
        self._settled = False

    def _forget_old_sizes(self, state: State) -> None:
        """Sizes of an earlier shortage say nothing about growth in this one."""
        if not state.warm:
            self.escalation.trust()
            self.easing.forget_growth()
            self._owed = None
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
        *,
        check: "Callable[[Ranked], str] | None" = None,
    ) -> Act | None:
        """Choose among candidates by the last reading; None where no process can be chosen.

        Args:
            candidates: see :meth:`.victim.Chooser.rank`.
            groups: see there.
            check: says why a choice must not be made after all, or nothing; the next one is
                taken then, and what it said is the verdict on the one before.
        """
        state = self._state
        if state is None or state.level < SOFT:
            return None
        ranked = self.rank(candidates, groups)
        choice = best(ranked)
        while choice is not None and check is not None:
            choice.verdict = check(choice)
            if not choice.verdict:
                break
            choice = best(ranked)
        if choice is None:
            self.escalation.none_found(state.t_s)
            return None
        self._bound_share(candidates)
        self._take_along(choice, ranked, state.t_s)
        signals = self.escalation.begin(choice, state.t_s, state.level)
        before_kb, expected_kb = self._owed or (self._left_kb, 0.0)
        self._owed = (before_kb, expected_kb + choice.freed_kb)
        return Act(state, ranked, choice, signals, self._command(choice, state.level))

    def ease(
        self, candidates: "Sequence[Candidate]", groups: "Sequence[CgroupReading]" = ()
    ) -> Ease | None:
        """The next softer act by the last reading; None where there is none to do.

        It is done to what would die first and to nothing else: where nothing is left to do to
        that, it is for a rule of the next level to hold.
        """
        state = self._state
        if state is None or not state.eases:
            return None
        ranked = self.rank(candidates, groups)
        choice = best(ranked)
        step = self.easing.next_step(choice, state.t_s) if choice is not None else None
        if choice is None or step is None:
            self.easing.none_found(state.t_s, NOBODY_PAUSE_S)
            return None
        return Ease(state, ranked, choice, step)

    def eased(self, ease: Ease, *, done: bool) -> None:
        """Note that a softer act was done, or could not be."""
        self.easing.tried(ease, ease.state.t_s, done=done)

    def asked_to_end(self, ease: Ease) -> Act:
        """A choice that was frozen, and that its user wants to end."""
        signals = self.escalation.begin(ease.choice, ease.state.t_s, SOFT)
        return Act(ease.state, ease.ranked, ease.choice, signals, None)

    def _bound_share(self, candidates: "Sequence[Candidate]") -> None:
        """All deaths together give back no more than the anonymous memory there is.

        Forked processes share pages, and each of them counts them all as its own.
        """
        counted_kb = sum(c.anon_kb for c in memories(candidates))
        if 0.0 < self._anon_kb < counted_kb:
            self.escalation.bound(self._anon_kb / counted_kb)

    def _take_along(self, choice: "Ranked", ranked: "list[Ranked]", t_s: float) -> None:
        """Where one of many grows, take as many as it needs for memory to last."""
        if self._lasts_s > 0.0:
            take_along(
                choice,
                ranked,
                left_kb=self._left_kb + self.escalation.coming_kb(t_s),
                falls_kb_s=self.watch.falls_kb_s(),
                lasts_s=self._lasts_s,
                share=self.escalation.share,
                most=self._most,
            )

    def rank(
        self,
        candidates: "Sequence[Candidate]",
        groups: "Sequence[CgroupReading]" = (),
    ) -> "list[Ranked]":
        """The order in which they would be chosen now, without choosing."""
        state, reading = self._state, self._reading
        self.easing.recall_growth(candidates)
        return self.chooser.rank(
            candidates,
            groups=groups,
            by=state.by if state is not None else None,
            within=state.cgroup if state is not None else None,
            rule=self._rule(),
            scanned=self.watch.scanned(reading.cgroups) if reading is not None else None,
            swap_total_kb=reading.swap_total_kb if reading is not None else 0.0,
        )

    def _rule(self) -> "Rule | None":
        """The rule by which the last reading calls for something."""
        state = self._state
        return None if state is None or state.rule is None else self._rules[state.rule]

    def died(self, pid: int, start_time: int, t_s: float) -> None:
        """A process has exited. When the last victim has exited, pressure is measured again."""
        if self.escalation.died(pid, start_time, t_s):
            self._settled = True
            self.watch.restart()

    def spared(self, pid: int, start_time: int, *, signalled: bool) -> None:
        """A process turned out to be protected, and was not signalled (again)."""
        self.escalation.spared(pid, start_time, signalled=signalled)
        if not self.escalation.dying():
            self._owed = None

    def next_look_s(self, reading: "Reading", *, psi_wakes: bool = False) -> float:
        """Seconds until the next reading is due."""
        own = min(self.escalation.next_s(reading.t_s), self.easing.next_s(reading.t_s))
        return min(self.watch.next_look_s(reading, psi_wakes=psi_wakes), max(own, 1e-3))

    def _command(self, choice: "Ranked", level: int) -> tuple[str, ...] | None:
        """The command a policy wants instead of SIGTERM; where it is hard, signals it is."""
        if level >= HARD:
            return None
        for matcher, argv in self._instead:
            if matcher.matches(choice.candidate):
                return argv
        return None
