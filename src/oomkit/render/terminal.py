"""How text is shown: its width, whether it may be coloured, which characters it may use."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TextIO

from oomkit.printable import printable
from oomkit.records import replace
from oomkit.render.bars import bar as draw_bar
from oomkit.render.document import (
    Bars,
    Command,
    Drawing,
    Field,
    Gauge,
    Part,
    Table,
    Text,
)
from oomkit.render.layout import (
    FALLBACK_COLUMNS,
    Column,
    Piece,
    Terminal,
    cell_len,
    command_lines,
    no_room,
    table,
    wrapped,
)
from oomkit.render.quantities import share

if TYPE_CHECKING:
    from rich.console import Console

LABEL_COLUMNS = 13
"""Width of the names of fields."""

_NAME_COLUMNS = 23
"""Width of the names of bars."""
_BAR_CELLS = 28
_MIN_BAR_CELLS = 6


def console(file: TextIO) -> "Console":
    """Return a console that colours only a terminal, and none under ``NO_COLOR``.

    Off a terminal lines are as wide as ``COLUMNS`` says, else 100 columns, so that files
    and pipes do not depend on the window the command ran in.
    """
    from rich.console import Console

    class _Console(Console):
        def on_broken_pipe(self) -> None:
            # rich would end with status 1, which here is an answer.
            raise  # noqa: PLE0704 - rich calls it where the error is being handled

    is_terminal = file.isatty()
    width = None
    if not is_terminal:
        width = _columns()
    elif shutil.get_terminal_size().columns < 1:
        width = FALLBACK_COLUMNS
    # rich leaves bold and dim under NO_COLOR, which is taken as a wish for plain text.
    plain = bool(os.environ.get("NO_COLOR"))
    return _Console(
        file=file,
        width=width,
        color_system=None if plain else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )


def _columns() -> int:
    """The width of what is no terminal."""
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() and int(columns) > 0 else FALLBACK_COLUMNS


_ASKS_FOR_COLOUR = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""What has rich take a file or a pipe for a terminal."""
_ASCII = str.maketrans({"\u2026": "...", "\u2013": "-", "\u00d7": "x"})


def terminal_of(stream: TextIO) -> Terminal:
    """What fits a stream, by the same rules as :func:`oomkit.render.terminal.console`."""
    if not stream.isatty() and not any(map(os.environ.get, _ASKS_FOR_COLOUR)):
        # Without rich, which takes longer to load than most documents to print.
        encoding = getattr(stream, "encoding", None) or "utf-8"
        return Terminal(width=_columns(), unicode=encoding.lower().startswith("utf"))
    of = console(stream)
    return Terminal(
        width=of.width,
        colour=of.color_system is not None and not of.no_color,
        unicode=of.encoding.startswith("utf"),
    )


def show(document: Iterable[Part], file: TextIO | None = None) -> None:
    """Print a document to a stream, in its width, colours and characters; default: stdout."""
    file = sys.stdout if file is None else file
    file.write(to_text(document, terminal_of(file)))


def to_text(document: Iterable[Part], terminal: Terminal) -> str:
    """A document as text that ends in a newline."""
    lines = []
    for pieces in laid_out(document, terminal):
        if terminal.colour:
            runs = groupby(pieces, key=lambda piece: piece.style)
            lines.append("".join(_coloured(style, run) for style, run in runs))
        else:
            lines.append("".join(piece.text for piece in pieces))
    text = "\n".join([*lines, ""]) if lines else ""
    return in_charset(text.replace("\xa0", " "), terminal)


def plain_lines(document: Iterable[Part], terminal: Terminal) -> list[str]:
    """The lines of a document without styles."""
    return to_text(document, replace(terminal, colour=False)).splitlines()


def laid_out(document: Iterable[Part], terminal: Terminal) -> Iterator[list[Piece]]:
    """Yield the lines of a document, each in pieces of one style."""
    for part in document:
        yield from _SHOWN[type(part)](part, terminal)


def _coloured(style: str, pieces: Iterable[Piece]) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    text = "".join(piece.text for piece in pieces)
    return Style.parse(style).render(text, color_system=ColorSystem.STANDARD) if style else text


def _stripped(pieces: Sequence[Piece]) -> list[Piece]:
    """A line without the blanks at its end."""
    kept = list(pieces)
    while kept and not kept[-1].text.rstrip(" "):
        kept.pop()
    if kept:
        kept[-1] = kept[-1]._replace(text=kept[-1].text.rstrip(" "))
    return kept


def _text(part: Text, terminal: Terminal) -> Iterator[list[Piece]]:
    if part.whole:
        yield [Piece(part.text, part.style)]
        return
    body = part.text.lstrip(" ")
    first = part.first + " " * (len(part.text) - len(body))
    rest = " " * (cell_len(first) + 2) if part.rest is None else part.rest
    for line in wrapped(body, terminal.width, first=first, rest=_indented(rest, terminal)):
        yield [Piece(line.rstrip(" "), part.style)]


