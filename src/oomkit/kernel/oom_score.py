"""``/proc/PID/oom_score`` as each version prints it (fs/proc/base.c, proc_oom_score())."""

from oomkit.kernel.badness import badness
from oomkit.kernel.cint import LONG_MIN, tdiv, u64
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.kernel.totalpages import global_total_pages


def score_control(snapshot: Snapshot, rules: RuleSet) -> OomControl:
    """The context in which scores are read: the whole machine, whatever cgroup a task is in."""
    total = None if rules.badness == "classic" else global_total_pages(snapshot)
    return OomControl(snapshot, rules, Allocation(), total_pages=total)


def oom_score(task: Task, oc: OomControl) -> int:
    """Return what the file prints.

    Args:
        task: the process.
        oc: made by :func:`score_control`.
    """
    points = badness(task, oc)
    total = max(oc.total_pages or 0, 1)
    match oc.rules.oom_score:
        case "badness":
            return points
        case "per_1000":
            return u64(points * 1000) // total
        case "two_thirds":
            if points == LONG_MIN:
                return 0
            return tdiv((1000 + tdiv(points * 1000, total)) * 2, 3)
