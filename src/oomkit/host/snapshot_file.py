"""A snapshot taken elsewhere, read from a file."""

import sys

from oomkit.kernel.snapshot_json import SnapshotError, decode_snapshot
from oomkit.kernel.state import Snapshot

STDIN = "-"


def load_snapshot(path: str) -> Snapshot:
    """Read a snapshot that ``oomkit snapshot`` wrote.

    Args:
        path: the file; ``-`` is standard input.

    Raises:
        SnapshotError: it can't be read or is not a snapshot. The message is one line that
            names the file, the place in it and what was expected.
    """
    if path == STDIN:
        return decode_snapshot(sys.stdin.buffer.read(), "standard input")
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise SnapshotError(f"{path}: {error.strerror}") from None
    return decode_snapshot(text, path)
