"""The ranking as a table that fits its window: whole columns are left out, and named."""

from collections.abc import Iterator

from oomkit.explain.records import Candidate, Choice
from oomkit.render.layout import Column, no_room, table
from oomkit.render.quantities import kb, label
from oomkit.render.terminal import LABEL_COLUMNS, Line

TABLE_HEAD = ("rank", "process", "rss", "swap", "page tables", "adj", "badness")
_LEAVES = {4: 1, 3: 2, 5: 3, 6: 4}
"""Which columns are left out first: page tables, swap, adj, badness; other lines show those."""
_INDENTS = (LABEL_COLUMNS, 3)
_MARK = "<- killed"
_GAP = 2


def table_cells(row: Candidate) -> tuple[str, ...]:
    """A row of the ranking as text."""
    return (
        "-" if row.rank is None else str(row.rank),
        label(row.comm, row.pid),
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
    columns = [
        Column(
            heading=TABLE_HEAD[i],
            cells=[row[i] for row in rows],
            right=i != 1,
            leaves=_LEAVES.get(i, 0),
            folds=i == 1,
        )
        for i in shown
    ]
    columns.append(Column(heading="", cells=[_MARK if row.killed else "" for row in choice.rows]))
    indent, laid = _INDENTS[0], table(columns, width - _INDENTS[0], gap=_GAP)
    if laid.left_out:
        indent, laid = _INDENTS[-1], table(columns, width - _INDENTS[-1], gap=_GAP)
    start = " " * indent
    for line in laid.heading:
        yield Line(start + line, "dim", indent)
    for row, lines in zip(choice.rows, laid.row_lines(), strict=True):
        for line in lines:
            yield Line(start + line, "bold red" if row.killed else "", indent)
    if laid.left_out:
        yield Line(start + no_room(laid.left_out), "dim", indent)
