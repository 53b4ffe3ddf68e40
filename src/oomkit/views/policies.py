"""Several policies on the same scenario, one row each."""

from collections.abc import Sequence

from oomkit.printable import printable
from oomkit.render.document import Document, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import outcome_of, seconds
from oomkit.scenario import Run
from oomkit.views.run_compare import kernel_kills

COLUMNS = {
    "outcome": ("outcome", 6),
    "kills": ("kills", 0),
    "innocents_killed": ("innocent", 5),
    "protected_killed": ("protected", 7),
    "work_lost_s": ("work\nlost", 4),
    "frozen_s": ("frozen", 3),
    "kernel kills": ("by\nkernel", 2),
    "first kill": ("first kill", 1),
}
"""What is shown, what heads it, and which is left out first where there is no room."""


def policies_table(runs: Sequence[Run]) -> Document:
    """The objectives of runs of one scenario under different policies.

    Args:
        runs: at least one; each is headed by its policy.
    """
    # The outcome only where one is not "completed".
    alike = all(run.outcome == "completed" for run in runs)
    shown = {c: how for c, how in COLUMNS.items() if c != "outcome" or not alike}
    numbers = [_numbers(run) for run in runs]
    least = {key: min(one[key] for one in numbers) for key in numbers[0]}
    names = [printable(run.policy or "-") for run in runs]
    columns = [Column(heading="policy", cells=names, folds=True)]
    for column, (heading, leaves) in shown.items():
        words = column in ("outcome", "first kill")
        columns.append(
            Column(
                heading=heading,
                cells=[_cell(run, column) for run in runs],
                styles=[
                    "green" if column in least and one[column] == least[column] else ""
                    for one in numbers
                ],
                leaves=leaves,
                words=words,
                right=not words,
            )
        )
    about = ", ".join((runs[0].on, f"kernel {runs[0].kernel}"))
    page = Document(Text(printable(f"{runs[0].scenario}: {about}"), "bold", rest=""))
    page.line()
    page.add(Table(columns=columns))
    return page


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
            return outcome_of(run.outcome)
        case "work_lost_s":
            return seconds(o.work_lost_s)
        case "frozen_s":
            return seconds(o.frozen_s)
        case "first kill":
            first = next((kill for kill in run.kills if not kill.would_have), None)
            if first is None:
                return "-"
            return f"{printable(first.task)}/{first.instance} at {seconds(first.t_s)}".replace(
                " s", "\xa0s"
            )
        case _:
            return f"{_numbers(run)[column]:g}"
