"""Words looked for by C of our own, which compiled wheels have; the one place that imports it."""

from collections.abc import Iterator, Sequence

from oomkit.klog.lines._needles import WIDTH, Searcher, count_newlines

__all__ = ["IS_WIDE", "Needles", "count_newlines"]

IS_WIDE = WIDTH > 0
"""It looks at 16 or 32 bytes at once here."""


class Needles:
    """Byte strings that are looked for in a buffer."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        """Look for these; of two that stand at one place the first of them counts."""
        self._searcher = Searcher(needles)

    def find(self, buffer: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where needles stand between two offsets, and the number of each; they don't overlap."""
        return iter(self._searcher.find(buffer, start, end))
