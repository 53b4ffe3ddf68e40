"""What the daemon reads for one policy: the machine, the processes, what belongs together."""

import os
import re

from oomkit.guard.cgroup_reader import CgroupReader, Members, pressure_us
from oomkit.guard.identity import CHANGE, Wanted
from oomkit.guard.kernel_file import KernelFile, number_after
from oomkit.guard.shortlist import Shortlist
from oomkit.guard.tmpfs import Tmpfs
from oomkit.guard.users import Users
from oomkit.host.procfs import NO_FILES
from oomkit.policy.engine.conditions import WARN
from oomkit.policy.engine.reading import Reading, left_kb
from oomkit.policy.engine.victim import Chooser

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from oomkit.guard.config import Places, Settings
    from oomkit.guard.reserve import Reserve
    from oomkit.policy.engine.candidate import Candidate, Growth
    from oomkit.policy.engine.decider import Assessment
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import CgroupReading


class Sources:
    """Everything that a reading is made of.

    Args:
        places: where it is.
        patterns: patterns of the cgroups that are watched.
        counters: refaults, swap-ins and scanned pages are asked for, which cost most to read.
        working_set: the working set is asked for.

    Attributes:
        meminfo: what ``meminfo`` said when last read.
        news_fd: in a drill, readable when another file may have been put in a file's place; else
            -1.
    """

    __slots__ = (
        "_arc", "_counters", "_groups", "_meminfo", "_places", "_psi", "_saw_pressure",
        "_sees_pressure", "_shmem_kb",
        "_vmstat", "_working_set", "_zram", "meminfo", "news_fd",
    )  # fmt: skip

    def __init__(
        self,
        places: "Places",
        patterns: "Iterable[re.Pattern[str]]" = (),
        *,
        counters: bool = True,
        working_set: bool = False,
    ) -> None:
        self._places = places
        self._counters = counters
        self._working_set = working_set
        self._shmem_kb = 0
        self.meminfo = b""
        drill = places.signals != places.proc
        self.news_fd = -1
        if drill:
            # Only a drill needs the means to watch directories.
            from oomkit.host.libc import watch_directories

            try:
                self.news_fd = watch_directories((places.signals, f"{places.signals}/pressure"))
            except OSError:
                self.news_fd = -1
        self._meminfo = KernelFile(f"{places.signals}/meminfo", replaced=drill)
        self._vmstat = KernelFile(f"{places.signals}/vmstat" if counters else "", replaced=drill)
        self._psi = KernelFile(f"{places.signals}/pressure/memory", replaced=drill)
        self._arc = KernelFile(f"{places.proc}/spl/kstat/zfs/arcstats")
        self._zram: dict[str, KernelFile] = {}
        self._groups = CgroupReader(places, patterns, working_set=working_set)
        self.find()
        self._sees_pressure = self._saw_pressure = self._psi.fd >= 0

    def pressure_came_or_went(self) -> bool:
        """The pressure file can be read, and could not when last asked, or the other way round."""
        before, self._saw_pressure = self._saw_pressure, self.sees_pressure
        return before != self._saw_pressure

    @property
    def shmem_kb(self) -> int:
        """Shmem of the machine: tmpfs and shared memory, when last read."""
        return self._shmem_kb

    @property
    def sees_pressure(self) -> bool:
        """The pressure file could be read when last tried."""
        return self._sees_pressure

    @property
    def meminfo_fd(self) -> int:
        """``meminfo``; -1 while it can't be read."""
        return self._meminfo.fd

    def find(self) -> None:
        """Look for what came, went, or can be read again: zram devices, cgroups, pressure."""
        for kept in (self._meminfo, self._vmstat, self._psi, self._arc):
            kept.reopen()
        try:
            names = {n for n in os.listdir(f"{self._places.sys}/block") if n.startswith("zram")}
        except OSError as error:
            names = {*self._zram} if error.errno in NO_FILES else set()
        for name in names - self._zram.keys():
            self._zram[name] = KernelFile(f"{self._places.sys}/block/{name}/mm_stat")
        for name in self._zram.keys() - names:
            self._zram.pop(name).close()
        for kept in self._zram.values():
            kept.reopen()
        self._groups.find()

    def read(self, t_s: float) -> Reading | None:
        """This moment; None if not even ``meminfo`` can be read.

        Args:
            t_s: now, by the monotonic clock.
        """
        if self.news_fd >= 0:
            self._drain()
        meminfo = self._meminfo.read(4096)
        if not meminfo:
            return None
        total_kb = number_after(meminfo, b"MemTotal:")
        available_kb = number_after(meminfo, b"MemAvailable:")
        if total_kb is None or available_kb is None:
            return None
        self.meminfo = meminfo
        swap_total_kb = number_after(meminfo, b"SwapTotal:") or 0
        self._shmem_kb = number_after(meminfo, b"\nShmem:") or 0
        some_us, full_us = pressure_us(self._psi.read(512))
        self._sees_pressure = some_us is not None
        vmstat = self._vmstat.read(16384, pieces=True) if self._counters else None
        return Reading(
            t_s,
            total_kb,
            available_kb,
            swap_total_kb,
            # A drill's file may say more, as that of a machine without swap.
            min(number_after(meminfo, b"SwapFree:") or 0, swap_total_kb),
            number_after(meminfo, b"AnonPages:") or 0,
            self._zram_kb(),
            self._arc_kb(),
            some_us,
            full_us,
            _sum(vmstat, b"\nworkingset_refault_anon ", b"\nworkingset_refault_file ")
            # Before 5.9 one counter held both.
            or _sum(vmstat, b"\nworkingset_refault "),
            _sum(vmstat, b"\npswpin "),
            _sum(vmstat, b"\npgscan_kswapd ", b"\npgscan_direct "),
            self._groups.read(),
            _working_set_kb(meminfo) if self._working_set else None,
        )

    def close(self) -> None:
        """Close all files."""
        if self.news_fd >= 0:
            os.close(self.news_fd)
            self.news_fd = -1
        for kept in (self._meminfo, self._vmstat, self._psi, self._arc, *self._zram.values()):
            kept.close()

    def _drain(self) -> None:
        try:
            while os.read(self.news_fd, 4096):
                pass
        except BlockingIOError:
            return

    def _zram_kb(self) -> float:
        """RAM that compressed swap occupies: ``mem_used_total`` of ``mm_stat``."""
        used = 0
        for kept in self._zram.values():
            fields = (kept.read(256) or b"").split()
            if len(fields) > 2 and fields[2].isdigit():
                used += int(fields[2])
        return used / 1024

    def _arc_kb(self) -> float:
        """What the ZFS cache could give back: its size above the least it keeps."""
        stats = self._arc.read(16384, pieces=True)
        if not stats:
            return 0.0
        size, least = _third(stats, b"\nsize "), _third(stats, b"\nc_min ")
        return max(0, size - least) / 1024


