"""Runs beside each other: two in full, those of several policies by their objectives."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

from oomkit.printable import printable
from oomkit.records import Record
from oomkit.render.bars import by_column, sparkline
from oomkit.render.document import Document, Table, Text
from oomkit.render.layout import Column, Terminal, unbroken
from oomkit.render.quantities import FIELDS, mb, outcome_of, seconds
from oomkit.scenario import Kill, Run, Scenario
from oomkit.views.kill_reasons import deciding_step
from oomkit.views.run_curves import uses

_OUTCOMES = ("completed", "timed_out", "frozen", "panicked")
"""From the best to the worst."""

_SHOWN_KILLS = 15
_SPARK_CELLS_MAX = 40


class Row(Record, frozen=True, kw_only=True):
    """One line of the comparison.

    Attributes:
        field: what is compared.
        left: its value in the first run.
        right: its value in the second.
        verdict: the second against the first; ``other`` where neither is better as such.
    """

    field: str
    left: str
    right: str
    verdict: Literal["same", "better", "worse", "other"]


def side_by_side(
    left: Run,
    right: Run,
    names: tuple[str, str] = ("first", "second"),
    *,
    scenarios: tuple[Scenario | None, Scenario | None] = (None, None),
    terminal: Terminal,
    judged: bool = True,
) -> Document:
    """Two runs beside each other: outcome, objectives, curves, kills.

    Args:
        left: the first run.
        right: the second.
        names: what heads their columns.
        scenarios: what was played, for the size of memory.
        terminal: what it can do.
        judged: mark the second as better or worse than the first; else only as different.
    """
    heading = f"{printable(left.scenario)}: {printable(names[0])} | {printable(names[1])}"
    page = Document(Text(unbroken(heading), "bold", rest="  "))
    page.line()
    page.add(_table(left, right, names, scenarios, terminal, judged=judged))
    if left.kills or right.kills:
        page.line()
        page.add(_kills(left, right, names))
    return page


def rows(left: Run, right: Run, scenarios: tuple[Scenario | None, Scenario | None]) -> list[Row]:
    """What is compared, field by field."""
    a, b = left.objectives, right.objectives
    best = {outcome: i for i, outcome in enumerate(_OUTCOMES)}
    found = [
        _less_is_better(
            "outcome",
            best[left.outcome],
            best[right.outcome],
            *(outcome_of(one.outcome) for one in (left, right)),
        ),
        _neutral("kernel", printable(left.kernel), printable(right.kernel)),
        _neutral(FIELDS["ended_s"], seconds(left.ended_s), seconds(right.ended_s)),
        _less_is_better("kills", a.kills, b.kills),
        _less_is_better(FIELDS["innocents_killed"], a.innocents_killed, b.innocents_killed),
        _less_is_better(FIELDS["protected_killed"], a.protected_killed, b.protected_killed),
        _less_is_better(
            FIELDS["work_lost_s"],
            a.work_lost_s,
            b.work_lost_s,
            seconds(a.work_lost_s),
            seconds(b.work_lost_s),
        ),
        _less_is_better(
            FIELDS["frozen_s"], a.frozen_s, b.frozen_s, seconds(a.frozen_s), seconds(b.frozen_s)
        ),
        _neutral(FIELDS["freed_mb"], mb(a.freed_mb), mb(b.freed_mb)),
        _neutral(FIELDS["denied"], str(len(left.denied)), str(len(right.denied))),
        _neutral("first kill", _first_kill(left), _first_kill(right)),
    ]
    if left.policy is not None or right.policy is not None:
        found.insert(2, _neutral("policy", *(printable(r.policy or "-") for r in (left, right))))
        found.append(_less_is_better("kernel kills", kernel_kills(left), kernel_kills(right)))
    least = [min(run.samples.available_mb, default=0.0) for run in (left, right)]
    found.append(_neutral("minimum available", mb(max(least[0], 0.0)), mb(max(least[1], 0.0))))
    used = [uses(r, s) for r, s in zip((left, right), scenarios, strict=True)]
    if any(use.swap_total_mb for use in used):
        most = [mb(max(use.swap_used_mb, default=0.0)) for use in used]
        found.append(_neutral("peak swap used", *most))
    return found


def _less_is_better(
    field: str, a: float, b: float, left: str | None = None, right: str | None = None
) -> Row:
    verdict: Literal["same", "better", "worse"] = (
        "same" if a == b else "better" if b < a else "worse"
    )
    return Row(
        field=field,
        left=str(a) if left is None else left,
        right=str(b) if right is None else right,
        verdict=verdict,
    )


def _neutral(field: str, left: str, right: str) -> Row:
    return Row(field=field, left=left, right=right, verdict="same" if left == right else "other")


def kernel_kills(run: Run) -> int:
    """How many the kernel had to kill."""
    return sum(kill.by == "kernel" and not kill.would_have for kill in run.kills)


def _first_kill(run: Run) -> str:
    for kill in run.kills:
        if not kill.would_have:
            return f"{_victim(kill)} at {seconds(kill.t_s)}"
    return "-"


def _victim(kill: Kill) -> str:
    return f"{printable(kill.task)}/{kill.instance}"


def _table(
    left: Run,
    right: Run,
    names: tuple[str, str],
    scenarios: tuple[Scenario | None, Scenario | None],
    terminal: Terminal,
    *,
    judged: bool,
) -> Table:
    styles = {"better": "green", "worse": "red", "other": "bold", "same": "dim"}
    words = {"better": "better", "worse": "worse", "other": "differs", "same": ""}
    if not judged:
        styles |= {"better": "bold", "worse": "bold"}
        words |= {"better": "differs", "worse": "differs"}
    compared = rows(left, right, scenarios)
    lines = [
        (row.field, unbroken(row.left), unbroken(row.right), words[row.verdict]) for row in compared
    ]
    # Each sparkline's scale is one for both, so that their heights can be compared.
    cells = min(_SPARK_CELLS_MAX, max((terminal.width - 32) // 2, 10))
    end_s = max(left.ended_s, right.ended_s)
    used = [uses(r, s) for r, s in zip((left, right), scenarios, strict=True)]
    top = max(use.total_mb for use in used)
    for name, drawn in (
        (
            "available",
            [
                _spark(run, run.samples.available_mb, end_s, top, cells, terminal, low=True)
                for run in (left, right)
            ],
        ),
        (
            "PSI some",
            [
                _spark(run, run.samples.psi_some_avg10, end_s, 100.0, cells, terminal)
                for run in (left, right)
            ],
        ),
        ("", [f"0 s{seconds(end_s).rjust(cells - 3)}"] * 2),
    ):
        first, second = (line.replace(" ", "\xa0") for line in drawn)
        lines.append((name, first, second, ""))
    of_rows = [styles[row.verdict] for row in compared]
    curves = ["cyan", "cyan", ""]
    columns = [
        _column("", [line[0] for line in lines]),
        _column(names[0], [line[1] for line in lines], [*([""] * len(compared)), *curves]),
        _column(names[1], [line[2] for line in lines], [*of_rows, *curves]),
        _column("", [line[3] for line in lines], [*of_rows, "", "", ""]),
    ]
    return Table(columns=columns)


def _column(
    heading: str, cells: Sequence[str], styles: Sequence[str] = (), *, right: bool = False
) -> Column:
    heading = unbroken(printable(heading))
    return Column(heading=heading, cells=cells, styles=styles, right=right, words=not right)


def _spark(
    run: Run,
    values: list[float],
    end_s: float,
    top: float,
    cells: int,
    terminal: Terminal,
    *,
    low: bool = False,
) -> str:
    t_s = run.samples.t_s
    columns = by_column(t_s, values, end_s, cells, min if low else max)
    last = int(run.ended_s / end_s * cells) if end_s > 0 else 0
    shares = [
        None if v is None or i > last else v / top if top > 0 else 0.0
        for i, v in enumerate(columns)
    ]
    return sparkline(shares, unicode=terminal.unicode)


def _kills(left: Run, right: Run, names: tuple[str, str]) -> Table:
    lines: list[tuple[str, str, str, str, str]] = []
    pairs = list(zip_longest(left.kills, right.kills))
    for number, pair in enumerate(pairs[:_SHOWN_KILLS], start=1):
        note = _difference(pair)
        style = "bold" if note else ""
        first, second = map(_kill, pair)
        lines.append((str(number), first, second, note, style))
        if pair[0] is not None and pair[1] is not None and note:
            reasons = [printable(deciding_step(kill)) for kill in pair if kill is not None]
            lines.append(("", reasons[0], reasons[1], "", style))
    if len(pairs) > _SHOWN_KILLS:
        rest = [max(len(run.kills) - _SHOWN_KILLS, 0) for run in (left, right)]
        lines.append(("", f"and {rest[0]} more", f"and {rest[1]} more", "", ""))
    columns = [
        _column("kill", [line[0] for line in lines], right=True),
        _column(names[0], [unbroken(line[1]) for line in lines], [line[4] for line in lines]),
        _column(names[1], [unbroken(line[2]) for line in lines], [line[4] for line in lines]),
        _column("", [line[3] for line in lines]),
    ]
    return Table(columns=columns)


def _difference(pair: tuple[Kill | None, Kill | None]) -> str:
    a, b = pair
    if a is None or b is None:
        return "second only" if a is None else "first only"
    alike = (a.task, a.instance, a.would_have) == (b.task, b.instance, b.would_have)
    return "" if alike else "other victim"


def _kill(kill: Kill | None) -> str:
    if kill is None:
        return "-"
    spared = "would have: " if kill.would_have else ""
    return f"{seconds(kill.t_s)}  {spared}{_victim(kill)}  {mb(kill.freed_mb)}"


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
    numbers = [_of_policy(run) for run in runs]
    least = {key: min(one[key] for one in numbers) for key in numbers[0]}
    names = [printable(run.policy or "-") for run in runs]
    columns = [Column(heading="policy", cells=names, folds=True)]
    for column, (heading, leaves) in shown.items():
        words = column in ("outcome", "first kill")
        columns.append(
            Column(
                heading=heading,
                cells=[_policy_cell(run, column) for run in runs],
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


def _of_policy(run: Run) -> dict[str, float]:
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


def _policy_cell(run: Run, column: str) -> str:
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
            return f"{_of_policy(run)[column]:g}"
