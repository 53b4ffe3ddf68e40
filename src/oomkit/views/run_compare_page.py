"""Several runs as one page: figures, curves and stories beside each other."""

from collections.abc import Sequence
from typing import Any

from oomkit.scenario import Run, Scenario
from oomkit.views import run_compare
from oomkit.views.chart_page import Panel, chart_page, placed
from oomkit.views.run_charts import panels
from oomkit.views.run_events import nested


def compare_page(
    runs: Sequence[Run],
    scenarios: Sequence[Scenario],
    names: Sequence[str],
    *,
    command: str = "",
    judged: bool = True,
) -> str:
    """Make the page.

    Args:
        runs: at least two.
        scenarios: what each of them played.
        names: what heads each.
        command: what plays them again.
        judged: say of the others that they are better or worse than the first; else only where
            they differ.

    Raises:
        MissingExtraError: altair, jinja2 or vl-convert-python is not installed.
    """
    abouts = [" ".join(scenario.about.split()) for scenario in scenarios]
    stories = [
        {
            "name": name,
            "found": nested(run, scenario),
            "run": run,
            "kills": f"kill-{i}-",
        }
        for i, (run, scenario, name) in enumerate(zip(runs, scenarios, names, strict=True))
    ]
    return comparison(
        heading=f"{runs[0].scenario}: {' | '.join(names)}",
        about=" | ".join(dict.fromkeys(filter(None, abouts))),
        names=names,
        rows=_rows(runs, scenarios, judged=judged),
        panels=_panels(runs, scenarios, names),
        stories=stories,
        command=command,
    )


def comparison(
    *,
    heading: str,
    names: Sequence[str],
    rows: Sequence[dict[str, Any]],
    panels: Sequence[dict[str, Any]],
    stories: Sequence[dict[str, Any]],
    about: str = "",
    notes: Sequence[str] = (),
    freezes: bool = True,
    command: str = "",
) -> str:
    """Fill the page of a comparison; its parts are as the template has them."""
    return chart_page(
        heading,
        "compare.html",
        charts=bool(panels),
        heading=heading,
        about=about,
        notes=notes,
        freezes=freezes,
        names=names,
        rows=rows,
        panels=panels,
        stories=stories,
        command=command,
    )


def _rows(
    runs: Sequence[Run], scenarios: Sequence[Scenario], *, judged: bool
) -> list[dict[str, Any]]:
    """A line for each field: the first run's value, and the others' with what to think of them."""
    words = {"better": "better", "worse": "worse", "other": "differs", "same": ""}
    if not judged:
        words |= {"better": "differs", "worse": "differs"}
    pairs = [
        {row.field: row for row in run_compare.rows(runs[0], run, (scenarios[0], scenario))}
        for run, scenario in zip(runs[1:], scenarios[1:], strict=True)
    ]
    found = []
    for field in dict.fromkeys(field for pair in pairs for field in pair):
        first = next(pair[field].left for pair in pairs if field in pair)
        cells = [(first, "")]
        for pair in pairs:
            row = pair.get(field)
            cells.append(("-", "") if row is None else (row.right, words[row.verdict]))
        found.append({"field": field, "cells": cells})
    return found


def _panels(
    runs: Sequence[Run], scenarios: Sequence[Scenario], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Charts of one kind beside each other, over the same time."""
    end_s = max(run.ended_s for run in runs)
    made = [
        {one.key: one for one in panels(run, scenario, end_s=end_s)}
        for run, scenario in zip(runs, scenarios, strict=True)
    ]
    kinds: dict[str, Panel] = {}
    for by_key in made:
        kinds |= {key: panel for key, panel in by_key.items() if key not in kinds}
    return [
        {
            "title": kind.title,
            "note": kind.note,
            "charts": [
                placed(
                    by_key[key].chart,
                    f"{key}-{i}",
                    by_key[key].height,
                    kills=f"kill-{i}-",
                    name=names[i],
                )
                for i, by_key in enumerate(made)
                if key in by_key
            ],
        }
        for key, kind in kinds.items()
    ]
