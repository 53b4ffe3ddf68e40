"""Command lines of the processes of a snapshot, read when somebody asks for them."""

import os

import msgspec

from oomkit.host.procfs import read_or_none, text
from oomkit.host.stat import parse_stat
from oomkit.kernel.state import Snapshot, Task

_MAX_BYTES = 4096


def with_command_lines(snapshot: Snapshot, *, proc_root: str = "/proc") -> Snapshot:
    """Return the snapshot of this machine with ``Task.cmdline`` filled where it can be read.

    A pid that is another process by now gets none.
    """
    user_hz = os.sysconf("SC_CLK_TCK")
    tasks = tuple(
        msgspec.structs.replace(task, cmdline=_read(task, proc_root, user_hz))
        if task.has_mm
        else task
        for task in snapshot.tasks
    )
    return msgspec.structs.replace(snapshot, tasks=tasks)


def _read(task: Task, proc: str, user_hz: int) -> str | None:
    data = read_or_none(f"{proc}/{task.pid}/cmdline")
    stat = read_or_none(f"{proc}/{task.pid}/stat") if data else None
    if not data or not stat:
        return None
    try:
        if parse_stat(stat).start_ticks // user_hz != task.start_s:
            return None
    except ValueError:
        return None
    shown = data[:_MAX_BYTES].rstrip(b"\0").replace(b"\0", b" ")
    return text(shown) + ("…" if len(data) > _MAX_BYTES else "")
