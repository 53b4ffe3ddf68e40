"""The parts of real worlds that need no kernel to be tried."""

import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.model import play
from oomkit.real import kernels, kvm
from oomkit.real.cgroup_limits import (
    OUTER,
    GroupTree,
    Host,
    confine,
    for_cgroup,
    for_guest,
    missing_knobs,
)
from oomkit.real.disks import Disks
from oomkit.real.initramfs import Archive
from oomkit.real.kernels import Bootable
from oomkit.real.kills import LogLine, kills_of, stamped
from oomkit.real.kvm import khz
from oomkit.real.observe import Observation
from oomkit.real.plan import Places, Planner, effective_adj, files_of
from oomkit.real.run_record import as_found, assemble
from oomkit.scenario import Scenario, Task, scenario_from
from oomkit.scenario.record import Found

pytestmark = pytest.mark.hermetic

BASE = {
    "name": "x",
    "machine": {"ram": "256M"},
    "task": [{"name": "t", "steps": [{"touch": "1M"}]}],
}


def made(**more: object) -> Scenario:
    return scenario_from({**BASE, **more})


def image(release: str) -> bytes:
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x300:] = f"{release} (builder) #1 SMP".encode() + b"\0"
    return bytes(head)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for release in ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.117+deb12-cloud-amd64"):
        boot = tmp_path / "shelf" / release / "boot"
        boot.mkdir(parents=True)
        (boot / f"vmlinuz-{release}").write_bytes(image(release))
        (boot.parent / "lib/modules" / release / "kernel").mkdir(parents=True)
    (boot / "vmlinuz-broken").write_bytes(b"no kernel")
    monkeypatch.setenv(kernels.PATH_VARIABLE, str(tmp_path / "shelf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "shelf"


def test_bootable_kernels_newest_first(shelf: Path) -> None:
    found = [k for k in kernels.bootable() if str(shelf) in k.image]
    assert [k.release for k in found] == [
        "6.12.117+deb12-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64",
    ]  # fmt: skip
    assert all(k.modules is not None and k.release in k.modules for k in found)


def test_v1_memory_cgroups_are_looked_up_in_the_configuration(shelf: Path) -> None:
    kernel = kernels.find("6.12", "6.12")
    config = Path(kernel.image).parent / f"config-{kernel.release}"
    assert kernels.has_memcg_v1(kernel)
    for text, has in (("# CONFIG_MEMCG_V1 is not set\n", False), ("CONFIG_MEMCG_V1=y\n", True),
                      ("CONFIG_MEMCG=y\n", True)):  # fmt: skip
        config.write_text(text)
        assert kernels.has_memcg_v1(kernel) is has


@pytest.mark.parametrize(
    ("wanted", "scenario", "release"),
    [
        ("6.1", "5.10", "6.1.0-56-cloud-amd64"),
        ("6.1.0-9", "5.10", "6.1.0-9-cloud-amd64"),
        ("6.12", "5.10", "6.12.117+deb12-cloud-amd64"),
        (None, "6.1.20", "6.1.0-56-cloud-amd64"),
    ],
)
def test_a_beginning_of_numbers_finds_a_kernel(
    shelf: Path, wanted: str | None, scenario: str, release: str
) -> None:
    assert kernels.find(wanted, scenario).release == release


def test_paths_find_a_kernel_and_trouble_names_them(shelf: Path) -> None:
    release = "6.1.0-9-cloud-amd64"
    path = shelf / release / "boot" / f"vmlinuz-{release}"
    assert kernels.find(str(path), "6.12").release == release
    assert kernels.find(str(shelf / release), "6.12").image == str(path)
    for wrong in (str(shelf / "none"), str(shelf.parent / "cache"), __file__):
        with pytest.raises(kernels.NoKernelError) as error:
            kernels.find(wrong, "6.12")
        assert wrong in str(error.value)
    with pytest.raises(kernels.NoKernelError, match=r"no kernel 6\.11 .*here is 6\.12\.117"):
        kernels.find("6.11", "6.11")


def test_the_counters_rate_is_measured_alike_each_time() -> None:
    first = khz()
    if first is None:
        pytest.skip("needs an x86-64 CPU and memory that may be executed")
    khz.cache_clear()
    again = khz()
    assert again is not None
    assert abs(again - first) < first * 0.001
    assert first > 100_000


def test_the_console_is_put_on_the_runs_clock() -> None:
    console = (
        "SeaBIOS\n[    1.000000] booting\n[    2.500000] oomkit: start 3.1\n"
        "[    3.750000] Killed process 7 (hog)\nno stamp\n"
    )
    assert stamped(console, "oomkit: start ") == [
        LogLine(1.25, "Killed process 7 (hog)"),
        LogLine(1.25, "no stamp"),
    ]


@given(st.binary(max_size=300))
def test_reports_may_be_cut_and_garbled_anywhere(data: bytes) -> None:
    seen = Observation()
    seen.push(b"begin 10.0\nstart 11.0 5 hog 0 0\n")
    seen.push(data)
    seen.push(b"\ndone 12.5 ended\n")
    assert seen.procs[5].start_s == 1.0
    assert seen.done == "ended"
    assert seen.last_s >= 2.5


@given(st.lists(st.integers(1, 40)))
def test_reports_come_in_pieces_of_any_length(cuts: list[int]) -> None:
    text = b"begin 1.0\nstart 1.5 9 a 0 0\nsample 2.0 1 2 3 4 5 6 7 0.5\ntask 2.0 9 3 1 .2 0 .5\n"
    whole, cut = Observation(), Observation()
    whole.push(text)
    rest = text
    for length in cuts:
        cut.push(rest[:length])
        rest = rest[length:]
    cut.push(rest)
    assert cut.samples == whole.samples == [(1.0, 1, 2, 3, 4, 5, 6, 7, 0.5)]
    assert cut.procs[9].curve == whole.procs[9].curve == {0: (3, 1, 0, 0.5)}


def seen_hog(*more: str) -> Observation:
    seen = Observation()
    lines = ["machine 0.5 262144 200000 9000 1000000000", "begin 1", "start 1 9 hog 0 0",
             "sample 1.1 90 95 5 0 256 0 0 0.5", "task 1.1 9 60 0 .2 0 .5", *more]  # fmt: skip
    seen.push(("\n".join(lines) + "\n").encode())
    assert seen.faults == []
    return seen


def test_outcomes_from_what_was_seen() -> None:
    scenario = made(task=[{"name": "hog", "steps": [{"touch": "1M"}]}])

    def outcome(*more: str, log: str = "", silent_s: float | None = None) -> str:
        seen = seen_hog(*more)
        lines = [LogLine(2.0, log)] if log else []
        return assemble(scenario, seen, lines, on="qemu", release="6.12", silent_s=silent_s).outcome

    assert outcome("done 4 ended") == "completed"
    assert outcome("done 4 duration") == "timed_out"
    assert outcome(log="Kernel panic - not syncing: Out of memory: x") == "panicked"
    assert outcome(silent_s=30.0) == "frozen"
    assert outcome("probe 3 2.0 3.0", "probing 8 7", "done 9 duration") == "frozen"
    assert outcome("probing 8 7", "probe 8.9 7 8.8", "done 9 duration") == "timed_out"


def test_who_killed_is_reported_by_the_log() -> None:
    seen = seen_hog("exit 3 9 -9", "gone 3 9", "done 4 ended")
    lines = [LogLine(2.0, "Out of memory: Killed process 9 (hog) total-vm:9kB, anon-rss:2048kB")]

    def killers(log: list[LogLine], killer: str | None) -> list[tuple[str, float]]:
        kills = kills_of(log, seen, "6.12", killer=killer, adjs={"hog": 3})
        return [(kill.by, kill.t_s) for kill in kills]

    assert killers(lines, None) == killers(lines, "guard") == [("kernel", 2.0)]
    assert killers([], "guard") == [("guard", 2.0)]
    assert killers([], None) == []
    # Chosen, and named again with the group it dies with: one death.
    assert killers([*lines, LogLine(2.1, lines[0].text)], None) == [("kernel", 2.0)]


def test_a_cgroup_takes_the_machines_place() -> None:
    host = Host(release="6.18", version=1, ram_bytes=1 << 40, swap_bytes=0, cpus=1)
    scenario = made(
        cgroup=[{"name": "box", "max": "64M"}],
        vm={"swappiness": 10},
        task=[{"name": "a"}, {"name": "b", "cgroup": "box", "children": [{"name": "c"}]}],
    )
    confined = confine(scenario, host)
    assert confined.machine.ram_bytes == 1 << 40
    assert [g.name for g in confined.cgroups] == [OUTER, f"{OUTER}/box"]
    assert confined.cgroups[0].max_bytes == 256 << 20
    assert confined.cgroups[0].swappiness == 10
    assert [t.cgroup for t in confined.tasks] == [OUTER, f"{OUTER}/box"]


def test_what_no_world_can_show_is_named() -> None:
    scenario = made(
        vm={"would_have_oomkilled": 1, "panic_on_oom": 1},
        task=[{"name": "a", "oom_score_adj": -500}, {"name": "b", "shares_mm_with": "a"}],
    )
    in_guest = for_guest(scenario)
    assert any("shares_mm_with" in reason for reason in in_guest)
    assert any("would_have_oomkilled" in reason for reason in in_guest)
    assert not any("panic_on_oom" in reason for reason in in_guest)
    in_cgroup = for_cgroup(scenario, lowest_adj=0, host_swap_bytes=0)
    assert any("panic_on_oom" in reason for reason in in_cgroup)
    assert any("CAP_SYS_RESOURCE" in reason for reason in in_cgroup)


def test_a_cgroup_has_neither_zram_nor_huge_pages_of_its_own() -> None:
    scenario = made(machine={"ram": "256M", "zram": "64M"}, vm={"nr_hugepages": 3})
    assert for_cgroup(scenario, lowest_adj=0, host_swap_bytes=0) == [
        "vm.nr_hugepages: it is set for the whole host",
        "it has swap in compressed memory, which a cgroup has not of its own",
    ]
    assert for_guest(scenario) == []


def test_knobs_of_both_interfaces() -> None:
    scenario = made(cgroup=[{"name": "a/b", "max": "64M", "oom_group": True}])
    plans = GroupTree("/r", 2, scenario.cgroups).plan()
    assert [plan["path"] for plan in plans] == ["/r/a", "/r/a/tasks", "/r/a/b"]
    assert plans[0]["files"] == [("cgroup.subtree_control", "+memory")]
    assert plans[2]["files"] == [("memory.max", str(64 << 20)), ("memory.oom.group", "1")]
    with pytest.raises(ValueError, match="cgroup v1 has no oom_group"):
        GroupTree("/r", 1, scenario.cgroups).plan()
    assert missing_knobs(scenario.cgroups, (), 1) == ["cgroup v1 has no oom_group"]
    assert missing_knobs(scenario.cgroups, (), 2) == []


@pytest.mark.parametrize(
    ("machine", "task", "says"),
    [("always", {}, 1), ("always", {"thp": "never"}, 0), ("madvise", {"thp": "madvise"}, 2),
     ("never", {"thp": "madvise"}, 0)],
)  # fmt: skip
def test_a_task_says_of_its_mappings_what_it_wants(
    machine: str, task: dict[str, str], says: int
) -> None:
    scenario = made(task=[{"name": "a", **task}], machine={"ram": "1G", "thp": machine})
    places = Places(files="/f", tmpfs="/t", cgroup_procs={"": ()})
    assert [plan["thp"] for plan in Planner(scenario, places, 0).tasks()] == [says]
    refused = for_cgroup(scenario, lowest_adj=-1000, host_swap_bytes=0, thp="always")
    assert refused == (["thp is madvise for the whole machine, and always here"]
                       if machine == "madvise" else [])  # fmt: skip


def test_io_max_is_written_for_each_disk_of_the_guest() -> None:
    scenario = made(cgroup=[{"name": "a/b", "io_max": {"rbps": "4M/s", "wbps": "8M/s"}}])
    tree = GroupTree("/r", 2, scenario.cgroups, "+memory +io")
    tree.disks = ("/dev/vda", "/dev/vdb")
    above, leaf, limited = tree.plan()
    assert above["files"] == [("cgroup.subtree_control", "+memory +io")]
    assert (leaf["files"], limited["path"]) == ([], "/r/a/b")
    assert limited["files"] == [
        ("io.max", "/dev/vda rbps=4194304"),
        ("io.max", "/dev/vdb rbps=4194304"),
        ("io.max", "/dev/vda wbps=8388608"),
        ("io.max", "/dev/vdb wbps=8388608"),
    ]
    refused = for_cgroup(scenario, lowest_adj=-1000, host_swap_bytes=0)
    assert refused == ["cgroup a/b: io_max limits a disk, and this host's is not the scenario's"]


def test_tasks_of_an_inner_group_live_in_a_leaf_under_v2() -> None:
    groups = made(cgroup=[{"name": "a"}, {"name": "a/b"}]).cgroups
    v2, v1 = GroupTree("/r", 2, groups), GroupTree("/r", 1, groups)
    assert v2.procs("a") == ("/r/a/tasks/cgroup.procs",)
    assert v2.procs("a/b") == ("/r/a/b/cgroup.procs",)
    assert v1.procs("a") == ("/r/a/cgroup.procs",)
    made_paths = [plan["path"] for plan in v2.plan()]
    assert made_paths == ["/r/a", "/r/a/tasks", "/r/a/b"]


def test_changes_are_looked_through_for_knobs_as_well() -> None:
    scenario = made(
        cgroup=[{"name": "a", "version": 1, "max": "64M"}],
        at=[{"t": 1, "cgroup": {"a": {"max": "32M"}}}],
    )
    assert missing_knobs(scenario.cgroups, scenario.at, 1) == []
    later = made(cgroup=[{"name": "a"}], at=[{"t": 1, "cgroup": {"a": {"high": "32M"}}}])
    assert missing_knobs(later.cgroups, later.at, 1) == ["cgroup v1 has no high"]


def test_locking_beyond_what_a_user_may_is_refused() -> None:
    task = {"name": "a", "uid": 1000, "steps": [{"lock": "10M"}]}
    allowed: dict[str, Any] = {
        "lowest_adj": 0,
        "host_swap_bytes": 0,
        "lockable_bytes": 8 << 20,
    }
    (reason,) = for_cgroup(made(task=[task]), **allowed)
    assert "task a: locking 10 MB as uid 1000 needs CAP_SYS_RESOURCE" in reason
    assert not for_cgroup(made(task=[{**task, "uid": 0}]), **allowed)


def test_the_plan_draws_alike_for_a_seed_and_lists_files() -> None:
    scenario = made(
        task=[
            {
                "name": "t", "count": 3, "every": "1s", "jitter": "1s", "program": "2M",
                "steps": [{"read": "5M"}, {"read": "7M", "file": "shared"}],
            }
        ]
    )  # fmt: skip
    places = Places(files="/f", tmpfs="/t", cgroup_procs={"": ()})
    one, two, other = (Planner(scenario, places, seed).tasks() for seed in (1, 1, 2))
    assert one == two != other
    assert [int(entry["start"]) for entry in one] == [0, 1, 2]
    sizes = files_of(one)
    assert sizes["shared-shared"] == 7 << 20
    assert sizes["program-t"] == 2 << 20
    assert len(sizes) == 5


@given(st.integers(-17, 15))
def test_oom_adj_is_translated_as_the_kernel_does(adj: int) -> None:
    value = effective_adj(Task(name="t", oom_adj=adj))
    assert value == (1000 if adj == 15 else int(adj * 1000 / 17))
    assert -1000 <= value <= 1000


def test_a_swap_area_has_the_size_it_says(tmp_path: Path) -> None:
    scenario = made(machine={"ram": "256M", "swap": "8M"})
    disks = Disks(str(tmp_path), scenario)
    disks.plan({}, needed=False)
    data = (tmp_path / "swap").read_bytes()
    assert data[4086:4096] == b"SWAPSPACE2"
    assert struct.unpack_from("<II", data, 1024) == (1, 2048)
    assert len(data) == (8 << 20) + 4096
    assert (disks.device("swap"), disks.device("disk")) == ("/dev/vda", None)


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True),
                          st.binary(max_size=20)), max_size=5))  # fmt: skip
