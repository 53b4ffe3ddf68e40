"""Values as policy files write them, beyond sizes and durations."""

from collections.abc import Callable
from typing import Any

from oomkit.toml import units
from oomkit.toml.table import integer

count = integer(0, 1_000_000)

SHARE = 'a share such as "10%"'


def share(value: Any) -> float:
    """``"10%"`` as 0.1.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            percent = float(value.strip()[:-1])
        except ValueError:
            raise ValueError(SHARE) from None
        if 0.0 <= percent <= 100.0:
            return percent / 100.0
    raise ValueError(SHARE)


def amount(value: Any) -> tuple[float, bool]:
    """``"10%"`` as (0.1, True), ``"300M"`` as kB and False.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        return share(value), True
    try:
        return units.size(value) / 1024, False
    except ValueError as error:
        raise ValueError(f"{SHARE}, or {error}") from None


def positive(value: Any) -> float:
    """A duration above 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    seconds = units.duration(value)
    if seconds < 0.001:
        raise ValueError(f"{units.DURATION}, from 1ms on")
    return seconds


def number(low: float, high: float) -> Callable[[Any], float]:
    """A parser of numbers in a range; it raises ValueError for anything else."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return parse
