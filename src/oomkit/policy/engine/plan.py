"""A policy as the engine works with it: patterns compiled to expressions, levels to numbers.

``policy/compile.py`` makes a :class:`Plan`. Over the boundary to another process it goes as plain
values, which :mod:`marshal` can carry: :meth:`Plan.to_values` and :meth:`Plan.from_values`.
"""

from oomkit.policy.engine.plan_parts import (
    Condition,
    Easement,
    Instead,
    Match,
    Part,
    Preference,
    Supervisor,
)

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

RECLAIM_RATE = "reclaim_rate"
"""Ranks cgroups by what was scanned in them in the last second."""

SCHEMA = 6
"""Of the plain values; those of another version of the program are refused."""


class Rule(Part):
    """Conditions that call for a level when all of them hold at once.

    Attributes:
        level: a level of :mod:`.conditions`.
        conditions: all of them have to hold.
        over_s: the time over which pressure and rates are measured.
        decaying: of pressure that is the time constant of a decaying average, not a window.
        for_s: how long they have to hold.
        cgroup: expression for the cgroups it is about; None: the machine.
        by: how this rule ranks; None: as the plan says.
        among: expression for the cgroups in which it chooses; None: everywhere.
        least: a choice has more than this swap, and whether that is a share; None: any.
        spare: expression for the cgroups it never chooses; None: none.
        last: expression for the cgroups it chooses after all others; None: none.
        whole: the cgroup it is about dies as a whole.
        pause_s: between the last victim and one of this rule; None: as the plan says.
        eases: it calls for a softer act than a signal; its level is :data:`.conditions.WARN`.
    """

    __slots__ = (
        "among", "by", "cgroup", "conditions", "decaying", "eases", "for_s", "last", "least",
        "level", "over_s", "pause_s", "spare", "whole",
    )  # fmt: skip

    def __init__(
        self,
        level: int,
        conditions: tuple[Condition, ...],
        over_s: float,
        for_s: float,
        cgroup: str | None,
        by: str | None,
        among: str | None = None,
        least: tuple[float, bool] | None = None,
        spare: str | None = None,
        last: str | None = None,
        whole: bool = False,
        pause_s: float | None = None,
        eases: bool = False,
        decaying: bool = False,
    ) -> None:
        self.level = level
        self.conditions = conditions
        self.over_s = over_s
        self.for_s = for_s
        self.cgroup = cgroup
        self.by = by
        self.among = among
        self.least = least
        self.spare = spare
        self.last = last
        self.whole = whole
        self.pause_s = pause_s
        self.eases = eases
        self.decaying = decaying

    @property
    def order(self) -> int:
        """Of two rules that hold, the one with the higher order counts."""
        return 2 * self.level + self.eases

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The rule again."""
        conditions = tuple(map(Condition.from_values, values["conditions"]))
        return cls(**{**values, "conditions": conditions})


class Polling(Part):
    """How often to read the machine: see :class:`oomkit.policy.records.Polling`."""

    __slots__ = (
        "fill_cpu_kb_s", "fill_kb_s", "max_interval_s", "min_interval_s", "swap_fill_kb_s", "warm",
    )  # fmt: skip

    def __init__(
        self,
        min_interval_s: float,
        max_interval_s: float,
        fill_kb_s: float,
        fill_cpu_kb_s: float | None,
        swap_fill_kb_s: float,
        warm: float,
    ) -> None:
        self.min_interval_s = min_interval_s
        self.max_interval_s = max_interval_s
        self.fill_kb_s = fill_kb_s
        self.fill_cpu_kb_s = fill_cpu_kb_s
        self.swap_fill_kb_s = swap_fill_kb_s
        self.warm = warm


class Selection(Part):
    """How a victim is selected: see :class:`oomkit.policy.records.Whom`.

    Attributes:
        cgroup: expression for the cgroups that are selected as a whole; None: each is.
        never: processes that are never selected.
        prefer: processes that are to be killed earlier, or later.
        supervisors: processes on which others depend.
    """

    __slots__ = (
        "adj", "by", "cgroup", "growth", "growth_over_s", "lasts_s", "least_kb", "least_score",
        "level", "most_processes", "never", "oom_group", "prefer", "raised_adj",
        "spared_priority", "supervisors", "work",
    )  # fmt: skip

    def __init__(
        self,
        by: str,
        level: str,
        most_processes: int,
        oom_group: bool,
        least_kb: float,
        least_score: float | None,
        raised_adj: float,
        growth: float,
        growth_over_s: float,
        work: float,
        adj: float,
        lasts_s: float,
        cgroup: str | None,
        spared_priority: int | None,
        never: tuple[Match, ...],
        prefer: tuple[Preference, ...],
        supervisors: tuple[Supervisor, ...] = (),
    ) -> None:
        self.by = by
        self.level = level
        self.most_processes = most_processes
        self.oom_group = oom_group
        self.least_kb = least_kb
        self.least_score = least_score
        self.raised_adj = raised_adj
        self.growth = growth
        self.growth_over_s = growth_over_s
        self.work = work
        self.adj = adj
        self.lasts_s = lasts_s
        self.cgroup = cgroup
        self.spared_priority = spared_priority
        self.never = never
        self.prefer = prefer
        self.supervisors = supervisors

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The selection again."""
        never = tuple(map(Match.from_values, values["never"]))
        prefer = tuple(map(Preference.from_values, values["prefer"]))
        supervisors = tuple(map(Supervisor.from_values, values["supervisors"]))
        parts = {"never": never, "prefer": prefer, "supervisors": supervisors}
        return cls(**{**values, **parts})


