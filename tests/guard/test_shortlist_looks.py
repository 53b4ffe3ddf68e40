"""Who is looked at, how closely, and at what cost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oomkit.guard.cgroup_reader import Members, descendants
from oomkit.guard.config import Places
from oomkit.guard.identity import Wanted
from oomkit.guard.process_files import ProcessFiles
from oomkit.guard.process_sizes import ProcessSizes
from oomkit.guard.shortlist import LISTED, Shortlist
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Growth
from oomkit.policy.engine.reading import Reading
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import find_policy

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Proc:
    """A made ``/proc`` whose processes have sizes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def put(
        self, pid: int, anon_kb: int, *, swap_kb: int = 0, data_kb: int | None = None,
        start: int = 100, comm: str = "task", flags: int = 0,
    ) -> None:  # fmt: skip
        process = self.directory / str(pid)
        process.mkdir(exist_ok=True)
        data_kb = anon_kb + swap_kb if data_kb is None else data_kb
        anon, data = anon_kb // PAGE_KB, data_kb // PAGE_KB
        (process / "statm").write_text(f"{data + 500} {anon + 50} 50 10 0 {data} 0\n")
        (process / "stat").write_text(
            f"{pid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 10 5 0 0 20 0 1 0 {start} 1 {anon}\n"
        )
        (process / "status").write_text(
            f"Name:\t{comm}\nUid:\t1000\t1000\t1000\t1000\nRssAnon:\t{anon_kb} kB\n"
            f"RssFile:\t200 kB\nRssShmem:\t0 kB\nVmPTE:\t40 kB\nVmSwap:\t{swap_kb} kB\n"
            "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n"
        )
        (process / "oom_score_adj").write_text("0\n")
        (process / "cgroup").write_text("0::/user.slice/app.scope\n")

    def remove(self, pid: int) -> None:
        for file in (self.directory / str(pid)).iterdir():
            file.unlink()
        (self.directory / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def warm_for(proc: Proc, fields: frozenset[str] = frozenset()) -> Shortlist:
    return Shortlist(Wanted(Places(proc=str(proc.directory)), fields, {}))


def reading(t_s: float, anon_kb: int, swap_used_kb: int = 0) -> Reading:
    return Reading(t_s, 1 << 24, 1 << 20, 1 << 22, (1 << 22) - swap_used_kb, anon_kb)


def test_among_ten_thousand_the_largest_are_found_and_few_files_are_read_again(
    proc: Proc,
) -> None:
    for pid in range(9901, 10_001):
        proc.put(pid, 4 * pid)
    small = proc.directory.parent / "statm"
    small.write_text("600 150 50 10 0 100 0\n")
    for pid in range(1, 9901):
        (proc.directory / str(pid)).mkdir()
        (proc.directory / f"{pid}/statm").hardlink_to(small)
    warm = warm_for(proc)
    growth = Growth(10.0)
    anon_kb = 9900 * 400 + sum(4 * pid for pid in range(9901, 10_001))
    warm.look(reading(1.0, anon_kb), growth)
    assert [one.pid for one in warm.top] == list(range(10_000, 10_000 - LISTED, -1))
    warm.close()
    sizes = ProcessSizes(str(proc.directory))
    sizes.look(0, 0.0, full=True)
    assert sizes.read == 10_000
    sizes.look(0, 0.1)
    assert sizes.read - 10_000 <= 10_000 * 0.1 / 2.0 + 1
    known = sys.getsizeof(sizes.kb) + sum(map(sys.getsizeof, sizes.kb))
    assert known < 2 << 20, "what is known of the small stays small"
    sizes.close()


def test_a_new_process_is_seen_at_once_and_has_grown_from_nothing(proc: Proc) -> None:
    proc.put(10, 50_000)
    warm, growth = warm_for(proc), Growth(10.0)
    warm.look(reading(1.0, 50_000), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    proc.put(11, 90_000)
    warm.look(reading(1.1, 140_000), growth)
    assert [one.pid for one in warm.top] == [11, 10]
    assert [one.growth_kb for one in warm.top] == [90_040, 0]
    warm.close()


def test_small_ones_that_grow_fast_are_found_by_the_machines_own_count(proc: Proc) -> None:
    """Their turn to be read would come later; what the largest hold does not explain AnonPages."""
    for pid in range(10, 10 + 2 * LISTED + 50):
        proc.put(pid, 5000 + pid)
    warm, growth = warm_for(proc), Growth(10.0)
    anon_kb = sum(5000 + pid for pid in range(10, 10 + 2 * LISTED + 50))
    warm.look(reading(1.0, anon_kb), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    smallest = list(range(10, 26))  # 32 of 178 are read in turn, in no order: not all of these
    assert not set(smallest) & {one.pid for one in warm.top}
    for pid in smallest:
        proc.put(pid, 200_000)
    warm.look(reading(1.01, anon_kb + 16 * 195_000), growth)
    assert sorted(one.pid for one in warm.top[:16]) == smallest
    assert warm.top[0].growth_kb == pytest.approx(195_000, rel=0.01)
    warm.close()


def test_a_process_that_is_mostly_swapped_out_is_found(proc: Proc) -> None:
    """``statm`` does not tell swap, so it is bounded first and read then."""
    for pid in range(10, 10 + 3 * LISTED):
        proc.put(pid, 20_000, data_kb=400_000)  # much reserved, little used
    proc.put(9, 1000, swap_kb=300_000)
    warm, growth = warm_for(proc), Growth(10.0)
    warm.look(reading(1.0, 3 * LISTED * 20_000, swap_used_kb=350_000), growth)
    assert warm.top[0].pid == 9
    assert warm.top[0].swap_kb == 300_000
    warm.close()


def test_a_number_that_is_used_again_is_another_process(proc: Proc) -> None:
    proc.put(10, 50_000, start=100)
    warm, growth = warm_for(proc), Growth(10.0)
    warm.look(reading(1.0, 50_000), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    proc.remove(10)
    warm.look(reading(1.1, 0), growth)
    assert warm.top == []
    proc.put(10, 60_000, start=200)
    warm.look(reading(1.2, 60_000), growth)
    assert [(one.pid, one.start_time, one.growth_kb) for one in warm.top] == [(10, 200, 60_040)]
    warm.close()


def test_nothing_stays_open_when_all_is_well_again(proc: Proc) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for pid in range(10, 40):
        proc.put(pid, 5000)
    warm = warm_for(proc)
    warm.look(reading(1.0, 150_000), Growth(10.0))
    assert len(os.listdir("/proc/self/fd")) >= before + 90
    warm.forget()
    assert len(os.listdir("/proc/self/fd")) == before + 1  # the directory
    warm.close()


def test_the_live_machine_by_statm_and_by_status(tmp_path: Path) -> None:
    """What the short list says of this very process is what its status says."""
    held = bytearray(30 << 20)
    held[::4096] = b"x" * len(held[::4096])
    sizes = ProcessSizes("/proc")
    sizes.look(0, 0.0, full=True)
    places = Places()
    watched = ProcessFiles(os.getpid(), Wanted(places, frozenset({"exe", "cmdline"}), {}), 1e9)
    one = watched.candidate
    status = Path("/proc/self/status").read_text()
    anon_kb = int(status.split("RssAnon:")[1].split()[0])
    assert one.anon_kb == pytest.approx(anon_kb, abs=2048)
    assert sizes.kb[str(os.getpid())] == pytest.approx(anon_kb, abs=2048)
    assert one.comm == Path("/proc/self/comm").read_text().strip()
    assert one.exe == os.readlink("/proc/self/exe")
    assert one.cmdline is not None
    assert one.cmdline.split()[0] == Path("/proc/self/cmdline").read_text().split("\0")[0]
    assert one.uid == os.getuid()
    assert one.ppid == os.getppid()
    watched.close()
    sizes.close()


def test_who_would_die_with_a_group_is_found_however_small(proc: Proc, tmp_path: Path) -> None:
    """``memory.oom.group`` above the largest takes along who is not among the largest."""
    group = tmp_path / "cgroups/user.slice"
    (group / "app.scope").mkdir(parents=True)
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.oom.group").write_text("1\n")
    (group / "app.scope/cgroup.procs").write_text("10\n11\n")
    places = Places(proc=str(proc.directory), cgroups=str(tmp_path / "cgroups"), cgroup_version=2)
    proc.put(10, 500_000)
    proc.put(11, 8)
    warm = Shortlist(Wanted(places, frozenset(), {}), listed=1)
    warm.look(reading(1.0, 500_008), Growth(10.0))
    assert [one.pid for one in warm.top] == [10]
    plan = compile_plan(find_policy("default"))
    members = Members(places, plan.selection, by_reclaim=False)
    candidates, groups = members.complete(warm)
    assert [one.pid for one in candidates] == [10, 11]
    assert [(one.path, one.oom_group) for one in groups] == [("/user.slice", True)]
    ranked = Chooser(plan).rank(candidates, groups=groups)
    assert {one.pid for one in ranked[0].members} == {10, 11}
    assert ranked[0].level == "cgroup"
    warm.close()


def test_all_below_a_process_is_found() -> None:
    script = "import subprocess as s, sys; s.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        end = time.monotonic() + 10
        while not (below := descendants("/proc", parent.pid)):
            if not os.path.exists(f"/proc/{parent.pid}/task/{parent.pid}/children"):
                parent.kill()
                pytest.skip("needs /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN)")
            assert time.monotonic() < end
            time.sleep(0.02)
        assert len(below) == 1
        assert Path(f"/proc/{below[0]}/stat").read_text().rpartition(")")[2].split()[1] == str(
            parent.pid
        )
        parent.communicate(b"\n")


def test_the_children_of_a_thread_are_all_read(tmp_path: Path) -> None:
    pids = list(range(100_000, 100_400))
    for pid in (7, *pids):
        (tmp_path / f"{pid}/task/{pid}").mkdir(parents=True)
    (tmp_path / "7/task/7/children").write_text(" " * 70_000 + " ".join(map(str, pids)))
    assert descendants(str(tmp_path), 7) == pids


@pytest.mark.parametrize("text", ["State: x y z a b c", "1 2 3", "", "1 x 3 4 5 6 7"])
def test_a_process_whose_sizes_can_not_be_read_is_left_out(proc: Proc, text: str) -> None:
    proc.put(10, 5000)
    proc.put(11, 6000)
    sizes = ProcessSizes(str(proc.directory))
    sizes.look(0, 0.0, full=True)
    assert sorted(sizes.kb) == ["10", "11"]
    (proc.directory / "11/statm").write_text(text)
    sizes.look(0, 0.0, full=True)
    assert sizes.kb == {"10": 5000}
    assert not sizes.exact("11")
    sizes.close()
