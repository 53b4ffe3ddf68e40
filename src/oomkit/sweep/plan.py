"""Which runs a sweep is made of: numbered, each with its values, by the sweep and its seed."""

from collections.abc import Iterator
from itertools import product
from math import prod
from random import Random
from typing import Any

import msgspec

from oomkit.sweep.axes import draw_value
from oomkit.sweep.fleet import Table
from oomkit.sweep.spec import Axis, Sweep, Value

MAX_RUNS = 100_000_000


class Job(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One run, as it is sent to a worker.

    Attributes:
        run: its number, from 0.
        point: what is drawn; the runs of one point differ only in what the question is about.
        scenario: which base; -1: the one in ``raw``.
        policy: which policy.
        seed: of the model.
        values: of the sweep's axes, in their order.
        raw: a scenario drawn from a fleet.
    """

    run: int
    point: int
    scenario: int
    policy: int
    seed: int
    values: tuple[Value, ...]
    raw: dict[str, Any] | None = None


class Plan:
    """The runs of a sweep.

    Attributes:
        points: how many points there are.
        per_point: how many runs each has.
        total: how many runs there are.
    """

    def __init__(self, sweep: Sweep, fleet: Table | None = None) -> None:
        """Work out what will be played.

        Args:
            sweep: the sweep.
            fleet: the table machines and loads are drawn from, for a sweep with one.
        """
        self.sweep = sweep
        self._fleet = fleet
        self._guards = max(len(sweep.guards), 1)
        self._crossings = _crossings(sweep)
        self._free = [axis for axis in sweep.axes if axis not in sweep.crossed]
        if sweep.runs is None:
            self._bases = max(len(sweep.bases), 1)
            grid = self._bases * sweep.repeat
            for axis in self._free:
                grid *= len(axis.values)
            self.points = grid
        else:
            self.points = sweep.runs
        self.per_point = len(self._crossings) * self._guards
        self.total = self.points * self.per_point

    def jobs(self, skip: frozenset[int] = frozenset(), start: int = 0) -> Iterator[Job]:
        """The runs in their order.

        Args:
            skip: numbers of runs to leave out.
            start: the first number.
        """
        for point in range(start // self.per_point, self.points):
            yield from (job for job in self._of(point) if job.run >= start and job.run not in skip)

    def job(self, run: int) -> Job:
        """One run, by its number."""
        return self._of(run // self.per_point)[run % self.per_point]

    def _of(self, point: int) -> list[Job]:
        base, drawn, raw = self._draw(point)
        seed = int(self._rng(point, "seed").random() * 2**31)
        run = point * self.per_point
        columns = [axis.column for axis in self.sweep.axes]
        jobs = []
        for crossing in self._crossings:
            known = {**drawn, **crossing}
            values = tuple(known[column] for column in columns)
            for policy in range(self._guards):
                jobs.append(
                    Job(run=run, point=point, scenario=base, policy=policy, seed=seed,
                        values=values, raw=raw)
                )  # fmt: skip
                run += 1
        return jobs

    def _draw(self, point: int) -> tuple[int, dict[str, Value], dict[str, Any] | None]:
        """The base, the values, and the fleet's scenario of a point."""
        sweep = self.sweep
        drawn: dict[str, Value] = {}
        if sweep.runs is None:
            rest, _ = divmod(point, sweep.repeat)
            for axis in reversed(self._free):
                rest, place = divmod(rest, len(axis.values))
                drawn[axis.column] = axis.values[place]
            base = rest
        else:
            for axis in self._free:
                drawn[axis.column] = draw_value(axis, self._rng(point, axis.column))
            base = int(self._rng(point, "scenario").random() * len(sweep.bases))
        if self._fleet is None:
            return base, drawn, None
        return -1, drawn, self._fleet.scenario(self._rng(point, "fleet"))

    def _rng(self, point: int, what: str) -> Random:
        """A generator of its own for each thing that is drawn, so that none moves another."""
        return Random(f"{self.sweep.seed}/{point}/{what}")


def _crossings(sweep: Sweep) -> list[dict[str, Value]]:
    """The values of the question's axes that every point is played with."""
    axes = sweep.crossed
    if not axes:
        return [{}]
    if sweep.want.kind == "least":
        return one_at_a_time(axes)
    return [
        dict(zip((axis.column for axis in axes), values, strict=True))
        for values in product(*(axis.values for axis in axes))
    ]


def count_runs(sweep: Sweep) -> int:
    """How many runs a sweep has, without making any."""
    crossed = [len(axis.values) for axis in sweep.crossed]
    crossings = sum(crossed) if sweep.want.kind == "least" else prod(crossed)
    free = prod(len(axis.values) for axis in sweep.axes if axis not in sweep.crossed)
    points = sweep.runs or max(len(sweep.bases), 1) * sweep.repeat * free
    return points * max(crossings, 1) * max(len(sweep.guards), 1)


def one_at_a_time(axes: tuple[Axis, ...]) -> list[dict[str, Value]]:
    """Each axis' values while the others have their largest."""
    top = {axis.column: max(axis.values, key=float) for axis in axes}
    found = []
    for axis in axes:
        for value in axis.values:
            crossing = {**top, axis.column: value}
            if crossing not in found:
                found.append(crossing)
    return found
