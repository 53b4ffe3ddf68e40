"""Tables that fit the terminal: whole columns are left out, and named; numbers are never cut."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from oomkit.report.look import Look

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_GAP = 2
_LEAST_WORDS = 12


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a table.

    Attributes:
        heading: what stands above it; lines apart by newlines.
        cells: one a row.
        rank: columns of the highest rank are left out first; 0: it is never left out.
        words: its cells are words, which may be wrapped; else each is kept in one line.
        right: aligned to the right.
        name: how it is called when it is left out; empty: by its heading.
    """

    heading: str
    cells: Sequence["str | Text"]
    rank: int = 1
    words: bool = False
    right: bool = False
    name: str = ""


def fitted(
    columns: Sequence[Column], look: Look, styles: Sequence[str] = ()
) -> list["RenderableType"]:
    """Lay out a table in the width there is, and below it name what was left out of it.

    Args:
        columns: from the left to the right; those without rank are kept.
        look: what the terminal can do.
        styles: of the rows; default: none.
    """
    from rich.table import Table
    from rich.text import Text

    shown = list(columns)
    while _width(shown) > look.width and any(column.rank for column in shown):
        shown.remove(max(reversed(shown), key=lambda column: column.rank))
    tight = _width(shown) > look.width
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column in shown:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(
            Text(column.heading),
            justify=justify,
            overflow="fold",
            no_wrap=not column.words and not tight,
            min_width=None if tight else _least(column),
        )
    for i, row in enumerate(zip(*(column.cells for column in shown), strict=True)):
        table.add_row(*row, style=styles[i] if i < len(styles) else "")
    out = [" ".join((column.name or column.heading).split()) for column in columns]
    left_out = [name for name, column in zip(out, columns, strict=True) if column not in shown]
    if not left_out:
        return [table]
    note = f"left out, for want of width: {', '.join(left_out)}"
    return [table, Text(note, style="dim")]


def _width(columns: Sequence[Column]) -> int:
    return sum(map(_least, columns)) + _GAP * (len(columns) - 1)


def _least(column: Column) -> int:
    """The least cells it can do with: its longest line, or for words its longest word."""
    from rich.cells import cell_len

    texts = [column.heading, *(str(cell) for cell in column.cells)]
    if not column.words:
        return max(cell_len(line) for text in texts for line in text.split("\n"))
    whole = max(cell_len(line) for text in texts for line in text.split("\n"))
    longest = max((cell_len(word) for text in texts for word in text.split()), default=0)
    return max(longest, min(whole, _LEAST_WORDS))
