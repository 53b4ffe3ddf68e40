"""Decide a report again by the rules, and say whether the kernel's choice agrees."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from oomkit.kernel.badness import unkillable
from oomkit.kernel.constraint import control_for
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rank import eligible_by_badness
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Snapshot, Task
from oomkit.kernel.versions import doubt
from oomkit.klog.records import Assumed, Predicted, Report
from oomkit.klog.snapshot import (
    Inputs,
    allocation_of,
    base_is_printed,
    bounds_by_score,
    chosen_pid,
    rule_sets,
    snapshot_of,
    tasks_of,
    total_is_printed,
)
from oomkit.records import replace

_AGES_TEXT = (
    "this kernel ranks by CPU time, age and children as well, which the report does not show"
)
_TOTAL_TEXT = "badness depends on the total of RAM and swap, or the limit, which is not in the log"
_NEAR = 0.01
"""Tasks whose badness differs by less than this share may have changed places between the
choice and the printing of the table."""

_REMEMBERED = 64
"""Maximum number of victims of earlier reports that are remembered."""
_DYING_S = 60.0
"""Seconds for which a victim may still stand in tables."""


class _Given:
    """What a report gives the rules, made once for all its rankings."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.allocation = allocation_of(report)
        self._tasks: dict[tuple[bool, tuple[int, ...]], tuple[Task, ...]] = {}

    def snapshot(self, rules: RuleSet, assumed: Assumed) -> Snapshot:
        """The machine by the report's table."""
        by = (assumed.root_has_caps, assumed.dying)
        if by not in self._tasks:
            self._tasks[by] = tasks_of(self.report, assumed)
        return snapshot_of(self.report, rules, assumed, self._tasks[by])


class _Trial(NamedTuple):
    """One ranking, under stated assumptions.

    Attributes:
        given: what the report gives the rules.
        assumed: the assumptions.
        oc: the decision's context.
        ranked: badness and task of the candidates, worst first.
    """

    given: _Given
    assumed: Assumed
    oc: OomControl
    ranked: list[tuple[int, Task]]

    @property
    def rules(self) -> RuleSet:
        """The rule set."""
        return self.oc.rules


def inputs_of(report: Report) -> Inputs | None:
    """What a report's replay gave the rules; None where it has no task table."""
    if not report.tasks:
        return None
    rules = _named(report)
    snapshot = snapshot_of(report, rules, report.assumed)
    return Inputs(snapshot=snapshot, allocation=allocation_of(report), rules=rules)


def replay(report: Report, *, dead: Collection[int] = ()) -> Report:
    """Return the report with ``rules``, ``predicted``, ``agrees``, ``assumed``, ``why`` filled in.

    Args:
        report: a report as it was read.
        dead: processes that earlier reports of the same log killed.
    """
    candidates = rule_sets(report)
    if not report.tasks:
        return _unranked(report, candidates, "the report has no task table")
    if candidates[0].badness == "classic":
        return _unranked(report, candidates[:1], _AGES_TEXT)
    assumed = Assumed(dying=_still_dying(report, dead))
    given = _Given(report)
    trials = [_try(given, rules, assumed) for rules in candidates]
    chosen = chosen_pid(report)
    if not base_is_printed(report):
        trials = [trial for trial in trials if _order_is_sure(report, trial)]
        if not trials:
            return _unranked(report, candidates, _TOTAL_TEXT)
    if chosen is None:
        return _none_chosen(report, trials[0])
    best = next((t for t in trials if _is_first(t, chosen)), trials[0])
    agrees, why = _compare(report, trials, best, chosen)
    if agrees is None or agrees:
        return _with(report, best, why, agrees=agrees)
    return _other_assumptions(report, best, chosen, why)


def replay_all(reports: Iterable[Report]) -> Iterator[Report]:
    """Replay the reports of one log in their order, so that each knows of earlier victims."""
    victims: dict[int, tuple[str, float | None]] = {}
    for report in reports:
        known = [
            (pid, row.comm)
            for row in (report.tasks if victims else ())
            for pid in (row.pid, row.tgid)
            if pid in victims
        ]
        recent = {
            pid
            for pid, comm in known
            if comm == victims[pid][0] and _is_recent(report.uptime_s, victims[pid][1])
        }
        yield replay(report, dead=recent)
        for victim in report.killed:
            victims.pop(victim.pid, None)
            victims[victim.pid] = (victim.comm, report.uptime_s)
        while len(victims) > _REMEMBERED:
            del victims[next(iter(victims))]


