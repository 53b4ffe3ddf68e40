"""What the reader should know about the limits of a snapshot, in sentences."""

import os
from collections.abc import Iterator

import msgspec

from oomkit.host.procfs import read_or_none
from oomkit.host.stat import PF_KTHREAD, parse_stat
from oomkit.render.quantities import count_of

_HIDDEN_SHARE = 0.05
_HIDDEN_AT_LEAST = 16


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How far the scan came.

    Attributes:
        refused: processes that are there and could not be read.
        partial: processes of which some file was refused.
        threads: threads of all processes that were read.
        initial_pids: the pid namespace is the initial one.
        mapped_users: user ids are those of another user namespace than the initial one.
        memcgs: memory cgroups could be read.
        pressure: PSI could be read.
        uptime: the uptime could be read.
        assumed_hz: jiffies in a second where the kernel's configuration does not say.
    """

    refused: int
    partial: int
    threads: int
    initial_pids: bool
    mapped_users: bool
    memcgs: bool
    pressure: bool
    uptime: bool
    assumed_hz: int | None


def sentences(seen: Seen, proc: str) -> Iterator[str]:
    """Say what is missing, one sentence each."""
    if not seen.initial_pids:
        yield (
            "Only the processes of this pid namespace are seen; when the whole machine runs out, "
            "the kernel chooses among all."
        )
    elif hidden := _hidden_threads(proc, seen.threads):
        yield f"{hidden} of the machine's threads are hidden here (hidepid?)."
    if seen.refused:
        yield f"{count_of(seen.refused, 'process', 'processes')} could not be read."
    if seen.partial:
        yield f"{count_of(seen.partial, 'process', 'processes')} could be read in part only."
    if seen.mapped_users:
        yield "User ids are those of this user namespace, not of the initial one."
    if not seen.memcgs:
        yield "No memory cgroups: their hierarchy is not mounted here."
    if not seen.pressure:
        yield "No pressure (PSI): /proc/pressure/memory is not there or not readable."
    if not seen.uptime:
        yield "The uptime could not be read and counts as 0."
    if seen.assumed_hz is not None:
        yield (
            f"CONFIG_HZ could not be read; {seen.assumed_hz} is assumed "
            "(only rules up to 2.6.35 depend on it)."
        )


def _hidden_threads(proc: str, seen: int) -> int:
    """Threads that ``/proc/loadavg`` counts and the scan did not meet; few are mere change."""
    fields = (read_or_none(f"{proc}/loadavg") or b"").split()
    total = fields[3].partition(b"/")[2] if len(fields) > 3 else b""
    hidden = int(total) - seen if total.isdigit() else 0
    return hidden if hidden > max(_HIDDEN_AT_LEAST, seen * _HIDDEN_SHARE) else 0


# The initial namespaces' inode numbers are fixed since 3.8 (include/linux/proc_ns.h).
_INITIAL_PID = "pid:[4026531836]"
_INITIAL_USER = "user:[4026531837]"


def sees_initial_pids(proc: str) -> bool:
    """Whether ``proc`` shows the initial pid namespace, where process 1 is the global init.

    kthreadd is process 2 of that namespace and of no other, which shows it too where
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
