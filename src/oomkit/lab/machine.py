"""Scenarios played for a page: curves, events, figures."""

import tomllib
from collections.abc import Callable, Sequence
from typing import Any

from oomkit.kernel.versions import history
from oomkit.lab.chinese import sentences, spoken
from oomkit.model import play as play_model
from oomkit.model.play import play_without_log
from oomkit.policy import builtin
from oomkit.policy.read import policy_from
from oomkit.policy.records import Policy
from oomkit.printable import printable
from oomkit.records import replace, to_json
from oomkit.render.quantities import outcome_of, seconds
from oomkit.scenario import Run, Scenario
from oomkit.scenario.read import ScenarioError, scenario_from, walk_tasks
from oomkit.scenario.write import scenario_text
from oomkit.toml.load import decoded, with_value
from oomkit.toml.table import TomlError
from oomkit.views import run_chart_rows as rows
from oomkit.views.run_compare import rows as compared_rows
from oomkit.views.run_curves import Curve, curves, uses
from oomkit.views.run_events import happenings
from oomkit.views.run_text import objective_rows

_MIB = 2**20
MAX_LOG_LINES = 2_000
MAX_SAMPLES = 400
"""Regular samples of a run that is drawn; a picture has no more columns than that."""
MAX_VALUES = 8_000
"""Points of all tasks' curves together; with many tasks each has fewer."""


