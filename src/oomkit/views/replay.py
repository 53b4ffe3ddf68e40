"""A recording replayed under one or several policies, in a window and as one page."""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from oomkit.history.recording import Mark, Recording
from oomkit.history.replay import KernelKill, Replay, WouldEase, WouldKill
from oomkit.printable import printable
from oomkit.render.document import Document, Text
from oomkit.render.extras import need_altair
from oomkit.render.quantities import count_of, kb, label, seconds
from oomkit.views.chart_page import placed
from oomkit.views.history import evidence_lines, local_time, starts_lines, victim_of
from oomkit.views.run_chart_rows import TASK_COLOURS, USE_COLOURS
from oomkit.views.run_charts import KILL_COLOUR, SWAP_COLOUR
from oomkit.views.run_compare_page import comparison

_INDENT = " " * 10


def recording_line(recording: Recording) -> str:
    """What was recorded, in one line."""
    first, last = recording.samples[0], recording.samples[-1]
    boots = last.boot - first.boot + 1
    times = f"{local_time(first.wall_s)} to {local_time(last.wall_s)}"
    parts = [f"{len(recording.samples):,} samples", f"kernel {printable(recording.kernel)}"]
    if boots > 1:
        parts.append(f"{boots} boots")
    if recording.damaged:
        parts.append(f"{count_of(recording.damaged, 'damaged slot')} skipped")
    return f"{printable(recording.path)}: {times}, {', '.join(parts)}"


def replay_report(recording: Recording, replays: Sequence[Replay]) -> Document:
    """What was recorded; under each policy what happened and what would have, then the sum."""
    page = Document(Text(recording_line(recording)))
    for i, played in enumerate(replays):
        if i:
            page.line()
        _add_replay(page, played)
    return page


def _add_replay(page: Document, played: Replay) -> None:
    page.text(f"under the policy {printable(played.policy)}")
    if played.missing:
        page.text(f"not recorded, so these conditions never hold: {', '.join(played.missing)}")
    page.line()
    found = events(played)
    day = ""
    for wall_s, _, lines in found:
        date, _, clock = local_time(wall_s).partition(" ")
        if date != day:
            page.line(date)
            day = date
        for i, line in enumerate(lines):
            page.text(line, first=_INDENT if i else f"{clock:<10}", rest=f"{_INDENT}  ")
    if found:
        page.line()
    for line in sums(played):
        page.text(line)


def events(played: Replay) -> list[tuple[float, Literal["would", "kill", "act"], list[str]]]:
    """What happened and what would have, in the order of time: when, what sort, and in words."""
    found: list[tuple[int, float, float, Literal["would", "kill", "act"], Iterator[str]]] = []
    found += [(w.boot, w.t_s, w.wall_s, "would", _would(w)) for w in played.would_kill]
    found += [
        (k.mark.boot, k.mark.t_s, k.mark.wall_s, "kill", _kernel(k, played))
        for k in played.kernel_kills
    ]
    found += [(w.boot, w.t_s, w.wall_s, "would", _would_ease(w)) for w in played.would_ease]
    found += [(m.boot, m.t_s, m.wall_s, "act", _acted(m)) for m in played.acts]
    found.sort(key=lambda event: event[:2])
    return [(wall_s, kind, list(lines)) for _, _, wall_s, kind, lines in found]


def _would(would: WouldKill) -> Iterator[str]:
    act = would.record
    how = would.signals[0] if would.signals else "no signal"
    yield f"would have killed {victim_of(act)} ({how}, {act.level})"
    yield from evidence_lines(act.evidence)
    expected_kb = act.victim.expected_kb if act.victim is not None else None
    yield f"frees {kb(expected_kb or 0)}; {printable(act.reason or '')}"
    yield from starts_lines(act)


def _would_ease(would: WouldEase) -> Iterator[str]:
    name = label(would.comm, would.pid)
    of = f"{printable(would.cgroup)}, because of {name}" if would.cgroup else name
    done = {"reclaim": "reclaimed memory of", "throttle": "slowed down", "freeze": "frozen"}
    yield f"would have {done.get(would.act, printable(would.act))} {of}"


def _kernel(kill: KernelKill, played: Replay) -> Iterator[str]:
    name = label(kill.mark.comm, kill.mark.pid)
    if kill.ahead_s is not None:
        yield f"the kernel killed {name}: {seconds(kill.ahead_s)} after the policy would have"
    elif kill.after is not None:
        earlier = played.would_kill[kill.after]
        ahead = seconds(kill.mark.t_s - earlier.t_s)
        victim = victim_of(earlier.record)
        yield f"the kernel killed {name}; {victim} would have been dead for {ahead}"
    else:
        yield f"the kernel killed {name}; the policy would not have acted before"


def _acted(mark: Mark) -> Iterator[str]:
    name = label(mark.comm, mark.pid)
    yield f"{printable(mark.by) or 'the policy in force'} acted on {name}"


def sums(played: Replay) -> Iterator[str]:
    """What it comes to, a line each."""
    kills = len(played.would_kill)
    yield f"would have killed: {kills or 'none'}"
    if played.would_ease:
        yield f"softer acts: {len(played.would_ease)}; the recording goes on as if there were none"
    if played.kernel_kills:
        ahead = [k.ahead_s for k in played.kernel_kills if k.ahead_s is not None]
        other = sum(k.ahead_s is None and k.after is not None for k in played.kernel_kills)
        parts = [f"the kernel killed: {len(played.kernel_kills)}"]
        if ahead:
            parts.append(
                f"{len(ahead)} of them {seconds(min(ahead))} or more after the policy would have"
            )
        if other:
            parts.append(f"{other} that might have lived, as the policy had acted before")
        late = len(played.kernel_kills) - len(ahead) - other
        if late:
            parts.append(f"{late} without the policy having acted")
        yield "; ".join(parts)
    else:
        yield "the kernel killed: none"
    yield f"low memory, by this policy, for {seconds(played.warned_s)}"
    yield f"evaluated at recorded samples, at most {seconds(played.longest_gap_s)} apart"


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
         "sums": sums(one)}
        for i, (name, one) in enumerate(zip(names, played, strict=True))
    ]  # fmt: skip
    return comparison(
        heading=f"{printable(recording.path)}: {' | '.join(names)}",
        names=names,
        notes=[recording_line(recording)],
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
    for number, (wall_s, kind, lines) in enumerate(events(played)):
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
        for number, (wall_s, kind, lines) in enumerate(events(played))
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
