"""Where a key such as ``task.db.oom_score_adj`` lies in a decoded TOML file."""

from collections.abc import Iterator
from typing import Any

EXPECTED = "a key such as vm.swappiness, machine.swap or task.NAME.count"

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
        raise ValueError(EXPECTED)
    found: list[Any] = [raw]
    if path[0] in _NAMED and len(path) > 1:
        if len(path) < 3:
            raise ValueError(EXPECTED)
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
    raise ValueError(EXPECTED)


def _last(at: Any, name: str) -> list[Slot]:
    if isinstance(at, list):
        return [(at, index) for index in _indices(at, name)]
    if isinstance(at, dict):
        return [(at, name)]
    raise ValueError(EXPECTED)


def _indices(at: list[Any], name: str) -> range:
    if name == "*":
        return range(len(at))
    if not name.isdecimal() or int(name) >= len(at):
        raise ValueError(f"an index below {len(at)} or *, not {name!r}")
    return range(int(name), int(name) + 1)
