"""An answer as text: the sentence first, then tables."""

from collections.abc import Sequence

from oomkit.printable import printable
from oomkit.render.document import Document, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import percent
from oomkit.sweep.answer import HEADS, OBJECTIVES, Answer, Group, amount, name_of

_SHOWN_VALUES = 25
_MAX = len(OBJECTIVES) + 2
"""Of the column that is left out last."""


def answer_report(found: Answer, *, command: str) -> Document:
    """The answer as a person reads it.

    Args:
        found: the answer.
        command: what plays the sweep again.
    """
    page = Document(Text(printable(found.sentence), "bold", rest=""))
    for heading, groups in _by_heading(found):
        page.line()
        if found.kind == "sensitivity":
            page.text(printable(heading), "bold", rest="")
        page.add(Table(columns=_columns(groups, found), styles=_styles(groups, found)))
    if found.against and found.wins is not None:
        page.line()
        page.add(_against(found))
    if found.groups and found.groups[0].worst_run is not None:
        # Longer than a line it is the terminal's to wrap: so it can be copied.
        worst = f"{printable(command)} --run {found.groups[0].worst_run}"
        of = printable(found.groups[0].label)
        page.line()
        page.text(f"the costliest run of {of}, played again by:", rest="")
        page.line(worst)
    page.add(*(Text(f"note: {printable(note)}", rest="") for note in found.notes))
    return page


def _columns(groups: Sequence[Group], found: Answer) -> list[Column]:
    thinned = _thinned(groups)
    key = Column(
        heading=printable(groups[0].of),
        cells=[printable(group.short) for group in thinned],
        words=True,
    )
    columns = [key]
    if any(group.free is not None for group in groups):
        free = [
            f"{group.free.k:,} of {group.free.n:,}" if group.free is not None else "-"
            for group in thinned
        ]
        columns.append(Column(heading="without", cells=free, right=True, leaves=_MAX))
    for leaves, name in zip(range(len(OBJECTIVES), 0, -1), OBJECTIVES, strict=True):
        if name not in _shown(groups, found.by):
            continue
        compared = name == found.by
        cells = [_cells(group, name) for group in thinned]
        means = [mean for mean, _ in cells]
        columns.append(
            Column(heading=HEADS[name], cells=means, right=True, leaves=0 if compared else leaves)
        )
        if compared:
            ranges = [interval for _, interval in cells]
            columns.append(Column(heading="95 %", cells=ranges, right=True, leaves=_MAX - 1))
    return columns


def _styles(groups: Sequence[Group], found: Answer) -> list[str]:
    return ["green"] if found.kind == "best" and groups[0] is found.groups[0] else []


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


def _cells(group: Group, name: str) -> tuple[str, str]:
    """The mean and its interval."""
    if not group.runs:
        return "-", "-"
    mean = group.objectives[name].mean
    return amount(name, mean.mean), f"{amount(name, mean.low)} to {amount(name, mean.high)}"


def _against(found: Answer) -> Table:
    assert found.wins is not None
    more = [
        f"{amount(found.by, one.more.mean)} ({amount(found.by, one.more.low)} to "
        f"{amount(found.by, one.more.high)})"
        for one in found.against
    ]
    apart = ["" if one.told_apart else "not distinguishable" for one in found.against]
    best = printable(found.groups[0].short)
    others = [printable(one.short) for one in found.against]
    return Table(
        columns=[
            Column(
                heading=f"{name_of(found.by)} above {best}'s, load by load",
                cells=[*others, "no other is better"],
                words=True,
            ),
            Column(
                heading="mean (95 %)",
                cells=[*more, f"in {found.wins.k:,} of {found.wins.n:,} loads"],
                right=True,
            ),
            Column(
                heading="",
                cells=[*apart, ""],
                words=True,
                leaves=1,
                name="what not distinguishable",
            ),
        ],
        styles=[*([""] * len(others)), "dim"],
    )


def _by_heading(found: Answer) -> list[tuple[str, Sequence[Group]]]:
    """The tables to show, each under what its groups have in common."""
    if found.kind == "sensitivity":
        return [
            (f"{one.key}: {percent(one.share)} of the variance of {name_of(found.by)}", one.groups)
            for one in found.influences
        ]
    tables: dict[str, list[Group]] = {}
    for group in found.groups:
        tables.setdefault(group.of, []).append(group)
    return list(tables.items())
