"""Processes as a person names them: by pid, or by name."""

import difflib

from oomkit.errors import OomkitError
from oomkit.kernel.state import Snapshot, Task

_COMM_BYTES = 15
_MAX_NAMED = 8
_MAX_NEAR = 4


class TaskNameError(OomkitError, ValueError):
    """No such process, or several; the text names them."""


def find_tasks(snapshot: Snapshot, given: str) -> tuple[Task, ...]:
    """Return the processes that ``given`` means: the one with that pid, else all of that name.

    Args:
        snapshot: the machine.
        given: a pid, or a name; the kernel keeps 15 bytes of one, so a longer one is cut.

    Raises:
        TaskNameError: there is none; the text names near ones.
    """
    if given.isascii() and given.isdigit():
        for task in snapshot.tasks:
            if task.pid == int(given):
                return (task,)
    cut = given.encode()[:_COMM_BYTES].decode(errors="ignore")
    for name in (given, cut):
        found = tuple(task for task in snapshot.tasks if task.comm == name)
        if found and name:
            return found
    names = {task.comm for task in snapshot.tasks if task.has_mm and task.comm}
    near = difflib.get_close_matches(given, names, n=_MAX_NEAR)
    near += sorted(name for name in names if given and given in name and name not in near)
    hint = f"; near: {', '.join(near[:_MAX_NEAR])}" if near else ""
    raise TaskNameError(f"no process {given} in this snapshot{hint}")


def find_task(snapshot: Snapshot, given: str) -> Task:
    """Return the one process that ``given`` means.

    Raises:
        TaskNameError: there is none, or there are several of that name.
    """
    found = find_tasks(snapshot, given)
    if len(found) == 1:
        return found[0]
    pids = ", ".join(str(task.pid) for task in found[:_MAX_NAMED])
    more = len(found) - _MAX_NAMED
    pids += f" and {more} more" if more > 0 else ""
    raise TaskNameError(f"{len(found)} processes are named {given}: {pids}; give a pid")
