"""Command lines of the processes of a snapshot, read when somebody asks for them."""

import msgspec

from oomkit.host.procfs import read_or_none, text
from oomkit.kernel.state import Snapshot, Task

_MAX_BYTES = 4096


def with_command_lines(snapshot: Snapshot, *, proc_root: str = "/proc") -> Snapshot:
    """Return the snapshot just taken of this machine with ``Task.cmdline`` filled where readable.

    Pids go round: none is given again before all others have been, so a pid seen a moment ago
    stands for the same process or for none.
    """
    tasks = tuple(
        msgspec.structs.replace(task, cmdline=_read(task, proc_root)) if task.has_mm else task
        for task in snapshot.tasks
    )
    return msgspec.structs.replace(snapshot, tasks=tasks)


def _read(task: Task, proc: str) -> str | None:
    data = read_or_none(f"{proc}/{task.pid}/cmdline")
    if not data:
        return None
    shown = data[:_MAX_BYTES].rstrip(b"\0").replace(b"\0", b" ")
    return text(shown) + ("…" if len(data) > _MAX_BYTES else "")
