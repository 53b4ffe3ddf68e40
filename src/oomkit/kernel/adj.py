"""``oom_adj`` and ``oom_score_adj``, each from the other (fs/proc/base.c)."""

from typing import Final

from oomkit.kernel.cint import tdiv
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import OOM_DISABLE, OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, Task

OOM_ADJUST_MAX: Final = 15


def oom_score_adj_of(oom_adj: int) -> int:
    """Return the ``oom_score_adj`` that writing ``oom_adj`` stores (2.6.36 on).

    Raises:
        ValueError: outside -17..15, which the kernel refuses with EINVAL.
    """
    if not OOM_DISABLE <= oom_adj <= OOM_ADJUST_MAX:
        raise ValueError(f"oom_adj {oom_adj} is outside -17..15")
    if oom_adj == OOM_ADJUST_MAX:
        return OOM_SCORE_ADJ_MAX
    return tdiv(oom_adj * OOM_SCORE_ADJ_MAX, -OOM_DISABLE)


def oom_adj_of(oom_score_adj: int, rules: RuleSet) -> int:
    """Return the ``oom_adj`` that goes with ``oom_score_adj``.

    2.6.36-3.6 store it when ``oom_score_adj`` is written (scaled by 15), 3.7 on compute it
    when it is read (scaled by 17; up to 5.9 a value of 942..999 reads 16). For the classic
    rule sets, which know ``oom_adj`` alone, the newest reading is used.

    Raises:
        ValueError: outside -1000..1000.
    """
    if not OOM_SCORE_ADJ_MIN <= oom_score_adj <= OOM_SCORE_ADJ_MAX:
        raise ValueError(f"oom_score_adj {oom_score_adj} is outside -1000..1000")
    if oom_score_adj == OOM_SCORE_ADJ_MIN:
        return OOM_DISABLE
    if rules.adj_files == "both":
        return tdiv(oom_score_adj * OOM_ADJUST_MAX, OOM_SCORE_ADJ_MAX)
    if oom_score_adj == OOM_SCORE_ADJ_MAX:
        return OOM_ADJUST_MAX
    oom_adj = tdiv(oom_score_adj * -OOM_DISABLE, OOM_SCORE_ADJ_MAX)
    if rules.adj_files == "oom_adj" or rules.oom_adj_capped:
        return min(oom_adj, OOM_ADJUST_MAX)
    return oom_adj


def task_oom_adj(task: Task, rules: RuleSet) -> int:
    """Return a task's ``oom_adj``: the stored one, or what its ``oom_score_adj`` amounts to."""
    if task.oom_adj is not None:
        return task.oom_adj
    return oom_adj_of(task.oom_score_adj, rules)


def is_disabled(task: Task, rules: RuleSet) -> bool:
    """Whether the task's own adjustment forbids to kill it (-17, or -1000 from 2.6.36 on)."""
    if rules.adj_files == "oom_adj":
        return rules.oom_disable and task_oom_adj(task, rules) == OOM_DISABLE
    return task.oom_score_adj == OOM_SCORE_ADJ_MIN
