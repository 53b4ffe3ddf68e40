"""What a policy would make of one process now."""

import os

from oomkit.errors import OomkitError
from oomkit.guard.eyes import Eyes
from oomkit.guard.settings import Settings
from oomkit.policy.core.candidate import Candidate
from oomkit.policy.core.decider import Decider
from oomkit.policy.format import Policy
from oomkit.policy.words import effective


class NoSuchProcessError(OomkitError):
    """There is no process of that number, or it is not ours to see."""


def everybody_here(settings: Settings) -> tuple[Candidate, ...]:
    """All processes with what the policy's patterns are about."""
    eyes = Eyes(settings.plan, settings, whole=True)
    try:
        pids = [int(name) for name in os.listdir(settings.places.proc) if name.isdigit()]
        return tuple(eyes.warm.also(pids, most=len(pids)))
    finally:
        eyes.close()


def consider(policy: Policy, settings: Settings, pid: int) -> tuple[str, ...]:
    """What the policy means for a process, among all that are there now; a line each.

    Raises:
        NoSuchProcessError: see there.
    """
    eyes = Eyes(settings.plan, settings, whole=True)
    decider = Decider(settings.plan, dry_run=True)
    try:
        reading = eyes.reading(0.0)
        if reading is None:
            raise NoSuchProcessError("processes can't be read")
        decider.look(reading)
        eyes.refresh(decider, reading)
        eyes.note(decider, reading)
        everybody, groups = eyes.candidates(reading, also=(pid,))
    finally:
        eyes.close()
    one = next((candidate for candidate in everybody if candidate.pid == pid), None)
    if one is None:
        raise NoSuchProcessError(f"no process {pid} that can be seen from here")
    return effective(policy, one, everybody=tuple(everybody), groups=tuple(groups))
