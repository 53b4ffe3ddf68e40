"""One disk for files and swap: how much its queue slows the tasks that wait for it."""

from typing import Final

from oomkit.model.demand import Demand

_BISECTIONS: Final = 40
"""More than the bisection ever needs for its precision of 0.1 %."""

_TANGENTS: Final = 4
"""So often the root is approached before the bisection; more gain nothing."""

_NARROW: Final = 1e-5
"""Share of the root by which what is known above it lies above what is known below it."""

_INFINITY: Final = float("inf")


def queue_factor(demands: list[Demand], background: float) -> float:
    """How many times longer than alone a request takes, so that the disk is not overrun.

    Args:
        demands: the tasks' demands, with ``cpu_share`` set to what their CPUs allow.
        background: share of the disk used by write-back that no task waits for.
    """
    waiting: list[Demand] = []
    for d in demands:
        unawaited = d.async_io + d.swap_io
        if d.cpu_share > 0.0 and (d.sync_io or unawaited):
            d.slowness = 1.0 / d.cpu_share
            d.unawaited_io = unawaited
            # In this order, as the last digits of a sum depend on it.
            d.io = d.sync_io + d.async_io + d.swap_io
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

    One by the load is concave in the queue, so its tangent meets the room's left of the root.
    """
    below, above = 1.0, _INFINITY
    for _ in range(_TANGENTS):
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
        speed = 1.0 / (one.slowness + (queue * one.sync_io + behind * one.unawaited_io))
        load += speed * io
        slope -= speed * speed * io * io
    return load, slope


def speed_of(demand: Demand, queue: float) -> float:
    """Share of full speed a task reaches when requests take ``queue`` times as long.

    I/O that it waits for slows it from the first request; I/O that is done for it meanwhile
    (swap-out, read-ahead) only once the disk is busy all the time.
    """
    if demand.cpu_share <= 0.0:
        return 0.0
    waits = queue * demand.sync_io + (queue - 1.0) * (demand.async_io + demand.swap_io)
    return 1.0 / (1.0 / demand.cpu_share + waits)
