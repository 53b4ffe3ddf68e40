"""Pid namespaces below ours: all processes of one die with its process 1."""

import fcntl
import os

from oomkit.host.procfs import GONE, NO_FILES, read_at

_NS_GET_PARENT = 0xB702
_DEEPEST = 33
"""The kernel allows no more levels (MAX_PID_NS_LEVEL, include/linux/pid_namespace.h)."""


def numbers_in(status: bytes) -> "list[bytes]":
    """A process's numbers, in our pid namespace first, in its own last (``NStgid``, 4.1).

    They are the same in the ``status`` of each of its threads.
    """
    at = status.find(b"\nNStgid:")
    return status[at + 8 : status.find(b"\n", at + 8)].split() if at >= 0 else []


def is_nested_init(status: bytes) -> bool:
    """Whether a process is process 1 of a pid namespace below ours, by its ``status``."""
    numbers = numbers_in(status)
    return len(numbers) > 1 and numbers[-1] == b"1"


def namespace_of(directory: str) -> int | None:
    """The pid namespace of a process, by inode; None where that can't be known.

    Args:
        directory: the process's, or one of its thread's.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        return os.stat(f"{directory}/ns/pid").st_ino
    except OSError as error:
        if error.errno in GONE:
            raise ProcessLookupError(directory) from None
        return None


def namespaces_above(directory: str) -> tuple[int, ...] | None:
    """The pid namespace of a process and those around it, up to ours, by inode.

    Returns:
        None where they can't be known.

    Raises:
        ProcessLookupError: the process is gone.
    """
    found: list[int] = []
    try:
        fd = os.open(f"{directory}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in GONE:
            raise ProcessLookupError(directory) from None
        return None
    try:
        while len(found) < _DEEPEST:
            found.append(os.fstat(fd).st_ino)
            try:
                parent = fcntl.ioctl(fd, _NS_GET_PARENT)
            except PermissionError:
                break  # that one is ours
            os.close(fd)
            fd = parent
    except OSError:
        return None
    finally:
        os.close(fd)
    return tuple(found)


def inside(proc: str, namespaces: "set[int]") -> dict[int, tuple[int, ...]]:
    """The processes that are in some of these pid namespaces, or in one below, and in which.

    Whose namespaces can't be known counts as in all of them, if it is in one below ours at all,
    and also where not even that can be known, as no more files can be opened.

    Args:
        proc: the proc file system.
        namespaces: by inode; a negative one stands for one that is not known.

    Raises:
        OSError: processes can't be listed, as no more files can be opened.
    """
    found: dict[int, tuple[int, ...]] = {}
    unknown = tuple(one for one in namespaces if one < 0)
    own = namespace_of(f"{proc}/self")
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        directory = f"{proc}/{name}"
        try:
            lowest = namespace_of(directory)
            if lowest is not None and lowest == own:
                continue
            above = namespaces_above(directory) if lowest is not None else None
        except ProcessLookupError:
            continue
        if above is None:
            if _may_be_below(directory):
                found[int(name)] = tuple(namespaces)
        elif unknown or not namespaces.isdisjoint(above):
            found[int(name)] = (*above, *unknown)
    return found


def _may_be_below(directory: str) -> bool:
    """Whether a process is in a pid namespace below ours, as far as can be known."""
    try:
        return len(numbers_in(read_at(f"{directory}/status"))) > 1
    except OSError as error:
        return error.errno in NO_FILES
