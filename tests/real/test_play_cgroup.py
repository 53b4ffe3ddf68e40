"""``oomkit run --on cgroup``: real processes, real kills, nothing left behind."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oomkit.real import Place, play
from oomkit.scenario import Run, read_scenario
from oomkit.scenario.record import from_json
from tests.real.played import (
    HEEDING_INTERRUPTS,
    HOG_AND_BIG,
    OOMKIT,
    command,
    left_in_cgroups,
    needs_cgroup,
)

pytestmark = pytest.mark.cgroup


@pytest.fixture(autouse=True)
def _clean() -> None:
    needs_cgroup()


@pytest.fixture
def hog_and_big(tmp_path: Path) -> str:
    path = tmp_path / "hog.toml"
    path.write_text(HOG_AND_BIG)
    return str(path)


def record(text: str, tmp_path: Path) -> Run:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return play(read_scenario(str(path)), Place(world="cgroup")).run


def test_the_record_is_the_models(hog_and_big: str) -> None:
    """R1 on a running kernel."""
    done = command("run", hog_and_big, "--on", "cgroup", "--json")
    assert done.returncode == 1, done.stderr
    run = from_json(done.stdout.encode())
    assert run.on == "cgroup"
    assert run.kernel == os.uname().release
    assert run.outcome == "completed"
    assert run.kills[0].by == "kernel"
    assert run.kills[0].badness is not None
    assert run.kills[0].freed_mb > 60
    assert run.objectives.kills == len(run.kills) >= 1
    assert any("Memory cgroup out of memory: Killed process" in line for line in run.log)
    assert len(run.samples.t_s) == len(run.samples.free_mb) == len(run.samples.psi_some_avg10) > 5
    assert max(run.samples.tasks["big/0"].rss_mb) > 85
    assert set(run.samples.tasks) == {"big/0", "hog/0"}


def test_every_view_works_on_it(hog_and_big: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = command("run", hog_and_big, "--on", "cgroup", "--html", str(page))
    assert done.returncode == 1, done.stderr
    assert "cgroup, kernel" in done.stdout
    assert "the kernel kills" in done.stdout
    assert "Traceback" not in done.stderr
    assert page.read_text().startswith("<!")
    table = command("run", hog_and_big, "--on", "cgroup", "--free", "500ms").stdout
    assert [line.split()[1] for line in table.splitlines()[2:4]] == ["192", "192"]
    assert "Killed process" in command("run", hog_and_big, "--on", "cgroup", "--log").stdout


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("vm.panic_on_oom=1", "a panic would take this host down"),
        ("vm.overcommit_memory=2", "overcommit is decided for the whole host"),
        ("vm.min_free_kbytes=9000", "a cgroup has no watermarks"),
        ("vm.oom_kill_allocating_task=1", "does not look at it"),
        ("machine.ram=90T", "would leave this host too little"),
    ],
)
def test_what_a_cgroup_cannot_show_is_refused(hog_and_big: str, change: str, why: str) -> None:
    for extra in ([], ["--check"]):
        done = command("run", hog_and_big, "--on", "cgroup", "--set", change, *extra)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
        assert done.stderr.count("\n") == 1


def test_refusals_of_another_kernel(hog_and_big: str) -> None:
    done = command("run", hog_and_big, "--on", "cgroup", "--kernel", "6.1")
    assert done.returncode == 2
    assert "this host's" in done.stderr


def test_children_uid_and_adj_are_real(tmp_path: Path) -> None:
    run = record(
        """
        name = "family"
        duration = "20s"
        [machine]
        ram = "160M"
        [[task]]
        name = "parent"
        oom_score_adj = 5
        uid = 4321
        steps = [{ touch = "20M" }, { hold = "forever" }]
        [[task.children]]
        name = "child"
        oom_score_adj = 700
        uid = 1234
        steps = [{ touch = "40M" }, { hold = "forever" }]
        [[task]]
        name = "hog"
        start = "500ms"
        steps = [{ touch = "110M", rate = "200M/s" }]
        """,
        tmp_path,
    )
    assert run.kills[0].task == "child"
    assert run.kills[0].oom_score_adj == 700
    assert any("UID:1234" in line for line in run.log)


def test_shared_memory_and_page_tables_are_real(tmp_path: Path) -> None:
    run = record(
        """
        name = "shmem"
        duration = "10s"
        [machine]
        ram = "256M"
        [[task]]
        name = "sharer"
        steps = [{ share = "64M" }, { hold = "2s" }]
        [[task]]
        name = "sparse"
        steps = [{ touch = "40G", stride = "2M" }, { hold = "2s" }]
        """,
        tmp_path,
    )
    assert run.outcome == "completed"
    assert run.kills == ()
    assert max(run.samples.tasks["sharer/0"].rss_mb) > 63
    # 20,480 pages, each with a page table of its own.
    assert max(run.samples.cached_mb) >= 60
    assert min(run.samples.free_mb) < 256 - 64 - 2 * 80


def test_oom_kill_disable_holds_all_until_the_end(tmp_path: Path) -> None:
    """R14's kin: nobody is chosen, everybody waits; what waits dies with the run."""
    text = """
        name = "disabled"
        duration = "3s"
        [machine]
        ram = "300M"
        [[cgroup]]
        name = "box"
        version = 1
        max = "64M"
        oom_kill_disable = true
        [[task]]
        name = "hog"
        cgroup = "box"
        steps = [{ touch = "100M", rate = "100M/s" }]
        """
    from oomkit.real import cgroup

    if cgroup.host_facts()[0].version != 1:
        pytest.skip("oom_kill_disable is of cgroup v1, this host has v2")
    run = record(text, tmp_path)
    assert run.outcome == "timed_out"
    assert run.kills == ()
    assert max(run.samples.tasks["hog/0"].rss_mb) < 80


