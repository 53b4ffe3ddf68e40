"""The history as a table, and the candidates of one act."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oomkit.policy.telling import plain
from oomkit.printable import printable
from oomkit.report.history_text import local_time, what, who
from oomkit.report.units import human_bytes

if TYPE_CHECKING:
    from rich.table import Table

_SIZES = ("gain_kb", "rss", "swap", "growth")
"""First factors that are sizes, and so make the score one."""

_STYLES = {"kernel_kill": "red", "act": "yellow", "error": "red", "warn": "dim"}


def history_table(entries: Sequence[tuple[int, dict[str, Any]]]) -> "Table":
    """Lay out records, a row each, in the order given."""
    table = _table(("#", "right"), ("time", "left"), ("who", "left"))
    table.add_column("what")
    from rich.text import Text

    for number, record in entries:
        cells = (str(number), local_time(record["time_s"]), who(record), what(record))
        style = _STYLES.get(str(record.get("kind")))
        if record.get("kind") == "act" and record.get("dry_run"):
            style = None
        table.add_row(*map(Text, cells), style=style)
    return table


def candidates_table(record: dict[str, Any]) -> "Table":
    """Lay out the candidates an act was chosen from, and what their scores were made of."""
    from rich.text import Text

    table = _table(
        ("pid", "right"), ("name", "left"), ("frees", "right"), ("swap", "right"), ("adj", "right"),
        ("score", "right"),
    )  # fmt: skip
    table.add_column("factors")
    victim = record.get("victim")
    chosen = victim.get("pid") if isinstance(victim, dict) else None
    for row in record.get("candidates") or ():
        factors = row.get("factors") or {}
        in_kb = next(iter(factors), "") in _SIZES
        parts = [
            f"{printable(name.removesuffix('_kb'))} {_number(value, size=in_kb and not i)}"
            for i, (name, value) in enumerate(factors.items())
        ]
        if row.get("dies_with"):
            parts.append(f"with {row['dies_with']} more")
        cells = (
            str(row.get("pid")),
            printable(str(row.get("comm"))),
            human_bytes((row.get("freed_kb") or 0) * 1024),
            human_bytes(row["swap_kb"] * 1024) if row.get("swap_kb") else "-",
            str(row.get("oom_score_adj", "")),
            "-" if row.get("verdict") else _number(row.get("score") or 0, size=in_kb),
            printable(row.get("verdict") or "") or ", ".join(parts),
        )
        style = "dim" if row.get("verdict") else "bold" if row.get("pid") == chosen else None
        table.add_row(*map(Text, cells), style=style)
    return table


def _number(value: float | None, *, size: bool) -> str:
    if value is None:
        return "?"
    return human_bytes(value * 1024) if size else plain(value)


def _table(*columns: tuple[str, Any]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=True)
    return table
