"""What a policy would make of one process now."""

import os

from oomkit.errors import OomkitError
from oomkit.guard.config import Settings
from oomkit.guard.sensors import Sensors
from oomkit.policy.describe import effective
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.decider import Decider
from oomkit.policy.engine.evidence import factors_words
from oomkit.policy.engine.starts import Starts, from_values
from oomkit.policy.records import Policy


class NoSuchProcessError(OomkitError):
    """There is no process of that number, or it is not ours to see."""


def candidates_here(settings: Settings) -> tuple[Candidate, ...]:
    """All processes with what the policy's patterns are about."""
    sensors = Sensors(settings.plan, settings, whole=True)
    try:
        pids = [int(name) for name in os.listdir(settings.places.proc) if name.isdigit()]
        return tuple(sensors.warm.also(pids, most=len(pids)))
    finally:
        sensors.close()


def first_here(settings: Settings, *, most: int = 5) -> tuple[str, ...]:
    """The processes that would be chosen first now, a line each; empty where cgroups are chosen."""
    if settings.plan.selection.level == "cgroup" or not settings.plan.rules:
        return ()
    decider = Decider(settings.plan, dry_run=True, starts=Starts(from_values(settings.starts)))
    ranked = decider.rank(candidates_here(settings))
    return tuple(
        f"{one.candidate.comm}[{one.candidate.pid}]: {factors_words(one)}"
        for one in ranked[:most]
        if not one.verdict
    )


def consider(policy: Policy, settings: Settings, pid: int) -> tuple[str, ...]:
    """What the policy means for a process, among all that are there now; a line each.

    Raises:
        NoSuchProcessError: see there.
    """
    sensors = Sensors(settings.plan, settings, whole=True)
    decider = Decider(settings.plan, dry_run=True)
    try:
        reading = sensors.reading(0.0)
        if reading is None:
            raise NoSuchProcessError("processes can't be read")
        decider.look(reading)
        processes, groups = sensors.candidates(reading, decider.growth, also=(pid,))
    finally:
        sensors.close()
    one = next((candidate for candidate in processes if candidate.pid == pid), None)
    if one is None:
        raise NoSuchProcessError(f"no process {pid} that can be seen from here")
    return effective(
        policy, one, processes=tuple(processes), groups=tuple(groups),
        starts=Starts(from_values(settings.starts)),
    )  # fmt: skip
