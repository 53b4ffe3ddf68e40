"""A sweep's answer as one page that needs nothing else: charts, tables, runs worth looking at."""

import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

from oomkit.model import ModelError
from oomkit.printable import printable
from oomkit.render.extras import need_altair
from oomkit.render.quantities import outcome_of, percent, seconds
from oomkit.sweep.answer import HEADS, OBJECTIVES, Answer, Group, amount, name_of
from oomkit.sweep.plan import Plan
from oomkit.sweep.run import Player, described
from oomkit.sweep.spec import Sweep, Weights
from oomkit.views.chart_page import Panel, chart_page, placed
from oomkit.views.run_events import happenings

_COLOUR = "#0072b2"
_COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#7f6fc4",
)  # fmt: skip
_WHITE = "#ffffff"
_ROW_PX = 26

_TITLES = {
    "cost": ("Cost", "s"), "unusable_s": ("Unusable", "s"), "work_lost_s": ("Work lost", "CPU s"),
    "kills": ("Kills", "tasks"), "innocents_killed": ("Innocents killed", "tasks"),
    "protected_killed": ("Protected tasks killed", "tasks"), "denied": ("Requests refused", ""),
    "freed_mb": ("Freed", "MiB"),
}  # fmt: skip


def panels(found: Answer) -> list[Panel]:
    """Make the charts.

    Raises:
        MissingExtraError: altair is not installed.
    """
    need_altair()
    if found.kind == "sensitivity":
        charts = [_influences(found)]
        for i, influence in enumerate(found.influences):
            charts.append(_scores(list(influence.groups), found.by, f"by-{i}", influence.key))
        return charts
    groups = [group for group in found.groups if group.runs]
    scored = [name for name in OBJECTIVES if any(g.objectives[name].p90 for g in groups)]
    charts = [_scores(groups, name, name.replace("_", "-"), "") for name in scored]
    if len(groups) > 1 and {"unusable_s", "work_lost_s"} & set(scored):
        charts.insert(0, _trade(groups))
    return charts


def _scores(groups: list[Group], name: str, key: str, what: str) -> Panel:
    """Mean with interval over the spread, a line a group."""
    import altair as alt

    shown = [group for group in groups if group.runs]
    names = _names(shown)
    title, unit = _TITLES[name]
    rows = [_bar_row(group, name, label, unit) for group, label in zip(shown, names, strict=True)]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("group:N", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    )
    tooltip = [
        alt.Tooltip("group:N", title=what or "of"),
        alt.Tooltip("average:N", title="mean"),
        alt.Tooltip("interval:N", title="95 %"),
        alt.Tooltip("spread:N", title="10 % to 90 % of runs"),
    ]
    spread = base.mark_rule(color=_COLOUR, opacity=0.35, strokeWidth=4).encode(
        x=alt.X("p10:Q", title=unit or None), x2="p90"
    )
    interval = base.mark_rule(color=_COLOUR, strokeWidth=8).encode(x="low:Q", x2="high")
    point = base.mark_point(
        color=_COLOUR, fill=_WHITE, size=70, opacity=1, cursor="pointer"
    ).encode(x="mean:Q", tooltip=tooltip)
    height = _ROW_PX * max(len(rows), 1)
    return Panel(
        key=key,
        title=f"{title} by {what}" if what else title,
        note="Mean (point), its 95 % interval (thick), 10 % to 90 % of the runs (thin).",
        chart=alt.layer(spread, interval, point),
        height=height,
    )


def _names(groups: list[Group]) -> list[str]:
    """What distinguishes groups: their values, with the keys where those differ too."""
    several = len({group.of for group in groups}) > 1
    return [printable(group.label if several else group.short) for group in groups]


