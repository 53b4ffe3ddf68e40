"""Memory cgroups: their limits and usage, and the processes in each."""

import os
from typing import Literal

import msgspec

from oomkit.host.mounts import memory_mount, unescape
from oomkit.host.procfs import keyed_numbers, read_int, read_or_none, text
from oomkit.kernel.state import Memcg


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
    mount = memory_mount(proc)
    if mount is None:
        return None
    version, directory, root = mount
    found = Hierarchy(version, os.fsdecode(unescape(directory)), os.fsdecode(unescape(root)))
    return found if version == 1 or _has_memory(found.directory) else None


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


_LONG_MAX = (1 << 63) - 1


class Memcgs(msgspec.Struct, frozen=True):
    """The memory cgroups, and which process each one holds.

    Attributes:
        groups: all that hold tasks or limits, with their ancestors, in the order in which the
            kernel walks them: parents first, siblings by creation.
        members: process to path, as ``cgroup.procs`` lists them.
    """

    groups: tuple[Memcg, ...] = ()
    members: dict[int, str] = {}


def read_memcgs(hierarchy: Hierarchy, page_size: int) -> Memcgs:
    """Walk the hierarchy. Groups that vanish on the way, or refuse, are passed over."""
    walk = _Walk(hierarchy, page_size)
    walk.visit("/", hierarchy.directory)
    return Memcgs(tuple(walk.groups), {pid: path for path in walk.pids for pid in walk.pids[path]})


class _Walk:
    """One walk over a hierarchy: the groups worth keeping, and the processes of each path."""

    def __init__(self, hierarchy: Hierarchy, page_size: int) -> None:
        first = hierarchy.version == 1
        self.read = _read_v1 if first else _read_v2
        self.is_limited = _is_limited_v1 if first else _is_limited_v2
        self.page_size = page_size
        self.groups: list[Memcg] = []
        self.pids: dict[str, list[int]] = {}

    def visit(self, path: str, directory: str) -> bool:
        """Add the group at ``path`` and those below it; returns whether any of them was added."""
        place = len(self.groups)
        pids = _processes(directory)
        leaf = _is_leaf(directory)
        if leaf and not pids and path != "/" and not self.is_limited(directory, self.page_size):
            return False  # as most are on a large machine; nothing else of it need be read
        self.pids[path] = pids
        inside = False
        for name in () if leaf else _subgroups(directory):
            below = f"{path.rstrip('/')}/{text(os.fsencode(name))}"
            inside |= self.visit(below, f"{directory}/{name}")
        group = self.read(directory, path, self.page_size)
        if group is None:
            # Without the memory controller, version 2 counts a group's tasks for its parent.
            self.pids[os.path.dirname(path)] += self.pids.pop(path)
            return inside
        if inside or path == "/" or self.pids[path] or _is_limited(group):
            self.groups.insert(place, group)
            return True
        return False


def _is_leaf(directory: str) -> bool:
    """Whether there are no groups below; the kernel counts them as links, other systems may not."""
    try:
        return os.stat(directory).st_nlink == 2
    except OSError:
        return False


def _subgroups(directory: str) -> list[str]:
    """The groups below, as the kernel walks them: in the order of their creation.

    cgroup file systems number their inodes as they make them.
    """
    try:
        with os.scandir(directory) as entries:
            found = [(e.inode(), e.name) for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [name for _, name in sorted(found)]


def _processes(directory: str) -> list[int]:
    """The processes of a group; empty if it refuses or is gone.

    A threaded group refuses too; its processes are listed by the group whose memory they use.
    ``tasks`` (before 3.0) lists threads, whose numbers are harmless here.
    """
    listed = read_or_none(f"{directory}/cgroup.procs")
    if listed is None:
        listed = read_or_none(f"{directory}/tasks") or b""
    return [int(pid) for pid in listed.split() if pid.isdigit()]


def _is_limited(group: Memcg) -> bool:
    limits = (group.limit_pages, group.memsw_limit_pages, group.swap_max_pages, group.high_pages)
    return group.oom_group or group.oom_kill_disable or any(n is not None for n in limits)


def _is_limited_v1(directory: str, page_size: int) -> bool:
    """What :func:`_is_limited` says of a group, by the files that it takes."""
    control = read_or_none(f"{directory}/memory.oom_control") or b""
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    return b"oom_kill_disable 1" in control or any(
        _limit(f"{directory}/{name}", page_size) is not None for name in names
    )


def _is_limited_v2(directory: str, page_size: int) -> bool:
    """What :func:`_is_limited` says of a group, by the files that it takes."""
    names = ("memory.max", "memory.high", "memory.swap.max")
    return read_int(f"{directory}/memory.oom.group") == 1 or any(
        _limit(f"{directory}/{name}", page_size) is not None for name in names
    )


def _read_v1(directory: str, path: str, page_size: int) -> Memcg | None:
    usage = read_int(f"{directory}/memory.usage_in_bytes")
    if usage is None:
        return None
    memsw_usage = read_int(f"{directory}/memory.memsw.usage_in_bytes", default=usage) or 0
    control = keyed_numbers(read_or_none(f"{directory}/memory.oom_control") or b"")
    return Memcg(
        path=path,
        version=1,
        limit_pages=_limit(f"{directory}/memory.limit_in_bytes", page_size),
        memsw_limit_pages=_limit(f"{directory}/memory.memsw.limit_in_bytes", page_size),
        usage_pages=usage // page_size,
        swap_usage_pages=max(0, memsw_usage - usage) // page_size,
        swappiness=read_int(f"{directory}/memory.swappiness"),
        oom_kill_disable=control.get(b"oom_kill_disable", 0) != 0,
    )


def _read_v2(directory: str, path: str, page_size: int) -> Memcg | None:
    usage = read_int(f"{directory}/memory.current")
    if usage is None and path != "/":
        return None
    return Memcg(
        path=path,
        version=2,
        limit_pages=_limit(f"{directory}/memory.max", page_size),
        swap_max_pages=_limit(f"{directory}/memory.swap.max", page_size),
        high_pages=_limit(f"{directory}/memory.high", page_size),
        min_pages=_protected(f"{directory}/memory.min", page_size),
        low_pages=_protected(f"{directory}/memory.low", page_size),
        usage_pages=(usage or 0) // page_size,
        swap_usage_pages=(read_int(f"{directory}/memory.swap.current") or 0) // page_size,
        oom_group=read_int(f"{directory}/memory.oom.group") == 1,
    )


def _protected(path: str, page_size: int) -> int:
    """``memory.min`` or ``memory.low`` in pages; "max" is all that can be charged."""
    data = read_or_none(path)
    if data is None or not data.strip():
        return 0
    number = data.strip()
    return (_LONG_MAX if number == b"max" else int(number) if number.isdigit() else 0) // page_size


def _limit(path: str, page_size: int) -> int | None:
    """A limit in pages; None for "max", for version 1's largest number, and for no such file."""
    limit = read_int(path)
    if limit is None or limit // page_size >= _LONG_MAX // page_size:
        return None
    return limit // page_size
