"""Earliest time at which a condition could hold, by how fast values change."""

from oomkit.policy.engine.reading import INFINITY, Pace, Reading, left_kb

TYPE_CHECKING = False

if TYPE_CHECKING:
    from oomkit.policy.engine.conditions import Kind
    from oomkit.policy.engine.plan import Plan, Polling


def wait_s(
    kind: "Kind",
    value: float | None,
    threshold: float,
    over_s: float,
    reading: Reading,
    pace: Pace,
) -> float:
    """Seconds until one condition could hold."""
    if value is not None and kind.holds(value, threshold):
        return 0.0
    if kind.unit == "s":
        return _wait_empty(value, threshold, over_s, reading, pace)
    assert value is not None
    if kind.nears is None:
        return _wait_rate(kind, value, threshold, over_s, pace)
    kb_s = kind.nears(pace)
    return abs(value - threshold) / kb_s if kb_s > 0.0 else INFINITY


def _wait_rate(kind: "Kind", value: float, threshold: float, over_s: float, pace: Pace) -> float:
    """A window fills with what comes from now on."""
    if kind.is_pressure and value <= 0.0 and not pace.pressure_begins:
        return INFINITY
    if pace.gains is None:
        return (threshold - value) * over_s if kind.is_pressure else over_s / 4.0
    rate = kind.reads(*pace.gains) or 0.0
    return (threshold - value) * over_s / rate if rate >= threshold else INFINITY


def _wait_empty(
    value: float | None, limit: float, over_s: float, reading: Reading, pace: Pace
) -> float:
    """When what is left and the rate at which it falls over the window meet."""
    left = left_kb(reading)
    falls = left / value if value else 0.0
    most = pace.available_kb_s + (0.0 if pace.in_turn else pace.swap_kb_s)
    if most <= 0.0:
        return INFINITY
    wait = max((left - limit * falls) / (most * (1.0 + limit / over_s)), 0.0)
    if wait > over_s:
        # By then the window has seen nothing but that pace.
        wait = max(left / most - limit, over_s)
    return float(wait)


STEADY = 1 / 128
"""Memory may fall by this share before the time until the next look is computed again."""


class Calm:
    """Spares a look at anything but available memory while there is plenty of it.

    Attributes:
        above_kb: while more is available no rule can hold, and the ranking need not be warm.
    """

    __slots__ = ("_acts_kb", "_fill_kb_s", "_max_interval_s", "above_kb")

    def __init__(
        self, above_kb: float, acts_kb: float, fill_kb_s: float, max_interval_s: float
    ) -> None:
        """Take what :func:`calm_of` found.

        Args:
            above_kb: see above.
            acts_kb: at the fastest pace no rule holds while more than this is available.
            fill_kb_s: that pace.
            max_interval_s: the longest time between two looks.
        """
        self.above_kb = above_kb
        self._acts_kb = acts_kb
        self._fill_kb_s = fill_kb_s
        self._max_interval_s = max_interval_s

    def next_look_s(self, available_kb: float) -> float:
        """Seconds until the next look is due; 0 where everything has to be looked at now."""
        if available_kb <= self.above_kb:
            return 0.0
        return min(self._max_interval_s, (available_kb - self._acts_kb) / self._fill_kb_s)

    def floor_kb(self, available_kb: float) -> int:
        """How far available memory may fall, in whole kB, before a look is due sooner.

        The time until a look is then that of :meth:`next_look_s` for the floor.
        """
        plenty_kb = self._acts_kb + self._max_interval_s * self._fill_kb_s
        floor_kb = min(plenty_kb, available_kb * (1 - STEADY))
        return int(max(floor_kb, self.above_kb)) + 1


def calm_of(plan: "Plan", mem_total_kb: float, *, cpus: int | None) -> Calm | None:
    """What available memory alone says under a plan.

    Args:
        plan: what ``compile_plan`` made of a policy.
        mem_total_kb: of the machine.
        cpus: of the machine; None: unknown.

    Returns:
        None where some rule can hold however much is available.
    """
    polling = plan.polling
    fill_kb_s = fill_pace_kb_s(polling, cpus)
    above_kb, acts_kb = polling.warm * mem_total_kb, 0.0
    for rule in plan.rules:
        bounds = [
            one.threshold * mem_total_kb if one.share else one.threshold
            for one in rule.conditions
            if one.kind.name == "available"
        ]
        if not bounds:
            return None
        bound_kb = min(bounds)
        above_kb = max(above_kb, bound_kb)
        for one in rule.conditions:
            if one.kind.name == "empty_within":
                # No more can be left than what is filled within that time.
                bound_kb = min(bound_kb, one.threshold * (fill_kb_s + polling.swap_fill_kb_s))
        acts_kb = max(acts_kb, bound_kb)
    return Calm(above_kb, acts_kb, fill_kb_s, polling.max_interval_s)


def fill_pace_kb_s(polling: "Polling", cpus: int | None) -> float:
    """How fast a machine's memory can fill, by a plan's ``polling``."""
    per_cpu = polling.fill_cpu_kb_s
    return per_cpu * cpus if per_cpu is not None and cpus is not None else polling.fill_kb_s
