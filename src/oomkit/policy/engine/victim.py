"""Chooses the victim: what each death gives back, weighed."""

import re

from oomkit.policy.engine.candidate import Candidate, Ranked, memories
from oomkit.policy.engine.kill_scope import DYING, Reach

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from oomkit.policy.engine.plan import Plan, Selection
    from oomkit.policy.engine.reading import CgroupReading

WORK_HALF_S = 600.0
"""CPU seconds at which half of the weight of work counts."""


def weigher(
    selection: "Selection",
    by: str,
    candidates: "Sequence[Candidate]",
    groups: "Sequence[CgroupReading]",
) -> "Callable[[Ranked], None]":
    """A function that fills in a choice's factors, score and ``freed_kb``.

    Args:
        selection: of the plan.
        by: ``freed``, ``oom_score``, ``rss``, ``swap``, ``reclaim``, ``growth`` or
            ``over_request``.
        candidates: all of them, for what is relative to others.
        groups: the memory cgroups, for ``reclaim``.
    """
    prefer = [
        (one.match.text, Matcher(one.match.patterns), one.factor, one.points)
        for one in selection.prefer
    ]
    if by == "freed":
        return _Freed(selection, prefer, candidates).weigh
    if by == "over_request":
        return _OverRequest(groups).weigh
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

    Growth counts as a share of the largest gain, so that the process that caused the shortage
    stands out whatever its size.
    """

    def __init__(
        self,
        selection: "Selection",
        prefer: "list[tuple[str, Matcher, float, float]]",
        candidates: "Sequence[Candidate]",
    ) -> None:
        self.growth = selection.growth
        self.work = selection.work
        self.adj = selection.adj
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
        """Between 1 - weight without growth, and 1 for the largest growth."""
        grown = sum(c.grown_kb() for c in memories(one.weighed))
        return 1.0 - self.growth * (1.0 - min(grown / self.most_grown_kb, 1.0))


class _OverRequest:
    """The kubelet's way: above the request first, then low priority, then how far above.

    pkg/kubelet/eviction/helpers.go, ``rankMemoryPressure()``.
    """

    def __init__(self, groups: "Sequence[CgroupReading]") -> None:
        self.groups = {group.path: group for group in groups}

    def weigh(self, one: "Ranked") -> None:
        counted = memories(one.members)
        one.freed_kb = one.equal_kb = sum(c.freed_kb() for c in counted)
        group = self.groups.get(one.cgroup or one.candidate.cgroup or "")
        used_kb, request_kb, priority = sum(c.rss_kb() for c in counted), 0.0, 0
        if group is not None:
            request_kb, priority = group.request_kb, group.priority
            used_kb = group.usage_kb if group.working_set_kb is None else group.working_set_kb
        one.score = used_kb - request_kb
        one.tier = (1.0 if one.score > 0.0 else 0.0, -float(priority))
        one.factors = (("over_request", one.score), ("priority", float(priority)))


def _asked(one: "Ranked", factor: float) -> "Sequence[Candidate]":
    """Processes that have to match: what is to die later counts wherever it dies along."""
    return one.members if factor < 1.0 else one.weighed


def _adj_factor(adj: int, weight: float) -> float:
    """A raised adjustment counts up to ``1 + weight`` times, a lowered one spares down to 0."""
    if adj > 0:
        return 1.0 + weight * adj / 1000.0
    return max(1.0 + adj / 1000.0, 0.001)


FIELDS = ("comm", "exe", "cmdline", "user", "cgroup", "unit", "container")
"""What a pattern can be held against; ``user`` also matches the number."""

NESTED = ("unit", "container")
"""Fields whose values may read ``outer/inner``: the owner of the outer one made the inner."""
_MORE = frozenset((*NESTED, "user"))
"""Fields that can be matched in another way than by their value."""


class Matcher:
    """Fields and the patterns that all of them have to match in full.

    Args:
        patterns: names of fields and regular expressions.
    """

    __slots__ = ("_patterns",)

    def __init__(self, patterns: "Iterable[tuple[str, str]]") -> None:
        self._patterns = [(field, re.compile(pattern, re.DOTALL)) for field, pattern in patterns]

    def matches(self, candidate: Candidate) -> bool:
        """Whether it is about this process; what was not looked up matches nothing."""
        # Asked of each candidate and each rule: a field has a value that decides, as a rule.
        for field, pattern in self._patterns:
            value = getattr(candidate, field)
            if value is not None and pattern.fullmatch(value):
                continue
            if field not in _MORE or not _holds(field, pattern, candidate):
                return False
        return True

    def unsure_of(self, candidate: Candidate) -> str:
        """The fields for whose sake it can't be ruled out that it is about this process.

        Empty where it is, or surely is not.
        """
        unsure = []
        for field, pattern in self._patterns:
            if field in candidate.unknown:
                unsure.append(field)
            elif not _holds(field, pattern, candidate):
                return ""
        return ", ".join(unsure)


def _holds(field: str, pattern: "re.Pattern[str]", candidate: Candidate) -> bool:
    value = getattr(candidate, field)
    if value is not None:
        if pattern.fullmatch(value):
            return True
        if field in NESTED and "/" in value and pattern.fullmatch(value.partition("/")[0]):
            return True
    return field == "user" and _number(pattern, candidate)


def _number(pattern: "re.Pattern[str]", candidate: Candidate) -> bool:
    return candidate.uid is not None and pattern.fullmatch(str(candidate.uid)) is not None


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

    __slots__ = ("_least_kb", "_never", "_own", "_reach", "_selection", "looks_at")

    def __init__(self, plan: "Plan", *, own_pids: "AbstractSet[int]" = frozenset()) -> None:
        self._selection = plan.selection
        self._own = own_pids
        self._never = [(one.text, Matcher(one.patterns)) for one in plan.selection.never]
        self._least_kb = plan.selection.least_kb
        self._reach = Reach(plan.selection)
        matches = [*plan.selection.never, *(one.match for one in plan.selection.prefer)]
        self.looks_at = frozenset(field for match in matches for field, _ in match.patterns)

    def rank(
        self,
        candidates: "Sequence[Candidate]",
        *,
        groups: "Sequence[CgroupReading]" = (),
        by: str | None = None,
        within: str | None = None,
    ) -> list[Ranked]:
        """All candidates: those that can be chosen first, in the order of choice.

        The order of ``candidates`` does not matter: ties are broken by what they give back
        with their kill scope, then by what they give back alone, then the younger one, then
        the higher pid goes first.

        Args:
            candidates: all processes, at least those that could matter.
            groups: the memory cgroups, for ``level = "cgroup"`` and ``memory.oom.group``.
            by: another way of ranking than the plan's (:attr:`.when.State.by`).
            within: only processes in this cgroup or below.
        """
        refused = {c.pid: self.refusal(c) for c in candidates}
        considered = [c for c in candidates if within is None or _inside(c, within)]
        weigh = weigher(self._selection, by or self._selection.by, candidates, groups)
        found = []
        for one in self._reach.choices(considered, candidates, refused, groups):
            if not one.verdict:
                weigh(one)
                own_kb = sum(c.freed_kb() for c in memories(one.weighed))
                gain_kb = max(own_kb, one.gain_kb)
                # A tier can hold scores below 0, which are lower and no refusal.
                if gain_kb < self._least_kb or (one.score <= 0.0 and not one.tier):
                    one.verdict = "too little to gain"
                spared = self._selection.spared_priority
                if spared is not None and one.tier and -one.tier[-1] >= spared:
                    one.verdict = f"priority {-one.tier[-1]:.0f}"
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


def _order(
    one: Ranked,
) -> tuple[bool, tuple[float, ...], float, float, float, int, int]:
    c = one.candidate
    return (
        bool(one.verdict), tuple(-part for part in one.tier), -one.score, -one.equal_kb,
        -c.freed_kb(), -c.start_time, -c.pid,
    )  # fmt: skip
