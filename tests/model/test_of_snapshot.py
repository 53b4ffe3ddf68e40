"""``oomkit new --from``: the scenario of a machine, played, is that machine."""

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.snapshot_json import decode_snapshot, encode_snapshot
from oomkit.kernel.state import Allocation, Memcg, Memory, Snapshot, Sysctl, Task
from oomkit.kernel.versions import rules_for
from oomkit.model.of_snapshot import scenario_of
from oomkit.model.play import play
from oomkit.model.snapshot_tasks import Entry, task_of
from oomkit.records import replace
from oomkit.scenario.format import Scenario, Step
from oomkit.scenario.format import Task as ScenarioTask
from oomkit.scenario.read import read_scenario, scenario_from
from oomkit.scenario.record import Run
from oomkit.scenario.write import scenario_text
from tests.forked import command

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "docs/examples/shop.json"
NODE = ROOT / "tests/data/machines/node.json"
MIB = 256
_LONGEST_S = 60.0
"""By then swap is full and the first task killed; what comes then is not looked at."""


def snapshot_of(path: Path) -> Snapshot:
    return decode_snapshot(path.read_bytes(), path.name)


def with_leak(scenario: Scenario, ready_s: int) -> Scenario:
    """The machine, and one that takes all memory and can't be killed."""
    leak = ScenarioTask(
        name="leak",
        start_s=ready_s,
        oom_score_adj=-1000,
        loops=None,
        steps=(Step(verb="touch", size_bytes=64 << 20, rate_bytes_s=400 * 2**20),),
    )
    # Old kernels' heuristic would refuse it the last of the memory.
    vm = {**scenario.vm, "overcommit_memory": 1}
    return replace(scenario, tasks=(*scenario.tasks, leak), vm=vm, duration_s=ready_s + _LONGEST_S)


def at(run: Run, t_s: float) -> int:
    return max(i for i, t in enumerate(run.samples.t_s) if t <= t_s)


def check(machine: Snapshot) -> None:
    """Play it: memory as in the snapshot once it is ready, and the first victim rank names."""
    rules = rules_for(machine.kernel)
    made = scenario_of(machine, rules, name="machine")
    run = play(with_leak(made.scenario, made.ready_s))
    assert not [kill for kill in run.kills if kill.t_s < made.ready_s]
    assert not run.denied
    ready = at(run, made.ready_s)
    memory, scale = machine.memory, machine.page_size / 4096
    ram = memory.total_ram_pages * scale / MIB
    available = run.samples.available_mb[ready]
    assert abs(available - (memory.available_pages or 0) * scale / MIB) < 0.02 * ram
    swap = run.samples.swap_free_mb[ready]
    assert abs(swap - memory.free_swap_pages * scale / MIB) < 0.02 * ram
    decision = decide(machine, Allocation(), rules)
    names = {victim.comm for victim in decision.victims}
    first = next(kill for kill in run.kills if not kill.would_have)
    spec = next(task for task in made.scenario.tasks if task.name == first.task)
    assert first.task.replace("_", ".").startswith(decision.victims[0].comm), (first, names)
    assert first.oom_score_adj == spec.oom_score_adj


@pytest.mark.parametrize("path", [SHOP, NODE])
def test_the_machine_of_a_snapshot_plays_as_it_was(path: Path) -> None:
    check(snapshot_of(path))


@pytest.mark.parametrize("kernel", ["3.10.0-1160.el7.x86_64", "4.18", "5.15", "6.12"])
def test_under_other_kernels_too(kernel: str) -> None:
    check(replace(snapshot_of(SHOP), kernel=kernel))


def test_large_pages_and_version_1() -> None:
    shop = snapshot_of(SHOP)
    memcgs = tuple(replace(m, version=1, oom_group=False) for m in shop.memcgs)
    check(replace(shop, memcgs=memcgs))
    node = snapshot_of(NODE)
    check(replace(node, page_size=16384))


def test_without_swappiness_nothing_is_sent_to_swap() -> None:
    shop = snapshot_of(SHOP)
    cautious = replace(shop, sysctl=Sysctl(swappiness=0, min_free_kbytes=67584))
    made = scenario_of(cautious, rules_for(shop.kernel), name="x")
    assert any("swappiness 0" in note for note in made.notes)
    assert not made.scenario.at
    run = play(made.scenario)
    assert not run.kills


