"""Units that systemd-oomd acts on, and those that it avoids, with their cgroups."""

import os
import re

from oomkit.policy.peers.found import Files, Found
from oomkit.policy.peers.units import (
    SYSTEM,
    TYPES,
    USER,
    Entry,
    Unit,
    dropin_names,
    read_unit,
    seconds,
    share,
    template_of,
    unit_names,
)

_KEYS = re.compile(r"^\s*(ManagedOOM\w*|OOMRules)\s*=", re.MULTILINE)
_USER_MANAGER = r"/user\.slice/user-[^/]+\.slice/user@[^/]+\.service"
_UINT32 = 2**32 - 1


class Managed:
    """A unit with what it says to systemd-oomd.

    Attributes:
        name: of the unit, or of all of a prefix, template or type.
        place: where it is said.
        expression: of its cgroup's path, which it has to match in full.
        is_users: its cgroup belongs to a user.
        swap, pressure: ``kill``.
        limit: ``ManagedOOMMemoryPressureLimit=``; 0: the default.
        duration_s: ``ManagedOOMMemoryPressureDurationSec=``; None: the default.
        preference: ``none``, ``avoid`` or ``omit``.
        rules: ``OOMRules=``.
    """

    def __init__(self, name: str, place: str, expression: str, *, is_users: bool) -> None:
        self.name = name
        self.place = place
        self.expression = expression
        self.is_users = is_users
        self.swap = self.pressure = False
        self.limit = 0.0
        self.duration_s: float | None = None
        self.preference = "none"
        self.rules: tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        """It is the root cgroup."""
        return self.expression == "/"

    @property
    def pattern(self) -> str:
        """Of its cgroup, for a policy."""
        plain = re.sub(r"\\(.)", r"\1", self.expression)
        if re.escape(plain) == self.expression and not set("*?[") & set(plain):
            return plain
        return f"re:{self.expression}"

    def take(self, key: str, value: str, place: str, found: Found) -> None:
        """Take one setting."""
        try:
            if key in ("ManagedOOMSwap", "ManagedOOMMemoryPressure"):
                if value not in ("auto", "kill", ""):
                    raise ValueError("auto or kill")
                if key == "ManagedOOMSwap":
                    self.swap = value == "kill"
                else:
                    self.pressure = value == "kill"
            elif key == "ManagedOOMMemoryPressureLimit":
                self.limit = _limit(value)
            elif key in (
                "ManagedOOMMemoryPressureDurationSec",
                "ManagedOOMMemoryPressureDurationUSec",
            ):
                self.duration_s = _duration(value)
            elif key == "ManagedOOMPreference":
                if value not in ("none", "avoid", "omit", ""):
                    raise ValueError("none, avoid or omit")
                self.preference = value or "none"
            elif key == "OOMRules":
                self.rules = tuple(value.split())
            elif key.startswith("ManagedOOM"):
                found.leave_out(place, key, "systemd 261 does not know it")
        except ValueError as error:
            found.fault(place, key, f"expected {error}, not {value!r}")

    @property
    def says_something(self) -> bool:
        """Whether systemd-oomd is told anything."""
        return self.swap or self.pressure or bool(self.rules) or self.preference != "none"


def _limit(value: str) -> float:
    """A share; on D-Bus 0 to 2^32 - 1."""
    if value.isascii() and value.isdecimal() and int(value) <= _UINT32:
        return int(value) / _UINT32
    return share(value) if value else 0.0


def _duration(value: str) -> float | None:
    if value in ("", "[not set]", "infinity"):
        return None
    found = seconds(value)
    if 0.0 < found < 1.0:
        raise ValueError("0, or a time from 1s on")
    return found or None


def shown(text: str, place: str, found: Found) -> list[Managed]:
    """The units of ``systemctl show``: blocks of ``KEY=VALUE`` with an empty line between them."""
    units = []
    block: list[tuple[int, str, str]] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        key, equals, value = line.strip().partition("=")
        if line.strip():
            if not equals:
                found.fault(f"{place}:{number}", "", f"expected KEY=VALUE, not {line[:40]!r}")
            block.append((number, key, value))
            continue
        said = {key: value for _, key, value in block}
        path = said.get("ControlGroup", "")
        if said.get("Id") == "-.slice" and not path:
            path = "/"
        if path:
            name = said.get("Id", path.rpartition("/")[2])
            is_users = "/user@" in path
            unit = Managed(name, f"{place}:{block[0][0]}", re.escape(path), is_users=is_users)
            for at, key, value in block:
                unit.take(key, value, f"{place}:{at}", found)
            if unit.says_something:
                units.append(unit)
        elif any(key.startswith("ManagedOOM") and value == "kill" for _, key, value in block):
            found.leave_out(f"{place}:{block[0][0]}", said.get("Id", "?"), "has no cgroup now")
        block = []
    return units


