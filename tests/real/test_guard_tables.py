"""What is made of the runs of benchmarks/guard_qemu.py; the runs themselves are not judged here."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import daemons
from guard_agree import order, pairs
from guard_agree import table as agreement
from guard_qemu import (
    BEFORE,
    SCENARIOS,
    UNDISTURBED,
    Cell,
    Figures,
    in_units,
    missing,
    pair,
    sums,
    table,
    versions,
    without_culprits,
)
from oomkit.scenario import read_scenario
from oomkit.scenario.read import walk_tasks

pytestmark = pytest.mark.hermetic


def run(guard: str, *, load: str = "hog", swap: str = "none", **more: object) -> Figures:
    base = Figures(
        cell=Cell(load, swap, guard),
        kernel="6.12",
        outcome="completed",
        longest_gap_s=0.1,
        longest_locked_gap_s=0.05,
        frozen_s=0.0,
        short_s=0.5,
        low_s=10.0,
        signal_s=10.2,
        back_s=10.3,
        kills=1,
        innocents_killed=0,
        protected_killed=0,
        work_lost_s=2.0,
        kernel_kills=0,
        victims=[f"hog by {guard}"],
    )
    return msgspec.structs.replace(base, **more)


def test_reaction_times_count_from_low_memory() -> None:
    assert run("a").to_signal_s == pytest.approx(0.2)
    assert run("a").to_memory_s == pytest.approx(0.3)
    early = run("a", low_s=None)
    assert (early.to_signal_s, early.to_memory_s) == (0.0, 0.0)
    nobody = run("none", signal_s=None, back_s=None)
    assert (nobody.to_signal_s, nobody.to_memory_s) == (None, None)


def test_two_versions_are_compared_over_the_loads_that_both_have() -> None:
    before = [run("oomkit", kills=n) for n in (1, 2, 9)] + [run("oomkit", load="other", kills=50)]
    after = [run("oomkit", kills=3), run("oomkit", swap="disk"), run("oomkit", back_s=None)]
    rows = {line.split(" |")[0].lstrip("| "): line for line in pair(before, after)}
    assert rows["kills"] == "| kills | 1 | 2 | 2 | 0, 1, 0 |"
    assert rows["low to memory back"] == "| low to memory back | 1 | 0.30 s | 0.30 s | 0, 1, 0 |"
    after = [run("oomkit", kills=5, back_s=None)]
    rows = {line.split(" |")[0].lstrip("| "): line for line in pair(before, after)}
    assert rows["kills"] == "| kills | 1 | 2 | 5 | 0, 0, 1 |"
    assert rows["low to memory back"] == "| low to memory back | 0 | - | - | 0, 0, 0 |"
    assert pair(before, after)[-1] == "3 and 1 runs."


def test_sums_take_medians_of_loads_that_all_guards_have() -> None:
    done = [
        run("none", kills=3),
        run("none", kills=5),
        run("none", kills=4),
        run("earlyoom", kills=1),
        run("earlyoom", load="leak", kills=7),
        run("none", signal_s=None, load="other"),
        run("earlyoom", load="other"),
    ]
    rows = {line.split(" |")[0].lstrip("| "): line for line in sums(done)}
    assert rows["kills"] == "| kills | 2 | 5 | 2 |"
    assert rows["low to signal"] == "| low to signal | 1 | 0.20 s | 0.20 s |"


def test_requests_in_time_are_a_share_of_the_undisturbed_runs() -> None:
    """The guard's run ends early: the longest run's 100 requests are asked of its service too."""
    done = [
        run("none", requests=100, late=55),
        run("oomkit", requests=40, late=10),
        run(UNDISTURBED, requests=20, late=2),
        run("none", load="other", requests=100, late=100),
        run("oomkit", load="other", requests=100, late=0),
    ]
    assert sums(done)[-1] == "| requests in time | 1 | 50.0 % | 100.0 % |"
    rows = {tuple(line.split(" | ")[:3]): line for line in table(done)}
    assert " | 50.0 % | " in rows["| hog", "none", "none"]
    assert " | - | " in rows["| other", "none", "oomkit"]
    assert all(UNDISTURBED not in row for row in rows)


def test_a_desktops_programs_are_scopes_of_its_session() -> None:
    scenario = in_units(read_scenario(str(SCENARIOS / "database.toml")))
    places = {task.name: task.cgroup for _, task in walk_tasks(scenario.tasks)}
    session = "user.slice/user-1000.slice/user@1000.service/app.slice"
    assert places["postgres"] == "system.slice/postgres.service"
    assert places["leak"] == f"{session}/app-leak.scope"
    assert {group.name for group in scenario.cgroups} == set(places.values())
    browser = in_units(read_scenario(str(SCENARIOS / "browser.toml")))
    tabs = {task.cgroup for _, task in walk_tasks(browser.tasks) if "tab" in task.name}
    assert tabs == {f"{session}/app-browser.scope"}
    calm = [task.name for _, task in walk_tasks(without_culprits(browser).tasks)]
    assert "tab" in calm
    assert "runaway-tab" not in calm


def test_each_load_names_its_victims() -> None:
    done = [run("none", victims=["a by kernel"]), run("none", victims=["b by kernel"])]
    (line,) = table(done)[2:]
    assert line.endswith("| 0.5 a by kernel, 0.5 b by kernel |")


def test_what_is_left_to_play_comes_round_by_round() -> None:
    cells = [Cell("hog", "none", guard) for guard in ("a", "b")]
    left = missing(cells, [run("a")], 2)
    assert left[0] == cells[1]
    assert sorted(left[1:]) == cells
    loads = [Cell(load, "none", guard) for load in ("hog", "leak") for guard in ("a", "b")]
    order_of_loads = [cell.scenario for cell in missing(loads, [], 1)]
    assert order_of_loads in (["hog"] * 2 + ["leak"] * 2, ["leak"] * 2 + ["hog"] * 2)


def test_verdicts_are_compared_pair_by_pair() -> None:
    keys = {"a": (0.0, 1.0), "b": (0.0, 1.0), "c": (0.0, 0.0)}
    assert order(keys) == "c > a = b"
    assert pairs(keys) == {("a", "b"): 0, ("a", "c"): 1, ("b", "c"): 1}


def test_the_model_is_put_beside_the_runs() -> None:
    done = [run("none", kills=2), run("earlyoom"), run("earlyoom", swap="zram")]

    def model(cell: Cell) -> Figures:
        return run(cell.guard, kills=3 if cell.guard == "none" else 1, victims=["db by x"])

    (line, whole) = agreement(done, model)[2:]
    assert line == "| hog | none | earlyoom > none | earlyoom > none | 1 of 1 | 0 of 2 |"
    assert whole == "| all | | | | 1 of 1 | 0 of 2 |"


def test_the_script_prints_tables_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(run(g)) + b"\n" for g in ("none", "earlyoom")))
    script = Path(__file__).parents[2] / "benchmarks" / "guard_qemu.py"
    done = subprocess.run(
        [sys.executable, script, "--sums", path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("| sum of medians over | loads | none | earlyoom |\n")


def test_two_versions_are_told_apart_in_one_file_or_two(tmp_path: Path) -> None:
    before, after = run(BEFORE, signal_s=11.0), run("oomkit")
    paths = [tmp_path / name for name in ("one", "old", "new")]
    for path, runs in zip(paths, ([before, after], [before], [after]), strict=True):
        path.write_bytes(b"\n".join(msgspec.json.encode(one) for one in runs))
    assert versions(paths[:1]) == versions(paths[1:]) == ([before], [after])
    assert "| low to signal | 1 | 1.00 s | 0.20 s | 1, 0, 0 |" in pair(*versions(paths[:1]))


def test_a_daemon_is_held_against_its_configuration_by_victim_and_time() -> None:
    cell = daemons.Cell("hog", "none", "earlyoom", "")
    one = daemons.Result(
        cell=cell, kernel="6.12", real="hog", model="hog", real_s=5.2, model_s=4.0, real_kills=1,
        model_kills=1, real_by="kernel", model_by="earlyoom",
    )  # fmt: skip
    late = msgspec.structs.replace(one, real="leak", real_s=6.0, real_by="earlyoom")
    none = msgspec.structs.replace(one, real=None, model=None, real_s=None, real_by="")
    lines = daemons.table([one, late, none])
    assert lines[2].endswith(
        "hog by kernel, leak by earlyoom, none at 5.6 s | hog by earlyoom at 4.0 s | 1.40 |"
    )
    assert lines[-1] == (
        "Same first victim in 2 of 3 runs (in 1 the kernel killed it before the daemon did); time "
        "of the first signal within 1.3x in 1 of 2."
    )
