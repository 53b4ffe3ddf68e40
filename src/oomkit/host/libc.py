"""System calls that Python has no function for."""

import ctypes
import os

_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4
_MADV_DONTNEED = 4
_PROCESS_MRELEASE = 448
"""The same number on every architecture but alpha, like all calls added since 5.2."""

_libc = ctypes.CDLL(None, use_errno=True)


def lock_memory() -> None:
    """Keep every page of this process in RAM from its first use on (``MCL_ONFAULT``, 4.4).

    Raises:
        OSError: RLIMIT_MEMLOCK is too low, or the kernel too old.
    """
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        raise _error("mlockall")


def drop_code(proc: str = "/proc") -> None:
    """Give back the pages of code that this process has mapped.

    Starting takes much code that is never run again. What is needed comes back from the page
    cache when it is run, and only that counts, and is locked, from then on.

    Raises:
        OSError: the list of mappings can't be read.
    """
    with open(f"{proc}/self/maps", "rb") as maps:
        for line in maps:
            span, permissions, _, _, inode = line.split()[:5]
            if permissions == b"r-xp" and inode != b"0":
                begin, _, end = span.partition(b"-")
                start = int(begin, 16)
                _libc.madvise(
                    ctypes.c_void_p(start), ctypes.c_size_t(int(end, 16) - start), _MADV_DONTNEED
                )


def process_mrelease(pidfd: int) -> None:
    """Free the memory of a process that is dying, on our own time (5.15).

    Args:
        pidfd: the process, which must have been sent a SIGKILL.

    Raises:
        OSError: EINVAL, it is not dying; ESRCH, its memory is gone already; EAGAIN, its
            address space is in use; ENOSYS, the kernel is too old.
    """
    if _libc.syscall(_PROCESS_MRELEASE, pidfd, 0):
        raise _error("process_mrelease")


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), call)
