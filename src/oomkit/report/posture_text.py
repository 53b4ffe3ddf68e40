"""The posture screen."""

from collections.abc import Iterator

from oomkit.kernel.state import Pressure, Snapshot
from oomkit.posture.assess import CommitState, Posture
from oomkit.printable import printable
from oomkit.report.decision_text import outcome, reason
from oomkit.report.units import human_pages

_MODES = {0: "0, heuristic", 1: "1, always", 2: "2, never"}
_BAR_CELLS = 24


def posture_lines(posture: Posture, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield the screen line by line, each with a style that a terminal may give it."""
    memory, size = snapshot.memory, snapshot.page_size
    yield f"kernel    {printable(posture.kernel)} (rules of {posture.rules})", "bold"
    available = memory.available_pages
    if available is None:
        available = posture.memory_left_pages - memory.free_swap_pages
    yield f"memory    {_left(available, memory.total_ram_pages, size)}", ""
    if memory.total_swap_pages:
        yield f"swap      {_left(memory.free_swap_pages, memory.total_swap_pages, size)}", ""
    else:
        yield "swap      none", ""
    yield f"commit    {_commit(posture.commit, size)}", ""
    yield f"pressure  {_pressure(snapshot.pressure)}", ""
    yield "", ""
    yield f"next      {outcome(posture.decision, snapshot)}", "bold"
    if posture.first is not None:
        two = reason(
            snapshot,
            posture.decision,
            posture.first,
            posture.runner_up,
            posture.counterfactuals,
        )
        for line in two:
            yield f"          {line}", ""
    left = human_pages(posture.memory_left_pages, size)
    yield f"          {left} of memory and swap can still be had before that", ""
    yield "", ""
    if not posture.attention:
        yield "attention nothing", "green"
    for i, item in enumerate(posture.attention):
        start = "attention" if i == 0 else "         "
        style = {"critical": "bold red", "warning": "yellow", "info": ""}[item.severity]
        yield f"{start} {item.severity}: {printable(item.text)}", style
    for note in snapshot.missing:
        yield f"missing   {printable(note)}", "dim"


def _left(left: int, total: int, size: int) -> str:
    share = left / total if total else 0.0
    used = round((1 - share) * _BAR_CELLS)
    bar = "#" * used + "." * (_BAR_CELLS - used)
    return f"[{bar}] {human_pages(left, size)} of {human_pages(total, size)} left ({share:.0%})"


def _commit(commit: CommitState, size: int) -> str:
    share = commit.committed_pages / commit.limit_pages if commit.limit_pages else 0.0
    enforced = "enforced" if commit.enforced else "not enforced"
    return (
        f"{human_pages(commit.committed_pages, size)} promised, {share:.0%} of CommitLimit "
        f"{human_pages(commit.limit_pages, size)} ({enforced}: overcommit_memory "
        f"{_MODES.get(commit.mode, commit.mode)})"
    )


def _pressure(pressure: Pressure | None) -> str:
    if pressure is None:
        return "unknown (no PSI)"
    return (
        f"some {pressure.some_avg10:.2f} % of the last 10 s, {pressure.some_avg300:.2f} % of "
        f"5 min; full {pressure.full_avg10:.2f} %, {pressure.full_avg300:.2f} %"
    )
