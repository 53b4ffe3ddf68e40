"""Lines for a window of a given width: nothing is cut without a sign, numbers never are."""

from collections.abc import Sequence

import msgspec
from rich.cells import cell_len, chop_cells

ELLIPSIS = "…"
_NARROWEST_TEXT = 6
_NARROWEST_LAST = 16


class Column(msgspec.Struct, kw_only=True):
    """A column of a table.

    Attributes:
        heading: its name.
        cells: one a row.
        right: aligned to the right, as numbers are.
        leaves: columns with a lower number are left out sooner where the window is narrow;
            0: never.
        folds: its cells may go on in the next line.
    """

    heading: str
    cells: Sequence[str]
    right: bool = False
    leaves: int = 0
    folds: bool = False

    def width(self) -> int:
        """Cells its widest text takes."""
        return max(map(cell_len, (self.heading, *self.cells)))


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table laid out.

    Attributes:
        heading: the line of headings.
        rows: the lines of each row.
        left_out: headings of the columns there was no room for.
    """

    heading: str
    rows: list[list[str]]
    left_out: list[str]


def wrapped(text: str, width: int, *, first: str = "", rest: str | None = None) -> list[str]:
    """Break a text into lines at its spaces, or inside a word that is too long for a line.

    Args:
        text: one line of any length.
        width: cells of the window.
        first: what stands before the first line.
        rest: what stands before the others; None: as many spaces.
    """
    rest = " " * cell_len(first) if rest is None else rest
    lines: list[str] = []
    start, line = first, ""
    for word in text.split(" "):
        room = max(width - cell_len(start), _NARROWEST_TEXT)
        if line and cell_len(line) + 1 + cell_len(word) > room:
            lines.append(start + line)
            start, line = rest, ""
            room = max(width - cell_len(start), _NARROWEST_TEXT)
            pieces = chop_cells(word, room) or [""]
        elif line:
            line += f" {word}"
            continue
        else:
            pieces = chop_cells(word, room) or [""]
        for piece in pieces[:-1]:
            lines.append(start + piece)
            start = rest
        line = pieces[-1]
    lines.append(start + line)
    return lines


def shortened(text: str, width: int) -> str:
    """A text of at most ``width`` cells; where something is missing it ends with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return chop_cells(text, max(width - 1, 1))[0] + ELLIPSIS


def table(
    columns: Sequence[Column],
    notes: Sequence[Column],
    last: Column | None,
    width: int,
    *,
    indent: int,
) -> Table:
    """Lay out a table.

    Args:
        columns: the columns proper; those for which there is no room are left out.
        notes: columns of text; those for which there is no room stand below each row.
        last: text that is shortened to the room there is, behind the row or below it.
        width: cells of the window.
        indent: number of the column under which what stands below a row begins.
    """
    shown, left_out = _fitting(columns, width)
    widths = [column.width() for column in shown]
    over = sum(widths) + len(widths) - 1 - width
    if over > 0:
        widths = [
            max(w - over, _NARROWEST_TEXT) if column.folds and w > _NARROWEST_TEXT else w
            for column, w in zip(shown, widths, strict=True)
        ]
    room = width - sum(widths) - len(widths) + 1
    below: list[Column] = []
    for note in notes:
        needs = note.width() + 1
        if needs <= room:
            shown.append(note)
            widths.append(needs - 1)
            room -= needs
        else:
            below.append(note)
    if last is not None and room > _NARROWEST_LAST and not below:
        size = min(last.width(), room - 1)
        cells = [shortened(cell, size) for cell in last.cells]
        shown.append(Column(heading=last.heading, cells=cells))
        widths.append(size)
        last = None
    start = " " * min(sum(widths[:indent]) + indent, max(width // 4, 2))
    rows = []
    for i in range(len(shown[0].cells)):
        lines = _row([column.cells[i] for column in shown], shown, widths)
        text = " | ".join(filter(None, (note.cells[i] for note in below)))
        if text:
            lines += wrapped(text, width, first=start)
        if last is not None and last.cells[i]:
            lines.append(start + shortened(last.cells[i], max(width - len(start), 2)))
        rows.append(lines)
    return Table(
        heading=_row([column.heading for column in shown], shown, widths)[0],
        rows=rows,
        left_out=left_out,
    )


def _fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    shown, left_out = list(columns), []
    while sum(column.width() + 1 for column in shown) - 1 > width:
        leaving = [column for column in shown if column.leaves]
        if not leaving:
            break
        first = min(leaving, key=lambda column: column.leaves)
        shown.remove(first)
        left_out.append(first.heading)
    return shown, left_out


def _row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    pieces = [
        chop_cells(cell, size) if column.folds and cell_len(cell) > size else [cell]
        for cell, column, size in zip(cells, columns, widths, strict=True)
    ]
    lines = []
    for i in range(max(map(len, pieces))):
        line = [
            _padded(piece[i] if i < len(piece) else "", size, right=column.right)
            for piece, column, size in zip(pieces, columns, widths, strict=True)
        ]
        lines.append(" ".join(line).rstrip())
    return lines


def _padded(text: str, size: int, *, right: bool) -> str:
    spaces = " " * max(size - cell_len(text), 0)
    return spaces + text if right else text + spaces
