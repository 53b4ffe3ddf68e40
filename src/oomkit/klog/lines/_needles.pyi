from collections.abc import Sequence

WIDTH: int

class Searcher:
    def __init__(self, words: Sequence[bytes]) -> None: ...
    def find(
        self, buffer: bytes | bytearray, start: int, end: int, width: int = 2
    ) -> list[tuple[int, int]]: ...

def count_newlines(buffer: bytes | bytearray, start: int, end: int) -> int: ...