class Response(Part):
    """How a victim is signalled, and what else is done: see :class:`oomkit.policy.records.How`.

    Attributes:
        instead: commands instead of SIGTERM; the first that matches is run.
        easements: softer acts than a signal that are allowed, the least harmful first.
    """

    __slots__ = (
        "after", "before", "dry_run_pause_s", "easements", "evict", "give_up_s", "hard_pause_s",
        "insist", "instead", "most_a_minute", "notify", "pause_s", "term", "term_least_s",
        "term_wait_s", "together",
    )  # fmt: skip

    def __init__(
        self,
        term: bool,
        term_least_s: float,
        term_wait_s: float,
        give_up_s: float,
        pause_s: float,
        hard_pause_s: float,
        together: bool,
        most_a_minute: int,
        dry_run_pause_s: float,
        notify: bool,
        insist: bool,
        evict: bool,
        before: tuple[str, ...],
        after: tuple[str, ...],
        instead: tuple[Instead, ...],
        easements: tuple[Easement, ...] = (),
    ) -> None:
        self.term = term
        self.term_least_s = term_least_s
        self.term_wait_s = term_wait_s
        self.give_up_s = give_up_s
        self.pause_s = pause_s
        self.hard_pause_s = hard_pause_s
        self.together = together
        self.most_a_minute = most_a_minute
        self.dry_run_pause_s = dry_run_pause_s
        self.notify = notify
        self.insist = insist
        self.evict = evict
        self.before = before
        self.after = after
        self.instead = instead
        self.easements = easements

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The response again."""
        instead = tuple(map(Instead.from_values, values["instead"]))
        easements = tuple(map(Easement.from_values, values["easements"]))
        return cls(**{**values, "instead": instead, "easements": easements})


class Plan(Part):
    """A policy, compiled.

    Attributes:
        name: what its kills are recorded as.
        polling: how often to read the machine.
        rules: when to act.
        selection: how a victim is selected.
        response: how it is signalled, and what else is done.
        users: names of user ids on this machine; empty where no pattern asks for them.
    """

    __slots__ = ("name", "polling", "response", "rules", "selection", "users")

    def __init__(
        self,
        name: str,
        polling: Polling,
        rules: tuple[Rule, ...],
        selection: Selection,
        response: Response,
        users: dict[int, str] | None = None,
    ) -> None:
        self.name = name
        self.polling = polling
        self.rules = rules
        self.selection = selection
        self.response = response
        self.users = users or {}

    def to_values(self) -> "dict[str, Any]":
        """The plan as dictionaries, tuples, texts, numbers and None."""
        return {"schema": SCHEMA, **super().to_values()}

    @classmethod
    def from_values(cls, values: "Mapping[str, Any]") -> "Self":
        """The plan again.

        Raises:
            ValueError: they are no plan, or another version's; the text says which.
        """
        try:
            schema = values["schema"]
            if schema == SCHEMA:
                return cls(
                    str(values["name"]),
                    Polling.from_values(values["polling"]),
                    tuple(map(Rule.from_values, values["rules"])),
                    Selection.from_values(values["selection"]),
                    Response.from_values(values["response"]),
                    values["users"],
                )
        except (KeyError, TypeError, AttributeError):
            raise ValueError("expected a compiled policy") from None
        raise ValueError(
            f"expected a compiled policy of version {SCHEMA}, not {schema}: another version of "
            "oomkit is installed by now, so the guard has to be restarted"
        )

    def fields(self) -> frozenset[str]:
        """Fields of a candidate that some pattern is about."""
        matches = [*self.selection.never, *(one.match for one in self.selection.prefer)]
        matches += [one.match for one in self.response.instead]
        found = frozenset(field for match in matches for field, _ in match.patterns)
        # Cgroup, unit and container come with what is read anyway; of supervisors nothing hangs on
        # what they are at this very moment.
        supervisors = [one.match for one in self.selection.supervisors]
        named = frozenset(field for match in supervisors for field, _ in match.patterns)
        found |= named & {"exe", "cmdline", "user"}
        places = any(rule.among or rule.spare or rule.last for rule in self.rules)
        return found | {"cgroup"} if places or self.response.easements else found

    def rankings(self) -> frozenset[str]:
        """The ways of ranking that the plan or one of its rules asks for."""
        own = (rule.by for rule in self.rules if rule.by is not None)
        return frozenset((self.selection.by, *own))

    def cgroups(self) -> tuple[str, ...]:
        """Expressions for the cgroups that some rule reads, each once."""
        found = set()
        for rule in self.rules:
            if rule.cgroup is not None:
                # What is scanned in those below, among which it chooses, is measured from look
                # to look.
                below = self.ranks(rule) == RECLAIM_RATE
                found.add(f"(?:{rule.cgroup})(?:/.*)?" if below else rule.cgroup)
        return tuple(sorted(found))

    def ranks(self, rule: Rule) -> str:
        """How a rule ranks."""
        return rule.by or self.selection.by
