"""When to act: conditions joined into rules, each with its level and how long it has to hold.

The conditions of a rule all have to hold at once; several rules of a level are alternatives.
"""

import re

from oomkit.policy.engine.conditions import CALM, EITHER, KINDS, MACHINE, Evidence
from oomkit.policy.engine.history import History
from oomkit.policy.engine.pace import fill_pace_kb_s, wait_s
from oomkit.policy.engine.plan import RECLAIM_RATE
from oomkit.policy.engine.reading import (
    INFINITY,
    CgroupReading,
    Pace,
    Reading,
    available_kb,
    left_kb,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.policy.engine.conditions import Kind
    from oomkit.policy.engine.plan import Plan, Rule

    _Judged = tuple[Kind, float | None, float, float | None]
    """A condition's kind, its value, its threshold, and for how long it has held; None: not now."""

_MACHINE_ALONE: list[CgroupReading | None] = [None]
_LEFT = "left"
"""Memory and swap that is left, among the totals."""
_DECAYED = 4.0
"""Time constants after which an average has forgotten all but 2 %."""
_RECLAIM_S = 1.0
"""Pages that were scanned are counted over that time."""
_ROUNDING_S = 1e-6
"""Sums of times of looks may be that much too small."""


class State:
    """What the rules say of a moment.

    Attributes:
        t_s: when.
        level: the highest level of which a rule holds, and has long enough.
        rule: that rule's place in the plan; None while calm.
        cgroup: the cgroup the rule is about; None: the machine.
        by: how this rule ranks, where it has its own way; None: as the plan says.
        evidence: the conditions of that rule; while calm, those of the nearest one.
        eases: that rule calls for a softer act than a signal.
        warm: memory is so short that the ranking should be kept at hand.
    """

    __slots__ = ("by", "cgroup", "eases", "evidence", "level", "rule", "t_s", "warm")

    def __init__(self, t_s: float) -> None:
        self.t_s = t_s
        self.level = CALM
        self.eases = False
        self.rule: int | None = None
        self.cgroup: str | None = None
        self.by: str | None = None
        self.evidence: tuple[Evidence, ...] = ()
        self.warm = False


class Watch:
    """Holds readings against a plan's rules.

    Args:
        plan: what ``compile_plan`` made of a policy.
        cpus: of the machine; None: unknown.
    """

    __slots__ = (
        "_counters",
        "_cpus",
        "_history",
        "_last",
        "_order",
        "_patterns",
        "_polling",
        "_rules",
        "_since",
    )

    def __init__(self, plan: "Plan", *, cpus: int | None = None) -> None:
        self._cpus = cpus
        self._polling = plan.polling
        self._rules = plan.rules
        self._patterns = [re.compile(r.cgroup) if r.cgroup else None for r in self._rules]
        kinds = {one.kind.name: one.kind for rule in self._rules for one in rule.conditions}
        if RECLAIM_RATE in plan.rankings():
            kinds["reclaim"] = KINDS["reclaim"]
        self._counters = [kind for kind in kinds.values() if kind.is_counted]
        windows = [rule.over_s for rule in self._rules] or [1.0]
        longest = [one.over_s * (_DECAYED if one.decaying else 1.0) for one in self._rules] or [1.0]
        self._history = History(max(longest), min(windows))
        self._since: dict[tuple[int, str | None, int], float] = {}
        self._last: Reading | None = None
        self._order = CALM

    def see(self, reading: Reading, *, coming_kb: float = 0.0) -> State:
        """Take in a reading, and say which level holds.

        Args:
            reading: no older than the one before; an older one starts everything again.
            coming_kb: memory of the dying that is not back yet: it counts as available.
        """
        if self._last is not None and reading.t_s < self._last.t_s:
            self._since.clear()
        self._last = reading
        self._history.add(reading.t_s, self._totals(reading))
        state = State(reading.t_s)
        warm = reading.mem_total_kb * self._polling.warm
        state.warm = available_kb(reading) <= warm
        nearest, order = 2.0, CALM
        shown: tuple[Rule, CgroupReading | None, list[_Judged]] | None = None
        for index, rule in enumerate(self._rules):
            for group in self._about(index, reading):
                judged, missing, held_s = self._judge(index, rule, reading, group, coming_kb)
                if not missing and held_s >= rule.for_s - _ROUNDING_S:
                    if rule.order > order:
                        order = rule.order
                        state.level, state.rule, state.eases = rule.level, index, rule.eases
                        state.cgroup = group.path if group is not None else None
                        state.by = rule.by
                        shown = (rule, group, judged)
                elif state.level == CALM and missing / len(judged) < nearest:
                    nearest = missing / len(judged)
                    shown = (rule, group, judged)
        if shown is not None:
            state.evidence = _evidence(*shown)
        self._order = order
        return state

    def recall(self, t_s: float, left_kb: float) -> None:
        """Take in what was found at a moment at which nothing else was read.

        Args:
            t_s: when, after the last reading.
            left_kb: available memory and free swap.
        """
        self._history.add(t_s, {_LEFT: left_kb})

    def falls_kb_s(self) -> float:
        """How fast memory and swap together have fallen recently; 0 where they do not."""
        change = self._history.change(_LEFT, 0.1)
        return max(-change, 0.0) if change is not None else 0.0

    def scanned(self, groups: "Sequence[CgroupReading]") -> dict[str, float]:
        """What reclaim scanned in cgroups in the last second, kB a second; only what is known."""
        kind = KINDS["reclaim"]
        rates = {one.path: self._history.rate(_key(kind, one), _RECLAIM_S) for one in groups}
        return {path: rate for path, rate in rates.items() if rate is not None}

    def restart(self) -> None:
        """Somebody died: what was stalled and refaulted before does not count any more."""
        self._history.clear()
        self._since.clear()

    def next_look_s(self, reading: Reading, *, psi_wakes: bool = False) -> float:
        """Seconds until a higher level could begin to hold, as fast as this machine can change.

        Args:
            reading: the last one seen.
            psi_wakes: something else wakes us as soon as tasks stall, so pressure that is not
                there yet needs no look.
        """
        pace = Pace()
        pace.available_kb_s = fill_pace_kb_s(self._polling, self._cpus)
        pace.working_set_kb_s = pace.available_kb_s
        pace.swap_kb_s = self._polling.swap_fill_kb_s
        pace.pressure_begins = not psi_wakes
        soonest = self.earliest_s(reading, pace, self._polling.max_interval_s)
        return min(max(soonest, self._polling.min_interval_s), self._polling.max_interval_s)

    def earliest_s(self, reading: Reading, pace: Pace, within_s: float = INFINITY) -> float:
        """Seconds until a higher level could begin to hold at a given pace; infinity: never.

        Args:
            reading: the last one seen.
            pace: how fast things change.
            within_s: what would be later than this is not looked for: it is returned instead.
        """
        soonest = within_s
        for index, rule in enumerate(self._rules):
            if rule.order <= self._order:
                continue
            for group in self._about(index, reading):
                soonest = min(soonest, self._earliest(index, rule, reading, group, pace, soonest))
        return soonest

    def missing(self, reading: Reading) -> tuple[str, ...]:
        """Kinds of conditions that can't be measured on this machine, so their rules never hold."""
        kinds = {one.kind.name: one.kind for rule in self._rules for one in rule.conditions}
        return tuple(
            kind.name
            for kind in kinds.values()
            if (kind.is_counted or kind.scope == EITHER) and kind.reads(reading, None) is None
        )

    def _totals(self, reading: Reading) -> dict[str, float | None]:
        """What rates are made of: what is left, and the counters that rules ask for."""
        totals: dict[str, float | None] = {_LEFT: left_kb(reading)}
        for kind in self._counters:
            totals[kind.name] = kind.reads(reading, None)
            if kind.scope != MACHINE:
                for group in reading.cgroups:
                    totals[_key(kind, group)] = kind.reads(reading, group)
        return totals

    def _about(self, index: int, reading: Reading) -> "list[CgroupReading | None]":
        """What a rule is held against: the machine, or each cgroup it names."""
        pattern = self._patterns[index]
        if pattern is None:
            return _MACHINE_ALONE
        return [g for g in reading.cgroups if pattern.fullmatch(g.path)]

    def _judge(
        self,
        index: int,
        rule: "Rule",
        reading: Reading,
        group: CgroupReading | None,
        coming_kb: float,
    ) -> "tuple[list[_Judged], int, float]":
        """What is found of each condition; how many don't hold; how long all of them have."""
        path = group.path if group is not None else None
        since, now_s = self._since, reading.t_s
        found: list[_Judged] = []
        missing = 0
        shortest = INFINITY
        for place, condition in enumerate(rule.conditions):
            kind = condition.kind
            limit = condition.threshold
            if condition.share:
                limit = kind.threshold(limit, condition.share, reading, group)
            value = self._measure(kind, rule, reading, group, coming_kb)
            if value is not None and kind.holds(value, limit):
                held_s = now_s - since.setdefault((index, path, place), now_s)
                shortest = min(shortest, held_s)
                found.append((kind, value, limit, held_s))
            else:
                if since:
                    since.pop((index, path, place), None)
                missing += 1
                found.append((kind, value, limit, None))
        return found, missing, shortest

    def _measure(
        self,
        kind: "Kind",
        rule: "Rule",
        reading: Reading,
        group: CgroupReading | None,
        coming_kb: float,
    ) -> float | None:
        about = None if group is None else kind.about(group)
        if rule.decaying and kind.is_pressure:
            return self._history.decaying_rate(_key(kind, about), rule.over_s)
        if kind.is_counted:
            return self._history.rate(_key(kind, about), rule.over_s)
        value = kind.reads(reading, about)
        if value is None:
            return None
        if kind.counts_freeing:
            value += coming_kb
        return self._lasts_s(value, rule.over_s) if kind.unit == "s" else value

    def _lasts_s(self, kb: float, over_s: float) -> float | None:
        """How long memory and swap last at the present rate; infinity while it does not fall."""
        change = self._history.change(_LEFT, over_s)
        if change is None:
            return None
        return INFINITY if change >= 0.0 else kb / -change

    def _earliest(
        self,
        index: int,
        rule: "Rule",
        reading: Reading,
        group: CgroupReading | None,
        pace: Pace,
        within_s: float,
    ) -> float:
        """Seconds until all conditions of a rule could hold, and have long enough.

        It ends at the first condition by which that is not before ``within_s``.
        """
        path = group.path if group is not None else None
        if group is not None:
            pace = pace.of(group)
        falls = latest = 0.0
        held_s = INFINITY
        for place, condition in enumerate(rule.conditions):
            kind = condition.kind
            limit = condition.threshold
            if condition.share:
                limit = kind.threshold(limit, condition.share, reading, group)
            value = self._measure(kind, rule, reading, group, 0.0)
            if value is None and kind.unit != "s":
                return INFINITY
            wait = wait_s(kind, value, limit, rule.over_s, reading, pace)
            if kind.in_turn and pace.in_turn:
                falls += wait
                wait = falls
            latest = max(latest, wait)
            if latest >= within_s:
                return latest
            if rule.for_s > 0.0:
                since = self._since.get((index, path, place))
                held_s = min(held_s, reading.t_s - since if since is not None else 0.0)
        return max(latest, rule.for_s - held_s)


def _evidence(
    rule: "Rule", group: CgroupReading | None, judged: "list[_Judged]"
) -> tuple[Evidence, ...]:
    """What was found of a rule's conditions, for people and records."""
    return tuple(_one_evidence(rule, group, one) for one in judged)


def _one_evidence(rule: "Rule", group: CgroupReading | None, judged: "_Judged") -> Evidence:
    kind, value, limit, held_s = judged
    about = kind.about(group)
    one = Evidence(
        kind, value, limit, holds=held_s is not None,
        over_s=rule.over_s if kind.over_a_window else 0.0,
        cgroup=about.path if about is not None else None,
    )  # fmt: skip
    if held_s is not None:
        one.held_s = held_s
    return one


def _key(kind: "Kind", group: CgroupReading | None) -> str:
    """What a counter is called among the totals."""
    return kind.name if group is None else f"{kind.name} {group.path}"
