"""``--set key=value``: changing what a file says without editing it."""

import copy
import tomllib
from collections.abc import Sequence
from typing import Any

from oomkit.toml.table import Fault

EXPECTED = "expected KEY=VALUE with a key such as vm.swappiness, machine.swap or task.NAME.count"

_NAMED = ("task", "cgroup")

_TEXTS = ("kernel", "name", "about", "cgroup", "role")
"""Keys whose values are text even when they look like numbers (``6.12``)."""


def apply_overrides(
    raw: dict[str, Any], overrides: Sequence[str], faults: list[Fault]
) -> dict[str, Any]:
    """A copy of decoded TOML with each override made; what can't be made becomes a fault.

    A key is a path of names: ``machine.swap``, ``vm.panic_on_oom``, ``task.db.oom_score_adj``
    (every task of that name), ``cgroup.web.max``, ``duration``. A value is TOML, or else text.
    """
    if not overrides:
        return raw
    raw = copy.deepcopy(raw)
    for override in overrides:
        key, equals, value = override.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            faults.append(Fault(path=f"--set {override}", expected=EXPECTED))
        else:
            _apply(raw, path, _value(path[-1], value.strip()), f"--set {override}", faults)
    return raw


def _value(key: str, text: str) -> Any:
    if key in _TEXTS and not text.startswith(('"', "'")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _apply(
    raw: dict[str, Any], path: list[str], value: Any, place: str, faults: list[Fault]
) -> None:
    *tables, last = path
    if tables and tables[0] in _NAMED:
        if len(tables) != 2:
            faults.append(Fault(path=place, expected=EXPECTED))
            return
        found = _named(raw.get(tables[0]), tables[1])
        if not found:
            faults.append(
                Fault(path=place, expected=f"expected the name of a {tables[0]}, not {tables[1]!r}")
            )
        for table in found:
            table[last] = value
        return
    table = raw
    for key in tables:
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            faults.append(Fault(path=place, expected=EXPECTED))
            return
        table = below
    table[last] = value


def _named(entries: Any, wanted: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if not isinstance(entries, list):
        return found
    for entry in entries:
        if isinstance(entry, dict):
            if entry.get("name") == wanted:
                found.append(entry)
            found.extend(_named(entry.get("children"), wanted))
    return found
