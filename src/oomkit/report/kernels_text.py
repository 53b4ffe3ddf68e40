"""The history of the rules as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomkit.kernel.versions import RuleRange
from oomkit.report.units import printable

if TYPE_CHECKING:
    from rich.table import Table


def kernels_table(rows: Sequence[RuleRange]) -> "Table":
    """Lay out rule sets: name, the versions they hold for, what changed, what it means."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("rules", no_wrap=True)
    table.add_column("kernels")
    table.add_column("what changed")
    table.add_column("what it means")
    for row in rows:
        what, meaning = _texts(row)
        table.add_row(row.rules.name, _range(row), what, meaning)
    return table


def _range(row: RuleRange) -> str:
    rules = row.rules
    if row.variant is not None or rules.until.removesuffix(" and later") == rules.since:
        return rules.until
    return f"{rules.since} to {rules.until}"


def _texts(row: RuleRange) -> tuple[str, str]:
    if row.variant is not None:
        return row.variant.what, row.variant.meaning
    what = "; ".join(change.what for change in row.changes)
    meaning = "; ".join(change.meaning for change in row.changes if change.meaning)
    return what, meaning


def bootable_table(rows: Sequence[tuple[str, str, str | None]]) -> "Table":
    """Lay out kernels that can be booted: release, image, directory of modules if it has any."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("release", "image", "modules"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell or "none")) for cell in row))
    return table
