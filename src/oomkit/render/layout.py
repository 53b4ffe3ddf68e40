"""Lines for a window of a given width: nothing is cut without a sign, numbers never are.

How many cells text takes is rich's to say where it is installed, else Unicode's.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oomkit.records import Record

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


ELLIPSIS = "…"
_NARROWEST_TEXT = 6
_NARROWEST_WORDS = 12
_NARROWEST_LAST = 16


FALLBACK_COLUMNS = 100
"""Width of a window that does not say its width."""


class Terminal(Record, frozen=True, kw_only=True):
    """What the reader's terminal can do.

    Attributes:
        width: columns.
        colour: ANSI colours are welcome.
        unicode: block characters and the like can be shown; else ASCII alone is used.
    """

    width: int = FALLBACK_COLUMNS
    colour: bool = False
    unicode: bool = True


class Column(Record, kw_only=True):
    """A column of a table.

    Attributes:
        heading: its name; lines apart by newlines.
        cells: one a row.
        styles: how a terminal may show the cells; empty: no style of their own.
        right: aligned to the right, as numbers are.
        leaves: columns with a lower number are left out sooner where the window is narrow;
            0: never.
        words: its cells are words, which go on in the next line before a column is left out.
        folds: its cells are names, which go on in the next line once no column can be left out.
        name: how it is called when it is left out; empty: by its heading.
    """

    heading: str
    cells: Sequence[str]
    styles: Sequence[str] = ()
    right: bool = False
    leaves: int = 0
    words: bool = False
    folds: bool = False
    name: str = ""

    def width(self) -> int:
        """Cells its widest text takes."""
        return max(map(cell_len, (*self.heading.split("\n"), *self.cells)))

    def least(self) -> int:
        """Cells it can do with as long as other columns can be left out."""
        if not self.words:
            return self.width()
        words = (word for text in (self.heading, *self.cells) for word in text.split())
        return max((min(self.width(), _NARROWEST_WORDS), *map(cell_len, words)))


class Piece(NamedTuple):
    """A part of a line, and how a terminal may show it."""

    text: str
    style: str = ""

    def styled(self, style: str) -> "Piece":
        """The same, in this style as far as it has none of its own."""
        return self if self.style or not style else Piece(self.text, style)


class Laid(Record, frozen=True, kw_only=True):
    """A table laid out.

    Attributes:
        heading: the lines of headings.
        rows: the lines of each row.
        left_out: names of the columns there was no room for.
    """

    heading: list[str]
    rows: list[list[list[Piece]]]
    left_out: list[str]

    def row_lines(self) -> Iterator[list[str]]:
        """Yield each row's lines as plain text."""
        for row in self.rows:
            yield ["".join(piece.text for piece in line).rstrip() for line in row]


def no_room(names: Sequence[str], elsewhere: str = "a wider window shows them") -> str:
    """What is said below a table that columns were left out of."""
    return f"(no room for {', '.join(names)}; {elsewhere})"


def wrapped(text: str, width: int, *, first: str = "", rest: str | None = None) -> list[str]:
    """Break a text into lines at its spaces, or inside a word that is too long for a line.

    Args:
        text: one line of any length.
        width: cells of the window.
        first: what stands before the first line.
        rest: what stands before the others; None: as many spaces.
    """
    if not text.startswith(" ") and cell_len(first) + cell_len(text) <= width:
        return [first + text]
    rest = " " * cell_len(first) if rest is None else rest
    lines: list[str] = []
    start, line = first, ""
    if text.isascii() and text.isprintable() and "  " not in text and text[:1] != " ":
        # Nearly all texts: a character takes a cell, and no word has to be looked at by itself.
        room = max(width - cell_len(start), _NARROWEST_TEXT)
        while len(text) > room and (end := text.rfind(" ", 1, room + 1)) > 0:
            lines.append(start + text[:end])
            start, text = rest, text[end + 1 :]
            room = max(width - cell_len(start), _NARROWEST_TEXT)
        if len(text) <= room:
            return [*lines, start + text]
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


def command_lines(words: Sequence[str], width: int, start: str) -> list[str]:
    """Break a command between its words, so that a shell still takes it for one."""
    whole = start + " ".join(words)
    if cell_len(whole) <= width:
        return [whole]
    lines, line = [], start
    for word in words:
        begun = line.strip()
        if begun and line.endswith("&&"):
            lines.append(line)
            line = f"{start}  {word}"
        elif begun and cell_len(line) + 1 + cell_len(word) + len(" &&") > width and word != "&&":
            lines.append(f"{line} \\")
            line = f"{start}    {word}"
        else:
            line += f" {word}" if begun else word
    return [*lines, line]


def unbroken(text: str) -> str:
    """Text in which no line breaks between a number and its unit, or before a bar."""
    return _UNIT.sub("\xa0", text)


_UNIT = re.compile(r"(?<=\d) (?=(?:[KMGTPE]i?B|B|s|ms|min|h|d|%|pages?)\b)| (?=\|)")


