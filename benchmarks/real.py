"""What a run on a real kernel costs beside one on the model: same scenario, same machine.

Run with ``.venv/bin/python benchmarks/real.py [--rounds N]`` as root. The worlds take turns; those
that are not here are left out, and said to be.
"""

import argparse
import sys
from pathlib import Path
from statistics import median

from oomkit.agree import pair
from oomkit.real import Place, kernel_for, refusals, why_not
from oomkit.scenario import read_scenario

BATTERY = Path(__file__).parents[1] / "scenarios" / "battery"
SCENARIOS = ("big-and-small", "five-growers", "it-fits")
PLACES = (Place(world="cgroup"), Place(world="qemu", kernel="6.12"))


def measure(path: Path, place: Place, rounds: int) -> str | None:
    """A row: medians of both and their ratio; None where it can't be played."""
    scenario = read_scenario(str(path))
    if reason := why_not(scenario, place) or "; ".join(refusals(scenario, place)):
        print(f"{path.stem} on {place.world} left out: {reason}", file=sys.stderr)
        return None
    release = kernel_for(scenario, place)
    scenario = read_scenario(str(path), overrides=(f"machine.kernel={release}",))
    found = [pair(str(path), scenario, place).agreement for _ in range(rounds)]
    real_s = median(one.real_s for one in found)
    model_s = median(one.model_s for one in found)
    return (
        f"| {path.stem} | {place.world}, {release} | {real_s:.1f} | {model_s * 1000:.1f} "
        f"| {real_s / model_s:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print("| scenario | real kernel | real run, s | model, ms | real / model |")
    print("|---|---|---|---|---|")
    for name in SCENARIOS:
        for place in PLACES:
            row = measure(BATTERY / f"{name}.toml", place, rounds)
            if row is not None:
                print(row, flush=True)


if __name__ == "__main__":
    main()
