"""Scores: what a death gives back, times what speaks for and against it."""

from oomkit.policy.core.match import Matcher
from oomkit.policy.core.ranked import memories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from oomkit.policy.core.candidate import Candidate
    from oomkit.policy.core.ranked import Ranked
    from oomkit.policy.core.reading import CgroupReading

WORK_HALF_S = 600.0
"""CPU seconds at which half of the weight of work counts."""


def weigher(
    plan: "dict[str, Any]",
    by: str,
    candidates: "Sequence[Candidate]",
    groups: "Sequence[CgroupReading]",
) -> "Callable[[Ranked], None]":
    """A function that fills in a choice's factors, score and ``freed_kb``.

    Args:
        plan: the plan's ``whom``.
        by: ``freed``, ``oom_score``, ``rss``, ``swap``, ``reclaim`` or ``growth``.
        candidates: everybody, for what is relative to others.
        groups: the memory cgroups, for ``reclaim``.
    """
    prefer = [(name, Matcher(p), factor, points) for name, p, factor, points in plan["prefer"]]
    if by == "freed":
        return _Freed(plan, prefer, candidates).weigh
    scanned = {g.path: g.pgscan_pages or 0.0 for g in groups}

    def weigh(one: "Ranked") -> None:
        counted = memories(one.weighed)
        one.freed_kb = sum(c.freed_kb() for c in memories(one.members))
        one.equal_kb = sum(c.freed_kb() for c in counted)
        if by == "oom_score":
            value = max(float(c.oom_score or 0) for c in one.weighed)
            one.equal_kb = max(c.rss_kb() for c in one.weighed)
        elif by == "rss":
            value = sum(c.rss_kb() for c in counted)
        elif by == "swap":
            value = sum(c.swap_kb for c in counted)
        elif by == "growth":
            value = sum(c.growth_kb or 0.0 for c in counted)
        else:
            value = scanned.get(one.candidate.cgroup or "", 0.0)
        factors = [(by, value)]
        for name, matcher, factor, points in prefer:
            if any(matcher.matches(c) for c in _asked(one, factor)):
                if by == "oom_score":
                    value += points
                    factors.append((name, points))
                else:
                    value *= factor
                    factors.append((name, factor))
        one.factors = tuple(factors)
        one.score = value

    return weigh


class _Freed:
    """The way of the default policy.

    Growth counts as a share of the largest gain of anybody, so that whoever caused the shortage
    stands out whatever its size.
    """

    def __init__(
        self,
        plan: "dict[str, Any]",
        prefer: "list[tuple[str, Matcher, float, float]]",
        candidates: "Sequence[Candidate]",
    ) -> None:
        self.growth: float = plan["growth"]
        self.work: float = plan["work"]
        self.adj: float = plan["adj"]
        self.prefer = prefer
        self.most_grown_kb = max((c.grown_kb() for c in candidates), default=0.0)

    def weigh(self, one: "Ranked") -> None:
        one.freed_kb = sum(c.freed_kb() for c in memories(one.members))
        one.equal_kb = sum(c.freed_kb() for c in memories(one.weighed))
        stopped_kb = sum(c.tmpfs_growth_kb or 0.0 for c in one.weighed)
        one.gain_kb = one.equal_kb + stopped_kb
        factors = [("gain_kb", one.gain_kb)]
        if self.growth and self.most_grown_kb > 0.0:
            factors.append(("growth", self._growth(one)))
        if self.work:
            cpu_s = sum(c.cpu_s for c in one.members)
            factors.append(("work", 1.0 - self.work * cpu_s / (cpu_s + WORK_HALF_S)))
        adj = max(c.oom_score_adj for c in one.weighed)
        if self.adj and adj:
            factors.append(("oom_score_adj", _adj_factor(adj, self.adj)))
        for name, matcher, factor, _ in self.prefer:
            if any(matcher.matches(c) for c in _asked(one, factor)):
                factors.append((name, factor))
        score = 1.0
        for _, value in factors:
            score *= value
        one.factors = tuple(factors)
        one.score = score

    def _growth(self, one: "Ranked") -> float:
        """Between 1 - weight for who did not grow, and 1 for who grew most."""
        grown = sum(c.grown_kb() for c in memories(one.weighed))
        return 1.0 - self.growth * (1.0 - min(grown / self.most_grown_kb, 1.0))


def _asked(one: "Ranked", factor: float) -> "Sequence[Candidate]":
    """Who has to match: what shall die later counts wherever it dies along."""
    return one.members if factor < 1.0 else one.weighed


def _adj_factor(adj: int, weight: float) -> float:
    """A raised adjustment counts up to ``1 + weight`` times, a lowered one spares down to 0."""
    if adj > 0:
        return 1.0 + weight * adj / 1000.0
    return max(1.0 + adj / 1000.0, 0.001)
