"""What the reader should know about the limits of a snapshot, in sentences."""

from collections.abc import Iterator

import msgspec

from oomkit.host.procfs import read_or_none

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
        assumed_hz: jiffies in a second where the kernel's configuration does not tell.
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
        yield f"{_processes(seen.refused)} could not be read."
    if seen.partial:
        yield f"{_processes(seen.partial)} could be read in part only."
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


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _hidden_threads(proc: str, seen: int) -> int:
    """Threads that ``/proc/loadavg`` counts and the scan did not meet; few are mere change."""
    fields = (read_or_none(f"{proc}/loadavg") or b"").split()
    total = fields[3].partition(b"/")[2] if len(fields) > 3 else b""
    hidden = int(total) - seen if total.isdigit() else 0
    return hidden if hidden > max(_HIDDEN_AT_LEAST, seen * _HIDDEN_SHARE) else 0
