"""A run as one page that needs nothing else: no network, no other file."""

from typing import Any

from oomkit.printable import printable
from oomkit.render.quantities import FIELDS, mb, outcome_of, percent, seconds
from oomkit.scenario import Run, Scenario
from oomkit.views import scenario as knobs
from oomkit.views.chart_page import chart_page, placed
from oomkit.views.run_charts import panels
from oomkit.views.run_curves import PING, PROBE, answers, curves
from oomkit.views.run_events import ending, log_clock, nested
from oomkit.views.run_text import objective_rows

MAX_TASKS = 200
"""Tasks listed, largest first."""

MAX_LOG_LINES = 20_000

BAD_FIELDS = (FIELDS["innocents_killed"], FIELDS["protected_killed"])
"""Objectives that are bad unless they are 0."""


def html_page(run: Run, scenario: Scenario | None = None, *, command: str = "") -> str:
    """Make the page.

    Args:
        run: the record.
        scenario: what was played; adds the knobs, the tasks' steps, the memory's size.
        command: what plays it again.

    Raises:
        MissingExtraError: altair, jinja2 or vl-convert-python is not installed.
    """
    charts = panels(run, scenario)
    return chart_page(
        run.scenario,
        "run.html",
        charts=bool(charts),
        run=run,
        scenario=scenario,
        drawings=[
            placed(one.chart, one.key, one.height, title=one.title, note=one.note) for one in charts
        ],
        label=_chart_label(run),
        command=command,
        ended=seconds(run.ended_s),
        outcome=outcome_of(run.outcome),
        good=run.outcome == "completed" and not run.objectives.protected_killed,
        bad_fields=BAD_FIELDS,
        end=ending(run),
        answered=_answered(run),
        objectives=objective_rows(run),
        found=nested(run, scenario),
        tasks=_tasks(run),
        knobs=knobs,
        log=[printable(line.expandtabs()) for line in run.log[:MAX_LOG_LINES]],
        log_clock=log_clock(run),
        log_left_out=max(len(run.log) - MAX_LOG_LINES, 0),
    )


def _chart_label(run: Run) -> str:
    least = min(run.samples.available_mb, default=0.0)
    return (
        f"Curves over {seconds(run.ended_s)}; at minimum {mb(max(least, 0.0))} were available; "
        f"{run.objectives.kills} kills. The list below has the same in words."
    )


def _answered(run: Run) -> list[tuple[str, int, str]]:
    found = []
    for key, label in ((PROBE, "probe"), (PING, "ping")):
        answered = answers(run, key)
        if answered is not None:
            found.append((label, answered[0], seconds(answered[1])))
    return found


def _tasks(run: Run) -> dict[str, Any]:
    found = sorted(curves(run), key=lambda curve: -curve.peak_mb)
    index = {(k.task, k.instance): i for i, k in enumerate(run.kills) if not k.would_have}
    rows = []
    for curve in found[:MAX_TASKS]:
        killed = index.get((curve.name, curve.instance))
        if curve.kill is not None:
            fate = f"killed at {seconds(curve.kill.t_s)}"
        elif curve.end_s is not None:
            fate = f"ended at {seconds(curve.end_s)}"
        else:
            fate = "there at the end"
        done = max(curve.progress[: curve.last + 1], default=0.0)
        rows.append(
            {
                "key": curve.key,
                "start": seconds(curve.start_s),
                "fate": fate,
                "kill": killed,
                "rss": mb(max(curve.rss_mb)),
                "swap": mb(max(curve.swap_mb)),
                "done": percent(done) if done <= 1.0 else f"{done:.1f} loops",
            }
        )
    return {"rows": rows, "left_out": max(len(found) - MAX_TASKS, 0)}
