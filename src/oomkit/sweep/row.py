"""One row of the results: what a run was, and what came of it."""

from typing import Any

from oomkit.scenario import Run
from oomkit.sweep.format import Axis, Sweep, Weights
from oomkit.sweep.quantity import value_of

Row = dict[str, Any]

_BEFORE: dict[str, type] = {"run": int, "point": int, "scenario": str, "policy": str, "seed": int}

_AFTER: dict[str, type] = {
    "outcome": str, "ended_s": float, "kills": int, "freed_mb": float, "work_lost_s": float,
    "innocents_killed": int, "protected_killed": int, "frozen_s": float, "unusable_s": float,
    "denied": int, "first_kill_s": float, "first_victim": str, "cost": float, "error": str,
}  # fmt: skip

_AXIS_TYPES: dict[str, type] = {
    "size": int, "duration": float, "rate": float, "number": float, "integer": int, "text": str,
    "flag": bool,
}  # fmt: skip


def columns(axes: tuple[Axis, ...]) -> dict[str, type]:
    """Every column with its type, in order."""
    between = {axis.column: _AXIS_TYPES[axis.kind] for axis in axes}
    return {**_BEFORE, **between, **_AFTER}


def result(run: Run, duration_s: float, weights: Weights) -> Row:
    """What came of a run.

    Args:
        run: its record.
        duration_s: how long it would have gone on.
        weights: what it costs.
    """
    aims = run.objectives
    down_s = duration_s - run.ended_s if run.outcome == "panicked" else 0.0
    unusable_s = round(aims.frozen_s + max(down_s, 0.0), 3)
    first = next((kill for kill in run.kills if not kill.would_have), None)
    cost = (
        weights.unusable_s * unusable_s
        + weights.work_lost_s * aims.work_lost_s
        + weights.kills * aims.kills
        + weights.innocents_killed * aims.innocents_killed
        + weights.protected_killed * aims.protected_killed
        + weights.denied * len(run.denied)
    )
    return {
        "outcome": run.outcome,
        "ended_s": run.ended_s,
        "kills": aims.kills,
        "freed_mb": aims.freed_mb,
        "work_lost_s": aims.work_lost_s,
        "innocents_killed": aims.innocents_killed,
        "protected_killed": aims.protected_killed,
        "frozen_s": aims.frozen_s,
        "unusable_s": unusable_s,
        "denied": len(run.denied),
        "first_kill_s": None if first is None else first.t_s,
        "first_victim": None if first is None else f"{first.task}/{first.instance}",
        "cost": round(cost, 3),
        "error": None,
    }


def failure(reason: str) -> Row:
    """What stands in a row whose run failed."""
    return {**dict.fromkeys(_AFTER), "error": " ".join(reason.split())[:500]}


def identity(sweep: Sweep, scenario: str, job: Any) -> Row:
    """What a run was: the columns before its results."""
    policy = sweep.guards[job.policy].name if sweep.guards else None
    values = {axis.column: value for axis, value in zip(sweep.axes, job.values, strict=True)}
    return {
        "run": job.run,
        "point": job.point,
        "scenario": scenario,
        "policy": policy,
        "seed": job.seed,
        **values,
    }


def described(who: Row, axes: tuple[Axis, ...]) -> str:
    """Which run it is, in words: its scenario, its policy and its values."""
    values = (f"{axis.key} {value_of(axis, who[axis.column])}" for axis in axes)
    policy = [] if who["policy"] is None else [f"policy {who['policy']}"]
    return ", ".join([str(who["scenario"]), *policy, *values, f"seed {who['seed']}"])
