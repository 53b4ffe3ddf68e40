"""Chooses the victim: what each death gives back, weighed."""

import re

from oomkit.policy.engine.candidate import Candidate, Ranked, memories
from oomkit.policy.engine.kill_scope import DYING, Reach, Tops
from oomkit.policy.engine.matcher import Matcher
from oomkit.policy.engine.plan import RECLAIM_RATE
from oomkit.policy.engine.supervisors import Supervisors, stand_behind

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from oomkit.policy.engine.plan import Plan, Rule, Selection
    from oomkit.policy.engine.plan_parts import Preference
    from oomkit.policy.engine.reading import CgroupReading
    from oomkit.policy.engine.starts import Starts
    from oomkit.policy.engine.supervisors import Supervised

WORK_HALF_S = 600.0
"""CPU seconds at which half of the weight of work counts."""


def weigher(
    selection: "Selection",
    by: str,
    candidates: "Sequence[Candidate]",
    groups: "Sequence[CgroupReading]",
    scanned_kb_s: "Mapping[str, float] | None" = None,
    supervised: "Mapping[int, Supervised] | None" = None,
) -> "Callable[[Ranked], None]":
    """A function that fills in a choice's factors, score and ``freed_kb``.

    Args:
        selection: of the plan.
        by: ``freed``, ``oom_score``, ``rss``, ``swap``, ``reclaim``, ``reclaim_rate``, ``growth``
            or ``over_request``.
        candidates: all of them, for what is relative to others.
        groups: the memory cgroups, for ``reclaim`` and ``reclaim_rate``.
        scanned_kb_s: what was scanned in them recently, for ``reclaim_rate``.
        supervised: the supervisors by pid, for what it takes to have them back.
    """
    prefer = [_Preferred(one) for one in selection.prefer]
    if by == "freed":
        return _Freed(selection, prefer, candidates, supervised or {}).weigh
    if by == "over_request":
        return _OverRequest(groups).weigh
    return _ByOne(selection, by, prefer, groups, scanned_kb_s or {}).weigh


class _ByOne:
    """Ranks by one figure alone, and what is preferred."""

    def __init__(
        self,
        selection: "Selection",
        by: str,
        prefer: "list[_Preferred]",
        groups: "Sequence[CgroupReading]",
        scanned_kb_s: "Mapping[str, float]",
    ) -> None:
        self.by = by
        self.prefer = prefer
        self.raised_adj = selection.raised_adj
        self.usage_kb = {g.path: g.usage_kb for g in groups}
        self.scanned = scanned_kb_s
        if by != RECLAIM_RATE:
            self.scanned = {g.path: g.pgscan_pages or 0.0 for g in groups}

    def weigh(self, one: "Ranked") -> None:
        counted = memories(one.weighed)
        one.freed_kb = sum(c.freed_kb() for c in memories(one.members))
        one.equal_kb = sum(c.freed_kb() for c in counted)
        by, value = self.by, self._value(one, counted)
        factors = [(by, value)]
        for preferred in self.prefer:
            if not preferred.means(one):
                continue
            if by == "oom_score":
                weight = preferred.points
                value += weight
            elif by == "rss" and preferred.size_kb is not None:
                weight = preferred.size_kb
                value += weight
            else:
                weight = preferred.factor
                value *= weight
            factors.append((preferred.name, weight))
        one.factors = tuple(factors)
        one.score = value

    def _value(self, one: "Ranked", counted: "Sequence[Candidate]") -> float:
        by = self.by
        if by == "oom_score":
            one.equal_kb = max(c.rss_kb() for c in one.weighed)
            return max(_score(c, self.raised_adj) for c in one.weighed)
        if by == "rss":
            return sum(c.rss_kb() for c in counted)
        if by == "swap":
            return sum(c.swap_kb for c in counted)
        if by == "growth":
            return sum(c.growth_kb or 0.0 for c in counted)
        place = one.place or one.candidate.cgroup or ""
        if by == RECLAIM_RATE:
            one.equal_kb = self.usage_kb.get(place, sum(c.rss_kb() for c in counted))
        return self.scanned.get(place, 0.0)


def _score(candidate: "Candidate", raised: float) -> float:
    """A process's ``oom_score`` without a share of its raised adjustment."""
    return float((candidate.oom_score or 0) - int(max(candidate.oom_score_adj, 0) * raised))


class _Preferred:
    """Processes that are to die earlier or later, ready to be matched."""

    __slots__ = ("_matcher", "_unless_lowered", "factor", "name", "points", "size_kb")

    def __init__(self, preference: "Preference") -> None:
        self._matcher = Matcher(preference.match.patterns)
        self._unless_lowered = preference.unless_lowered
        self.name = preference.match.text
        self.factor = preference.factor
        self.points = preference.points
        self.size_kb = preference.size_kb

    def means(self, one: "Ranked") -> bool:
        """Whether it is about a choice."""
        return any(
            self._matcher.matches(c)
            for c in _asked(one, self.factor)
            if not (self._unless_lowered and c.oom_score_adj < 0)
        )


