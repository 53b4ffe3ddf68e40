"""The rates that hold until the next event: how fast each task runs, and where pages flow."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from oomkit.model import cpu
from oomkit.model.compressed_swap import ZSWAP_WRITTEN
from oomkit.model.demand import Demand
from oomkit.model.disk import queue_behind_swap, queue_factor, speed_of
from oomkit.model.domains import Domain, Domains, count_usage, domain_of, find_domains
from oomkit.model.io_limits import hold_io, let_go
from oomkit.model.machine import Machine
from oomkit.model.pools import PoolFlow, PoolFlows, flow_of
from oomkit.model.pressure import Cpus, busy_cpus, pressure
from oomkit.model.reclaim import Plan, distribute_reclaim
from oomkit.model.steps import task_demands
from oomkit.model.working_sets import mark_working_sets
from oomkit.model.writeback import write_back
from oomkit.scenario.sums import added

if TYPE_CHECKING:
    from oomkit.model.tasks import Proc

_NEGLIGIBLE_RATE: Final = 0.01
"""Pages a second."""

_HIGH_BATCH_PAGES: Final = 64
"""Pages charged between two checks of ``memory.high`` (6.1 and later)."""

_MAX_HIGH_DELAY_S: Final = 2.0
"""Longest sleep of a task above ``memory.high``."""


class Rates:
    """What :func:`solve` found; rates are per second, amounts pages.

    Attributes:
        demands: the running tasks, with what each wants and gets.
        domains: the machine first, then the cgroups at their limit.
        flows: pages that flow into and out of the pools.
        free_rate: change of free pages.
        zram_rate: change of what zram holds, part of it.
        dirty_rate: change of dirty pages.
        writers_throttled: writers wait for the flushers, so dirty pages stay as many as they are.
        queue: how many times longer than alone a disk request takes.
        swap_busy: share of the disk's time that writes to swap take, and reads queue behind.
        cpu_busy: share of the CPUs in use.
        busy: the CPUs with what threads do on them; none where no thread is stalled.
        some: PSI's some for memory of the machine, share of time.
        full: its full.
    """

    __slots__ = (
        "busy", "cpu_busy", "demands", "dirty_rate", "domains", "flows", "free_rate",
        "full", "queue", "some", "swap_busy", "writers_throttled", "zram_rate",
    )  # fmt: skip

    def __init__(self, demands: list[Demand], domains: Domains) -> None:
        self.demands = demands
        self.domains = domains
        self.flows: PoolFlows = defaultdict(PoolFlow)
        self.free_rate = self.dirty_rate = self.zram_rate = 0.0
        self.writers_throttled = False
        self.queue = 1.0
        self.busy: list[Cpus] = []
        self.cpu_busy = self.some = self.full = self.swap_busy = 0.0


def solve(machine: Machine) -> Rates:
    """Work out the present rates.

    In the machine it only updates what follows from its state (the pools' ``hot`` pages, the
    cgroups' usage, whether swap counts as full) and adds empty pools for files that are used for
    the first time. So to solve again gives the same rates.
    """
    demands = task_demands(machine, mark_working_sets(machine))
    count_usage(machine)
    rates = Rates(demands, _find_domains(machine, demands))
    domains = rates.domains
    top = domains[None]
    if len(domains) == 1:
        for demand in demands:
            demand.domain = top
    else:
        for demand in demands:
            demand.domain = domain_of(domains, demand.proc)
    released = _release_exiting(machine, rates)
    background, rates.writers_throttled = write_back(
        machine,
        demands,
        rates.flows,
        low_memory=top.plan is not None or len(domains) > 1,
    )
    _share_cpus(machine, rates, first=True)
    _set_speeds(machine, rates, background)
    waits = rates.queue > 1.0 or machine.limits_io or any(d.sync_io and d.proc for d in demands)
    if waits and rates.cpu_busy >= 1.0:
        _share_cpus(machine, rates, first=False)
        _set_speeds(machine, rates, background)
    _set_flows(machine, rates, released)
    _set_stalls(machine, rates)
    rates.busy = busy_cpus(machine, demands, rates.queue)
    if rates.busy:
        counts = machine.rules.psi_full == "all_stalled"
        rates.some, rates.full = pressure(rates.busy, counts_reclaimers=counts)
    return rates


def _find_domains(machine: Machine, demands: list[Demand]) -> Domains:
    refaulting: list[Proc | None] = []
    readers = 0
    for demand in demands:
        proc = demand.proc
        if demand.refaults:
            refaulting.append(proc)
        elif demand.new_pages and proc is not None and proc.verb == "read":
            readers += 1
    return find_domains(machine, refaulting, readers)


def _release_exiting(machine: Machine, rates: Rates) -> float:
    """Let exiting tasks' pages flow out of their pools; returns the pages freed a second."""
    released = 0.0
    for proc in machine.procs:
        mm = proc.mm
        if proc.end_s is None or mm.users != 1:
            continue
        seconds = proc.end_s - machine.now
        if seconds <= 0.0:
            continue
        pools = (mm.anon, mm.shmem) if mm.lazy is None else (mm.anon, mm.shmem, mm.lazy)
        for pool in pools:
            if pool.resident > 0.0:
                rates.flows[pool].release += pool.resident / seconds
        rate = mm.unmapped_on_exit() / seconds
        domain_of(rates.domains, proc).exits += rate
        released += rate
    return released


def _share_cpus(machine: Machine, rates: Rates, *, first: bool) -> None:
    """Give each task its CPUs; the second time without those that it waits for the disk."""
    out_s = (
        machine.compressed.out_s / machine.swap_yield(1.0)
        if machine.compressed.has_room
        else machine.swap_out_s
    )
    wanted = 0.0
    for demand in rates.demands:
        proc = demand.proc
        if proc is None:
            continue
        share = demand.domain.anon_share
        demand.kernel_cpus = demand.alloc_rate * share * out_s if share else 0.0
        need = demand.cpus + demand.kernel_cpus
        if proc.spinning:
            need = 1.0
        elif proc.asleep:
            need = 0.0
        elif not first and demand.cpu_share > 0.0:
            got = demand.speed / demand.cpu_share
            if got < 1.0:
                need *= got
        demand.need = need
        demand.weight = proc.weight * proc.threads if need > 1.0 else proc.weight
        wanted += need
    if wanted <= machine.cpus_worth:
        for demand in rates.demands:
            demand.cpus_given = demand.need
            sleeps = demand.need <= 0.0 and demand.proc is not None and demand.proc.asleep
            demand.cpu_share = 0.0 if sleeps else 1.0
        rates.cpu_busy = min(wanted / machine.cpus_worth, 1.0)
        return
    given = cpu.fair_shares(
        machine.cpus_worth, [d.need for d in rates.demands], [d.weight for d in rates.demands]
    )
    busy = 0.0
    for i, demand in enumerate(rates.demands):
        got = given[i]
        busy += got
        demand.cpus_given = got
        if demand.need > 0.0:
            demand.cpu_share = got / demand.need
        else:
            demand.cpu_share = 0.0 if demand.proc is not None and demand.proc.asleep else 1.0
    rates.cpu_busy = min(busy / machine.cpus_worth, 1.0)


def _set_speeds(machine: Machine, rates: Rates, background: float) -> None:
    """Set how fast each task runs with the CPUs, the disk and the memory there are."""
    to_disk = not machine.compressed.has_room
    swaps = False
    for demand in rates.demands:
        share = demand.domain.anon_share if to_disk else 0.0
        if share:
            demand.swap_io = demand.alloc_rate * share / machine.disk_pages_s
            if machine.compressed.full:
                demand.swap_io *= 1.0 + ZSWAP_WRITTEN
            swaps = True
    if swaps:
        rates.swap_busy = queue_behind_swap(rates.demands)
    if machine.limits_io:
        queue = hold_io(machine, rates.demands, background)
    else:
        queue = queue_factor(rates.demands, background)
    rates.queue = queue
    for demand in rates.demands:
        waits = demand.sync_io or demand.swap_io or demand.async_io
        demand.speed = speed_of(demand, queue) if waits else demand.cpu_share
    if machine.limits_io:
        let_go(rates.demands)
    if machine.groups:
        for demand in rates.demands:
            _throttle_over_high(demand)
    _ration(rates)


def _throttle_over_high(demand: Demand) -> None:
    """``memory.high``: a task above it sleeps longer the further it is above.

    To PSI that sleep is a stall (``mem_cgroup_handle_over_high()``).
    """
    demand.throttled = 0.0
    proc = demand.proc
    if proc is None or proc.mm.group is None or demand.alloc_rate <= 0.0:
        return
    for group in proc.mm.group.ancestry:
        over = (group.usage - group.high_pages) / max(group.high_pages, 1.0)
        delay = min(64.0 * over * over, _MAX_HIGH_DELAY_S) if over > 0 else 0.0
        if delay > 0.01:
            fastest = _HIGH_BATCH_PAGES / delay / demand.alloc_rate
            if fastest < demand.speed:
                demand.throttled = 1.0 - (1.0 - demand.throttled) * fastest / demand.speed
                demand.speed = fastest


def _ration(rates: Rates) -> None:
    """Where nothing can be reclaimed, tasks get what exits free, and no more."""
    _count_needs(rates)
    for domain in rates.domains.values():
        domain.blocked = False
        domain.release = domain.exits
        plan, need = domain.plan, domain.need
        if plan is None or plan.layers or need <= 0.0:
            continue
        # What is being written back can be reclaimed as soon as it is clean.
        cleaned = 0.0
        for pool in domain.pools:
            flow = rates.flows.get(pool)
            if flow is not None:
                cleaned += flow.cleaned
        domain.release += cleaned
        lacking = need - domain.release - _reclaimable_inflow(rates, domain, plan)
        if lacking <= 1e-9 * need:
            continue
        domain.blocked = True
        part = min(domain.release / need, 1.0)
        for demand in rates.demands:
            if demand.alloc_rate > 0.0 and demand.domain is domain:
                demand.speed *= part


def _count_needs(rates: Rates) -> None:
    """Set what each domain's tasks allocate at their present speed."""
    for domain in rates.domains.values():
        domain.need = 0.0
    for demand in rates.demands:
        demand.domain.need += demand.alloc_rate * demand.speed


def _reclaimable_inflow(rates: Rates, domain: Domain, plan: Plan) -> float:
    """What flows into reclaimable pools and could be reclaimed again at the same time."""
    found = 0.0
    for demand in rates.demands:
        if demand.domain is not domain:
            continue
        for target, rate in demand.new_pages:
            if target is not None and (plan.reclaims_files if target.is_file else plan.can_swap):
                found += rate * demand.speed
        for pool, rate in demand.refaults:
            if not pool.is_file or plan.reclaims_files:
                found += rate * demand.speed
        if rates.writers_throttled and demand.dirty_file is not None:
            found += demand.pace * demand.speed
    return found


def _set_flows(machine: Machine, rates: Rates, released: float) -> None:
    """Set the pools' flows from the tasks' speeds, and let each domain reclaim what it needs."""
    flows = rates.flows
    taken = 0.0
    for demand in rates.demands:
        if demand.speed > 0.0:
            _add_flows(demand, flows)
            taken += demand.alloc_rate * demand.speed
    if rates.writers_throttled:
        for pool in machine.files.values():
            flow = flows.get(pool)
            if flow is not None and flow.dirtied > 0.0:
                flow.cleaned = flow.dirtied
    _count_needs(rates)
    evicted = 0.0
    for group, domain in rates.domains.items():
        if group is not None and domain.plan is not None:
            wanted = max(domain.need - domain.exits, 0.0) / _charge_yield(machine, domain)
            domain.scan = wanted - distribute_reclaim(domain.plan, wanted, flows)
            evicted += domain.scan
    top = rates.domains[None]
    if top.plan is not None:
        wanted = max(taken - released - evicted, 0.0)
        top.scan = wanted - distribute_reclaim(top.plan, wanted, flows)
        evicted += top.scan
    if machine.compressed.total:
        evicted += _reclaim_for_zram(machine, rates)
    rates.free_rate = released + evicted - taken - rates.zram_rate
    for pool in machine.files.values():
        flow = flows.get(pool)
        if flow is not None:
            rates.dirty_rate += flow.dirtied - flow.cleaned


def _charge_yield(machine: Machine, domain: Domain) -> float:
    """By how much a page that is reclaimed lowers a cgroup's charge."""
    group = domain.group
    if not machine.compressed.charged or group is None or group.version != 2:
        return 1.0
    return machine.swap_yield(domain.anon_share)


def _reclaim_for_zram(machine: Machine, rates: Rates) -> float:
    """Set what zram takes, and where the machine reclaims have it reclaim as much more.

    Returns:
        what that reclaims, pages a second.
    """
    plan = rates.domains[None].plan
    more = 0.0
    rates.zram_rate = taken = _zram_rate(machine, rates.flows)
    while plan is not None and taken > _NEGLIGIBLE_RATE:
        found = taken - distribute_reclaim(plan, taken, rates.flows)
        rates.domains[None].scan += found
        more += found
        before, rates.zram_rate = rates.zram_rate, _zram_rate(machine, rates.flows)
        taken = rates.zram_rate - before if found > _NEGLIGIBLE_RATE else 0.0
    return more


def _zram_rate(machine: Machine, flows: PoolFlows) -> float:
    """Pages a second that zram takes, as :meth:`Machine.settle_zram` has it."""
    change = added(flow.evict - flow.refault for pool, flow in flows.items() if not pool.is_file)
    return change * machine.compressed.part(change) * machine.compressed.cost


def _add_flows(demand: Demand, flows: PoolFlows) -> None:
    """Let a task's pages flow into their pools."""
    speed = demand.speed
    for target, rate in demand.new_pages:
        if target is not None:
            flow_of(flows, target).new += rate * speed
    for pool, rate in demand.refaults:
        flow_of(flows, pool).refault += rate * speed
    if demand.regained and demand.proc is not None and demand.proc.mm.lazy is not None:
        flow_of(flows, demand.proc.mm.lazy).release += demand.regained * speed
    if demand.dirty_file is not None:
        flow_of(flows, demand.dirty_file).dirtied += demand.pace * speed


def _set_stalls(machine: Machine, rates: Rates) -> None:
    """Set the share of its time that each task waits for memory."""
    queue = rates.queue
    for demand in rates.demands:
        sync_io = demand.sync_io - demand.first_read_io
        longer = 1.0 + demand.behind
        if queue > longer:
            longer = queue
        waits = longer * sync_io + (queue - 1.0) * demand.swap_io
        stall = demand.speed * waits + demand.throttled
        if machine.limits_io:
            stall += demand.speed * demand.held_stall
        if demand.domain.blocked and demand.alloc_rate > 0.0:
            stall = 1.0 - demand.speed
        elif stall > 1.0:
            stall = 1.0
        demand.stall = stall
