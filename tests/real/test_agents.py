"""Both workload agents play the same plan and report it alike; the static one weighs little."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.real import agent_build, static_agent
from oomkit.real.errors import RealError
from oomkit.real.observe import Observation, Seen
from oomkit.real.plan import Places, Plan, Planner, files_of
from oomkit.real.plan_text import encode
from oomkit.real.run_agent import AgentError, run_agent
from oomkit.real.static_agent import VARIABLE
from oomkit.scenario import scenario_from

pytestmark = pytest.mark.hermetic

MB = 2**20


@pytest.fixture(params=["static", "python"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "python":
        monkeypatch.setenv(VARIABLE, "python")
        return "python"
    monkeypatch.delenv(VARIABLE, raising=False)
    player = static_agent.agent()
    if player.kind != "static":
        pytest.skip(player.why)
    return "static"


def plan_of(where: Path, tasks: list[dict[str, Any]], **more: object) -> Plan:
    """What an agent of this host has to play; nothing in it needs a privilege."""
    ids = {"uid": os.geteuid()}
    scenario = scenario_from(
        {"name": "x", "duration": "60s", "machine": {"ram": "256M"},
         "task": [{**ids, **task} for task in tasks]}
    )  # fmt: skip
    places = [where / "files", where / "tmpfs"]
    for place in places:
        place.mkdir()
    planner = Planner(scenario, Places(files=str(places[0]), tmpfs=str(places[1]),
                                       cgroup_procs={"": ()}), 0)  # fmt: skip
    made = planner.tasks()
    for name, size in files_of(made).items():
        (places[0] / name).write_bytes(bytes(size))
    sources = {"meminfo": "/proc/meminfo", "pressure": "/dev/null", "cpu": "/proc/stat"}
    plan: Plan = {
        "tasks": made, "slots": planner.slots, "groups": [], "at": [], "at_end": 0.0,
        "duration": 60.0, "sample_s": 0.05, "files": str(places[0]), "tmpfs": str(places[1]),
        "temporary": [], "sysctl": [], "kmsg": False, "mark": False, "probe": None, "clock": 0.02,
        "incompressible": 0.0, "programs": "", "cpus": 2,
        "sources": {"cgroup": None, "files": sources, "swap": True, "lines": ["AnonHugePages"]},
    }  # fmt: skip
    return {**plan, **more}


def played(plan: Plan) -> Observation:
    seen = Observation()
    run_agent(plan, seen, limit_s=120)
    return seen


def task_of(seen: Observation, name: str) -> list[Seen]:
    return sorted((p for p in seen.procs.values() if p.name == name), key=lambda p: p.slot)


def test_tasks_go_through_their_steps(kind: str, tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [
        {"reserve": "6M"}, {"touch": "9M"}, {"share": "3M"}, {"free": "2M"},
        {"tmpfs": "1M"}, {"read": "3M", "file": "shared"}, {"write": "2M"},
        {"work": "50ms", "set": "4M", "file": "shared"}, {"hold": "400ms"},
    ]  # fmt: skip
    tasks: list[dict[str, Any]] = [
        {"name": "all", "steps": steps, "program": "1M"},
        {"name": "parent", "steps": [{"fork": 2}, {"touch": "5M"}, {"hold": "400ms"}],
         "children": [{"name": "child", "uid": os.geteuid(), "steps": [{"exit": 7}]}]},
        {"name": "threads", "threads": 3,
         "steps": [{"touch": "4M", "stride": "16K"}, {"work": "60ms"},
                   {"touch": "2M", "scatter": 2}]},
        {"name": "loops", "loops": 3, "steps": [{"touch": "1M", "rate": "50M/s"},
                                                {"free": "all"}]},
    ]  # fmt: skip
    seen = played(plan_of(tmp_path, tasks))
    assert (seen.faults, seen.done, seen.refused) == ([], "ended", [])
    (whole,) = task_of(seen, "all")
    # 9 MB touched and 3 shared, 2 given back, 1 of its program, and the file it works over.
    most = max(rss for rss, *_ in whole.curve.values())
    assert 10 <= most - seen.weight[0] / 1024 <= 16
    assert whole.code == 0
    assert whole.cpu_s >= 0.03
    assert [proc.code for proc in task_of(seen, "child")] == [7]
    assert len(task_of(seen, "parent")) == 3
    for proc in task_of(seen, "parent"):
        assert max(rss for rss, *_ in proc.curve.values()) >= 5
    assert [proc.code for proc in task_of(seen, "threads") + task_of(seen, "loops")] == [0, 0]
    files = tmp_path / "files"
    assert (files / "own-all-0").stat().st_size == 2 * MB
    (written,) = (tmp_path / "tmpfs").iterdir()
    assert (written.name.split("-")[0], written.stat().st_size) == ("all", MB)
    assert all(proc.end_s is not None for proc in seen.procs.values())


def rss_at_end(seen: Observation, name: str) -> list[float]:
    """Of what tasks hold at the end, MB, without what each weighs by itself."""
    ends = [proc.curve[max(proc.curve)][0] for proc in task_of(seen, name)]
    return [end - seen.weight[0] / 1024 for end in ends]


def test_what_is_only_read_is_no_rss_until_it_is_written_to(kind: str, tmp_path: Path) -> None:
    steps: list[dict[str, Any]] = [{"reserve": "20M"}, {"peek": "60M"}]
    hold = {"hold": "forever"}
    seen = played(plan_of(tmp_path, [
        {"name": "read", "steps": [*steps, hold]},
        {"name": "written", "steps": [*steps, {"touch": "10M"}, {"peek": "5M"}, hold]},
        {"name": "apart", "steps": [{"peek": "64M", "stride": "64K"}, hold]},
    ]))  # fmt: skip
    assert (seen.faults, seen.refused) == ([], [])
    assert rss_at_end(seen, "read") == [pytest.approx(0.0, abs=1.5)]
    assert rss_at_end(seen, "written") == [pytest.approx(10.0, abs=1.5)]
    assert rss_at_end(seen, "apart") == [pytest.approx(0.0, abs=1.5)]


def test_what_is_freed_lazily_stays_and_is_written_to_again(kind: str, tmp_path: Path) -> None:
    hold = {"hold": "forever"}
    full: list[dict[str, Any]] = [{"touch": "20M"}, {"free": "15M", "lazy": True}]
    seen = played(plan_of(tmp_path, [
        {"name": "lazy", "steps": [*full, hold]},
        {"name": "again", "steps": [*full, {"touch": "12M"}, {"touch": "5M"}, hold]},
        {"name": "gone", "steps": [*full, {"free": "2M"}, hold]},
        {"name": "whole", "steps": [*full, {"free": "all", "lazy": True}, {"touch": "21M"}, hold]},
        {"name": "strided", "steps": [*full, {"touch": "4M", "stride": "8K"}, hold]},
    ]))  # fmt: skip
    assert (seen.faults, seen.refused) == ([], [])
    found = {
        name: rss_at_end(seen, name)[0] for name in ("lazy", "again", "gone", "whole", "strided")
    }
    # The host may be short of memory for a moment: then some of what was freed is gone.
    assert found == {
        "lazy": pytest.approx(20.0, abs=1.5), "again": pytest.approx(22.0, abs=1.5),
        "gone": pytest.approx(3.0, abs=1.5), "whole": pytest.approx(21.0, abs=1.5),
        "strided": pytest.approx(22.0, abs=1.5),
    }  # fmt: skip


def test_forked_children_touch_their_parents_mapping(kind: str, tmp_path: Path) -> None:
    hold = {"hold": "forever"}
    seen = played(plan_of(tmp_path, [
        {"name": "pg", "steps": [{"reserve": "16M", "shared": True}, {"share": "4M"}, {"fork": 2},
                                 {"share": "8M"}, hold]},
        {"name": "more", "steps": [{"reserve": "4M", "shared": True}, {"share": "6M"}, hold]},
    ]))  # fmt: skip
    assert (seen.faults, seen.refused) == ([], [])
    # fork() copies no page tables of shared memory: a child has what it comes by.
    assert sorted(rss_at_end(seen, "pg")) == [
        pytest.approx(8.0, abs=1.5), pytest.approx(8.0, abs=1.5), pytest.approx(12.0, abs=1.5),
    ]  # fmt: skip
    assert rss_at_end(seen, "more") == [pytest.approx(6.0, abs=1.5)]


def test_huge_pages_that_are_not_there_are_refused(kind: str, tmp_path: Path) -> None:
    steps = [{"touch": "64G", "hugetlb": True}]
    seen = played(plan_of(tmp_path, [{"name": "asks", "steps": steps}]))
    (refused,) = seen.refused
    assert (refused.call, refused.size_bytes, refused.error) == ("mmap", 64 << 30, "ENOMEM")


def test_progress_is_where_a_task_has_come_to(kind: str, tmp_path: Path) -> None:
    tasks = [{"name": "holds", "steps": [{"touch": "1M"}, {"hold": "forever"}]},
             {"name": "slow", "steps": [{"touch": "8M", "over": "500ms"}]}]  # fmt: skip
    seen = played(plan_of(tmp_path, tasks))
    assert seen.done == "holding"
    (holds,) = task_of(seen, "holds")
    assert holds.curve[max(holds.curve)][2:] == (-1.0, 1.0)
    (slow,) = task_of(seen, "slow")
    at = [position for *_, position in slow.curve.values()]
    assert at == sorted(at)
    assert slow.end_s is not None
    assert slow.end_s - slow.start_s >= 0.45


def test_a_slow_read_takes_its_time(kind: str, tmp_path: Path) -> None:
    """A slice is a hundredth of a second's worth; no more than that is read in it."""
    tasks = [{"name": "slow", "steps": [{"read": "1M", "rate": "4M/s"}]}]
    seen = played(plan_of(tmp_path, tasks))
    (slow,) = task_of(seen, "slow")
    assert slow.end_s is not None
    assert slow.end_s - slow.start_s >= 0.2


