"""The same machine with one thing changed."""

from collections.abc import Mapping

import msgspec

from oomkit.kernel.state import OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, Snapshot


class WhatIfError(ValueError):
    """A change that can't be made; the text says what was expected."""


def adjusted(snapshot: Snapshot, adjustments: Mapping[int, int]) -> Snapshot:
    """Return the snapshot with ``oom_score_adj`` of some processes changed.

    Args:
        snapshot: the machine.
        adjustments: pid to ``oom_score_adj``.

    Raises:
        WhatIfError: no such process, or a value outside -1000..1000.
    """
    pids = {task.pid for task in snapshot.tasks}
    for pid, adj in adjustments.items():
        if pid not in pids:
            raise WhatIfError(f"no process {pid} in this snapshot")
        if not OOM_SCORE_ADJ_MIN <= adj <= OOM_SCORE_ADJ_MAX:
            raise WhatIfError(f"oom_score_adj {adj} of process {pid} is outside -1000..1000")
    tasks = tuple(
        msgspec.structs.replace(task, oom_score_adj=adjustments[task.pid], oom_adj=None)
        if task.pid in adjustments
        else task
        for task in snapshot.tasks
    )
    return msgspec.structs.replace(snapshot, tasks=tasks)