class _Freed:
    """The way of the default policy.

    Growth counts as a share of the largest gain, so that the process that caused the shortage
    stands out whatever its size.
    """

    def __init__(
        self,
        selection: "Selection",
        prefer: "list[_Preferred]",
        candidates: "Sequence[Candidate]",
        supervised: "Mapping[int, Supervised]",
    ) -> None:
        self.supervised = supervised
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
            cpu_s = sum((c.cpu_s for c in one.members), 0.0)
            for c in one.members:
                supervised = self.supervised.get(c.pid)
                if supervised is not None:
                    cpu_s += supervised.cost_s(one.members)
                    if supervised.start is not None:
                        one.starts = (*one.starts, supervised.start)
            factors.append(("work", 1.0 - self.work * cpu_s / (cpu_s + WORK_HALF_S)))
        adj = max(c.oom_score_adj for c in one.weighed)
        if self.adj and adj:
            factors.append(("oom_score_adj", _adj_factor(adj, self.adj)))
        factors += [(each.name, each.factor) for each in self.prefer if each.means(one)]
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


OOM_SCORE_ADJ_MIN = -1000


class Chooser:
    """Ranks candidates as a plan says.

    Args:
        plan: what ``compile_plan`` made of a policy.
        own_pids: the guard's own processes: never chosen.
        starts: what starts of services took; None: nothing is known.

    Attributes:
        looks_at: fields of a candidate (beyond what ranking always needs) that the plan's
            patterns ask for, so that nothing else has to be read.
    """

    __slots__ = (
        "_least_kb", "_least_score", "_never", "_own", "_reach", "_selection", "_supervisors",
        "looks_at",
    )  # fmt: skip

    def __init__(
        self,
        plan: "Plan",
        *,
        own_pids: "AbstractSet[int]" = frozenset(),
        starts: "Starts | None" = None,
    ) -> None:
        self._selection = plan.selection
        self._own = own_pids
        self._never = [(one.text, Matcher(one.patterns)) for one in plan.selection.never]
        self._least_kb = plan.selection.least_kb
        self._least_score = plan.selection.least_score
        self._reach = Reach(plan.selection)
        self._supervisors = Supervisors(plan.selection, starts)
        matches = [*plan.selection.never, *(one.match for one in plan.selection.prefer)]
        self.looks_at = frozenset(field for match in matches for field, _ in match.patterns)

    def rank(
        self,
        candidates: "Sequence[Candidate]",
        *,
        groups: "Sequence[CgroupReading]" = (),
        by: str | None = None,
        within: str | None = None,
        rule: "Rule | None" = None,
        scanned: "Mapping[str, float] | None" = None,
        swap_total_kb: float = 0.0,
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
            rule: the rule that calls for it, for among which cgroups it chooses.
            scanned: what was scanned in cgroups recently, kB a second, for ``reclaim_rate``.
            swap_total_kb: of the machine, for the least swap that a rule asks for.
        """
        refused = {c.pid: self.refusal(c) for c in candidates}
        among = rule.among if rule is not None else None
        tops = None
        if within is not None or among is not None:
            tops = Tops(within if among is None else None, among)
        considered = [c for c in candidates if tops is None or tops.of(c.cgroup) is not None]
        by = by or self._selection.by
        supervised = self._supervisors.among(candidates) if by == "freed" else {}
        weigh = weigher(self._selection, by, candidates, groups, scanned, supervised)
        whole = rule is not None and rule.whole
        found = []
        for one in self._reach.choices(
            considered, candidates, refused, groups, tops=tops, whole=whole
        ):
            if not one.verdict:
                weigh(one)
                own_kb = sum(c.freed_kb() for c in memories(one.weighed))
                gain_kb = max(own_kb, one.gain_kb)
                if gain_kb < self._least_kb or self._scores_too_little(one):
                    one.verdict = "too little to gain"
                if rule is not None and not one.verdict:
                    _by_rule(one, rule, swap_total_kb)
                spared = self._selection.spared_priority
                if spared is not None and one.tier and -one.tier[-1] >= spared:
                    one.verdict = f"priority {-one.tier[-1]:.0f}"
            found.append(one)
        if supervised:
            stand_behind(found, supervised)
        found.sort(key=_order)
        return found

    def _scores_too_little(self, one: Ranked) -> bool:
        if self._least_score is not None:
            return one.score < self._least_score
        # A tier can hold scores below 0, which are lower and no refusal.
        return one.score <= 0.0 and not one.tier

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


def _by_rule(one: Ranked, rule: "Rule", swap_total_kb: float) -> None:
    """What a rule says of the cgroup that would die."""
    place = one.place or one.candidate.cgroup or ""
    if rule.spare is not None and re.fullmatch(rule.spare, place):
        one.verdict = "its cgroup is spared by the rule"
    one.last = rule.last is not None and re.fullmatch(rule.last, place) is not None
    if rule.least is not None:
        least_kb, is_share = rule.least
        if one.score <= (least_kb * swap_total_kb if is_share else least_kb):
            one.verdict = "too little swap"


def _order(
    one: Ranked,
) -> tuple[bool, bool, tuple[float, ...], float, float, float, int, int]:
    c = one.candidate
    return (
        bool(one.verdict), one.last, tuple(-part for part in one.tier), -one.score, -one.equal_kb,
        -c.freed_kb(), -c.start_time, -c.pid,
    )  # fmt: skip
