"""Guards side by side: the same guest, the same load, another daemon, under real global OOM.

Boots a kernel in QEMU for every run, with one of the daemons or none beside a scenario of
scenarios/guard/, in random order, and keeps each run's figures as a line of a file, so that it
can be stopped and taken up again:

    .venv/bin/python benchmarks/guard_qemu.py --rounds 3 --into runs.jsonl
    .venv/bin/python benchmarks/guard_qemu.py --sums runs.jsonl
    .venv/bin/python benchmarks/guard_qemu.py --table runs.jsonl
    .venv/bin/python benchmarks/guard_qemu.py --pair before.jsonl after.jsonl

Two versions of our guard, in turns under the same player; OLD is a checkout in which ``make`` was
run, such as ``git worktree add OLD 195f461``:

    .venv/bin/python benchmarks/guard_qemu.py --before OLD --rounds 3 --into runs.jsonl
    .venv/bin/python benchmarks/guard_qemu.py --pair runs.jsonl
"""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, median
from unittest.mock import patch

import msgspec

from oomkit.real import Place, RealError, play
from oomkit.real.companion import Companion
from oomkit.scenario import Run, Scenario, read_scenario
from oomkit.scenario.format import Cgroup, Task
from oomkit.toml import units

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "guard"
SWAPS = {
    "none": (),
    "disk": ("machine.swap=128M",),
    "zram": ("machine.zram=128M",),
}

GUARDS = ("none", "earlyoom", "nohang", "systemd-oomd", "oomkit")
UNDISTURBED = "undisturbed"
"""The load without its culprits, to which the service's answers are compared."""
_SESSION = "user.slice/user-1000.slice/user@1000.service/app.slice"
_FIRST_USER = 1000
BEFORE = "before"
"""Our guard as another checkout has it."""

_COMPANION = """
import sys
import msgspec
try:
    from oomkit.real.companions import companion_of
except ImportError:
    from oomkit.real.guards import companion_of
from oomkit.scenario import read_scenario
guard = companion_of("oomkit", read_scenario(sys.argv[1], overrides=tuple(sys.argv[2:])))
sys.stdout.buffer.write(msgspec.json.encode(guard))
"""