def read(text: str, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Args:
        text: TOML.
        overrides: changes such as ``machine.swap=2G``.

    Raises:
        ScenarioError: it is none; all its faults are in ``lines()``.
    """
    try:
        raw = decoded(text.encode(errors="replace"), "scenario")
    except TomlError as error:
        raise ScenarioError(error.source, error.faults) from None
    return scenario_from(raw, overrides=overrides)


def scenario(text: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a form shows of a scenario: its text, the machine, its knobs, tasks and cgroups.

    Raises:
        ScenarioError: it is none.
    """
    made = read(text, overrides)
    return {
        "text": written(text, overrides, made),
        "name": printable(made.name),
        "about": printable(" ".join(made.about.split())),
        "ram_mb": made.machine.ram_bytes / _MIB,
        "swap_mb": made.machine.swap_bytes / _MIB,
        "cpus": made.machine.cpus,
        "kernel": made.machine.kernel,
        "vm": dict(made.vm),
        "tasks": [
            {
                "name": task.name,
                "oom_score_adj": task.oom_score_adj,
                "oom_adj": task.oom_adj,
                "count": task.count,
            }
            for _, task in walk_tasks(made.tasks)
        ],
        "cgroups": [
            {"name": one.name, "max_mb": _mib(one.max_bytes), "high_mb": _mib(one.high_bytes)}
            for one in made.cgroups
        ],
    }


def _mib(size: int | None) -> float | None:
    return None if size is None else size / _MIB


def written(text: str, overrides: Sequence[str], made: Scenario) -> str:
    """A scenario's text with changes made in it: its own where that can be, comments and all.

    Args:
        text: TOML.
        overrides: changes such as ``machine.swap=2G``.
        made: what the text and the changes come to.
    """
    edited = text
    for override in overrides:
        edited = with_value(edited, *override.split("=", 1))
    try:
        same = read(edited) == made
    except ScenarioError:
        same = False
    return edited if same else scenario_text(made)


def policies() -> list[str]:
    """The names of the policies that a machine can be guarded by."""
    return list(builtin.NAMES)


def kernels() -> list[str]:
    """The names of the rule sets, the newest first."""
    return [row.rules.name for row in reversed(history())]


def play(
    text: str,
    overrides: Sequence[str] = (),
    policy: str | None = None,
    seed: int = 0,
    language: str = "en",
) -> dict[str, Any]:
    """Play a scenario; see :func:`shown`. The rest of it is what :func:`details` returns.

    Args:
        text: TOML.
        overrides: changes such as ``machine.swap=2G``.
        policy: a built-in policy; None: the kernel alone.
        seed: moves only what the scenario declares as random.
        language: ``en`` or ``zh``.

    Raises:
        ScenarioError: it is none.
        ModelError: the machine can't be played.
    """
    made = read(text, overrides)
    run, log = _drawn(made, policy, seed)
    _last[:] = [(run, log)]
    return shown(run, made, language=language)


def details(language: str = "en") -> list[dict[str, Any]]:
    """What no picture shows of the runs that were played last: traces of kills, kernel logs.

    Args:
        language: ``en`` or ``zh``.

    Returns:
        For each run, in their order.
    """
    found = []
    for run, log in _last:
        lines = log()
        found.append(
            {
                "traces": [
                    [spoken(printable(line), language) for line in kill.trace] for kill in run.kills
                ],
                "log": [printable(line.expandtabs()) for line in lines[:MAX_LOG_LINES]],
                "log_left_out": max(len(lines) - MAX_LOG_LINES, 0),
            }
        )
    return found


_last: list[tuple[Run, Callable[[], tuple[str, ...]]]] = []
"""The runs that were played last, and what writes their logs."""


def record(
    text: str, overrides: Sequence[str] = (), policy: str | None = None, seed: int = 0
) -> str:
    """The record that ``oomkit run --json`` prints.

    Raises:
        ScenarioError: it is none.
        ModelError: the machine can't be played.
    """
    return to_json(_played(read(text, overrides), policy, seed)).decode()


def compare(
    text: str, sides: Sequence[dict[str, Any]], seed: int = 0, language: str = "en"
) -> dict[str, Any]:
    """Play a scenario twice, changed or under different policies.

    Args:
        text: TOML.
        sides: two objects with ``overrides`` and ``policy`` each.
        seed: moves only what the scenario declares as random.
        language: ``en`` or ``zh``.

    Returns:
        Both runs, drawn on the same axes, and what differs, field by field.

    Raises:
        ScenarioError: one of them is none.
        ModelError: one of the machines can't be played.
    """
    made = [read(text, side.get("overrides", ())) for side in sides]
    _last[:] = [
        _drawn(one, side.get("policy"), seed) for one, side in zip(made, sides, strict=True)
    ]
    runs = [run for run, _ in _last]
    end_s = max(run.ended_s for run in runs)
    return {
        "runs": [
            shown(run, one, end_s, language=language) for run, one in zip(runs, made, strict=True)
        ],
        "rows": compared_rows(runs[0], runs[1], (made[0], made[1])),
    }


def outcome(
    text: str,
    overrides: Sequence[str] = (),
    policy: str | None = None,
    seed: int = 0,
    language: str = "en",
) -> dict[str, Any]:
    """What a policy makes of a scenario, in figures: a row of a table of policies.

    Args:
        text: TOML.
        overrides: changes such as ``machine.swap=2G``.
        policy: a built-in policy; None: the kernel alone.
        seed: moves only what the scenario declares as random.
        language: ``en`` or ``zh``.

    Returns:
        How it ended, and the objectives as pairs of a number, to sort by, and a text.

    Raises:
        ScenarioError: it is none.
        ModelError: the machine can't be played.
    """
    made = read(text, overrides)
    run = play_model(made, policy=_policy(policy), seed=seed, sample_s=None, most_samples=2)
    figures = run.objectives
    values = (figures.kills, figures.freed_mb, figures.work_lost_s, figures.innocents_killed,
              figures.frozen_s, figures.protected_killed)  # fmt: skip
    rows = objective_rows(run)
    return {
        "outcome": spoken(outcome_of(run.outcome), language),
        "good": run.outcome == "completed" and not run.objectives.protected_killed,
        "ended": [run.ended_s, seconds(run.ended_s)],
        "killed": printable(", ".join(dict.fromkeys(kill.task for kill in run.kills))),
        "fields": [field for field, _, _ in rows],
        "figures": [[n, shown] for n, (_, shown, _) in zip(values, rows, strict=True)],
    }


def _played(made: Scenario, policy: str | None, seed: int) -> Run:
    return play_model(made, policy=_policy(policy), seed=seed, sample_s=None)


def _drawn(
    made: Scenario, policy: str | None, seed: int
) -> tuple[Run, Callable[[], tuple[str, ...]]]:
    """The run with as many samples as a picture can show, and what writes its log."""
    run, log = play_without_log(made, policy=_policy(policy), seed=seed, most_samples=MAX_SAMPLES)
    # How a panic is told is what the kernel logged.
    return (replace(run, log=log()) if run.outcome == "panicked" else run), log


def _policy(name: str | None) -> Policy | None:
    if not name:
        return None
    return policy_from(tomllib.loads(builtin.source(name)), source=name)


def shown(run: Run, made: Scenario, end_s: float = 0.0, *, language: str = "en") -> dict[str, Any]:
    """What a page draws of a run: rows of curves, events, figures.

    Args:
        run: the record.
        made: what was played.
        end_s: where the time axis ends at the earliest.
        language: ``en`` or ``zh``, as far as :mod:`oomkit.lab.chinese` has the sentences.
    """

    def said(value: Any) -> Any:
        return spoken(value, language)

    title = printable(run.scenario)
    found = curves(run)
    names = rows.task_names(run, found)
    groups, limits = rows.cgroup_rows(run, made, found)
    use = uses(run, made)
    *events, end = happenings(run, made, known=found, use=use)
    return {
        "title": title if language == "en" else sentences().get(title, title),
        "kernel": printable(run.kernel),
        "policy": run.policy,
        "outcome": said(outcome_of(run.outcome)),
        "good": run.outcome == "completed" and not run.objectives.protected_killed,
        "ended": seconds(run.ended_s),
        "end": said(end.what),
        "end_why": said(end.why),
        "end_s": max([run.ended_s, end_s, *run.samples.t_s[-1:], 0.001]),
        "memory": {
            "colours": rows.USE_COLOURS,
            "t": use.t_s,
            "uses": {
                name: _rounded(part)
                for name, part in zip(
                    rows.USES,
                    (use.kernel_mb, use.tasks_mb, use.cache_mb, use.free_mb),
                    strict=True,
                )
            },
            "total_mb": use.total_mb,
            "swap": _rounded(use.swap_used_mb) if use.swap_total_mb > 0 else [],
            "swap_mb": use.swap_total_mb,
        },
        "tasks": {
            "colours": dict(zip(names, rows.TASK_COLOURS, strict=False)),
            **_task_curves(found, run.samples.t_s, set(names)),
        },
        "cgroups": {"rows": groups, "limits": limits},
        "pressure": {
            "colours": rows.PRESSURE_COLOURS,
            "t": run.samples.t_s,
            "PSI some": run.samples.psi_some_avg10,
            "PSI full": run.samples.psi_full_avg10,
            "CPU busy": _rounded([busy * 100 for busy in run.samples.cpu_busy]),
        },
        "kills": [
            one | {key: said(one[key]) for key in ("what", "badness", "why")}
            for one in rows.kill_rows(run, found)
        ],
        "freezes": rows.freeze_rows(run),
        "events": [
            {"t_s": one.t_s, "kind": one.kind, "what": said(one.what), "why": said(one.why)}
            for one in events
        ],
        "objectives": [(field, value, said(means)) for field, value, means in objective_rows(run)],
    }


def _task_curves(found: Sequence[Curve], t_s: list[float], names: set[str]) -> dict[str, Any]:
    """The largest tasks' curves, column by column, and how many tasks are not drawn."""
    ordered = sorted(found, key=lambda curve: -curve.peak_mb)
    drawn = ordered[: rows.MAX_CURVES]
    every = max(1, len(drawn) * len(t_s) // MAX_VALUES)
    shown = []
    for curve in drawn:
        name = printable(curve.name)
        # The first sample, every so manyth, and the last.
        spots = [*range(curve.first, curve.last, every), curve.last]
        shown.append(
            {
                "task": printable(curve.key),
                "name": name if name in names else rows.OTHERS,
                "t": [t_s[i] for i in spots],
                "rss": [curve.rss_mb[i] for i in spots],
                "swap": [curve.swap_mb[i] for i in spots] if any(curve.swap_mb) else [],
            }
        )
    return {"curves": shown, "left_out": len(ordered) - len(drawn)}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]
