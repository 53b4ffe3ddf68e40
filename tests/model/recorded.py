"""How every scenario plays on the model, as kept in ``tests/data/played``.

``python -m tests.model.recorded`` writes the files anew, after a change that is meant. Where a real
kernel played a scenario, tests/model/test_battery.py holds the model to that; here its numbers are
held to what they were.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oomkit.model import play
from oomkit.policy.read import find_policy
from oomkit.scenario import Run, read_scenario

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "data" / "played"
SAMPLES = 24
"""So many of a run's samples are kept, evenly."""
TASKS = 12
"""Of so many tasks, in the order of their names."""

PATHS = {
    f"{path.parent.name}-{path.stem}": path
    for folder in ("scenarios", "scenarios/battery")
    for path in sorted((ROOT / folder).glob("*.toml"))
}
GUARDED = ("browser-tabs", "compile", "database-and-leak", "desktop-freeze", "fork-bomb",
           "swap-thrash", "tmpfs-filler")  # fmt: skip
"""These are also played beside policies."""


def _short(value: Any) -> Any:
    """Numbers to five digits, so that the order of an addition shows nothing."""
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return float(f"{value:.5g}") + 0.0
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, (list, tuple)) else value


def _line(name: str, value: Any) -> str:
    return f"{name} {msgspec.json.encode(_short(msgspec.to_builtins(value))).decode()}"


def _told(run: Run) -> Iterator[str]:
    yield _line("ended", [run.outcome, run.ended_s, run.policy])
    yield _line("objectives", run.objectives)
    for name in ("kills", "denied", "frozen"):
        for one in getattr(run, name)[:20]:
            yield _line(name, one)
    yield from run.log[:120]
    samples = msgspec.to_builtins(run.samples)
    tasks = samples.pop("tasks")
    samples.update(samples.pop("lines_mb", {}))
    count = len(samples["t_s"])
    chosen = sorted({round(i * (count - 1) / (SAMPLES - 1)) for i in range(SAMPLES)})
    yield _line("samples", count)
    for name, series in samples.items():
        if isinstance(series, list) and len(series) == count:
            yield _line(name, [series[i] for i in chosen])
    for task in sorted(tasks)[:TASKS]:
        for name, series in tasks[task].items():
            yield _line(f"{task} {name}", [series[i] for i in chosen])


def played(name: str) -> str:
    """A run of a scenario; beside policies too where that tells something."""
    path = PATHS[name]
    scenario = read_scenario(str(path))
    lines = list(_told(play(scenario)))
    if path.stem in GUARDED:
        for policy in ("default", "earlyoom", "nohang", "systemd-oomd"):
            lines += [f"== {policy}", *_told(play(scenario, policy=find_policy(policy)))]
        lines += ["== as fine as it is short", *_told(play(scenario, sample_s=None, seed=3))]
    return "\n".join(lines) + "\n"


def write() -> None:
    """Write all files anew."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in PATHS:
        (KEPT / f"{name}.txt").write_text(played(name))


if __name__ == "__main__":
    write()
