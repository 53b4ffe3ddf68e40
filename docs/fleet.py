"""Make ``sweeps/fleet.csv``: a small fleet in the shape of public traces, from a fixed seed.

Machines in three sizes; services that run for weeks and use less than they request, batch tasks
that live for minutes and use what they request, best-effort tasks that request little, and a few
of each that use more than they said. Run with ``python docs/fleet.py``.
"""

import csv
import math
from pathlib import Path
from random import Random

MACHINES = ((16_384, 4, 20), (32_768, 8, 12), (65_536, 16, 4))
"""Memory in MB, CPUs, how many."""

TIERS = (
    # name, share, priority, median MB, spread, median life in s, median CPUs
    ("monitor", 0.05, 450, 120, 1.5, 2_000_000, 0.05),
    ("service", 0.35, 200, 1_400, 2.2, 1_200_000, 0.4),
    ("batch", 0.40, 110, 900, 2.5, 420, 0.9),
    ("free", 0.20, 25, 500, 2.5, 240, 0.6),
)

WEEK_S = 7 * 86_400


def rows(tasks: int, seed: int = 2019) -> list[tuple[object, ...]]:
    rng = Random(seed)
    machines = [
        (f"m{size}-{i}", mb, cpus)
        for size, (mb, cpus, count) in enumerate(MACHINES)
        for i in range(count)
    ]
    found: list[tuple[object, ...]] = []
    for number in range(tasks):
        name, mb, cpus = machines[int(rng.random() * len(machines))]
        tier, _, priority, median, spread, life, busy = _tier(rng.random())
        requested = min(_around(rng, median, spread), mb / 2)
        overshoots = rng.random() < (0.02 if tier == "monitor" else 0.12)
        used = requested * (1.3 + 2 * rng.random() if overshoots else 0.4 + 0.55 * rng.random())
        start = rng.random() * WEEK_S
        end = start + _around(rng, life, 1.8)
        found.append(
            (name, mb, cpus, f"{tier}-{number}", round(start, 1), round(end, 1),
             round(requested, 1), round(used, 1), round(_around(rng, busy, 1.6), 3), priority)
        )  # fmt: skip
    return found


def _tier(u: float) -> tuple[str, float, int, float, float, float, float]:
    for tier in TIERS:
        u -= tier[1]
        if u < 0:
            return tier
    return TIERS[-1]


def _around(rng: Random, median: float, factor: float) -> float:
    """Log-normal."""
    u, v = max(rng.random(), 1e-12), rng.random()
    z = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v)
    return float(median * factor ** max(min(z, 3.0), -3.0))


def main() -> None:
    with Path("sweeps/fleet.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            ("machine", "machine_ram_mb", "machine_cpus", "task", "start_s", "end_s",
             "requested_mb", "used_mb", "cpus", "priority")
        )  # fmt: skip
        out.writerows(rows(1500))


if __name__ == "__main__":
    main()
