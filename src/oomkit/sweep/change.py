"""A base scenario with a point's values in it."""

from collections.abc import Iterable
from typing import Any

from oomkit.sweep.format import Axis, Value
from oomkit.sweep.quantity import as_kind, written
from oomkit.toml import keys

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
    for table, last in keys.slots(raw, key):
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
    kept = [task for task in tasks if task.get("name") not in gone and "*" not in gone]
    for task in kept:
        if task.get("children"):
            task["children"] = _without(task["children"], gone)
    return kept
