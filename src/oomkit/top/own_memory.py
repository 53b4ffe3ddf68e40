"""This program's own memory, of which nothing is to be swapped out when the machine runs short."""

import contextlib
import resource

from oomkit.host import libc
from oomkit.host.procfs import read_at


def lock_in_memory() -> str:
    """Keep this program's pages in RAM, so that it goes on through a shortage.

    Returns:
        Why they are not; empty where they are. Under a limit on locked memory nothing is locked:
        what would grow beyond the limit later could not be allocated at all.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and not _may_lock():
        return "not locked in memory: RLIMIT_MEMLOCK is limited"
    try:
        with contextlib.suppress(OSError):
            libc.drop_files()
        libc.lock_memory()
    except OSError as error:
        return f"not locked in memory: {error.strerror}"
    return ""


_CAP_IPC_LOCK = 14


def _may_lock() -> bool:
    try:
        status = read_at("/proc/self/status")
    except OSError:
        return False
    held = next((line for line in status.split(b"\n") if line.startswith(b"CapEff:")), b"CapEff: 0")
    return bool(int(held.split()[1], 16) >> _CAP_IPC_LOCK & 1)
