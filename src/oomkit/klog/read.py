"""Read logs: every OOM report in them, one record each."""

import gzip
import lzma
import sys
from collections.abc import Iterator
from typing import BinaryIO

from oomkit.klog.records import Report
from oomkit.klog.text import lines_of, reports_of


def read_log(name: str) -> Iterator[Report]:
    """Yield the reports of a log.

    Args:
        name: a file, plain or compressed; ``-`` for standard input.

    Raises:
        OSError: the file can't be read.
    """
    if name == "-":
        yield from read_bytes(sys.stdin.buffer.read(), name)
        return
    with open(name, "rb") as file:
        yield from read_bytes(_unpack(file), name)


def read_bytes(data: bytes, name: str = "-") -> Iterator[Report]:
    """Yield the reports in bytes of a log; ``name`` is what the records call it."""
    yield from reports_of(lines_of(data), name)


def _unpack(file: BinaryIO) -> bytes:
    magic = file.read(6)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.decompress(file.read())
    if magic == b"\xfd7zXZ\x00":
        return lzma.decompress(file.read())
    return file.read()