def test_thousands_of_processes_become_a_few_tasks() -> None:
    shop = snapshot_of(SHOP)
    many = tuple(
        Task(pid=10_000 + i, comm="worker", ppid=1, uid=33, rss_pages=400 + i % 7,
             anon_rss_pages=200 + i % 7, file_rss_pages=200, pgtable_pages=11,
             cgroup="/system.slice/nginx.service")
        for i in range(600)
    )  # fmt: skip
    crowd = replace(
        shop,
        tasks=(*shop.tasks, *many),
        memory=replace(shop.memory, total_ram_pages=3_000_000),
    )
    made = scenario_of(crowd, rules_for(shop.kernel), name="crowd")
    assert len(made.scenario.tasks) < 30
    assert sum(task.count for task in made.scenario.tasks) == len(shop.tasks) - 2 + 600
    assert any("616 processes stand as" in note for note in made.notes)
    check(crowd)


def test_children_stay_where_the_kernel_sacrifices_them() -> None:
    old = replace(snapshot_of(SHOP), kernel="4.18")
    tasks = tuple(replace(t, ppid=950) if t.pid in range(2100, 2106) else t for t in old.tasks)
    old = replace(old, tasks=tasks)
    made = scenario_of(old, rules_for("4.18"), name="x")
    master = next(task for task in made.scenario.tasks if task.name == "php-fpm8_2")
    assert len(master.children) == 6
    check(old)


def test_shared_memory_is_there_once(machine: Snapshot) -> None:
    """Ten processes map the same 500 MiB; the machine has 600 MiB of it."""
    shared = tuple(
        Task(pid=3000 + i, comm="postgres", ppid=1, uid=26, rss_pages=520 * MIB,
             anon_rss_pages=10 * MIB, file_rss_pages=10 * MIB, shmem_rss_pages=500 * MIB,
             pgtable_pages=1100)
        for i in range(10)
    )  # fmt: skip
    memory = replace(
        machine.memory, shmem_pages=600 * MIB, file_pages=900 * MIB, total_ram_pages=8 << 18,
        available_pages=1 << 18,
    )  # fmt: skip
    server = replace(machine, tasks=shared, memory=memory)
    made = scenario_of(server, rules_for("6.12"), name="x")
    shares = [s.size_bytes or 0 for t in made.scenario.tasks for s in t.steps if s.verb == "share"]
    assert sum(shares) <= 600 * 2**20
    assert any("share memory is not known" in note for note in made.notes)


@pytest.mark.parametrize(("nice", "kept"), [(-21, -20), (-20, -20), (0, 0), (19, 19), (20, 19)])
def test_no_task_is_nicer_than_the_kernel_knows(nice: int, kept: int) -> None:
    entry = Entry(
        name="x", like=Task(pid=10, comm="x", nice=nice), count=1, anon=10, share=0, program=0,
        swap=0, cgroup=None,
    )  # fmt: skip
    assert task_of(entry).nice == kept


def test_hostile_names_stand_in_a_file_that_can_be_read() -> None:
    nasty = '"\\ \x1b]\u202e=\x7f\n.'
    shop = snapshot_of(SHOP)
    tasks = tuple(
        replace(task, comm=nasty[:15], cgroup=f"/{nasty}/{nasty}/..") for task in shop.tasks
    )
    memcgs = (*shop.memcgs, Memcg(path=f"/{nasty}"))
    hostile = replace(shop, tasks=tasks, memcgs=memcgs)
    made = scenario_of(hostile, rules_for(shop.kernel), name="x")
    text = scenario_text(made.scenario)
    assert "\x1b" not in text
    assert scenario_from(tomllib.loads(text)) == made.scenario


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("scenarios/**/*.toml")), ids=lambda path: path.stem
)
def test_a_written_scenario_reads_back_the_same(path: Path) -> None:
    scenario = read_scenario(str(path))
    assert scenario_from(tomllib.loads(scenario_text(scenario, ["a comment"]))) == scenario