class Cell(msgspec.Struct, frozen=True, order=True):
    """What is played."""

    scenario: str
    swap: str
    guard: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run gave; times in seconds. The model measures no reactions."""

    cell: Cell
    kernel: str
    outcome: str
    longest_gap_s: float | None
    longest_locked_gap_s: float | None
    frozen_s: float
    short_s: float | None
    low_s: float | None
    signal_s: float | None
    back_s: float | None
    kills: int
    innocents_killed: int
    protected_killed: int
    work_lost_s: float
    kernel_kills: int
    victims: list[str]
    requests: int = 0
    late: int = 0

    @property
    def kernel_had_to(self) -> int:
        """1 if the kernel killed at all."""
        return int(self.kernel_kills > 0)

    @property
    def to_signal_s(self) -> float | None:
        """From memory low to the first signal: 0 if that came before, None if none came."""
        if self.signal_s is None:
            return None
        return max(self.signal_s - self.low_s, 0.0) if self.low_s is not None else 0.0

    @property
    def to_memory_s(self) -> float | None:
        """From memory low to memory back: 0 if it never was low, None if it did not come back.

        None as well if it got low only after the first signal: what then came back is not known.
        """
        if self.back_s is None:
            return None
        if self.low_s is None:
            return 0.0
        return self.back_s - self.low_s if self.back_s >= self.low_s else None


def figures(cell: Cell, run: Run) -> Figures:
    reaction = run.reaction
    kernel_kills = sum(kill.by == "kernel" for kill in run.kills)
    return Figures(
        cell=cell,
        kernel=run.kernel,
        outcome=run.outcome,
        longest_gap_s=reaction.longest_gap_s if reaction else None,
        longest_locked_gap_s=reaction.longest_locked_gap_s if reaction else None,
        frozen_s=run.objectives.frozen_s,
        short_s=reaction.short_s if reaction else None,
        low_s=reaction.low_s if reaction else None,
        signal_s=reaction.signal_s if reaction else None,
        back_s=reaction.back_s if reaction else None,
        kills=run.objectives.kills,
        innocents_killed=run.objectives.innocents_killed,
        protected_killed=run.objectives.protected_killed,
        work_lost_s=run.objectives.work_lost_s,
        kernel_kills=kernel_kills,
        victims=[f"{kill.task} by {kill.by}" for kill in run.kills],
        requests=reaction.requests if reaction else 0,
        late=reaction.requests - reaction.requests_in_time if reaction else 0,
    )


def in_units(scenario: Scenario) -> Scenario:
    """The scenario on a desktop with cgroups v2: what a user starts is a scope of the session's.

    A service of a user below 1000 is in ``system.slice``; children stay where their parents are.
    """
    cgroups: list[Cgroup] = []

    def placed(task: Task, above: str | None) -> Task:
        path = above or (
            f"system.slice/{task.name}.service"
            if task.uid < _FIRST_USER
            else f"{_SESSION}/app-{task.name}.scope"
        )
        if above is None:
            cgroups.append(Cgroup(name=path, version=2))
        children = tuple(placed(child, path) for child in task.children)
        return msgspec.structs.replace(task, cgroup=path, children=children)

    tasks = tuple(placed(task, None) for task in scenario.tasks)
    return msgspec.structs.replace(scenario, tasks=tasks, cgroups=tuple(cgroups))


def without_culprits(scenario: Scenario) -> Scenario:
    """The scenario when nothing goes wrong."""

    def left(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        return tuple(
            msgspec.structs.replace(task, children=left(task.children))
            for task in tasks
            if task.role != "culprit"
        )

    return msgspec.structs.replace(scenario, tasks=left(scenario.tasks))


def play_cell(cell: Cell, kernel: str | None, before: Path | None) -> Figures:
    path = str(SCENARIOS / f"{cell.scenario}.toml")
    scenario = in_units(read_scenario(path, overrides=SWAPS[cell.swap]))
    if cell.guard == UNDISTURBED:
        place = Place(world="qemu", kernel=kernel, guard="none")
        return figures(cell, play(without_culprits(scenario), place).run)
    if cell.guard != BEFORE:
        return figures(
            cell, play(scenario, Place(world="qemu", kernel=kernel, guard=cell.guard)).run
        )
    assert before is not None
    other = companion_from(before, [path, *SWAPS[cell.swap]])
    with patch("oomkit.real.worlds.companion_of", return_value=other):
        return figures(cell, play(scenario, Place(world="qemu", kernel=kernel, guard="oomkit")).run)


def companion_from(checkout: Path, arguments: Sequence[str]) -> Companion:
    """The guard of another checkout, as that checkout would put it beside a scenario."""
    command = [str(checkout / ".venv/bin/python"), "-c", _COMPANION, *arguments]
    try:
        made = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode().strip().rpartition("\n")[2]
        raise RealError(f"{checkout}: has no guard for this: {said or error}") from None
    return msgspec.json.decode(made.stdout, type=Companion)


def missing(cells: Iterable[Cell], done: Iterable[Figures], rounds: int) -> list[Cell]:
    """What is still to be played, each round before the next: loads in random order, and the guards
    of each in random order one after the other.
    """
    have = Counter(one.cell for one in done)
    order: list[Cell] = []
    for number in range(rounds):
        part = [cell for cell in cells if have[cell] <= number]
        loads = list({(cell.scenario, cell.swap) for cell in part})
        random.shuffle(loads)
        random.shuffle(part)
        order += sorted(part, key=lambda cell: loads.index((cell.scenario, cell.swap)))
    return order


def read(path: Path) -> list[Figures]:
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Figures) for line in path.read_bytes().splitlines()]


def collect(options: argparse.Namespace) -> int:
    guards = options.guards if options.before is None else ["oomkit", BEFORE]
    cells = [
        Cell(scenario, swap, guard)
        for scenario in options.scenarios
        for swap in options.swaps
        for guard in guards
    ]
    todo = missing(cells, read(options.into), options.rounds)
    end = time.monotonic() + options.limit
    failed = 0
    for number, cell in enumerate(todo):
        if time.monotonic() >= end:
            print(f"{len(todo) - number} runs are left", file=sys.stderr)
            break
        began = time.monotonic()
        try:
            one = play_cell(cell, options.kernel, options.before)
        except RealError as error:
            print(f"{cell}: {error}", file=sys.stderr)
            failed += 1
            continue
        with open(options.into, "ab") as file:
            file.write(msgspec.json.encode(one) + b"\n")
        print(
            f"{number + 1}/{len(todo)} {cell.scenario}, swap {cell.swap}, {cell.guard}: "
            f"{', '.join(one.victims[:4]) or 'nobody killed'} "
            f"({time.monotonic() - began:.0f} s)",
            file=sys.stderr,
        )
    return 2 if failed else 0


COLUMNS = (
    ("longest gap, ordinary", "longest_gap_s", "s"),
    ("longest gap, locked", "longest_locked_gap_s", "s"),
    ("frozen", "frozen_s", "s"),
    ("memory low", "short_s", "s"),
    ("low to signal", "to_signal_s", "s"),
    ("low to memory back", "to_memory_s", "s"),
    ("kills", "kills", ""),
    ("innocents", "innocents_killed", ""),
    ("protected", "protected_killed", ""),
    ("work lost", "work_lost_s", "s"),
    ("by the kernel", "kernel_kills", ""),
)


def middle(runs: Sequence[Figures], field: str) -> float | None:
    """The median of a figure over the runs that have it."""
    values = [value for run in runs if (value := getattr(run, field)) is not None]
    return median(values) if values else None


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} s" if unit else f"{value:g}"


def guards_of(done: Sequence[Figures]) -> list[str]:
    """The guards of some runs, the known ones first."""
    names = {one.cell.guard for one in done} - {UNDISTURBED}
    return [*(g for g in GUARDS if g in names), *sorted(names - set(GUARDS))]


def sums(done: Sequence[Figures]) -> list[str]:
    """Each guard's figures: medians, summed over the loads for which every guard has one."""
    guards = guards_of(done)
    runs: dict[tuple[str, str], dict[str, list[Figures]]] = {}
    for one in done:
        by_guard = runs.setdefault((one.cell.scenario, one.cell.swap), {})
        by_guard.setdefault(one.cell.guard, []).append(one)
    common = [by_guard for by_guard in runs.values() if by_guard.keys() >= set(guards)]
    lines = [
        "| sum of medians over | loads | " + " | ".join(guards) + " |",
        "|---|--:|" + "--:|" * len(guards),
    ]
    for title, field, unit in COLUMNS:
        rows = [[middle(by_guard[g], field) for g in guards] for by_guard in common]
        known = [[v for v in row if v is not None] for row in rows]
        whole = [row for row in known if len(row) == len(guards)]
        words = [shown(sum(column), unit) for column in zip(*whole, strict=True)]
        lines.append(f"| {title} | {len(whole)} | " + " | ".join(words) + " |")
    answers = [found for by_guard in common if (found := answered(by_guard))]
    if answers:
        words = [f"{100 * mean(one[guard] for one in answers):.1f} %" for guard in guards]
        lines.append(f"| {ANSWERED} | {len(answers)} | " + " | ".join(words) + " |")
    return lines


