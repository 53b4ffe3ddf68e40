"""Whether the model judges guards as real kernels do: the loads of guard_qemu.py on both.

    .venv/bin/python benchmarks/guard_agree.py runs.jsonl

Each load is played on the model under the policies that are modelled on the daemons, and put
beside the runs in QEMU that guard_qemu.py has kept. A verdict is who is better than whom: by
protected tasks killed, then innocent ones, then whether the kernel had to kill, then kills.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from guard_qemu import SCENARIOS, SWAPS, Cell, Figures, figures, middle, read
from oomkit.model import play
from oomkit.policy.read import find_policy
from oomkit.scenario import read_scenario

POLICIES = {"none": None, "earlyoom": "earlyoom", "nohang": "nohang", "oomkit": "default"}
"""Guard to the policy that stands for it on the model."""

Key = tuple[float, ...]
"""What a guard is judged by; less is better."""


def judged(runs: Sequence[Figures]) -> Key:
    """By what came out in the middle of the runs."""
    fields = ("protected_killed", "innocents_killed", "kernel_had_to", "kills")
    return tuple(middle(runs, field) or 0.0 for field in fields)


def on_model(cell: Cell) -> Figures:
    path = str(SCENARIOS / f"{cell.scenario}.toml")
    name = POLICIES[cell.guard]
    policy = find_policy(name) if name is not None else None
    run = play(read_scenario(path, overrides=SWAPS[cell.swap]), policy=policy, sample_s=0.1)
    return figures(cell, run)


def order(keys: Mapping[str, Key]) -> str:
    """The guards from best to worst; equals joined by ``=``."""

    def key(guard: str) -> Key:
        return keys[guard]

    ranked = groupby(sorted(keys, key=key), key=key)
    return " > ".join(" = ".join(sorted(equals)) for _, equals in ranked)


def pairs(keys: Mapping[str, Key]) -> dict[tuple[str, str], int]:
    """For each two guards whether the first is better (-1), equal (0) or worse (1)."""
    names = sorted(keys)
    return {
        (a, b): (keys[a] > keys[b]) - (keys[a] < keys[b]) for a in names for b in names if a < b
    }


def first(runs: Iterable[Figures]) -> str:
    """Who died first in most of the runs."""
    counted = Counter(run.victims[0].split(" by ")[0] if run.victims else "nobody" for run in runs)
    return counted.most_common(1)[0][0]


def table(done: Sequence[Figures], play_model: Callable[[Cell], Figures] = on_model) -> list[str]:
    lines = [
        "| load | swap | on the model | in QEMU | pairs judged alike | same first victim |",
        "|---|---|---|---|--:|--:|",
    ]  # fmt: skip
    alike = whole = same = cells = 0
    for place in sorted({(one.cell.scenario, one.cell.swap) for one in done}):
        if place[1] == "zram":
            continue  # which the model does not have
        runs = {
            guard: [r for r in done if r.cell == Cell(*place, guard)] for guard in POLICIES
        }  # fmt: skip
        runs = {guard: found for guard, found in runs.items() if found}
        modelled = {guard: play_model(Cell(*place, guard)) for guard in runs}
        here = {guard: judged([one]) for guard, one in modelled.items()}
        there = {guard: judged(found) for guard, found in runs.items()}
        equal = [pairs(here)[pair] == verdict for pair, verdict in pairs(there).items()]
        victims = [first([modelled[guard]]) == first(found) for guard, found in runs.items()]
        alike, whole = alike + sum(equal), whole + len(equal)
        same, cells = same + sum(victims), cells + len(victims)
        lines.append(
            f"| {place[0]} | {place[1]} | {order(here)} | {order(there)} | "
            f"{sum(equal)} of {len(equal)} | {sum(victims)} of {len(victims)} |"
        )
    lines.append(f"| all | | | | {alike} of {whole} | {same} of {cells} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(read(Path(sys.argv[1])))))
