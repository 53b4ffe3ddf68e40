"""Domains of reclaim: the machine, and the memory cgroups at their limit."""

from collections.abc import Sequence
from typing import Final

from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool
from oomkit.model.reclaim import BATCH_PAGES, Plan, make_plan, reclaim_from_layer
from oomkit.model.tasks import Proc

AT_LIMIT_PAGES: Final = 0.5
"""A limit counts as reached within this many pages."""


class Domain:
    """The machine, or a memory cgroup at its limit: what it takes it has to reclaim.

    Attributes:
        group: the cgroup; None: the machine.
        pools: the pools it can reclaim from.
        plan: what it reclaims; None while it has free memory.
        anon_share: share of what that reclaims first that has to be written to swap.
        need: pages that its tasks allocate at their present speed, pages a second.
        exits: pages that exiting processes free, pages a second.
        release: these, and what can be reclaimed once it is written to disk.
        blocked: nothing is left to reclaim.
        scan: pages it reclaims a second.
    """

    __slots__ = (
        "anon_share", "blocked", "exits", "group", "need", "plan", "pools", "release", "scan",
    )  # fmt: skip

    def __init__(self, group: Group | None, pools: list[Pool], plan: Plan | None = None) -> None:
        self.group = group
        self.pools = pools
        self.plan = plan
        self.anon_share = plan.anon_share if plan is not None else 0.0
        self.need = 0.0
        self.exits = 0.0
        self.release = 0.0
        self.blocked = False
        self.scan = 0.0


Domains = dict[Group | None, Domain]
"""The machine's domain first, under None, then those of the cgroups at their limit."""


def domain_of(domains: Domains, proc: Proc | None) -> Domain:
    """The innermost domain a process's pages are charged to; None: the system's own."""
    if proc is not None and proc.mm.group is not None and len(domains) > 1:
        for group in proc.mm.group.ancestry:
            if group in domains:
                return domains[group]
    return domains[None]


def count_usage(machine: Machine) -> None:
    """Bring the cgroups' usage up to date."""
    if not machine.groups:
        return
    for group in machine.groups.values():
        group.usage = group.swap_usage = 0.0
    for pool in machine.pools():
        if pool.group is not None:
            for group in pool.group.ancestry:
                group.usage += pool.resident + pool.dirty
                group.swap_usage += pool.swapped
    if machine.compressed.charged:
        held = machine.compressed.share * machine.compressed.cost
        for group in machine.groups.values():
            if group.version == 2:
                group.usage += group.swap_usage * held
    for mm in machine.mms():
        if mm.group is not None:
            for group in mm.group.ancestry:
                group.usage += mm.locked + mm.tables


def find_domains(machine: Machine, refaulting: Sequence[Proc | None], readers: int) -> Domains:
    """Find what has to reclaim: the machine below its low watermark, cgroups at a limit.

    Args:
        machine: with its cgroups' usage up to date.
        refaulting: processes that wait for evicted pages; None: the system's own.
        readers: number of other tasks that wait for pages to be read.
    """
    domains: Domains = {None: _machine_domain(machine, len(refaulting) + readers)}
    for group in machine.groups.values():
        hard = min(group.max_pages, group.memsw_pages)
        if group.usage < min(hard, group.high_pages) - AT_LIMIT_PAGES:
            continue
        inside = pools_in(machine, group)
        plan = _plan(
            machine,
            group,
            [p for p in inside if not _is_within_min(p, group)],
            swap_left=min(machine.swap_left(), group.swap_left()),
            swappiness=machine.sysctl.swappiness if group.swappiness is None else group.swappiness,
            waiting=sum(1 for proc in refaulting if is_inside(proc, group)),
        )
        # Above memory.high alone, what can't be reclaimed is the machine's to find.
        if plan.layers or group.usage >= hard - AT_LIMIT_PAGES:
            domains[group] = Domain(group, inside, plan)
    return domains


def pools_in(machine: Machine, group: Group) -> list[Pool]:
    """The pools charged to a cgroup and below."""
    return [p for p in machine.pools() if p.group is not None and group in p.group.ancestry]


def _machine_domain(machine: Machine, waiting: int) -> Domain:
    pools = machine.pools()
    if machine.free > machine.reclaim_mark() + AT_LIMIT_PAGES:
        return Domain(None, pools)
    swap_left = machine.swap_left()

    def plan_for(chosen: list[Pool]) -> Plan:
        return _plan(
            machine,
            machine,
            chosen,
            swap_left=swap_left,
            swappiness=machine.sysctl.swappiness,
            waiting=waiting,
        )

    allowed = unprotected = pools
    if machine.groups:
        allowed = [p for p in pools if not _is_within_min(p)]
        unprotected = [p for p in allowed if not _is_protected(p)]
    plan = plan_for(unprotected)
    if not plan.layers and len(unprotected) < len(allowed):
        plan = plan_for(allowed)
    if plan.layers or machine.free <= machine.watermarks.floor_pages + AT_LIMIT_PAGES:
        return Domain(None, pools, plan)
    return Domain(None, pools)


def run_kswapd(machine: Machine) -> None:
    """Let kswapd fall asleep, or wake up and reclaim to its goal (``balance_pgdat()``).

    From then on :func:`find_domains` has it reclaim what is taken, what is in use as well.
    """
    watermarks = machine.watermarks
    if machine.free > machine.reclaim_mark() + AT_LIMIT_PAGES:
        machine.kswapd_awake = False
        machine.boost = 0.0
        return
    if machine.kswapd_awake:
        return
    machine.kswapd_awake = True
    # While fewer pages are free than lie in blocks of other types, requests have to mix them.
    if watermarks.goal_pages < machine.unmovable_pages:
        machine.boost = float(watermarks.boost_pages)
    plan = _machine_domain(machine, 0).plan
    for layer in plan.layers if plan is not None else ():
        wanted = machine.reclaim_mark() - machine.free
        if machine.compressed.total:
            wanted /= machine.swap_yield(layer.anon_share)
        wanted = min(wanted, layer.stock - BATCH_PAGES)
        if layer.hot or wanted <= 0.0:
            return
        reclaim_from_layer(machine, layer, machine.swap_left(), wanted)


def _plan(
    machine: Machine,
    owner: Machine | Group,
    pools: list[Pool],
    *,
    swap_left: float,
    swappiness: int,
    waiting: int,
) -> Plan:
    """A domain's plan; full swap counts as full until a batch of slots is free again.

    With swappiness 0 the machine would still swap below its high watermarks, but the reserves of
    the lower zones alone exceed these: real kernels kill with swap free.
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
    plan.within_limits = machine.limits_swap_out
    return plan


def _is_protected(pool: Pool) -> bool:
    """Whether ``memory.low`` spares it."""
    return pool.group is not None and any(g.usage <= g.low_pages for g in pool.group.ancestry)


def _is_within_min(pool: Pool, within: Group | None = None) -> bool:
    """Whether ``memory.min`` keeps it, of a cgroup below ``within`` where reclaim is that one's."""
    for group in pool.group.ancestry if pool.group is not None else ():
        if group is within:
            return False
        if group.usage <= group.min_pages:
            return True
    return False


def is_inside(proc: Proc | None, group: Group) -> bool:
    """Whether a process is charged to a cgroup or below."""
    return proc is not None and proc.mm.group is not None and group in proc.mm.group.ancestry