def oomkit(where: Path, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return command(*args, stdin=stdin, cwd=where, timeout_s=120)


def test_the_command_makes_a_scenario_of_a_snapshot(tmp_path: Path) -> None:
    done = oomkit(tmp_path, "new", "--from", str(SHOP))
    assert (done.returncode, done.stdout) == (0, "shop.toml\n")
    assert "the disk's speed" in done.stderr
    text = (tmp_path / "shop.toml").read_text()
    for note in done.stderr.splitlines():
        assert note.removeprefix("oomkit: ") in text
    assert oomkit(tmp_path, "run", "--check", "shop.toml").returncode == 0
    # The leak at its end can be tried as it stands, and cgroups be set by their names.
    leak = text.split("# What if something leaked?\n#\n")[1].replace("# ", "")
    (tmp_path / "shop.toml").write_text(text + leak)
    args = ("--set", "cgroup.system.slice/backup.service.max=3G", "--set", "task.leak.uid=0")
    run = oomkit(tmp_path, "run", "shop.toml", "--json", *args)
    assert run.returncode in (0, 1), run.stderr
    rank = json.loads(oomkit(tmp_path, "rank", "--from", str(SHOP), "--json").stdout)
    assert json.loads(run.stdout)["kills"][0]["task"] == rank["decision"]["victims"][0]["comm"]
    again = oomkit(tmp_path, "new", "--from", str(SHOP))
    assert again.returncode == 2
    assert "File exists" in again.stderr


def test_the_command_makes_a_scenario_of_this_machine(tmp_path: Path) -> None:
    done = oomkit(tmp_path, "new", "--from", "here")
    assert (done.returncode, done.stdout) == (0, "here.toml\n"), done.stderr
    assert "CPUs" not in done.stderr
    run = oomkit(tmp_path, "run", "here.toml", "--json")
    assert run.returncode in (0, 1), run.stderr
    assert oomkit(tmp_path, "run", "--check", "here.toml").returncode == 0


@pytest.mark.parametrize(
    ("args", "stdin", "expected"),
    [
        (("--from", "-"), b"", "Missing argument 'NAME'"),
        ((), b"", "Missing argument 'NAME'"),
        (("x", "--from", "nope.json"), b"", "nope.json: No such file"),
        (("x", "--from", "-"), b"{", "standard input: "),
        (("x\n", "--from", "-"), encode_snapshot(snapshot_of(SHOP)), "NAME: expected a name"),
        (
            ("x", "--from", "-"),
            encode_snapshot(replace(snapshot_of(SHOP), tasks=())),
            "shows no process",
        ),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, args: tuple[str, ...], stdin: bytes, expected: str
) -> None:
    done = oomkit(tmp_path, "new", *args, stdin=stdin)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def found(*tasks: Task, kernel: str = "6.12", **fields: Any) -> Snapshot:
    """A machine of 4 GiB and 1 GiB of swap of which half is available."""
    memory = Memory(**{
        "total_ram_pages": 2**20, "total_swap_pages": 2**18, "free_swap_pages": 2**18,
        "available_pages": 2**19, "free_pages": 2**19, "file_pages": 20_000, "shmem_pages": 1000,
        **fields.pop("memory", {}),
    })  # fmt: skip
    shell = Task(pid=50, comm="sh", ppid=1, uid=1000, rss_pages=500, anon_rss_pages=300,
                 file_rss_pages=200)  # fmt: skip
    return Snapshot(kernel=kernel, memory=memory, tasks=tasks or (shell,), **fields)


def notes(snapshot: Snapshot, cpus: int | None = 4) -> list[str]:
    made = scenario_of(snapshot, rules_for(snapshot.kernel), name="x", cpus=cpus)
    return list(made.notes)


ALWAYS = "not in a snapshot: the disk's speed, growth, what is in constant use, CPU load"
FORKED = Task(pid=60, comm="child", ppid=50, uid=1000, rss_pages=500, anon_rss_pages=500)
SWAPPED = Task(pid=60, comm="db", uid=1000, rss_pages=5000, anon_rss_pages=5000, swap_pages=9000)


@pytest.mark.parametrize(("snapshot", "cpus", "said"), [
    (found(), 4, []),
    (found(), None, ["a snapshot does not say how many CPUs there are; 2 are taken"]),
    (found(kernel="2.6.32"), 4, [
        ("CPU times, ages and address spaces, which this kernel's badness counts, start again: its "
         "choice may differ"),
    ]),
    (found(sysctl=Sysctl(overcommit_memory=2)), 4, [
        "memory that is promised and not used is not in it (Committed_AS)",
    ]),
    (found(sysctl=Sysctl(overcommit_memory=1)), 4, []),
    (found(FORKED), 4, [
        "which process forked which is left out: this kernel does not ask",
    ]),
    (found(FORKED, kernel="4.19"), 4, []),
    (found(replace(FORKED, ppid=1)), 4, []),
    # A hundredth of swap, 2621 pages, that no process holds is said from the next page on.
    (found(memory={"free_swap_pages": 2**18 - 2621}), 4, []),
    (found(memory={"free_swap_pages": 2**18 - 2622}), 4, [
        ("10.2 MiB in swap belong to no process (tmpfs, or what was read back): that much more "
         "swap is free"),
    ]),
    (found(SWAPPED, memory={"free_swap_pages": 2**18 - 9000}), 4, [
        ("cgroups that end in -swapped are not the machine's: their limits send to swap what was "
         "there, and are lifted then"),
    ]),
    (found(replace(SWAPPED, swap_pages=255), memory={"free_swap_pages": 2**18 - 255}), 4, []),
    (found(SWAPPED, memory={"free_swap_pages": 2**18 - 9000}, sysctl=Sysctl(swappiness=0)), 4, [
        "with swappiness 0 nothing goes to swap by itself: it starts empty",
    ]),
])  # fmt: skip
def test_what_a_snapshot_does_not_hold_is_said(
    snapshot: Snapshot, cpus: int | None, said: list[str]
) -> None:
    """Each note where it holds, and to both sides of each edge."""
    assert [note for note in notes(snapshot, cpus) if note != ALWAYS] == said
    assert ALWAYS in notes(snapshot, cpus)


def test_processes_that_hold_more_than_there_is_leave_less_available() -> None:
    large = Task(pid=60, comm="db", uid=1000, rss_pages=700_000, anon_rss_pages=700_000)
    (note, *_) = notes(found(large))
    assert note.startswith("its processes hold more than its memory counters say, so ")
    assert note.endswith(" less are available than on the machine")


def test_without_a_process_there_is_nothing_to_play() -> None:
    kthread = Task(pid=2, comm="kthreadd", kthread=True, has_mm=False)
    init = Task(pid=1, comm="init", global_init=True, rss_pages=900)
    gone = Task(pid=9, comm="gone", has_mm=False)
    with pytest.raises(ValueError, match=r"^it shows no process besides init, so there is nothing"):
        notes(found(kthread, init, gone))


@pytest.mark.parametrize(("sysctl", "vm"), [
    ({}, {}), ({"overcommit_memory": 1, "swappiness": 10}, {"overcommit_memory": 1,
                                                          "swappiness": 10}),
    ({"overcommit_ratio": 80}, {"overcommit_ratio": 80}),
    ({"overcommit_kbytes": 4096, "overcommit_ratio": 0}, {"overcommit_kbytes": 4096}),
])  # fmt: skip
def test_knobs_that_are_not_the_usual_ones_are_set(
    sysctl: dict[str, int], vm: dict[str, int]
) -> None:
    """Of two ways to set the commit limit the one that holds."""
    snapshot = found(sysctl=Sysctl(**sysctl))
    assert scenario_of(snapshot, rules_for("6.12"), name="x").scenario.vm == vm


@pytest.mark.parametrize(("hz", "taken"), [(100, 100), (50, 100), (1000, 1000), (1024, 1000)])
def test_the_clock_is_one_that_a_scenario_may_have(hz: int, taken: int) -> None:
    made = scenario_of(found(hz=hz), rules_for("6.12"), name="x", cpus=None)
    assert (made.scenario.machine.hz, made.scenario.machine.cpus) == (taken, 2)
    assert scenario_of(found(), rules_for("6.12"), name="x", cpus=7).scenario.machine.cpus == 7


def test_what_was_in_swap_goes_there_before_the_run_is_ready() -> None:
    """By a limit of what was in memory, which is lifted when it is."""
    snapshot = found(SWAPPED, memory={"free_swap_pages": 2**18 - 9000})
    made = scenario_of(snapshot, rules_for("6.12"), name="x")
    (group,) = made.scenario.cgroups
    assert (group.name, group.version) == ("db-swapped", 2)
    (task,) = made.scenario.tasks
    touch = task.steps[0]
    assert touch.size_bytes is not None
    assert group.max_bytes == touch.size_bytes - 9000 * 4096
    (lifted,) = made.scenario.at
    assert (lifted.t_s, lifted.cgroups) == (made.ready_s, {"db-swapped": {"max_bytes": 2**50}})