def test_the_probe_goes_through_a_round_a_second(kind: str, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.write_bytes(bytes(3 * MB))
    given = {"every": 0.25, "cpu": 0.01, "text": 2 * MB, "scratch": MB}
    tasks = [{"name": "a", "steps": [{"hold": "1500ms"}]}]
    seen = played(plan_of(tmp_path, tasks, probe=given, programs=str(programs)))
    assert len(seen.rounds) >= 2
    for began_s, over_s in seen.rounds:
        # Rounds are due at its multiples; one that a busy host holds up leaves some out.
        assert abs(began_s / 0.25 - round(began_s / 0.25)) < 0.01
        assert over_s - began_s >= 0.009
    starts = [began_s for began_s, _ in seen.rounds]
    assert starts == sorted(set(starts))
    assert all(over <= later for (_, over), later in zip(seen.rounds, starts[1:], strict=False))


def test_programs_that_are_not_there_are_reported(kind: str, tmp_path: Path) -> None:
    given = {"every": 1.0, "cpu": 0.01, "text": MB, "scratch": MB}
    plan = plan_of(tmp_path, [{"name": "a"}], probe=given, programs=str(tmp_path / "none"))
    with pytest.raises(AgentError, match="none: No such file"):
        played(plan)


def test_a_task_is_started_again(kind: str, tmp_path: Path) -> None:
    tasks = [{"name": "service", "restart": "50ms", "steps": [{"touch": "1M"}, {"exit": 3}]}]
    seen = played(plan_of(tmp_path, tasks, duration=2.0))
    assert seen.done == "duration"
    codes = [proc.code for proc in task_of(seen, "service")]
    assert len(codes) >= 3
    assert set(codes) <= {3, None}
    assert codes.count(None) <= 1, "the run may end while one works"


def test_refused_memory_is_reported(kind: str, tmp_path: Path) -> None:
    tasks = [{"name": "asks", "steps": [{"reserve": "90T"}, {"reserve": "90T"}]}]
    seen = played(plan_of(tmp_path, tasks))
    (refused,) = seen.refused
    assert (refused.call, refused.size_bytes, refused.error) == ("mmap", 90 << 40, "ENOMEM")
    assert [proc.code for proc in task_of(seen, "asks")] == [1]


def test_what_breaks_is_reported(kind: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [{"name": "reads", "steps": [{"read": "1M", "file": "gone"}]}])
    (tmp_path / "files" / "shared-gone").unlink()
    with pytest.raises(AgentError, match=r"task reads: .*No such file"):
        played(plan)


def test_knobs_that_are_not_there_are_reported(kind: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [{"name": "a", "steps": [{"hold": "100ms"}]}],
                   sysctl=[("/proc/sys/vm/no_such_knob", "1")])  # fmt: skip
    with pytest.raises(AgentError, match="no_such_knob: No such file"):
        played(plan)


def test_what_the_agent_costs_stands_in_the_record(kind: str, tmp_path: Path) -> None:
    seen = played(plan_of(tmp_path, [{"name": "a", "steps": [{"hold": "1500ms"}]}]))
    cost = seen.instrument()
    assert cost.agent == kind
    assert cost.cpu_s > 0
    assert 0 < cost.task_anon_mb < cost.task_rss_mb
    assert cost.task_commit_mb > 0
    assert seen.found is not None
    assert seen.found.fault_mb_s > 1
    if kind == "static":
        assert cost.why == ""
        assert cost.task_rss_mb < 1
        assert cost.task_anon_mb < 0.2
        assert cost.rss_mb < 2


def test_a_task_that_is_gone_wakes_the_agent_no_more(kind: str, tmp_path: Path) -> None:
    # The second is forked while the first lives, and outlives it by two seconds.
    tasks = [
        {"name": "short", "steps": [{"hold": "300ms"}]},
        {"name": "long", "start": "100ms", "steps": [{"hold": "2300ms"}]},
    ]
    seen = played(plan_of(tmp_path, tasks, clock=0.5))
    assert seen.instrument().cpu_share < 0.06


def test_a_program_that_is_no_agent_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(RealError, match=rf"{VARIABLE}=.*expected python, or a program"):
        static_agent.agent()


def test_without_a_compiler_python_plays_and_the_record_has_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(static_agent, "SHIPPED", str(tmp_path / "none"))
    monkeypatch.setattr(agent_build, "compilers", lambda **_: [])
    static_agent.chosen.cache_clear()
    try:
        found = static_agent.agent()
    finally:
        static_agent.chosen.cache_clear()
    assert (found.kind, found.why) == (
        "python", "the static agent could not be built: no C compiler is here")  # fmt: skip


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bad = tmp_path / "cc"
    bad.write_text("#!/bin/sh\necho 'x.c:1: error: no such thing' >&2\nexit 1\n")
    bad.chmod(0o755)
    monkeypatch.setattr(agent_build, "compilers", lambda **_: [(str(bad),)])
    with pytest.raises(agent_build.BuildError, match=r"/cc: x\.c:1: error: no such thing"):
        agent_build.build(str(tmp_path / "agent"))
    assert not list(tmp_path.glob("agent*"))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False)
    | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)  # fmt: skip


def decoded(data: bytes, at: int = 0) -> tuple[object, int]:
    """The other way, as the C program reads it."""
    mark, at = data[at : at + 1], at + 1
    if mark == b"n":
        return None, at
    if mark in b"if":
        end = data.index(b";", at)
        return (int if mark == b"i" else float)(data[at:end]), end + 1
    if mark == b"s":
        colon = data.index(b":", at)
        end = colon + 1 + int(data[at:colon])
        return data[colon + 1 : end], end
    assert mark in b"ld"
    items = []
    while data[at : at + 1] != b"e":
        item, at = decoded(data, at)
        items.append(item)
    if mark == b"d":
        return dict(zip(items[::2], items[1::2], strict=True)), at + 1
    return items, at + 1


def plain(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


@given(values)
def test_plans_are_written_so_that_they_can_be_read(value: object) -> None:
    data = encode(value)
    assert decoded(data) == (plain(value), len(data))


@given(st.binary(max_size=60))
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(TypeError, match="expected plain values"):
        encode({"a": {data}})