def _bar_row(group: Group, name: str, label: str, unit: str) -> dict[str, Any]:
    spread = group.objectives[name]
    unit = f" {unit}" if unit else ""
    return {
        "group": label,
        "mean": spread.mean.mean,
        "low": spread.mean.low,
        "high": spread.mean.high,
        "p10": spread.p10,
        "p90": spread.p90,
        "average": f"{_plain(spread.mean.mean)}{unit}",
        "interval": f"{_plain(spread.mean.low)} to {_plain(spread.mean.high)}{unit}",
        "spread": f"{_plain(spread.p10)} to {_plain(spread.p90)}{unit}",
        "run": group.worst_run,
    }


def _plain(value: float) -> str:
    """Three digits, never an exponent."""
    size = abs(value)
    return f"{value:,.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"


def _trade(groups: list[Group]) -> Panel:
    """Work lost against time unusable: towards the corner is better at both."""
    import altair as alt

    rows = []
    for group, label in zip(groups, _names(groups), strict=True):
        frozen, lost = (group.objectives[name].mean for name in ("unusable_s", "work_lost_s"))
        rows.append(
            {
                "group": label, "of": printable(group.of), "run": group.worst_run,
                "frozen": frozen.mean, "frozen_low": frozen.low, "frozen_high": frozen.high,
                "lost": lost.mean, "lost_low": lost.low, "lost_high": lost.high,
            }
        )  # fmt: skip
    few = len(rows) <= len(_COLOURS)
    colour: Any = alt.Color("of:N", title=None, scale=alt.Scale(range=list(_COLOURS)))
    if few:
        scale = alt.Scale(domain=[row["group"] for row in rows], range=list(_COLOURS[: len(rows)]))
        colour = alt.Color("group:N", title=None, scale=scale)
    base = alt.Chart(alt.InlineData(values=rows)).encode(color=colour)
    tooltip = [
        alt.Tooltip("group:N", title="of"),
        alt.Tooltip("frozen:Q", title="unusable (s)", format=",.2f"),
        alt.Tooltip("lost:Q", title="work lost (CPU s)", format=",.2f"),
    ]
    x = alt.X("frozen:Q", title="unusable, s")
    y = alt.Y("lost:Q", title="work lost, CPU s")
    across = base.mark_rule(opacity=0.6).encode(x=alt.X("frozen_low:Q"), x2="frozen_high", y=y)
    upright = base.mark_rule(opacity=0.6).encode(y=alt.Y("lost_low:Q"), y2="lost_high", x=x)
    point = base.mark_point(filled=True, size=90, opacity=1, cursor="pointer").encode(
        x=x, y=y, tooltip=tooltip
    )
    height = 260
    return Panel(
        key="trade",
        title="What is traded for what",
        note="Means with their 95 % intervals; towards the lower left is better at both. "
        "A point opens the costliest run"
        + ("." if few else ", and names what it is of when it is pointed at."),
        chart=alt.layer(across, upright, point),
        height=height,
    )


def _influences(found: Answer) -> Panel:
    import altair as alt

    rows = [{"key": one.key, "share": one.share} for one in found.influences]
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(color=_COLOUR)
        .encode(
            x=alt.X("share:Q", title=None, axis=alt.Axis(format="%")),
            y=alt.Y("key:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
            tooltip=[
                alt.Tooltip("key:N", title="what varies"),
                alt.Tooltip("share:Q", title="of the variance", format=".1%"),
            ],
        )
    )
    height = _ROW_PX * max(len(rows), 1)
    return Panel(
        key="influences",
        title=f"What {name_of(found.by)} depends on",
        note="Part of the variance between runs that each explains by itself.",
        chart=chart,
        height=height,
    )


_MAX_GROUPS = 40
"""Maximum number of groups whose best and worst run are shown."""

_PRICES = {
    "unusable_s": "second unusable", "work_lost_s": "CPU second of work lost",
    "kills": "task killed", "innocents_killed": "innocent among them",
    "protected_killed": "protected among them", "denied": "request refused",
}  # fmt: skip


