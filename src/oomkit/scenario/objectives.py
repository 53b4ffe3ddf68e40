"""The objectives of a run, from its kills and freezes."""

from collections.abc import Callable, Sequence

from oomkit.scenario.record import Freeze, Kill, Objectives


def objectives(
    kills: Sequence[Kill],
    frozen: Sequence[Freeze],
    *,
    innocent: Callable[[Kill], bool],
    protected: Callable[[Kill], bool],
) -> Objectives:
    """Sum up a run. Victims that were only named (``would_have``) do not count.

    Args:
        kills: the run's kills.
        frozen: when it was unusable; the intervals do not overlap.
        innocent: whether a victim was not growing when the shortage began, or is marked so.
        protected: whether a victim is marked as protected.
    """
    dead = [kill for kill in kills if not kill.would_have]
    return Objectives(
        kills=len(dead),
        freed_mb=round(sum(kill.freed_mb for kill in dead), 3),
        work_lost_s=round(sum(kill.work_lost_s for kill in dead), 3),
        innocents_killed=sum(1 for kill in dead if innocent(kill)),
        frozen_s=round(sum(freeze.to_s - freeze.from_s for freeze in frozen), 3),
        protected_killed=sum(1 for kill in dead if protected(kill)),
    )
