"""What varies: reading it from a sweep file, and drawing from it."""

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random
from statistics import NormalDist
from typing import Any, Literal, cast

from oomkit.sweep.spec import Axis, Draw, Value, as_kind, written
from oomkit.toml import load
from oomkit.toml.table import Table, shown

SHAPES = ("uniform", "log_uniform", "normal", "log_normal")

MAX_VALUES = 10_000

_NORMAL = NormalDist()

_EXPECTED = (
    "expected a list of values, { from, to, step }, { choice, weights }, or one of "
    f"{', '.join(SHAPES)} = [a, b]"
)


def read_axes(
    table: Table, *, scale: bool, check: Callable[[str], str | None] = lambda _: None
) -> tuple[Axis, ...]:
    """The axes of a ``[vary]`` or ``[scale]`` table.

    Args:
        table: key of a scenario or policy to how it varies.
        scale: the values are factors.
        check: says what is wrong with a key.
    """
    found = []
    for key, raw in _flat(table.raw):
        fault = check(key)
        axis = _axis(key, raw, Table({}, table.at(key), table.faults), scale=scale)
        if fault is not None:
            table.fault(key, f"expected {fault}")
        elif axis is not None:
            found.append(axis)
    return tuple(found)


def _flat(raw: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Dotted keys, as one key whether they were written with quotes or without."""
    found: list[tuple[str, Any]] = []
    for key, value in raw.items():
        if isinstance(value, dict) and not _HOW & value.keys():
            found += _flat(value, f"{above}{key}.")
        else:
            found.append((f"{above}{key}", value))
    return found


_HOW = {"from", "to", "choice", *SHAPES}


def _axis(key: str, raw: Any, place: Table, *, scale: bool) -> Axis | None:
    axis: Axis | None
    try:
        if isinstance(raw, list):
            axis = _listed(key, raw, ())
        elif isinstance(raw, dict):
            axis = _described(key, Table(raw, place.path, place.faults))
        else:
            raise ValueError(f"{_EXPECTED}, not {shown(raw)}")
    except ValueError as error:
        place.fault("", str(error))
        return None
    if axis is None or not scale:
        return axis
    if axis.kind not in ("number", "integer"):
        place.fault("", "expected factors: numbers without a unit")
    elif any(float(value) <= 0 for value in axis.values) or (axis.draw and _reach(axis.draw) <= 0):
        place.fault("", "expected factors above 0")
    return Axis(
        key=key, kind="number", values=axis.values, weights=axis.weights, draw=axis.draw, scale=True
    )


def _reach(draw: Draw) -> float:
    """Something no larger than every draw, or 0 for a normal distribution that has no bound."""
    if draw.shape == "normal":
        return draw.low or 0.0
    return min(draw.a, draw.b) if draw.low is None else draw.low


def _listed(key: str, raw: Sequence[Any], weights: Sequence[float]) -> Axis:
    if not raw or len(raw) > MAX_VALUES:
        raise ValueError(f"expected from 1 to {MAX_VALUES} values")
    try:
        kind, values = as_kind(raw)
    except ValueError as error:
        raise ValueError(f"expected {error}") from None
    if len(set(values)) < len(values):
        raise ValueError("expected every value once")
    return Axis(key=key, kind=kind, values=values, weights=tuple(weights))


def _described(key: str, table: Table) -> Axis | None:
    shapes = [shape for shape in SHAPES if shape in table.raw]
    if "choice" in table.raw:
        axis = _choice(key, table)
    elif len(shapes) == 1:
        axis = _drawn(key, table, shapes[0])
    elif not shapes and "from" in table.raw:
        axis = _range(key, table)
    else:
        raise ValueError(_EXPECTED)
    table.done()
    return axis


def _choice(key: str, table: Table) -> Axis:
    values = table.take("choice", _list, [])
    weights = table.take("weights", _numbers, [1.0] * len(values))
    if len(weights) != len(values) or any(w < 0 for w in weights) or sum(weights) <= 0:
        raise ValueError("expected a weight of 0 or more for each choice, not all 0")
    return _listed(key, values, weights)


def _range(key: str, table: Table) -> Axis:
    parts = [table.take(name, _any, None) for name in ("from", "to", "step")]
    if None in parts:
        raise ValueError("expected from, to and step")
    kind, (start, stop, step) = as_kind(parts)
    if kind in ("text", "flag"):
        raise ValueError("expected numbers, sizes, durations or rates")
    low, high, by = float(start), float(stop), float(step)
    if by <= 0 or high < low or (high - low) / by > MAX_VALUES:
        raise ValueError(f"expected from below to, and a step that makes at most {MAX_VALUES}")
    count = math.floor((high - low) / by + 1e-9) + 1
    whole = all(isinstance(part, int) for part in (start, step))
    values = (low + i * by for i in range(count))
    return Axis(
        key=key, kind=kind, values=tuple(round(v) if whole else round(v, 12) for v in values)
    )


def _drawn(key: str, table: Table, shape: str) -> Axis:
    bounds = [table.take(name, _any, None) for name in ("min", "max")]
    given = table.take(shape, _list, [])
    if len(given) != 2:
        raise ValueError(f"expected {shape} = [a, b]")
    known = [one for one in bounds if one is not None]
    # The second parameter of log_normal is a factor, and has no unit.
    alike = [given[0], *known] if shape == "log_normal" else [*given, *known]
    kind, values = as_kind(alike)
    if kind in ("text", "flag"):
        raise ValueError("expected numbers, sizes, durations or rates")
    a = float(values[0])
    b = float(given[1] if shape == "log_normal" else values[1])
    rest = iter(values[len(alike) - len(known) :])
    low, high = (None if one is None else float(next(rest)) for one in bounds)
    _sensible(shape, a, b, low, high)
    draw = Draw(
        shape=cast(Literal["uniform"], shape), a=a, b=b, low=low, high=high,
        whole=kind in ("integer", "size"),
    )  # fmt: skip
    return Axis(key=key, kind=kind, draw=draw)


def _sensible(shape: str, a: float, b: float, low: float | None, high: float | None) -> None:
    if shape in ("uniform", "log_uniform") and b < a:
        raise ValueError(f"expected {shape} = [a, b] with a not above b")
    if shape in ("log_uniform", "log_normal") and a <= 0:
        raise ValueError(f"expected {shape} = [a, b] above 0")
    if shape == "normal" and b < 0:
        raise ValueError("expected normal = [mean, standard deviation], not below 0")
    if shape == "log_normal" and b < 1:
        raise ValueError("expected log_normal = [median, factor], a factor from 1 on")
    if low is not None and high is not None and high < low:
        raise ValueError("expected min not above max")


def _any(value: Any) -> Any:
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list")
    return value


def _numbers(value: Any) -> list[float]:
    found = _list(value)
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in found):
        raise ValueError("a list of numbers")
    return [float(one) for one in found]


def draw_value(axis: Axis, rng: Random) -> Value:
    """One value. Only ``rng.random()`` is used, whose sequence no Python version changes."""
    u = rng.random()
    if axis.draw is None:
        return axis.values[_index(axis, u)]
    draw = axis.draw
    if draw.shape == "uniform":
        value = draw.a + (draw.b - draw.a) * u
    elif draw.shape == "log_uniform":
        value = math.exp(math.log(draw.a) + (math.log(draw.b) - math.log(draw.a)) * u)
    else:
        z = _NORMAL.inv_cdf(min(max(u, 1e-12), 1 - 1e-12))
        value = draw.a + draw.b * z if draw.shape == "normal" else draw.a * draw.b**z
    if draw.low is not None:
        value = max(value, draw.low)
    if draw.high is not None:
        value = min(value, draw.high)
    return round(value) if draw.whole else value


def _index(axis: Axis, u: float) -> int:
    if not axis.weights:
        return min(int(u * len(axis.values)), len(axis.values) - 1)
    left = u * sum(axis.weights)
    for i, weight in enumerate(axis.weights):
        left -= weight
        if left < 0:
            return i
    return max(i for i, weight in enumerate(axis.weights) if weight > 0)


POLICY = "policy."


def changed(raw: dict[str, Any], axes: Iterable[Axis], values: Iterable[Value]) -> None:
    """Put each axis' value where its key leads, in place; ``task.NAME.count`` 0 leaves it out.

    Raises:
        ValueError: a key leads nowhere, or to nothing that can be multiplied.
    """
    gone = set()
    for axis, value in zip(axes, values, strict=True):
        if axis.key.startswith(POLICY):
            continue
        try:
            _change(raw, axis.key, axis, value)
        except ValueError as error:
            raise ValueError(f"{axis.key}: expected {error}") from None
        parts = axis.key.split(".")
        if len(parts) == 3 and parts[0] == "task" and parts[2] == "count" and value == 0:
            gone.add(parts[1])
    if gone:
        raw["task"] = _without(raw["task"], gone)


def changed_policy(raw: dict[str, Any], axes: Iterable[Axis], values: Iterable[Value]) -> None:
    """The same for the keys of a policy (``policy.whom.growth``), in place.

    Rules that a policy does not have are not made: ``policy.when.*`` means nothing to one without.

    Raises:
        ValueError: a key leads nowhere, or to nothing that can be multiplied.
    """
    for axis, value in zip(axes, values, strict=True):
        key = axis.key.removeprefix(POLICY)
        if key == axis.key or (key.startswith("when.") and not raw.get("when")):
            continue
        try:
            _change(raw, key, axis, value)
        except ValueError as error:
            raise ValueError(f"{axis.key}: expected {error}") from None


def _change(raw: dict[str, Any], key: str, axis: Axis, value: Value) -> None:
    for table, last in load.slots(raw, key):
        if axis.scale:
            present = table.get(last) if isinstance(table, dict) else table[last]
            if present is not None:
                table[last] = _scaled(present, float(value), last)
            elif "*" not in key:
                raise ValueError("a value to multiply")
        else:
            table[last] = written(axis.kind, value)


def _scaled(present: Any, factor: float, key: Any) -> Value:
    kind, (amount,) = as_kind([present])
    if kind in ("text", "flag"):
        raise ValueError(f"a size, duration, rate or number to multiply, not {present!r}")
    scaled = float(amount) * factor
    if kind == "integer":
        return max(round(scaled), 1) if key == "count" else round(scaled)
    return written(kind, scaled)


def _without(tasks: list[dict[str, Any]], gone: set[str]) -> list[dict[str, Any]]:
    left = [task for task in tasks if task.get("name") not in gone and "*" not in gone]
    for task in left:
        if task.get("children"):
            task["children"] = _without(task["children"], gone)
    return left
