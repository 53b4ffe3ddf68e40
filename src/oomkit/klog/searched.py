"""Have a large file searched by other processes: for all that a reader looks for.

It loads little, so that the search can begin before the reader is there.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from oomkit.klog.lines.ahead import LARGE_BYTES, SEGMENT_BYTES, Ahead, Search
from oomkit.klog.lines.packed import MAGIC_BYTES, PACKED
from oomkit.klog.userspace import needles

if TYPE_CHECKING:
    from io import FileIO
    from typing import BinaryIO

    from oomkit.klog.lines.sources import Log


def begin_search(name: str, searchers: int, *, least_bytes: int = LARGE_BYTES) -> Ahead | None:
    """Begin to search a file, if it is a plain one of some size.

    Args:
        name: the file.
        searchers: how many processes do that.
        least_bytes: that size.

    Returns:
        what :func:`searched` goes on with; None where there is nothing to search, or no right to.
    """
    if searchers < 2:
        return None
    try:
        file = open(name, "rb", buffering=0)  # noqa: SIM115  # the search's, which closes it
    except OSError:
        return None
    try:
        size = _size(file)
        if size >= least_bytes and not os.pread(file.fileno(), MAGIC_BYTES, 0).startswith(PACKED):
            return Ahead(_search(file, SEGMENT_BYTES), file, size, searchers, own=file)
    except OSError:
        pass  # who reads it says so
    file.close()
    return None


@contextmanager
def searched(
    log: "Log",
    searchers: int,
    begun: Ahead | None = None,
    *,
    least_bytes: int = LARGE_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
) -> Iterator[Ahead | None]:
    """Have a log searched by other processes, if it is a plain file of some size.

    Args:
        log: what is searched, for what others say of a death, too.
        searchers: how many processes do that.
        begun: what :func:`begin_search` returned for a log of this name.
        least_bytes: that size.
        segment_bytes: how much is searched at a time.
    """
    file = log.plain if log.name != "-" else None
    ahead = begun
    if begun is not None and (file is None or not begun.is_of(file.fileno())):
        begun.close()
        ahead = None
    if ahead is not None:
        ahead.read_by(log)
    elif file is not None and searchers > 1 and (size := _size(file)) >= least_bytes:
        ahead = Ahead(_search(file, segment_bytes), log, size, searchers)
    try:
        yield ahead
    finally:
        if ahead is not None:
            ahead.close()


def _search(file: "BinaryIO | FileIO", segment_bytes: int) -> Search:
    return Search(file.fileno(), needles.NEEDLES, needles.is_worth, segment_bytes)


def _size(file: "BinaryIO | FileIO") -> int:
    """The size of a file that can be read from any place; 0 for another."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
