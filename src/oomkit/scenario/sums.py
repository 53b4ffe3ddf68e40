"""Sums that are the same in every Python.

From 3.12 on ``sum()`` of floats makes up for what rounding loses, so a run would end at other
microseconds than under 3.11, and in the end kill another task.
"""

from collections.abc import Iterable
from functools import reduce
from operator import add


def added(values: Iterable[float]) -> float:
    """The sum, added from the first to the last and rounded each time; 0 of nothing."""
    return reduce(add, values, 0)
