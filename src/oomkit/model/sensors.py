"""What a policy can read of the machine, at any moment until the next event."""

from collections import defaultdict
from typing import Final

from oomkit.model import accounting
from oomkit.model.advance import charge_rates
from oomkit.model.domains import pools_in
from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool
from oomkit.model.pressure import pressure_in
from oomkit.model.psi import Psi
from oomkit.model.solve import Rates
from oomkit.model.tasks import PAGE
from oomkit.policy.engine.reading import CgroupReading, Pace, Reading
from oomkit.scenario.sums import added

KB: Final = PAGE / 1024


class Counters:
    """What ``/proc/vmstat`` and the cgroups' files have counted since the start.

    Attributes:
        refault, swap_in, pgscan: pages.
        groups: counters of each cgroup.
    """

    def __init__(self) -> None:
        self.refault = self.swap_in = self.pgscan = 0.0
        self.groups: defaultdict[Group, CgroupCounters] = defaultdict(CgroupCounters)


class CgroupCounters:
    """What one cgroup's files have counted since the start.

    Attributes:
        some_s, full_s: stall time, seconds.
        pgscan: pages.
    """

    __slots__ = ("full_s", "pgscan", "some_s")

    def __init__(self) -> None:
        self.some_s = self.full_s = self.pgscan = 0.0


class Sensors:
    """Everything a policy reads, from now until the next event, and how fast it changes.

    Args:
        machine: the machine now.
        rates: the rates that hold until the next event.
        psi: the machine's stall times.
        counters: the machine's counters.
        cgroups: whether the cgroups are read too.
        working_sets: whether the machine's working set is read too.
    """

    def __init__(
        self,
        machine: Machine,
        rates: Rates,
        psi: Psi,
        counters: Counters,
        *,
        cgroups: bool,
        working_sets: bool,
    ) -> None:
        self.machine = machine
        self.rates = rates
        self.psi = psi
        self.counters = counters
        self.now = machine.now
        self.working_set: float | None = None
        self.working_set_rate = 0.0
        self._gains: Reading | None = None
        file = anon = swapped = 0.0
        file_rate = swap_rate = refault = swap_in = pgscan = 0.0
        flows = rates.flows
        pools = machine.pools()
        for pool in pools:
            if pool.is_file:
                file += pool.resident + pool.dirty
                if pool.kind == "lazy":
                    anon += pool.resident
            else:
                swapped += pool.swapped
                if pool.kind == "anon":
                    anon += pool.resident
            flow = flows.get(pool)
            if flow is None:
                continue
            pgscan += flow.evict
            if pool.is_file:
                file_rate += flow.net() + flow.dirtied - flow.cleaned
                refault += flow.refault * (1.0 - pool.unread_share)
            else:
                swap_rate += flow.evict - flow.refault
                swap_in += flow.refault
        self.file, self.file_rate, self.anon = file, file_rate, anon
        self.swapped, self.swap_rate = swapped, swap_rate
        self.refault, self.swap_in, self.pgscan = refault, swap_in, pgscan
        if working_sets:
            self.working_set = machine.rootfs
            for pool in pools:
                self.working_set += _in_use(pool)
                self.working_set_rate += _in_use_rate(pool, rates)
        self.refault += self.swap_in
        self.groups = [
            _CgroupSensors(group, machine, rates) for group in machine.groups.values() if cgroups
        ]
        if self.groups:
            charged = charge_rates(machine, rates)
            for group in self.groups:
                group.usage_rate = charged[group.group]

    def reading(self, after_s: float) -> Reading:
        """The reading some seconds from now."""
        machine, counters, psi = self.machine, self.counters, self.psi
        swap_free = machine.swap_total - self.swapped - self.swap_rate * after_s
        return Reading(
            self.now + after_s,
            machine.total * KB,
            self._available_kb(after_s),
            machine.swap_total * KB,
            max(swap_free, 0.0) * KB,
            self.anon * KB,
            psi_some_us=1e6 * (psi.some_total_s + self.rates.some * after_s),
            psi_full_us=1e6 * (psi.full_total_s + self.rates.full * after_s),
            refault_pages=counters.refault + self.refault * after_s,
            swap_in_pages=counters.swap_in + self.swap_in * after_s,
            pgscan_pages=counters.pgscan + self.pgscan * after_s,
            cgroups=tuple(group.reading(counters, after_s) for group in self.groups),
            working_set_kb=self._working_set_kb(after_s),
            zram_kb=(machine.compressed.held + self.rates.zram_rate * after_s) * KB,
        )

    def _working_set_kb(self, after_s: float) -> float | None:
        if self.working_set is None:
            return None
        return (self.working_set + self.working_set_rate * after_s) * KB

    def pace(self, seconds: float) -> Pace:
        """How fast things change over the next seconds."""
        pace = Pace()
        pace.in_turn = False
        fallen = self._available_kb(0.0) - self._available_kb(seconds)
        pace.available_kb_s = max(fallen / seconds, 0.0)
        pace.swap_kb_s = max(self.swap_rate * KB, 0.0)
        pace.zram_kb_s = max(self.rates.zram_rate * KB, 0.0)
        pace.working_set_kb_s = max(self.working_set_rate * KB, 0.0)
        gains = self._gains
        if gains is None:
            gains = self._gains = Reading(
                self.now, 0.0, 0.0,
                psi_some_us=1e6 * self.rates.some,
                psi_full_us=1e6 * self.rates.full,
                refault_pages=self.refault,
                swap_in_pages=self.swap_in,
                pgscan_pages=self.pgscan,
            )  # fmt: skip
        pace.gains = gains, None
        for group in self.groups:
            pace.groups[f"/{group.group.name}"] = group.pace(pace, gains)
        return pace

    def advance(self, seconds: float) -> None:
        """Count what happened in the seconds by which the machine was advanced."""
        counters = self.counters
        counters.refault += self.refault * seconds
        counters.swap_in += self.swap_in * seconds
        counters.pgscan += self.pgscan * seconds
        for group in self.groups:
            group.advance(counters, seconds)

    def _available_kb(self, after_s: float) -> float:
        free = self.machine.free + self.rates.free_rate * after_s
        return accounting.available(self.machine, self.file + self.file_rate * after_s, free) * KB


