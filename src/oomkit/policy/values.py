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
    part = units.percent(value) if isinstance(value, str) else None
    if part is None or part > 1.0:
        raise ValueError(SHARE)
    return part


def amount(value: Any) -> tuple[float, bool]:
    """``"10%"`` as (0.1, True), ``"300M"`` as kB and False.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    if isinstance(value, str) and value.strip().endswith("%"):
        return share(value), True
    try:
        return size_kb(value), False
    except ValueError as error:
        raise ValueError(f"{SHARE}, or {error}") from None


def size_kb(value: Any) -> float:
    """``"300M"`` as kB. A plain number is refused unless it is 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    size_bytes = units.size(value)
    if size_bytes and units.is_plain(value):
        raise ValueError(f"{units.SIZE}, with its unit")
    return size_bytes / 1024


def seconds(value: Any) -> float:
    """``"10m"`` as seconds. A plain number is refused unless it is 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    time_s = units.duration(value)
    if time_s and not isinstance(value, str):
        raise ValueError(f"{units.DURATION}, with its unit")
    return time_s


def positive(value: Any) -> float:
    """A duration above 0.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    time_s = seconds(value)
    if time_s < 0.001:
        raise ValueError(f"{units.DURATION}, from 1ms on")
    return time_s


def number(low: float, high: float) -> Callable[[Any], float]:
    """A parser of numbers in a range; it raises ValueError for anything else."""

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return float(value)

    return parse
