"""``memory.stat``, the files beside it and tmpfs: what a memory cgroup is charged for."""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from oomkit.host.cgroups import Hierarchy
from oomkit.host.machine import read_pressure
from oomkit.host.mounts import unescape
from oomkit.host.procfs import keyed_numbers, read_int, read_or_none
from oomkit.kernel.memcg_stat import KEPT, MemcgStat, Pressures, Tmpfs
from oomkit.printable import printable

_V1_NAMES = {
    b"rss": "anon",
    b"cache": "file",
    b"dirty": "file_dirty",
    b"writeback": "file_writeback",
    b"mapped_file": "file_mapped",
}
_TOTAL = b"total_"
EVENTS = frozenset(("low", "high", "max", "oom", "oom_kill", "oom_group_kill"))


class Slab(msgspec.Struct, frozen=True, kw_only=True):
    """A slab cache.

    Attributes:
        name: its name.
        bytes: the pages it holds.
    """

    name: str
    bytes: int


def parse_memory_stat(data: bytes, version: Literal[1, 2]) -> dict[str, int]:
    """Return what is kept of a ``memory.stat``, under version 2's names.

    Of version 1 those figures that include the groups below, where there are any
    (``use_hierarchy``).
    """
    numbers = keyed_numbers(data)
    if version == 2:
        return {
            key: number
            for name, number in numbers.items()
            if (key := name.decode("latin-1")) in KEPT
        }
    below = {
        name.removeprefix(_TOTAL): number
        for name, number in numbers.items()
        if name.startswith(_TOTAL)
    }
    found = {}
    for name, number in (below or numbers).items():
        key = _V1_NAMES.get(name, name.decode("latin-1"))
        if key in KEPT:
            found[key] = number
    return found


def parse_events(data: bytes) -> dict[str, int]:
    """Return the counters of a ``memory.events``."""
    return {
        key: number
        for name, number in keyed_numbers(data).items()
        if (key := name.decode("latin-1")) in EVENTS
    }


def directory_of(hierarchy: Hierarchy, path: str) -> str:
    """Where the group of a path below the mount lies."""
    return hierarchy.directory if path == "/" else hierarchy.directory + path


def read_current(hierarchy: Hierarchy, path: str) -> int | None:
    """What a group is charged now, in bytes; None: it is gone, refuses, or is version 2's root."""
    name = "memory.usage_in_bytes" if hierarchy.version == 1 else "memory.current"
    return read_int(f"{directory_of(hierarchy, path)}/{name}")


def read_memcg_stat(hierarchy: Hierarchy, path: str) -> MemcgStat | None:
    """Read what a group is charged for; None if it is gone or refuses."""
    directory = directory_of(hierarchy, path)
    data = read_or_none(f"{directory}/memory.stat")
    current = read_current(hierarchy, path)
    at_s = time.monotonic()
    if data is None and current is None:
        return None
    stat = parse_memory_stat(data or b"", hierarchy.version)
    if hierarchy.version == 1:
        control = keyed_numbers(read_or_none(f"{directory}/memory.oom_control") or b"")
        # A charge fails at either limit; that on memory and swap together is tried first.
        limits = (f"{directory}/memory.failcnt", f"{directory}/memory.memsw.failcnt")
        events = {"max": sum(read_int(name) or 0 for name in limits)}
        if b"oom_kill" in control:  # since 4.13
            events["oom_kill"] = control[b"oom_kill"]
        return MemcgStat(
            path=path,
            version=1,
            current_bytes=current,
            peak_bytes=read_int(f"{directory}/memory.max_usage_in_bytes"),
            kmem_bytes=read_int(f"{directory}/memory.kmem.usage_in_bytes"),
            stat=stat,
            events=events,
            at_s=at_s,
        )
    pressure = read_pressure(f"{directory}/memory.pressure")
    return MemcgStat(
        path=path,
        version=2,
        current_bytes=current,
        peak_bytes=read_int(f"{directory}/memory.peak"),
        stat=stat,
        events=parse_events(read_or_none(f"{directory}/memory.events") or b""),
        local_events=parse_events(read_or_none(f"{directory}/memory.events.local") or b""),
        pressure=None
        if pressure is None
        else Pressures(
            some_avg10=pressure.some_avg10,
            full_avg10=pressure.full_avg10,
            full_total_us=pressure.full_total_us,
        ),
        at_s=at_s,
    )


