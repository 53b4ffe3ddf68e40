"""Which file systems in memory processes see, and what their files take."""

import os
from collections.abc import Iterable

from oomkit.host.mounts import unescape
from oomkit.host.procfs import read_or_none
from oomkit.kernel.memcg_stat import Tmpfs
from oomkit.printable import printable

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
