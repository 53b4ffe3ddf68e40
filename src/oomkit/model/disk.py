"""One disk for files and swap: how much its queue slows the tasks that wait for it."""

from typing import Final

from oomkit.model.demand import Demand
from oomkit.scenario.sums import added

SWAP_WRITES_AHEAD: Final = 4.8
"""Windows' worth of writes to swap that a request finds queued while the disk writes all the time.

Measured in a guest with Debian's 6.12 and a disk of 20 MB/s, of which a task that reads file by
file got 3.5 MB/s while a leak swapped. A write for reclaim may fill the queue that block/blk-wbt.c
leaves to it (``get_limit()``), so it is so many bytes, not so much time.
"""

_BISECTIONS: Final = 40
"""More than the bisection ever needs for its precision of 0.1 %."""

_SAME_BUSY: Final = 0.01
"""Shares of the disk's time that differ by less are the same."""

_TANGENTS: Final = 4
"""So often the root is approached before the bisection; more gain nothing."""

_NARROW: Final = 1e-5
"""Share of the root by which what is known above it lies above what is known below it."""

_INFINITY: Final = float("inf")


def queue_behind_swap(demands: list[Demand]) -> float:
    """Set how much longer reads take for the writes to swap that were queued before them.

    A reader waits for one request after the other, and each queues anew; who swaps has many under
    way.

    Returns:
        Share of the disk's time for which writes to swap are queued.
    """
    writers = [d for d in demands if d.swap_io and d.cpu_share > 0.0]
    if not writers:
        return 0.0
    busy = _written(writers, 0.0)  # the more they write, the slower those that read as well
    low, high = 0.0, min(busy, 1.0)
    if busy >= 1.0 and _written(writers, 1.0) >= 1.0:
        low = 1.0
    while high - low > _SAME_BUSY:
        middle = (low + high) / 2.0
        if _written(writers, middle) > middle:
            low = middle
        else:
            high = middle
    for demand in demands:
        if demand.queued_io:
            reading_io = demand.sync_io + demand.async_io
            demand.behind = high * SWAP_WRITES_AHEAD * demand.queued_io / reading_io
    return high


def _written(writers: list[Demand], busy: float) -> float:
    """Seconds of disk time a second for what is swapped out, where that keeps it so busy."""
    behind = busy * SWAP_WRITES_AHEAD
    return added(
        d.swap_io / (1.0 / d.cpu_share + d.sync_io + behind * d.queued_io) for d in writers
    )


def queue_factor(demands: list[Demand], background: float) -> float:
    """How many times longer than alone a request takes, so that the disk is not overrun.

    Args:
        demands: the tasks' demands, with ``cpu_share`` set to what their CPUs allow.
        background: share of the disk used by write-back that no task waits for.
    """
    waiting: list[Demand] = []
    for d in demands:
        reading = d.sync_io + d.async_io
        io = reading + d.swap_io
        if d.cpu_share > 0.0 and io:
            d.slowness = 1.0 / d.cpu_share
            d.reading_io = reading
            d.io = io
            d.least = 1.0 + d.behind
            waiting.append(d)
    if not waiting:
        return 1.0
    room = max(1.0 - background, 0.1)
    load, slope = _load(waiting, 1.0)
    if load <= room:
        return 1.0
    return _bisect(waiting, room, *_around(waiting, room, load, slope))


def _around(waiting: list[Demand], room: float, load: float, slope: float) -> tuple[float, float]:
    """Two factors close around the root: the disk is overrun at the first, not at the second.

    One by the load is concave in the queue, but where reads take their least, so its tangent meets
    the room's left of the root; what is found is asked again.
    """
    below, above = 1.0, _INFINITY
    for _ in range(_TANGENTS):
        if slope >= 0.0:
            break
        step = (load / room - 1.0) * load / -slope
        last = step < _NARROW * below
        at = below * (1.0 + _NARROW) if last else below + step
        load, slope = _load(waiting, at)
        if load <= room:
            return below, at
        below = at
        if last:
            break
    return below, above


def _bisect(waiting: list[Demand], room: float, below: float, above: float) -> float:
    """The root by bisection, which asks again only for what is not known.

    The load falls as the queue grows, also as it is rounded: each part of :func:`_load` does.
    """

    def overrun(queue: float) -> bool:
        if queue <= below:
            return True
        return queue < above and _load(waiting, queue)[0] > room

    low, high = 1.0, 2.0
    while overrun(high) and high < 1e9:
        low, high = high, high * 4.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if overrun(middle):
            low = middle
        else:
            high = middle
        if high - low < 1e-3 * low:
            break
    return high


def _load(waiting: list[Demand], queue: float) -> tuple[float, float]:
    """Seconds of disk time that are asked for a second, each at its :func:`speed_of`.

    Returns:
        These, and by how much they change with the queue.
    """
    load = slope = 0.0
    behind = queue - 1.0
    for one in waiting:
        io = one.io
        grows = one.swap_io
        longer = one.least
        if queue > longer:
            longer = queue
            grows = io
        waits = longer * one.reading_io - one.async_io + behind * one.swap_io
        speed = 1.0 / (one.slowness + waits)
        load += speed * io
        slope -= speed * speed * io * grows
    return load, slope


def speed_of(demand: Demand, queue: float) -> float:
    """Share of full speed a task reaches when requests take ``queue`` times as long.

    I/O that it waits for slows it from the first request; I/O that is done for it meanwhile
    (swap-out, read-ahead) only once the disk is busy all the time.
    """
    if demand.cpu_share <= 0.0:
        return 0.0
    longer = 1.0 + demand.behind
    if queue > longer:
        longer = queue
    waits = longer * demand.sync_io + (longer - 1.0) * demand.async_io
    waits += (queue - 1.0) * demand.swap_io
    return 1.0 / (1.0 / demand.cpu_share + waits)
