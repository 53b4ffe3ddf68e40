"""Read logs: every OOM report in them, one record each."""

import io
from collections.abc import Iterator

from oomkit.klog.records import Report
from oomkit.klog.scan import KERNEL_NEEDLES, Readable, Scanner
from oomkit.klog.sources import open_log
from oomkit.klog.text import Parser


def read_log(name: str | None) -> Iterator[Report]:
    """Yield the reports of a log, in the order in which they end.

    Args:
        name: a file, plain or compressed; ``-`` for standard input; None for the running
            kernel's log.

    Raises:
        LogError: the log can't be read.
    """
    with open_log(name) as log:
        yield from read_stream(log, log.name)


def read_bytes(data: bytes, name: str = "-") -> Iterator[Report]:
    """Yield the reports in bytes of a log; ``name`` is what the records call it."""
    yield from read_stream(io.BytesIO(data), name)


def read_stream(source: Readable, name: str) -> Iterator[Report]:
    """Yield the reports of anything that can be read into a buffer."""
    parser = Parser(name)
    for _ in Scanner(source, parser, KERNEL_NEEDLES).run():
        yield from parser.drain()
    yield from parser.finish()