class _CgroupSensors:
    """What a policy reads of one cgroup."""

    def __init__(self, group: Group, machine: Machine, rates: Rates) -> None:
        self.group = group
        self.usage_rate = 0.0
        pools = pools_in(machine, group)
        self.scan = _scan_rate(group, rates)
        self.inactive = added(map(_inactive, pools))
        in_use = added(_in_use_rate(pool, rates) for pool in pools)
        self.working_set_rate = max(in_use, 0.0)
        counts = machine.rules.psi_full == "all_stalled"
        self.some, self.full = pressure_in(rates.busy, group, counts_reclaimers=counts)

    def reading(self, counters: Counters, after_s: float) -> CgroupReading:
        own = counters.groups[self.group]
        return CgroupReading(
            f"/{self.group.name}",
            (self.group.usage + self.usage_rate * after_s) * KB,
            limit_kb(self.group),
            self.group.swap_usage * KB,
            1e6 * (own.some_s + self.some * after_s),
            1e6 * (own.full_s + self.full * after_s),
            own.pgscan + self.scan * after_s,
            oom_group=self.group.oom_group,
            working_set_kb=(
                max(self.group.usage - self.inactive, 0.0) + self.working_set_rate * after_s
            )
            * KB,
            request_kb=self.group.request_pages * KB,
            priority=self.group.priority,
        )

    def pace(self, machine: Pace, gains: Reading) -> Pace:
        pace = Pace()
        pace.in_turn = False
        pace.available_kb_s, pace.swap_kb_s = machine.available_kb_s, machine.swap_kb_s
        pace.zram_kb_s = machine.zram_kb_s
        pace.limit_kb_s = max(self.usage_rate * KB, 0.0)
        pace.working_set_kb_s = self.working_set_rate * KB
        own = CgroupReading(
            f"/{self.group.name}", 0.0, None, 0.0, 1e6 * self.some, 1e6 * self.full, self.scan
        )
        pace.gains = gains, own
        return pace

    def advance(self, counters: Counters, seconds: float) -> None:
        own = counters.groups[self.group]
        own.some_s += self.some * seconds
        own.full_s += self.full * seconds
        own.pgscan += self.scan * seconds


def _scan_rate(group: Group, rates: Rates) -> float:
    """Pages a second that are scanned in a cgroup and below.

    Of what is scanned for a limit above it, or for the machine, each cgroup has a part as its lists
    are long, whatever is found there (``shrink_node_memcgs()``, ``get_scan_count()``, 3.10-7.3).
    """
    found = 0.0
    for limit, domain in rates.domains.items():
        if domain.plan is None or domain.scan <= 0.0:
            continue
        if limit is not None and group in limit.ancestry:
            found += domain.scan
        elif limit is None or limit in group.ancestry:
            whole = inside = 0.0
            for pool in domain.plan.pools:
                whole += pool.resident
                if pool.group is not None and group in pool.group.ancestry:
                    inside += pool.resident
            found += domain.scan * inside / whole if whole > 0.0 else 0.0
    return found


def _inactive(pool: Pool) -> float:
    """Pages of a pool on the inactive list of files: what is in no constant use."""
    return max(pool.resident - pool.hot, 0.0) + pool.dirty if pool.is_file else 0.0


def _in_use(pool: Pool) -> float:
    """Pages of a pool that a working set counts."""
    return pool.resident + pool.dirty - _inactive(pool)


def _in_use_rate(pool: Pool, rates: Rates) -> float:
    """How fast those change, pages a second."""
    flow = rates.flows.get(pool)
    if flow is None or (pool.is_file and pool.resident >= pool.hot):
        return 0.0
    return flow.net()


def working_set_kb(machine: Machine, group: Group) -> float:
    """A cgroup's usage without inactive file cache, kB."""
    return max(group.usage - added(map(_inactive, pools_in(machine, group))), 0.0) * KB


def limit_kb(group: Group) -> float | None:
    """The lowest limit of a cgroup and its ancestors, kB; None: there is none."""
    limit = min(g.max_pages for g in group.ancestry)
    return None if limit == float("inf") else limit * KB
