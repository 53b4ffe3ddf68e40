"""A recording under one or several policies as one page: what was, and what would have been."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from oomkit.history.recording import Recording
from oomkit.history.replay import Replay
from oomkit.printable import printable
from oomkit.render.extras import need_altair
from oomkit.render.quantities import seconds
from oomkit.views import replay
from oomkit.views.chart_page import placed
from oomkit.views.history import local_time
from oomkit.views.run_chart_rows import TASK_COLOURS, USE_COLOURS
from oomkit.views.run_charts import KILL_COLOUR, SWAP_COLOUR
from oomkit.views.run_compare_page import comparison

_MAX_POINTS = 1200
_KERNEL = "the kernel killed"


def recording_page(recording: Recording, played: Sequence[Replay], *, command: str = "") -> str:
    """Make the page.

    Args:
        recording: what was recorded.
        played: it under each policy.
        command: what replays it again.

    Raises:
        MissingExtraError: altair, jinja2 or vl-convert-python is not installed.
    """
    need_altair()
    names = [f"policy {printable(one.policy)}" for one in played]
    stories = [
        {"name": name, "found": _story(one), "run": None, "kills": f"kill-{i}-",
         "sums": replay.sums(one)}
        for i, (name, one) in enumerate(zip(names, played, strict=True))
    ]  # fmt: skip
    return comparison(
        heading=f"{printable(recording.path)}: {' | '.join(names)}",
        names=names,
        notes=[replay.recording_line(recording)],
        freezes=False,
        rows=_rows(played),
        panels=_panels(recording, played),
        stories=stories,
        command=command,
    )


def _rows(played: Sequence[Replay]) -> list[dict[str, Any]]:
    def row(field: str, values: Sequence[str]) -> dict[str, Any]:
        return {"field": field, "cells": [(value, "") for value in values]}

    ahead = [
        [kill.ahead_s for kill in one.kernel_kills if kill.ahead_s is not None] for one in played
    ]
    return [
        row("would have killed", [str(len(one.would_kill)) for one in played]),
        row(_KERNEL, [str(len(one.kernel_kills)) for one in played]),
        row("of these, the policy would have before", [str(len(one)) for one in ahead]),
        row("before them by at least", [seconds(min(one)) if one else "-" for one in ahead]),
        row("low memory for", [seconds(one.warned_s) for one in played]),
        row("longest time between looks", [seconds(one.longest_gap_s) for one in played]),
        row("conditions not recorded", [", ".join(one.missing) or "-" for one in played]),
    ]


def _story(played: Replay) -> list[dict[str, Any]]:
    found = []
    for number, (wall_s, kind, lines) in enumerate(replay.events(played)):
        what, *why = lines
        one = {"number": number, "when": local_time(wall_s).partition(" ")[2], "what": what}
        found.append({**one, "kind": kind, "why": why})
    return found


def _panels(recording: Recording, played: Sequence[Replay]) -> list[dict[str, Any]]:
    whole = [("memory", "Memory available", _memory(recording), 160)]
    if any(sample.reading.swap_total_kb for sample in recording.samples):
        whole.append(("swap", "Swap used", _swap(recording), 90))
    found = [
        {
            "title": title,
            "note": "As it was recorded; the axis ends where there is no more.",
            "charts": [placed(chart, key, height, kills="", name="all that was recorded")],
        }
        for key, title, chart, height in whole
    ]
    acts = [
        placed(
            _acts(recording, one),
            f"acts-{i}",
            90,
            kills=f"kill-{i}-",
            name=f"policy {one.policy}",
        )
        for i, one in enumerate(played)
    ]
    note = "What happened, and below it what the policy would have done."
    return [*found, {"title": "Kills", "note": note, "charts": acts}]


def _memory(recording: Recording) -> Any:
    rows = [
        {"t": _ms(sample.wall_s), "value": round(sample.reading.available_kb / 1024, 2)}
        for sample in _thinned(recording)
    ]
    total = max(sample.reading.mem_total_kb for sample in recording.samples) / 1024
    return _area(recording, rows, total, USE_COLOURS["page cache, shmem"], "available (MiB)")


def _swap(recording: Recording) -> Any:
    rows = [
        {
            "t": _ms(sample.wall_s),
            "value": round(
                max(sample.reading.swap_total_kb - sample.reading.swap_free_kb, 0) / 1024, 2
            ),
        }
        for sample in _thinned(recording)
    ]
    total = max(sample.reading.swap_total_kb for sample in recording.samples) / 1024
    return _area(recording, rows, total, SWAP_COLOUR, "swap used (MiB)")


def _thinned(recording: Recording) -> Sequence[Any]:
    step = math.ceil(len(recording.samples) / _MAX_POINTS)
    return [*recording.samples[:-1:step], recording.samples[-1]]


def _area(
    recording: Recording, rows: list[dict[str, Any]], total: float, colour: str, name: str
) -> Any:
    import altair as alt

    base = alt.Chart(alt.InlineData(values=rows))
    x = _time(recording)
    area = base.mark_area(color=colour, opacity=0.85).encode(
        x=x, y=alt.Y("value:Q", title="MiB", scale=alt.Scale(domain=[0, total]))
    )
    nearest = alt.selection_point(
        name="nearest", nearest=True, on="pointermove", encodings=["x"], empty=False,
        clear="pointerout",
    )  # fmt: skip
    pointer = (
        base.mark_rule(color="#888888")
        .encode(
            x=x,
            opacity=alt.condition(nearest, alt.value(0.8), alt.value(0)),
            tooltip=[_when("t"), alt.Tooltip("value:Q", title=name, format=",.1f")],
        )
        .add_params(nearest)
    )
    return alt.layer(area, pointer)


def _acts(recording: Recording, played: Replay) -> Any:
    import altair as alt

    kinds = {"kill": _KERNEL, "act": "a policy acted", "would": "would have killed"}
    colours = (KILL_COLOUR, TASK_COLOURS[3], TASK_COLOURS[1])
    rows = [
        {"t": _ms(wall_s), "kind": kinds[kind], "what": lines[0], "together": [number]}
        for number, (wall_s, kind, lines) in enumerate(replay.events(played))
    ]
    scale = alt.Scale(domain=list(kinds.values()), range=list(colours))
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(shape="triangle-down", size=80, filled=True, opacity=1, cursor="pointer")
        .encode(
            x=_time(recording),
            y=alt.Y("kind:N", title=None, sort=None, scale=alt.Scale(domain=list(kinds.values()))),
            color=alt.Color("kind:N", scale=scale, legend=None),
            tooltip=[_when("t"), alt.Tooltip("what:N")],
        )
    )


def _when(field: str) -> Any:
    import altair as alt

    return alt.Tooltip(f"{field}:T", title="time", format="%Y-%m-%d %H:%M:%S", formatType="utc")


def _time(recording: Recording) -> Any:
    import altair as alt

    first, last = recording.samples[0].wall_s, recording.samples[-1].wall_s
    scale = alt.Scale(type="utc", domain=[_ms(first), max(_ms(last), _ms(first) + 1)], nice=False)
    axis = alt.Axis(format="%H:%M:%S", tickCount=8, labelOverlap=True)
    return alt.X("t:T", title="wall clock", scale=scale, axis=axis)


def _ms(wall_s: float) -> int:
    """A moment as the text shows it, in this machine's time zone, for an axis without one."""
    try:
        offset = datetime.fromtimestamp(wall_s).astimezone().utcoffset()
    except (OverflowError, OSError, ValueError):
        offset = None
    return round((wall_s + (offset.total_seconds() if offset is not None else 0.0)) * 1000)
