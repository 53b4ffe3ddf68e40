"""A cgroup's ``io.max``: requests above it wait (block/blk-throttle.c).

A group and all those above it have to let a request pass, so the lowest limit counts. Files and
swap are disks of their own, and a limit holds for each of them. A read counts for the cgroup of
who reads; what is written for the one whose memory it is (``wbc_init_bio()``,
``bio_associate_blkg_from_page()``). From 6.12 on a write to swap does not wait, and is booked as
debt (``tg_dispatch_in_debt()``), which nothing else on a disk of swap alone has to pay.
"""

from typing import Final

from oomkit.model.demand import Demand, reads_a_page
from oomkit.model.disk import queue_factor, speed_of
from oomkit.model.domains import Domain
from oomkit.model.machine import Machine
from oomkit.model.pools import Group
from oomkit.scenario.sums import added

_ROUNDS: Final = 6
"""The disk's queue and the limits' bear on each other; more rounds change next to nothing."""

_BISECTIONS: Final = 50

_SAME: Final = 1e-6
"""Share of a limit by which it may be missed."""

_INFINITY: Final = float("inf")


class _Limit:
    """Who share one limit of one disk.

    Attributes:
        pages_s: it.
        members: demands, with the pages each reads or writes as its step makes progress by one, and
            how many of these it waits for because they were evicted, or to have others evicted.
        wait_s: how long each page waits for its turn.
    """

    __slots__ = ("members", "pages_s", "wait_s")

    def __init__(self, pages_s: float) -> None:
        self.pages_s = pages_s
        self.members: list[tuple[Demand, float, float]] = []
        self.wait_s = 0.0


def hold_io(machine: Machine, demands: list[Demand], background: float) -> float:
    """Set how long demands wait for ``io.max``; their ``cpu_share`` and ``swap_io`` are known.

    Until :func:`let_go` that wait is part of what ``cpu_share`` says.

    Args:
        machine: whose cgroups have limits.
        demands: the tasks' demands.
        background: share of the disk used by write-back that no task waits for.

    Returns:
        How many times longer than alone a request takes on the disk, with what the limits let pass.
    """
    for demand in demands:
        demand.held = demand.held_stall = 0.0
    queue = queue_factor(demands, background)
    limits = _limits(machine, demands)
    for _ in range(_ROUNDS if limits else 0):
        changed = False
        for limit in limits:
            changed = _settle(limit, queue) or changed
        if not changed:
            break
        queue = queue_factor(demands, background)
    for limit in limits:
        for demand, _, stalled in limit.members:
            demand.held_stall += limit.wait_s * stalled
    return queue


def _limits(machine: Machine, demands: list[Demand]) -> list[_Limit]:
    found: dict[tuple[Group | Domain, str], _Limit] = {}

    def join(whose: Group | Domain, disk: str, pages_s: float) -> _Limit:
        return found.setdefault((whose, disk), _Limit(pages_s))

    for demand in demands:
        proc = demand.proc
        if proc is None or demand.cpu_share <= 0.0:
            continue
        reader = proc.mm.group.reads_limited_by() if proc.mm.group is not None else None
        if reader is not None:
            swap = _read_from_swap(machine, demand)
            files = (demand.sync_io + demand.async_io) * machine.disk_pages_s - swap
            if files > 0.0:
                again = (demand.sync_io - demand.first_read_io) * machine.disk_pages_s - swap
                limit = join(reader, "files", reader.io_read_pages_s)
                limit.members.append((demand, files, max(again, 0.0)))
            if swap > 0.0:
                join(reader, "swap", reader.io_read_pages_s).members.append((demand, swap, swap))
        if demand.swap_io > 0.0:
            out = demand.swap_io * machine.disk_pages_s
            most = _swapped_out_at_most(demand.domain)
            if most < _INFINITY:
                join(demand.domain, "out", most).members.append((demand, out, out))
    return list(found.values())


def _swapped_out_at_most(domain: Domain) -> float:
    """Pages a second that limits leave a domain to reclaim, where it can only swap out."""
    plan = domain.plan
    if plan is None or not plan.within_limits or not plan.layers:
        return _INFINITY
    limiters: set[Group] = set()
    for pool in plan.layers[0].pools:
        limiter = pool.writes_limited_by()
        if limiter is None:
            return _INFINITY
        limiters.add(limiter)
    return added(limiter.io_write_pages_s for limiter in limiters)


def _read_from_swap(machine: Machine, demand: Demand) -> float:
    """Pages it reads from the disk of swap as its step makes progress by one."""
    pages = 0.0
    for pool, rate in demand.refaults:
        if not pool.is_file:
            pages += rate * reads_a_page(machine, pool, pool.missing_share)
    return pages * (1.0 - machine.compressed.share if machine.compressed.used else 1.0)


def _settle(limit: _Limit, queue: float) -> bool:
    """Find how long each page has to wait; returns whether that changed by much."""
    before = limit.wait_s
    alone = []
    for demand, pages, _ in limit.members:
        _hold(demand, -before * pages)
        alone.append((1.0 / speed_of(demand, queue), pages))
    low, high = 0.0, len(alone) / limit.pages_s
    if _passing(alone, 0.0) <= limit.pages_s * (1.0 + _SAME):
        high = 0.0
    for _ in range(_BISECTIONS):
        if high - low <= _SAME * high:
            break
        middle = (low + high) / 2.0
        if _passing(alone, middle) > limit.pages_s:
            low = middle
        else:
            high = middle
    limit.wait_s = high
    for demand, pages, _ in limit.members:
        _hold(demand, high * pages)
    return abs(high - before) > 1e-4 * max(high, before)


def _hold(demand: Demand, seconds: float) -> None:
    """Have a demand wait so much longer."""
    alone = 1.0 / demand.cpu_share - demand.held
    demand.held = max(demand.held + seconds, 0.0)
    demand.cpu_share = 1.0 / (alone + demand.held)


def let_go(demands: list[Demand]) -> None:
    """Have ``cpu_share`` say what it did before :func:`hold_io`."""
    for demand in demands:
        if demand.held > 0.0:
            demand.cpu_share = min(1.0 / (1.0 / demand.cpu_share - demand.held), 1.0)


def _passing(alone: list[tuple[float, float]], wait_s: float) -> float:
    """Pages a second where each waits so long."""
    return added(pages / (seconds + wait_s * pages) for seconds, pages in alone)
