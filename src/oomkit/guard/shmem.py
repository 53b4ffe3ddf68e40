"""Shared memory that dies with one process: no other process maps it, and no file keeps it."""

import os
import stat

from oomkit.guard.kernel_file import number_after
from oomkit.host.procfs import read_or_none

_DELETED = b" (deleted)"
_SYSV = b"/SYSV"


def kernel_device() -> int | None:
    """The device of the tmpfs that ``memfd_create`` and shared mappings without a file lie on."""
    try:
        fd = os.memfd_create("oomkit", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def mapped_kb(directory: str) -> int:
    """What a process alone maps of shared memory that goes with its last mapping.

    Segments of System V stay when nobody has them attached, and files until they are removed.

    Args:
        directory: of the process, or of a living thread of it, in ``/proc``.
    """
    found = 0
    counts = False
    for line in (read_or_none(f"{directory}/smaps") or b"").split(b"\n"):
        key, _, value = line.partition(b":")
        if b"-" in key.partition(b" ")[0]:
            words = line.split(None, 5)
            name = words[5] if len(words) > 5 else b""
            counts = (
                words[1][3:4] == b"s" and name.endswith(_DELETED) and not name.startswith(_SYSV)
            )
        elif counts and key in (b"Private_Clean", b"Private_Dirty", b"Swap"):
            found += int(value.split()[0])
    return found


def unnamed_files_kb(directory: str, devices: "set[int]") -> int:
    """What a process holds open of files in memory that have no name any more.

    Args:
        directory: of the process in ``/proc``.
        devices: those of tmpfs.
    """
    found: dict[tuple[int, int], int] = {}
    try:
        names = os.listdir(f"{directory}/fd")
    except OSError:
        return 0
    for name in names:
        try:
            file = os.stat(f"{directory}/fd/{name}")
        except OSError:
            continue
        if stat.S_ISREG(file.st_mode) and not file.st_nlink and file.st_dev in devices:
            found[file.st_dev, file.st_ino] = file.st_blocks // 2
    return sum(found.values())


def shared_kb(directory: str) -> int:
    """Shared memory that a process maps (``RssShmem``)."""
    return number_after(read_or_none(f"{directory}/status") or b"", b"\nRssShmem:") or 0
