"""``select_bad_process()``: which task is chosen (mm/oom_kill.c)."""

from typing import Literal

from oomkit.kernel.adj import is_disabled
from oomkit.kernel.badness import badness_of_killable, out_of_reach, unkillable
from oomkit.kernel.cint import ULONG_MAX
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.state import Task, name

_Verdict = Literal["skip", "look", "take", "prefer", "abort"]
"""What the loop does with a task: pass it over, weigh its badness, take it at once, prefer it
to any badness, or give up the scan."""


class Selection:
    """The loop's outcome: a choice, an abort, or none.

    Attributes:
        chosen: the task; None if none can be killed or the scan was aborted.
        points: the chosen one's badness; None when it was not chosen by points.
        waits_for: a task that already dies, for which the scan was aborted.
        how: why, for the trace.
    """

    __slots__ = ("chosen", "how", "points", "waits_for")

    def __init__(
        self,
        *,
        chosen: Task | None = None,
        points: int | None = None,
        waits_for: Task | None = None,
        how: str,
    ) -> None:
        self.chosen = chosen
        self.points = points
        self.waits_for = waits_for
        self.how = how


def select_bad_process(oc: OomControl) -> Selection:
    """Choose the task with the highest badness, by the rule set's order and tie-break.

    Of equals the first is taken up to 4.6 and from 4.9 to 5.2, the last in 4.7 and 4.8 (not in a
    memory cgroup) and from 5.3 on. A victim whose memory is not free yet ends the scan.
    """
    best: Task | None = None
    best_points = 0
    special = None
    for task in oc.candidates():
        verdict = _look_at(task, oc)
        if verdict == "abort":
            return Selection(
                waits_for=task, how=f"{name(task)} is already dying; wait for its memory"
            )
        if verdict == "take":
            return Selection(chosen=task, how=f"{name(task)} {_why_special(task)}")
        if verdict == "prefer":
            best, best_points, special = task, ULONG_MAX, _why_special(task)
        elif verdict == "look":
            points = badness_of_killable(task, oc)
            if _beats(points, best_points, best, oc):
                best, best_points, special = task, points, None
    if best is None:
        return Selection(how="no process can be killed")
    if special is not None:
        return Selection(chosen=best, how=f"{name(best)} {special}")
    how = f"{name(best)} has the highest badness, {best_points}"
    return Selection(chosen=best, points=best_points, how=how)


def _why_special(task: Task) -> str:
    if task.oom_origin:
        return "asked to be killed first (swapoff or KSM)"
    return "is exiting anyway"


def _beats(points: int, best_points: int, best: Task | None, oc: OomControl) -> bool:
    if best is None:
        return True
    return points >= best_points if oc.last_of_equals else points > best_points


def _look_at(task: Task, oc: OomControl) -> _Verdict:
    if oc.rules.badness == "classic":
        if oc.rules.dying == "releasing":
            return _look_at_releasing(task, oc)
        if oc.rules.dying == "openvz":
            return _look_at_openvz(task, oc)
        return _look_at_classic(task, oc)
    if out_of_reach(task, oc) is not None:
        return "skip"
    forced = oc.allocation.sysrq and oc.rules.sysrq_forces
    if task.victim and not forced:
        return "skip" if task.mm_reaped or not task.has_mm else "abort"
    if not task.has_mm:
        return "skip"
    # Both tests come before badness, which alone knows what is protected.
    if task.oom_origin and oc.rules.origin == "selected_first":
        return "prefer"
    verdict = _look_at_exiting(task, oc) if task.exiting and not forced else "look"
    return "skip" if verdict == "look" and unkillable(task, oc) is not None else verdict


def _look_at_exiting(task: Task, oc: OomControl) -> _Verdict:
    is_current = task.pid == oc.allocation.pid
    match oc.rules.dying:
        case "single_exiting" if task.threads == 1:
            return "prefer" if is_current else "abort"
        case "traced" if is_current:
            return "prefer"
        case "traced" | "exiting_aborts":
            return "look" if task.traced_exit else "abort"
        case "will_free":
            return "look" if task.coredump else "abort"
        case _:
            return "look"


def _look_at_releasing(task: Task, oc: OomControl) -> _Verdict:
    """2.6.11-2.6.18 look at kernel threads too, which score 0."""
    if task.global_init or is_disabled(task, oc.rules):
        return "skip"
    if oc.rules.node_overlap == "skipped" and out_of_reach(task, oc) and not task.kthread:
        return "skip"
    if (task.victim or task.exiting) and task.has_mm:
        return "abort"
    return "take" if task.oom_origin else "look"


def _look_at_openvz(task: Task, oc: OomControl) -> _Verdict:
    """OpenVZ waits for no victim: it passes over victims and the frozen, and takes the exiting."""
    out = not task.has_mm or task.global_init or task.frozen or task.victim
    if out or is_disabled(task, oc.rules):
        return "skip"
    if task.exiting:
        return "prefer" if task.pid == oc.allocation.pid else "take"
    return "look"


def _look_at_classic(task: Task, oc: OomControl) -> _Verdict:
    if not task.has_mm or task.global_init:
        return "skip"
    if task.victim:
        return "abort"
    if task.exiting:
        return "prefer" if task.pid == oc.allocation.pid else "abort"
    return "skip" if is_disabled(task, oc.rules) else "look"
