"""How long the present rates hold, and advancing everything along them."""

from typing import Final

from oomkit.model import address_space
from oomkit.model.demand import READ_AHEAD_PAGES, Demand
from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool, PoolFlow
from oomkit.model.reclaim import BATCH_PAGES, IN_FLIGHT_PAGES, Layer
from oomkit.model.solve import Rates
from oomkit.model.tasks import PAGE, Proc
from oomkit.model.writeback import dirty_thresholds
from oomkit.scenario.sums import added

_INFINITY: Final = float("inf")

_SOON_S: Final = 1e-6
"""So much later than a turning point it is surely behind."""

_SHARE_STEP: Final = 0.05
"""The rates are solved again when a used pool's missing share changed by this, or by half."""


def horizon(machine: Machine, rates: Rates) -> float:
    """Seconds until something changes that the rates depend on."""
    return max(
        min(
            _steps(machine, rates),
            _free_memory(machine, rates),
            _swap(machine, rates),
            _pools(machine, rates),
            _cgroups(machine, rates),
            _dirty_pages(machine, rates),
            _address_space(machine, rates),
        ),
        0.0,
    )


def _steps(machine: Machine, rates: Rates) -> float:
    soonest = _INFINITY
    for demand in rates.demands:
        proc = demand.proc
        if proc is None or demand.speed <= 0.0:
            continue
        rate = demand.pace * demand.speed
        left_s = proc.step_left / rate
        if left_s < soonest:
            soonest = left_s
        if demand.pages_alike:
            soonest = min(soonest, demand.pages_alike / rate + _SOON_S)
        if demand.cow_rate > 0.0:
            soonest = min(soonest, demand.cow_left / (demand.cow_rate * demand.speed))
        if demand.shared and (ahead := 1.0 / demand.passes - proc.worked_s) > 0.0:
            soonest = min(soonest, ahead / rate + _SOON_S)
        if proc.verb == "read" and demand.alloc_rate != demand.pace:
            soonest = min(soonest, _end_of_cached(machine, proc, rate))
    return soonest


def _end_of_cached(machine: Machine, proc: Proc, rate: float) -> float:
    """Seconds until a reader of cached pages comes to pages that were never read."""
    pool = machine.file(proc.current.file or proc.key, proc.mm.group)
    position = proc.step_total - proc.step_left
    ahead = pool.size - position - READ_AHEAD_PAGES
    return (ahead + 1.0) / rate if ahead > 0.0 else _INFINITY


def _free_memory(machine: Machine, rates: Rates) -> float:
    """Seconds until free memory crosses a watermark."""
    mark, free, rate = machine.reclaim_mark(), machine.free, rates.free_rate
    if rate > 0.0 and free <= mark + 0.5:
        return (mark + 1.0 - free) / rate
    return min(
        _time_to_fall(free, mark, rate),
        _time_to_fall(free, machine.watermarks.floor_pages, rate),
    )


def _time_to_fall(level: float, mark: float, rate: float) -> float:
    """Seconds until a falling level is at a mark below it."""
    if rate >= 0.0 or level <= mark + 0.5:
        return _INFINITY
    return (level - mark) / -rate


def _swap(machine: Machine, rates: Rates) -> float:
    """Seconds until swap, or a cgroup's share of it, is full, or free enough to be used again."""
    if not machine.swap_total:
        return _INFINITY
    rate = used = 0.0
    group_rates: dict[Group, float] = {}
    flows = rates.flows
    for pool in machine.pools():
        if pool.is_file:
            continue
        used += pool.swapped
        flow = flows.get(pool)
        if flow is None:
            continue
        change = flow.evict - flow.refault
        rate += change
        if pool.group is not None:
            for group in pool.group.ancestry:
                group_rates[group] = group_rates.get(group, 0.0) + change
    soonest = _time_to_swap_mark(machine.swap_total - used, rate, machine.swap_batch)
    if machine.compressed.has_room and rate > 0.0:
        soonest = min(soonest, (machine.compressed.total - machine.compressed.used - 0.5) / rate)
    if machine.compressed.full and rate != 0.0:
        left = machine.compressed.used - machine.compressed.accepts()
        soonest = min(soonest, max(left, 0.5) / abs(rate * machine.compressed.part(rate)))
    for group, group_rate in group_rates.items():
        left = group.swap_left()
        if left < _INFINITY:
            soonest = min(soonest, _time_to_swap_mark(left, group_rate, machine.swap_batch))
    return soonest


def _time_to_swap_mark(left: float, rate: float, batch: float) -> float:
    if rate > 0.0 and left >= 1.0:
        return (left - 0.5) / rate
    if rate < 0.0 and left < batch:
        return (batch + 0.5 - left) / -rate
    return _INFINITY


