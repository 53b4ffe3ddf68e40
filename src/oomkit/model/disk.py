"""One disk for files and swap: how much its queue slows the tasks that wait for it."""

from collections.abc import Sequence
from typing import Final

from oomkit.model.demand import Demand

_BISECTIONS: Final = 40
"""More than the bisection ever needs for its precision of 0.1 %."""


def queue_factor(demands: Sequence[Demand], background: float) -> float:
    """How many times longer than alone a request takes, so that the disk is not overrun.

    Args:
        demands: the tasks' demands, with ``cpu_share`` set to what their CPUs allow.
        background: share of the disk used by write-back that no task waits for.
    """
    waiting = [d for d in demands if d.cpu_share > 0.0 and (d.sync_io or d.async_io or d.swap_io)]
    if not waiting:
        return 1.0
    for demand in waiting:
        demand.set_io()
    room = max(1.0 - background, 0.1)
    if _load(waiting, 1.0) <= room:
        return 1.0
    low, high = 1.0, 2.0
    while _load(waiting, high) > room and high < 1e9:
        low, high = high, high * 4.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if _load(waiting, middle) > room:
            low = middle
        else:
            high = middle
        if high - low < 1e-3 * low:
            break
    return high


def _load(waiting: list[Demand], queue: float) -> float:
    """Seconds of disk time that are asked for a second: each at its :func:`speed_of`."""
    load = 0.0
    behind = queue - 1.0
    for d in waiting:
        waits = queue * d.sync_io + behind * d.unawaited_io
        load += 1.0 / (d.slowness + waits) * d.io
    return load


def speed_of(demand: Demand, queue: float) -> float:
    """Share of full speed a task reaches when requests take ``queue`` times as long.

    I/O that it waits for slows it from the first request; I/O that is done for it meanwhile
    (swap-out, read-ahead) only once the disk is busy all the time.
    """
    if demand.cpu_share <= 0.0:
        return 0.0
    waits = queue * demand.sync_io + (queue - 1.0) * (demand.async_io + demand.swap_io)
    return 1.0 / (1.0 / demand.cpu_share + waits)
