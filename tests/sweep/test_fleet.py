"""Tables of what ran on a cluster: our own, Google's, Alibaba's; and what is drawn from them."""

import json
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from oomkit.scenario import scenario_from
from oomkit.sweep.fleet import Table, oom_score_adj
from oomkit.sweep.spec import Fleet
from oomkit.sweep.traces import TraceError, read_table
from tests.sweep.sweeps import ROOT

GIB = 2**30


def table(*files: Path, **keys: Any) -> Table:
    return read_table(Fleet(files=tuple(map(str, files)), unit_bytes=100 * GIB, **keys))


@pytest.fixture(scope="module")
def own() -> Table:
    return table(ROOT / "sweeps" / "fleet.csv")


def test_the_fleet_that_comes_with_it_is_read(own: Table) -> None:
    assert len(own.ram_bytes) == 36
    assert len(own.used_bytes) == 1500
    assert set(own.ram_bytes) == {16 * GIB, 32 * GIB, 64 * GIB}


def test_the_fleet_that_comes_with_it_is_what_its_maker_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docs import fleet

    (tmp_path / "sweeps").mkdir()
    monkeypatch.chdir(tmp_path)
    fleet.main()
    made = (tmp_path / "sweeps" / "fleet.csv").read_bytes()
    assert made == (ROOT / "sweeps" / "fleet.csv").read_bytes()


def test_what_is_drawn_is_a_scenario_packed_as_asked(own: Table) -> None:
    full = 0
    for seed in range(20):
        raw = own.scenario(Random(seed))
        made = scenario_from(raw)
        assert 1 <= len(made.tasks) <= own.fleet.tasks
        assert own.scenario(Random(seed)) == raw
        full += made.machine.ram_bytes in own.ram_bytes
        roles = {task.name.partition("-")[0]: task.role for task in made.tasks}
        assert roles.get("system", "protected") == "protected"
    assert full > 10
    assert own.scenario(Random(1)) != own.scenario(Random(2))


def test_a_machine_too_large_for_its_tasks_is_cut_in_proportion() -> None:
    fleet = Fleet(files=(), pack=2.0, tasks=4)
    large = Table(fleet, machines=[(64 * GIB, 32)], tasks=[(GIB, GIB / 2, 1e6, 0.5, 200)]).scenario(
        Random(0)
    )
    assert len(large["task"]) == 4
    assert large["machine"]["ram"] == 2 * GIB
    assert large["machine"]["cpus"] == 1


@pytest.mark.parametrize(
    ("priority", "requested", "expected"),
    [(450, GIB, -997), (200, GIB, 900), (110, 20 * GIB, 3), (110, 1, 999), (25, GIB, 1000)],
)
def test_oom_score_adj_is_the_kubelets(priority: int, requested: int, expected: int) -> None:
    assert oom_score_adj(priority, requested, 10 * GIB) == expected


