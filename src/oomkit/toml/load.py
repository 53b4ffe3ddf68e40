"""Reads a TOML file; ``--set key=value`` changes what it says without editing it."""

import copy
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from oomkit.files.safely import open_regular, open_trusted
from oomkit.toml import keys
from oomkit.toml.table import Fault, TomlError
from oomkit.toml.units import EXPECTED, unsound

TEXTS = ("kernel", "name", "about", "cgroup", "role")
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


def blamed(raw: dict[str, Any], overrides: Sequence[str], faults: Sequence[Fault]) -> list[Fault]:
    """The same faults, those that an override brought in with its text for their place.

    Args:
        raw: the decoded TOML with the overrides made.
        overrides: the texts ``KEY=VALUE``.
        faults: what is wrong with it.
    """
    set_by: dict[tuple[int, Any], str] = {}
    for override in overrides:
        try:
            found = keys.slots(raw, override.partition("=")[0].strip())
        except ValueError:
            continue
        set_by.update({(id(table), last): override for table, last in found})
    if not set_by:
        return list(faults)
    placed = []
    for fault in faults:
        by = set_by.get(_slot(raw, fault.path)) if fault.path else None
        path = fault.path if by is None else f"--set {by}"
        placed.append(Fault(path=path, expected=fault.expected))
    return placed


_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def _slot(raw: dict[str, Any], path: str) -> tuple[int, Any]:
    """The table or list that a fault's path leads into, by its identity, and the last step."""
    at: Any = None
    below: Any = raw
    step: Any = None
    for index, name in _STEP.findall(path):
        at, step = below, int(index) if index else name
        try:
            below = at[step]
        except (KeyError, IndexError, TypeError):
            below = None
    return id(at), step


def _value(key: str, text: str) -> Any:
    if key in TEXTS and not text.startswith(('"', "'")):
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


MAX_BYTES = 8 << 20
"""Maximum size; more is not written by hand, and decoding it would take minutes."""


def load(path: str, *, trusted: bool = False) -> dict[str, Any]:
    """Decode a TOML file.

    Args:
        path: the file; it must be a regular one.
        trusted: refuse one that others can change.

    Raises:
        TomlError: unreadable, too large, not UTF-8, no TOML, or numbers that do not fit.
    """
    try:
        with open(open_trusted(path) if trusted else open_regular(path), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        expected = error.strerror or str(error)
        raise TomlError(path, [Fault(path="", expected=expected)]) from None
    return decoded(data, path)


def decoded(data: bytes, source: str) -> dict[str, Any]:
    """Decode the bytes of a TOML file.

    Args:
        data: what it holds.
        source: what faults name it.

    Raises:
        TomlError: too large, not UTF-8, no TOML, or numbers that do not fit.
    """
    try:
        text = data.decode("utf-8") if len(data) <= MAX_BYTES else ""
        raw = tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except UnicodeDecodeError:
        fault = "expected UTF-8 text"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = f"not TOML: {error}"
    except ValueError:  # int() limits the number of digits
        fault = f"expected {EXPECTED}"
    else:
        if len(data) > MAX_BYTES:
            raise TomlError(source, [Fault(path="", expected="expected at most 8 MiB of TOML")])
        faults = list(unsound(raw))
        if not faults:
            return raw
        raise TomlError(source, faults)
    raise TomlError(source, [Fault(path="", expected=fault)])
