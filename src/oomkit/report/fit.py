"""Tables among other things that rich shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomkit.report.layout import Column, no_room, table
from oomkit.report.look import Look

if TYPE_CHECKING:
    from rich.console import RenderableType

_GAP = 2


def fitted(
    columns: Sequence[Column], look: Look, styles: Sequence[str] = ()
) -> list["RenderableType"]:
    """Lay out a table in the width there is, and below it name what was left out of it.

    Args:
        columns: from the left to the right.
        look: what the terminal can do.
        styles: of the rows; default: none.
    """
    from rich.text import Text

    laid = table(columns, look.width, gap=_GAP)
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
