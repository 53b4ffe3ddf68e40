"""Pressure stall information with the kernel's averages (kernel/sched/psi.c)."""

import math
from typing import Final

_FIXED_1: Final = 2048
_EXP: Final = (1677, 1981, 2034)
"""Decay of the 10, 60 and 300 second averages over one period, in 1/2048."""


class Psi:
    """Stall time of ``some`` and ``full``, and their running averages.

    The averages are brought up to date every 2*HZ+1 jiffies, from whole percents, in the
    kernel's fixed-point arithmetic.

    Args:
        hz: the kernel's CONFIG_HZ.

    Attributes:
        some_total_s, full_total_s: stall time since the start, seconds.
    """

    def __init__(self, hz: int) -> None:
        self.period_s = (2 * hz + 1) / hz
        self.some_total_s = 0.0
        self.full_total_s = 0.0
        self._in_period = [0.0, 0.0]
        self._left_s = self.period_s
        self._some = [0, 0, 0]
        self._full = [0, 0, 0]
        self._avg10 = (0.0, 0.0)

    def advance(self, seconds: float, some: float, full: float) -> None:
        """Add time of which the given shares are stalls."""
        self.some_total_s += seconds * some
        self.full_total_s += seconds * full
        while seconds >= self._left_s:
            whole = self._left_s == self.period_s
            self._add(self._left_s, some, full)
            seconds -= self._left_s
            before = (tuple(self._some), tuple(self._full))
            self._update()
            settled = whole and before == (tuple(self._some), tuple(self._full))
            if settled and seconds > self.period_s:
                # The averages have settled: whole periods change nothing any more.
                seconds = math.fmod(seconds, self.period_s)
        self._add(seconds, some, full)
        self._left_s -= seconds

    def averages(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """``avg10, avg60, avg300`` of some and of full, in percent, as the file prints them."""
        return tuple(map(_percent, self._some)), tuple(map(_percent, self._full))

    def avg10(self) -> tuple[float, float]:
        """``avg10`` of some and of full, in percent."""
        return self._avg10

    def _add(self, seconds: float, some: float, full: float) -> None:
        self._in_period[0] += seconds * some
        self._in_period[1] += seconds * full

    def _update(self) -> None:
        for averages, stalled in zip((self._some, self._full), self._in_period, strict=True):
            percent = min(int(100 * stalled / self.period_s + 1e-9), 100)
            for i, decay in enumerate(_EXP):
                averages[i] = _calc_load(averages[i], decay, percent * _FIXED_1)
        self._in_period = [0.0, 0.0]
        self._left_s = self.period_s
        self._avg10 = _percent(self._some[0]), _percent(self._full[0])


def _calc_load(average: int, decay: int, active: int) -> int:
    new = average * decay + active * (_FIXED_1 - decay)
    if active >= average:
        new += _FIXED_1 - 1
    return new // _FIXED_1


def _percent(average: int) -> float:
    whole, part = divmod(average, _FIXED_1)
    return whole + (part * 100 // _FIXED_1) / 100
