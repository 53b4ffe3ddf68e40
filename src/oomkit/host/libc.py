"""System calls that Python has no function for."""

import _ctypes  # of which the public module makes a hundred types that a small daemon can't afford
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MCL_CURRENT = 1
_MCL_FUTURE = 2
_MCL_ONFAULT = 4
_MADV_DONTNEED = 4
_IN_CREATE, _IN_MOVED_TO = 0x100, 0x80
_PROCESS_MRELEASE = 448
"""The same number on every architecture but alpha, like all calls added since 5.2."""
_KCMP = {
    "x86_64": 312, "i386": 349, "i486": 349, "i586": 349, "i686": 349, "armv6l": 378,
    "armv7l": 378, "ppc64": 354, "ppc64le": 354, "s390x": 343,
}.get(os.uname().machine, 272)  # fmt: skip
"""Others have the generic number: aarch64, riscv64, loongarch64."""
_KCMP_VM = 1


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001 - without ctypes
    _type_ = "i"


class _Address(_ctypes._SimpleCData):  # type: ignore[type-arg]  # noqa: SLF001 - without ctypes
    _type_ = "P"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _Libc:
    """The C library, which this process has loaded anyway, as :class:`ctypes.CDLL` would be."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        self._handle = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # None: this program

    def function(self, name: str) -> "Callable[..., int]":
        """A function that takes numbers and bytes, and returns an int."""
        return _Function((name, self))  # type: ignore[arg-type]  # not CDLL, but as it is


_libc = _Libc()
# Found at import: to look a name up reads the symbols of every library, which would stay in memory
# that is locked by then.
_syscall = _libc.function("syscall")
_mlockall = _libc.function("mlockall")
_madvise = _libc.function("madvise")
_inotify_init1 = _libc.function("inotify_init1")
_inotify_add_watch = _libc.function("inotify_add_watch")


def lock_memory() -> None:
    """Keep every page of this process in RAM from its first use on (``MCL_ONFAULT``, 4.4).

    Raises:
        OSError: RLIMIT_MEMLOCK is too low, or the kernel too old.
    """
    if _mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        raise _error("mlockall")


def drop_files(proc: str = "/proc") -> None:
    """Give back the pages of files that this process has mapped and not written to.

    Starting takes much code and many constants that are never looked at again. What is needed
    comes back from the page cache when it is used, and only that counts, and is locked, from
    then on.

    Raises:
        OSError: the list of mappings can't be read.
    """
    start = end = 0
    with open(f"{proc}/self/smaps", "rb") as smaps:
        for line in smaps:
            words = line.split(None, 5)
            if not words[0].endswith(b":"):
                begin, _, after = words[0].partition(b"-")
                is_file = words[4] != b"0" and b"w" not in words[1]
                start, end = (int(begin, 16), int(after, 16)) if is_file else (0, 0)
            elif words[0] == b"Anonymous:" and words[1] == b"0" and end > start:
                # What was relocated is anonymous, and would be lost.
                _madvise(_Address(start), _Address(end - start), _MADV_DONTNEED)


def watch_directories(paths: "Iterable[str]") -> int:
    """A descriptor that becomes readable when a file is put into one of the directories.

    Directories that are not there are passed over.

    Raises:
        OSError: too many files are open, or too many watches.
    """
    fd = _inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise _error("inotify_init1")
    for path in paths:
        _inotify_add_watch(fd, os.fsencode(path), _IN_CREATE | _IN_MOVED_TO)
    return fd


def process_mrelease(pidfd: int) -> None:
    """Free the memory of a process that is dying, on our own time (5.15).

    Args:
        pidfd: the process, which must have been sent a SIGKILL.

    Raises:
        OSError: EINVAL, it is not dying; ESRCH, its memory is gone already; EAGAIN, its
            address space is in use; ENOSYS, the kernel is too old.
    """
    if _syscall(_PROCESS_MRELEASE, pidfd, 0):
        raise _error("process_mrelease")


def kcmp_memory(one: int, other: int) -> int:
    """Compare the address spaces of two processes (``kcmp``, 3.5, ``KCMP_VM``).

    Returns:
        0 if they share one; else 1 or 2, by an order that is the same for all pairs.

    Raises:
        OSError: ESRCH, one of them is gone; EPERM, not ours to trace; ENOSYS, EOPNOTSUPP, the
            kernel was built without it, or we may not call it.
    """
    found = _syscall(_KCMP, one, other, _KCMP_VM, 0, 0)
    if found < 0:
        raise _error("kcmp")
    return found


def _error(call: str) -> OSError:
    number = _ctypes.get_errno()
    return OSError(number, os.strerror(number), call)