def _working_set_kb(meminfo: bytes) -> float:
    """What the root's working set is: anonymous memory and files, those on the inactive list apart.

    So cAdvisor computes it of the root's ``memory.stat`` (``anon`` + ``file`` - ``inactive_file``),
    whose counters are those of ``meminfo``. Kernel memory is not in it.
    """
    used = sum(
        number_after(meminfo, key) or 0
        for key in (b"AnonPages:", b"\nCached:", b"Buffers:", b"SwapCached:")
    )
    return max(used - (number_after(meminfo, b"Inactive(file):") or 0), 0)


def _sum(data: bytes | None, *keys: bytes) -> int | None:
    """The sum of those counters that are there; None if none is."""
    if not data:
        return None
    numbers = [n for n in (number_after(data, key) for key in keys) if n is not None]
    return sum(numbers) if numbers else None


def _third(data: bytes, key: bytes) -> int:
    """The number in the third column of a kstat line, which reads ``name type value``."""
    fields = data.partition(key)[2].partition(b"\n")[0].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0


SAFETY_S = 10.0
"""However calm it is: a look this often."""
COOL_S = 60.0
"""Seconds after a shortage for which the ranking is maintained."""
AGAIN_S = 30.0
"""While memory is short but stands still the ranking is refreshed this often."""
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
        fields: what is asked of each process that costs a read of its own.
        sources: the machine.
        users: names of user ids.
        warm: the processes.
    """

    __slots__ = (
        "_found_s",
        "_left_kb",
        "_members",
        "_ready_s",
        "_reserve",
        "_short_s",
        "_tmpfs",
        "_untouchable",
        "_wants",
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
        self.sources = Sources(
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
        self._untouchable = untouchable
        self._reserve = reserve
        self._found_s = self._short_s = self._ready_s = float("-inf")
        self._left_kb = 0.0

    def reading(self, t_s: float) -> "Reading | None":
        """This moment; None if it can't be read."""
        if t_s - self._found_s >= SAFETY_S:
            self._found_s = t_s
            self.sources.find()
        return self.sources.read(t_s)

    def keep_warm(
        self, growth: "Growth", look: "Assessment", reading: "Reading", next_s: float
    ) -> None:
        """Refresh the ranking if memory is low and it is old; drop it if all is well again.

        Args:
            growth: what knows how much each process has grown.
            look: what the policy said of this moment.
            reading: this moment.
            next_s: when the next look is due: the shorter, the nearer it is to acting.
        """
        if not look.state.warm and look.state.level < WARN:
            if reading.t_s - self._short_s >= COOL_S and not self.warm.is_cold:
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
        self._hold()

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
