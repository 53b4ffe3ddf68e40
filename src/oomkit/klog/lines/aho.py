"""Words looked for by ahocorasick-rs; the one place that imports it."""

from collections.abc import Iterator, Sequence
from functools import cached_property

from ahocorasick_rs import AhoCorasick, BytesAhoCorasick, MatchKind


class Needles:
    """Byte strings that are looked for in a buffer."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        """Look for these; of two that stand at one place the first of them counts."""
        # Leftmost matches are those that the library finds many bytes at a time.
        self._searcher = BytesAhoCorasick(needles, MatchKind.LeftmostFirst)

    def find(self, buffer: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where needles stand between two offsets, and the number of each; they don't overlap."""
        with memoryview(buffer) as view, view[start:end] as part:
            found = self._searcher.find_matches_as_indexes(part)
        return ((start + at, needle) for needle, at, _ in found)


class Words:
    """Strings that are looked for in lines."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    @cached_property
    def _any(self) -> AhoCorasick:
        return AhoCorasick(self._words, MatchKind.LeftmostFirst)

    @cached_property
    def _all(self) -> AhoCorasick:
        return AhoCorasick(self._words)

    def is_in(self, text: str) -> bool:
        """Whether a text has any of them."""
        return bool(self._any.find_matches_as_indexes(text))

    def all_in(self, text: str) -> set[int]:
        """The numbers of those that a text has, also where they overlap."""
        return {n for n, _, _ in self._all.find_matches_as_indexes(text, overlapping=True)}
