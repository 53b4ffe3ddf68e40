"""A sweep's answer as one page that needs nothing else, with the runs worth looking at."""

import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

from oomkit.model import ModelError
from oomkit.render.quantities import outcome_of, percent, seconds
from oomkit.sweep.answer import HEADS, OBJECTIVES, Answer, Group, amount, name_of
from oomkit.sweep.plan import Plan
from oomkit.sweep.run import Player, described
from oomkit.sweep.spec import Sweep, Weights
from oomkit.views.chart_page import chart_page, placed
from oomkit.views.run_events import happenings
from oomkit.views.sweep_charts import panels

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
