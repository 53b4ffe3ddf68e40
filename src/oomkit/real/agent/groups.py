"""The memory cgroups of a run: made before it, changed on the way, removed after it."""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MARK = "trusted.oomkit"
"""Attribute of a run's topmost cgroup, which only root can set: boot, pid and start of its run."""
_REMOVAL_S = 10.0


def make(groups: Iterable[dict[str, Any]]) -> None:
    """Make each group's directory and write its files, in order.

    Raises:
        OSError: it can't be made; ``filename`` says where.
    """
    for group in groups:
        os.mkdir(group["path"])
        if "mark" in group:
            _mark(group["path"], group["mark"])
        for name, value in group["files"]:
            write(os.path.join(group["path"], name), value)


def _mark(path: str, mark: bytes) -> None:
    try:  # noqa: SIM105 - contextlib would cost each task 0.6 MB
        os.setxattr(path, MARK, mark)
    except OSError:
        pass  # not allowed here; then it is not taken for a run's


def write(path: str, value: str) -> None:
    """Write a cgroup's or the kernel's knob; where it begins with a device, by that one's number.

    Raises:
        OSError: it refuses; ``filename`` says where.
    """
    if value.startswith("/dev/"):
        device, _, limit = value.partition(" ")
        number = os.stat(device).st_rdev
        value = f"{os.major(number)}:{os.minor(number)} {limit}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def members(path: str) -> list[int]:
    """Process ids in a group; none if it is gone."""
    try:
        with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
            return [int(line) for line in file]
    except OSError:
        return []


def remove(paths: Iterable[str]) -> list[str]:
    """Kill what is in the groups and remove them, the innermost first; returns what is left.

    A v1 group whose OOM killer is off holds its tasks in a wait that a fatal signal ends.
    """
    left = sorted((p for p in paths if os.path.isdir(p)), key=len, reverse=True)
    end = time.monotonic() + _REMOVAL_S
    while left and time.monotonic() < end:
        for path in left:
            for pid in members(path):
                try:  # noqa: SIM105 - contextlib would cost each task 0.6 MB
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        left = [path for path in left if not _removed(path)]
        if left:
            time.sleep(0.02)
    return left


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
