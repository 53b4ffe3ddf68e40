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