def from_units(
    files: Files, where: str, found: Found, *, users_alone: bool = False
) -> list[Managed]:
    """The units of unit files.

    Args:
        files: reads them.
        where: a unit's file, or a folder with units and their drop-ins; empty: the directories of
            systemd.
        found: what is wrong, or has no counterpart.
        users_alone: only those of users' managers.
    """
    if where:
        return _in_folder(files, where, found)
    units = [] if users_alone else _managed(files, SYSTEM, found, users=False)
    homes = [f"/home/{name}/.config/systemd/user" for name in files.names("/home")]
    return units + _managed(files, (*homes, *USER), found, users=True)


def _in_folder(files: Files, where: str, found: Found) -> list[Managed]:
    directory, only = where, ""
    if not files.is_directory(where):
        directory, only = os.path.split(where)
        if only.rpartition(".")[2] not in TYPES:
            return []
    return _managed(files, (directory,), found, users=False, only=only)


def _managed(
    files: Files, directories: tuple[str, ...], found: Found, *, users: bool, only: str = ""
) -> list[Managed]:
    names = [only] if only else unit_names(files, directories, _KEYS)
    units = []
    for name in names:
        unit = read_unit(files, directories, name)
        if unit is None:
            continue
        said = [one for one in unit.entries if _KEYS.match(f"{one.key}=")]
        others = [one for one in names if one != name and _covers(name, one)]
        place = said[-1].place if said else name
        is_users = users or name.startswith("user@")
        made = Managed(name, place, _path(unit, others, users=users), is_users=is_users)
        for one in _last_of_each(said):
            made.take(one.key, one.value, one.place, found)
        if made.says_something:
            units.append(made)
    return units


def _last_of_each(said: list[Entry]) -> list[Entry]:
    """Of each key what counts; rules add up, until an empty list takes them back."""
    last: dict[str, Entry] = {}
    for one in said:
        before = last.get(one.key)
        if one.key == "OOMRules" and one.value and before is not None:
            both = f"{before.value} {one.value}".strip()
            last[one.key] = Entry(one.section, one.key, both, one.place)
        else:
            last[one.key] = one
    return list(last.values())


def _covers(name: str, other: str) -> bool:
    """Whether a prefix, template or type stands for another unit too."""
    return name != other and (
        name in dropin_names(other) or name.lstrip(".") in dropin_names(other)
    )


def _path(unit: Unit, others: list[str], *, users: bool) -> str:
    """An expression for the paths of its cgroups."""
    name = unit.name
    stem, _, kind = name.rpartition(".")
    if name == "-.slice":
        return _USER_MANAGER if users else "/"
    last = _unit_expression(name)
    if others:
        last = f"(?!(?:{'|'.join(_unit_expression(one) for one in others)})(?:/|$)){last}"
    if kind == "slice" and stem:
        above = _slices(stem)[:-1]
        path = "".join(f"/{one}" for one in above) + f"/{last}"
    elif users or not stem or kind == "scope":
        path = f"/(?:.+/)?{last}"
    else:
        slice_ = unit.last("Slice")
        default = "system"
        if name.startswith("user@"):
            # units/user@.service.in says so; a drop-in alone does not.
            default = "user-%i" if name == "user@.service" else f"user-{stem[len('user@') :]}"
        elif template_of(name) != name or stem.endswith("@"):
            escaped = stem.partition("@")[0].replace("-", "\\x2d")
            default = f"system-{escaped}"
        inside = slice_.value.removesuffix(".slice") if slice_ is not None else default
        path = "".join(f"/{one}" for one in _slices(inside)) + f"/{last}"
    return f"{_USER_MANAGER}{path}" if users else path


def _slices(stem: str) -> list[str]:
    """Expressions for the cgroups of a slice: ``a-b`` is ``a.slice/a-b.slice``."""
    if stem in ("-", ""):
        return []
    parts = stem.split("-")
    names = ["-".join(parts[: i + 1]) for i in range(len(parts))]
    return [_unit_expression(f"{one}.slice") for one in names]


def _unit_expression(name: str) -> str:
    """An expression for the name of a unit, or of all that it stands for."""
    stem, _, kind = name.rpartition(".")
    if not stem:
        return rf"[^/]+\.{kind}"
    escaped = re.sub(r"%(.)", lambda m: "%" if m[1] == "%" else "\0", stem)
    if stem.endswith(("-", "@")):
        escaped += "\0"
    return re.escape(escaped).replace("\0", "[^/]*") + rf"\.{kind}"
