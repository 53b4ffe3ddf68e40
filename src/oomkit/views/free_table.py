"""The view of ``free -m -s N``: memory and swap, a line each N seconds."""

from bisect import bisect_right
from collections.abc import Iterator

from oomkit.printable import printable
from oomkit.scenario import Run, Scenario
from oomkit.views.run_curves import Uses, uses

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
