"""The charts of a comparison: what each group scores, and what it trades for what."""

from typing import Any

import msgspec

from oomkit.sweep.answer import OBJECTIVES, Answer, Group

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


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One chart.

    Attributes:
        key: short name, fit for an HTML id.
        title: heading.
        note: what a reader should know to read it.
        spec: Vega-Lite.
        height: of the plot, in pixels.
    """

    key: str
    title: str
    note: str
    spec: dict[str, Any]
    height: int


def panels(found: Answer) -> list[Panel]:
    """Make the charts; altair is installed."""
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

    rows = [_row(group, name) for group in groups if group.runs]
    title, unit = _TITLES[name]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("group:N", sort=None, title=None, axis=alt.Axis(labelLimit=260))
    )
    tooltip = [
        alt.Tooltip("group:N"),
        alt.Tooltip("mean:Q", format=",.3~f"),
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
        spec=_spec(alt.layer(spread, interval, point), height),
        height=height,
    )


def _row(group: Group, name: str) -> dict[str, Any]:
    spread = group.objectives[name]
    return {
        "group": group.short,
        "mean": spread.mean.mean,
        "low": spread.mean.low,
        "high": spread.mean.high,
        "p10": spread.p10,
        "p90": spread.p90,
        "interval": f"{spread.mean.low:,.3g} to {spread.mean.high:,.3g}",
        "spread": f"{spread.p10:,.3g} to {spread.p90:,.3g}",
        "run": group.worst_run,
    }


def _trade(groups: list[Group]) -> Panel:
    """Work lost against time unusable: towards the corner is better at both."""
    import altair as alt

    rows = []
    for group in groups:
        frozen, lost = (group.objectives[name].mean for name in ("unusable_s", "work_lost_s"))
        rows.append(
            {
                "group": group.short, "run": group.worst_run, "frozen": frozen.mean,
                "frozen_low": frozen.low, "frozen_high": frozen.high, "lost": lost.mean,
                "lost_low": lost.low, "lost_high": lost.high,
            }
        )  # fmt: skip
    few = len(rows) <= len(_COLOURS)
    colour: Any = alt.value(_COLOUR)
    if few:
        scale = alt.Scale(domain=[row["group"] for row in rows], range=list(_COLOURS[: len(rows)]))
        colour = alt.Color("group:N", title=None, scale=scale)
    base = alt.Chart(alt.InlineData(values=rows)).encode(color=colour)
    x = alt.X("frozen:Q", title="unusable, s")
    y = alt.Y("lost:Q", title="work lost, CPU s")
    across = base.mark_rule(opacity=0.6).encode(x=alt.X("frozen_low:Q"), x2="frozen_high", y=y)
    upright = base.mark_rule(opacity=0.6).encode(y=alt.Y("lost_low:Q"), y2="lost_high", x=x)
    point = base.mark_point(filled=True, size=90, opacity=1, cursor="pointer").encode(
        x=x, y=y, tooltip=["group:N", "frozen:Q", "lost:Q"]
    )
    layers = [across, upright, point]
    if not few:
        label = base.mark_text(align="left", dx=8, dy=-8)
        layers.append(label.encode(x=x, y=y, text="group:N"))
    height = 260
    return Panel(
        key="trade",
        title="What is traded for what",
        note="Means with their 95 % intervals; towards the lower left is better at both. "
        "A point opens the costliest run.",
        spec=_spec(alt.layer(*layers), height),
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
            tooltip=["key:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    height = _ROW_PX * max(len(rows), 1)
    return Panel(
        key="influences",
        title=f"What {found.by} depends on",
        note="Part of the variance between runs that each explains by itself.",
        spec=_spec(chart, height),
        height=height,
    )


def _spec(chart: Any, height: int) -> dict[str, Any]:
    spec: dict[str, Any] = chart.properties(width="container", height=height).to_dict()
    return spec
