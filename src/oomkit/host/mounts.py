"""Where the memory controller's hierarchy is mounted, and in which version."""

import os
from typing import Literal

import msgspec

from oomkit.host.procfs import read_or_none


class Hierarchy(msgspec.Struct, frozen=True):
    """The mount through which memory cgroups are seen.

    Attributes:
        version: 1 or 2, the interface.
        directory: where it is mounted.
        root: the cgroup that the mount shows as its top; other than ``/`` in a container
            that has a bind mount but no cgroup namespace.
    """

    version: Literal[1, 2]
    directory: str
    root: str = "/"

    def below_mount(self, path: str) -> str:
        """Translate a path of ``/proc/PID/cgroup`` to one below this mount.

        A cgroup outside of the mount gets a path that begins with ``/..``, as the kernel
        prints those outside of a cgroup namespace.
        """
        return path if self.root == "/" else _relative(path, self.root)


def find_hierarchy(proc: str, cgroup_root: str | None = None) -> Hierarchy | None:
    """Return the memory controller's hierarchy, or None where it is not mounted.

    Args:
        proc: the proc file system.
        cgroup_root: a directory laid out like ``/sys/fs/cgroup``, which is then looked at
            instead of the list of mounts.
    """
    if cgroup_root is not None:
        return _laid_out(cgroup_root)
    unified = None
    for line in (read_or_none(f"{proc}/self/mountinfo") or b"").splitlines():
        fields, _, source = line.partition(b" - ")
        kind, _, options = source.partition(b" ")
        _, _, _, root, directory, *_ = fields.split(b" ")
        if kind == b"cgroup" and b"memory" in options.split(b" ")[-1].split(b","):
            return Hierarchy(1, _unescape(directory), _unescape(root))
        if kind == b"cgroup2" and unified is None:
            unified = Hierarchy(2, _unescape(directory), _unescape(root))
    return unified if unified and _has_memory(unified.directory) else None


def _laid_out(cgroup_root: str) -> Hierarchy | None:
    if os.path.exists(f"{cgroup_root}/memory/memory.limit_in_bytes"):
        return Hierarchy(1, f"{cgroup_root}/memory")
    if os.path.exists(f"{cgroup_root}/memory.limit_in_bytes"):
        return Hierarchy(1, cgroup_root)
    for directory in (cgroup_root, f"{cgroup_root}/unified"):
        if _has_memory(directory):
            return Hierarchy(2, directory)
    return None


def _has_memory(directory: str) -> bool:
    controllers = read_or_none(f"{directory}/cgroup.controllers") or b""
    return b"memory" in controllers.split()


def _relative(path: str, root: str) -> str:
    relative = os.path.relpath(path, root)
    return "/" if relative == "." else f"/{relative}"


def _unescape(field: bytes) -> str:
    """Undo the octal escapes that mountinfo uses for space, tab, newline and backslash."""
    if b"\\" in field:
        for code, char in ((b"040", b" "), (b"011", b"\t"), (b"012", b"\n"), (b"134", b"\\")):
            field = field.replace(b"\\" + code, char)
    return os.fsdecode(field)
