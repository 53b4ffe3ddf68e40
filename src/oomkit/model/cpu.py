"""Sharing CPUs among tasks by weight (the fair scheduler, seen as a fluid)."""

from typing import Final

NICE_0_WEIGHT: Final = 1024.0


def nice_weight(nice: int) -> float:
    """Weight of a nice level: each level is worth a factor of 1.25 (kernel/sched/core.c)."""
    return float(NICE_0_WEIGHT / 1.25**nice)


def fair_shares(cpus: float, needs: list[float], weights: list[float]) -> list[float]:
    """CPUs each task gets.

    Args:
        cpus: number of CPUs.
        needs: for each task the CPUs it could use.
        weights: and its weight.

    Returns:
        At most what each could use, at most ``cpus`` in all; CPU time that one leaves is shared
        among the others by weight.
    """
    given = needs[:]
    order: list[tuple[float, int]] = []
    wanted = left_weight = 0.0
    for i, need in enumerate(needs):
        wanted += need
        if need > 0.0:
            left_weight += weights[i]
            order.append((need / weights[i], i))
    if wanted <= cpus:
        return given
    # Python's own comparison of tuples: a function as the key is called for each.
    order.sort()
    left = cpus
    for _, i in order:
        need, weight = needs[i], weights[i]
        if left < 0.0:
            left = 0.0
        share = left * weight / left_weight
        if share < need:
            need = share
            given[i] = need
        left -= need
        left_weight -= weight
        if left_weight <= 0.0:
            break
    return given
