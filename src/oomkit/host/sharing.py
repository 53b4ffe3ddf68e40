"""Who borrows another's address space, as far as that can be told."""

from collections.abc import Sequence

import msgspec

from oomkit.kernel.state import OOM_SCORE_ADJ_MIN, Task

# At an adjustment above this a killable task's oom_score is far above 0, whatever its size.
_SURELY_POSITIVE = OOM_SCORE_ADJ_MIN + 10


def mark_borrowers(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Mark vfork children and reaped victims by the kernel's own verdict.

    From 5.9 on ``oom_score`` is 0 only for what can't be killed. A live process with memory
    and an ordinary adjustment that shows 0 is therefore a vfork child (its address space is its
    parent's) or has been reaped already (``MMF_OOM_SKIP``); a size equal to the
    parent's tells the two apart. Before 5.9 small tasks show 0 too, and nothing is marked.

    Other processes that share an address space (CLONE_VM without CLONE_THREAD) can't be
    told from forked twins by what ``/proc`` prints; asking kcmp() about every pair would cost more
    than the scan. They keep ``mm_id`` None.
    """
    suspects = [index for index, task in enumerate(tasks) if _refused_by_kernel(task)]
    if not suspects:
        return tuple(tasks)
    marked = list(tasks)
    place = {task.pid: index for index, task in enumerate(marked)}
    for index in suspects:
        task = marked[index]
        parent = place.get(task.ppid)
        if parent is not None and marked[parent].total_vm_pages == task.total_vm_pages:
            marked[index] = msgspec.structs.replace(task, vfork=True, mm_id=task.ppid)
            marked[parent] = msgspec.structs.replace(marked[parent], mm_id=task.ppid)
        elif task.fatal_signal or task.exiting:
            marked[index] = msgspec.structs.replace(task, mm_reaped=True)
    return tuple(marked)


def _refused_by_kernel(task: Task) -> bool:
    return (
        task.kernel_oom_score == 0
        and task.has_mm
        and not task.global_init
        and task.oom_score_adj > _SURELY_POSITIVE
    )