def _is_recent(now_s: float | None, then_s: float | None) -> bool:
    return now_s is None or then_s is None or 0 <= now_s - then_s <= _DYING_S


def _named(report: Report) -> RuleSet:
    candidates = rule_sets(report)
    if report.rules is not None:
        for rules in candidates:
            if rules.name == report.rules:
                return rules
    return candidates[0]


def _still_dying(report: Report, dead: Collection[int]) -> tuple[int, ...]:
    """Processes killed before that this report does not kill again."""
    again = {victim.pid for victim in report.killed}
    if report.selected is not None:
        again.add(report.selected.tgid or report.selected.pid)
    return tuple(sorted(set(dead) - again))


def _try(given: _Given, rules: RuleSet, assumed: Assumed) -> _Trial:
    oc = control_for(given.snapshot(rules, assumed), given.allocation, rules)
    return _Trial(given=given, assumed=assumed, oc=oc, ranked=eligible_by_badness(oc))


def _again(trial: _Trial, **other: Any) -> _Trial:
    """The same ranking under other assumptions."""
    return _try(trial.given, trial.rules, replace(trial.assumed, **other))


def _order_is_sure(report: Report, trial: _Trial) -> bool:
    """Whether the ranking is the same whatever the total is that the report does not show."""
    if trial.rules.badness != "pages":
        return False
    if bounds_by_score(report, trial.rules) is not None:
        return True
    most = _again(trial, bound="most")
    return [task.pid for _, task in trial.ranked] == [task.pid for _, task in most.ranked]


def _is_first(trial: _Trial, chosen: int) -> bool:
    return bool(trial.ranked) and trial.ranked[0][1].pid == chosen


def _compare(
    report: Report, trials: list[_Trial], best: _Trial, chosen: int
) -> tuple[bool | None, str]:
    """Whether the choice is the ranking's first, and what is to say about it."""
    notes = []
    if "allocating_task" in (report.kill_text or ""):
        return _compare_allocating(report, chosen)
    if not any(task.pid == chosen for task in best.oc.snapshot.tasks):
        return None, "the chosen process is not in the task table"
    if not _is_first(best, chosen):
        return _explain_difference(report, best, chosen)
    if not all(_is_first(trial, chosen) for trial in trials):
        others = [t.rules.name for t in trials if not _is_first(t, chosen)]
        notes.append(
            f"the log does not name the kernel; by the rules of {', '.join(others)} "
            "another process would come first"
        )
    if _depends_on_unknown(report, best, chosen):
        notes.append("total memory is not in the report; with more of it another would come first")
    if not report.table_complete:
        return None, "; ".join(["the task table is damaged", *notes])
    child = _child_note(report)
    if child:
        notes.append(child)
    return True, "; ".join(notes)


def _depends_on_unknown(report: Report, best: _Trial, chosen: int) -> bool:
    memory = report.memory
    if memory is not None and memory.total_swap_kb is not None and memory.ram_pages is not None:
        return False
    most = _again(best, bound="most")
    return not _is_first(most, chosen)


def _compare_allocating(report: Report, chosen: int) -> tuple[bool | None, str]:
    asker = report.invoker_pid
    text = (
        "vm.oom_kill_allocating_task is set: the allocating task is killed, not the one with the "
        "highest badness"
    )
    if asker is None:
        return None, text
    tgid = next((row.tgid for row in report.tasks if row.pid == asker), asker)
    return (True if chosen == tgid else None), text


def _child_note(report: Report) -> str:
    selected = report.selected
    if selected is not None and selected.tgid is not None:
        return (
            f"{selected.pid} is a thread of {selected.comm}[{selected.tgid}]: until 5.2 a memory "
            "cgroup's scan chose among threads"
        )
    if selected is None or not report.killed or report.killed[0].killed_as != "child":
        return ""
    child = report.killed[0]
    return f"{child.comm}[{child.pid}], a child of {selected.comm}[{selected.pid}], was sacrificed"


