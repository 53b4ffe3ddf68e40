"""What a report's cgroup is called, and the unit below which it is."""

import re
from collections.abc import Iterable

from oomkit.kernel.cgroup_name import CONTAINER, ID_CHARS, POD, Place, place
from oomkit.klog.evidence import Evidence

__all__ = ["CONTAINER", "ID_CHARS", "POD", "Place", "place", "place_text"]


def place_text(path: str | None) -> str:
    """``pod 1234…, container 0a1b…`` of a path; empty where it has no such names."""
    found = place(path)
    parts = []
    if found.pod:
        parts.append(f"pod {found.pod}")
    if found.container:
        parts.append(f"container {found.container}")
    if found.unit and not parts:
        parts.append(f"unit {found.unit}")
    return ", ".join(parts)


_USER_MANAGER = re.compile(r"user@(?P<uid>\d+)\.service")
_OF_USER_MANAGERS = ("app-", "vte-spawn-", "tmux-spawn-")


def _within(unit: str, other: str) -> bool:
    """Whether systemd keeps a unit below another, by their names alone."""
    if unit == other:
        return False
    stem, _, kind = unit.rpartition(".")
    if other.endswith(".slice"):
        parent = other.removesuffix(".slice")
        if kind == "slice":
            return stem.startswith(parent + "-")
        user = _USER_MANAGER.match(unit)
        if user is not None:
            return parent in ("user", f"user-{user['uid']}")
        template, at, _ = stem.partition("@")
        return kind == "service" and (
            parent == "system" or (bool(at) and parent == f"system-{template}")
        )
    return _USER_MANAGER.match(other) is not None and unit.startswith(_OF_USER_MANAGERS)


def innermost(items: Iterable[Evidence]) -> list[Evidence]:
    """Without the units above one that lost a process: systemd says it of each of them, too."""
    items = list(items)
    lost = {
        item.unit
        for item in items
        if item.unit is not None and item.by == "systemd" and item.kind == "notice"
    }
    return [
        item
        for item in items
        if item.by != "systemd"
        or item.unit is None
        or not any(_within(unit, item.unit) for unit in lost)
    ]
