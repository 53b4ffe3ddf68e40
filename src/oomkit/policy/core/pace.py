"""How soon a condition could hold, by how fast things change."""

from oomkit.policy.core.conditions import PRESSURE, RATES, available_kb, compare
from oomkit.policy.core.reading import CgroupReading, Reading

INFINITY = float("inf")


class Pace:
    """How fast things change, for when to look again. As made: nothing can be known.

    Attributes:
        available_kb_s: how fast MemAvailable falls.
        swap_kb_s: how fast free swap falls.
        zram_kb_s: how fast zram grows.
        limit_kb_s: how fast a cgroup comes nearer to its limit.
        rates: what pressure and rates are from now on, by kind of condition; None: anything.
        pressure_begins: pressure that is not there yet may begin unnoticed.
        in_turn: memory falls first, and swap after it.
        groups: the same by cgroup, where it is known.
    """

    __slots__ = (
        "available_kb_s", "groups", "in_turn", "limit_kb_s", "pressure_begins", "rates",
        "swap_kb_s", "zram_kb_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.available_kb_s = self.swap_kb_s = self.zram_kb_s = self.limit_kb_s = INFINITY
        self.rates: dict[str, float] | None = None
        self.pressure_begins = True
        self.in_turn = True
        self.groups: dict[str, Pace] = {}

    def of(self, group: CgroupReading | None) -> "Pace":
        """The pace of a cgroup."""
        return self.groups.get(group.path, self) if group is not None else self


def wait_s(
    kind: str, value: float | None, limit: float, over_s: float, reading: Reading, pace: Pace
) -> float:
    """Seconds until one condition could hold."""
    if value is not None and compare(kind, value, limit):
        return 0.0
    if kind == "empty_within":
        return _wait_empty(value, limit, over_s, reading, pace)
    assert value is not None
    if kind in PRESSURE or kind in RATES:
        return _wait_rate(kind, value, limit, over_s, pace)
    falls = {
        "available": pace.available_kb_s,
        "limit_left": pace.limit_kb_s,
        "zram": pace.zram_kb_s,
    }.get(kind, pace.swap_kb_s)
    return abs(value - limit) / falls if falls > 0.0 else INFINITY


def _wait_rate(kind: str, value: float, limit: float, over_s: float, pace: Pace) -> float:
    """A window fills with what comes from now on."""
    if kind in PRESSURE and value <= 0.0 and not pace.pressure_begins:
        return INFINITY
    if pace.rates is None:
        return (limit - value) * over_s if kind in PRESSURE else over_s / 4.0
    rate = pace.rates.get(kind, 0.0)
    return (limit - value) * over_s / rate if rate >= limit else INFINITY


def _wait_empty(
    value: float | None, limit: float, over_s: float, reading: Reading, pace: Pace
) -> float:
    """When what is left and the rate at which it falls over the window meet."""
    left = available_kb(reading) + reading.swap_free_kb
    falls = left / value if value else 0.0
    most = pace.available_kb_s + (0.0 if pace.in_turn else pace.swap_kb_s)
    if most <= 0.0:
        return INFINITY
    wait = max((left - limit * falls) / (most * (1.0 + limit / over_s)), 0.0)
    if wait > over_s:
        # By then the window has seen nothing but that pace.
        wait = max(left / most - limit, over_s)
    return float(wait)
