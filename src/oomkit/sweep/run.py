"""On a worker: a run from its number to its row. What is sent is bytes, which travel cheaply."""

from functools import lru_cache, partial
from typing import Any

import msgspec

from oomkit.model import play
from oomkit.policy.read import policy_from
from oomkit.policy.records import Policy
from oomkit.scenario import Run, Scenario, scenario_from
from oomkit.sweep.axes import POLICY, changed, changed_policy
from oomkit.sweep.plan import Job
from oomkit.sweep.spec import Axis, Sweep, Value, Weights, value_of

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


def described(row: Row, axes: tuple[Axis, ...]) -> str:
    """Which run it is, in words: its scenario, its policy and its values."""
    values = (f"{axis.key} {value_of(axis, row[axis.column])}" for axis in axes)
    policy = [] if row["policy"] is None else [f"policy {row['policy']}"]
    return ", ".join([str(row["scenario"]), *policy, *values, f"seed {row['seed']}"])


PRELOAD = ("oomkit.sweep.run",)
"""What a worker needs to have imported."""

_KEPT_POLICIES = 1000

_job = msgspec.msgpack.Decoder(Job)
_row = msgspec.json.Encoder()


class Player:
    """Plays the runs of a sweep."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        # Decoding copies much faster than copying does.
        self._bases = [msgspec.msgpack.encode(base.raw) for base in sweep.bases]
        self._guards = [msgspec.msgpack.encode(guard.raw) for guard in sweep.guards]
        self._axes = [(i, a) for i, a in enumerate(sweep.axes) if a.key.startswith(POLICY)]
        self._known: dict[tuple[int, tuple[Value, ...]], Policy] = {}

    def row(self, job: Job) -> Row:
        """Play a run; whatever is wrong with it becomes its row's error."""
        identity = self.identity(job)
        try:
            scenario = self.scenario(job)
            run = self.run(job, scenario, sample_s=scenario.duration_s)
        except Exception as error:
            return {**identity, **failure(f"{type(error).__name__}: {error}")}
        return {**identity, **result(run, scenario.duration_s, self.sweep.weights)}

    def identity(self, job: Job) -> Row:
        """The columns that say which run it is."""
        if job.raw is not None:
            return identity(self.sweep, str(job.raw["name"]), job)
        return identity(self.sweep, self.sweep.bases[job.scenario].name, job)

    def scenario(self, job: Job) -> Scenario:
        """What a run plays.

        Raises:
            ScenarioError: its values don't fit the scenario.
            ValueError: a key leads nowhere in it.
        """
        if job.raw is not None:
            raw, source = job.raw, f"run {job.run}"
        else:
            raw = msgspec.msgpack.decode(self._bases[job.scenario])
            source = self.sweep.bases[job.scenario].path
        changed(raw, self.sweep.axes, job.values)
        return scenario_from(raw, source=source)

    def policy(self, job: Job) -> Policy | None:
        """What guards the machine in a run; None: the kernel is alone.

        Raises:
            PolicyError: its values don't fit the policy.
            ValueError: a key leads nowhere in it.
        """
        if not self._guards:
            return None
        values = tuple(job.values[i] for i, _ in self._axes)
        known = self._known.get((job.policy, values))
        if known is None:
            raw = msgspec.msgpack.decode(self._guards[job.policy])
            changed_policy(raw, [axis for _, axis in self._axes], values)
            known = policy_from(raw, source=self.sweep.guards[job.policy].source)
            if len(self._known) >= _KEPT_POLICIES:
                self._known.clear()
            self._known[job.policy, values] = known
        return known

    def run(self, job: Job, scenario: Scenario, *, sample_s: float | None = None) -> Run:
        """Play a run's scenario.

        Args:
            job: the run.
            scenario: what it plays.
            sample_s: distance of the samples; None: the default.

        Raises:
            ModelError: the machine is too small, or the steps too short.
            PolicyError: as :meth:`policy`.
        """
        return play(scenario, policy=self.policy(job), seed=job.seed, sample_s=sample_s)


def work_of(sweep: Sweep) -> "partial[bytes]":
    """The function that plays a run of the sweep, from an encoded job to a line of JSON."""
    return partial(_play, msgspec.msgpack.encode(sweep))


def encode(job: Job) -> bytes:
    """A job as it is sent."""
    return msgspec.msgpack.encode(job)


def lost_row(sweep: Sweep, data: bytes, deaths: int) -> bytes:
    """The row of a run whose workers died."""
    reason = f"its worker died, {deaths} times (out of memory?)"
    return _row.encode({**Player(sweep).identity(_job.decode(data)), **failure(reason)})


def _play(shared: bytes, data: bytes) -> bytes:
    return _row.encode(_player(shared).row(_job.decode(data)))


@lru_cache(maxsize=4)
def _player(shared: bytes) -> Player:
    return Player(msgspec.msgpack.decode(shared, type=Sweep))
