"""The charts of a comparison: what each group scores, and what it trades for what."""

from typing import Any

from oomkit.printable import printable
from oomkit.render.extras import need_altair
from oomkit.sweep.answer import OBJECTIVES, Answer, Group, name_of
from oomkit.views.chart_page import Panel

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
    rows = [_row(group, name, label, unit) for group, label in zip(shown, names, strict=True)]
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


def _row(group: Group, name: str, label: str, unit: str) -> dict[str, Any]:
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
