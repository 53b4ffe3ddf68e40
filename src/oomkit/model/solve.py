"""The rates that hold until the next event: who runs how fast, and where pages flow."""

from oomkit.model import cpu
from oomkit.model.demand import Demand, Domain, demand_of, mark_working_sets, system_demand
from oomkit.model.disk import queue_factor, speed_of
from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool
from oomkit.model.reclaim import Plan, distribute_reclaim, make_plan
from oomkit.model.tasks import Proc

_AT_LIMIT = 0.5
"""A limit counts as reached within so many pages."""

_DIRTY_BACKGROUND = 10
_DIRTY_LIMIT = 20

_DIRTY_LEAST = 64.0
"""With a lower limit than so many pages writers go at the disk's pace from the start."""

_HIGH_BATCH = 64
"""Pages charged between two looks at ``memory.high`` (6.1 and later)."""


class Rates:
    """What :func:`solve` found.

    Attributes:
        demands: the running tasks.
        domains: the machine first, then the cgroups at their limit.
        free_rate: change of free pages, pages a second.
        queue: how much longer than alone a disk request takes.
        cpu_busy: share of the CPUs in use.
        some: share of time in which a task waits for memory.
        full: share of time in which nothing else gets done.
        dirty_rate: change of dirty pages.
        writers_throttled: writers wait for the flushers, so dirty pages stay as many as they are.
        cpu_wants: CPUs each could use and its weight, for the probe's share.
    """

    __slots__ = (
        "cpu_busy",
        "cpu_wants",
        "demands",
        "dirty_rate",
        "domains",
        "free_rate",
        "full",
        "queue",
        "some",
        "writers_throttled",
    )  # fmt: skip

    def __init__(self) -> None:
        self.demands: list[Demand] = []
        self.domains: dict[Group | None, Domain] = {}
        self.free_rate = 0.0
        self.queue = 1.0
        self.cpu_busy = 0.0
        self.some = 0.0
        self.full = 0.0
        self.dirty_rate = 0.0
        self.writers_throttled = False
        self.cpu_wants: list[tuple[float, float]] = []


def solve(machine: Machine) -> Rates:
    """Work out the present rates; sets the flows of every pool and task."""
    rates = Rates()
    mark_working_sets(machine)
    rates.demands = [demand_of(machine, p) for p in machine.procs if p.state == "run"]
    system = system_demand(machine)
    if system is not None:
        rates.demands.append(system)
    count_usage(machine)
    _find_domains(machine, rates)
    for demand in rates.demands:
        demand.domain = domain_of(rates, demand.proc)
    background = _write_back(machine, rates)
    _share_cpus(machine, rates, first=True)
    _set_speeds(machine, rates, background)
    waits = rates.queue > 1.0 or any(d.sync_io and d.proc for d in rates.demands)
    if waits and rates.cpu_busy >= 1.0:
        _share_cpus(machine, rates, first=False)
        _set_speeds(machine, rates, background)
    _flow(machine, rates)
    _account(rates)
    return rates


def count_usage(machine: Machine) -> None:
    """Bring the cgroups' usage up to date."""
    if not machine.groups:
        return
    for group in machine.groups.values():
        group.usage = group.swap_usage = 0.0
    for pool in machine.pools():
        if pool.group is not None:
            for group in pool.group.ancestry():
                group.usage += pool.resident + pool.dirty
                group.swap_usage += pool.swapped
    for mm in machine.mms():
        if mm.group is not None:
            for group in mm.group.ancestry():
                group.usage += mm.locked + mm.tables


