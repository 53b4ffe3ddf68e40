"""Which namespaces the reader is in: what it sees is theirs, not always the machine's."""

import os

from oomkit.host.procfs import read_or_none
from oomkit.host.stat import PF_KTHREAD, parse_stat

# The initial namespaces' inode numbers are fixed since 3.8 (include/linux/proc_ns.h).
_INITIAL_PID = "pid:[4026531836]"
_INITIAL_USER = "user:[4026531837]"


def sees_initial_pids(proc: str) -> bool:
    """Whether ``proc`` shows the initial pid namespace, where process 1 is the global init.

    kthreadd is process 2 of that namespace and of no other, which tells it too where
    ``proc`` is the host's, mounted into a container.
    """
    if _link(f"{proc}/self/ns/pid") == _INITIAL_PID:
        return True
    data = read_or_none(f"{proc}/2/stat")
    try:
        return data is not None and bool(parse_stat(data).flags & PF_KTHREAD)
    except ValueError:
        return False


def maps_users(proc: str) -> bool:
    """Whether user ids read here differ from those of the initial user namespace."""
    data = read_or_none(f"{proc}/self/uid_map")
    return data is not None and data.split() != [b"0", b"0", b"4294967295"]


def has_initial_user(pid: int, proc_fd: int, *, unknown: bool) -> bool:
    """Whether a process lives in the initial user namespace.

    Only there do its capabilities count for the kernel's badness.

    Args:
        pid: the process.
        proc_fd: the open proc file system.
        unknown: the answer where the link can't be read (not ours to trace; before 3.8).
    """
    link = _link(f"{pid}/ns/user", proc_fd)
    return unknown if link is None else link == _INITIAL_USER


def _link(path: str, dir_fd: int | None = None) -> str | None:
    try:
        return os.readlink(path, dir_fd=dir_fd)
    except OSError:
        return None
