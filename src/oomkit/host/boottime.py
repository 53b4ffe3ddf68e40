"""Which kernel runs, how long, on how many CPUs, and how fast its clock ticks."""

import os
import zlib

from oomkit.host.procfs import read_or_none, text

ASSUMED_HZ = 250
_GZIP = 31  # zlib's name for "a gzip header is in front"


def kernel_release(proc: str) -> str:
    """``uname -r`` of the kernel behind ``proc``, or of this one where that is not readable."""
    data = read_or_none(f"{proc}/sys/kernel/osrelease")
    return text(data.strip()) if data else os.uname().release


def uptime_s(proc: str) -> int | None:
    """Whole seconds since boot; None where ``/proc/uptime`` can't be read."""
    data = read_or_none(f"{proc}/uptime")
    try:
        return None if data is None else int(data.partition(b".")[0])
    except ValueError:
        return None


def online_cpus(proc: str) -> int | None:
    """How many CPUs are online; None where ``/proc/stat`` can't be read."""
    data = read_or_none(f"{proc}/stat") or b""
    return sum(line[3:4].isdigit() for line in data.split(b"\n") if line.startswith(b"cpu")) or None


def config_hz(proc: str, boot: str, release: str) -> int | None:
    """``CONFIG_HZ`` from the kernel's own configuration; None where none is readable.

    Only the classic rules (up to 2.6.35) depend on it.
    """
    packed = read_or_none(f"{proc}/config.gz")
    try:
        config = zlib.decompress(packed, _GZIP) if packed else None
    except zlib.error:
        config = None
    for source in (config, read_or_none(f"{boot}/config-{release}")):
        if source is None:
            continue
        _, found, rest = source.partition(b"\nCONFIG_HZ=")
        number = rest.partition(b"\n")[0]
        if found and number.isdigit():
            return int(number)
    return None
