"""Whether a daemon's configuration, read as a policy, does on the model what the daemon does.

Boots a kernel in QEMU for each load, with a real earlyoom, nohang or systemd-oomd beside it, and
plays the same load on the model of the same machine under the policy that was read from its
configuration:

    oomkit daemons --fetch earlyoom
    oomkit daemons --fetch nohang
    oomkit daemons --fetch systemd-oomd
    .venv/bin/python benchmarks/daemons.py --into daemons.jsonl
    .venv/bin/python benchmarks/daemons.py --table daemons.jsonl

    .venv/bin/python benchmarks/daemons.py --daemons systemd-oomd --into oomd.jsonl

    .venv/bin/python benchmarks/daemons.py --runs docs/examples/guard-qemu.jsonl

systemd-oomd's loads are those of scenarios/oomd/, each with its configuration in the folder of its
name. The last holds the model against runs that benchmarks/guard_qemu.py has kept, of the daemons
as they come. Runs are kept as lines of a file, so that it can be stopped and taken up again. One
guest runs at a time. A run in which the guest's clock was measured wrong, as on a busy host, is
played again.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import median

import msgspec

import guard_qemu
from oomkit.model import play as play_model
from oomkit.policy.read import find_policy
from oomkit.policy.records import Policy
from oomkit.real import Place, RealError, companions, play
from oomkit.scenario import Run, read_scenario

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "guard"
OOMD = SCENARIOS.parent / "oomd"
LOADS = tuple(sorted(path.stem for path in SCENARIOS.glob("*.toml")))
OOMD_LOADS = tuple(sorted(path.stem for path in OOMD.glob("*.toml")))
AS_IT_SAYS = "its own"
"""The load's own swap."""
SWAPS = {"none": (), "disk": ("machine.swap=128M",)}
SETTINGS = {
    "earlyoom": ("", "-m 20,10 -s 100", "-m 15 -s 50 --avoid ^service$ --prefer ^hog$"),
    "nohang": ("",),
}
"""How each daemon is set: as it comes, and otherwise."""
DAEMONS = (*SETTINGS, "systemd-oomd")
SAME_WITHIN = 1.3
TRIES = 3
TOGETHER_S = 0.02
"""Kills of one killer so close to each other are one decision."""


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
    if cell.daemon == "systemd-oomd":
        return find_policy(f"{cell.daemon}:{OOMD / cell.load}")
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
    """Name, time and killer of the first that was killed; all names where a cgroup died whole."""
    if not run.kills:
        return None, None, ""
    kill = min(run.kills, key=lambda one: one.t_s)
    together = {
        one.task for one in run.kills if one.by == kill.by and one.t_s - kill.t_s <= TOGETHER_S
    }
    return " + ".join(sorted(together)), kill.t_s, kill.by


def play_cell(cell: Cell, kernel: str | None) -> Result:
    if cell.daemon == "systemd-oomd":
        scenario = read_scenario(str(OOMD / f"{cell.load}.toml"))
        guard = f"{cell.daemon}:{OOMD / cell.load}"
    else:
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


def cells_of(names: Sequence[str], swaps: Sequence[str]) -> list[Cell]:
    """What can be played with these daemons."""
    cells = [
        Cell(load, swap, daemon, setting)
        for load in LOADS
        for swap in swaps
        for daemon, settings in SETTINGS.items()
        for setting in settings
        if daemon in names
    ]
    if "systemd-oomd" in names:
        cells += [Cell(load, AS_IT_SAYS, "systemd-oomd", f"oomd/{load}") for load in OOMD_LOADS]
    return cells


def read(path: Path) -> list[Result]:
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]


def table(done: list[Result]) -> list[str]:
    lines = [
        "| load | swap | daemon | set to | in guests | on the model | time ratio |",
        "|---|---|---|---|---|---|--:|",
    ]
    for cell, group in groupby(sorted(done, key=lambda one: one.cell), key=lambda one: one.cell):
        runs = list(group)
        timed = [one.ratio for one in runs if one.ratio is not None]
        times = [one.real_s for one in runs if one.real_s is not None]
        victims = Counter(f"{one.real} by {one.real_by}" if one.real else "none" for one in runs)
        said = ", ".join(f"{n} x {who}" if n > 1 else who for who, n in victims.most_common())
        at = f" at {median(times):.1f} s" if times else ""
        setting = f"`{cell.setting}`" if cell.setting else "as it comes"
        ratio = f"{median(timed):.2f}" if timed else "-"
        model = _words(runs[0].model, runs[0].model_s, runs[0].model_by)
        lines.append(
            f"| {cell.load} | {cell.swap} | {cell.daemon} | {setting} | {said}{at} | {model} | "
            f"{ratio} |"
        )
    same = sum(one.same for one in done)
    ahead = sum(one.real_by == "kernel" and one.model_by != "kernel" for one in done)
    ratios = [one.ratio for one in done if one.ratio is not None]
    near = sum(ratio <= SAME_WITHIN for ratio in ratios)
    lines.append("")
    lines.append(
        f"Same first victim in {same} of {len(done)} runs (in {ahead} the kernel killed it before "
        f"the daemon did); time of the first signal within {SAME_WITHIN}x in {near} of "
        f"{len(ratios)}."
    )
    return lines


def beside_runs(path: Path) -> list[Result]:
    """The runs of real daemons that guard_qemu.py has kept, each beside the model.

    The guests' speed of page faults was not kept: the model plays the scenario as it is written.
    """
    runs = [
        run
        for run in guard_qemu.read(path)
        if run.cell.guard in SETTINGS and run.cell.swap in SWAPS
    ]
    found: list[Result] = []
    modelled: dict[Cell, Run] = {}
    for run in runs:
        cell = Cell(run.cell.scenario, run.cell.swap, run.cell.guard, "")
        if cell not in modelled:
            scenario = read_scenario(
                str(SCENARIOS / f"{cell.load}.toml"), overrides=SWAPS[cell.swap]
            )
            modelled[cell] = play_model(scenario, policy=configuration(cell), sample_s=0.1)
        model, model_s, model_by = first(modelled[cell])
        real, _, real_by = (run.victims[0] if run.victims else "").partition(" by ")
        found.append(
            Result(
                cell=cell, kernel=run.kernel, real=real or None, model=model, real_s=run.signal_s,
                model_s=model_s, real_kills=run.kills, model_kills=len(modelled[cell].kills),
                real_by=real_by, model_by=model_by,
            )
        )  # fmt: skip
    return found


def _words(victim: str | None, at_s: float | None, by: str) -> str:
    if victim is None or at_s is None:
        return "none"
    return f"{victim} by {by} at {at_s:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("daemons.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--kernel")
    parser.add_argument("--loads", nargs="*", choices=sorted({*LOADS, *OOMD_LOADS}))
    parser.add_argument("--daemons", nargs="*", default=list(DAEMONS), choices=DAEMONS)
    parser.add_argument("--swaps", nargs="*", default=list(SWAPS), choices=list(SWAPS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if options.table is not None:
        print("\n".join(table(read(options.table))))
        return 0
    if options.runs is not None:
        print("\n".join(table(beside_runs(options.runs))))
        return 0
    cells = [
        cell
        for cell in cells_of(options.daemons, options.swaps)
        if not options.loads or cell.load in options.loads
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
