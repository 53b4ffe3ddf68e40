"""Whose pages go when memory is short: the order of kswapd and direct reclaim, as flows.

The kernel's lists are kept to what decides: pages in use are rotated back, so what nobody uses
goes first; file pages before anonymous ones while there are unused ones; then what is in use,
evenly, weighted by ``vm.swappiness``; without free swap only file pages (mm/vmscan.c,
``get_scan_count()``, 3.10-6.18).
"""

from collections.abc import Sequence

from oomkit.model.machine import Machine
from oomkit.model.pools import Pool

IN_FLIGHT_PAGES = 32
"""Pages under read at a time by one waiting task: locked, so they can't be reclaimed."""

BATCH_PAGES = 32
"""Reclaim works in batches (SWAP_CLUSTER_MAX); what is less than one counts as nothing."""

_LEVEL = 0.02
"""Pools in use whose resident shares differ by less are reclaimed alike."""


class Layer:
    """Pools that are reclaimed together, and how much each counts.

    Attributes:
        hot: their pages are in use.
        pools: the pools.
        amounts: what there is to reclaim of each; for pages in use the weights.
        stock: pages that can be reclaimed until it is empty.
        anon_share: share of what is reclaimed that goes to swap.
    """

    __slots__ = ("amounts", "anon_share", "hot", "pools", "stock")

    def __init__(self, pools: list[Pool], amounts: list[float], stock: float, *, hot: bool) -> None:
        self.pools = pools
        self.amounts = amounts
        self.stock = stock
        self.hot = hot
        total = sum(amounts)
        anon = sum(a for pool, a in zip(pools, amounts, strict=True) if pool.kind != "file")
        self.anon_share = anon / total if total > 0 else 0.0


class Plan:
    """What a domain (the machine, or a cgroup at its limit) reclaims from, best first.

    Attributes:
        layers: layers that hold something.
        pools: the domain's pools; without layers they give what flows into them meanwhile.
        reclaims_files: whether that holds for files: not when every page left is being read.
        can_swap: whether there is free swap.
    """

    __slots__ = ("can_swap", "layers", "pools", "reclaims_files")

    def __init__(
        self, layers: list[Layer], pools: Sequence[Pool], *, files: bool, swaps: bool
    ) -> None:
        self.layers = layers
        self.pools = pools
        self.reclaims_files = files
        self.can_swap = swaps

    @property
    def anon_share(self) -> float:
        """Share of what is reclaimed first that has to be written to swap."""
        return self.layers[0].anon_share if self.layers else 0.0

    def stock(self) -> float:
        """Pages that can be reclaimed at all."""
        return sum(layer.stock for layer in self.layers)


def make_plan(pools: Sequence[Pool], *, swap_left: float, swappiness: int, waiting: int) -> Plan:
    """Sort what can be reclaimed into layers.

    Args:
        pools: the domain's pools.
        swap_left: pages of swap it may still take.
        swappiness: 0..200.
        waiting: tasks that wait for file pages to be read.
    """
    swaps = swap_left >= 1.0
    cold_file = [(p, p.resident - p.hot) for p in pools if p.kind == "file" and p.cold > 0.5]
    cold_anon = [(p, p.resident - p.hot) for p in pools if p.kind != "file" and p.cold > 0.5]
    in_use = [p for p in pools if p.hot > 0.0 and p.resident > 0.5]
    hot_file = _most_resident([p for p in in_use if p.kind == "file"], swappiness)
    if swaps and swappiness:
        both = _most_resident(in_use, swappiness)
        layers = [_cold(cold_file), _cold(cold_anon), both, hot_file]
    elif swaps:
        hot_anon = _most_resident([p for p in in_use if p.kind != "file"], 1)
        layers = [_cold(cold_file), hot_file, _cold(cold_anon), hot_anon]
    else:
        layers = [_cold(cold_file), hot_file]
    held = waiting * IN_FLIGHT_PAGES
    files = sum(p.resident for p in pools if p.kind == "file")
    kept = [layer for layer in layers if layer is not None and layer.stock > BATCH_PAGES]
    if files <= held:
        kept = [layer for layer in kept if layer.anon_share > 0.0]
    return Plan(kept, pools, files=files > held, swaps=swaps)


