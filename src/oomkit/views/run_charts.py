"""The charts of a run: memory by use, tasks, swap, pressure, with kills and freezes marked."""

from collections.abc import Sequence
from typing import Any

import msgspec

from oomkit.render.extras import need_altair
from oomkit.scenario import Run, Scenario
from oomkit.views import run_chart_rows
from oomkit.views.chart_page import Panel
from oomkit.views.run_chart_rows import PRESSURE_COLOURS, TASK_COLOURS, USE_COLOURS
from oomkit.views.run_curves import swap_total_mb, uses

KILL_COLOUR = "#d62728"
FREEZE_COLOUR = "#8e44ad"
SWAP_COLOUR = "#cc79a7"

_CLOSE = 40
"""Kills of a run from which on their rules are drawn faintly."""


def panels(
    run: Run,
    scenario: Scenario | None = None,
    *,
    interactive: bool = True,
    end_s: float = 0.0,
) -> list[Panel]:
    """Make the charts of a run; without samples there are none.

    Args:
        run: the record.
        scenario: what was played, for the size of memory and swap.
        interactive: values follow the pointer; a still picture does without.
        end_s: where the time axis ends at the earliest, so that charts of several runs compare.

    Raises:
        MissingExtraError: altair is not installed.
    """
    need_altair()
    if not run.samples.t_s:
        return []
    if end_s > run.ended_s:
        # The axis alone is longer; no event of the run is placed by it.
        run = msgspec.structs.replace(run, ended_s=end_s)
    found = [_memory(run, scenario, interactive)]
    if swap_total_mb(run, scenario) > 0:
        found.append(_swap(run, scenario, interactive))
    found.append(_tasks(run, interactive))
    if run_chart_rows.cgroup_rows(run, scenario)[0]:
        found.append(_cgroups(run, scenario, interactive))
    found.append(_pressure(run, interactive))
    return found


def _memory(run: Run, scenario: Scenario | None, interactive: bool) -> Panel:
    import altair as alt

    rows = _frozen_by_row(run_chart_rows.memory_rows(run, scenario), run)
    names: list[Any] = list(run_chart_rows.USES)
    total = uses(run, scenario).total_mb
    base = alt.Chart(alt.InlineData(values=rows))
    area = (
        base.transform_fold(names, as_=["use", "mb"])
        .transform_calculate(place=f"indexof({names}, datum.use)")
        .mark_area(interpolate="linear", opacity=0.9)
        .encode(
            x=_time(run),
            y=alt.Y("mb:Q", stack="zero", title="MiB", scale=alt.Scale(domain=[0, total])),
            color=_colour("use", USE_COLOURS),
            order=alt.Order("place:Q"),
        )
    )
    pointer = _pointer(base, run, names, "MiB") if interactive else None
    return Panel(
        key="memory",
        title="Memory by use",
        note="All of memory, stacked. Tasks: anonymous memory and page tables.",
        chart=_layered(run, [area], pointer),
        height=240,
    )


def _swap(run: Run, scenario: Scenario | None, interactive: bool) -> Panel:
    import altair as alt

    rows = run_chart_rows.memory_rows(run, scenario)
    base = alt.Chart(alt.InlineData(values=_frozen_by_row(rows, run)))
    total = swap_total_mb(run, scenario)
    area = base.mark_area(color=SWAP_COLOUR, opacity=0.85).encode(
        x=_time(run),
        y=alt.Y(_field("swap used"), title="MiB", scale=alt.Scale(domain=[0, total])),
    )
    pointer = _pointer(base, run, ["swap used"], "MiB") if interactive else None
    return Panel(
        key="swap",
        title="Swap used",
        note="The axis ends where swap does.",
        chart=_layered(run, [area], pointer),
        height=90,
    )


