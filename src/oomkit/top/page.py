"""The lines of the live view's page, for a window of a given size; knows no terminal."""

from collections.abc import Sequence

import msgspec
from rich.cells import cell_len, chop_cells

from oomkit.kernel.rules import RuleSet
from oomkit.printable import printable
from oomkit.render.document import Part, Table
from oomkit.render.layout import (
    ELLIPSIS,
    Piece,
    Terminal,
    no_room,
    table,
    wrapped,
)
from oomkit.render.terminal import laid_out
from oomkit.top.documents import header
from oomkit.top.monitor import Look
from oomkit.top.rows import TABS, Rows, Shown, rows_of

_MIN_ROWS = 6
"""Lines of the table for which the lines above it give way."""
KEYS = (
    "q quit", "1 2 3 tab view", "enter see", "a adjust", "s sort", "r reverse", "/ filter",
    "space look now",
)  # fmt: skip


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of the window.

    Attributes:
        lines: as many as the window has.
        keys: what the rows are about, in their order.
        visible: those of them that are in the window.
    """

    lines: list[list[Piece]]
    keys: Sequence[int | str]
    visible: Sequence[int | str]


def laid_out_page(
    look: Look, shown: Shown, rules: RuleSet, terminal: Terminal, height: int
) -> Page:
    """Lay the page out, and scroll the table so that its cursor is in the window.

    Args:
        look: what was found.
        shown: what the user wants to see; the row under the cursor and the first row are set.
        rules: the kernel's.
        terminal: the window.
        height: its lines.
    """
    rows = rows_of(look, shown, rules)
    keys, foot = rows.keys, _key_lines(terminal)
    chosen = keys.index(shown.chosen) if shown.chosen in keys else 0
    shown.chosen = keys[chosen] if keys and shown.chosen is not None else None
    # No row takes less than a line, so that not more of them than lines need to be laid out.
    shown.first = max(0, min(shown.first, chosen, len(keys) - height), chosen - height + 1)
    laid = _laid_table(rows.part(shown.first, shown.first + height), terminal)
    foot = [*_text_lines(laid.left_out, terminal), *foot]
    titles = _titles(rows, shown, len(keys), terminal.width)
    fixed = len(titles) + len(laid.heading) + len(foot)
    above = _cut(list(laid_out(header(look), terminal)), height - fixed)
    room = max(1, height - len(above) - fixed)
    lines = laid.rows
    while sum(map(len, lines[: chosen - shown.first + 1])) > room and shown.first < chosen:
        lines = lines[1:]
        shown.first += 1
    lines = _whole_rows(lines, room)
    last = shown.first + len(lines)
    under = [
        _under_cursor(line, terminal.width) if i == chosen and keys else line
        for i, row in enumerate(lines, shown.first)
        for line in row
    ]
    titles = _titles(rows, shown, last, terminal.width)
    blank: list[list[Piece]] = [[]] * (room - len(under))
    page = [*above, *titles, *laid.heading, *under, *blank, *foot]
    if len(page) > height:
        sign = f"({len(page) - height + 1} more lines in a higher window)"
        page = [*page[: height - 1], [Piece(sign, "dim")]]
    return Page(
        lines=[fitted(line, terminal.width) for line in page],
        keys=keys,
        visible=keys[shown.first : last],
    )


def fitted(line: Sequence[Piece], width: int) -> list[Piece]:
    """A line of at most ``width`` cells; where something is missing it ends with an ellipsis."""
    if sum(cell_len(piece.text) for piece in line) <= width:
        return list(line)
    made, room = [], width - 1
    for piece in line:
        size = cell_len(piece.text)
        if size > room:
            begun = chop_cells(piece.text, room)[0] if room > 1 else piece.text[:room]
            begun = begun if cell_len(begun) <= room else ""
            made.append(Piece(begun + ELLIPSIS, piece.style))
            break
        made.append(piece)
        room -= size
    return made


def folded(line: Sequence[Piece], width: int) -> list[list[Piece]]:
    """A line as so many that each fits; of what must not be broken nothing is lost."""
    lines: list[list[Piece]] = [[]]
    room = width
    for piece in line:
        for i, text in enumerate(chop_cells(piece.text, width) if piece.text else []):
            if i or cell_len(text) > room:
                lines.append([])
                room = width
            lines[-1].append(Piece(text, piece.style))
            room -= cell_len(text)
    return lines


def _whole_rows(rows: list[list[list[Piece]]], room: int) -> list[list[list[Piece]]]:
    """The rows of which all lines have room; at least one, cut with a sign if it has to be."""
    used = count = 0
    for row in rows:
        used += len(row)
        if used > room:
            break
        count += 1
    if count or not rows:
        return rows[:count]
    return [[*rows[0][: room - 1], [Piece("(more lines in a higher window)", "dim")]]]


class _Laid(msgspec.Struct, frozen=True, kw_only=True):
    """A table laid out: the lines of the headings, those of each row, and what had no room."""

    heading: list[list[Piece]]
    rows: list[list[list[Piece]]]
    left_out: str


def _laid_table(part: Part, terminal: Terminal) -> _Laid:
    if not isinstance(part, Table):
        return _Laid(heading=[], rows=[list(laid_out([part], terminal))], left_out="")
    laid = table(
        part.columns,
        terminal.width,
        notes=part.notes,
        last=part.last,
        indent=part.indent,
        gap=part.gap,
    )
    rows = []
    for i, row in enumerate(laid.rows):
        style = part.styles[i] if i < len(part.styles) else ""
        rows.append([[piece.styled(style) for piece in line] for line in row])
    return _Laid(
        heading=[[Piece(text, part.heading_style)] for text in laid.heading],
        rows=rows,
        left_out=no_room(laid.left_out) if laid.left_out else "",
    )


def _text_lines(text: str, terminal: Terminal) -> list[list[Piece]]:
    return [[Piece(line, "dim")] for line in wrapped(text, terminal.width)] if text else []


def _key_lines(terminal: Terminal) -> list[list[Piece]]:
    items = "  ".join(key.replace(" ", "\xa0") for key in KEYS)
    lines = wrapped(items.replace("  ", " \xa0"), terminal.width)
    return [[Piece(line.strip("\xa0 ").replace("\xa0", " "), "dim")] for line in lines]


def _cut(above: list[list[Piece]], height: int) -> list[list[Piece]]:
    """The lines above the table, fewer where the window is too low for them."""
    room = max(2, height - _MIN_ROWS)
    if len(above) <= room:
        return above
    hidden = len(above) - room + 1
    return [*above[: room - 1], [Piece(f"({hidden} more lines in a higher window)", "dim")]]


def _titles(rows: Rows, shown: Shown, last: int, width: int) -> list[list[Piece]]:
    """Which table it is, and which of its rows are in the window, up to number ``last``."""
    tabs = "  ".join(
        f"[{i} {tab}]" if tab == shown.tab else f"{i} {tab}" for i, tab in enumerate(TABS, 1)
    )
    order = f"by {shown.sort_name}{', reversed' if shown.reverse else ''}"
    counted = f"{shown.first + 1}-{last} of {len(rows.keys)}" if rows.keys else "none"
    if shown.filter:
        counted += f" (filter {printable(shown.filter)!r}, {rows.of} in all)"
    text = f"{tabs}  {order}  {counted}"
    return [[Piece(line.rstrip(), "reverse")] for line in wrapped(text, width, rest="  ")]


def _under_cursor(line: Sequence[Piece], width: int) -> list[Piece]:
    used = sum(cell_len(piece.text) for piece in line)
    filled = [*line, Piece(" " * max(0, width - used))]
    return [Piece(piece.text, f"{piece.style} reverse".strip()) for piece in filled]
