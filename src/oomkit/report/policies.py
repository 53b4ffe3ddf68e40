"""Several policies on the same scenario, one row each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oomkit.printable import printable
from oomkit.report.amounts import field_words, seconds
from oomkit.report.compare import kernel_kills
from oomkit.report.look import Look, render
from oomkit.scenario import Run

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = {
    "outcome": "outcome",
    "kills": "kills",
    "innocents_killed": "innocent",
    "protected_killed": "protected",
    "work_lost_s": "work\nlost",
    "frozen_s": "frozen",
    "kernel kills": "by\nkernel",
    "first kill": "first kill",
}
"""What is shown, and what heads it; the outcome only where somebody's is not the good one."""


def table(runs: Sequence[Run], *, look: Look | None = None) -> str:
    """Show the objectives of runs of one scenario under different policies.

    Args:
        runs: at least one; each is headed by its policy.
        look: what the terminal can do; default: 100 columns, no colours.
    """
    from rich.table import Table
    from rich.text import Text

    look = look or Look()
    # The last column takes what is left; two lines of headings leave it more.
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column("policy", no_wrap=True)
    alike = all(run.outcome == "completed" for run in runs)
    shown_columns = {c: h for c, h in COLUMNS.items() if c != "outcome" or not alike}
    for column, heading in shown_columns.items():
        words = column in ("outcome", "first kill")
        shown.add_column(heading, justify="left" if words else "right", no_wrap=not words)
    columns = [_numbers(run) for run in runs]
    least = {key: min(numbers[key] for numbers in columns) for key in columns[0]}
    for run, numbers in zip(runs, columns, strict=True):
        cells = [
            Text(_cell(run, column), style="green" if numbers.get(column) == least.get(column)
                 and column in least else "")
            for column in shown_columns
        ]  # fmt: skip
        shown.add_row(printable(run.policy or "-"), *cells)
    about = ", ".join((runs[0].on, f"kernel {runs[0].kernel}"))
    title = Text(printable(f"{runs[0].scenario}: {about}"), style="bold")
    parts: list[RenderableType] = [title, Text(""), shown]
    return render(look, *parts)


def _numbers(run: Run) -> dict[str, float]:
    """What less is better of."""
    o = run.objectives
    return {
        "kills": o.kills,
        "innocents_killed": o.innocents_killed,
        "protected_killed": o.protected_killed,
        "work_lost_s": o.work_lost_s,
        "frozen_s": o.frozen_s,
        "kernel kills": kernel_kills(run),
    }


def _cell(run: Run, column: str) -> str:
    o = run.objectives
    match column:
        case "outcome":
            return field_words(run.outcome)
        case "work_lost_s":
            return seconds(o.work_lost_s)
        case "frozen_s":
            return seconds(o.frozen_s)
        case "first kill":
            first = next((kill for kill in run.kills if not kill.would_have), None)
            if first is None:
                return "-"
            return f"{printable(first.task)}/{first.instance} at {seconds(first.t_s)}"
        case _:
            return f"{_numbers(run)[column]:g}"
