"""The least that has to be looked at while all is well: how much memory is available."""

from oomkit.policy.core.calm import calm_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oomkit.guard.sources import Sources
    from oomkit.policy.core.calm import Calm
    from oomkit.policy.core.reading import Reading

LOOKS = 29
"""So many glances in a row at most: what is not about memory wants a look now and then."""
TOLD_LOOKS = 5
"""The same where a status file or a recording tells somebody how things are."""
SOONEST_S = 1.0
"""Where the next look is due sooner than this, it is not that calm."""


class Glance:
    """Stands in for a whole turn, where nothing but available memory can matter.

    Args:
        plan: the policy.
        sources: where available memory is read.
        cpus: of the machine; None: unknown.
        looks: so many glances in a row at most.
    """

    __slots__ = ("_calm", "_cpus", "_last", "_left", "_looks", "_plan", "_sources", "_total_kb")

    def __init__(
        self, plan: "dict[str, Any]", sources: "Sources", cpus: int | None, looks: int = LOOKS
    ) -> None:
        self._plan = plan
        self._looks = looks
        self._sources = sources
        self._cpus = cpus
        self._calm: Calm | None = None
        self._total_kb = 0.0
        self._left = 0
        self._last: tuple[float, float] | None = None

    def allow(self, reading: "Reading") -> None:
        """A whole turn has found all well, and nothing under way."""
        if reading.mem_total_kb != self._total_kb:  # memory can be plugged in
            self._total_kb = reading.mem_total_kb
            self._calm = calm_of(self._plan, self._total_kb, cpus=self._cpus)
        self._left = self._looks if self._calm is not None else 0

    def forbid(self) -> None:
        """Something is not well."""
        self._left = 0

    def next_s(self, t_s: float) -> float:
        """Look; returns how soon to look again, in seconds, 0 where a whole turn is due.

        Args:
            t_s: now, by the monotonic clock.
        """
        calm = self._calm
        if not self._left or calm is None:
            return 0.0
        self._left -= 1
        found = self._sources.left_kb()
        if found is None:
            return 0.0
        available_kb, swap_free_kb = found
        next_s = calm.next_look_s(available_kb)
        if next_s < SOONEST_S and next_s < self._plan["look"]["most_s"]:
            return 0.0
        self._last = (t_s, available_kb + swap_free_kb)
        return next_s

    def last(self) -> "tuple[float, float] | None":
        """When a glance last found all well, and memory and free swap then; each is told once."""
        last, self._last = self._last, None
        return last