def _find_domains(machine: Machine, rates: Rates) -> None:
    """Who has to give back what it takes: the machine below its low mark, cgroups at a limit."""
    marks = machine.watermarks
    pools = machine.pools()
    swappiness = machine.sysctl.swappiness
    waiting = sum(1 for d in rates.demands if d.refault or _reads(d))
    rates.domains[None] = top = Domain(None, pools)
    swap_left = machine.swap_total - machine.swap_used()
    if machine.free <= marks.low_pages + _AT_LIMIT:
        open_pools = [p for p in pools if not _protected(p)]
        plan = _plan(machine, machine, open_pools, swap_left, swappiness, waiting)
        if not plan.layers and len(open_pools) < len(pools):
            plan = _plan(machine, machine, pools, swap_left, swappiness, waiting)
        if plan.layers or machine.free <= marks.floor_pages + _AT_LIMIT:
            top.plan = plan
    for group in machine.groups.values():
        hard = min(group.max_pages, group.memsw_pages)
        if group.usage < min(hard, group.high_pages) - _AT_LIMIT:
            continue
        inside = [p for p in pools if p.group is not None and group in p.group.ancestry()]
        own = Domain(group, inside)
        chosen = group.swappiness if group.swappiness is not None else swappiness
        left = min(swap_left, group.swap_left())
        held = sum(1 for d in rates.demands if d.refault and _inside(d, group))
        own.plan = _plan(machine, group, inside, left, chosen, held)
        # Above high only, what can't be reclaimed is the machine's to find.
        if own.plan.layers or group.usage >= hard - _AT_LIMIT:
            rates.domains[group] = own


def _plan(
    machine: Machine,
    owner: Machine | Group,
    pools: list[Pool],
    swap_left: float,
    swappiness: int,
    waiting: int,
) -> Plan:
    """A domain's plan; full swap counts as full until a batch of slots is free again.

    With swappiness 0 the machine would still swap below its high watermarks, but what lower zones
    keep from user pages alone is more than that: real kernels kill with swap free.
    """
    if swappiness == 0 and not machine.rules.swaps_at_zero:
        return make_plan(pools, swap_left=0.0, swappiness=0, waiting=waiting)
    if swap_left < 1.0:
        owner.swap_full = True
    elif swap_left >= machine.swap_batch:
        owner.swap_full = False
    left = 0.0 if owner.swap_full else swap_left
    plan = make_plan(pools, swap_left=left, swappiness=swappiness, waiting=waiting)
    if not plan.layers and left < swap_left:
        plan = make_plan(pools, swap_left=swap_left, swappiness=swappiness, waiting=waiting)
    return plan


def _reads(demand: Demand) -> bool:
    return demand.proc is not None and demand.proc.current.verb == "read" and bool(demand.grow)


def _protected(pool: Pool) -> bool:
    return pool.group is not None and any(g.usage <= g.low_pages for g in pool.group.ancestry())


def _inside(demand: Demand, group: Group) -> bool:
    proc = demand.proc
    return proc is not None and proc.mm.group is not None and group in proc.mm.group.ancestry()


def domain_of(rates: Rates, proc: Proc | None) -> Domain:
    """The innermost domain a task's pages are charged to."""
    if proc is not None and proc.mm.group is not None and len(rates.domains) > 1:
        for group in proc.mm.group.ancestry():
            if group in rates.domains:
                return rates.domains[group]
    return rates.domains[None]


def dirty_marks(machine: Machine) -> tuple[float, float]:
    """Pages of dirty page cache at which write-back begins, and at which writers wait."""
    file = sum(pool.resident + pool.dirty for pool in machine.files.values())
    dirtyable = max(machine.free - machine.watermarks.totalreserve_pages, 0.0) + file
    background = machine.knobs.get("dirty_background_ratio", _DIRTY_BACKGROUND)
    limit = machine.knobs.get("dirty_ratio", _DIRTY_LIMIT)
    low = dirtyable * background / 100
    high = dirtyable * limit / 100
    return low, max((low + high) / 2.0, low)


def _write_back(machine: Machine, rates: Rates) -> float:
    """Start the flushers; returns the share of the disk they take."""
    dirty = sum(pool.dirty for pool in machine.files.values())
    writers = [d for d in rates.demands if d.dirty_file is not None]
    if dirty < 1.0 and not writers:
        return 0.0
    background, limit = dirty_marks(machine)
    short = rates.domains[None].plan is not None or len(rates.domains) > 1
    rates.writers_throttled = bool(writers) and (dirty >= limit - _AT_LIMIT or limit < _DIRTY_LEAST)
    if writers and dirty < background and not short and not rates.writers_throttled:
        return 0.0
    busy = sum(1.0 for d in rates.demands if d.sync_io > 0.0 or d.async_io > 0.0)
    part = 1.0 / (1.0 + min(busy, 1.0))
    if dirty >= 1.0:
        for pool in machine.files.values():
            pool.cleaned = part * machine.disk * pool.dirty / dirty
    if rates.writers_throttled:
        _throttle_writers(machine, writers, part)
    return part


