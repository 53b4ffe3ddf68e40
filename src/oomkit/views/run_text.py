"""A run for a terminal: its story with curves and outcome, and the lines of ``free -m -s N``."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from oomkit.printable import printable
from oomkit.render.bars import by_column, column_of, sparkline
from oomkit.render.document import Document, Drawing, Table, Text
from oomkit.render.layout import Column, Piece, Terminal
from oomkit.render.quantities import FIELDS, count_of, mb, outcome_of, percent, seconds, time_share
from oomkit.scenario import Run, Scenario
from oomkit.scenario.record import Reaction
from oomkit.views.run_curves import PING, PROBE, Uses, answers, freeze_marks, uses
from oomkit.views.run_events import Happening, happenings

_STYLES = {
    "kill": "bold red",
    "would_have": "yellow",
    "denied": "yellow",
    "freeze": "magenta",
    "panic": "bold red",
    "outcome": "bold",
    "short": "cyan",
    "swap": "cyan",
    "pressure": "cyan",
    "knob": "cyan",
    "eased": "yellow",
}
_LABEL_CELLS = 12
_NOTE_CELLS = 36
_MIN_SPARK_CELLS = 20


def story(run: Run, scenario: Scenario | None = None, *, every_one: bool = False) -> Document:
    """A run in words: a line for each event, sparklines, objectives, the outcome.

    Args:
        run: the record.
        scenario: what was played; adds what it is about, the memory's size, changed knobs.
        every_one: list every kill, refusal and freeze; else many of a kind are summed up.
    """
    page = Document(Text(title(run), "bold", rest=""))
    if scenario is not None and scenario.about.strip():
        page.text(printable(" ".join(scenario.about.split())), "dim", rest="")
    *found, end = happenings(run, scenario, every_one=every_one)
    page.line()
    _add_events(page, found)
    page.line()
    page.add(Drawing(lambda terminal: curve_lines(run, scenario, terminal)))
    page.line()
    page.add(objectives_table(run))
    page.line()
    if run.reaction is not None:
        page.add(_figures(reaction_rows(run.reaction)))
        page.line()
    _add_outcome(page, run, end)
    return page


def reaction_rows(reaction: Reaction) -> list[tuple[str, str, str]]:
    """How fast a daemon or the kernel acted: its name, value with its unit, and what it means."""

    def at(t_s: float | None) -> str:
        return "never" if t_s is None else seconds(t_s)

    share = percent(reaction.low_share)
    answered = f"{reaction.requests_in_time} of {reaction.requests}"
    rows = [
        (FIELDS["low_s"], at(reaction.low_s), f"memory and swap both at or under {share}"),
        (FIELDS["signal_s"], at(reaction.signal_s), "the first signal to a task"),
        (FIELDS["back_s"], at(reaction.back_s), "memory no longer low after it"),
        (FIELDS["short_s"], seconds(reaction.short_s), "how long memory was low in all"),
        (
            FIELDS["longest_gap_s"],
            seconds(reaction.longest_gap_s),
            "an ordinary program stood still",
        ),
        (
            FIELDS["longest_locked_gap_s"],
            seconds(reaction.longest_locked_gap_s),
            "one with locked memory and real-time priority did",
        ),
        (
            FIELDS["requests_in_time"],
            answered,
            "a service that may not be killed answered within 100 ms",
        ),
    ]
    return rows if reaction.requests else rows[:-1]


def _figures(rows: Sequence[tuple[str, str, str]], styles: Sequence[str] = ()) -> Table:
    """Figures, a line each: name, value, and what it means."""
    names, values, meanings = zip(*rows, strict=True)
    return Table(
        columns=[
            Column(heading="", cells=names),
            Column(heading="", cells=values, right=True),
            Column(heading="", cells=meanings, words=True, styles=["dim"] * len(rows)),
        ],
        styles=styles,
    )


def title(run: Run) -> str:
    """``name: model, kernel 6.12``, and the policy that guarded it."""
    text = f"{printable(run.scenario)}: {printable(run.on)}, kernel {printable(run.kernel)}"
    return text if run.policy is None else f"{text}, policy {printable(run.policy)}"


def _add_events(page: Document, found: Sequence[Happening]) -> None:
    times = [f"{one.t_s:.1f} s" for one in found]
    cells = max(map(len, times), default=0)
    for one, time in zip(found, times, strict=True):
        start = " " * (cells + 2)
        page.text(one.what, _STYLES.get(one.kind, ""), first=f"{time:>{cells}}  ", rest=start)
        for why in one.why:
            page.text(why, "dim", first=f"{start}  ", rest=f"{start}  ")


def curve_lines(run: Run, scenario: Scenario | None, terminal: Terminal) -> list[list[Piece]]:
    """Sparklines over the whole run: memory, swap, pressure, and when it froze and killed."""
    samples, use = run.samples, uses(run, scenario)
    end_s = max([run.ended_s, *samples.t_s[-1:]])
    narrow = terminal.width < _LABEL_CELLS + _MIN_SPARK_CELLS + _NOTE_CELLS
    # A note that has no room beside its line stands below it.
    cells = max(terminal.width - _LABEL_CELLS - (0 if narrow else _NOTE_CELLS), _MIN_SPARK_CELLS)
    lines: list[list[Piece]] = []

    def line(label: str, drawn: str, note: str, style: str = "") -> None:
        row = [Piece(label.ljust(_LABEL_CELLS)), Piece(drawn.ljust(0 if narrow else cells), style)]
        if note and not narrow:
            row.append(Piece(f"  {note}", "dim"))
        lines.append(row)
        if note and narrow:
            lines.append([Piece(f"{'':{_LABEL_CELLS}}{note}", "dim")])

    def curve(label: str, values: list[float], top: float, note: str, *, low: bool = False) -> None:
        columns = by_column(samples.t_s, values, end_s, cells, min if low else max)
        shares = [None if v is None else v / top if top > 0 else 0.0 for v in columns]
        line(label, sparkline(shares, unicode=terminal.unicode), note, "cyan")

    if samples.available_mb:
        least = min(samples.available_mb)
        note = f"min {mb(max(least, 0.0))} of {mb(use.total_mb)}"
        curve("available", samples.available_mb, use.total_mb, note, low=True)
    if use.swap_total_mb > 0 and use.swap_used_mb:
        note = f"peak {mb(max(use.swap_used_mb))} of {mb(use.swap_total_mb)}"
        curve("swap used", list(use.swap_used_mb), use.swap_total_mb, note)
    if samples.psi_some_avg10:
        some, full = max(samples.psi_some_avg10), max(samples.psi_full_avg10, default=0.0)
        curve(
            "pressure",
            samples.psi_some_avg10,
            100.0,
            f"PSI some to {time_share(some / 100)}, full {time_share(full / 100)}",
        )
    if run.frozen:
        note = f"frozen for {seconds(run.objectives.frozen_s)}"
        line("frozen", freeze_marks(run, end_s, cells, unicode=terminal.unicode), note, "magenta")
    if run.kills:
        dead = sum(not kill.would_have for kill in run.kills)
        spared = len(run.kills) - dead
        notes = [count_of(dead, "kill")] if dead else []
        notes += [f"{spared} would-have"] if spared else []
        line("kills", _kill_marks(run, end_s, cells), ", ".join(notes), "red")
    left, right = "0 s", seconds(end_s)
    line("", left + right.rjust(max(cells - len(left), 0)), "")
    return lines


def _kill_marks(run: Run, end_s: float, cells: int) -> str:
    counts = [0] * cells
    for kill in run.kills:
        counts[column_of(kill.t_s, end_s, cells)] += 1
    return "".join(" " if n == 0 else "x" if n == 1 else str(n) if n < 10 else "#" for n in counts)


def objective_rows(run: Run) -> list[tuple[str, str, str]]:
    """The objectives: name, value with its unit, and what it means."""
    o = run.objectives
    return [
        (FIELDS["kills"], str(o.kills), "tasks that died"),
        (FIELDS["freed_mb"], mb(o.freed_mb), "memory their deaths gave back"),
        (FIELDS["work_lost_s"], seconds(o.work_lost_s), "CPU time of theirs that is thrown away"),
        (
            FIELDS["innocents_killed"],
            str(o.innocents_killed),
            "victims that were not growing, or marked so",
        ),
        (FIELDS["frozen_s"], seconds(o.frozen_s), "how long the machine was unusable"),
        (FIELDS["protected_killed"], str(o.protected_killed), "must be 0"),
    ]


def objectives_table(run: Run) -> Table:
    """The objectives as a table."""
    bad = {FIELDS["innocents_killed"]: "yellow", FIELDS["protected_killed"]: "bold red"}
    rows = objective_rows(run)
    styles = [bad.get(field, "") if value != "0" else "" for field, value, _ in rows]
    return _figures(rows, styles)


def _add_outcome(page: Document, run: Run, end: Happening) -> None:
    good = run.outcome == "completed" and not run.objectives.protected_killed
    text = f"{outcome_of(run.outcome)} after {seconds(run.ended_s)}: {end.what}"
    page.text(text, "bold green" if good else "bold red", rest="")
    for line in end.why:
        page.text(line, "dim", first="  ", rest="  ")
    for key, label in ((PROBE, "probe"), (PING, "ping")):
        answered = answers(run, key)
        if answered is not None:
            count, last = answered
            when = f", the last at {seconds(last)}" if count else ""
            page.text(f"{label} answered {count} times{when}", first="  ", rest="  ")


MAX_ROWS = 100_000

_HEADINGS = ("total", "used", "free", "cached", "available", "total", "used", "free")
_GROUPS = f"{'':11}{' memory ':-^48}  {' swap ':-^28}"
_SHOWN_NAMES = 3
_SLIP_S = 1e-6


def free_table(
    run: Run,
    every_s: float,
    scenario: Scenario | None = None,
    *,
    total_mb: float | None = None,
) -> str:
    """Lay out the samples as ``free -m -s N`` would have shown them, in MiB, a line a moment.

    ``used`` is what is neither free nor page cache; ``available`` is MemAvailable. Behind the
    numbers stands what happened since the line before. A moment between two samples shows the
    earlier one. The last line is the end of the run.

    Args:
        run: the record.
        every_s: seconds from line to line.
        scenario: what was played, for the size of memory and swap.
        total_mb: MemTotal, which is less than the memory built in; None: not known, the memory
            built in is taken.

    Raises:
        ValueError: ``every_s`` is not above 0, or would give more than 100,000 lines.
    """
    if not every_s > 0:
        raise ValueError("expected a time above 0 between two lines")
    if run.ended_s / every_s > MAX_ROWS:
        raise ValueError(
            f"{every_s:g} s between two lines of a run of {run.ended_s:.0f} s gives more than "
            f"{MAX_ROWS} lines"
        )
    use = uses(run, scenario)
    total = use.total_mb if total_mb is None else total_mb
    digits = 0 if every_s == int(every_s) else 3
    lines = [_GROUPS, f"{'t_s':>9}" + "".join(f"{heading:>10}" for heading in _HEADINGS)]
    before = -1.0
    for t in _moments(run.ended_s, every_s):
        i = bisect_right(use.t_s, t + _SLIP_S) - 1
        if i >= 0:
            row = f"{t:9.{digits}f}" + "".join(f"{v:10.0f}" for v in _row(run, use, i, total))
            lines.append(f"{row}  {_since(run, before, t)}".rstrip())
        before = t
    return "\n".join(lines) + "\n"


def _moments(end_s: float, every_s: float) -> Iterator[float]:
    last = int(end_s / every_s + _SLIP_S)
    for n in range(last + 1):
        yield n * every_s
    if end_s > last * every_s + _SLIP_S:
        yield end_s


def _row(run: Run, use: Uses, i: int, total: float) -> tuple[float, ...]:
    available = run.samples.available_mb
    swap_free = max(use.swap_total_mb - use.swap_used_mb[i], 0.0)
    return (
        total,
        max(total - use.free_mb[i] - use.cache_mb[i], 0.0),
        use.free_mb[i],
        use.cache_mb[i],
        available[i] if i < len(available) else 0.0,
        use.swap_total_mb,
        use.swap_used_mb[i],
        swap_free,
    )


def _since(run: Run, before: float, t: float) -> str:
    notes = []
    for would_have, verb in ((False, "killed"), (True, "would have killed")):
        names = [
            f"{printable(kill.task)}/{kill.instance}"
            for kill in run.kills
            if before < kill.t_s <= t and kill.would_have == would_have
        ]
        if names:
            notes.append(f"{verb} {_cut(names)}")
    refused = [
        f"{printable(one.task)}/{one.instance}" for one in run.denied if before < one.t_s <= t
    ]
    if refused:
        notes.append(f"refused {_cut(refused)}")
    if any(freeze.from_s <= t < freeze.to_s for freeze in run.frozen):
        notes.append("frozen")
    return "; ".join(notes)


def _cut(names: list[str]) -> str:
    rest = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")
