"""The records: strict, frozen, and the same after JSON."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.kernel.state import SCHEMA, Allocation, Memory, Snapshot, Sysctl, Task
from oomkit.records import ValidationError, from_json, to_json
from tests.kernel.strategies import snap, snapshots, user


@settings(max_examples=100, deadline=None)
@given(st.one_of(snapshots(), snapshots(plain=True)))
def test_snapshot_survives_json(snapshot: Snapshot) -> None:
    """R4: a snapshot looked at elsewhere is the same snapshot."""
    text = to_json(snapshot)
    assert from_json(text, type=Snapshot) == snapshot


def test_defaults_are_the_kernels() -> None:
    """R2, R7, R8, R10, R12: the knobs' defaults."""
    knobs = Sysctl()
    assert (knobs.overcommit_memory, knobs.overcommit_ratio, knobs.overcommit_kbytes) == (0, 50, 0)
    assert (knobs.panic_on_oom, knobs.oom_kill_allocating_task) == (0, 0)
    assert (knobs.oom_killer_disabled, knobs.would_have_oomkilled) == (0, 0)
    assert knobs.swappiness == 60
    assert snap().schema == SCHEMA


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b'{"kernel": "6.18"}', "memory"),
        (b'{"kernel": 6, "memory": {"total_ram_pages": 1}}', "str"),
        (b'{"kernel": "6.18", "memory": {"total_ram_pages": "1"}}', "total_ram_pages"),
        (b'{"kernel": "6.18", "memory": {"total_ram_pages": 1}, "knobs": {}}', "knobs"),
        (b'{"kernel": "6.18", "memory": {"total_ram_pages": 1}, "tasks": [{}]}', r"tasks\[0\]"),
    ],
)
def test_a_wrong_snapshot_is_refused(text: bytes, complaint: str) -> None:
    """R4: what is missing, unknown or of the wrong type is named with its place."""
    with pytest.raises(ValidationError, match=complaint):
        from_json(text, type=Snapshot)


def test_unknown_is_not_zero() -> None:
    """R4: what could not be read stays None through JSON."""
    task = from_json(to_json(Task(pid=1, comm="t")), type=Task)
    assert task.kernel_oom_score is None
    assert task.anon_rss_pages is None
    assert task.mems_allowed is None


def test_records_do_not_change() -> None:
    """R1: a record in, a decision out: nobody alters the record."""
    for record, field in (
        (user(1), "pid"),
        (Memory(total_ram_pages=1), "free_pages"),
        (Sysctl(), "panic_on_oom"),
        (Allocation(), "order"),
        (snap(), "kernel"),
    ):
        with pytest.raises(AttributeError):
            setattr(record, field, 5)


def test_names_with_any_bytes() -> None:
    """R4: a task may call itself anything that UTF-8 can carry."""
    for comm in ("a b", "тест", 'q"\\', "\x1b[31m", ""):
        snapshot = snap(user(1, comm=comm))
        text = to_json(snapshot)
        assert from_json(text, type=Snapshot).tasks[0].comm == comm
