"""How text is shown: its width, whether it may be coloured, which characters it may use."""

import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from oomkit.printable import printable
from oomkit.records import Record
from oomkit.render.layout import Column, no_room, table, unbroken, wrapped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_FALLBACK_COLUMNS = 100


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
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdigit() and int(columns) > 0 else _FALLBACK_COLUMNS
    elif shutil.get_terminal_size().columns < 1:
        width = _FALLBACK_COLUMNS
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


class Page:
    """Lines for people, of any text, in the window's width.

    Attributes:
        width: cells of the window.
    """

    def __init__(self, file: TextIO) -> None:
        self._console = console(file)
        self.width = self._console.width

    def line(self, text: str, style: str = "") -> None:
        """Print a line that was laid out for the width."""
        from rich.text import Text

        self._console.print(Text(text, style), soft_wrap=True)

    def text(self, text: str, style: str = "", *, first: str = "", rest: str | None = None) -> None:
        """Print text of any length; continuation lines are indented.

        Args:
            text: the text; its own indentation is kept.
            style: how a terminal may show it.
            first: what stands before the first line.
            rest: what stands before the others; None: two spaces more than before the first.
        """
        body = text.lstrip(" ")
        first += " " * (len(text) - len(body))
        rest = " " * (len(first) + 2) if rest is None else rest
        for line in wrapped(body, self.width, first=first, rest=rest):
            self.line(line, style)


LABEL_COLUMNS = 13
"""Width of the names of fields."""


class Line(NamedTuple):
    """One line, its style, and the indentation of its continuation lines."""

    text: str = ""
    style: str = ""
    indent: int = 0


def field(name: str, text: str, style: str = "") -> Line:
    """A line with the field's name on the left."""
    return Line(f"{name:<{LABEL_COLUMNS}}{printable(text)}", style, LABEL_COLUMNS)


def under(text: str, style: str = "", *, mark: str = "") -> Line:
    """A line that belongs to the field above."""
    return Line(f"{'':<{LABEL_COLUMNS}}{mark}{printable(text)}", style, LABEL_COLUMNS + len(mark))


def fields(name: str, texts: Sequence[str], style: str = "", *, mark: str = "") -> Iterator[Line]:
    """The lines of one field, its name on the first."""
    for i, text in enumerate(texts):
        line = under(text, style, mark=mark)
        named = f"{name if i == 0 else '':<{LABEL_COLUMNS}}{line.text[LABEL_COLUMNS:]}"
        yield line._replace(text=named)


def print_lines(out: "Console", lines: Iterable[Line]) -> None:
    """Print lines; what does not fit continues on the next line, indented."""
    from rich.text import Text

    for line in lines:
        for part in fold(line, out.width):
            out.print(Text(part, style=line.style), soft_wrap=True)


def fold(line: Line, width: int) -> list[str]:
    """Break a line so that each part fits; the continuation is indented where there is room."""
    indent = line.indent if line.indent < width // 2 else 0
    body = line.text[indent:].lstrip(" ")
    first = line.text[: len(line.text) - len(body)]
    return [part.rstrip() for part in wrapped(body, width, first=first, rest=" " * indent)]


_MIN_COLUMNS = 40

_ASCII = str.maketrans({"\u2026": "...", "\u2013": "-", "\u00d7": "x"})


class Look(Record, frozen=True, kw_only=True):
    """What the reader's terminal can do.

    Attributes:
        width: columns.
        colour: ANSI colours are welcome.
        unicode: block characters and the like can be shown; else ASCII alone is used.
    """

    width: int = _FALLBACK_COLUMNS
    colour: bool = False
    unicode: bool = True


def look_of(stream: TextIO) -> Look:
    """What fits a stream, by the same rules as :func:`oomkit.render.terminal.console`."""
    of = console(stream)
    return Look(
        width=of.width,
        colour=of.color_system is not None and not of.no_color,
        unicode=of.encoding.startswith("utf"),
    )


def render(look: Look, *parts: "RenderableType") -> str:
    """Lay out rich renderables, one under the other, as text that ends in a newline.

    A ``Text`` whose overflow is ``ignore`` stays one line, for the terminal to wrap.
    """
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(
        file=out,
        width=max(look.width, _MIN_COLUMNS),
        force_terminal=look.colour,
        color_system="standard" if look.colour else None,
        no_color=not look.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    for part in parts:
        if isinstance(part, Text) and part.overflow == "ignore":
            console.print(part, no_wrap=True, overflow="ignore", crop=False)
        else:
            console.print(part)
    lines = (line.rstrip() for line in out.getvalue().split("\n"))
    return in_charset("\n".join(lines), look)


def in_charset(text: str, look: Look) -> str:
    """Text in the characters that the reader can see."""
    if look.unicode or text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def paragraph(text: str, look: Look, style: str = "") -> list["RenderableType"]:
    """Text of any length, broken where a number and its unit, or a bar, do not part."""
    from rich.text import Text

    lines = wrapped(unbroken(text), look.width, rest="  ")
    return [Text(line.replace("\xa0", " "), style) for line in lines]


_GAP = 2


def has_room(columns: Sequence[Column], look: Look) -> bool:
    """Whether columns stand beside each other without a word of theirs being broken."""
    return sum(column.least() + _GAP for column in columns) - _GAP <= look.width


def fitted(
    columns: Sequence[Column], look: Look, styles: Sequence[str] = (), *, gap: int = _GAP
) -> list["RenderableType"]:
    """Lay out a table in the width there is, and below it name what was left out of it.

    Args:
        columns: from the left to the right.
        look: what the terminal can do.
        styles: of the rows; default: none.
        gap: cells between two columns.
    """
    from rich.text import Text

    laid = table(columns, look.width, gap=gap)
    shown: list[RenderableType] = [Text(line, style="bold") for line in laid.heading]
    for i, row in enumerate(laid.rows):
        style = styles[i] if i < len(styles) else ""
        for line in row:
            text = Text.assemble(*line, style=style)
            text.rstrip()
            shown.append(text)
    if laid.left_out:
        shown.append(Text(no_room(laid.left_out), style="dim"))
    return shown
