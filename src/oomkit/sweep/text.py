"""An answer as text: the sentence first, then tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomkit.printable import printable
from oomkit.report.look import Look, render
from oomkit.sweep.answer import OBJECTIVES, Answer, Group, amount

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_HEADS = {
    "cost": "cost", "unusable_s": "unusable", "work_lost_s": "work lost", "kills": "kills",
    "innocents_killed": "innocents", "protected_killed": "protected", "denied": "refused",
    "freed_mb": "freed",
}  # fmt: skip

_SHOWN_VALUES = 25
_LABEL_CELLS = 12


def answer_text(found: Answer, look: Look, *, source: str) -> str:
    """The answer as a person reads it.

    Args:
        found: the answer.
        look: what the terminal can do.
        source: the sweep file, for the command that shows a run.
    """
    from rich.text import Text

    parts: list[RenderableType] = [Text(printable(found.sentence), style="bold"), Text("")]
    for heading, groups in _by_heading(found):
        table = _groups(groups, found, heading.partition(":")[0])
        if found.kind == "sensitivity":
            parts.append(Text(heading, style="bold"))
        parts += [table, Text("")]
    parts = parts[:-1]
    if found.against and found.wins is not None:
        parts += [Text(""), _against(found)]
    if found.groups and found.groups[0].worst_run is not None:
        worst = found.groups[0].worst_run
        parts += [
            Text(""),
            Text(f"oomkit sweep {printable(source)} --run {worst} plays the costliest run of "
                 f"{printable(found.groups[0].label)}"),
        ]  # fmt: skip
    for note in found.notes:
        parts.append(Text(f"note: {printable(note)}"))
    return render(look, *parts)


def _groups(groups: Sequence[Group], found: Answer, heading: str) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(Text(printable(heading)), overflow="fold", min_width=_LABEL_CELLS)
    shown = [name for name in OBJECTIVES if name in _shown(groups, found.by)]
    if any(group.free is not None for group in groups):
        table.add_column("without", justify="right", no_wrap=True)
    for name in shown:
        table.add_column(_HEADS[name], justify="right", no_wrap=True)
        if name == found.by:
            table.add_column("95 %", justify="right", no_wrap=True)
    for group in _thinned(groups):
        cells = [] if group.free is None else [f"{group.free.k:,} of {group.free.n:,}"]
        for name in shown:
            cells += _cells(group, name, name == found.by)
        best = found.kind == "best" and group is groups[0]
        table.add_row(Text(printable(group.short)), *cells, style="green" if best else "")
    return table


def _shown(groups: Sequence[Group], by: str) -> set[str]:
    """Objectives that are not 0 everywhere, and always what is compared."""
    return {
        name
        for name in OBJECTIVES
        if name in ("cost", by) or any(g.runs and g.objectives[name].mean.mean for g in groups)
    }


def _thinned(groups: Sequence[Group]) -> Sequence[Group]:
    """All groups, or an even choice of them with both ends."""
    if len(groups) <= _SHOWN_VALUES:
        return groups
    places = {round(i * (len(groups) - 1) / (_SHOWN_VALUES - 1)) for i in range(_SHOWN_VALUES)}
    return [groups[place] for place in sorted(places)]


def _cells(group: Group, name: str, compared: bool) -> list[str]:
    if not group.runs:
        return ["-"] * (2 if compared else 1)
    mean = group.objectives[name].mean
    cells = [amount(name, mean.mean)]
    if compared:
        cells.append(f"{amount(name, mean.low)} to {amount(name, mean.high)}")
    return cells


def _against(found: Answer) -> "Table":
    from rich.table import Table
    from rich.text import Text

    assert found.wins is not None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(Text(f"{found.by} above {printable(found.groups[0].short)}'s, load by load"))
    table.add_column("mean (95 %)", justify="right")
    table.add_column("")
    for one in found.against:
        low, high = amount(found.by, one.more.low), amount(found.by, one.more.high)
        table.add_row(
            Text(printable(one.short)),
            f"{amount(found.by, one.more.mean)} ({low} to {high})",
            "" if one.told_apart else "can't be told apart",
        )
    table.add_row(
        "no other is better", f"in {found.wins.k:,} of {found.wins.n:,} loads", style="dim"
    )
    return table


def _by_heading(found: Answer) -> list[tuple[str, Sequence[Group]]]:
    """The tables to show, each under what its groups have in common."""
    if found.kind == "sensitivity":
        return [
            (f"{one.key}: {one.share:.0%} of the variance of {found.by}", one.groups)
            for one in found.influences
        ]
    tables: dict[str, list[Group]] = {}
    for group in found.groups:
        tables.setdefault(", ".join(group.values), []).append(group)
    return list(tables.items())
