"""A scenario's cgroups as directories and files of cgroup v1 or v2."""

from typing import Any, Literal

import msgspec

from oomkit.scenario.format import At, Cgroup

LEAF = "tasks"
"""Name of the leaf for tasks of a group that has groups below it."""


class GroupTree:
    """Lays a scenario's cgroups out below a directory.

    Args:
        root: directory below which they are made.
        version: interface that is mounted there.
        groups: the scenario's cgroups.
    """

    def __init__(self, root: str, version: Literal[1, 2], groups: tuple[Cgroup, ...]) -> None:
        self.root = root
        self.version = version
        self.groups = groups

    def path(self, name: str) -> str:
        """Directory of a cgroup."""
        return f"{self.root}/{name}"

    def procs(self, name: str) -> tuple[str, ...]:
        """The files to which a task of this group writes itself.

        Under v2 a group with groups below it can't hold tasks; they go into a leaf of their own.
        """
        leaf = f"/{LEAF}" if self.version == 2 and name in self._above_others() else ""
        return (f"{self.path(name)}{leaf}/cgroup.procs",)

    def _above_others(self) -> set[str]:
        """Groups that others lie in."""
        return {above for group in self.groups for above in _ancestors(group.name)}

    def plan(self) -> list[dict[str, Any]]:
        """What to make, parents first, with what to write into each."""
        named = {group.name: group for group in self.groups}
        above_others = self._above_others()
        for above in above_others:
            named.setdefault(above, Cgroup(name=above, version=self.version))
        plans: list[dict[str, Any]] = []
        for name in sorted(named, key=lambda path: (path.count("/"), path)):
            files = self.files(named[name])
            leaves = self.version == 2 and name in above_others
            if leaves:
                files.insert(0, ("cgroup.subtree_control", "+memory"))
            plans.append({"path": self.path(name), "files": files})
            if leaves:
                plans.append({"path": f"{self.path(name)}/{LEAF}", "files": []})
        return plans

    def files(self, group: Cgroup) -> list[tuple[str, str]]:
        """File and value for everything a cgroup sets.

        Raises:
            ValueError: this interface has no such knob.
        """
        fields = {
            name: getattr(group, name)
            for name in (
                "max_bytes", "high_bytes", "swap_max_bytes", "memsw_bytes", "swappiness",
            )
            if getattr(group, name) is not None
        }  # fmt: skip
        for name in ("low_bytes", "oom_group", "oom_kill_disable"):
            if getattr(group, name):
                fields[name] = getattr(group, name)
        return self.values(fields)

    def values(self, fields: dict[str, Any]) -> list[tuple[str, str]]:
        """File and value for fields of :class:`Cgroup`.

        Raises:
            ValueError: this interface has no such knob.
        """
        names = _V1 if self.version == 1 else _V2
        pairs = []
        for field, value in fields.items():
            if field not in names:
                raise ValueError(f"cgroup v{self.version} has no {field.removesuffix('_bytes')}")
            pairs.append((names[field], str(int(value))))
        return pairs

    def changes(self, event: At) -> list[tuple[str, str]]:
        """Path and value of every cgroup knob an event changes."""
        return [
            (f"{self.path(name)}/{file}", value)
            for name, fields in event.cgroups.items()
            for file, value in self.values(fields)
        ]


def missing_knobs(
    groups: tuple[Cgroup, ...], at: tuple[At, ...], version: Literal[1, 2]
) -> list[str]:
    """What these groups, and the changes to them, need that this interface does not have."""
    tree = GroupTree("", version, groups)
    names = {group.name for group in groups}
    found = []
    for group in groups:
        found += _refused(tree, msgspec.structs.replace(group, version=version))
    for event in at:
        for name, fields in event.cgroups.items():
            if name in names:
                found += _refused(tree, fields)
    return list(dict.fromkeys(found))


def _refused(tree: GroupTree, what: Cgroup | dict[str, Any]) -> list[str]:
    try:
        if isinstance(what, Cgroup):
            tree.files(what)
        else:
            tree.values(what)
    except ValueError as error:
        return [str(error)]
    return []


def _ancestors(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


_V1 = {
    "max_bytes": "memory.limit_in_bytes",
    "memsw_bytes": "memory.memsw.limit_in_bytes",
    "swappiness": "memory.swappiness",
    "oom_kill_disable": "memory.oom_control",
}

_V2 = {
    "max_bytes": "memory.max",
    "high_bytes": "memory.high",
    "low_bytes": "memory.low",
    "swap_max_bytes": "memory.swap.max",
    "oom_group": "memory.oom.group",
}
