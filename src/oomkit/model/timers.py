"""What is due at a time: callbacks, the earliest first."""

import heapq
from collections.abc import Callable
from typing import Final

_INFINITY: Final = float("inf")


class Timers:
    """Callbacks by the time they are due; those due at the same time run as they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._added = 0

    def __bool__(self) -> bool:
        """Whether any callback is left."""
        return bool(self._heap)

    @property
    def next_s(self) -> float:
        """When the next callback is due, seconds since the start; infinity: never."""
        return self._heap[0][0] if self._heap else _INFINITY

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None:
        """Have a callback run at a time, seconds since the start."""
        self._added += 1
        heapq.heappush(self._heap, (when_s, self._added, callback))

    def run_due(self, until_s: float) -> None:
        """Run the callbacks that are due by then, those they add meanwhile included."""
        while self._heap and self._heap[0][0] <= until_s:
            heapq.heappop(self._heap)[2]()
