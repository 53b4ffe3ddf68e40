"""Which pages are reclaimed when memory is low: the order of kswapd and direct reclaim, as flows.

The kernel's lists are reduced to what decides: pages in use are rotated back, so unused pages are
reclaimed first, file pages before anonymous ones; then pages in use, evenly, weighted by
``vm.swappiness``; without free swap only file pages (mm/vmscan.c, ``get_scan_count()``, 3.10-7.3).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool, PoolFlow, PoolFlows, flow_of
from oomkit.scenario.sums import added

IN_FLIGHT_PAGES: Final = 32
"""Pages under read at a time by one waiting task: locked, so they can't be reclaimed."""

BATCH_PAGES: Final = 32
"""Reclaim works in batches (SWAP_CLUSTER_MAX): less than one counts as nothing."""

_SAME_SHARE: Final = 0.02
"""Pools in use whose resident shares differ by less are reclaimed alike."""

_NEGLIGIBLE_PAGES: Final = 0.5
"""Amounts up to this are rounding of flows, not pages."""

_SAME_AGE: Final = 1 / 32
"""Pools whose oldest pages differ less in age than this share of all ages are reclaimed alike."""

_LEAST_SPAN_S: Final = 0.01
"""Ages that differ by less are the same."""


class Layer:
    """Pools that are reclaimed together, and how much each counts.

    Attributes:
        hot: their pages are in use.
        pools: the pools.
        amounts: pages to reclaim of each; weights where the pages are in use.
        stock: pages that can be reclaimed until it is empty.
        anon_share: share of what is reclaimed that goes to swap.
    """

    __slots__ = ("amounts", "anon_share", "hot", "pools", "stock")

    def __init__(self, pools: list[Pool], amounts: list[float], stock: float, *, hot: bool) -> None:
        self.pools = pools
        self.amounts = amounts
        self.stock = stock
        self.hot = hot
        total = anon = 0.0
        for i, pool in enumerate(pools):
            amount = amounts[i]
            total += amount
            if not pool.is_file:
                anon += amount
        self.anon_share = anon / total if total > 0 else 0.0


class Plan:
    """What a domain (the machine, or a cgroup at its limit) reclaims from, best first.

    Attributes:
        layers: layers that hold something.
        pools: the domain's pools; without layers only what flows into them can be reclaimed.
        reclaims_files: whether that holds for files: not where every page left is being read.
        can_swap: whether there is free swap.
        within_limits: what goes to swap may have to wait for a cgroup's ``io.max``.
    """

    __slots__ = ("can_swap", "layers", "pools", "reclaims_files", "within_limits")

    def __init__(
        self, layers: list[Layer], pools: Sequence[Pool], *, reclaims_files: bool, can_swap: bool
    ) -> None:
        self.layers = layers
        self.pools = pools
        self.reclaims_files = reclaims_files
        self.can_swap = can_swap
        self.within_limits = False

    @property
    def anon_share(self) -> float:
        """Share of what is reclaimed first that has to be written to swap."""
        return self.layers[0].anon_share if self.layers else 0.0


def make_plan(pools: Sequence[Pool], *, swap_left: float, swappiness: int, waiting: int) -> Plan:
    """Sort what can be reclaimed into layers.

    Args:
        pools: the domain's pools.
        swap_left: pages of swap it may still take.
        swappiness: 0..200.
        waiting: number of tasks that wait for file pages to be read.
    """
    cold_file: list[tuple[Pool, float]] = []
    cold_anon: list[tuple[Pool, float]] = []
    in_use: list[Pool] = []
    file_pages = 0.0
    for pool in pools:
        resident, hot = pool.resident, pool.hot
        if pool.is_file:
            file_pages += resident
        if resident - hot > _NEGLIGIBLE_PAGES:
            (cold_file if pool.is_file else cold_anon).append((pool, resident - hot))
        if hot > 0.0 and resident > _NEGLIGIBLE_PAGES:
            in_use.append(pool)
    can_swap = swap_left >= 1.0
    hot_file = _most_resident([p for p in in_use if p.is_file], swappiness)
    if can_swap and swappiness:
        both = _most_resident(in_use, swappiness)
        layers = [*_unused(cold_file), *_unused(cold_anon), both, hot_file]
    elif can_swap:
        hot_anon = _most_resident([p for p in in_use if not p.is_file], 1)
        layers = [*_unused(cold_file), hot_file, *_unused(cold_anon), hot_anon]
    else:
        layers = [*_unused(cold_file), hot_file]
    reclaims_files = file_pages > waiting * IN_FLIGHT_PAGES
    nonempty = [layer for layer in layers if layer is not None and layer.stock > BATCH_PAGES]
    if not reclaims_files:
        nonempty = [layer for layer in nonempty if layer.anon_share > 0.0]
    return Plan(nonempty, pools, reclaims_files=reclaims_files, can_swap=can_swap)


