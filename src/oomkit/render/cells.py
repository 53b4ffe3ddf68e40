"""How many cells of a window text takes: by rich where it is installed, else by Unicode."""

import unicodedata
from typing import TYPE_CHECKING

__all__ = ["cell_len", "chop_cells"]


def _plain_len(text: str) -> int:
    """The cells that a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _plain_chop(text: str, width: int) -> list[str]:
    """Cut a text into pieces of at most ``width`` cells, a character at least."""
    pieces: list[str] = []
    left = 0
    for character in text:
        cells = _cells(character)
        if not pieces or cells > left:
            pieces.append("")
            left = width
        pieces[-1] += character
        left -= cells
    return pieces


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cell_len(text: str) -> int:
    """The cells that a text takes."""
    # Nearly all texts, and four times as fast as rich looks at them.
    return len(text) if text.isascii() and text.isprintable() else _len(text)


if TYPE_CHECKING:
    from rich.cells import cell_len as _len
    from rich.cells import chop_cells
else:
    try:
        from rich.cells import cell_len as _len
        from rich.cells import chop_cells
    except ImportError:
        _len, chop_cells = _plain_len, _plain_chop
