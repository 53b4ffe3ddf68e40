"""The answers: which is best, which is the least that suffices, what matters most."""

import math

import msgspec
import polars as pl

from oomkit.render.quantities import count_of, percent
from oomkit.sweep.answer import (
    Against,
    Answer,
    Group,
    Influence,
    Mean,
    amount,
    columns_of,
    groups_by,
    mean_of,
    name_of,
    share,
)
from oomkit.sweep.spec import Axis, Bad, Sweep, value_of

_BINS = 5
"""Number of equal parts into which a distribution's draws are divided."""

_NOTHING = 0.02
"""An influence below that is none worth a sentence."""

_FREE: dict[Bad, pl.Expr] = {
    "freeze": pl.col("unusable_s") == 0,
    "kill": pl.col("kills") == 0,
    "innocent_killed": pl.col("innocents_killed") == 0,
    "protected_killed": pl.col("protected_killed") == 0,
    "denied": pl.col("denied") == 0,
    "panic": pl.col("outcome") != "panicked",
}
_WORDS: dict[Bad, str] = {
    "freeze": "freeze", "kill": "kill", "innocent_killed": "innocent killed",
    "protected_killed": "protected task killed", "denied": "request refused", "panic": "panic",
}  # fmt: skip


def answer(sweep: Sweep, rows: pl.LazyFrame) -> Answer:
    """Answer a sweep's question from its rows."""
    counts = rows.select(n=pl.len(), failed=pl.col("error").count()).collect().row(0)
    if counts[0] == counts[1]:
        found = Answer(
            sentence="no run gave a result", name=sweep.name, kind=sweep.want.kind,
            by=sweep.want.by, runs=counts[0], failed=counts[1],
        )  # fmt: skip
    elif sweep.want.kind == "least":
        found = _smallest(sweep, rows)
    elif sweep.want.kind == "sensitivity":
        found = _sensitivity(sweep, rows)
    else:
        found = _best(sweep, rows)
    return _with(found, runs=counts[0], failed=counts[1], notes=_failures(rows, counts))


def _with(found: Answer, *, runs: int, failed: int, notes: tuple[str, ...]) -> Answer:
    return msgspec.structs.replace(found, runs=runs, failed=failed, notes=(*found.notes, *notes))


def _failures(rows: pl.LazyFrame, counts: tuple[int, int]) -> tuple[str, ...]:
    if not counts[1]:
        return ()
    first = rows.filter(pl.col("error").is_not_null()).sort("run").first().collect()
    first_error = f"run {first['run'][0]} with: {first['error'][0]}"
    return (f"{counts[1]:,} of {counts[0]:,} runs failed and are left out; {first_error}",)


# Which is best.


def _best(sweep: Sweep, rows: pl.LazyFrame) -> Answer:
    by, columns = sweep.want.by, columns_of(sweep)
    groups = [group for group in groups_by(rows, sweep, columns) if group.runs]
    groups.sort(key=lambda group: _mean(group, by).mean)
    best = groups[0]
    table = _paired(rows, by, groups)
    against = tuple(_against(table, 0, i, groups[i]) for i in range(1, len(groups)))
    lowest = pl.min_horizontal(pl.all())
    wins = table.select((pl.col("0") <= lowest).sum()).item() if len(groups) > 1 else 0
    won = share(wins, table.height)
    cost = _mean(best, by)
    figure = f"{name_of(by)} {amount(by, cost.mean)} ({_range(by, cost)})"
    if len(groups) == 1:
        text = f"{best.label}: {figure} on average over {count_of(best.runs, 'run')}"
    else:
        text = _comparison(by, best, figure, against, len(groups), table.height)
    return Answer(
        sentence=text, name=sweep.name, kind="best", by=by, runs=0, failed=0, groups=tuple(groups),
        against=against, wins=won if len(groups) > 1 else None,
    )  # fmt: skip


