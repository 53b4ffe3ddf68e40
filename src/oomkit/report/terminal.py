"""The one console that everything for people goes to."""

import os
import shutil
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

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
        """Print text of any length; what goes on in the next line is indented.

        Args:
            text: the text; its own indentation is kept.
            style: how a terminal may show it.
            first: what stands before the first line.
            rest: what stands before the others; None: two spaces more than before the first.
        """
        from oomkit.report.layout import wrapped

        body = text.lstrip(" ")
        first += " " * (len(text) - len(body))
        rest = " " * (len(first) + 2) if rest is None else rest
        for line in wrapped(body, self.width, first=first, rest=rest):
            self.line(line, style)
