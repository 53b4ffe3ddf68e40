"""Softer acts than a signal: which one is next, on which process or cgroup, and when.

They are done while a rule of the level ``ease`` holds, to the process that would die first, the
least harmful first. A signal never waits for one: that is what the levels ``soft`` and ``hard``
are for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.policy.engine.candidate import Candidate, Ranked
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.plan_parts import Easement
    from oomkit.policy.engine.trigger import State

RECLAIM = "reclaim"
"""Part of the cgroup's memory is reclaimed (``memory.reclaim``)."""
THROTTLE = "throttle"
"""What is in the cgroup is slowed down as it grows (``memory.high``)."""
FREEZE = "freeze"
"""The process, or the cgroup, stands still (SIGSTOP, ``cgroup.freeze``)."""

AGAIN_S = 30.0
"""The same act on the same cgroup or process comes no sooner after its end."""
_MAX_TRIED = 256


class Ease:
    """A softer act that was decided on.

    Attributes:
        state: why now, with the evidence.
        ranked: all candidates, as they were ranked.
        choice: what would die first.
        step: what is done, and how much of it.
    """

    __slots__ = ("choice", "ranked", "state", "step")

    def __init__(
        self, state: "State", ranked: "list[Ranked]", choice: "Ranked", step: "Easement"
    ) -> None:
        self.state = state
        self.ranked = ranked
        self.choice = choice
        self.step = step

    @property
    def cgroup(self) -> str:
        """The cgroup that it is done to; empty where it is done to processes."""
        if self.step.kind == FREEZE and self.choice.level != "cgroup":
            return ""
        return place_of(self.choice)


def place_of(choice: "Ranked") -> str:
    """The cgroup of a choice; empty where that is the root, or not known."""
    path = choice.place or choice.candidate.cgroup or ""
    return "" if path == "/" else path


class Easing:
    """Finds the next softer act, and keeps them apart.

    Args:
        plan: what ``compile_plan`` made of a policy.
        dry_run: nothing is done: acts are only kept apart by their pause.
    """

    __slots__ = ("_grown_kb", "_pause_s", "_steps", "_tried", "_until_s")

    def __init__(self, plan: "Plan", *, dry_run: bool = False) -> None:
        self._steps = plan.response.easements
        self._pause_s = plan.response.dry_run_pause_s if dry_run else 0.0
        self._tried: dict[tuple[object, ...], float] = {}
        self._until_s = float("-inf")
        self._grown_kb: dict[tuple[int, int], float] = {}

    def is_due(self, t_s: float) -> bool:
        """Whether an act may be looked for now."""
        return t_s >= self._until_s

    def next_step(self, choice: "Ranked", t_s: float) -> "Easement | None":
        """The least harmful act that was not done to a choice just now; None: all were."""
        for step in self._steps:
            target = _target(step, choice)
            if target is not None and t_s >= self._tried.get(target, float("-inf")):
                return step
        return None

    def tried(self, ease: Ease, t_s: float, *, done: bool) -> None:
        """Note an act, or that it could not be done: then the next one need not wait."""
        step, target = ease.step, _target(ease.step, ease.choice)
        if len(self._tried) >= _MAX_TRIED:
            self._tried = {one: at for one, at in self._tried.items() if at > t_s}
        if target is not None and len(self._tried) < _MAX_TRIED:
            self._tried[target] = t_s + max(AGAIN_S + step.lasts_s, self._pause_s)
        if done:
            self._until_s = t_s + max(step.wait_s, self._pause_s)
            members = {(one.pid, one.start_time) for one in ease.choice.members}
            for one in (ranked.candidate for ranked in ease.ranked):
                key = (one.pid, one.start_time)
                if key in members or (ease.cgroup and one.cgroup == ease.cgroup):
                    self._grown_kb[key] = one.growth_kb or 0.0

    def recall_growth(self, candidates: "Sequence[Candidate]") -> None:
        """Let what was slowed down or frozen have grown as much as it had by then.

        It holds what it took, and is no less the cause for not growing any more: else what grows
        beside it would be chosen instead.
        """
        if not self._grown_kb:
            return
        for one in candidates:
            grown_kb = self._grown_kb.get((one.pid, one.start_time))
            if grown_kb is not None and grown_kb > (one.growth_kb or 0.0):
                one.growth_kb = grown_kb

    def forget_growth(self) -> None:
        """The shortage is over."""
        self._grown_kb = {}

    def none_found(self, t_s: float, pause_s: float) -> None:
        """Nothing can be done: asking again at once is of no use."""
        self._until_s = t_s + pause_s

    def next_s(self, t_s: float) -> float:
        """Seconds until an act may be looked for again; infinity where it may now."""
        left_s = self._until_s - t_s
        return left_s if left_s > 0.0 else float("inf")


def _target(step: "Easement", choice: "Ranked") -> tuple[object, ...] | None:
    """What an act is done to; None where it can't be done to this choice."""
    if step.kind == FREEZE:
        return (FREEZE, choice.candidate.pid, choice.candidate.start_time)
    place = place_of(choice)
    return (step.kind, place) if place else None
