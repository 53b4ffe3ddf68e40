"""Values as sweep files write them, with their kind: so that ``"8G"`` can be drawn and compared."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from oomkit.printable import printable
from oomkit.render.quantities import human_bytes, seconds
from oomkit.sweep.format import Axis, Kind, Value
from oomkit.toml import units

_WITH_UNIT = re.compile(r"[\d.]+\s*[KMGTkmgt](?:i?B)?|[\d.]+\s*B")

_PLAIN = re.compile(r"\d+")

_EXPECTED = "values of one kind (sizes, durations, rates, numbers or texts)"


def kind_of(value: Any) -> Kind | None:
    """What a value is; None for one that fits several kinds (``0``, ``"0"``).

    A lower-case ``m`` after a number means minutes; sizes are written ``"30M"``.

    Raises:
        ValueError: none of them.
    """
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a finite number")
        return "number"
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("a number, true or false, or a text")
    if value.endswith("/s"):
        units.rate(value)
        return "rate"
    if _is(units.duration, value):
        return "duration"
    if _WITH_UNIT.fullmatch(value.strip()) and _is(units.size, value):
        return "size"
    if re.fullmatch(r"[\d.]+\s*%", value):
        return "number"
    return None if _PLAIN.fullmatch(value) else "text"


def as_kind(values: Sequence[Any]) -> tuple[Kind, tuple[Value, ...]]:
    """The kind all values have in common, and the values as numbers of its unit.

    Raises:
        ValueError: there is none.
    """
    kinds = {kind_of(value) for value in values} - {None}
    if len(kinds) > 1:
        raise ValueError(_EXPECTED)
    kind = kinds.pop() if kinds else None
    if kind is None:
        kind = "text" if any(isinstance(value, str) for value in values) else "integer"
    try:
        return kind, tuple(_parsed(kind, value) for value in values)
    except ValueError as error:
        raise ValueError(f"{_EXPECTED}; {error}") from None


def _parsed(kind: Kind, value: Any) -> Value:
    if kind == "size":
        return units.size(value)
    if kind == "duration":
        return units.duration(value)
    if kind == "rate":
        return units.rate(value)
    if kind == "text":
        if not isinstance(value, str):
            raise ValueError("a text")
        return value
    if kind == "number":
        if isinstance(value, str):
            return float(value.rstrip("% ")) / 100
        return float(value)
    return bool(value) if kind == "flag" else int(value)


def written(kind: Kind, value: Value) -> Value:
    """A value as a scenario's TOML can hold it."""
    if kind == "rate":
        return f"{max(round(float(value)), 1)}B/s"
    if kind == "size":
        return f"{round(float(value))}B"
    if kind == "duration":
        return f"{Decimal(repr(float(value))):f}s"
    return value


def shown(kind: Kind, value: Value) -> str:
    """A value as a person reads it."""
    if kind == "size":
        return human_bytes(float(value))
    if kind == "rate":
        return f"{human_bytes(float(value))}/s"
    if kind == "duration":
        return seconds(float(value))
    if kind == "number":
        return f"{float(value):.4g}"
    if kind == "flag":
        return "true" if value else "false"
    return printable(str(value))


def value_of(axis: Axis, value: Value) -> str:
    """A value of an axis as a person reads it."""
    return f"x {float(value):.3g}" if axis.scale else shown(axis.kind, value)


def exact(axis: Axis, value: Value) -> str:
    """A value of an axis to its last digit, to tell it from others close by."""
    units = {"size": " B", "duration": " s", "rate": " B/s"}
    return f"{'x ' if axis.scale else ''}{printable(str(value))}{units.get(axis.kind, '')}"


def _is(parse: Any, value: Any) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True
