"""How fast a guest's clock goes beside ours, so that its disks can keep step with it.

Where the clock of a guest counts instructions, a busy guest's second is several of ours, while QEMU
slows its disks by our clock.
"""

_WINDOW_S = 0.4
"""The pace is taken over at least so long by our clock."""

_WORTH_A_CHANGE = 0.1
"""A pace that differs by less than this share from the one in use stays."""

SLOWEST, FASTEST = 0.01, 20.0


class Pace:
    """Compares stamps of the guest with the time at which they came.

    Attributes:
        now: seconds of the guest in one of ours, as far as known.
        seen: total time by the guest's clock and by ours since the first stamp.
    """

    def __init__(self) -> None:
        self.now = 1.0
        self.seen = (0.0, 0.0)
        self._first: tuple[float, float] | None = None
        self._since: tuple[float, float] | None = None

    def note(self, there_s: float, here_s: float) -> bool:
        """Take a stamp; returns whether the pace has changed by enough to act.

        Args:
            there_s: the guest's clock.
            here_s: our clock when it came.
        """
        if self._first is None or self._since is None:
            self._first = self._since = (there_s, here_s)
            return False
        self.seen = (there_s - self._first[0], here_s - self._first[1])
        passed = here_s - self._since[1]
        if passed < _WINDOW_S or there_s <= self._since[0]:
            return False
        pace = min(max((there_s - self._since[0]) / passed, SLOWEST), FASTEST)
        self._since = (there_s, here_s)
        if abs(pace - self.now) < _WORTH_A_CHANGE * self.now:
            return False
        self.now = pace
        return True

    @property
    def mean(self) -> float:
        """Over the whole run; 1 where nothing was seen."""
        there, here = self.seen
        return there / here if here > 0 else 1.0
