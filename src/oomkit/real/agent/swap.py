"""Swap areas: their header, and one in compressed memory."""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = 4096
_ZRAM = "/dev/zram0"
_PREFER = 0x8000 | 100
"""Flags of swapon(): with a priority above the disk's."""


def header(pages: int) -> bytes:
    """The first page of a swap area with ``pages`` usable pages behind it."""
    page = bytearray(PAGE)
    struct.pack_into("<III", page, 1024, 1, pages, 0)
    page[-10:] = b"SWAPSPACE2"
    return bytes(page)


def add_zram(size: int, swapon: Callable[[str, int], None]) -> None:
    """Make a zram device of a size and swap to it.

    Raises:
        OSError: the kernel has no zram, or refuses it.
    """
    fd = os.open("/sys/block/zram0/disksize", os.O_WRONLY)
    os.write(fd, str(size + PAGE).encode())
    os.close(fd)
    fd = os.open(_ZRAM, os.O_WRONLY)
    os.write(fd, header(size // PAGE))
    os.fsync(fd)
    os.close(fd)
    swapon(_ZRAM, _PREFER)
