"""The small parts of a plan: conditions, matches, and what is said of those that match."""

from oomkit.policy.engine.conditions import KINDS, Kind

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self


class Part:
    """What a plan is made of."""

    __slots__: tuple[str, ...] = ()

    def to_values(self) -> "dict[str, Any]":
        """This part and those in it as dictionaries, tuples, texts, numbers and None."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The part again."""
        return cls(**values)


def _plain(value: "Any") -> "Any":
    if isinstance(value, Part):
        return value.to_values()
    if isinstance(value, Kind):
        return value.name
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


class Condition(Part):
    """One condition of a rule.

    Attributes:
        kind: what is measured; a row of the table of kinds, and its name as a plain value.
        threshold: a share (0..1), kB, kB a second, or seconds.
        share: a threshold for memory is a share of the machine's memory or swap, or of a limit.
    """

    __slots__ = ("kind", "share", "threshold")

    def __init__(self, kind: Kind, threshold: float, share: bool) -> None:
        self.kind = kind
        self.threshold = threshold
        self.share = share

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The condition again."""
        return cls(**{**values, "kind": KINDS[values["kind"]]})


class Match(Part):
    """Which processes a part of the policy is about.

    Attributes:
        text: the match as the policy writes it, for people.
        patterns: fields of a candidate, each with the expression its value has to match in full.
    """

    __slots__ = ("patterns", "text")

    def __init__(self, text: str, patterns: tuple[tuple[str, str], ...]) -> None:
        self.text = text
        self.patterns = patterns


class OfMatching(Part):
    """What is said of the processes that match; its attribute ``match`` says which."""

    __slots__ = ()

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The part again."""
        return cls(**{**values, "match": Match.from_values(values["match"])})


class Preference(OfMatching):
    """Processes that are to be killed earlier, or later.

    Attributes:
        match: which.
        factor: what their score is multiplied by.
        points: what is added to it instead where ``oom_score`` ranks.
        size_kb: what is added to it instead where ``rss`` ranks; None: the factor counts.
        unless_lowered: not for a process whose ``oom_score_adj`` is below 0.
    """

    __slots__ = ("factor", "match", "points", "size_kb", "unless_lowered")

    def __init__(
        self,
        match: Match,
        factor: float,
        points: float,
        size_kb: float | None = None,
        unless_lowered: bool = False,
    ) -> None:
        self.match = match
        self.factor = factor
        self.points = points
        self.size_kb = size_kb
        self.unless_lowered = unless_lowered


class Supervisor(OfMatching):
    """Processes on which others depend: see :class:`oomkit.policy.records.Supervisor`.

    Attributes:
        match: which.
        leads: only the first process of a cgroup.
        takes: what depends on it: ``children`` or ``session``.
        restart_s: CPU seconds that its start takes.
        factor: how far it goes behind what depends on it at most.
    """

    __slots__ = ("factor", "leads", "match", "restart_s", "takes")

    def __init__(
        self,
        match: Match,
        leads: bool,
        takes: str,
        restart_s: float,
        factor: float,
    ) -> None:
        self.match = match
        self.leads = leads
        self.takes = takes
        self.restart_s = restart_s
        self.factor = factor


class Instead(OfMatching):
    """A command that is run instead of SIGTERM.

    Attributes:
        match: for which processes.
        command: program and arguments.
    """

    __slots__ = ("command", "match")

    def __init__(self, match: Match, command: tuple[str, ...]) -> None:
        self.match = match
        self.command = command


class Easement(Part):
    """One softer act than a signal that the policy allows.

    Attributes:
        kind: ``reclaim``, ``throttle`` or ``freeze``.
        amount: of ``reclaim``: how much; of ``throttle``: ``memory.high``; a share of what the
            cgroup uses, or kB; 0 for ``freeze``.
        share: that amount is a share.
        lasts_s: it is taken back after that; 0: there is nothing to take back.
        wait_s: the next act follows so much later at the soonest.
    """

    __slots__ = ("amount", "kind", "lasts_s", "share", "wait_s")

    def __init__(
        self, kind: str, amount: float, share: bool, lasts_s: float, wait_s: float
    ) -> None:
        self.kind = kind
        self.amount = amount
        self.share = share
        self.lasts_s = lasts_s
        self.wait_s = wait_s

    def of_kb(self, usage_kb: float) -> float:
        """The amount, kB, where a cgroup uses so much."""
        return self.amount * usage_kb if self.share else self.amount
