"""The JSON of a snapshot: a round trip loses nothing, and the reader is strict."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.snapshot_json import SnapshotError, decode_snapshot, encode_snapshot
from oomkit.kernel.state import Memcg, Memory, Node, Pressure, Snapshot, Task
from oomkit.records import to_json

COUNT = st.integers(0, 2**40)
FLOAT = st.floats(0, 100)
TEXT = st.text(max_size=15)

TASKS = st.builds(
    Task,
    pid=st.integers(1, 2**22),
    comm=TEXT,
    rss_pages=COUNT,
    anon_rss_pages=st.none() | COUNT,
    pte_pages=st.none() | COUNT,
    oom_score_adj=st.integers(-1000, 1000),
    oom_adj=st.none() | st.integers(-17, 15),
    nice=st.integers(-20, 19),
    vfork=st.booleans(),
    cgroup=TEXT,
    mems_allowed=st.none() | st.lists(st.integers(0, 9)).map(tuple),
    kernel_oom_score=st.none() | COUNT,
)
SNAPSHOTS = st.builds(
    Snapshot,
    kernel=TEXT,
    memory=st.builds(
        Memory,
        total_ram_pages=COUNT,
        available_pages=st.none() | COUNT,
        nodes=st.lists(
            st.builds(Node, node_id=COUNT, present_pages=COUNT, spanned_pages=COUNT)
        ).map(tuple),
    ),
    tasks=st.lists(TASKS, max_size=4, unique_by=lambda task: task.pid).map(tuple),
    memcgs=st.lists(
        st.builds(Memcg, path=TEXT, version=st.sampled_from([1, 2]), limit_pages=st.none() | COUNT),
        max_size=3,
    ).map(tuple),
    pressure=st.none() | st.builds(Pressure, some_avg10=FLOAT, full_total_us=COUNT),
    taken_at=st.none() | TEXT,
    missing=st.lists(TEXT, max_size=2).map(tuple),
)


@given(SNAPSHOTS)
def test_round_trip(snapshot: Snapshot) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


MINIMAL: dict[str, Any] = {"kernel": "6.12", "memory": {"total_ram_pages": 1000}}


def test_fields_with_defaults_may_be_left_out() -> None:
    snapshot = decode_snapshot(to_json(MINIMAL))
    assert snapshot == Snapshot(kernel="6.12", memory=Memory(total_ram_pages=1000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": 6}, "at $.kernel: Expected `str`, got `int`"),
        ({"memory": {}}, "at $.memory: Object missing required field `total_ram_pages`"),
        ({"tasks": [{"pid": "1"}]}, "at $.tasks[0].pid: Expected `int`, got `str`"),
        ({"tasks": [{"pid": 1, "comm": "a", "rss": 1}]}, "at $.tasks[0]: Object contains unknown"),
        ({"schema": 99}, "at $.schema: expected 1, got 99"),
        (
            {"page_size": 4095},
            "at $.page_size: expected a power of two from 1024 to 2**24, got 4095",
        ),
        ({"page_size": 2**400}, "at $.page_size: expected a power of two from 1024 to 2**24"),
        ({"memory": {"total_ram_pages": 2**64}}, "at $.memory.total_ram_pages: expected less than"),
        ({"hz": 0}, "at $.hz: expected 1 to 1000000, got 0"),
        ({"memory": {"total_ram_pages": -1}}, "at $.memory.total_ram_pages: expected 0 or more"),
        (
            {"tasks": [{"pid": 1, "comm": "a", "oom_score_adj": -1001}]},
            "at $.tasks[0].oom_score_adj: expected -1000..1000, got -1001",
        ),
        (
            {"tasks": [{"pid": 1, "comm": "a", "oom_adj": 17}]},
            "at $.tasks[0].oom_adj: expected -17..15, got 17",
        ),
        (
            {"tasks": [{"pid": 1, "comm": "a"}, {"pid": 1, "comm": "b"}]},
            "at $.tasks[1].pid: expected each pid once, got 1 again",
        ),
        (
            {"tasks": [{"pid": 1, "comm": "a", "swap_pages": -5}]},
            "at $.tasks[0].swap_pages: expected 0 or more, got -5",
        ),
        ({"memcgs": [{"path": "/", "limit_pages": -1}]}, "at $.memcgs[0].limit_pages: expected 0"),
        ({"memcgs": [{"path": "/", "version": 3}]}, "at $.memcgs[0].version: Invalid"),
        ({"page_size": 512}, "at $.page_size: expected a power of two from 1024 to 2**24, got 512"),
        ({"page_size": 2**25}, "at $.page_size: expected a power of two from 1024 to 2**24"),
        ({"hz": 1_000_001}, "at $.hz: expected 1 to 1000000, got 1000001"),
        (
            {"tasks": [{"pid": 1, "comm": "a", "oom_score_adj": 1001}]},
            "at $.tasks[0].oom_score_adj: expected -1000..1000, got 1001",
        ),
        (
            {"tasks": [{"pid": 1, "comm": "a", "oom_adj": -18}]},
            "at $.tasks[0].oom_adj: expected -17..15, got -18",
        ),
        (
            {"tasks": [{"pid": 1, "comm": "a"}, {"pid": 2, "comm": "b", "rss_pages": -1}]},
            "at $.tasks[1].rss_pages: expected 0 or more, got -1",
        ),
        (
            {
                "memory": {
                    "total_ram_pages": 9,
                    "nodes": [{"node_id": 0, "present_pages": -1, "spanned_pages": 1}],
                }
            },
            "at $.memory.nodes[0].present_pages: expected 0 or more, got -1",
        ),
        (
            {"anatomy": [{"path": "/"}, {"path": "/a", "current_bytes": -1}]},
            "at $.anatomy[1].current_bytes: expected 0 or more, got -1",
        ),
        (
            {"anatomy": [{"path": "/", "stat": {"anon": -1}}]},
            "at $.anatomy[0].stat.anon: expected 0 to 2**64 - 1, got -1",
        ),
        (
            {"anatomy": [{"path": "/", "stat": {"anon": 2**64}}]},
            f"at $.anatomy[0].stat.anon: expected 0 to 2**64 - 1, got {2**64}",
        ),
        (
            {"anatomy": [{"path": "/", "events": {"oom": -2}}]},
            "at $.anatomy[0].events.oom: expected 0 to 2**64 - 1, got -2",
        ),
        (
            {"anatomy": [{"path": "/", "local_events": {"oom": -2}}]},
            "at $.anatomy[0].local_events.oom: expected 0 to 2**64 - 1, got -2",
        ),
        ({"uptime_s": -1}, "at $.uptime_s: expected 0 or more, got -1"),
        ({"uptime_s": 2**64}, "at $.uptime_s: expected less than 2**64, got more"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SnapshotError) as error:
        decode_snapshot(to_json(MINIMAL | change), "db1.json")
    assert str(error.value).startswith(f"db1.json: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [
    {"page_size": 1024}, {"page_size": 2**24}, {"hz": 1}, {"hz": 1_000_000},
    {"memory": {"total_ram_pages": 0}}, {"memory": {"total_ram_pages": 2**63 - 1}},
    {"tasks": [{"pid": 1, "comm": "a", "oom_score_adj": -1000, "oom_adj": -17, "nice": -20}]},
    {"tasks": [{"pid": 1, "comm": "a", "oom_score_adj": 1000, "oom_adj": 16}]},
    {"anatomy": [{"path": "/", "stat": {"anon": 0, "file": 2**63 - 1}}]},
])  # fmt: skip
def test_the_last_value_that_can_be_is_read(change: dict[str, Any]) -> None:
    """Up to both ends of each range; an unknown user is -1."""
    made = decode_snapshot(to_json(MINIMAL | change))
    assert decode_snapshot(encode_snapshot(made)) == made


@pytest.mark.parametrize("text", [b"", b"{", b"[1", b"\xff\xfe", b'"\xff"'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(SnapshotError, match=r"^db1\.json: "):
        decode_snapshot(text, "db1.json")