USAGE: list[dict[str, Any]] = [
    {"start_time": 0, "end_time": 300_000_000, "collection_id": 7, "instance_index": 0,
     "machine_id": 1, "collection_type": 0, "average_usage": {"cpus": 0.01, "memory": 0.02},
     "maximum_usage": {"cpus": 0.02, "memory": 0.03}, "assigned_memory": 0.05},
    {"start_time": 300_000_000, "end_time": 600_000_000, "collection_id": 7, "instance_index": 0,
     "machine_id": 1, "collection_type": 0, "average_usage": {"cpus": 0.03, "memory": 0.04},
     "maximum_usage": {"cpus": 0.04, "memory": 0.06}, "assigned_memory": 0.05},
    {"start_time": 0, "end_time": 60_000_000, "collection_id": 8, "instance_index": 3,
     "machine_id": 2, "collection_type": 0, "average_usage": {"cpus": 0.01, "memory": 0.01},
     "maximum_usage": {"cpus": 0.01, "memory": None}, "assigned_memory": 0.02},
    {"start_time": 0, "end_time": 60_000_000, "collection_id": 9, "instance_index": 0,
     "machine_id": 2, "collection_type": 1, "average_usage": {"cpus": 0.5, "memory": 0.5},
     "maximum_usage": {"cpus": 0.5, "memory": 0.5}, "assigned_memory": 0.6},
]  # fmt: skip
EVENTS: list[dict[str, Any]] = [
    {"time": 0, "type": 3, "collection_id": 7, "instance_index": 0, "priority": 200,
     "resource_request": {"cpus": 0.05, "memory": 0.04}},
    {"time": 0, "type": 3, "collection_id": 8, "instance_index": 3, "priority": 25,
     "resource_request": {"cpus": 0.05, "memory": 0.015}},
]  # fmt: skip
MACHINES: list[dict[str, Any]] = [
    {"time": 0, "machine_id": i, "type": 1, "switch_id": "a", "capacity": {"cpus": c, "memory": c}}
    for i, c in ((1, 0.5), (2, 1.0))
]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in row.items():
        if isinstance(value, dict):
            found.update({f"{key}.{inner}": v for inner, v in value.items()})
        else:
            found[key] = value
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        pl.DataFrame([flat(row) for row in rows]).write_csv(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_googles_layout(kind: str, tmp_path: Path) -> None:
    found = table(
        write(tmp_path / f"instance_usage-00.{kind}", USAGE),
        write(tmp_path / f"instance_events-00.{kind}", EVENTS),
        write(tmp_path / f"machine_events.{kind}", MACHINES),
    )
    assert list(found.ram_bytes) == [50 * GIB, 100 * GIB]
    assert list(found.cpus) == [32, 64]
    # Two tasks, the alloc set is none; the first with its peak over both windows.
    assert list(found.used_bytes) == pytest.approx([6 * GIB, 1 * GIB])
    assert list(found.requested_bytes) == pytest.approx([4 * GIB, 1.5 * GIB])
    assert list(found.life_s) == [600.0, 60.0]
    assert list(found.task_cpus) == pytest.approx([0.02 * 64, 0.64])
    assert list(found.priority) == [200, 25]


def test_googles_usage_alone_takes_the_limit_for_the_request(tmp_path: Path) -> None:
    found = table(write(tmp_path / "instance_usage.csv", USAGE))
    assert list(found.requested_bytes) == pytest.approx([5 * GIB, 2 * GIB])
    assert set(found.ram_bytes) == {100 * GIB}


ALIBABA = {
    "machine_meta": "m_1,0,1,a,96,100,USING\nm_2,0,2,b,96,50,USING\n",
    "container_meta": "c_1,m_1,0,app_1,started,400,800,3.0\n",
    "container_usage": (
        "c_1,m_1,1000,10,50,1.5,0.1,1,0.1,0.1,2\nc_1,m_1,4600,30,80,1.5,0.1,1,0.1,0.1,2\n"
    ),
    "batch_task": "M1,2,j_1,1,Terminated,100,200,100.0,0.5\n",
    "batch_instance": (
        "ins_1,M1,j_1,1,Terminated,100,160,m_2,1,1,50.0,90.0,0.2,0.4\n"
        "ins_2,M1,j_1,1,Failed,0,0,,1,1,,,,\n"
    ),
}


def test_alibabas_layout_without_names_of_columns(tmp_path: Path) -> None:
    paths = []
    for name, text in ALIBABA.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        paths.append(path)
    found = table(*paths)
    assert list(found.ram_bytes) == [100 * GIB, 50 * GIB]
    assert list(found.requested_bytes) == pytest.approx([3 * GIB, 0.5 * GIB])
    assert list(found.used_bytes) == pytest.approx([2.4 * GIB, 0.4 * GIB])
    assert list(found.life_s) == [3600.0, 60.0]
    assert list(found.task_cpus) == pytest.approx([4 * 0.2, 0.5])
    assert list(found.priority) == [120, 100]
    scenario_from(found.scenario(Random(0)))


HALF_OF_USAGE = "start_time,end_time,collection_id,instance_index,machine_id\n0,1,1,0,1\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.csv", "a,b\n1,2\n", "expected the columns of a fleet"),
        ("x.txt", "a,b\n", "a name that ends in"),
        ("x.csv", "machine,task,used_mb\n1,2,3\n", "expected the column machine_ram_mb besides"),
        ("container_usage.csv", ALIBABA["container_usage"], "container_usage with container_meta"),
        ("x.parquet", "nonsense", "x.parquet"),
        ("instance_usage.csv", HALF_OF_USAGE, "expected a column maximum_usage.memory"),
    ],
)  # fmt: skip
def test_a_table_that_cant_be_used_is_reported(
    name: str, text: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TraceError, match=reason) as caught:
        table(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="expected a file"):
        table(tmp_path / "gone.csv")
