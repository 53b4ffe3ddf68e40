"""The numbers that our files may hold: TOML's own 64 bits, and nothing that is no number."""

import math
from collections.abc import Iterator
from typing import Any

from oomkit.toml.table import Fault

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
