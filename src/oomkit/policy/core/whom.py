"""Whom to choose: what each death gives back, weighed."""

from oomkit.policy.core.match import Matcher
from oomkit.policy.core.ranked import Ranked, memories
from oomkit.policy.core.reach import DYING, Reach
from oomkit.policy.core.weigh import weigher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from oomkit.policy.core.candidate import Candidate
    from oomkit.policy.core.reading import CgroupReading

OOM_SCORE_ADJ_MIN = -1000


class Chooser:
    """Ranks candidates as a plan says.

    Args:
        plan: what ``compile_plan`` made of a policy.
        own_pids: the guard's own processes: never chosen.

    Attributes:
        looks_at: fields of a candidate (beyond what ranking always needs) that the plan's
            patterns ask for, so that nothing else has to be read.
    """

    __slots__ = ("_least_kb", "_never", "_own", "_plan", "_reach", "looks_at")

    def __init__(
        self, plan: "dict[str, Any]", *, own_pids: "AbstractSet[int]" = frozenset()
    ) -> None:
        self._plan: dict[str, Any] = plan["whom"]
        self._own = own_pids
        self._never = [(name, Matcher(p)) for name, p in self._plan["never"]]
        self._least_kb: float = self._plan["least_kb"]
        self._reach = Reach(self._plan)
        fields = [f for _, patterns in self._plan["never"] for f, _ in patterns]
        fields += [f for _, patterns, _, _ in self._plan["prefer"] for f, _ in patterns]
        self.looks_at = frozenset(fields)

    def rank(
        self,
        candidates: "Sequence[Candidate]",
        *,
        groups: "Sequence[CgroupReading]" = (),
        by: str | None = None,
        within: str | None = None,
    ) -> list[Ranked]:
        """Everybody, those who can be chosen first, the first to be chosen first.

        The order of ``candidates`` does not matter: equals are told apart by what they give back
        with all who go with them, then by what they give back alone, then the younger one, then
        the higher pid goes first.

        Args:
            candidates: all processes, at least those that could matter.
            groups: the memory cgroups, for ``level = "cgroup"`` and ``memory.oom.group``.
            by: another way of ranking than the plan's (:attr:`.when.State.by`).
            within: only processes in this cgroup or below.
        """
        refused = {c.pid: self.refusal(c) for c in candidates}
        considered = [c for c in candidates if within is None or _inside(c, within)]
        weigh = weigher(self._plan, by or self._plan["by"], candidates, groups)
        found = []
        for one in self._reach.choices(considered, candidates, refused, groups):
            if not one.verdict:
                weigh(one)
                own_kb = sum(c.freed_kb() for c in memories(one.weighed))
                gain_kb = max(own_kb, one.gain_kb)
                if gain_kb < self._least_kb or one.score <= 0.0:
                    one.verdict = "too little to gain"
            found.append(one)
        found.sort(key=_order)
        return found

    def refusal(self, candidate: "Candidate") -> str:
        """Why a process must never be chosen; empty where it may."""
        if candidate.pid == 1:
            return "init"
        if candidate.kthread:
            return "kernel thread"
        if candidate.pid in self._own:
            return "the guard itself"
        if candidate.dying:
            return DYING
        if candidate.oom_score_adj <= OOM_SCORE_ADJ_MIN:
            return "oom_score_adj -1000"
        return self.protection(candidate)

    def protection(self, candidate: "Candidate") -> str:
        """What of the plan's ``never`` protects a process, or may: empty where nothing does.

        What could not be read is never taken for "not protected".
        """
        unsure = ""
        for name, matcher in self._never:
            if matcher.matches(candidate):
                return f"never: {name}"
            if candidate.unknown and not unsure:
                fields = matcher.unsure_of(candidate)
                unsure = f"never: {name}, as far as can be known ({fields})" if fields else ""
        return unsure


def best(ranked: "Iterable[Ranked]") -> Ranked | None:
    """The first that can be chosen."""
    return next((one for one in ranked if not one.verdict), None)


def _inside(candidate: "Candidate", path: str) -> bool:
    own = candidate.cgroup
    if own is None:
        return False
    return path == "/" or own == path or own.startswith(f"{path}/")


def _order(one: Ranked) -> tuple[bool, float, float, float, int, int]:
    c = one.candidate
    return (
        bool(one.verdict), -one.score, -one.equal_kb, -c.freed_kb(), -c.start_time, -c.pid,
    )  # fmt: skip
