"""A snapshot as JSON, and back: strictly, with errors that name the place."""

from collections.abc import Iterator

from oomkit.errors import OomkitError
from oomkit.kernel.state import OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN, SCHEMA, Snapshot, Task
from oomkit.records import DecodeError, Record, ValidationError, field_names, from_json, to_json


class SnapshotError(OomkitError, ValueError):
    """A text is not a snapshot; the message names the source, the place and what was expected."""


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Return the snapshot as indented JSON under the records' own field names."""
    return to_json(snapshot, indent=1) + b"\n"


def decode_snapshot(text: bytes | str, source: str = "snapshot") -> Snapshot:
    """Read a snapshot from JSON.

    Args:
        text: the JSON.
        source: name of the file it came from, for the error message.

    Raises:
        SnapshotError: not JSON, an unknown field, a wrong type or an impossible value.
    """
    if not text.strip():
        raise SnapshotError(f"{source}: empty; expected a snapshot, as oomkit snapshot writes it")
    try:
        snapshot = from_json(text, type=Snapshot)
    except ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        raise SnapshotError(f"{source}: at {path.rstrip('`') or '$'}: {reason}") from None
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{source}: not JSON: {error}") from None
    for path, problem in _problems(snapshot):
        raise SnapshotError(f"{source}: at {path}: {problem}")
    return snapshot


def _problems(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    if snapshot.schema != SCHEMA:
        yield "$.schema", f"expected {SCHEMA}, got {snapshot.schema}"
    size = snapshot.page_size
    if not 1024 <= size <= _MAX_PAGE_SIZE or size & (size - 1):
        yield "$.page_size", f"expected a power of two from 1024 to 2**24, got {size}"
    if not 1 <= snapshot.hz <= _MAX_HZ:
        yield "$.hz", f"expected 1 to {_MAX_HZ}, got {snapshot.hz}"
    yield from _impossible(snapshot, "$")
    yield from _impossible(snapshot.memory, "$.memory")
    for index, node in enumerate(snapshot.memory.nodes):
        yield from _impossible(node, f"$.memory.nodes[{index}]")
    pids: set[int] = set()
    for index, task in enumerate(snapshot.tasks):
        if task.pid in pids:
            yield f"$.tasks[{index}].pid", f"expected each pid once, got {task.pid} again"
        pids.add(task.pid)
        yield from _task_problems(task, f"$.tasks[{index}]")
    for index, group in enumerate(snapshot.memcgs):
        yield from _impossible(group, f"$.memcgs[{index}]")
    for index, stat in enumerate(snapshot.anatomy):
        yield from _impossible(stat, f"$.anatomy[{index}]")
        for name in ("stat", "events", "local_events"):
            for key, value in getattr(stat, name).items():
                if not 0 <= value < 2**64:
                    yield (
                        f"$.anatomy[{index}].{name}.{key}",
                        f"expected 0 to 2**64 - 1, got {value}",
                    )


def _task_problems(task: Task, path: str) -> Iterator[tuple[str, str]]:
    if not OOM_SCORE_ADJ_MIN <= task.oom_score_adj <= OOM_SCORE_ADJ_MAX:
        yield f"{path}.oom_score_adj", f"expected -1000..1000, got {task.oom_score_adj}"
    # 16 is what kernels from 3.7 to 5.9 print for an oom_score_adj of 942 to 999.
    if task.oom_adj is not None and not -17 <= task.oom_adj <= 16:
        yield f"{path}.oom_adj", f"expected -17..15, got {task.oom_adj}"
    yield from _impossible(task, path)


_MAX_PAGE_SIZE = 2**24
_MAX_HZ = 1_000_000
_SIGNED = frozenset({"oom_score_adj", "oom_adj", "nice", "uid", "euid"})
_COUNTS = ("_pages", "_bytes", "_kb", "_s", "_us", "_jiffies", "pid", "threads")


def _impossible(record: Record, path: str) -> Iterator[tuple[str, str]]:
    for name in field_names(record):
        value = getattr(record, name)
        if not isinstance(value, int) or name in _SIGNED or not name.endswith(_COUNTS):
            continue
        if value < 0:
            yield f"{path}.{name}", f"expected 0 or more, got {value}"
        if value >= 2**64:
            yield f"{path}.{name}", "expected less than 2**64, got more"