def _comparison(
    by: str, best: Group, figure: str, against: tuple[Against, ...], count: int, points: int
) -> str:
    close = [one.label for one in against if not one.told_apart]
    field = f"{count} in {points:,} loads"
    if len(close) == len(against):
        same = all(one.more.low == one.more.high == 0 for one in against)
        if same:
            return f"all {field} are alike: {figure} on average"
        return f"no clear best of {field} by {name_of(by)}: {best.label} has {figure} on average"
    nearest = next(one for one in against if one.told_apart)
    margin = f"{amount(by, nearest.more.mean)} ({_range(by, nearest.more)}) less than"
    if close:
        rest = " and ".join(close) if len(close) < 4 else f"{len(close)} others"
        return (
            f"{best.label} is best of {field}, but not distinguishable from {rest}: {figure} "
            f"on average, {margin} {nearest.label}, the next that can"
        )
    return f"{best.label} is best of {field}: {figure} on average, {margin} {nearest.label}"


def _paired(rows: pl.LazyFrame, by: str, groups: list[Group]) -> pl.DataFrame:
    """A line a point, a column a group, where every group has a result."""
    columns = list(groups[0].values)
    part = (
        rows.filter(pl.col("error").is_null())
        .group_by("point", *columns)
        .agg(pl.col(by).cast(pl.Float64).mean().alias("value"))
        .collect()
    )
    known = pl.DataFrame(
        [{**group.values, "group": str(i)} for i, group in enumerate(groups)],
        schema={**{column: part.schema[column] for column in columns}, "group": pl.String},
    )
    table = part.join(known, on=columns, nulls_equal=True).pivot(
        "group", index="point", values="value"
    )
    # Sums of floats depend on the order.
    return table.drop_nulls().sort("point").drop("point")


def _against(table: pl.DataFrame, best: int, other: int, group: Group) -> Against:
    difference = table[str(other)] - table[str(best)]
    deviation = difference.std()
    middle = difference.mean()
    more = mean_of(
        table.height,
        middle if isinstance(middle, float) else 0.0,
        deviation if isinstance(deviation, float) else 0.0,
    )
    return Against(label=group.label, short=group.short, more=more, told_apart=more.low > 0)


# The smallest value that suffices.


def _smallest(sweep: Sweep, rows: pl.LazyFrame) -> Answer:
    want = sweep.want
    free = pl.all_horizontal(_FREE[bad] for bad in want.without)
    bad = " and no ".join(_WORDS[one] for one in want.without)
    axes = sweep.crossed
    sentences, groups, notes = [], [], []
    for axis in axes:
        others = [
            pl.col(other.column) == max(other.values, key=float) for other in axes if other != axis
        ]
        part = rows.filter(pl.all_horizontal(others)) if others else rows
        found = groups_by(part, sweep, [axis.column], free)
        found.sort(key=lambda group: float(group.values[axis.column] or 0))
        sentences.append(_smallest_of(axis, found, bad, want.share))
        groups += found
    if len(axes) > 1:
        tops = (f"{a.key} {value_of(a, max(a.values, key=float))}" for a in axes)
        notes.append(f"each is the smallest while the others have their largest: {', '.join(tops)}")
    return Answer(
        sentence="; ".join(sentences), name=sweep.name, kind="least", by=want.by, runs=0, failed=0,
        groups=tuple(groups), notes=tuple(notes),
    )  # fmt: skip


def _smallest_of(axis: Axis, groups: list[Group], bad: str, wanted: float) -> str:
    enough: Group | None = None
    for group in reversed(groups):
        # A smaller value that suffices by chance, below one that does not, is no answer.
        if group.free is None or group.runs == 0 or group.free.k < wanted * group.runs:
            break
        enough = group
    if enough is not None and enough.free is not None:
        value = value_of(axis, enough.values[axis.column] or 0)
        runs = f"{enough.free.k:,} of {enough.free.n:,} runs"
        smallest = " (the smallest tried)" if enough is groups[0] else ""
        return f"{value} {axis.key} is the smallest with no {bad} in {runs}{smallest}"
    top = groups[-1]
    value = value_of(axis, top.values[axis.column] or 0)
    bad_runs = top.runs - (top.free.k if top.free is not None else 0)
    return (
        f"no {axis.key} tried suffices: with {value}, the largest, "
        f"{bad_runs:,} of {top.runs:,} runs are not without {bad}"
    )