ANSWERED = "requests in time"


def answered(by_guard: dict[str, list[Figures]]) -> dict[str, float]:
    """Of each guard's service the requests it answered in time, as a share of the undisturbed run.

    What a load disturbs ends with its run, so all are counted over the longest of them; empty where
    no undisturbed run is known.
    """
    calm = by_guard.get(UNDISTURBED, [])
    if not any(one.requests for one in calm):
        return {}
    at_rest = median(1 - one.late / one.requests for one in calm if one.requests)
    others = {guard: runs for guard, runs in by_guard.items() if guard != UNDISTURBED}
    longest = max(median(one.requests for one in runs) for runs in others.values())
    if not longest or not at_rest:
        return {}
    return {
        guard: (1 - median(one.late for one in runs) / longest) / at_rest
        for guard, runs in others.items()
    }


def pair(before: Sequence[Figures], after: Sequence[Figures]) -> list[str]:
    """Two versions of a guard: medians of each load, summed, and in how many loads which is better.

    Only loads that both have played count, and of a figure those in which both have it.
    """
    played = [_by_load(runs) for runs in (before, after)]
    loads = sorted(set(played[0]) & set(played[1]))
    lines = [
        "| sum of medians over | loads | before | after | lower, equal, higher |",
        "|---|--:|--:|--:|--:|",
    ]
    for title, field, unit in COLUMNS:
        both = [[middle(runs[load], field) for runs in played] for load in loads]
        known = [(b, a) for b, a in both if b is not None and a is not None]
        order = Counter((a > b) - (a < b) for b, a in known)
        words = [shown(sum(column), unit) for column in zip(*known, strict=True)]
        lines.append(
            f"| {title} | {len(known)} | {' | '.join(words or ['-', '-'])} | "
            f"{order[-1]}, {order[0]}, {order[1]} |"
        )
    runs = [sum(len(of[load]) for load in loads) for of in played]
    return [*lines, "", f"{runs[0]} and {runs[1]} runs."]


