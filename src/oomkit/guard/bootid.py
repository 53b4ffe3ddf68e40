"""Which boot of which machine this is."""

from __future__ import annotations

import os

_PATH = "/proc/sys/kernel/random/boot_id"


def read_boot_id() -> bytes:
    """The kernel's boot id, 36 characters; empty where there is no proc file system."""
    try:
        fd = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 64).strip()
    finally:
        os.close(fd)