def _unused(entries: list[tuple[Pool, float]]) -> list[Layer]:
    """Unused pages: first those that were last used longest ago, then all the others.

    Args:
        entries: pools, and how many pages of each are unused.
    """
    if not entries:
        return []
    pools = [pool for pool, _ in entries]
    amounts = [amount for _, amount in entries]
    whole = Layer(pools, amounts, added(amounts), hot=False)
    if len(entries) == 1:
        return [whole]
    ordered = sorted(entries, key=_oldest_s)
    front_s = ordered[0][0].oldest_s
    span_s = max(max(pool.newest_s for pool in pools) - front_s, _LEAST_SPAN_S)
    together_s = front_s + span_s * _SAME_AGE
    densities: list[float] = []
    density = at_front = 0.0
    for i, (pool, amount) in enumerate(ordered):
        older_s = pool.oldest_s - front_s
        if pool.oldest_s > together_s and density * older_s - at_front > 2.0 * BATCH_PAGES:
            # Until the next pool's oldest pages are the oldest of all.
            stock = min(density * older_s - at_front, added(n for _, n in ordered[:i]))
            return [Layer([p for p, _ in ordered[:i]], densities, stock, hot=False), whole]
        each = amount / max(pool.newest_s - pool.oldest_s, span_s * _SAME_AGE)
        densities.append(each)
        density += each
        at_front += each * older_s
    return [Layer([p for p, _ in ordered], densities, whole.stock, hot=False)]


def _oldest_s(entry: tuple[Pool, float]) -> float:
    return entry[0].oldest_s


def _most_resident(pools: list[Pool], swappiness: int) -> Layer | None:
    """The pools in use that have most of their pages resident."""
    if not pools:
        return None
    fullest = max(pool.resident / pool.hot for pool in pools)
    chosen = [pool for pool in pools if pool.resident / pool.hot >= fullest - _SAME_SHARE]
    weights = [
        pool.hot * max(200 - swappiness if pool.is_file else swappiness, 1) for pool in chosen
    ]
    return Layer(chosen, weights, added(pool.resident for pool in chosen), hot=True)


def distribute_reclaim(plan: Plan, wanted: float, flows: PoolFlows) -> float:
    """Let the pools' ``evict`` flows free the wanted pages a second.

    Returns:
        What could not be found, pages a second.
    """
    if wanted <= 0.0:
        return 0.0
    if plan.layers:
        layer = plan.layers[0]
        if plan.within_limits:
            return wanted - _evict_within_limits(layer, wanted, flows)
        if layer.hot:
            _evict_in_use(layer, wanted, flows)
        else:
            total = added(layer.amounts)
            for i, pool in enumerate(layer.pools):
                flow_of(flows, pool).evict += wanted * layer.amounts[i] / total
        return 0.0
    inflows = [_reusable_inflow(plan, pool, flows) for pool in plan.pools]
    inflow = added(inflows)
    if inflow <= 0.0:
        return wanted
    taken = min(wanted, inflow)
    for i, pool in enumerate(plan.pools):
        part = inflows[i]
        if part > 0.0:
            flow_of(flows, pool).evict += taken * part / inflow
    return wanted - taken


def _reusable_inflow(plan: Plan, pool: Pool, flows: PoolFlows) -> float:
    """What flows into a pool and can be reclaimed again at once.

    A page that is swapped in leaves its slot to another.
    """
    flow = flows.get(pool)
    if flow is None:
        return 0.0
    if pool.is_file:
        return flow.cleaned + (flow.new + flow.refault if plan.reclaims_files else 0.0)
    return flow.new + flow.refault if plan.can_swap else flow.refault


