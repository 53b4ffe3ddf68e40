"""The built-in policies beside each other on random scenarios, on the model.

``python benchmarks/policies.py [--runs N] [--seed S] [--by-load] [POLICY...]``
"""

import argparse
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from oomkit.model import play
from oomkit.policy import builtin
from oomkit.policy.read import find_policy
from random_loads import LOADS, random_scenario

COLUMNS = (
    "kills", "innocents", "protected", "work lost s", "frozen s", "kernel kills", "freed GiB",
)  # fmt: skip


def score(policies: tuple[str, ...], load: tuple[str, int]) -> dict[str, Counter[str]]:
    """One scenario under every policy."""
    scenario = random_scenario(*load)
    scores = {}
    for name in policies:
        run = play(scenario, policy=find_policy(name), sample_s=60.0)
        o = run.objectives
        scores[name] = Counter(
            {
                "kills": o.kills,
                "innocents": o.innocents_killed,
                "protected": o.protected_killed,
                "work lost s": o.work_lost_s,
                "frozen s": o.frozen_s,
                "kernel kills": sum(kill.by == "kernel" for kill in run.kills),
                "freed GiB": o.freed_mb / 1024,
            }
        )
    return scores


def table(title: str, sums: dict[str, Counter[str]]) -> None:
    print(f"\n{title}\n")
    print("| policy | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, sum_ in sums.items():
        print(
            f"| {name} | " + " | ".join(f"{sum_[c]:.1f}".removesuffix(".0") for c in COLUMNS) + " |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policies", nargs="*", default=builtin.OF_ANY_MACHINE)
    parser.add_argument("--runs", type=int, default=350)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-load", action="store_true")
    parser.add_argument("--load", choices=LOADS, action="append")
    args = parser.parse_args()
    policies = tuple(args.policies)
    kinds = args.load or list(LOADS)
    loads = [(kinds[i % len(kinds)], 100_000 * args.seed + i) for i in range(args.runs)]
    sums: dict[str, Counter[str]] = {name: Counter() for name in policies}
    by_load = {kind: {name: Counter[str]() for name in policies} for kind in kinds}
    with ProcessPoolExecutor() as executor:
        for (kind, _), scores in zip(
            loads, executor.map(partial(score, policies), loads, chunksize=4), strict=True
        ):
            for name, scored in scores.items():
                sums[name].update(scored)
                by_load[kind][name].update(scored)
    table(f"{len(loads)} random scenarios, seed {args.seed}, in sum", sums)
    if args.by_load:
        for kind, part in by_load.items():
            table(kind, part)


if __name__ == "__main__":
    main()