def read_memcg_stats(hierarchy: Hierarchy, paths: Iterable[str]) -> Iterator[MemcgStat]:
    """Read what groups are charged for; those that are gone or refuse are passed over."""
    for path in paths:
        stat = read_memcg_stat(hierarchy, path)
        if stat is not None:
            yield stat


def parse_slabinfo(data: bytes, page_size: int) -> list[Slab]:
    """Return the caches of a ``slabinfo``, the largest first; lines of another form are skipped."""
    found = []
    for line in data.splitlines():
        fields = line.split()
        # name active_objs num_objs objsize objperslab pagesperslab : tunables … : slabdata
        # active_slabs num_slabs sharedavail
        if len(fields) < 16 or not all(field.isdigit() for field in (fields[5], fields[14])):
            continue
        size = int(fields[5]) * int(fields[14]) * page_size
        if size:
            found.append(Slab(name=fields[0].decode("utf-8", "backslashreplace"), bytes=size))
    found.sort(key=lambda slab: -slab.bytes)
    return found


def read_slabs(hierarchy: Hierarchy, path: str, proc: str, page_size: int) -> list[Slab] | None:
    """The slab caches of a group; None where the kernel does not say, or not to us.

    Version 1 lists them for each group up to 5.8 (``memory.kmem.slabinfo``). Since then groups
    share their caches, and only the machine's can be read, by root.
    """
    if path == "/":
        data = read_or_none(f"{proc}/slabinfo")
    elif hierarchy.version == 1:
        data = read_or_none(f"{directory_of(hierarchy, path)}/memory.kmem.slabinfo")
    else:
        data = None
    return parse_slabinfo(data, page_size) or None if data else None


def oomd_kills(hierarchy: Hierarchy, path: str) -> int | None:
    """How many processes systemd-oomd killed in a group, as it notes there; None: no note.

    The note is an extended attribute (``user.oomd_kill``; ``trusted.`` before systemd 250;
    ``increment_oomd_xattr()`` in src/oom/oomd-util.c).
    """
    directory = directory_of(hierarchy, path)
    for name in ("user.oomd_kill", "trusted.oomd_kill"):
        try:
            return int(os.getxattr(directory, name))
        except (OSError, ValueError):
            continue
    return None


_IN_MEMORY = (b"tmpfs", b"ramfs", b"devtmpfs")
_MAX_NAMESPACES = 16
"""A group holds one as a rule: that of its container."""


def mounts_in_memory(mountinfo: bytes) -> dict[bytes, str]:
    """Return the file systems in memory of a ``mountinfo``: device to where it is mounted first."""
    found: dict[bytes, str] = {}
    for line in mountinfo.splitlines():
        fields, separator, source = line.partition(b" - ")
        words = fields.split(b" ")
        if separator and len(words) >= 5 and source.partition(b" ")[0] in _IN_MEMORY:
            found.setdefault(words[2], os.fsdecode(unescape(words[4])))
    return found


def tmpfs_of(proc: str, pids: Iterable[int]) -> tuple[Tmpfs, ...] | None:
    """Return what the processes see, the fullest first; None where nothing may be looked at.

    Args:
        proc: the proc file system.
        pids: the processes; one of each mount namespace is looked at.
    """
    machine = mounts_in_memory(read_or_none(f"{proc}/1/mountinfo") or b"")
    seen: dict[bytes, Tmpfs] = {}
    namespaces: set[str] = set()
    looked = False
    for pid in pids:
        try:
            namespace = os.readlink(f"{proc}/{pid}/ns/mnt")
        except OSError:
            continue
        if namespace in namespaces:
            continue
        namespaces.add(namespace)
        if len(namespaces) > _MAX_NAMESPACES:
            break
        for device, mount in mounts_in_memory(
            read_or_none(f"{proc}/{pid}/mountinfo") or b""
        ).items():
            if device in seen:
                continue
            try:
                vfs = os.statvfs(f"{proc}/{pid}/root{mount}")
            except OSError:
                continue
            looked = True
            used = (vfs.f_blocks - vfs.f_bfree) * vfs.f_frsize
            if used > 0:
                seen[device] = Tmpfs(
                    mount=printable(mount), used_bytes=used, shared=device in machine
                )
    if not looked:
        return None
    return tuple(sorted(seen.values(), key=lambda tmpfs: -tmpfs.used_bytes))