def versions(paths: Sequence[Path]) -> tuple[list[Figures], list[Figures]]:
    """The runs before and after: of two files, or of one that ``--before`` wrote."""
    if len(paths) > 1:
        return read(paths[0]), read(paths[1])
    runs = read(paths[0])
    return (
        [one for one in runs if one.cell.guard == BEFORE],
        [one for one in runs if one.cell.guard != BEFORE],
    )


def _by_load(done: Sequence[Figures]) -> dict[tuple[str, str], list[Figures]]:
    loads: dict[tuple[str, str], list[Figures]] = {}
    for one in done:
        loads.setdefault((one.cell.scenario, one.cell.swap), []).append(one)
    return loads


def table(done: Sequence[Figures]) -> list[str]:
    """Every load and guard: medians, and who died how often."""
    shares = {load: answered(_by_guard(runs)) for load, runs in _by_load(done).items()}
    titles = [title for title, _, _ in COLUMNS]
    if any(shares.values()):
        titles.append(ANSWERED)
    lines = [
        f"| load | swap | guard | runs | {' | '.join(titles)} | victims |",
        f"|---|---|---|--:|{'--:|' * len(titles)}---|",
    ]
    guards = guards_of(done)
    cells = {one.cell for one in done if one.cell.guard != UNDISTURBED}
    order = sorted(cells, key=lambda c: (c.scenario, c.swap, guards.index(c.guard)))
    for cell in order:
        runs = [one for one in done if one.cell == cell]
        words = [shown(middle(runs, field), unit) for _, field, unit in COLUMNS]
        if ANSWERED in titles:
            share = shares[cell.scenario, cell.swap].get(cell.guard)
            words.append("-" if share is None else f"{100 * share:.1f} %")
        lines.append(
            f"| {cell.scenario} | {cell.swap} | {cell.guard} | {len(runs)} | "
            f"{' | '.join(words)} | {victims(runs)} |"
        )
    return lines


def _by_guard(runs: Iterable[Figures]) -> dict[str, list[Figures]]:
    found: dict[str, list[Figures]] = {}
    for one in runs:
        found.setdefault(one.cell.guard, []).append(one)
    return found


def victims(runs: Sequence[Figures]) -> str:
    """Who died in these runs, with how often in all where that is more than once a run."""
    counted = Counter(victim for run in runs for victim in run.victims)
    return ", ".join(
        victim if count == len(runs) else f"{count / len(runs):.3g} {victim}"
        for victim, count in counted.most_common()
    ) or "nobody"  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = sorted(path.stem for path in SCENARIOS.glob("*.toml"))

    def words(known: Sequence[str] | None) -> Callable[[str], list[str]]:
        def split(text: str) -> list[str]:
            chosen = text.split(",")
            for word in chosen:
                if known is not None and word not in known:
                    raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
            return chosen

        return split

    made.add_argument("--scenarios", type=words(names), default=names)
    made.add_argument("--swaps", type=words(tuple(SWAPS)), default=list(SWAPS))
    made.add_argument("--guards", type=words(None), default=[*GUARDS, UNDISTURBED])
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--kernel", help="which kernel to boot; default: 6.12")
    made.add_argument("--into", type=Path, default=Path("guard-qemu.jsonl"), help="keeps the runs")
    made.add_argument("--limit", type=units.duration, default=float("inf"), metavar="TIME",
                      help="begin no run after so long")  # fmt: skip
    made.add_argument("--sums", type=Path, metavar="RUNS", help="only print a file's sums")
    made.add_argument("--table", type=Path, metavar="RUNS", help="only print a file's loads")
    made.add_argument("--before", type=Path, metavar="CHECKOUT",
                      help="play our guard and that of another checkout, and no other")  # fmt: skip
    made.add_argument("--pair", type=Path, nargs="+", metavar="RUNS",
                      help="only print what two versions of a guard gave: the runs of --before, "
                           "or a file of each version")  # fmt: skip
    return made


def main() -> int:
    options = parser().parse_args()
    if options.pair is not None:
        print("\n".join(pair(*versions(options.pair))))
    elif options.sums is not None:
        print("\n".join(sums(read(options.sums))))
    elif options.table is not None:
        print("\n".join(table(read(options.table))))
    else:
        return collect(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
