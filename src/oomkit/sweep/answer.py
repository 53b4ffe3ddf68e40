"""The record of a sweep's answer: a sentence, then figures and how far they can be trusted."""

import math
from statistics import NormalDist
from typing import Any

import msgspec
import polars as pl

from oomkit.render.quantities import mb, seconds
from oomkit.sweep.spec import Sweep, Value, exact, value_of

_Z = NormalDist().inv_cdf(0.975)


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with its 95 % interval.

    Attributes:
        mean: the mean.
        low: lower end of the interval.
        high: upper end.
        n: how many values it is of.
    """

    mean: float
    low: float
    high: float
    n: int


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A count of successes, with the 95 % interval of their share.

    Attributes:
        k: how many.
        n: of how many.
        low: lower end of the interval.
        high: upper end.
    """

    k: int
    n: int
    low: float
    high: float


def mean_of(n: int, mean: float, deviation: float) -> Mean:
    """A mean from its count and the sample's standard deviation, by Student's t.

    Rounded to what does not depend on the order in which the values were added up.
    """
    half = t_quantile(n - 1) * deviation / math.sqrt(n) if n > 1 else 0.0
    low, middle, high = (round(value, 6) for value in (mean - half, mean, mean + half))
    return Mean(mean=middle, low=low, high=high, n=n)


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; exact for 1 and 2, else by Cornish and Fisher's series.

    The series is within 1 % from 3 degrees of freedom on.
    """
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, v = _Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4)
    )


def share(k: int, n: int) -> Share:
    """A share with Wilson's interval, which holds near 0 and 1 too."""
    if n == 0:
        return Share(k=0, n=0, low=0.0, high=1.0)
    p, z2 = k / n, _Z * _Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Share(k=k, n=n, low=max(middle - half, 0.0), high=min(middle + half, 1.0))


OBJECTIVES = (
    "cost", "unusable_s", "work_lost_s", "kills", "innocents_killed", "protected_killed", "denied",
    "freed_mb",
)  # fmt: skip
"""What is shown of every group."""

HEADS = {
    "cost": "cost", "unusable_s": "unusable", "work_lost_s": "work lost", "kills": "kills",
    "innocents_killed": "innocents", "protected_killed": "protected", "denied": "refused",
    "freed_mb": "freed",
}  # fmt: skip
"""What heads a column of theirs."""