def _cold(entries: list[tuple[Pool, float]]) -> Layer | None:
    if not entries:
        return None
    amounts = [amount for _, amount in entries]
    return Layer([pool for pool, _ in entries], amounts, sum(amounts), hot=False)


def _most_resident(pools: list[Pool], swappiness: int) -> Layer | None:
    """The pools in use that have most of their pages resident."""
    if not pools:
        return None
    fullest = max(pool.resident / pool.hot for pool in pools)
    chosen = [pool for pool in pools if pool.resident / pool.hot >= fullest - _LEVEL]
    weights = [
        pool.hot * max(200 - swappiness if pool.kind == "file" else swappiness, 1)
        for pool in chosen
    ]
    return Layer(chosen, weights, sum(pool.resident for pool in chosen), hot=True)


def distribute_reclaim(plan: Plan, wanted: float) -> float:
    """Set the pools' ``evict`` so that ``wanted`` pages a second come free.

    Returns:
        What could not be found.
    """
    if wanted <= 0.0:
        return 0.0
    if plan.layers:
        layer = plan.layers[0]
        if layer.hot:
            _evict_in_use(layer, wanted)
        else:
            total = sum(layer.amounts)
            for pool, amount in zip(layer.pools, layer.amounts, strict=True):
                pool.evict += wanted * amount / total
        return 0.0
    inflows = [_inflow(plan, pool) for pool in plan.pools]
    inflow = sum(inflows)
    if inflow <= 0.0:
        return wanted
    taken = min(wanted, inflow)
    for pool, part in zip(plan.pools, inflows, strict=True):
        pool.evict += taken * part / inflow
    return wanted - taken


def _inflow(plan: Plan, pool: Pool) -> float:
    """What comes into a pool and could go again: a page swapped in leaves its slot to another."""
    if pool.kind == "file":
        return pool.cleaned + (pool.grow + pool.refault if plan.reclaims_files else 0.0)
    return pool.grow + pool.refault if plan.can_swap else pool.refault


def _evict_in_use(layer: Layer, wanted: float) -> None:
    """Pages that come back go again; only what is wanted beyond that shrinks the pools."""
    back = sum(pool.refault for pool in layer.pools)
    beyond = wanted - back
    total = sum(layer.amounts)
    for pool, amount in zip(layer.pools, layer.amounts, strict=True):
        if beyond >= 0.0:
            pool.evict += pool.refault + beyond * amount / total
        else:
            pool.evict += wanted * pool.refault / back


def reclaim_now(machine: Machine, pages: float) -> bool:
    """Reclaim some pages at once, as direct reclaim does for a small request.

    Returns:
        Whether all of them were found.
    """
    swap_left = machine.swap_total - machine.swap_used()
    plan = make_plan(
        machine.pools(), swap_left=swap_left, swappiness=machine.sysctl.swappiness, waiting=1
    )
    return reclaim_from(machine, plan, min(pages, swap_left) if plan.anon_share else pages, pages)


def reclaim_from(machine: Machine, plan: Plan, swap_left: float, pages: float) -> bool:
    """Reclaim pages from a plan's layers at once.

    Args:
        machine: what the pages go back to.
        plan: where they come from.
        swap_left: pages that may go to swap.
        pages: how many are wanted.

    Returns:
        Whether all of them were found.
    """
    for layer in plan.layers:
        share = min(pages, layer.stock)
        total = sum(pool.resident for pool in layer.pools)
        for pool in layer.pools:
            part = share * pool.resident / total if total > 0 else 0.0
            if pool.kind != "file":
                part = min(part, max(swap_left, 0.0))
                swap_left -= part
                pool.swapped += part
            pool.resident -= part
            machine.free += part
            pages -= part
        if pages <= 0.5:
            return True
    return False
