"""The scenario format: what is read, and that every fault is told at once."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.real.cgroup_limits import for_guest
from oomkit.scenario import Run, Samples, ScenarioError, read_scenario, scenario_from
from oomkit.scenario.read import walk_tasks
from oomkit.scenario.record import from_json, to_json
from oomkit.scenario.template import template
from oomkit.scenario.write import scenario_text
from oomkit.toml import units

TOML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "task", "machine", "ram", "steps", "touch", "vm", "at", "t", "cgroup", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def faults_of(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario_from(tomllib.loads(text), source="f.toml", overrides=overrides)
    return caught.value.lines()


def test_template_is_a_scenario_with_every_section() -> None:
    scenario = scenario_from(tomllib.loads(template("mine")))
    assert scenario.name == "mine"
    assert [task.name for task in scenario.tasks] == ["database", "worker", "leak"]
    assert scenario.tasks[1].steps[1].over_s == 2.0
    assert scenario.tasks[2].steps[0].rate_bytes_s == 40 * 2**20


def test_every_fault_at_once_with_file_place_and_expectation() -> None:
    lines = faults_of(
        """
        name = 3
        surprise = 1
        [machine]
        ram = "lots"
        kernel = "banana"
        [vm]
        swapiness = 10
        panic_on_oom = 7
        [[task]]
        name = "a"
        cgroup = "nowhere"
        steps = [ { touch = "1M", hold = "1s" }, { touch = "1M", rate = "1M", over = "1s" } ]
        [[task]]
        name = "a"
        [[at]]
        t = "1s"
        task.b.nice = 40
        """
    )
    places = [line.split(": ")[1] for line in lines]
    assert all(line.startswith("f.toml: ") for line in lines)
    assert places == [
        "name",
        "machine.ram",
        "machine.kernel",
        "vm.panic_on_oom",
        "vm.swapiness",
        "task[0].steps[0]",
        "task[0].steps[1].rate",
        "at[0].task.b.nice",
        "surprise",
        "task[0].cgroup",
        "task[1].name",
        "at[0].task.b",
    ]
    assert "did you mean swappiness?" in lines[4]


def test_overrides_reach_machine_knobs_and_tasks_and_name_what_is_missing() -> None:
    raw = tomllib.loads(template("t"))
    scenario = scenario_from(
        raw,
        overrides=["machine.swap=2G", "vm.panic_on_oom=1", "task.leak.count=3", "duration=5s"],
    )
    assert scenario.machine.swap_bytes == 2 * 2**30
    assert scenario.vm["panic_on_oom"] == 1
    assert scenario.tasks[2].count == 3
    assert scenario.duration_s == 5.0
    lines = faults_of(template("t"), "task.nobody.count=3", "nonsense", "name.x=1")
    assert [line.split(": ")[1] for line in lines[:3]] == [
        "--set task.nobody.count=3",
        "--set nonsense",
        "--set name.x=1",
    ]


def test_a_fault_that_an_override_brought_in_stands_at_the_override() -> None:
    sets = ("machine.foo=1", "machine.swap=much", "task.leak.count=-3", "task.leak.steps.0.rate=x")
    lines = faults_of(template("t"), *sets)
    assert {line.split(": ")[1] for line in lines} == {f"--set {one}" for one in sets}
    raw = template("t").replace("name =", 'nmae = "x"\nname =', 1)
    places = [line.split(": ")[1] for line in faults_of(raw, "machine.foo=1")]
    assert sorted(places) == ["--set machine.foo=1", "nmae"]


@given(st.dictionaries(st.text(max_size=6) | st.just("task") | st.just("machine"), TOML))
def test_anything_that_is_toml_is_read_or_refused(raw: dict[str, object]) -> None:
    lines = []
    try:
        scenario_from(raw)
    except ScenarioError as error:
        lines = error.lines()
    else:
        assert raw["task"]
    assert all(line.isprintable() for line in lines)


def test_unreadable_and_broken_files_are_one_fault(tmp_path: object) -> None:
    path = f"{tmp_path}/broken.toml"
    for data in (b"a = [", b"\xff\xfe", b"[" * 5000):
        with open(path, "wb") as file:
            file.write(data)
        with pytest.raises(ScenarioError) as caught:
            read_scenario(path)
        assert len(caught.value.faults) == 1
    with pytest.raises(ScenarioError, match="No such file"):
        read_scenario(f"{tmp_path}/none.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("4096B", 4096),
        ("1048576", 2**20),
        ("300M", 300 * 2**20),
        ("1.5G", 1536 * 2**20),
        ("2KiB", 2048),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert units.size(text) == value


@pytest.mark.parametrize(
    "text", ["-1M", "1X", "", "M", "1e9", "2000T", "1 000K", "5", "4096", "1048575"]
)
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="a size"):
        units.size(text)


def test_record_round_trips_through_json() -> None:
    samples = Samples(
        t_s=[0.0],
        free_mb=[1.0],
        available_mb=[1.0],
        cached_mb=[0.0],
        swap_free_mb=[0.0],
        psi_some_avg10=[0.0],
        psi_full_avg10=[0.0],
        cpu_busy=[0.5],
        tasks={},
    )
    run = Run(
        scenario="s", on="model", kernel="6.12", outcome="completed", ended_s=1.0, samples=samples
    )
    assert from_json(to_json(run)) == run


def test_hardware_faster_than_the_model_can_tell_apart_is_refused() -> None:
    lines = faults_of(template("t"), "machine.disk=101G/s", "machine.fault_rate=900T/s")
    assert [line.split(": ")[1] for line in lines] == [
        "--set machine.disk=101G/s",
        "--set machine.fault_rate=900T/s",
    ]
    assert all('up to "100G/s"' in line for line in lines)


def test_what_cpus_are_worth_is_a_number_of_cpus() -> None:
    scenario = scenario_from(tomllib.loads(template("t")), overrides=["machine.cpus_worth=1.25"])
    assert scenario.machine.cpus_worth == 1.25
    assert scenario_from(tomllib.loads(scenario_text(scenario))) == scenario
    for value in ("0", "true", '"2"', "-1", "9000"):
        (line,) = faults_of(template("t"), f"machine.cpus_worth={value}")
        assert "expected a number of CPUs" in line


def test_what_a_task_does_on_sigterm_is_read_and_refused_where_it_cant_be_shown() -> None:
    raw = {
        "name": "n",
        "machine": {"ram": "512M"},
        "task": [
            {"name": "a", "on_sigterm": "ignore", "steps": [{"hold": "1s"}]},
            {"name": "b", "sigterm_exit": "2s", "steps": [{"hold": "1s"}]},
        ],
    }
    scenario = scenario_from(raw)
    assert scenario.tasks[0].on_sigterm == "ignore"
    assert scenario.tasks[1].sigterm_exit_s == 2.0
    assert len([reason for reason in for_guest(scenario) if "on_sigterm" in reason]) == 2


def test_a_child_is_in_the_cgroup_of_its_parent_unless_it_says_otherwise() -> None:
    text = """\