def _explain_difference(report: Report, trial: _Trial, chosen: int) -> tuple[bool | None, str]:
    found = next((points for points, task in trial.ranked if task.pid == chosen), None)
    if found is None:
        task = next(task for task in trial.oc.snapshot.tasks if task.pid == chosen)
        reason = unkillable(task, trial.oc)
        return False, f"by these rules the chosen process can't be chosen: {reason}"
    most, first = trial.ranked[0]
    if not report.table_complete:
        return None, "the task table is damaged"
    unseen = _unseen(report, trial.rules)
    if unseen:
        return None, f"the table does not show {unseen}, which these rules count"
    if found == most:
        return True, (
            f"{first.comm}[{first.pid}] has the same badness; which of equals dies "
            "depends on the order in which the kernel walks its tasks"
        )
    gap = most - found
    if gap <= max(abs(most) * _NEAR, 64) and trial.rules.badness == "pages":
        return False, (
            f"{first.comm}[{first.pid}] stands {gap} pages above the chosen one: the "
            "kernel prints the table after it has chosen, and memory moved in between"
        )
    return False, (
        f"by the rules {first.comm}[{first.pid}] comes first; it may have been on its "
        "way out already, or protected by what the table does not show"
    )


def _unseen(report: Report, rules: RuleSet) -> str:
    if report.tasks[0].swapents is not None:
        return ""
    memory = report.memory
    used = None
    if memory is not None and memory.total_swap_kb is not None and memory.free_swap_kb is not None:
        used = memory.total_swap_kb - memory.free_swap_kb
    if used == 0:
        return "" if rules.pgtables == "none" else "page tables"
    return "swap" if rules.pgtables == "none" else "swap and page tables"


def _none_chosen(report: Report, trial: _Trial) -> Report:
    left = [task for _, task in trial.ranked]
    agrees: bool | None = None
    if report.panic is not None and "panic_on_oom" in report.panic:
        why = "vm.panic_on_oom is set: the kernel panicked without choosing a process"
    elif report.no_killable or report.panic is not None:
        if not left:
            agrees, why = True, "by the rules, too, no process in the table can be killed"
        else:
            names = ", ".join(f"{task.comm}[{task.pid}]" for task in left[:3])
            why = f"{names} could be chosen by the table; a victim already reaped can't be"
    else:
        why = "the report does not name the process that the kernel chose"
    return _with(report, trial, why, agrees=agrees)


def _other_assumptions(report: Report, best: _Trial, chosen: int, why: str) -> Report:
    """Look for what the report does not show that would make the kernel's choice the first."""
    if best.rules.root_bonus not in ("none", "quarter"):
        trial = _again(best, root_has_caps=False)
        if _is_first(trial, chosen):
            text = "the chosen process runs as root but without CAP_SYS_ADMIN, so it has no bonus"
            return _with(report, trial, text, agrees=True)
    memory = report.memory
    if memory is None or memory.total_swap_kb is None:
        trial = _again(best, bound="most")
        if _is_first(trial, chosen):
            text = "total swap is not in the report; with enough of it the kernel's choice is first"
            return _with(report, trial, text, agrees=True)
    return _with(report, best, why, agrees=False)


def _with_most(trial: _Trial) -> dict[int, int]:
    """Badness with the largest total that may be meant: what stays the same is sure."""
    if not any(task.oom_score_adj for _, task in trial.ranked):
        return {task.pid: points for points, task in trial.ranked}
    return {task.pid: points for points, task in _again(trial, bound="most").ranked}


def _unranked(report: Report, candidates: Sequence[RuleSet], why: str) -> Report:
    """The report where no ranking can be made of it."""
    name = candidates[0].name if len(candidates) == 1 else None
    return replace(report, rules=name, predicted=(), agrees=None, why=why)


def _with(report: Report, trial: _Trial, why: str, *, agrees: bool | None) -> Report:
    exact = total_is_printed(report)
    unsure = doubt(report.kernel) if agrees is False and report.kernel is not None else None
    if unsure is not None:
        why += f"; {unsure}"
    sure = {} if exact else _with_most(trial)
    predicted = [
        Predicted(
            pid=task.pid,
            comm=task.comm,
            badness=points if exact or sure.get(task.pid) == points else None,
        )
        for points, task in trial.ranked
    ]
    return replace(
        report, rules=trial.rules.name, predicted=tuple(predicted), agrees=agrees,
        assumed=trial.assumed, why=why,
    )  # fmt: skip
