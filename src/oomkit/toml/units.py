"""Numbers, sizes, durations and rates as our TOML files write them."""

import math
import re
from collections.abc import Iterator
from typing import Any

from oomkit.toml.table import Fault

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|B)?", re.ASCII | re.IGNORECASE)
_PLAIN = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_SCALE = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

MAX_BYTES = 2**50
"""A pebibyte: more is taken for a slip of the pen."""

MAX_SECONDS = 366 * 86400.0

MIN_PLAIN_BYTES = 2**20
"""A plain number below this is taken for one whose unit was forgotten."""

SIZE = 'a size such as "300M" or "2G" (K, M, G, T are powers of 1024)'
DURATION = 'a duration such as "500ms", "30s", "10m" or "2h"'
RATE = 'a rate such as "100M/s"'


def size(value: Any) -> int:
    """Bytes of ``"300M"``, or of a plain number: 0, or at least :data:`MIN_PLAIN_BYTES`.

    Raises:
        ValueError: anything else, such as ``"300"``; the text says what was expected.
    """
    if is_plain(value) and 0 < float(value) < MIN_PLAIN_BYTES:
        raise ValueError(f"{SIZE}, with its unit")
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise ValueError(SIZE)
        value = int(min(float(match[1]) * _SCALE[(match[2] or "").upper()], MAX_BYTES + 1))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_BYTES:
        raise ValueError(f"{SIZE}, at most 1024T")
    return value


def is_plain(value: Any) -> bool:
    """Whether a value is a whole number, or the text of a number without a unit."""
    if isinstance(value, str):
        return _PLAIN.fullmatch(value.strip()) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def percent(text: str) -> float | None:
    """``"20%"`` as 0.2; None for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    return None if match is None else float(match[1]) / 100


def duration(value: Any) -> float:
    """Seconds of ``"10m"``, or of a plain number.

    Raises:
        ValueError: anything else; the text says what was expected.
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError(DURATION)
        value = float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(DURATION)
    if not 0 <= value <= MAX_SECONDS:
        raise ValueError(f"{DURATION}, at most a year")
    return float(value)


def rate(value: Any) -> float:
    """Bytes a second of ``"100M/s"``.

    Raises:
        ValueError: anything else, or 0; the text says what was expected.
    """
    if isinstance(value, str) and value.strip().endswith("/s"):
        try:
            per_second = size(value.strip()[:-2])
        except ValueError:
            raise ValueError(RATE) from None
        if per_second > 0:
            return float(per_second)
    raise ValueError(f"{RATE}, above 0")


def share(value: Any) -> float:
    """``"20%"`` or 0.2 as 0.2.

    Raises:
        ValueError: anything else, or outside 0..1; the text says what was expected.
    """
    expected = 'a share such as "20%" or 0.2, at most 90 %'
    if isinstance(value, str):
        value = percent(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 0.9:
        raise ValueError(expected)
    return float(value)


EXPECTED = "a number of at most 64 bits"
MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**63 - 1


def unsound(value: Any, path: str = "") -> Iterator[Fault]:
    """Yield a fault for each number that does not fit, for infinities and for what is no number.

    Args:
        value: decoded TOML.
        path: the key under which it stands.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from unsound(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from unsound(item, f"{path}[{i}]")
    elif not _is_sound(value):
        yield Fault(path=path, expected=f"expected {EXPECTED}")


def _is_sound(value: Any) -> bool:
    if isinstance(value, int):
        return MIN_INTEGER <= value <= MAX_INTEGER
    return not isinstance(value, float) or math.isfinite(value)
