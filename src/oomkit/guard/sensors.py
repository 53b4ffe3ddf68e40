"""What the daemon reads for one policy: the machine, the processes, what belongs together."""

import re

from oomkit.guard.cgroup_reader import Members
from oomkit.guard.identity import CHANGE, Users, Wanted, look_up_ancestry
from oomkit.guard.machine_reader import MachineReader
from oomkit.guard.shortlist import Shortlist
from oomkit.guard.tmpfs import Tmpfs
from oomkit.policy.engine.conditions import WARN
from oomkit.policy.engine.reading import left_kb
from oomkit.policy.engine.supervisors import Supervisors
from oomkit.policy.engine.victim import Chooser

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from oomkit.guard.config import Settings
    from oomkit.guard.reserve import Reserve
    from oomkit.policy.engine.candidate import Candidate, Growth
    from oomkit.policy.engine.decider import Assessment
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import CgroupReading, Reading
    from oomkit.policy.engine.starts import Starts


SAFETY_S = 10.0
"""However calm it is: a look this often."""
COOL_S = 60.0
"""Seconds after a shortage for which the ranking is maintained."""
COME_BACK_S = 300.0
"""The same where a service that was killed is to come back: its start is learnt from."""
AGAIN_S = 30.0
"""While memory is short but stands still the ranking is refreshed this often."""
BLIND_PAUSE_S = 5.0
"""Between two choices while not all processes can be looked at."""
READY_S = 60.0
"""How often those that are held ready while all is well are chosen anew."""
AT_LEAST_S = 0.2
"""However short memory is: no sooner than this, but for a choice."""
STEP = 0.01
"""The share of memory that has to go before the ranking is refreshed sooner than that."""