name = "n"
machine.ram = "64M"
cgroup = [{ name = "g" }, { name = "h" }]
[[task]]
name = "parent"
cgroup = "g"
steps = [{ hold = "1s" }]
  [[task.children]]
  name = "same"
    [[task.children.children]]
    name = "deeper"
  [[task.children]]
  name = "other"
  cgroup = "h"
  [[task.children]]
  name = "outside"
  cgroup = "/"
    [[task.children.children]]
    name = "below"
"""
    scenario = scenario_from(tomllib.loads(text))
    found = {task.name: task.cgroup for _, task in walk_tasks(scenario.tasks)}
    assert found == {
        "parent": "g", "same": "g", "deeper": "g", "other": "h", "outside": None, "below": None,
    }  # fmt: skip
    assert scenario_from(tomllib.loads(scenario_text(scenario))) == scenario


LIMITED = """
name = "x"
machine.ram = "1G"
[[cgroup]]
name = "a"
io_max = {io_max}
[[task]]
name = "t"
steps = [ {{ hold = "1s" }} ]
"""


def test_io_max_reads_back_as_it_is_written() -> None:
    raw = tomllib.loads(LIMITED.format(io_max='{ rbps = "4M/s" }'))
    raw["at"] = [{"t": "1s", "cgroup": {"a": {"io_max": {"wbps": "8K/s"}}}}]
    scenario = scenario_from(raw)
    assert scenario.cgroups[0].io_read_bytes_s == 4 * 2**20
    assert scenario.cgroups[0].io_write_bytes_s is None
    assert scenario.at[0].cgroups == {"a": {"io_write_bytes_s": 8192.0}}
    assert scenario_from(tomllib.loads(scenario_text(scenario))) == scenario


@pytest.mark.parametrize(
    ("io_max", "place", "expected"),
    [
        ('{ rbps = "1B/s" }', "io_max.rbps", 'expected a rate from "4K/s" on'),
        ('{ wbps = "0/s" }', "io_max.wbps", "above 0"),
        ('{ riops = 100 }', "io_max.riops", "unknown key"),
        ('"4M/s"', "io_max", "expected a table"),
    ],
)  # fmt: skip
def test_faults_of_io_max_have_their_place(io_max: str, place: str, expected: str) -> None:
    (line,) = faults_of(LIMITED.format(io_max=io_max))
    assert f"cgroup[0].{place}: " in line
    assert expected in line


@pytest.mark.parametrize(
    ("value", "thp"),
    [("true", "always"), ("false", "never"), ('"madvise"', "madvise"), ('"always"', "always")],
)
def test_huge_pages_are_on_off_or_a_word_of_the_kernel(value: str, thp: str) -> None:
    text = LIMITED.format(io_max="{}").replace('"1G"', f'"1G"\nmachine.thp = {value}')
    scenario = scenario_from(tomllib.loads(text.replace("steps", 'thp = "madvise"\nsteps')))
    assert (scenario.machine.thp, scenario.tasks[0].thp) == (thp, "madvise")
    assert scenario_from(tomllib.loads(scenario_text(scenario))) == scenario
    (line,) = faults_of(text.replace(value, "1"))
    assert line.startswith(
        'f.toml: machine.thp: expected true, false, "always", "madvise", "never"'
    )


def test_a_memory_cgroup_of_v1_limits_no_disk() -> None:
    text = (
        LIMITED.format(io_max='{ rbps = "4M/s" }') + '[[at]]\nt = 1\ncgroup.b.io_max.rbps = "9M/s"'
    )
    text = text.replace("[[task]]", '[[cgroup]]\nname = "b"\nversion = 1\n[[task]]')
    assert len(faults_of(text)) == 1
    assert len(faults_of(text.replace('name = "a"', 'name = "a"\nversion = 1'))) == 2
