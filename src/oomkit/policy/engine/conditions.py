"""What rules are made of: kinds of conditions, what each measures, and when it holds."""

from oomkit.policy.engine.reading import CgroupReading, Reading

PRESSURE = ("psi_some", "psi_full")
"""Kinds that are shares of time."""

RATES = ("refault", "swap_in", "reclaim")
"""Kinds that are kB a second."""

ON_CGROUPS = (*PRESSURE, "reclaim", "limit_left")
"""Kinds that are a cgroup's own where a rule names one; others are always the machine's."""

UNITS = {
    "available": "kb", "swap_free": "kb", "swap_used": "kb", "zram": "kb", "limit_left": "kb",
    "psi_some": "share", "psi_full": "share", "refault": "kb/s", "swap_in": "kb/s",
    "reclaim": "kb/s", "empty_within": "s",
}  # fmt: skip
"""Every kind of condition, and the unit of what it measures."""


class Evidence:
    """One condition at one moment.

    Attributes:
        name: the kind of condition.
        measured: its value; None where the signal is missing.
        threshold: what it is held against, in the same unit.
        unit: ``kb``, ``kb/s``, ``share`` of time, or ``s``.
        holds: whether it held.
        held_s: for how long it has.
        over_s: the time it is measured over; 0 for what is read off.
        cgroup: of which cgroup; None: of the machine.
    """

    __slots__ = (
        "cgroup", "held_s", "holds", "measured", "name", "over_s", "threshold", "unit",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        measured: float | None,
        threshold: float,
        *,
        holds: bool,
        over_s: float = 0.0,
        cgroup: str | None = None,
    ) -> None:
        self.name = name
        self.measured = measured
        self.threshold = threshold
        self.unit = UNITS[name]
        self.holds = holds
        self.held_s = 0.0
        self.over_s = over_s
        self.cgroup = cgroup


def available_kb(reading: Reading) -> float:
    """MemAvailable, and what the ZFS cache would give back."""
    return reading.available_kb + reading.arc_kb


def totals(reading: Reading) -> dict[str, float | None]:
    """What rates are made of: seconds of stall, kB of pages."""
    totals: dict[str, float | None] = {
        "psi_some": _scaled(reading.psi_some_us, 1e-6),
        "psi_full": _scaled(reading.psi_full_us, 1e-6),
        "refault": _scaled(reading.refault_pages, 4.0),
        "swap_in": _scaled(reading.swap_in_pages, 4.0),
        "reclaim": _scaled(reading.pgscan_pages, 4.0),
        "left": available_kb(reading) + reading.swap_free_kb,
    }
    for group in reading.cgroups:
        totals[f"psi_some {group.path}"] = _scaled(group.psi_some_us, 1e-6)
        totals[f"psi_full {group.path}"] = _scaled(group.psi_full_us, 1e-6)
        totals[f"reclaim {group.path}"] = _scaled(group.pgscan_pages, 4.0)
    return totals


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def amount(
    kind: str,
    threshold: float,
    share: bool,
    reading: Reading,
    group: CgroupReading | None,
) -> float:
    """A condition's threshold in the unit it is measured in."""
    if not share or UNITS[kind] != "kb":
        return threshold
    if kind in ("swap_free", "swap_used"):
        return threshold * reading.swap_total_kb
    if kind == "limit_left":
        whole = group.limit_kb if group is not None else None
        return threshold * (whole or 0.0)
    return threshold * reading.mem_total_kb


def swap_used_kb(reading: Reading) -> float | None:
    """Without swap there is nothing to use up."""
    if reading.swap_total_kb <= 0.0:
        return None
    return reading.swap_total_kb - reading.swap_free_kb


def limit_left_kb(group: CgroupReading | None, coming_kb: float) -> float | None:
    """What a cgroup may still take; None without a limit."""
    if group is None or group.limit_kb is None:
        return None
    return group.limit_kb - group.usage_kb + coming_kb


def compare(kind: str, value: float, limit: float) -> bool:
    """Memory that is left, and time that is left, count downwards; the rest upwards."""
    if kind in ("available", "swap_free", "limit_left", "empty_within"):
        return value <= limit
    return value >= limit


CALM = 0
"""No rule holds."""
WARN = 1
"""Worth saying; nobody is touched."""
SOFT = 2
"""A victim is asked to leave: SIGTERM."""
HARD = 3
"""A victim is killed: SIGKILL."""

NAMES = ("calm", "warn", "soft", "hard")