def _throttle_writers(machine: Machine, writers: list[Demand], part: float) -> None:
    """At the limit a writer may dirty no more than the flushers write."""
    pace = sum(d.pace for d in writers)
    slower = min(part * machine.disk / pace, 1.0) if pace > 0.0 else 1.0
    for demand in writers:
        demand.alloc_rate -= demand.pace * (1.0 - slower)
        demand.pace *= slower
        demand.cpu *= slower
        if demand.dirty_file is not None:
            demand.dirty_file.cleaned = 0.0  # follows what it writes; see _flow


def _share_cpus(machine: Machine, rates: Rates, *, first: bool) -> None:
    """Give each task its share; the second time those that wait for the disk leave theirs."""
    wants = []
    for demand in rates.demands:
        proc = demand.proc
        if proc is None:
            wants.append((0.0, 1.0))
            continue
        need = demand.cpu
        if proc.spinning:
            need = 1.0
        elif proc.asleep:
            need = 0.0
        elif not first and demand.cpu_share > 0.0:
            need *= min(demand.speed / demand.cpu_share, 1.0)
        wants.append((need, proc.weight * (proc.spec.threads if need > 1.0 else 1)))
    given = cpu.fair_shares(machine.cpus, wants)
    rates.cpu_wants = wants
    rates.cpu_busy = min(sum(given) / machine.cpus, 1.0)
    for demand, (need, _), got in zip(rates.demands, wants, given, strict=True):
        if demand.proc is None or need <= 0.0:
            demand.cpu_share = 0.0 if demand.proc is not None and demand.proc.asleep else 1.0
        else:
            demand.cpu_share = got / need
        if demand.proc is not None:
            demand.proc.cpu = got


def _set_speeds(machine: Machine, rates: Rates, background: float) -> None:
    """How fast each goes with the disk and memory there is."""
    for demand in rates.demands:
        plan = demand.domain.plan
        demand.swap_io = 0.0 if plan is None else demand.alloc_rate * plan.anon_share / machine.disk
    rates.queue = queue = queue_factor(rates.demands, background)
    for demand in rates.demands:
        waits = demand.sync_io or demand.swap_io or demand.async_io
        demand.speed = speed_of(demand, queue) if waits else demand.cpu_share
        if machine.groups:
            _throttle_over_high(demand)
    _ration(machine, rates)


def _throttle_over_high(demand: Demand) -> None:
    """``memory.high``: whoever is above it sleeps longer the further it is above."""
    proc = demand.proc
    if proc is None or proc.mm.group is None or demand.alloc_rate <= 0.0:
        return
    for group in proc.mm.group.ancestry():
        over = (group.usage - group.high_pages) / max(group.high_pages, 1.0)
        delay = min(64.0 * over * over, 2.0) if over > 0 else 0.0
        if delay > 0.01:
            demand.speed = min(demand.speed, _HIGH_BATCH / delay / demand.alloc_rate)


def _ration(machine: Machine, rates: Rates) -> None:
    """Where nothing can be reclaimed, tasks get what exits give back, and no more."""
    for domain in rates.domains.values():
        domain.need = domain.exits = 0.0
    for proc in machine.procs:
        if proc.state == "exiting" and proc.exit_dt > 0.0:
            domain_of(rates, proc).exits += held_pages(proc) / proc.exit_dt
    for demand in rates.demands:
        demand.domain.need += demand.alloc_rate * demand.speed
    for domain in rates.domains.values():
        domain.blocked = False
        domain.release = domain.exits
        plan = domain.plan
        if plan is None or plan.layers or domain.need <= 0.0:
            continue
        # What is being written back can be reclaimed as soon as it is clean.
        domain.release += sum(pool.cleaned for pool in domain.pools)
        short = domain.need - domain.release - _reclaimable_inflow(rates, domain, plan)
        if short <= 1e-9 * domain.need:
            continue
        domain.blocked = True
        part = min(domain.release / domain.need, 1.0)
        for demand in rates.demands:
            if demand.alloc_rate > 0.0 and demand.domain is domain:
                demand.speed *= part