def _tasks(run: Run, interactive: bool) -> Panel:
    import altair as alt

    rows, left_out = run_chart_rows.task_rows(run)
    names = run_chart_rows.task_names(run)
    colours = dict(zip(names, TASK_COLOURS, strict=False))
    base = alt.Chart(alt.InlineData(values=rows))
    if interactive:
        # What a line's tooltip shows is of its first point, so it has to be of the whole line.
        base = base.transform_joinaggregate(
            most="max(rss)", most_swap="max(swap)", groupby=["task"]
        )
    layers: list[Any] = []
    if any(row["swap"] > 0 for row in rows):
        layers.append(
            base.mark_line(strokeWidth=1.2, strokeDash=[3, 2], opacity=0.7).encode(
                x=_time(run), y=alt.Y("swap:Q"), color=_colour("name", colours), detail="task:N"
            )
        )
    layers.append(
        base.mark_line(strokeWidth=1.6, opacity=0.75).encode(
            x=_time(run),
            y=alt.Y("rss:Q", title="MiB"),
            color=_colour("name", colours),
            detail="task:N",
            **({"tooltip": _task_tooltip()} if interactive else {}),
        )
    )
    layers += [*_freezes(run), *_kills(run, "rss:Q")]
    note = "Resident memory of each task"
    if any(row["swap"] > 0 for row in rows):
        note += ", its swap dashed"
    note += f". {left_out} smaller tasks are not drawn." if left_out else "."
    return Panel(
        key="tasks", title="Memory of each task", note=note, chart=alt.layer(*layers), height=220
    )


def _cgroups(run: Run, scenario: Scenario | None, interactive: bool) -> Panel:
    import altair as alt

    rows, limits = run_chart_rows.cgroup_rows(run, scenario)
    by_time: dict[float, dict[str, Any]] = {}
    for row in rows:
        by_time.setdefault(row["t"], {"t": row["t"]})[row["cgroup"]] = row["rss"]
    wide = alt.Chart(alt.InlineData(values=_frozen_by_row(list(by_time.values()), run)))
    colours = dict(zip((row["cgroup"] for row in limits), TASK_COLOURS, strict=False))
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=1.6)
        .encode(x=_time(run), y=alt.Y("rss:Q", title="MiB"), color=_colour("cgroup", colours))
    )
    at = alt.Chart(alt.InlineData(values=limits)).encode(
        y=alt.Y("max:Q"), color=_colour("cgroup", colours)
    )
    rule = at.mark_rule(strokeDash=[6, 3], strokeWidth=1.4)
    label = at.mark_text(align="left", dx=4, dy=-5, fontSize=10).encode(
        x=alt.value(0), text="label:N"
    )
    pointer = _pointer(wide, run, [row["cgroup"] for row in limits], "MiB") if interactive else None
    return Panel(
        key="cgroups",
        title="Memory cgroups",
        note="Resident memory of the tasks of each; page cache charged to it comes on top.",
        chart=_layered(run, [lines, rule, label], pointer),
        height=130,
    )


def _pressure(run: Run, interactive: bool) -> Panel:
    import altair as alt

    names: list[Any] = list(PRESSURE_COLOURS)
    base = alt.Chart(alt.InlineData(values=_frozen_by_row(run_chart_rows.pressure_rows(run), run)))
    lines = (
        base.transform_fold(names, as_=["what", "percent"])
        .mark_line(strokeWidth=1.6)
        .encode(
            x=_time(run),
            y=alt.Y("percent:Q", title="%", scale=alt.Scale(domain=[0, 100])),
            color=_colour("what", PRESSURE_COLOURS),
        )
    )
    pointer = _pointer(base, run, names, "%") if interactive else None
    return Panel(
        key="pressure",
        title="Pressure and CPU",
        note="Share of time in which some task, or every task, waited for memory (10 s average).",
        chart=_layered(run, [lines], pointer),
        height=140,
    )


def _freezes(run: Run) -> list[Any]:
    import altair as alt

    rows = run_chart_rows.freeze_rows(run)
    if not rows:
        return []
    tooltip = [alt.Tooltip("lasted:N", title="frozen for"), alt.Tooltip("t:Q", title="from (s)")]
    return [
        alt.Chart(alt.InlineData(values=rows))
        .mark_rect(color=FREEZE_COLOUR, opacity=0.16)
        .encode(x=_time(run), x2="until", tooltip=tooltip)
    ]


