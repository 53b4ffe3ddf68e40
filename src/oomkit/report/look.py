"""How text is shown: its width, whether it may be coloured, which characters it may use."""

import io
from typing import TYPE_CHECKING, TextIO

import msgspec

from oomkit.report.terminal import console

if TYPE_CHECKING:
    from rich.console import RenderableType

_FALLBACK_COLUMNS = 100
_MIN_COLUMNS = 40

_ASCII = str.maketrans({"\u2026": "...", "\u2013": "-", "\u00d7": "x"})


class Look(msgspec.Struct, frozen=True, kw_only=True):
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
    """What fits a stream, by the same rules as :func:`oomkit.report.terminal.console`."""
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
