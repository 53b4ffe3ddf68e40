"""What a machine does with its OOM killer off, in numbers: ``python docs/experiments.py``.

Plays the experiments of the 2.6.32 article and prints, as Markdown, when each shortage began, how
much slower work went from then on, and who still got an answer.
"""

from pathlib import Path

from oomkit.model import play
from oomkit.scenario import Run, read_scenario

_SCENARIOS = Path(__file__).parent.parent / "scenarios"
_SAMPLE_S = 0.25
_NONE_MB = 1.0


def work_done(run: Run, at: int) -> float:
    """Return how many depmod's worth of work was done by a sample."""
    tasks = run.samples.tasks.items()
    return sum(task.progress[at] for name, task in tasks if name.startswith("depmod/"))


def full_at(run: Run) -> int:
    """Return the first sample at which neither memory nor swap was left."""
    left = zip(run.samples.available_mb, run.samples.swap_free_mb, strict=True)
    return next(i for i, (memory, swap) in enumerate(left) if memory + swap < _NONE_MB)


def last_step(run: Run) -> int:
    """Return the last sample at which some work had been done since the one before."""
    last = len(run.samples.t_s) - 1
    whole = work_done(run, last)
    return next(i for i in range(last + 1) if work_done(run, i) >= whole - 1e-9)


def rises(values: list[float], since: int) -> int:
    """Return how often a curve that had come to nothing rose again."""
    pairs = zip(values[since:], values[since + 1 :], strict=False)
    return sum(1 for before, after in pairs if before < _NONE_MB / 2 < after)


def row(name: str, kernel: str) -> list[str]:
    """Return one experiment's line of the table."""
    path = str(_SCENARIOS / f"{name}.toml")
    run = play(read_scenario(path, overrides=(f"machine.kernel={kernel}",)), sample_s=_SAMPLE_S)
    t_s = run.samples.t_s
    full = full_at(run)
    last = len(t_s) - 1
    before = work_done(run, full) / t_s[full]
    after = (work_done(run, last) - work_done(run, full)) / (t_s[last] - t_s[full])
    answers = {who: run.samples.tasks[f"{who}/0"].progress[last] for who in ("probe", "ping")}
    return [
        f"`{name}.toml`",
        kernel,
        f"{t_s[full]:.0f} s",
        f"{before:.3f}/s",
        f"{after:.4f}/s ({before / after:.0f}x)",
        f"{t_s[last_step(run)]:.0f} s",
        str(rises(run.samples.swap_free_mb, full)) if run.samples.swap_free_mb[0] else "-",
        f"{run.samples.cpu_busy[last] * 100:.0f} %",
        f"{run.objectives.frozen_s:.0f} of {run.ended_s:.0f} s",
        f"{answers['probe']:.0f}",
        f"{answers['ping']:.0f}",
    ]


def main() -> None:
    """Print the table."""
    head = [
        "scenario", "rules", "nothing left at", "depmod done before", "and after",
        "last progress at", "bits of swap freed", "CPUs busy then", "frozen", "probes answered",
        "pings answered",
    ]  # fmt: skip
    rows = [row(n, k) for n in ("test2", "test3") for k in ("2.6.32-article", "6.12")]
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
