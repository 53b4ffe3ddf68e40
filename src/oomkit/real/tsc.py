"""How fast this CPU's time-stamp counter runs, which a guest on QEMU's translator sees as its own.

A guest's kernel measures it against emulated timers while it boots. On a busy host it is off by
a factor of up to ten, and so is every second of the guest then. Told beforehand, it need not.
"""

import ctypes
import functools
import mmap
import platform
import time

_RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret."""
_PAUSE_S = 0.1
_TRIES = 20


@functools.cache
def khz() -> int | None:
    """Its frequency; None where it can't be read."""
    if platform.machine() != "x86_64":
        return None
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None  # a hardened host lets nobody write code
    code.write(_RDTSC)
    where = ctypes.addressof(ctypes.c_char.from_buffer(code))
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(where)
    before_ns, before = _moment(counter)
    time.sleep(_PAUSE_S)
    after_ns, after = _moment(counter)
    return round((after - before) * 1e6 / (after_ns - before_ns))


def _moment(counter: "ctypes._CFunctionType") -> tuple[float, int]:
    """Time and count of one moment: of several tries the one that took the least time."""
    tries = []
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        count = int(counter())
        after = time.monotonic_ns()
        tries.append((after - before, (before + after) / 2, count))
    _, when, count = min(tries)
    return when, count