def test_archives_are_aligned_and_closed(entries: list[tuple[str, bytes]]) -> None:
    archive = Archive()
    for name, data in entries:
        archive.add(name, 0o100644, data)
    data = archive.close()
    assert len(data) % 4 == 0
    assert data.startswith(b"070701")
    assert data.count(b"TRAILER!!!\0") == 1


def test_the_guests_clock_counts_instructions_where_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kernel(release: str) -> Bootable:
        return Bootable(release=release, image=f"/boot/vmlinuz-{release}", modules=None)

    def counts(release: str, cpus: int) -> bool:
        return "-icount" in kvm.arguments(kernel(release), cpus)

    monkeypatch.setattr(kvm, "kvm_works", lambda _image: False)
    assert counts("6.12.117+deb12-cloud-amd64", 2)
    assert counts("6.1.0-56-cloud-amd64", 1)
    assert not counts("6.1.0-56-cloud-amd64", 2)
    monkeypatch.setattr(kvm, "kvm_works", lambda _image: True)
    assert kvm.arguments(kernel("6.12"), 1)[:2] == ("-accel", "kvm")


def hypervisor(path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program in QEMU's place; returns an image for it that was not asked about before."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or not shutil.which("setpriv"):
        pytest.skip("needs /dev/kvm and setpriv")
    program = path / "qemu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(kvm, "QEMU", str(program))
    return str(path)


def test_kvm_is_used_where_the_kernel_gets_to_its_first_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kvm.kvm_works(hypervisor(tmp_path, "echo Linux version 6.12", monkeypatch))


@pytest.mark.parametrize("script", ["while :; do :; done", "echo Probing EDD", "exit 1"])
def test_a_kvm_that_never_gets_to_the_kernel_is_not_used(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is the CPU time that the guest got: a busy host makes it wait."""
    monkeypatch.setattr(kvm, "CPU_S", 0.2)
    assert not kvm.kvm_works(hypervisor(tmp_path, script, monkeypatch))


def test_the_model_is_given_the_machine_as_it_was_measured() -> None:
    costs = {"shared_fault_s": 25e-6, "swap_out_s": 20e-6, "read_s": 5e-6}
    found = Found(
        total_mb=230, free_mb=200, cached_mb=10, fault_mb_s=250, cpus_worth=1.002, costs=costs
    )
    asked = made(machine={"ram": "256M", "cpus": 2, "swap_in_rate": "90M/s"}, duration="1s")
    told = play(as_found(asked, found, whole=True))
    assert told.samples.free_mb[0] == pytest.approx(200, abs=0.5)
    machine = as_found(asked, found, whole=True).machine
    assert machine.cpus == 2
    assert machine.cpus_worth == 1.002
    assert machine.fault_bytes_s == 250 * 2**20
    assert machine.share_bytes_s == pytest.approx(4096 / 25e-6)
    assert machine.swap_out_bytes_s == pytest.approx(4096 / 20e-6)
    assert machine.swap_in_bytes_s == 90 * 2**20  # was not measured
    assert machine.read_bytes_s == pytest.approx(4096 / 5e-6)
    assert machine.map_bytes_s is None
    assert machine.reserved_bytes == 26 * 2**20
    # The model has the pages of an initramfs besides: as much is free as was found.
    assert machine.kernel_bytes == 30 * 2**20 - 749 * 4096
    # A little more than there are is rounding of the measurement.
    more = as_found(made(machine={"ram": "256M", "cpus": 1}), found, whole=True).machine
    assert more.cpus_worth == 1.0
