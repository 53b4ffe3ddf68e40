"""Badness solved for its inputs: the adjustment or size at which a task is first, or no more."""

from collections.abc import Callable

from oomkit.kernel.adj import OOM_ADJUST_MAX, task_oom_adj
from oomkit.kernel.badness import adj_step, badness, unadjusted_points
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import OOM_DISABLE, OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, Task
from oomkit.records import replace

_MAX_PAGES = 1 << 48
"""No machine is larger; a task that needs more never wins."""


def adj_now(task: Task, rules: RuleSet) -> int:
    """The adjustment that the rule set reads: ``oom_adj`` or ``oom_score_adj``."""
    return task_oom_adj(task, rules) if rules.badness == "classic" else task.oom_score_adj


def with_adj(task: Task, value: int, rules: RuleSet) -> Task:
    """The task with that adjustment set to ``value``."""
    if rules.badness == "classic":
        return replace(task, oom_adj=value)
    return replace(task, oom_score_adj=value, oom_adj=None)


def losing_adj(task: Task, oc: OomControl, beaten_at: int | None) -> int:
    """Return the highest adjustment at which the task's badness is at most ``beaten_at``.

    Args:
        task: the task; its badness is above ``beaten_at`` now.
        oc: the decision.
        beaten_at: the badness to come down to; None where only protection helps.

    Returns:
        -1000 (classic: -17) where only protection is enough.
    """
    if oc.rules.badness == "classic":
        return _losing_oom_adj(task, oc, beaten_at)
    if beaten_at is None or (oc.rules.result != "signed" and beaten_at < 1):
        return OOM_SCORE_ADJ_MIN
    step = adj_step(oc)
    if step == 0:
        return OOM_SCORE_ADJ_MIN
    return max((beaten_at - unadjusted_points(task, oc)) // step, OOM_SCORE_ADJ_MIN)


def _losing_oom_adj(task: Task, oc: OomControl, beaten_at: int | None) -> int:
    if beaten_at is None:
        return OOM_DISABLE

    def above(value: int) -> bool:
        return badness(with_adj(task, value, oc.rules), oc) > beaten_at

    return _first(above, OOM_DISABLE, adj_now(task, oc.rules)) - 1


def extra_pages(
    task: Task, oc: OomControl, target: int, *, known: int, limit: int | None
) -> int | None:
    """Return the fewest pages to add to a task for its badness to reach ``target``.

    Args:
        task: the task, which can be chosen.
        oc: the decision.
        target: the badness to reach.
        known: its badness now.
        limit: give up above this number of pages; None: above any machine's size.

    Returns:
        None where ``limit`` is not enough.
    """
    most = _MAX_PAGES if limit is None else limit
    if _fewest_possible(oc, target - known) > most:
        return None
    field = "rss_pages"
    if oc.rules.badness == "classic" and oc.rules.classic_basis == "total_vm":
        field = "total_vm_pages"
    size = getattr(task, field)

    def reached(pages: int) -> bool:
        return badness(replace(task, **{field: size + pages}), oc) >= target

    return _smallest(reached, most)


def _fewest_possible(oc: OomControl, points: int) -> int:
    """A lower bound of the pages that raise badness by ``points``."""
    if oc.rules.badness == "pages":
        return points
    if oc.rules.badness == "permille":
        return (points - 1) * (oc.total_pages or 1) // 1000
    return 0


def _smallest(reached: Callable[[int], bool], most: int) -> int | None:
    high = 1
    while high < most and not reached(high):
        high *= 2
    high = min(high, most)
    if high < 1 or not reached(high):
        return None
    return _first(reached, high // 2 if high > 1 and high < most else 0, high)


def _first(reached: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest value above ``low`` that is enough, by bisection; ``high`` is enough."""
    while high - low > 1:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle
    return high


def winning_adj(task: Task, oc: OomControl, target: int) -> int | None:
    """Return the lowest adjustment at which the task's badness reaches ``target``.

    Args:
        task: the task, which can be chosen.
        oc: the decision.
        target: the badness to reach.

    Returns:
        None where even the highest adjustment is not enough.
    """
    highest = OOM_ADJUST_MAX if oc.rules.badness == "classic" else OOM_SCORE_ADJ_MAX

    def reached(value: int) -> bool:
        return badness(with_adj(task, value, oc.rules), oc) >= target

    if not reached(highest):
        return None
    return _first(reached, adj_now(task, oc.rules), highest)
