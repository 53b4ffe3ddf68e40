"""What the daemon looks at for one policy: the machine, the processes, who belongs to whom."""

import re

from oomkit.guard.identity import Wanted
from oomkit.guard.members import Members
from oomkit.guard.sources import Sources
from oomkit.guard.tmpfs import Tmpfs
from oomkit.guard.users import Users
from oomkit.guard.warm import Warm
from oomkit.policy.core.conditions import RATES, available_kb
from oomkit.policy.core.levels import WARN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oomkit.guard.settings import Settings
    from oomkit.policy.core.candidate import Candidate
    from oomkit.policy.core.decider import Decider, Look
    from oomkit.policy.core.reading import CgroupReading, Reading

SAFETY_S = 10.0
"""However calm it is: a look this often."""
COOL_S = 60.0
"""So long after the shortage the ranking is kept warm."""
AGAIN_S = 30.0
"""While memory is short but stands still the ranking is refreshed this often."""
AT_LEAST_S = 0.2
"""However short memory is: no sooner than this, but for a choice."""
STEP = 0.01
"""The share of memory that has to go before the ranking is refreshed sooner than that."""


class Eyes:
    """Looks.

    Args:
        plan: the policy.
        settings: where to look.
        whole: read command lines to their end.
        root: the cgroup below which the system's manager keeps its units; None: to be looked up.

    Attributes:
        fields: what is asked of each process that costs a read of its own.
        sources: the machine.
        users: names of user ids.
        warm: the processes.
    """

    __slots__ = (
        "_found_s", "_left_kb", "_members", "_short_s", "_tmpfs", "fields", "sources", "users",
        "warm",
    )  # fmt: skip

    def __init__(
        self,
        plan: "dict[str, Any]",
        settings: "Settings",
        *,
        whole: bool = False,
        root: str | None = None,
    ) -> None:
        places = settings.places
        patterns = {rule["cgroup"] for rule in plan["rules"] if rule["cgroup"]}
        by = {plan["whom"]["by"], *(rule["by"] for rule in plan["rules"])}
        fields = fields_asked_for(plan) | ({"oom_score"} if "oom_score" in by else set())
        self.sources = Sources(
            places,
            [re.compile(pattern) for pattern in sorted(patterns)],
            counters=bool(settings.recording) or _asks_for_counters(plan),
        )
        self.fields = frozenset(fields)
        self.users = Users(plan.get("users", {}))
        by_cgroup = (
            bool(patterns)
            or plan["whom"]["level"] == "cgroup"
            or (plan["whom"]["oom_group"] and places.cgroup_version == 2)
        )
        self.warm = Warm(
            Wanted(
                places, self.fields, self.users.names, by_cgroup=by_cgroup, whole=whole, root=root
            )
        )
        self._members = Members(places, plan["whom"], by_reclaim="reclaim" in by)
        self._tmpfs = Tmpfs(places)
        self._found_s = self._short_s = float("-inf")
        self._left_kb = 0.0

    def reading(self, t_s: float) -> "Reading | None":
        """This moment; None if it can't be read."""
        if t_s - self._found_s >= SAFETY_S:
            self._found_s = t_s
            self.sources.find()
        return self.sources.read(t_s)

    def keep_warm(
        self, decider: "Decider", look: "Look", reading: "Reading", next_s: float
    ) -> None:
        """Refresh the ranking if memory is short and it is old; let it go if all is well again.

        Args:
            decider: the policy at work.
            look: what it said of this moment.
            reading: this moment.
            next_s: when the next look is due: the shorter, the nearer it is to acting.
        """
        if not look.state.warm and look.state.level < WARN:
            if reading.t_s - self._short_s >= COOL_S and not self.warm.is_cold:
                self.warm.forget()
                decider.growth.forget()
            return
        self._short_s = reading.t_s
        age_s = reading.t_s - self.warm.t_s
        fell = self._left_kb - left_kb(reading) >= reading.mem_total_kb * STEP
        if (
            age_s >= AGAIN_S
            or look.sizes
            or (age_s >= max(AT_LEAST_S, 4.0 * next_s) and (fell or look.state.level >= WARN))
        ):
            self.refresh(decider, reading)
            if look.sizes:
                self.note(decider, reading)

    def refresh(self, decider: "Decider", reading: "Reading", *, keep: bool = True) -> None:
        """Look at the processes.

        Args:
            decider: the policy at work, which counts growth.
            reading: this moment.
            keep: keep files open that were not before.
        """
        self._left_kb = left_kb(reading)
        self.warm.look(reading, decider.growth, keep=keep)

    def note(self, decider: "Decider", reading: "Reading") -> None:
        """Have growth be counted from the last look on; takes a read for each process.

        Args:
            decider: the policy at work.
            reading: the moment of that look.
        """
        if not decider.growth.is_known:
            self._tmpfs.forget()  # what it noted was of an earlier shortage
        self.warm.note(decider.growth, reading.t_s, self._left_kb)
        self._tmpfs.note(self.sources.shmem_kb)

    def candidates(
        self, reading: "Reading", *, also: tuple[int, ...] = ()
    ) -> "tuple[list[Candidate], list[CgroupReading]]":
        """Whom to choose among, after :meth:`refresh`.

        Args:
            reading: this moment.
            also: others that are asked about.
        """
        if "user" in self.fields:
            self.users.refresh()
        self.warm.identify()
        holders = self.warm.add_holders()
        writers = self._tmpfs.writers(self.sources.shmem_kb, reading.mem_total_kb * STEP, holders)
        found, groups = self._members.complete(self.warm, also=[*writers, *also])
        for one in found:
            growth_kb = writers.get(one.pid)
            if growth_kb is not None:
                unnamed_kb = min(self._tmpfs.unnamed_kb(one.pid), growth_kb)
                one.shmem_sole_kb += unnamed_kb
                one.tmpfs_growth_kb = growth_kb - unnamed_kb
                one.growth_kb = (one.growth_kb or 0.0) + unnamed_kb
        return found, groups

    def close(self) -> None:
        """Close all files."""
        self.sources.close()
        self.warm.close()
        self.users.close()


def left_kb(reading: "Reading") -> float:
    """Memory that can still be had: available memory and free swap."""
    return available_kb(reading) + reading.swap_free_kb


def fields_asked_for(plan: "dict[str, Any]") -> set[str]:
    """Fields of a process that some pattern of the plan is about."""
    whom = plan["whom"]
    patterns = [p for _, p in whom["never"]] + [p[1] for p in whom["prefer"]]
    patterns += [p for p, _ in plan["how"]["instead"]]
    return {field for several in patterns for field, _ in several}


def _asks_for_counters(plan: "dict[str, Any]") -> bool:
    return any(kind in RATES for rule in plan["rules"] for kind, _, _ in rule["conditions"])