def _evict_in_use(layer: Layer, wanted: float, flows: PoolFlows) -> None:
    """Evict first as much as comes back; only what is wanted beyond that shrinks the pools."""
    refaults = [flow.refault if (flow := flows.get(pool)) else 0.0 for pool in layer.pools]
    refaulting = added(refaults)
    beyond = wanted - refaulting
    total = added(layer.amounts)
    for i, pool in enumerate(layer.pools):
        amount, refault = layer.amounts[i], refaults[i]
        if beyond >= 0.0:
            flow_of(flows, pool).evict += refault + beyond * amount / total
        else:
            flow_of(flows, pool).evict += wanted * refault / refaulting


def _evict_within_limits(layer: Layer, wanted: float, flows: PoolFlows) -> float:
    """The same where cgroups limit what is swapped out; returns what was found, pages a second."""
    parts: PoolFlows = defaultdict(PoolFlow)
    if layer.hot:
        for pool in layer.pools:
            flow = flows.get(pool)
            parts[pool].refault = flow.refault if flow is not None else 0.0
        _evict_in_use(layer, wanted, parts)
        amounts = [parts[pool].evict for pool in layer.pools]
    else:
        amounts = layer.amounts
    given = spread(wanted, amounts, [pool.writes_limited_by() for pool in layer.pools])
    for pool, pages in zip(layer.pools, given, strict=True):
        flow_of(flows, pool).evict += pages
    return added(given)


def reclaim_now(machine: Machine, pages: float) -> bool:
    """Reclaim some pages at once, as direct reclaim does for a small request.

    Returns:
        Whether all of them were found.
    """
    swap_left = machine.swap_left()
    plan = make_plan(
        machine.pools(), swap_left=swap_left, swappiness=machine.sysctl.swappiness, waiting=1
    )
    return reclaim_from(machine, plan, min(pages, swap_left) if plan.anon_share else pages, pages)


def reclaim_from(machine: Machine, plan: Plan, swap_left: float, pages: float) -> bool:
    """Reclaim pages from a plan's layers at once.

    Args:
        machine: whose free memory grows.
        plan: what is reclaimed.
        swap_left: pages that may go to swap.
        pages: how many are wanted.

    Returns:
        Whether all of them were found.
    """
    for layer in plan.layers:
        found, swapped = reclaim_from_layer(machine, layer, swap_left, pages)
        pages -= found
        swap_left -= swapped
        if pages <= 0.5:
            return True
    return False


def reclaim_from_layer(
    machine: Machine, layer: Layer, swap_left: float, pages: float
) -> tuple[float, float]:
    """Reclaim pages from one layer at once; returns how many, and how many went to swap."""
    found = swapped = 0.0
    share = min(pages, layer.stock)
    total = added(layer.amounts)
    for pool, amount in zip(layer.pools, layer.amounts, strict=True):
        part = min(share * amount / total if total > 0 else 0.0, pool.resident)
        if not pool.is_file:
            part = min(part, max(swap_left - swapped, 0.0))
            swapped += part
            pool.swapped += part
        pool.note_evicted(part)
        pool.resident -= part
        machine.free += part
        found += part
    return found, swapped


def spread(total: float, wanted: list[float], limiters: list[Group | None]) -> list[float]:
    """Spread what a disk writes a second, by what each wants, within their groups' limits.

    Args:
        total: pages a second.
        wanted: of each, its weight.
        limiters: and whose ``io.max`` it is held to; None: nobody's.

    Returns:
        Pages a second of each. What one limit holds back goes to the others.
    """
    given = [0.0] * len(wanted)
    left = [i for i, pages in enumerate(wanted) if pages > 0.0]
    while left:
        weight = added(wanted[i] for i in left)
        over: dict[Group, float] = {}
        for i in left:
            limiter = limiters[i]
            if limiter is not None:
                over[limiter] = over.get(limiter, 0.0) + wanted[i]
        capped = {
            one: pages for one, pages in over.items()
            if total * pages / weight > one.io_write_pages_s
        }  # fmt: skip
        if not capped:
            for i in left:
                given[i] = total * wanted[i] / weight
            break
        for i in left:
            limiter = limiters[i]
            if limiter is not None and limiter in capped:
                given[i] = limiter.io_write_pages_s * wanted[i] / capped[limiter]
        total -= added(one.io_write_pages_s for one in capped)
        left = [i for i in left if limiters[i] not in capped]
    return given
