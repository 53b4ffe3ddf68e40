"""Whether a daemon's configuration, read as a policy, does on the model what the daemon does.

Boots a kernel in QEMU for each load, with a real earlyoom or nohang beside it, and plays the same
load on the model of the same machine under the policy that was read from its configuration:

    oomkit daemons --fetch earlyoom
    oomkit daemons --fetch nohang
    .venv/bin/python benchmarks/daemons.py --into daemons.jsonl
    .venv/bin/python benchmarks/daemons.py --table daemons.jsonl

Runs are kept as lines of a file, so that it can be stopped and taken up again. One guest runs at a
time. A run in which the guest's clock was measured wrong, as on a busy host, is played again.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from oomkit.model import play as play_model
from oomkit.policy.read import find_policy
from oomkit.policy.records import Policy
from oomkit.real import Place, RealError, companions, play
from oomkit.scenario import Run, read_scenario

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "guard"
LOADS = tuple(sorted(path.stem for path in SCENARIOS.glob("*.toml")))
SWAPS = {"none": (), "disk": ("machine.swap=128M",)}
SETTINGS = {
    "earlyoom": ("", "-m 20,10 -s 100", "-m 15 -s 50 --avoid ^service$ --prefer ^hog$"),
    "nohang": ("",),
}
"""How each daemon is set: as it comes, and otherwise."""
SAME_WITHIN = 1.3
TRIES = 3


class Cell(msgspec.Struct, frozen=True, order=True):
    """What is played."""

    load: str
    swap: str
    daemon: str
    setting: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The first victim, when it was killed, and how many were, in the guest and on the model."""

    cell: Cell
    kernel: str
    real: str | None
    model: str | None
    real_s: float | None
    model_s: float | None
    real_kills: int
    model_kills: int
    real_by: str
    model_by: str

    @property
    def same(self) -> bool:
        """The first victim has the same name, or there is none in both."""
        return self.real == self.model

    @property
    def ratio(self) -> float | None:
        """Of the times of the first kill, the later by the earlier; None where one has none."""
        if not self.real_s or not self.model_s:
            return None
        return max(self.real_s, self.model_s) / min(self.real_s, self.model_s)


def configuration(cell: Cell) -> Policy:
    """The policy as it is read from the daemon's own files, set as in the guest."""
    root = companions.root_of(companions.PEERS[cell.daemon])
    if root is None:
        raise SystemExit(f"{cell.daemon} is not here: oomkit daemons --fetch {cell.daemon}")
    if not cell.setting:
        return find_policy(f"{cell.daemon}:{root}")
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        program = companions.PEERS[cell.daemon].program
        (copy / program[1:]).parent.mkdir(parents=True)
        (copy / program[1:]).write_bytes(Path(root, program[1:]).read_bytes())
        default = copy / "etc/default/earlyoom"
        default.parent.mkdir(parents=True)
        default.write_text(f'EARLYOOM_ARGS="{cell.setting}"\n')
        return find_policy(f"{cell.daemon}:{copy}")


def first(run: Run) -> tuple[str | None, float | None, str]:
    """Name, time and killer of the first that was killed."""
    if not run.kills:
        return None, None, ""
    kill = min(run.kills, key=lambda one: one.t_s)
    return kill.task, kill.t_s, kill.by


def play_cell(cell: Cell, kernel: str | None) -> Result:
    path = str(SCENARIOS / f"{cell.load}.toml")
    scenario = read_scenario(path, overrides=SWAPS[cell.swap])
    guard = f"{cell.daemon}:{cell.setting}" if cell.setting else cell.daemon
    played = play(scenario, Place(world="qemu", kernel=kernel, guard=guard))
    modelled = play_model(played.scenario, policy=configuration(cell), sample_s=0.1)
    real, real_s, real_by = first(played.run)
    model, model_s, model_by = first(modelled)
    if played.run.reaction is not None and played.run.reaction.signal_s is not None:
        real_s = played.run.reaction.signal_s
    return Result(
        cell=cell, kernel=played.run.kernel, real=real, model=model, real_s=real_s,
        model_s=model_s, real_kills=len(played.run.kills), model_kills=len(modelled.kills),
        real_by=real_by, model_by=model_by,
    )  # fmt: skip


def read(path: Path) -> list[Result]:
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]


def table(done: list[Result]) -> list[str]:
    lines = [
        "| load | swap | daemon | set to | in the guest | on the model | time ratio |",
        "|---|---|---|---|---|---|--:|",
    ]
    for one in sorted(done, key=lambda one: one.cell):
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f}"
        real = _words(one.real, one.real_s, one.real_kills)
        model = _words(one.model, one.model_s, one.model_kills)
        setting = f"`{one.cell.setting}`" if one.cell.setting else "as it comes"
        lines.append(
            f"| {one.cell.load} | {one.cell.swap} | {one.cell.daemon} | {setting} | {real} | "
            f"{model} | {ratio} |"
        )
    same = sum(one.same for one in done)
    timed = [one.ratio for one in done if one.ratio is not None]
    near = sum(ratio <= SAME_WITHIN for ratio in timed)
    lines.append("")
    lines.append(
        f"Same first victim in {same} of {len(done)}; time of the first signal within "
        f"{SAME_WITHIN}x in {near} of {len(timed)}."
    )
    return lines


def _words(victim: str | None, at_s: float | None, kills: int) -> str:
    if victim is None or at_s is None:
        return "none"
    return f"{victim} at {at_s:.1f} s, {kills} killed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("daemons.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--kernel")
    parser.add_argument("--loads", nargs="*", default=LOADS, choices=LOADS)
    parser.add_argument("--swaps", nargs="*", default=list(SWAPS), choices=list(SWAPS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if options.table is not None:
        print("\n".join(table(read(options.table))))
        return 0
    cells = [
        Cell(load, swap, daemon, setting)
        for load in options.loads
        for swap in options.swaps
        for daemon, settings in SETTINGS.items()
        for setting in settings
    ]
    have = Counter(one.cell for one in read(options.into))
    for number in range(options.rounds):
        wanted = [cell for cell in cells if have[cell] <= number]
        random.shuffle(wanted)
        for cell in wanted:
            _play_into(options.into, cell, options.kernel)
    print("\n".join(table(read(options.into))))
    return 0


def _play_into(path: Path, cell: Cell, kernel: str | None) -> None:
    for _ in range(TRIES):
        try:
            result = play_cell(cell, kernel)
        except RealError as error:
            print(f"{cell}: {error}", file=sys.stderr)
            continue
        with path.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")
        print(result, flush=True)
        return


if __name__ == "__main__":
    sys.exit(main())
