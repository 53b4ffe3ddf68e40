"""Bars and sparklines out of characters."""

import math
from collections.abc import Callable, Iterable, Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"
_ASCII_LEVELS = " .:-=+*#@"


def bar(share: float, cells: int, *, unicode: bool = True, empty: str = " ") -> str:
    """A horizontal bar of exactly ``cells`` characters.

    Args:
        share: 0..1; what lies outside is cut off.
        cells: its full length.
        unicode: use eighths of a cell; else whole ``#``.
        empty: fills the rest of the cells.
    """
    share = _clamp(share)
    if not unicode:
        full = round(share * cells)
        return "#" * full + "." * (cells - full)
    eighths = round(share * cells * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return text.ljust(cells, empty)


def sparkline(shares: Iterable[float | None], *, unicode: bool = True) -> str:
    """A character for each share of 0..1; a blank for None. Anything above 0 can be seen."""
    levels = _LEVELS if unicode else _ASCII_LEVELS
    top = len(levels) - 1
    return "".join(
        " " if share is None else levels[min(top, math.ceil(_clamp(share) * top))]
        for share in shares
    )


def by_column(
    t_s: Sequence[float],
    values: Sequence[float],
    end_s: float,
    columns: int,
    pick: Callable[[Iterable[float]], float],
) -> list[float | None]:
    """Squeeze a curve into columns of equal time.

    Args:
        t_s: times of the values, ascending.
        values: the curve; it keeps its value until the next time.
        end_s: where the last column ends.
        columns: how many.
        pick: ``min`` or ``max``: what stands for the values of one column.

    Returns:
        One value a column; None before the first value.
    """
    buckets: list[list[float]] = [[] for _ in range(columns)]
    for t, value in zip(t_s, values, strict=False):
        buckets[column_of(t, end_s, columns)].append(value)
    picked: list[float | None] = []
    last: float | None = None
    for bucket in buckets:
        if bucket:
            picked.append(pick(bucket))
            last = bucket[-1]
        else:
            picked.append(last)
    return picked


def column_of(t: float, end_s: float, columns: int) -> int:
    """Return the column that a time falls into."""
    if t <= 0 or end_s <= 0:
        return 0
    return min(columns - 1, int(min(t / end_s, 1.0) * columns))


def _clamp(share: float) -> float:
    return min(1.0, max(0.0, share)) if share == share else 0.0
