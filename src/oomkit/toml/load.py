"""Reads a TOML file; ``--set key=value`` changes what it says, in what was read or in its text."""

import copy
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from oomkit.files.safely import open_regular, open_trusted
from oomkit.toml.table import Fault, TomlError
from oomkit.toml.units import EXPECTED, unsound

EXPECTED_KEY = "a key such as vm.swappiness, machine.swap or task.NAME.count"

_NAMED = ("task", "cgroup")

Slot = tuple[Any, Any]
"""A table or list, and the key or index of the value in it; there may be no value yet."""


def slots(raw: dict[str, Any], key: str) -> list[Slot]:
    """All places a key leads to.

    A key is a path of names: ``machine.swap``, ``duration``; ``task.db.oom_score_adj`` is every
    task of that name, children too, and ``task.*`` every task; ``cgroup`` likewise. In a list
    stands an index, or ``*``: ``task.leak.steps.0.touch``. Tables on the way that are missing
    are made.

    Raises:
        ValueError: it leads nowhere; the text says what was expected.
    """
    path = key.split(".")
    if not all(path):
        raise ValueError(EXPECTED_KEY)
    found: list[Any] = [raw]
    if path[0] in _NAMED and len(path) > 1:
        if len(path) < 3:
            raise ValueError(EXPECTED_KEY)
        found, path = _by_name(raw.get(path[0]), path)
    for name in path[:-1]:
        found = [below for at in found for below in _below(at, name)]
    return [slot for at in found for slot in _last(at, path[-1])]


def _by_name(entries: Any, path: list[str]) -> tuple[list[Any], list[str]]:
    """The entries a key names, and what follows; cgroups' names may have dots of their own."""
    for end in range(len(path) - 1, 1, -1):
        found = list(_named(entries, ".".join(path[1:end])))
        if found:
            return found, path[end:]
    raise ValueError(f"the name of a {path[0]}, not {path[1]!r}")


def _named(entries: Any, wanted: str) -> Iterator[dict[str, Any]]:
    if not isinstance(entries, list):
        return
    for entry in entries:
        if isinstance(entry, dict):
            if wanted in ("*", entry.get("name")):
                yield entry
            yield from _named(entry.get("children"), wanted)


def _below(at: Any, name: str) -> list[Any]:
    if isinstance(at, list):
        return [at[index] for index in _indices(at, name)]
    if isinstance(at, dict):
        return [at.setdefault(name, {})]
    raise ValueError(EXPECTED_KEY)


def _last(at: Any, name: str) -> list[Slot]:
    if isinstance(at, list):
        return [(at, index) for index in _indices(at, name)]
    if isinstance(at, dict):
        return [(at, name)]
    raise ValueError(EXPECTED_KEY)


def _indices(at: list[Any], name: str) -> range:
    if name == "*":
        return range(len(at))
    if not name.isdecimal() or int(name) >= len(at):
        raise ValueError(f"an index below {len(at)} or *, not {name!r}")
    return range(int(name), int(name) + 1)


TEXTS = ("kernel", "name", "about", "cgroup", "role")
"""Keys whose values are text even when they look like numbers (``6.12``)."""


def apply_overrides(
    raw: dict[str, Any], overrides: Sequence[str], faults: list[Fault]
) -> dict[str, Any]:
    """A copy of decoded TOML with each override made; what can't be made becomes a fault.

    A key is as :func:`oomkit.toml.load.slots` takes it. A value is TOML, or else text.
    """
    if not overrides:
        return raw
    raw = copy.deepcopy(raw)
    for override in overrides:
        key, equals, value = (part.strip() for part in override.partition("="))
        try:
            if not equals:
                raise ValueError(f"KEY=VALUE with {EXPECTED}")
            for table, last in slots(raw, key):
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
            found = slots(raw, override.partition("=")[0].strip())
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


_TABLE = re.compile(r"\s*\[(\[)?\s*([\w.-]+)\s*\]")
_NAME = re.compile(r"""\s*name\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')""")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?|true|false|[\[{\"'].*", re.DOTALL)


def with_value(text: str, key: str, value: str) -> str:
    """The text with one value changed, or added where the file has none.

    What is not understood (inline tables, keys with dots) is left alone: who needs to be sure reads
    both texts and compares.

    Args:
        text: TOML.
        key: ``table.key``, or ``table.NAME.key`` for the entries of an array of tables that bear
            the name.
        value: as it would stand behind ``--set KEY=``: TOML, or a text.
    """
    table, _, rest = key.strip().partition(".")
    name, _, last = rest.rpartition(".")
    is_plain = last not in TEXTS and _PLAIN.fullmatch(value) is not None
    written = value if is_plain else json.dumps(value, ensure_ascii=False)
    lines = text.splitlines(keepends=True)
    found = [
        (start, end)
        for start, end, what in _sections(lines)
        if what == table and (not name or _is_named(lines[start:end], name))
    ]
    if not found and not name:
        gap = "" if not text or text.endswith("\n\n") else "\n" * (2 - text.endswith("\n"))
        return f"{text}{gap}[{table}]\n{last} = {written}\n"
    for start, end in reversed(found):
        _change(lines, start, end, last, written)
    return "".join(lines)


def _sections(lines: list[str]) -> list[tuple[int, int, str]]:
    """Where each table begins and ends, and its path; a table below an array's entry is apart."""
    heads = [(i, match[2]) for i, line in enumerate(lines) if (match := _TABLE.match(line))]
    starts = [i for i, _ in heads] + [len(lines)]
    return [(i, starts[n + 1], path) for n, (i, path) in enumerate(heads)]


def _is_named(lines: list[str], name: str) -> bool:
    names = (match for line in lines if (match := _NAME.match(line)) is not None)
    return any(name in (match[1], match[2]) for match in names)


def _change(lines: list[str], start: int, end: int, key: str, written: str) -> None:
    value = r"""[^#\n"'\[{]+?|"[^"\n]*"|'[^'\n]*'"""
    old = re.compile(rf"(\s*{re.escape(key)}\s*=\s*)({value})(\s*(?:#.*)?\n?)")
    for i in range(start + 1, end):
        match = old.fullmatch(lines[i])
        if match is not None:
            lines[i] = f"{match[1]}{written}{match[3]}"
            return
    # Behind the last line of the table that says something.
    at = end
    while at > start + 1 and not lines[at - 1].split("#")[0].strip():
        at -= 1
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    lines.insert(at, f"{key} = {written}\n")