def _reclaimable_inflow(rates: Rates, domain: Domain, plan: Plan) -> float:
    """What flows into reclaimable pools and could flow out again at the same time."""
    found = 0.0
    for demand in rates.demands:
        if demand.domain is not domain:
            continue
        for pool, rate in demand.grow:
            if pool is not None and (plan.reclaims_files if pool.kind == "file" else plan.can_swap):
                found += rate * demand.speed
        for pool, rate in demand.refault:
            if pool.kind != "file" or plan.reclaims_files:
                found += rate * demand.speed
        if rates.writers_throttled and demand.dirty_file is not None:
            found += demand.pace * demand.speed
    return found


def held_pages(proc: Proc) -> float:
    """Pages that come free as a task's address space is taken down."""
    mm = proc.mm
    return mm.anon.resident + mm.shmem.resident if mm.users == 1 else 0.0


def _flow(machine: Machine, rates: Rates) -> None:
    """Set the pools' flows from the tasks' speeds, and let each domain reclaim."""
    for domain in rates.domains.values():
        domain.need = 0.0
    taken = sum(_take(demand) for demand in rates.demands if demand.speed > 0.0)
    if rates.writers_throttled:
        for pool in machine.files.values():
            if pool.dirtied > 0.0:
                pool.cleaned = pool.dirtied
    released = sum(_release(proc) for proc in machine.procs)
    evicted = 0.0
    for group, domain in rates.domains.items():
        if group is not None and domain.plan is not None:
            wanted = max(domain.need - domain.exits, 0.0)
            evicted += wanted - distribute_reclaim(domain.plan, wanted)
    top = rates.domains[None]
    if top.plan is not None:
        wanted = max(taken - released - evicted, 0.0)
        evicted += wanted - distribute_reclaim(top.plan, wanted)
    rates.free_rate = released + evicted - taken
    rates.dirty_rate = sum(p.dirtied - p.cleaned for p in machine.files.values())


def _take(demand: Demand) -> float:
    """Let a task's pages flow into their pools; returns how many it takes a second."""
    speed = demand.speed
    for pool, rate in demand.grow:
        if pool is not None:
            pool.grow += rate * speed
    for pool, rate in demand.refault:
        pool.refault += rate * speed
    if demand.dirty_file is not None:
        demand.dirty_file.dirtied += demand.pace * speed
    demand.domain.need += demand.alloc_rate * speed
    return demand.alloc_rate * speed


def _release(proc: Proc) -> float:
    """Let an exiting task's pages flow out of their pools; returns how many a second."""
    if proc.state != "exiting" or proc.exit_dt <= 0.0 or proc.mm.users > 1:
        return 0.0
    for pool in (proc.mm.anon, proc.mm.shmem):
        pool.release += pool.resident / proc.exit_dt
    return (proc.mm.anon.resident + proc.mm.shmem.resident) / proc.exit_dt


def _account(rates: Rates) -> None:
    """Stall shares of the tasks, and PSI's some and full from them."""
    calm = idle = 1.0
    for demand in rates.demands:
        proc = demand.proc
        if proc is None:
            continue
        domain = demand.domain
        proc.speed = demand.speed
        sync_io = demand.sync_io - demand.first_read_io
        waits = rates.queue * sync_io + (rates.queue - 1.0) * demand.swap_io
        stall = min(demand.speed * waits, 1.0)
        if domain.blocked and demand.alloc_rate > 0.0:
            stall = 1.0 - demand.speed
        proc.stall = stall
        calm *= 1.0 - stall
        runs = demand.cpu * demand.speed
        idle *= 1.0 - min(runs, 1.0)
    rates.some = 1.0 - calm
    rates.full = rates.some * idle