def _pools(machine: Machine, rates: Rates) -> float:
    soonest = _INFINITY
    for pool in machine.pools():
        if pool.hot > 0.0 and (flow := rates.flows.get(pool)) is not None:
            soonest = min(soonest, _use_changes(pool, flow.net()))
    for domain in rates.domains.values():
        if domain.plan is None or not domain.plan.layers:
            continue
        layer = domain.plan.layers[0]
        nets = [rates.flows[pool].net() for pool in layer.pools]
        if not layer.hot:
            soonest = min(soonest, _first_empty(layer, nets))
        shrink = -added(nets)
        if shrink > 0.0:
            left = layer.stock - BATCH_PAGES + 0.5
            soonest = min(soonest, max(left, 0.1) / shrink)
    return soonest


def _first_empty(layer: Layer, nets: list[float]) -> float:
    """Seconds until the first of a layer's pools has nothing cold left; inflows differ."""
    soonest = _INFINITY
    for pool, rate in zip(layer.pools, nets, strict=True):
        if rate < 0.0:
            soonest = min(soonest, max(pool.resident - pool.hot - 0.25, 0.1) / -rate)
    return soonest


def _use_changes(pool: Pool, rate: float) -> float:
    """Seconds until the missing share of a pool in use has changed enough to matter."""
    if rate == 0.0:
        return _INFINITY
    missing = 1.0 - pool.resident / pool.hot
    step = max(_SHARE_STEP, abs(missing) / 2.0) * pool.hot
    if rate > 0.0:
        if missing <= 0.0:
            return _INFINITY
        return min(step, max(pool.hot - pool.resident, step / 8)) / rate
    if missing < 0.0:
        return (pool.resident - pool.hot) / -rate
    least = min(pool.resident, max(pool.hot / 64.0, IN_FLIGHT_PAGES))
    return min(step, max(pool.resident / 2, least)) / -rate


def _cgroups(machine: Machine, rates: Rates) -> float:
    """Seconds until a cgroup's usage crosses one of its limits."""
    soonest = _INFINITY
    if not machine.groups:
        return soonest
    for group, rate in charge_rates(machine, rates).items():
        if rate > 0.0:
            marks = (
                group.max_pages, group.high_pages, group.memsw_pages, group.low_pages,
                group.min_pages,
            )  # fmt: skip
            gaps = [mark - group.usage for mark in marks if mark > group.usage + 0.5]
            if group.usage > group.high_pages - 0.5:
                gaps.append(max(group.usage / 64, 32.0))
            soonest = min(soonest, min(gaps, default=_INFINITY) / rate)
        elif rate < 0.0:
            for mark in (group.low_pages, group.min_pages):
                if group.usage > mark > 0.0:
                    soonest = min(soonest, (group.usage - mark) / -rate + 1e-6)
    return soonest


def charge_rates(machine: Machine, rates: Rates) -> dict[Group, float]:
    """How fast each cgroup's usage changes, pages a second."""
    charged = dict.fromkeys(machine.groups.values(), 0.0)
    for pool in machine.pools():
        if pool.group is not None and (flow := rates.flows.get(pool)) is not None:
            for group in pool.group.ancestry:
                charged[group] += flow.net() + flow.dirtied - flow.cleaned
    if machine.compressed.charged:
        _add_zswap(machine, rates, charged)
    for demand in rates.demands:
        proc = demand.proc
        if proc is not None and proc.mm.group is not None:
            extra = demand.tables + (demand.pace if proc.verb == "lock" else 0.0)
            for group in proc.mm.group.ancestry:
                charged[group] += extra * demand.speed
    return charged


def _add_zswap(machine: Machine, rates: Rates, charged: dict[Group, float]) -> None:
    """Add what zswap's pages that come and go are charged."""
    for pool in machine.pools():
        flow = rates.flows.get(pool)
        if flow is None or pool.group is None or pool.is_file:
            continue
        change = flow.evict - flow.refault
        for group in pool.group.ancestry:
            if group.version == 2:
                charged[group] += change * machine.compressed.part(change) * machine.compressed.cost


def _dirty_pages(machine: Machine, rates: Rates) -> float:
    """Seconds until a file is clean, or until write-back begins or writers have to wait."""
    soonest = _INFINITY
    for pool in machine.files.values():
        flow = rates.flows.get(pool)
        if flow is not None and flow.cleaned > flow.dirtied:
            soonest = min(soonest, max(pool.dirty, 0.25) / (flow.cleaned - flow.dirtied))
    if rates.dirty_rate > 0.0:
        dirty = added(pool.dirty for pool in machine.files.values())
        later = [mark - dirty for mark in dirty_thresholds(machine) if mark > dirty + 0.5]
        # The thresholds move with free memory: check again half-way.
        if later:
            soonest = min(soonest, min(later) / rates.dirty_rate / 2 + 1e-3)
    return soonest