NAMES = {
    "unusable_s": "time unusable", "work_lost_s": "work lost", "frozen_s": "time frozen",
    "innocents_killed": "innocents killed", "protected_killed": "protected tasks killed",
    "denied": "requests refused", "freed_mb": "memory freed", "ended_s": "length of the run",
    "first_kill_s": "time of the first kill",
}  # fmt: skip
"""What columns of the rows are called in a sentence; others have names that are words."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of one objective lie.

    Attributes:
        mean: their mean with its interval.
        deviation: the sample's standard deviation.
        p10: a tenth of the runs are at or below.
        p50: half.
        p90: nine tenths.
    """

    mean: Mean
    deviation: float
    p10: float
    p50: float
    p90: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that share some values.

    Attributes:
        label: how it is called; no other group of the answer is called so.
        short: the same where it is known which values it is of.
        of: which values these are: keys, as the sweep file has them.
        values: column to the value they share; for a part of a distribution its lower end.
        runs: how many gave a result.
        failed: how many gave an error.
        objectives: name to how its values lie.
        free: with ``least``: in how many nothing happened that must not.
        best_run: the run that costs least; None without results.
        worst_run: the one that costs most.
    """

    label: str
    short: str
    of: str
    values: dict[str, Value | None]
    runs: int
    failed: int
    objectives: dict[str, Spread]
    free: Share | None = None
    best_run: int | None = None
    worst_run: int | None = None


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """The best against another group, point by point.

    Attributes:
        label: the other.
        short: the same without the keys of its values.
        more: by how much its mean is larger.
        told_apart: the interval lies above 0.
    """

    label: str
    short: str
    more: Mean
    told_apart: bool


class Influence(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the differences between runs one thing that varies explains by itself.

    Attributes:
        key: what varies.
        share: part of the variance; chance alone gives 0 on average.
        groups: the runs by its value, in order.
    """

    key: str
    share: float
    groups: tuple[Group, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep found.

    Attributes:
        sentence: the answer.
        notes: what else must be known.
        name: of the sweep.
        kind: ``best``, ``least`` or ``sensitivity``.
        by: what was compared.
        runs: how many there were.
        failed: how many of them gave an error.
        groups: the runs by what the question is about, best or smallest first.
        against: with ``best``: the best against each other.
        wins: with ``best``: points in which no other was better.
        influences: with ``sensitivity``: most first.
    """

    sentence: str
    notes: tuple[str, ...] = ()
    name: str
    kind: str
    by: str
    runs: int
    failed: int
    groups: tuple[Group, ...] = ()
    against: tuple[Against, ...] = ()
    wins: Share | None = None
    influences: tuple[Influence, ...] = ()


def groups_by(
    rows: pl.LazyFrame, sweep: Sweep, columns: list[str], free: pl.Expr | None = None
) -> list[Group]:
    """The rows grouped by some columns, in the order in which their values first come."""
    figures: list[pl.Expr] = [
        pl.col("error").is_null().sum().alias("runs"),
        pl.col("error").is_not_null().sum().alias("failed"),
        pl.col("run").min().alias("first"),
        pl.col("run").sort_by("cost", "run", nulls_last=True).first().alias("best_run"),
        pl.col("run").filter(pl.col("cost") == pl.col("cost").max()).min().alias("worst_run"),
    ]
    for name in OBJECTIVES:
        value = pl.col(name)
        figures += [
            value.mean().alias(f"{name}/mean"),
            value.std().alias(f"{name}/std"),
            *(value.quantile(q).alias(f"{name}/{q}") for q in (0.1, 0.5, 0.9)),
        ]
    if free is not None:
        figures.append((free & pl.col("error").is_null()).sum().alias("free"))
    found = rows.group_by(columns).agg(figures).sort("first").collect()
    rows_found = list(found.iter_rows(named=True))
    short = [label(sweep, {c: row[c] for c in columns}) for row in rows_found]
    full = len(set(short)) < len(short)
    return [_group(row, sweep, columns, full) for row in rows_found]


def _group(row: dict[str, Any], sweep: Sweep, columns: list[str], full: bool) -> Group:
    runs = row["runs"]
    values = {column: row[column] for column in columns}
    keys = {axis.column: axis.key for axis in sweep.axes}
    objectives = {}
    for name in OBJECTIVES if runs else ():
        objectives[name] = Spread(
            mean=_not_below_0(mean_of(runs, row[f"{name}/mean"], row[f"{name}/std"] or 0.0)),
            deviation=round(row[f"{name}/std"] or 0.0, 6),
            p10=row[f"{name}/0.1"],
            p50=row[f"{name}/0.5"],
            p90=row[f"{name}/0.9"],
        )
    return Group(
        label=label(sweep, values, full=full),
        short=label(sweep, values, with_keys=False, full=full),
        of=", ".join(keys.get(column, column) for column in columns),
        values=values,
        runs=runs,
        failed=row["failed"],
        objectives=objectives,
        free=share(row["free"], runs) if "free" in row else None,
        best_run=row["best_run"] if runs else None,
        worst_run=row["worst_run"] if runs else None,
    )


def _not_below_0(mean: Mean) -> Mean:
    return msgspec.structs.replace(mean, low=max(mean.low, 0.0))


def label(
    sweep: Sweep,
    values: dict[str, Value | None],
    *,
    with_keys: bool = True,
    full: bool = False,
) -> str:
    """Values as a name: ``earlyoom``, ``machine.swap 4.00 GiB``, or without keys ``4.00 GiB``.

    Args:
        sweep: what they are of.
        values: column to value.
        with_keys: say which values they are.
        full: to the last digit, where rounded they would look the same.
    """
    by_column = {axis.column: axis for axis in sweep.axes}
    parts = []
    for column, value in values.items():
        axis = by_column.get(column)
        if axis is None or value is None:
            parts.append("kernel" if value is None else str(value))
        else:
            key = f"{axis.key} " if with_keys else ""
            parts.append(f"{key}{exact(axis, value) if full else value_of(axis, value)}")
    return ", ".join(parts)


def name_of(column: str) -> str:
    """What a column of the rows is called in a sentence."""
    return NAMES.get(column, column.replace("_", " "))


def columns_of(sweep: Sweep) -> list[str]:
    """The columns of what the question is about."""
    by_key = {axis.key: axis.column for axis in sweep.axes}
    return [by_key.get(key, key) for key in sweep.want.keys]


def amount(by: str, value: float) -> str:
    """A value of an objective as a person reads it."""
    if by == "freed_mb":
        return mb(value)
    if by == "cost" or by.endswith("_s"):
        return seconds(value)
    return f"{value:.3g}"