class Sensors:
    """What a policy reads of this machine (:class:`oomkit.policy.engine.driver.Sensors`).

    Args:
        plan: the policy.
        settings: where to look.
        whole: read command lines to their end.
        root: the cgroup below which the system's manager keeps its units; None: to be looked up.
        untouchable: pid and start time of processes that are left out; the caller adds to it.
        under_way: pids of those that are to die; the caller changes it.
        reserve: says how many files may be kept open; None: none.

    Attributes:
        blind_act_s: when a process was chosen last while not all could be looked at.
        fields: what is asked of each process that costs a read of its own.
        sources: the machine.
        users: names of user ids.
        warm: the processes.
    """

    __slots__ = (
        "_found_s",
        "_learnt_s",
        "_left_kb",
        "_members",
        "_places",
        "_ready_s",
        "_reserve",
        "_short_s",
        "_supervisors",
        "_tmpfs",
        "_untouchable",
        "_wants",
        "blind_act_s",
        "fields",
        "sources",
        "users",
        "warm",
    )  # fmt: skip

    def __init__(
        self,
        plan: "Plan",
        settings: "Settings",
        *,
        whole: bool = False,
        root: str | None = None,
        untouchable: "AbstractSet[tuple[int, int]]" = frozenset(),
        under_way: "AbstractSet[int]" = frozenset(),
        reserve: "Reserve | None" = None,
    ) -> None:
        places = settings.places
        patterns, by = plan.cgroups(), plan.rankings()
        fields = plan.fields() | ({"oom_score"} if "oom_score" in by else frozenset())
        self.sources = MachineReader(
            places,
            [re.compile(pattern) for pattern in patterns],
            counters=bool(settings.recording) or _asks_for_counters(plan),
            working_set=any(
                one.kind.name == "working_set_left"
                for rule in plan.rules
                for one in rule.conditions
            ),
        )
        self.fields = fields
        self.users = Users(plan.users)
        by_cgroup = (
            bool(patterns)
            or plan.selection.level == "cgroup"
            or (plan.selection.oom_group and places.cgroup_version == 2)
        )
        self.warm = Shortlist(
            Wanted(
                places, self.fields, self.users.names, by_cgroup=by_cgroup, whole=whole, root=root
            ),
            pinned=under_way,
        )
        # One that was free when last read is read again before a signal; a protected one is not.
        chosen_by = [*(one.match for one in plan.selection.prefer),
                     *(one.match for one in plan.response.instead)]  # fmt: skip
        others = {field for match in chosen_by for field, _ in match.patterns}
        self._wants = None if others & CHANGE else Chooser(plan).protection
        self._members = Members(
            places,
            plan.selection,
            by_reclaim=bool({"reclaim", "reclaim_rate"} & by),
            wholes=[re.compile(rule.among or rule.cgroup or "")
                    for rule in plan.rules if rule.whole],
        )  # fmt: skip
        self._tmpfs = Tmpfs(places)
        self._places = places
        supervisors = plan.selection.supervisors
        self._supervisors = Supervisors(plan.selection) if supervisors else None
        self._untouchable = untouchable
        self._reserve = reserve
        self._found_s = self._short_s = self._ready_s = self._learnt_s = float("-inf")
        self.blind_act_s = float("-inf")
        self._left_kb = 0.0

    def reading(self, t_s: float) -> "Reading | None":
        """This moment; None if it can't be read."""
        if t_s - self._found_s >= SAFETY_S:
            self._found_s = t_s
            self.sources.find()
        return self.sources.read(t_s)

    def keep_warm(
        self,
        growth: "Growth",
        look: "Assessment",
        reading: "Reading",
        next_s: float,
        *,
        awaited: bool = False,
    ) -> None:
        """Refresh the ranking if memory is low and it is old; drop it if all is well again.

        Args:
            growth: what knows how much each process has grown.
            look: what the policy said of this moment.
            reading: this moment.
            next_s: when the next look is due: the shorter, the nearer it is to acting.
            awaited: a service that was killed is to come back; it is looked for a little longer.
        """
        if not look.state.warm and look.state.level < WARN:
            if self.warm.is_cold:
                return
            calm_s = reading.t_s - self._short_s
            if awaited and calm_s < COME_BACK_S:
                if reading.t_s - self.warm.t_s >= SAFETY_S / 2:
                    self.refresh(growth, reading)
            elif calm_s >= COOL_S:
                self.warm.forget(held=self._reserve is not None and self._reserve.bounded)
                growth.forget()
            return
        self._short_s = reading.t_s
        age_s = reading.t_s - self.warm.t_s
        fell = self._left_kb - left_kb(reading) >= reading.mem_total_kb * STEP
        if age_s >= AGAIN_S or (
            age_s >= max(AT_LEAST_S, 4.0 * next_s) and (fell or look.state.level >= WARN)
        ):
            self.refresh(growth, reading)
            self.warm.measure_holders()
        self._hold()

    def learn(self, starts: "Starts", wall_s: float, most: int) -> None:
        """Have what starts of services took learnt from processes, once each time they are read.

        Args:
            starts: what learns.
            wall_s: now, seconds since the epoch.
            most: so many of the largest are shown to it.
        """
        if self._supervisors is not None and self.warm.t_s > self._learnt_s:
            self._learnt_s = self.warm.t_s
            starts.see(self.warm.t_s, wall_s, self.warm.top[:most])

    def keep_ready(self, growth: "Growth", reading: "Reading") -> None:
        """While all is well: hold the largest all the same, where files may be refused later.

        Args:
            growth: what knows how much each has grown.
            reading: this moment.
        """
        if self._reserve is None or not self._reserve.bounded:
            return
        if self.warm.is_cold and reading.t_s - self._ready_s >= READY_S:
            self.refresh(growth, reading)
            self._hold()
            self.warm.forget(held=True)

    def hold_back(self, look: "Assessment", reading: "Reading") -> None:
        """Choose seldom where the one that fills memory may be one that can't be looked at."""
        if look.choose and self.warm.is_blind:
            look.choose = reading.t_s - self.blind_act_s >= BLIND_PAUSE_S
            if not look.choose:
                look.obstacle = (
                    "not all processes can be looked at, and the last choice was just now"
                )

    def _hold(self) -> None:
        """Hold the largest, once each time they were read."""
        if self._reserve is not None and self._ready_s != self.warm.t_s:
            self._ready_s = self.warm.t_s
            self.warm.hold(self._reserve.ready())

    def refresh(self, growth: "Growth", reading: "Reading", *, keep: bool = True) -> None:
        """Read the processes.

        Args:
            growth: what knows how much each has grown.
            reading: this moment.
            keep: keep files open that were not before.
        """
        self._left_kb = left_kb(reading)
        self.warm.look(reading, growth, keep=keep)

    def sizes(self, reading: "Reading", growth: "Growth") -> dict[tuple[int, int], float]:
        """The size of each of the largest, for growth to be counted from.

        Args:
            reading: this moment, at which they are read if they are not yet.
            growth: what will remember them.
        """
        if self.warm.t_s != reading.t_s:
            self.refresh(growth, reading)
        if not growth.is_known:
            self._tmpfs.forget()  # what it noted was of an earlier shortage
        self._tmpfs.note(self.sources.shmem_kb, reading.mem_total_kb * STEP)
        return self.warm.note(reading.t_s)

    def candidates(
        self, reading: "Reading", growth: "Growth", *, also: tuple[int, ...] = ()
    ) -> "tuple[list[Candidate], list[CgroupReading]]":
        """The processes to choose among, read now, and the memory cgroups.

        Args:
            reading: this moment.
            growth: what knows how much each has grown.
            also: others that are asked about.
        """
        self.refresh(growth, reading, keep=self._reserve is not None and self._reserve.ample())
        if "user" in self.fields:
            self.users.refresh()
        self.warm.identify(self._wants, again=False)
        holders = self.warm.add_holders()
        writers = self._tmpfs.writers(self.sources.shmem_kb, reading.mem_total_kb * STEP, holders)
        held_kb = self._tmpfs.held_kb()
        found, groups = self._members.complete(self.warm, also=[*writers, *held_kb, *also])
        for one in found:
            # What it has held for long is freed with it, though it is no growth.
            one.shmem_sole_kb = max(one.shmem_sole_kb, held_kb.get(one.pid, 0.0))
            growth_kb = writers.get(one.pid)
            if growth_kb is not None:
                unnamed_kb = min(self._tmpfs.unnamed_kb(one.pid), growth_kb)
                if one.pid not in held_kb:
                    one.shmem_sole_kb += unnamed_kb
                one.tmpfs_growth_kb = growth_kb - unnamed_kb
                one.growth_kb = (one.growth_kb or 0.0) + unnamed_kb
        if self._supervisors is not None and (meant := self._supervisors.meant(found)):
            look_up_ancestry(found, meant, self._places)
        if self._untouchable:
            found = [one for one in found if (one.pid, one.start_time) not in self._untouchable]
        return found, groups

    def holding(self, one: "Candidate", size_kb: float) -> list[int]:
        """Processes that may share a candidate's memory, and were not compared with it.

        Args:
            one: of the last :meth:`candidates`.
            size_kb: those that held less when they were last measured are left out.
        """
        compared = self._members.sharers.compared
        known = compared if one.pid in compared else ()
        return [pid for pid in self.warm.holding(size_kb) if pid not in known]

    def close(self) -> None:
        """Close all files."""
        self.sources.close()
        self.warm.close()
        self.users.close()


def _asks_for_counters(plan: "Plan") -> bool:
    return any(one.kind.unit == "kb/s" for rule in plan.rules for one in rule.conditions)