def start(path: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*HEEDING_INTERRUPTS, OOMKIT, "run", path, "--on", "cgroup", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: any(tasks_of(name) for name in ours(process.pid)))
    return process


def ours(pid: int) -> list[str]:
    return [name for name in left_in_cgroups() if name == f"oomkit-{pid}"]


def tasks_of(group: str) -> list[int]:
    from oomkit.host.cgroups import find_hierarchy

    hierarchy = find_hierarchy("/proc")
    assert hierarchy is not None
    try:
        text = Path(hierarchy.directory, group, "oomkit", "cgroup.procs").read_text()
    except OSError:
        return []
    return [int(line) for line in text.split()]


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(HOG_AND_BIG.replace('{ hold = "forever" }', '{ hold = "60s" }'))
    process = start(str(path))
    tasks = tasks_of(f"oomkit-{process.pid}")
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert out == ""
    wait_until(lambda: not ours(process.pid))
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in tasks))
    for where in ("/dev/shm", "/var/tmp"):
        assert not [n for n in os.listdir(where) if n.startswith(f"oomkit-{process.pid}-")]


def test_what_a_dead_run_left_goes_with_the_next(hog_and_big: str) -> None:
    """What is known by its name alone stays, with who is in it."""
    from oomkit.host.cgroups import find_hierarchy

    hierarchy = find_hierarchy("/proc")
    assert hierarchy is not None
    gone = _unused_pid()
    marked = Path(hierarchy.directory, f"oomkit-{gone}")
    others = Path(hierarchy.directory, f"oomkit-{gone}-x")
    (marked / "oomkit").mkdir(parents=True)
    others.mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    os.setxattr(marked, "trusted.oomkit", f"{boot} {gone} 1".encode())
    with subprocess.Popen(["sleep", "600"]) as inside:
        try:
            (others / "cgroup.procs").write_text(str(inside.pid))
            done = command("run", hog_and_big, "--on", "cgroup", "--json")
            assert json.loads(done.stdout)["outcome"] == "completed"
            assert not marked.exists()
            assert others.exists()
            assert inside.poll() is None
        finally:
            inside.kill()
            inside.wait()
            wait_until(lambda: not _rmdir_fails(others))


def _rmdir_fails(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return path.exists()
    return False


def test_a_run_whose_cgroup_has_its_name_taken_takes_another(hog_and_big: str) -> None:
    from oomkit.host.cgroups import find_hierarchy
    from oomkit.real import cgroup

    hierarchy = find_hierarchy("/proc")
    assert hierarchy is not None
    taken = Path(hierarchy.directory, f"oomkit-{os.getpid()}")
    taken.mkdir()
    try:
        found = cgroup.free_name(str(taken))
        assert found.startswith(f"{taken}-")
    finally:
        taken.rmdir()


def test_others_get_nothing_into_a_run(tmp_path: Path) -> None:
    """Its directories are closed, so that no link can be waiting where root writes."""
    path = tmp_path / "long.toml"
    path.write_text(HOG_AND_BIG.replace('{ hold = "forever" }', '{ hold = "60s" }'))
    process = start(str(path))
    try:
        for where in ("/dev/shm", "/var/tmp"):
            (name,) = [n for n in os.listdir(where) if n.startswith(f"oomkit-{process.pid}-")]
            found = os.lstat(f"{where}/{name}")
            assert found.st_mode & 0o077 == 0
            assert found.st_uid == 0
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _unused_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid
