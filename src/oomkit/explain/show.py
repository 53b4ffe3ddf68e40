"""Print lines to a terminal or a file, folded to its width."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from oomkit.explain.look import Line

if TYPE_CHECKING:
    from rich.console import Console


def is_ascii_only(file: TextIO) -> bool:
    """Whether block characters would come out broken."""
    try:
        "█".encode(file.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def print_lines(out: "Console", lines: Iterable[Line]) -> None:
    """Print lines; what does not fit goes on below, indented."""
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
