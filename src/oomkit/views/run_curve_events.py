"""Events found in a run's curves: tasks start and end, low memory, swap fills, tasks stall."""

from itertools import groupby, pairwise
from typing import Literal

import msgspec

from oomkit.printable import printable
from oomkit.render.quantities import mb, seconds, time_share
from oomkit.scenario import Run, Scenario
from oomkit.views.run_curves import Curve, curves, swap_total_mb, uses

Kind = Literal[
    "start", "end", "short", "swap", "pressure", "freeze", "kill", "would_have", "denied", "knob",
    "panic", "outcome",
]  # fmt: skip


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        t_s: when.
        kind: what sort of thing.
        what: one sentence.
        why: reasons and consequences, a line each.
        kill: index in the run's kills.
        many: stands for several.
    """

    t_s: float
    kind: Kind
    what: str
    why: tuple[str, ...] = ()
    kill: int | None = None
    many: bool = False


_SHORT = 0.1
"""Memory is called short when less than this share of it is available."""

_STALL_PERCENT = 10.0
_STANDSTILL_PERCENT = 50.0
_SWAP_BEGINS_MB = 1.0
_SWAP_FULL = 0.01


def starts(run: Run) -> list[Happening]:
    """A line for each name: how many tasks started, and until when."""
    found = []
    for name, group in _by_name(run).items():
        first, last = group[0].start_s, group[-1].start_s
        what = _several(name, len(group), "starts", "start")
        if last - first >= 1.0:
            what += f", the last at {seconds(last)}"
        found.append(Happening(t_s=first, kind="start", what=what))
    return found


def ends(run: Run) -> list[Happening]:
    """A line for each name: how many tasks came to their own end, and when the first did."""
    found = []
    for name, group in _by_name(run).items():
        ended = sorted(
            curve.end_s for curve in group if curve.kill is None and curve.end_s is not None
        )
        if not ended:
            continue
        if len(group) == 1:
            what = f"{printable(name)} ends"
        else:
            what = f"{len(ended)} of {len(group)} {printable(name)} have ended"
        if ended[-1] - ended[0] >= 1.0:
            what += f", the first at {seconds(ended[0])}"
        found.append(Happening(t_s=ended[-1], kind="end", what=what))
    return found


def shortage(run: Run, scenario: Scenario | None) -> list[Happening]:
    """When MemAvailable first falls below a tenth of memory."""
    total = uses(run, scenario).total_mb
    for t, available in zip(run.samples.t_s, run.samples.available_mb, strict=False):
        if total > 0 and available < _SHORT * total:
            what = f"low memory: {mb(max(available, 0.0))} of {mb(total)} available"
            return [Happening(t_s=t, kind="short", what=what)]
    return []


def swap(run: Run, scenario: Scenario | None) -> list[Happening]:
    """When swap comes into use, when it is full, and what comes free of it later."""
    total = swap_total_mb(run, scenario)
    if total <= 0:
        return []
    found = []
    curve = list(zip(run.samples.t_s, run.samples.swap_free_mb, strict=False))
    begin = next((t for t, free in curve if free <= total - _SWAP_BEGINS_MB), None)
    if begin is not None:
        found.append(Happening(t_s=begin, kind="swap", what="tasks' memory begins to go to swap"))
    full = next((t for t, free in curve if free <= _SWAP_FULL * total), None)
    if full is not None:
        rises = _rises([free for t, free in curve if t >= full])
        times = "once" if rises == 1 else f"{rises} times"
        why = (f"afterwards some of it comes free {times}",) if rises else ()
        what = f"swap is full ({mb(total)})"
        found.append(Happening(t_s=full, kind="swap", what=what, why=why))
    return found


def pressure(run: Run) -> list[Happening]:
    """When tasks first wait for memory, and when nothing else is done any more."""
    samples = run.samples
    found = []
    for values, least, what in (
        (samples.psi_some_avg10, _STALL_PERCENT, "tasks wait for memory: PSI some avg10"),
        (samples.psi_full_avg10, _STANDSTILL_PERCENT, "nearly nothing moves: PSI full avg10"),
    ):
        for t, value in zip(samples.t_s, values, strict=False):
            if value >= least:
                found.append(
                    Happening(t_s=t, kind="pressure", what=f"{what} {time_share(value / 100)}")
                )
                break
    return found


def _rises(values: list[float]) -> int:
    """How often a curve turns from falling or level to rising."""
    rising = False
    count = 0
    for before, after in pairwise(values):
        if after > before and not rising:
            count += 1
        if after != before:
            rising = after > before
    return count


def _by_name(run: Run) -> dict[str, list[Curve]]:
    ordered = sorted(curves(run), key=lambda curve: curve.name)
    return {name: list(group) for name, group in groupby(ordered, key=lambda curve: curve.name)}


def _several(name: str, count: int, one: str, many: str) -> str:
    return f"{printable(name)} {one}" if count == 1 else f"{count} {printable(name)} {many}"