def shortened(text: str, width: int) -> str:
    """A text of at most ``width`` cells; where something is missing it ends with an ellipsis."""
    if cell_len(text) <= width:
        return text
    return chop_cells(text, max(width - 1, 1))[0] + ELLIPSIS


def table(
    columns: Sequence[Column],
    width: int,
    *,
    notes: Sequence[Column] = (),
    last: Column | None = None,
    indent: int = 0,
    gap: int = 1,
) -> Laid:
    """Lay out a table: numbers are never cut, columns there is no room for are left out.

    Args:
        columns: the columns proper.
        width: cells of the window.
        notes: columns of text; those for which there is no room stand below each row.
        last: text that is shortened to the room there is, behind the row or below it.
        indent: number of the column under which what stands below a row begins.
        gap: cells between two columns.
    """
    shown, left_out = _fitting(columns, width, gap)
    widths = _widths(shown, width - gap * (len(shown) - 1))
    room = width - sum(widths) - gap * (len(widths) - 1)
    below: list[Column] = []
    for note in notes:
        needs = note.width() + gap
        if needs <= room:
            shown.append(note)
            widths.append(needs - gap)
            room -= needs
        else:
            below.append(note)
    if last is not None and room > _NARROWEST_LAST and not below:
        size = min(last.width(), room - gap)
        cells = [shortened(cell, size) for cell in last.cells]
        shown.append(Column(heading=last.heading, cells=cells))
        widths.append(size)
        last = None
    start = " " * min(sum(widths[:indent]) + gap * indent, max(width // 4, 2))
    rows = []
    for i in range(len(shown[0].cells)):
        lines = _row([_pieces(column, i, size) for column, size in zip(shown, widths, strict=True)],
                     [column.styles[i] if column.styles else "" for column in shown],
                     shown, widths, gap)  # fmt: skip
        text = " | ".join(filter(None, (note.cells[i] for note in below)))
        if text:
            lines += [[Piece(line)] for line in wrapped(text, width, first=start)]
        if last is not None and last.cells[i]:
            end = shortened(last.cells[i], max(width - len(start), 2))
            lines.append([Piece(start + end)])
        rows.append(lines)
    heads = [_heading(column, size) for column, size in zip(shown, widths, strict=True)]
    high = max(map(len, heads))
    heads = [[""] * (high - len(lines)) + lines for lines in heads]
    heading = _row(heads, [""] * len(shown), shown, widths, gap)
    return Laid(
        heading=["".join(piece.text for piece in line).rstrip() for line in heading],
        rows=rows,
        left_out=left_out,
    )


def _fitting(columns: Sequence[Column], width: int, gap: int) -> tuple[list[Column], list[str]]:
    shown, out = list(columns), []
    while sum(column.least() + gap for column in shown) - gap > width:
        leaving = [column for column in reversed(shown) if column.leaves]
        if not leaving:
            break
        out.append(min(leaving, key=lambda column: column.leaves))
        shown.remove(out[-1])
    names = [
        (column.name or column.heading, any(column is one for one in out)) for column in columns
    ]
    return shown, [" ".join(name.split()) for name, is_out in names if is_out]


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """How wide each column is: as its texts, where words and names have to give way less."""
    widths = [column.width() for column in columns]
    for yields, least in (
        ("words", [column.least() for column in columns]),
        ("folds", [_NARROWEST_TEXT] * len(columns)),
        ("words", [_NARROWEST_TEXT] * len(columns)),
    ):
        while (over := sum(widths) - room) > 0:
            wide = [
                i for i, column in enumerate(columns)
                if getattr(column, yields) and widths[i] > least[i]
            ]  # fmt: skip
            if not wide:
                break
            widest = max(wide, key=lambda i: widths[i])
            widths[widest] -= min(over, widths[widest] - least[widest])
    return widths


def _pieces(column: Column, i: int, size: int) -> list[str]:
    cell = column.cells[i]
    if cell_len(cell) <= size:
        return [cell]
    if column.words:
        return wrapped(cell, size)
    return chop_cells(cell, size) if column.folds else [cell]


def _heading(column: Column, size: int) -> list[str]:
    return [piece for line in column.heading.split("\n") for piece in
            (wrapped(line, size) if column.words else [line])]  # fmt: skip


def _row(
    pieces: Sequence[Sequence[str]],
    styles: Sequence[str],
    columns: Sequence[Column],
    widths: Sequence[int],
    gap: int,
) -> list[list[Piece]]:
    lines = []
    for i in range(max(map(len, pieces))):
        line: list[Piece] = []
        for texts, style, column, size in zip(pieces, styles, columns, widths, strict=True):
            if line:
                line.append(Piece(" " * gap))
            text = texts[i] if i < len(texts) else ""
            line.append(Piece(_padded(text, size, right=column.right), style))
        lines.append(line)
    return lines


def _padded(text: str, size: int, *, right: bool) -> str:
    # A space that no line may break at is a space all the same.
    text = text.replace("\xa0", " ")
    spaces = " " * max(size - cell_len(text), 0)
    return spaces + text if right else text + spaces