def _kills(run: Run, y: str | None) -> list[Any]:
    """A rule through the panel for each kill, and a mark: on the curve, or at the top."""
    import altair as alt

    rows = run_chart_rows.kill_rows(run)
    if not rows:
        return []
    base = alt.Chart(alt.InlineData(values=rows))
    tooltip = [
        alt.Tooltip(_field(name, "N"), title=name)
        for name in ("what", "victim", "at", "badness", "frees", "why")
    ]
    place = alt.Y(y) if y else alt.value(4)
    # Where rules stand close, dashes of neighbours would join to lines across.
    close = len(rows) > _CLOSE
    rule = base.mark_rule(
        color=KILL_COLOUR,
        strokeDash=[1, 0] if close else [2, 3],
        opacity=max(0.03, 0.55 * _CLOSE / len(rows)) if close else 0.55,
        cursor="pointer",
    )
    mark = base.mark_point(
        shape="cross" if y else "triangle-down",
        angle=45 if y else 0,
        size=70,
        filled=True,
        color=KILL_COLOUR,
        opacity=1,
        cursor="pointer",
    )
    rule = rule.encode(x=_time(run), tooltip=tooltip)
    return [rule, mark.encode(x=_time(run), y=place, tooltip=tooltip)]


def _frozen_by_row(rows: run_chart_rows.Rows, run: Run) -> run_chart_rows.Rows:
    """The rows, and with each for how long the machine is frozen around it."""
    spans = run_chart_rows.freeze_rows(run)
    for row in rows if spans else ():
        inside = (one["lasted"] for one in spans if one["t"] <= row["t"] <= one["until"])
        row["frozen for"] = next(inside, "-")
    return rows


def _task_tooltip() -> list[Any]:
    import altair as alt

    return [
        alt.Tooltip("task:N"),
        alt.Tooltip("most:Q", title="peak resident (MiB)", format=",.1f"),
        alt.Tooltip("most_swap:Q", title="peak in swap (MiB)", format=",.1f"),
    ]


def _layered(run: Run, marks: Sequence[Any], pointer: Any | None) -> Any:
    """Marks of a panel, above them what every panel shows: freezes, the pointer's line, kills."""
    import altair as alt

    above = [] if pointer is None else [pointer]
    return alt.layer(*marks, *_freezes(run), *above, *_kills(run, None))


def _pointer(base: Any, run: Run, fields: list[str], unit: str) -> Any:
    """An upright line that follows the pointer and shows the values below it.

    It takes the pointer wherever no mark lies above it, so kills have to be layers above it.
    """
    import altair as alt

    nearest = alt.selection_point(
        name="nearest",
        nearest=True,
        on="pointermove",
        encodings=["x"],
        empty=False,
        clear="pointerout",
    )
    shown = [alt.Tooltip("t:Q", title="time (s)", format=",.2f")]
    shown += [alt.Tooltip(_field(f, "Q"), title=f"{f} ({unit})", format=",.1f") for f in fields]
    if run.frozen:
        shown.append(alt.Tooltip(_field("frozen for", "N")))
    return (
        base.mark_rule(color="#888888")
        .encode(
            x=_time(run),
            opacity=alt.condition(nearest, alt.value(0.8), alt.value(0)),
            tooltip=shown,
        )
        .add_params(nearest)
    )


def _time(run: Run) -> Any:
    import altair as alt

    end_s = max([run.ended_s, *run.samples.t_s[-1:], 0.001])
    return alt.X(
        "t:Q",
        title="seconds",
        scale=alt.Scale(domain=[0, end_s], nice=False),
        axis=alt.Axis(tickCount=12, labelFlush=False),
    )


def _colour(field: str, colours: dict[str, str]) -> Any:
    import altair as alt

    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color(_field(field, "N"), title=None, scale=scale)


def _field(name: str, kind: str = "") -> str:
    """A field's name as a shorthand; a colon in it would end the name."""
    escaped = name.replace(":", "\\:").replace(".", "\\.").replace("[", "\\[")
    return f"{escaped}:{kind}" if kind else f"{escaped}:{'Q' if name in _NUMBERS else 'N'}"


_NUMBERS = {*run_chart_rows.USES, *PRESSURE_COLOURS, "swap used", "t", "rss", "swap"}