# The axis that explains most of the variance.


def _sensitivity(sweep: Sweep, rows: pl.LazyFrame) -> Answer:
    by = sweep.want.by
    axes = [axis for axis in sweep.axes if axis.key in sweep.want.keys]
    found = [_influence(sweep, rows, axis) for axis in axes]
    if "policy" in sweep.want.keys:
        groups = groups_by(rows, sweep, ["policy"])
        found.append(_explained("policy", groups, by))
    found.sort(key=lambda influence: -influence.share)
    first = found[0]
    spread = [(group.label, _mean(group, by).mean) for group in first.groups if group.runs]
    if first.share < _NOTHING:
        text = f"{name_of(by)} depends on nothing that varies here by itself"
    else:
        low, high = min(spread, key=lambda one: one[1]), max(spread, key=lambda one: one[1])
        text = (
            f"{name_of(by)} depends most on {first.key}, "
            f"which explains {percent(first.share)} of its variance: "
            f"on average {amount(by, low[1])} with {low[0]}, {amount(by, high[1])} with {high[0]}"
        )
    return Answer(
        sentence=text, name=sweep.name, kind="sensitivity", by=by, runs=0, failed=0,
        influences=tuple(found),
    )  # fmt: skip


def _influence(sweep: Sweep, rows: pl.LazyFrame, axis: Axis) -> Influence:
    by, column = sweep.want.by, axis.column
    if axis.draw is None:
        groups = groups_by(rows, sweep, [column])
        if axis.kind not in ("text", "flag"):
            groups.sort(key=lambda group: float(group.values[column] or 0))
        return _explained(axis.key, groups, by)
    drawn = rows.select(column).collect()[column]
    edges = sorted({drawn.quantile(i / _BINS, "lower") or 0.0 for i in range(_BINS)})
    groups = []
    for i, low in enumerate(edges):
        inside = pl.col(column) >= low
        if i + 1 < len(edges):
            inside &= pl.col(column) < edges[i + 1]
        # One group a part: its lower end stands for it.
        lower = pl.lit(low, drawn.dtype)
        part = rows.filter(inside).with_columns(lower.alias(column))
        groups += groups_by(part, sweep, [column])
    return _explained(axis.key, [_from_on(group) for group in groups], by)


def _from_on(group: Group) -> Group:
    return msgspec.structs.replace(group, label=f"{group.label} on", short=f"{group.short} on")


def _explained(key: str, groups: list[Group], by: str) -> Influence:
    """The share of variance between groups, less what chance would give (epsilon squared)."""
    full = [group for group in groups if group.runs]
    n = sum(group.runs for group in full)
    middle = math.fsum(_mean(group, by).mean * group.runs for group in full) / n
    between = math.fsum(group.runs * (_mean(group, by).mean - middle) ** 2 for group in full)
    within = math.fsum(group.objectives[by].deviation ** 2 * (group.runs - 1) for group in full)
    freedom = n - len(full)
    noise = within / freedom if freedom > 0 else 0.0
    total = between + within
    part = (between - (len(full) - 1) * noise) / total if total > 0 else 0.0
    return Influence(key=key, share=max(part, 0.0), groups=tuple(groups))


def _mean(group: Group, by: str) -> Mean:
    return group.objectives[by].mean


def _range(by: str, mean: Mean) -> str:
    return f"{amount(by, mean.low)} to {amount(by, mean.high)}"
