"""Scenarios played for a page: curves, events, figures."""

import tomllib
from collections.abc import Sequence
from typing import Any

from oomkit.kernel.versions import history
from oomkit.model import play as play_model
from oomkit.policy import builtin
from oomkit.policy.read import policy_from
from oomkit.policy.records import Policy
from oomkit.printable import printable
from oomkit.records import to_json
from oomkit.render.quantities import outcome_of, seconds
from oomkit.scenario import Run, Scenario
from oomkit.scenario.read import ScenarioError, scenario_from, walk_tasks
from oomkit.toml.load import decoded
from oomkit.toml.table import TomlError
from oomkit.views import run_chart_rows as rows
from oomkit.views.run_compare import rows as compared_rows
from oomkit.views.run_curves import swap_total_mb
from oomkit.views.run_events import ending, happenings
from oomkit.views.run_text import objective_rows

_MIB = 2**20
MAX_LOG_LINES = 2_000


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
    """What a form shows of a scenario: the machine, its knobs, tasks and cgroups.

    Raises:
        ScenarioError: it is none.
    """
    made = read(text, overrides)
    return {
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
            {"name": one.name, "max_mb": None if one.max_bytes is None else one.max_bytes / _MIB}
            for one in made.cgroups
        ],
    }


def policies() -> list[str]:
    """The names of the policies that a machine can be guarded by."""
    return list(builtin.NAMES)


def kernels() -> list[str]:
    """The names of the rule sets, the newest first."""
    return [row.rules.name for row in reversed(history())]


def play(
    text: str, overrides: Sequence[str] = (), policy: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """Play a scenario; see :func:`shown`.

    Args:
        text: TOML.
        overrides: changes such as ``machine.swap=2G``.
        policy: a built-in policy; None: the kernel alone.
        seed: moves only what the scenario declares as random.

    Raises:
        ScenarioError: it is none.
        ModelError: the machine can't be played.
    """
    made = read(text, overrides)
    return shown(_played(made, policy, seed), made)


def record(
    text: str, overrides: Sequence[str] = (), policy: str | None = None, seed: int = 0
) -> str:
    """The record that ``oomkit run --json`` prints.

    Raises:
        ScenarioError: it is none.
        ModelError: the machine can't be played.
    """
    return to_json(_played(read(text, overrides), policy, seed)).decode()


def compare(text: str, sides: Sequence[dict[str, Any]], seed: int = 0) -> dict[str, Any]:
    """Play a scenario twice, changed or under different policies.

    Args:
        text: TOML.
        sides: two objects with ``overrides`` and ``policy`` each.
        seed: moves only what the scenario declares as random.

    Returns:
        Both runs, drawn on the same axes, and what differs, field by field.

    Raises:
        ScenarioError: one of them is none.
        ModelError: one of the machines can't be played.
    """
    made = [read(text, side.get("overrides", ())) for side in sides]
    runs = [_played(one, side.get("policy"), seed) for one, side in zip(made, sides, strict=True)]
    end_s = max(run.ended_s for run in runs)
    return {
        "runs": [shown(run, one, end_s) for run, one in zip(runs, made, strict=True)],
        "rows": compared_rows(runs[0], runs[1], (made[0], made[1])),
    }


def _played(made: Scenario, policy: str | None, seed: int) -> Run:
    return play_model(made, policy=_policy(policy), seed=seed, sample_s=None)


def _policy(name: str | None) -> Policy | None:
    if not name:
        return None
    return policy_from(tomllib.loads(builtin.source(name)), source=name)


def shown(run: Run, made: Scenario, end_s: float = 0.0) -> dict[str, Any]:
    """What a page draws of a run: rows of curves, events, figures, the kernel's log.

    Args:
        run: the record.
        made: what was played.
        end_s: where the time axis ends at the earliest.
    """
    tasks, left_out = rows.task_rows(run)
    groups, limits = rows.cgroup_rows(run, made)
    memory = rows.memory_rows(run, made)
    names = rows.task_names(run)
    *events, end = happenings(run, made)
    return {
        "title": printable(run.scenario),
        "kernel": printable(run.kernel),
        "policy": run.policy,
        "outcome": outcome_of(run.outcome),
        "good": run.outcome == "completed" and not run.objectives.protected_killed,
        "ended": seconds(run.ended_s),
        "end": ending(run).what,
        "end_why": list(end.why),
        "end_s": max([run.ended_s, end_s, *run.samples.t_s[-1:], 0.001]),
        "memory": {
            "uses": list(rows.USES),
            "colours": rows.USE_COLOURS,
            "rows": memory,
            "total_mb": max((sum(row[use] for use in rows.USES) for row in memory), default=0.0),
            "swap_mb": swap_total_mb(run, made),
        },
        "tasks": {
            "names": names,
            "colours": dict(zip(names, rows.TASK_COLOURS, strict=False)),
            "rows": tasks,
            "left_out": left_out,
        },
        "cgroups": {"rows": groups, "limits": limits},
        "pressure": {"colours": rows.PRESSURE_COLOURS, "rows": rows.pressure_rows(run)},
        "kills": rows.kill_rows(run),
        "traces": [[printable(line) for line in kill.trace] for kill in run.kills],
        "freezes": rows.freeze_rows(run),
        "events": [
            {"t_s": one.t_s, "kind": one.kind, "what": one.what, "why": list(one.why)}
            for one in events
        ],
        "objectives": objective_rows(run),
        "log": [printable(line.expandtabs()) for line in run.log[:MAX_LOG_LINES]],
        "log_left_out": max(len(run.log) - MAX_LOG_LINES, 0),
    }
