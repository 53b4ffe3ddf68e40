"""The ranking as a table that fits its window: whole columns are left out, and named."""

from collections.abc import Iterator

from oomkit.explain.look import LABEL_COLUMNS, Line
from oomkit.explain.records import Candidate, Choice
from oomkit.explain.words import kb
from oomkit.printable import printable

TABLE_HEAD = ("rank", "process", "rss", "swap", "page tables", "adj", "badness")
_EXPENDABLE = (4, 3, 5, 6)
"""The columns by how soon they are left out: page tables, swap, adj, badness."""
_INDENTS = (LABEL_COLUMNS, 3)
_MARK = "  <- killed"


def table_cells(row: Candidate) -> tuple[str, ...]:
    """A row of the ranking as text."""
    return (
        "-" if row.rank is None else str(row.rank),
        f"{printable(row.comm)}[{row.pid}]",
        kb(row.rss_kb),
        "-" if row.swap_kb is None else kb(row.swap_kb),
        "-" if row.pgtables_kb is None else kb(row.pgtables_kb),
        "-" if row.adj is None else str(row.adj),
        "-" if row.badness is None else str(row.badness),
    )


def table_lines(choice: Choice, width: int) -> Iterator[Line]:
    """Yield the ranking's lines.

    Args:
        choice: the choice.
        width: columns of the window.
    """
    rows = [table_cells(row) for row in choice.rows]
    shown = [i for i in range(len(TABLE_HEAD)) if i < 3 or any(row[i] != "-" for row in rows)]
    widths = {i: max(len(TABLE_HEAD[i]), *(len(row[i]) for row in rows)) for i in shown}
    # What can be told from other columns goes first.
    expendable = [i for i in _EXPENDABLE if i in shown]
    indent = _INDENTS[0]
    while _needed(widths, shown, indent) > width and (indent > _INDENTS[-1] or expendable):
        if indent > _INDENTS[-1]:
            indent = _INDENTS[-1]
        else:
            shown.remove(expendable.pop(0))
    left = [TABLE_HEAD[i] for i in widths if i not in shown]

    def line(cells: tuple[str, ...]) -> str:
        return "  ".join(
            f"{cells[i]:<{widths[i]}}" if i == 1 else f"{cells[i]:>{widths[i]}}" for i in shown
        )

    yield Line(f"{'':<{indent}}{line(TABLE_HEAD)}", "dim", indent)
    for row, cells in zip(choice.rows, rows, strict=True):
        mark = _MARK if row.killed else ""
        yield Line(f"{'':<{indent}}{line(cells)}{mark}", "bold red" if row.killed else "", indent)
    if left:
        text = f"(no room for {', '.join(left)}; a wider window shows them)"
        yield Line(f"{'':<{indent}}{text}", "dim", indent)


def _needed(widths: dict[int, int], shown: list[int], indent: int) -> int:
    return indent + sum(widths[i] for i in shown) + 2 * (len(shown) - 1) + len(_MARK)
