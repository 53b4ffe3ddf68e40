"""Words looked for by the standard library."""

import re
from collections.abc import Iterator, Sequence


class Needles:
    """Byte strings that are looked for in a buffer."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        """Look for these; of two that stand at one place the first of them counts."""
        self._needles = needles
        self._any = re.compile(_one_of(needles))

    def find(self, buffer: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where needles stand between two offsets, and the number of each; they don't overlap."""
        return iter(list(self._find(buffer, start, end)))

    def _find(self, buffer: bytearray, start: int, end: int) -> Iterator[tuple[int, int]]:
        search, needles = self._any.search, self._needles
        while (match := search(buffer, start, end)) is not None:
            at = match.start()
            for number, needle in enumerate(needles):
                if buffer.startswith(needle, at, end):
                    yield at, number
                    start = at + len(needle)
                    break


def _one_of(words: Sequence[bytes]) -> bytes:
    """An expression that matches where any of the words begins.

    Words that begin alike share that beginning, so that no byte is compared twice: several times as
    fast as one alternative a word.
    """
    if not words or b"" in words:
        return b"" if words else b"(?!)"
    tails: dict[bytes, list[bytes]] = {}
    for word in words:
        tails.setdefault(word[:1], []).append(word[1:])
    parts = [re.escape(first) + _one_of(rest) for first, rest in tails.items()]
    return parts[0] if len(parts) == 1 else b"(?:" + b"|".join(parts) + b")"


class Words:
    """Strings that are looked for in lines."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def is_in(self, text: str) -> bool:
        """Whether a text has any of them."""
        return any(word in text for word in self._words)

    def all_in(self, text: str) -> set[int]:
        """The numbers of those that a text has, also where they overlap."""
        return {number for number, word in enumerate(self._words) if word in text}