def page_text(sweep: Sweep, found: Answer, plan: Plan, command: str | None = None) -> str:
    """Make the page; the runs it shows are played again for it.

    Args:
        sweep: what was played.
        found: its answer.
        plan: its runs.
        command: what plays the sweep again; default: of its file, with nothing changed.

    Raises:
        MissingExtraError: altair, jinja2 or vl-convert-python is not installed.
    """
    groups = _all_groups(found)
    return chart_page(
        found.name,
        "sweep.html",
        charts=True,
        found=found,
        about=sweep.about,
        command=command or shlex.join(("oomkit", "sweep", sweep.source)),
        prices=_prices(sweep.weights),
        drawings=[
            placed(one.chart, one.key, one.height, title=one.title, note=one.note)
            for one in panels(found)
        ],
        tables=_tables(found),
        runs=list(_runs(Player(sweep), plan, groups)),
    )


def _prices(weights: Weights) -> str:
    prices = msgspec.structs.asdict(weights)
    each = (f"{price:g} for each {_PRICES[name]}" for name, price in prices.items() if price)
    return ", ".join(each)


def _all_groups(found: Answer) -> list[Group]:
    if found.kind == "sensitivity":
        return [group for one in found.influences for group in one.groups]
    return list(found.groups)


def _tables(found: Answer) -> list[dict[str, Any]]:
    if found.kind == "sensitivity":
        return [
            _table(
                f"{one.key}: {percent(one.share)} of the variance of {name_of(found.by)}",
                list(one.groups),
            )
            for one in found.influences
        ]
    by_heading: dict[str, list[Group]] = {}
    for group in found.groups:
        by_heading.setdefault(group.of, []).append(group)
    return [_table(heading, groups) for heading, groups in by_heading.items()]


def _table(heading: str, groups: list[Group]) -> dict[str, Any]:
    shown = [
        name
        for name in OBJECTIVES
        if name == "cost" or any(g.runs and g.objectives[name].mean.mean for g in groups)
    ]
    free = any(group.free is not None for group in groups)
    return {
        "heading": heading,
        "heads": (["without"] if free else []) + [HEADS[name] for name in shown],
        "rows": [_row(group, shown) for group in groups],
    }


def _row(group: Group, shown: list[str]) -> dict[str, Any]:
    """A mean with its interval in each cell."""
    cells = []
    if group.free is not None:
        low, high = (percent(share) for share in (group.free.low, group.free.high))
        cells.append((f"{group.free.k:,} of {group.free.n:,}", f"{low} to {high}"))
    for name in shown:
        if not group.runs:
            cells.append(("-", ""))
            continue
        mean = group.objectives[name].mean
        interval = f"{amount(name, mean.low)} to {amount(name, mean.high)}"
        cells.append((amount(name, mean.mean), interval))
    runs = [("best", group.best_run), ("worst", group.worst_run)]
    return {
        "label": group.short,
        "cells": cells,
        "runs": [(what, number) for what, number in runs if number is not None],
    }


def _runs(player: Player, plan: Plan, groups: list[Group]) -> Iterator[dict[str, Any]]:
    """The story of the best and the worst run of each group."""
    shown: set[int] = set()
    for group in groups[:_MAX_GROUPS]:
        for what, number in (("worst", group.worst_run), ("best", group.best_run)):
            if number is not None and number not in shown:
                shown.add(number)
                yield _run(player, plan, number, f"{what} of {group.label}")


def _run(player: Player, plan: Plan, number: int, what: str) -> dict[str, Any]:
    job = plan.job(number)
    row = {"number": number, "described": described(player.identity(job), player.sweep.axes)}
    try:
        scenario = player.scenario(job)
        run = player.run(job, scenario)
    except (ModelError, ValueError) as error:
        return {**row, "title": f"run {number}, {what}: {error}", "story": []}
    aims = run.objectives
    title = (
        f"run {number}, {what}: {aims.kills} killed, {seconds(aims.work_lost_s)} of work lost, "
        f"frozen for {seconds(aims.frozen_s)}, {outcome_of(run.outcome)}"
    )
    return {**row, "title": title, "story": happenings(run, scenario)}