def _address_space(machine: Machine, rates: Rates) -> float:
    """Seconds until a growing heap is refused address space."""
    if not address_space.can_refuse(machine):
        return _INFINITY
    growing = []
    for demand in rates.demands:
        proc = demand.proc
        if proc is not None and demand.speed > 0.0 and proc.grows:
            spread = (proc.current.stride_bytes or PAGE) / PAGE
            growing.append((proc, demand.pace * demand.speed * spread))
    rate = rates.free_rate
    for pool in machine.pools():
        flow = rates.flows.get(pool)
        if flow is not None:
            rate += flow.net() if pool.is_file else flow.refault - flow.evict
    return address_space.headroom_s(machine, growing, rate)


def advance(machine: Machine, rates: Rates, seconds: float) -> None:
    """Let the rates work for some seconds; the machine's clock is the caller's."""
    if seconds <= 0.0:
        return
    pools = machine.pools()
    for demand in rates.demands:
        if demand.proc is not None:
            _advance_task(machine, demand, demand.proc, seconds)
    # What zram takes is counted when what is in swap is.
    machine.free += (rates.free_rate + rates.zram_rate) * seconds
    flows = rates.flows
    for pool in pools:
        flow = flows.get(pool)
        if flow is not None:
            _advance_pool(machine, pool, flow, seconds)
    if machine.stale:
        # What came back into a pool that nobody sees any more.
        machine.shrink_cow_pools()


def _advance_task(machine: Machine, demand: Demand, proc: Proc, seconds: float) -> None:
    cpus = demand.cpus + demand.kernel_cpus
    cpus = demand.cpus_given if proc.spinning else cpus * demand.speed
    proc.cpu_s += cpus * seconds
    done = demand.pace * demand.speed * seconds
    if done <= 0.0:
        return
    left = proc.step_left - done
    if left < 0.0:
        left = 0.0
    proc.step_left = left
    mm = proc.mm
    mm.tables += demand.tables * demand.speed * seconds
    verb = proc.verb
    if proc.grows:
        address_space.map_touched(machine, proc, done * (proc.current.stride_bytes or PAGE) / PAGE)
    if verb == "work":
        proc.worked_s += done
        if demand.shared:
            part = min(proc.worked_s * demand.passes, 1.0)
            address_space.map_shared(machine, mm, {pool: part * n for pool, n in demand.shared})
    elif verb == "lock":
        mm.locked += done
    elif verb == "tmpfs":
        proc.tmpfs_written += done
    elif verb == "write" or (verb == "read" and demand.new_pages):
        pool = machine.file(proc.current.file or proc.key, mm.group)
        pool.size = max(pool.size, proc.step_total - proc.step_left)
    if machine.thp and verb == "touch" and proc.grows:
        mm.anon.huge += demand.huge * demand.speed * seconds
    if demand.cow_rate > 0.0:
        _unshare(machine, proc, demand.cow_rate * demand.speed * seconds)


def _unshare(machine: Machine, proc: Proc, pages: float) -> None:
    """Drop pages a task shared and wrote to; its own copies flow in as new memory."""
    mm = proc.mm
    whole = added(view for _, view in mm.cow_views)
    left = max(whole - pages, 0.0)
    factor = left / whole if whole > 0 else 0.0
    mm.cow_views = [(pool, view * factor) for pool, view in mm.cow_views if view * factor > 0.5]
    machine.shrink_cow_pools()


def _advance_pool(machine: Machine, pool: Pool, flow: PoolFlow, seconds: float) -> None:
    net = flow.net()
    if net == 0.0 and flow.evict == 0.0 and flow.dirtied == flow.cleaned:
        return
    if flow.new > 0.0 or flow.refault > 0.0 or flow.cleaned > 0.0:
        pool.note_used(machine.now, machine.now + seconds)
    if flow.evict > 0.0:
        pool.note_evicted(flow.evict * seconds)
    pool.resident += net * seconds
    if pool.is_file:
        pool.dirty += (flow.dirtied - flow.cleaned) * seconds
        if pool.resident > pool.peak_resident:
            pool.peak_resident = pool.resident
        if pool.dirty < 0.0:
            pool.resident += pool.dirty
            pool.dirty = 0.0
    else:
        pool.swapped = max(pool.swapped + (flow.evict - flow.refault) * seconds, 0.0)
    if pool.resident < 0.0:
        # The last fraction of a page was counted twice between two flows.
        machine.free += pool.resident
        pool.resident = 0.0
