"""Text in columns and colours that a terminal, a pipe and a narrow window can all show."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from oomkit.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

LABEL_COLUMNS = 13
"""Width of the words on the left."""

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL, _EMPTY = "█", "·"


class Line(NamedTuple):
    """One line, its style, and how far what follows a wrap is indented."""

    text: str = ""
    style: str = ""
    indent: int = 0


def field(name: str, text: str, style: str = "") -> Line:
    """A line with its word on the left."""
    return Line(f"{name:<{LABEL_COLUMNS}}{printable(text)}", style, LABEL_COLUMNS)


def under(text: str, style: str = "", *, mark: str = "") -> Line:
    """A line that belongs to the field above."""
    return Line(f"{'':<{LABEL_COLUMNS}}{mark}{printable(text)}", style, LABEL_COLUMNS + len(mark))


def fields(name: str, texts: Sequence[str], style: str = "", *, mark: str = "") -> Iterator[Line]:
    """Several lines under one word."""
    for i, text in enumerate(texts):
        if i == 0:
            line = under(text, style, mark=mark)
            yield line._replace(text=f"{name:<{LABEL_COLUMNS}}" + line.text[LABEL_COLUMNS:])
        else:
            yield under(text, style, mark=mark)


def bar(part: int, whole: int, cells: int, *, ascii_only: bool) -> str:
    """A bar: in eighths of a cell, or with ``#`` and ``.`` where only ASCII can be shown."""
    share = 0.0 if whole <= 0 else min(max(part / whole, 0.0), 1.0)
    if ascii_only:
        filled = round(share * cells)
        return "#" * filled + "." * (cells - filled)
    filled, eighth = divmod(round(share * cells * 8), 8)
    drawn = _FULL * filled + (_EIGHTHS[eighth] if eighth else "")
    return drawn + _EMPTY * (cells - len(drawn))


def is_ascii_only(file: TextIO) -> bool:
    """Whether block characters would come out broken."""
    try:
        "█".encode(file.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def print_lines(out: "Console", lines: Iterable[Line]) -> None:
    """Print lines; what does not fit continues on the next line, indented."""
    from rich.text import Text

    for line in lines:
        for part in fold(line, out.width):
            out.print(Text(part, style=line.style), soft_wrap=True)


def fold(line: Line, width: int) -> list[str]:
    """Cut a line at blanks so that each part fits; words that do not fit are cut anywhere."""
    text, indent = line.text, line.indent if line.indent < width // 2 else 0
    parts = []
    while len(text) > width:
        cut = text.rfind(" ", indent + 1, width + 1)
        if cut <= 0 or not text[:cut].strip():
            cut = width
        parts.append(text[:cut].rstrip())
        text = " " * indent + text[cut:].lstrip()
    parts.append(text)
    return parts
