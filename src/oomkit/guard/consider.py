"""What a policy would make of one process now."""

from oomkit.guard.eyes import Eyes
from oomkit.guard.settings import Settings
from oomkit.policy.core.decider import Decider
from oomkit.policy.core.ranked import Ranked


class NoSuchProcessError(Exception):
    """There is no process of that number, or it is not ours to see."""


def consider(settings: Settings, pid: int) -> tuple[Ranked, int]:
    """Rank one process among all that are there.

    Returns:
        its rank's particulars, and its place from 1 among those that can be chosen; 0 if it can't.

    Raises:
        NoSuchProcessError: see there.
    """
    eyes = Eyes(settings.plan, settings)
    decider = Decider(settings.plan, dry_run=True)
    try:
        reading = eyes.reading(0.0)
        if reading is None:
            raise NoSuchProcessError("processes can't be read")
        decider.look(reading)
        eyes.refresh(decider, reading, note=True)
        candidates, groups = eyes.candidates(storm=False)
        candidates += eyes.warm.also([pid], most=1)
    finally:
        eyes.close()
    ranked = decider.rank(candidates, groups)
    can_be_chosen = [one for one in ranked if not one.verdict]
    for one in ranked:
        if pid in (member.pid for member in one.members):
            place = can_be_chosen.index(one) + 1 if one in can_be_chosen else 0
            if one.candidate.pid == pid or one.level == "cgroup":
                return one, place
    raise NoSuchProcessError(f"no process {pid} that can be seen from here")
