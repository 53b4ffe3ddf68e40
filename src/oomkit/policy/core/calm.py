"""How much memory has to be available for a plan to have nothing to do, whatever else is so."""

from oomkit.policy.core.conditions import UNITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STEADY = 1 / 128
"""Memory may fall by this share before the time until the next look is found anew."""


class Calm:
    """Spares a look at anything but available memory while there is plenty of it.

    Attributes:
        above_kb: while more is available no rule can hold, and the ranking need not be warm.
    """

    __slots__ = ("_acts_kb", "_fill_kb_s", "_most_s", "above_kb")

    def __init__(self, above_kb: float, acts_kb: float, fill_kb_s: float, most_s: float) -> None:
        """Take what :func:`calm_of` found.

        Args:
            above_kb: see above.
            acts_kb: at the fastest pace no rule holds while more than this is available.
            fill_kb_s: that pace.
            most_s: the longest time between two looks.
        """
        self.above_kb = above_kb
        self._acts_kb = acts_kb
        self._fill_kb_s = fill_kb_s
        self._most_s = most_s

    def next_look_s(self, available_kb: float) -> float:
        """Seconds until the next look is due; 0 where everything has to be looked at now."""
        if available_kb <= self.above_kb:
            return 0.0
        return min(self._most_s, (available_kb - self._acts_kb) / self._fill_kb_s)

    def floor_kb(self, available_kb: float) -> int:
        """How far available memory may fall, in whole kB, before a look is due sooner.

        The time until a look is then that of :meth:`next_look_s` for the floor.
        """
        plenty_kb = self._acts_kb + self._most_s * self._fill_kb_s
        floor_kb = min(plenty_kb, available_kb * (1 - STEADY))
        return int(max(floor_kb, self.above_kb)) + 1


def calm_of(plan: "dict[str, Any]", mem_total_kb: float, *, cpus: int | None) -> Calm | None:
    """What available memory alone says under a plan.

    Args:
        plan: what ``compile_plan`` made of a policy.
        mem_total_kb: of the machine.
        cpus: of the machine; None: unknown.

    Returns:
        None where some rule can hold however much is available.
    """
    look = plan["look"]
    fill_kb_s = fill_pace_kb_s(look, cpus)
    above_kb, acts_kb = look["warm"] * mem_total_kb, 0.0
    for rule in plan["rules"]:
        bounds = [
            threshold * mem_total_kb if share and UNITS[kind] == "kb" else threshold
            for kind, threshold, share in rule["conditions"]
            if kind == "available"
        ]
        if not bounds:
            return None
        bound_kb = min(bounds)
        above_kb = max(above_kb, bound_kb)
        for kind, threshold, _ in rule["conditions"]:
            if kind == "empty_within":
                # No more can be left than what goes within that time.
                bound_kb = min(bound_kb, threshold * (fill_kb_s + look["swap_fill_kb_s"]))
        acts_kb = max(acts_kb, bound_kb)
    return Calm(above_kb, acts_kb, fill_kb_s, look["most_s"])


def fill_pace_kb_s(look: "dict[str, Any]", cpus: int | None) -> float:
    """How fast a machine's memory can fill, by a plan's ``look``."""
    per_cpu = look["fill_cpu_kb_s"]
    pace = per_cpu * cpus if per_cpu is not None and cpus is not None else look["fill_kb_s"]
    return float(pace)
