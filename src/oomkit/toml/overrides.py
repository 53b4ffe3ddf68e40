"""``--set key=value``: changing what a file says without editing it."""

import copy
import tomllib
from collections.abc import Sequence
from typing import Any

from oomkit.toml import keys
from oomkit.toml.numbers import EXPECTED, unsound
from oomkit.toml.table import Fault

_TEXTS = ("kernel", "name", "about", "cgroup", "role")
"""Keys whose values are text even when they look like numbers (``6.12``)."""


def apply_overrides(
    raw: dict[str, Any], overrides: Sequence[str], faults: list[Fault]
) -> dict[str, Any]:
    """A copy of decoded TOML with each override made; what can't be made becomes a fault.

    A key is as :func:`oomkit.toml.keys.slots` takes it. A value is TOML, or else text.
    """
    if not overrides:
        return raw
    raw = copy.deepcopy(raw)
    for override in overrides:
        key, equals, value = (part.strip() for part in override.partition("="))
        try:
            if not equals:
                raise ValueError(f"KEY=VALUE with {keys.EXPECTED}")
            for table, last in keys.slots(raw, key):
                table[last] = _value(str(last), value)
        except ValueError as error:
            faults.append(Fault(path=f"--set {override}", expected=f"expected {error}"))
    return raw


def _value(key: str, text: str) -> Any:
    if key in _TEXTS and not text.startswith(('"', "'")):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except ValueError:  # int() limits the number of digits
        raise ValueError(EXPECTED) from None
    if any(unsound(value)):
        raise ValueError(EXPECTED)
    return value
