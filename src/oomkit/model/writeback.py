"""Writing dirty pages to disk (mm/page-writeback.c): when it begins, and when writers wait."""

from typing import Final

from oomkit.model.demand import Demand
from oomkit.model.domains import AT_LIMIT_PAGES
from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Pool, PoolFlows
from oomkit.model.reclaim import spread
from oomkit.scenario.sums import added

_DIRTY_BACKGROUND_RATIO: Final = 10
_DIRTY_RATIO: Final = 20

_MIN_DIRTY_PAGES: Final = 64.0
"""With a lower limit than this writers go at the disk's pace from the start."""


def dirty_thresholds(machine: Machine) -> tuple[float, float]:
    """Dirty pages at which write-back begins, and at which writers wait for it."""
    file = added(pool.resident + pool.dirty for pool in machine.files.values())
    dirtyable = max(machine.free - machine.watermarks.totalreserve_pages, 0.0) + file
    background = machine.knobs.get("dirty_background_ratio", _DIRTY_BACKGROUND_RATIO)
    limit = machine.knobs.get("dirty_ratio", _DIRTY_RATIO)
    low = dirtyable * background / 100
    high = dirtyable * limit / 100
    return low, max((low + high) / 2.0, low)


def write_back(
    machine: Machine, demands: list[Demand], flows: PoolFlows, *, low_memory: bool
) -> tuple[float, bool]:
    """Let the flushers write, and throttle the writers where there are too many dirty pages.

    Args:
        machine: the machine.
        demands: the tasks'; those of throttled writers are lowered.
        flows: gets what the flushers clean.
        low_memory: the machine or a cgroup reclaims, so the flushers write all there is.

    Returns:
        The flushers' share of the disk, and whether writers are throttled.
    """
    dirty = 0.0
    for pool in machine.files.values():
        dirty += pool.dirty
    writers = [d for d in demands if d.dirty_file is not None]
    if dirty < 1.0 and not writers:
        return 0.0, False
    background, limit = dirty_thresholds(machine)
    throttled = bool(writers) and (dirty >= limit - AT_LIMIT_PAGES or limit < _MIN_DIRTY_PAGES)
    if writers and dirty < background and not low_memory and not throttled:
        return 0.0, False
    busy = added(1.0 for d in demands if d.sync_io > 0.0 or d.async_io > 0.0)
    share = 1.0 / (1.0 + min(busy, 1.0))
    if machine.limits_io:
        return _write_back_within(
            machine, writers, flows, share, dirty=dirty, throttled=throttled
        ), throttled
    if dirty >= 1.0:
        for pool in machine.files.values():
            if pool.dirty > 0.0:
                flows[pool].cleaned = share * machine.disk_pages_s * pool.dirty / dirty
    if throttled:
        pace = added(d.pace for d in writers)
        slower = min(share * machine.disk_pages_s / pace, 1.0) if pace > 0.0 else 1.0
        for demand in writers:
            _throttle(demand, slower, flows)
    return share, throttled


def _write_back_within(
    machine: Machine,
    writers: list[Demand],
    flows: PoolFlows,
    share: float,
    *,
    dirty: float,
    throttled: bool,
) -> float:
    """The same where cgroups limit what is written of their files; each has flushers of its own.

    Returns:
        The flushers' share of the disk.
    """
    files = [pool for pool in machine.files.values() if pool.dirty > 0.0 and dirty >= 1.0]
    total = share * machine.disk_pages_s
    limiters = [_limiter(pool) for pool in files]
    given = spread(total, [pool.dirty for pool in files], limiters)
    for pool, pages in zip(files, given, strict=True):
        flows[pool].cleaned = pages
    written = added(given)
    if throttled:
        paces = [d.pace for d in writers]
        given = spread(total, paces, [_limiter(d.dirty_file) for d in writers])
        for demand, pages in zip(writers, given, strict=True):
            _throttle(demand, min(pages / demand.pace, 1.0) if demand.pace > 0.0 else 1.0, flows)
        written = max(written, min(added(given), added(d.pace for d in writers)))
    return min(share, written / machine.disk_pages_s)


def _limiter(file: Pool | None) -> Group | None:
    group = file.group if file is not None else None
    return group.writes_limited_by() if group is not None else None


def _throttle(demand: Demand, slower: float, flows: PoolFlows) -> None:
    """Let a writer dirty no more pages than the flushers write (balance_dirty_pages())."""
    demand.alloc_rate -= demand.pace * (1.0 - slower)
    demand.pace *= slower
    demand.cpus *= slower
    if demand.dirty_file is not None:
        flows[demand.dirty_file].cleaned = 0.0  # solve() sets it to what is dirtied
