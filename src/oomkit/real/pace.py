"""How fast a guest's clock goes beside ours, so that its disks can keep step with it.

Where the clock of a guest counts instructions, a busy guest's second is several of ours, while QEMU
slows its disks by our clock. A guest that waits for its disk is several times as fast as a busy
one, and changes between both within tenths of a second: what was let through too much in a window
is taken back in the next ones.
"""

_WINDOW_S = 0.2
"""The pace is taken over at least so long by our clock."""

_MAX_DEBT_S = 0.5
"""How much of the guest's time is made good at most; a disk that nobody used owes nothing."""

_MAKE_GOOD_S = 0.5
"""Time of ours in which it is."""

_BURST_S = 0.1
"""What QEMU lets through at once whenever a limit is set, as time at that speed."""

_WORTH_A_CHANGE = 0.1
"""A speed that differs by less than this share from the one in use stays."""

SLOWEST, FASTEST = 0.01, 20.0


class Pace:
    """Compares stamps of the guest with the time at which they came.

    Attributes:
        now: the share of their speed by the guest's clock that disks are to have by ours.
        seen: total time by the guest's clock and by ours since the first stamp.
    """

    def __init__(self) -> None:
        self.now = 1.0
        self.seen = (0.0, 0.0)
        self._first: tuple[float, float] | None = None
        self._since = (0.0, 0.0)
        self._owed_s = 0.0

    def note(self, there_s: float, here_s: float) -> bool:
        """Take a stamp; returns whether disks are to go at another speed.

        Args:
            there_s: the guest's clock.
            here_s: our clock when it came.
        """
        if self._first is None:
            self._first = self._since = (there_s, here_s)
            return False
        self.seen = (there_s - self._first[0], here_s - self._first[1])
        there, here = there_s - self._since[0], here_s - self._since[1]
        if here < _WINDOW_S or there <= 0:
            return False
        self._since = (there_s, here_s)
        owed_s = self._owed_s + there - self.now * here
        self._owed_s = min(max(owed_s, -_MAX_DEBT_S), _MAX_DEBT_S)
        speed = min(max(there / here + self._owed_s / _MAKE_GOOD_S, SLOWEST), FASTEST)
        if abs(speed - self.now) < _WORTH_A_CHANGE * self.now:
            return False
        self.now = speed
        self._owed_s -= _BURST_S * speed
        return True

    def begin(self) -> None:
        """Disks begin at their full speed; what was before says nothing of it."""
        self.now = 1.0
        self._owed_s = 0.0

    @property
    def mean(self) -> float:
        """Seconds of the guest in one of ours over the whole run; 1 where nothing was seen."""
        there, here = self.seen
        return there / here if here > 0 else 1.0
