"""On a worker: a run from its number to its row. What is sent is bytes, which travel cheaply."""

from functools import lru_cache, partial

import msgspec

from oomkit.model import play
from oomkit.policy.read import policy_from
from oomkit.policy.records import Policy
from oomkit.scenario import Run, Scenario, scenario_from
from oomkit.sweep.change import POLICY, changed, changed_policy
from oomkit.sweep.format import Sweep, Value
from oomkit.sweep.plan import Job
from oomkit.sweep.row import Row, failure, identity, result

PRELOAD = ("oomkit.sweep.play",)
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
        who = self.identity(job)
        try:
            scenario = self.scenario(job)
            run = self.run(job, scenario, sample_s=scenario.duration_s)
        except Exception as error:
            return {**who, **failure(f"{type(error).__name__}: {error}")}
        return {**who, **result(run, scenario.duration_s, self.sweep.weights)}

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
            sample_s: distance of the samples; None: as a run is told from.

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
