"""How much each process grew since the shortage began."""


class Growth:
    """Remembers sizes, and tells how much was gained over them.

    Two generations of sizes are kept, so growth is measured over one to two windows; a process
    that is younger than the sizes has grown from nothing.

    Args:
        window_s: how old sizes have to be before newer ones replace them.
    """

    __slots__ = ("_left_kb", "_newer", "_newer_t_s", "_older", "window_s")

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._older: dict[tuple[int, int], float] | None = None
        self._newer: dict[tuple[int, int], float] | None = None
        self._newer_t_s = 0.0
        self._left_kb = 0.0

    @property
    def is_known(self) -> bool:
        """Sizes were noted in this shortage."""
        return self._newer is not None

    def note(self, t_s: float, left_kb: float, sizes: dict[tuple[int, int], float]) -> None:
        """Take notice of all processes' sizes.

        Args:
            t_s: when they were read.
            left_kb: available memory and free swap then.
            sizes: (pid, start time) to kB; the dictionary is kept.
        """
        self._older = self._newer if self._newer is not None else sizes
        self._newer, self._newer_t_s, self._left_kb = sizes, t_s, left_kb

    def due(self, t_s: float, left_kb: float, step_kb: float) -> bool:
        """Whether sizes should be noted: none are, or they are old and memory has fallen since.

        Args:
            t_s: now.
            left_kb: available memory and free swap now.
            step_kb: a smaller fall than this is nobody's growth.
        """
        if self._newer is None:
            return True
        return t_s - self._newer_t_s >= self.window_s and self._left_kb - left_kb >= step_kb

    def of(self, pid: int, start_time: int, size_kb: float) -> float | None:
        """How much a process of this size gained, kB; None: no sizes are known yet."""
        if self._older is None:
            return None
        return max(size_kb - self._older.get((pid, start_time), 0.0), 0.0)

    def forget(self) -> None:
        """The shortage is over."""
        self._older = self._newer = None
