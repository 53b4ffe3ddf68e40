"""The posture screen."""

from typing import Any

import msgspec

from oomkit.kernel.cgroup_name import label_in
from oomkit.kernel.rank import Ranked
from oomkit.kernel.state import Pressure, Snapshot
from oomkit.kernel.versions import rules_for
from oomkit.posture.advice import counterfactual, pod_name
from oomkit.posture.assess import CommitState, Posture, available_pages
from oomkit.printable import printable
from oomkit.render import quantities
from oomkit.render.document import Command, Document, Gauge
from oomkit.render.quantities import human_pages, percent
from oomkit.views.decision import adj_change, label, outcome, reason

_MODES = {0: "0, heuristic", 1: "1, always", 2: "2, never"}
_MARGIN = 10


def posture_screen(posture: Posture, snapshot: Snapshot) -> Document:
    """The screen: memory, pressure, the next victim, and what needs attention."""
    page = Document()
    memory, size = snapshot.memory, snapshot.page_size
    _row(page, "kernel", f"{posture.kernel} (rules of {posture.rules})", "bold")
    available = available_pages(snapshot)
    page.add(used_gauge("memory", available, memory.total_ram_pages, size))
    if memory.total_swap_pages:
        page.add(used_gauge("swap", memory.free_swap_pages, memory.total_swap_pages, size))
    else:
        _row(page, "swap", "none")
    _row(page, "commit", _commit(posture.commit, size))
    _row(page, "pressure", pressure_text(snapshot.pressure))
    page.line()
    _row(page, "next", outcome(posture.decision, snapshot), "bold")
    if posture.first is not None:
        _show_reason(page, posture, posture.first, snapshot)
    left = human_pages(posture.memory_left_pages, size)
    _row(page, "", f"{left} of memory and swap can still be had before that")
    page.line()
    if not posture.attention:
        _row(page, "attention", "nothing", "green")
    for i, item in enumerate(posture.attention):
        style = {"critical": "bold red", "warning": "yellow", "info": ""}[item.severity]
        _row(page, "" if i else "attention", f"{item.severity}: {item.text}", style)
        for advice in pod_name(item.cgroup) if item.cgroup else ():
            page.add(Command(advice.words, advice.lasts, _MARGIN))
    for note in snapshot.missing:
        _row(page, "missing", note, "dim")
    return page


def _show_reason(page: Document, posture: Posture, first: Ranked, snapshot: Snapshot) -> None:
    changes = posture.counterfactuals
    if first.task.cgroup != "/":
        _row(page, "", f"{label(first.task)} is in {label_in(snapshot, first.task.cgroup)}")
    for line in reason(snapshot, posture.decision, first, posture.runner_up, changes):
        _row(page, "", line)
    change = adj_change(first, changes)
    if change is not None:
        for advice in counterfactual(snapshot, change, rules_for(posture.rules)):
            page.add(Command(advice.words, advice.lasts, _MARGIN))


def _row(page: Document, heading: str, text: str, style: str = "") -> None:
    page.text(printable(text), style, first=heading.ljust(_MARGIN), rest=" " * _MARGIN)


def used_gauge(name: str, left: int, total: int, size: int) -> Gauge:
    """What is used, as a bar and in numbers, and what is left."""
    share = min(max(1 - left / total, 0.0), 1.0) if total else 0.0
    whole, rest = human_pages(total, size), human_pages(left, size)
    text = f"{percent(share)} of {whole} used, {rest} left"
    return Gauge(share=share, text=text, first=name.ljust(_MARGIN), plain=True)


def _commit(commit: CommitState, size: int) -> str:
    share = commit.committed_pages / commit.limit_pages if commit.limit_pages else 0.0
    enforced = "enforced" if commit.enforced else "not enforced"
    return (
        f"{human_pages(commit.committed_pages, size)} promised, {percent(share)} of CommitLimit "
        f"{human_pages(commit.limit_pages, size)} ({enforced}: overcommit_memory "
        f"{_MODES.get(commit.mode, commit.mode)})"
    )


def pressure_text(pressure: Pressure | None) -> str:
    """Shares of time that tasks waited for memory."""
    if pressure is None:
        return "unknown (no PSI)"
    return (
        f"some {_of_time(pressure.some_avg10)} of the last 10 s, {_of_time(pressure.some_avg300)} "
        f"of 5 min; full {_of_time(pressure.full_avg10)}, {_of_time(pressure.full_avg300)}"
    )


def _of_time(percents: float) -> str:
    return quantities.time_share(percents / 100)


def posture_object(posture: Posture, snapshot: Snapshot) -> dict[str, Any]:
    """Return the object that ``oomkit --json`` prints: what the screen shows, and more."""
    memory, rules = snapshot.memory, rules_for(posture.rules)
    fields: dict[str, Any] = msgspec.to_builtins(posture)
    fields["page_size"] = snapshot.page_size
    fields["memory"] = {
        "total_pages": memory.total_ram_pages,
        "free_pages": memory.free_pages,
        "available_pages": available_pages(snapshot),
    }
    fields["swap"] = {
        "total_pages": memory.total_swap_pages,
        "free_pages": memory.free_swap_pages,
    }
    fields["pressure"] = msgspec.to_builtins(snapshot.pressure)
    for change, found in zip(fields["counterfactuals"], posture.counterfactuals, strict=True):
        change["advice"] = [a.as_object() for a in counterfactual(snapshot, found, rules)]
    for item, about in zip(fields["attention"], posture.attention, strict=True):
        item["advice"] = [a.as_object() for a in (pod_name(about.cgroup) if about.cgroup else ())]
    fields["missing"] = list(snapshot.missing)
    return fields