def _indented(rest: str, terminal: Terminal) -> str:
    """What stands before a line that continues: nothing, where that would take half the width."""
    return rest if cell_len(rest) < terminal.width // 2 else ""


def _field(part: Field, terminal: Terminal) -> Iterator[list[Piece]]:
    rest = _indented(" " * (LABEL_COLUMNS + len(part.mark)), terminal)
    for i, text in enumerate(part.texts):
        style = part.styles[i] if part.styles else part.style
        first = f"{'' if i else part.name:<{LABEL_COLUMNS}}{part.mark}"
        for line in wrapped(printable(text), terminal.width, first=first, rest=rest):
            yield [Piece(line.rstrip(" "), style)]
    yield from laid_out(part.parts, terminal)


def _table(part: Table, terminal: Terminal) -> Iterator[list[Piece]]:
    columns = list(part.columns)
    if any(part.marks):
        cells = [f"<- {mark}" if mark else "" for mark in part.marks]
        columns.append(Column(heading="", cells=cells))
    for lead in part.leads:
        laid = table(
            columns,
            terminal.width - lead,
            notes=part.notes,
            last=part.last,
            indent=part.indent,
            gap=part.gap,
        )
        if not laid.left_out:
            break
    start = [Piece(" " * lead)] if lead else []
    if any(laid.heading):
        for heading in laid.heading:
            yield _stripped([*start, Piece(heading, part.heading_style)])
    for i, row in enumerate(laid.rows):
        style = part.styles[i] if i < len(part.styles) else ""
        for line in row:
            yield _stripped([*start, *(piece.styled(style) for piece in line)])
    if laid.left_out:
        text = no_room(laid.left_out, part.elsewhere)
        for below in wrapped(text, terminal.width, first=" " * lead, rest=" " * lead):
            yield [Piece(below, part.note_style)]


def _bars(part: Bars, terminal: Terminal) -> Iterator[list[Piece]]:
    wide = terminal.width >= FALLBACK_COLUMNS
    texts = [bar.text + bar.more * (wide or not bar.drawn) for bar in part.rows]
    longest = max((len(t) for t, bar in zip(texts, part.rows, strict=True) if bar.drawn), default=0)
    cells = min(_BAR_CELLS, terminal.width - LABEL_COLUMNS - _NAME_COLUMNS - 9 - longest)
    cells = cells if cells >= _MIN_BAR_CELLS else 0
    start = " " * LABEL_COLUMNS
    for bar, text in zip(part.rows, texts, strict=True):
        drawn = ""
        if cells and bar.drawn:
            full = bar.size / bar.whole if bar.whole > 0 else 0.0
            drawn = draw_bar(full, cells, unicode=terminal.unicode, empty="·") + " "
        elif cells:
            drawn = " " * (cells + 1)
        said = f"{drawn}{share(bar.size, bar.whole):>6}  " if bar.whole else ""
        line = f"{bar.label:<{_NAME_COLUMNS}}{said}{text}"
        for folded in wrapped(
            line.lstrip(" "), terminal.width, first=start, rest=_indented(start, terminal)
        ):
            yield [Piece(folded.rstrip(" "), bar.style)]


def _gauge(part: Gauge, terminal: Terminal) -> Iterator[list[Piece]]:
    cells = max(min(part.cells, terminal.width - cell_len(part.first) - part.room), part.least)
    drawn = draw_bar(part.share, cells, unicode=terminal.unicode and not part.plain)
    text, rest = f"[{drawn}] {part.text}", " " * cell_len(part.first)
    yield from _text(Text(text, "", part.first, rest), terminal)


def _command(part: Command, terminal: Terminal) -> Iterator[list[Piece]]:
    start = " " * part.indent
    comment = Text(printable(f"# {part.lasts}:"), "dim", start, f"{start}#   ")
    yield from _text(comment, terminal)
    for line in command_lines(part.words, terminal.width, start):
        yield [Piece(line)]


def in_charset(text: str, terminal: Terminal) -> str:
    """Text in the characters that the reader can see."""
    if terminal.unicode or text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


_GAP = 2


def has_room(columns: Sequence[Column], terminal: Terminal) -> bool:
    """Whether columns stand beside each other without a word of theirs being broken."""
    return sum(column.least() + _GAP for column in columns) - _GAP <= terminal.width


def _drawing(part: Drawing, terminal: Terminal) -> Iterator[list[Piece]]:
    for pieces in part.draw(terminal):
        yield _stripped(pieces)


_SHOWN: dict[type, Callable[[Any, Terminal], Iterator[list[Piece]]]] = {
    Text: _text,
    Field: _field,
    Table: _table,
    Bars: _bars,
    Gauge: _gauge,
    Command: _command,
    Drawing: _drawing,
}
