"""Sharing CPUs among tasks by weight (the fair scheduler, seen as a fluid)."""

from typing import Final

NICE_0_WEIGHT: Final = 1024.0


def nice_weight(nice: int) -> float:
    """Weight of a nice level: each level is worth a factor of 1.25 (kernel/sched/core.c)."""
    return float(NICE_0_WEIGHT / 1.25**nice)


def fair_shares(cpus: float, needs: list[tuple[float, float]]) -> list[float]:
    """CPUs each task gets.

    Args:
        cpus: number of CPUs.
        needs: for each task the CPUs it could use and its weight.

    Returns:
        At most what each could use, at most ``cpus`` in all; CPU time that one leaves is shared
        among the others by weight.
    """
    given: list[float] = []
    ratios: list[float] = []
    wanted = left_weight = 0.0
    for need, w in needs:
        given.append(need)
        ratios.append(need / w)
        wanted += need
        if need > 0.0:
            left_weight += w
    if wanted <= cpus:
        return given
    left = cpus
    for i in sorted(range(len(needs)), key=ratios.__getitem__):
        need, w = needs[i]
        if need <= 0.0:
            continue
        if left < 0.0:
            left = 0.0
        share = left * w / left_weight
        if share < need:
            need = share
            given[i] = need
        left -= need
        left_weight -= w
        if left_weight <= 0.0:
            break
    return given
