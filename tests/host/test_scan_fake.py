"""The scan on copies of other machines: every layout of cgroups, containers, old kernels."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oomkit.host.scan import Scanner, take_snapshot
from oomkit.kernel.state import Memcg, Snapshot, Task
from tests.host.fake import FakeProc, memcg_v1, memcg_v2, stat_line, status_text, write

PAGE = os.sysconf("SC_PAGE_SIZE")
KB = PAGE // 1024
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


def look(proc: FakeProc, cgroups: Path | None = None) -> Snapshot:
    root = str(cgroups) if cgroups else None
    boot = str(proc.root.parent / "boot")
    return take_snapshot(proc_root=str(proc.root), cgroup_root=root, boot_root=boot)


def task_of(snapshot: Snapshot, pid: int) -> Task:
    (task,) = (task for task in snapshot.tasks if task.pid == pid)
    return task


def group_of(snapshot: Snapshot, path: str) -> Memcg:
    (group,) = (group for group in snapshot.memcgs if group.path == path)
    return group


def test_memory_in_pages(proc: FakeProc) -> None:
    memory = look(proc).memory
    assert memory.total_ram_pages == 2027520 // KB
    assert memory.available_pages == 640000 // KB
    assert memory.file_pages == 130000
    assert memory.misc_reclaimable_pages == 2500
    assert memory.hugetlb_pages == 8192 // KB
    assert memory.commit_limit_pages == 1538044 // KB
    assert [node.node_id for node in memory.nodes] == [0, 1]


def test_process_in_the_units_of_the_record(proc: FakeProc) -> None:
    proc.file("config.gz", b"")
    write(proc.root.parent / "boot/config-6.12.1", "# x\nCONFIG_HZ=1000\nCONFIG_Y=y\n")
    stat = stat_line(
        70, b"a) (b", ppid=3, utime=250, stime=50, nice=5, start_ticks=123 * TICKS + 7,
        vsize_bytes=100 * PAGE, rss_pages=77,
    )  # fmt: skip
    status = status_text(
        uid=1000, euid=0, pte_kb=3 * KB, swap_kb=9 * KB, locked_kb=KB, rss_kb=(KB, 2 * KB, 3 * KB),
        capabilities=1 << 21, mems="1",
    )  # fmt: skip
    proc.process(70, stat=stat, status=status, adj=-500, score=321)
    task = task_of(look(proc), 70)
    assert task == Task(
        pid=70,
        comm="a) (b",
        ppid=3,
        uid=1000,
        euid=0,
        rss_pages=77,
        anon_rss_pages=1,
        file_rss_pages=2,
        shmem_rss_pages=3,
        swap_pages=9,
        pgtable_pages=3,
        total_vm_pages=100,
        locked_vm_pages=1,
        oom_score_adj=-500,
        cpu_jiffies=300 * 1000 // TICKS,
        start_s=123,
        nice=5,
        cap_sys_admin=True,
        mems_allowed=(1,),
        kernel_oom_score=321,
    )


def test_page_tables_of_two_levels_are_added(proc: FakeProc) -> None:
    proc.process(5, status=status_text(pte_kb=10 * KB, pmd_kb=2 * KB))
    task = task_of(look(proc), 5)
    assert (task.pgtable_pages, task.pte_pages, task.pmd_pages) == (12, 10, 2)


def test_kernel_threads_and_the_dead_have_no_memory(proc: FakeProc) -> None:
    proc.process(2, stat=stat_line(2, flags=0x200000, vsize_bytes=0, rss_pages=0), score=0)
    proc.process(
        9,
        stat=stat_line(9, state="Z", flags=0x4, vsize_bytes=0, rss_pages=0),
        status=status_text(memory=False),
        score=0,
    )
    snapshot = look(proc)
    assert task_of(snapshot, 2).kthread
    assert not task_of(snapshot, 2).has_mm
    assert task_of(snapshot, 9).exiting
    assert not task_of(snapshot, 9).has_mm


def test_a_process_whose_leader_has_exited_is_read_from_another_thread(proc: FakeProc) -> None:
    dead = stat_line(9, state="Z", flags=0x4, threads=2, vsize_bytes=0, rss_pages=0, utime=50)
    proc.process(9, stat=dead, status=status_text(memory=False))
    proc.file("9/task/9/stat", dead)
    proc.file("9/task/11/stat", stat_line(11, rss_pages=4321, vsize_bytes=PAGE * 9000))
    proc.file("9/task/11/status", status_text(pte_kb=KB * 12))
    task = task_of(look(proc), 9)
    assert (task.rss_pages, task.total_vm_pages, task.pgtable_pages) == (4321, 9000, 12)
    assert task.has_mm
    assert not task.exiting
    assert task.cpu_jiffies == task.leader_cpu_jiffies == 50 * 250 // TICKS


@pytest.mark.parametrize("keep_open", [True, False])
def test_other_threads_sizes_are_read_at_each_look_whichever_of_them_ends(
    proc: FakeProc, keep_open: bool
) -> None:
    dead = stat_line(9, state="Z", flags=0x4, threads=4, vsize_bytes=0, rss_pages=0)
    proc.process(9, stat=dead, status=status_text(memory=False))
    proc.file("9/task/9/stat", dead)
    for tid in (10, 11, 12):  # the first two have exited, in the middle of being read or before
        proc.file(f"9/task/{tid}/comm", "x\n")
    proc.file("9/task/11/stat", stat_line(11, rss_pages=1, vsize_bytes=PAGE))
    proc.file("9/task/12/status", status_text())
    with Scanner(proc_root=str(proc.root), keep_open=keep_open) as scanner:
        for pages in (4321, 5432):
            proc.file("9/task/12/stat", stat_line(12, rss_pages=pages, vsize_bytes=PAGE * 9000))
            assert task_of(scanner.snapshot(), 9).rss_pages == pages


def test_tasks_stand_in_the_order_of_creation(proc: FakeProc) -> None:
    proc.file("sys/kernel/pid_max", "32768\n")
    for pid, ticks in ((300, 10), (40, 20), (32760, 30), (32761, 30), (301, 30), (305, 30)):
        proc.process(pid, stat=stat_line(pid, start_ticks=ticks))
    assert [task.pid for task in look(proc).tasks] == [300, 40, 32760, 32761, 301, 305]


def test_only_process_1_of_the_initial_namespace_is_the_global_init(proc: FakeProc) -> None:
    proc.process(1)
    assert task_of(look(proc), 1).global_init
    (proc.root / "self/ns/pid").unlink()
    (proc.root / "self/ns/pid").symlink_to("pid:[4026532999]")
    snapshot = look(proc)
    assert not task_of(snapshot, 1).global_init
    assert any("pid namespace" in sentence for sentence in snapshot.missing)
    # The host's /proc, mounted into a container, shows kthreadd.
    proc.process(2, stat=stat_line(2, b"kthreadd", flags=0x208040, vsize_bytes=0))
    assert task_of(look(proc), 1).global_init


def test_capabilities_of_another_user_namespace_do_not_count(proc: FakeProc) -> None:
    proc.process(7, status=status_text(uid=100000, capabilities=1 << 21 | 1 << 17))
    (proc.root / "7/ns").mkdir()
    (proc.root / "7/ns/user").symlink_to("user:[4026532111]")
    proc.process(8, status=status_text(uid=100000, capabilities=1 << 21))
    (proc.root / "8/ns").mkdir()
    (proc.root / "8/ns/user").symlink_to("user:[4026531837]")
    snapshot = look(proc)
    assert not task_of(snapshot, 7).cap_sys_admin
    assert not task_of(snapshot, 7).cap_sys_rawio
    assert task_of(snapshot, 8).cap_sys_admin


def test_cgroup_v1(proc: FakeProc, tmp_path: Path) -> None:
    mount = tmp_path / "cgroup"
    memcg_v1(mount / "memory")
    memcg_v1(mount / "memory/a", limit=f"{PAGE * 500}\n", memsw=f"{PAGE * 900}\n")
    memcg_v1(mount / "memory/a/b")
    memcg_v1(mount / "memory/empty")
    write(mount / "memory/empty/memory.oom_control", "oom_kill_disable 0\n")
    proc.process(5, cgroup="5:cpuset:/x\n4:memory:/a/b\n0::/other\n")
    snapshot = look(proc, mount)
    assert task_of(snapshot, 5).cgroup == "/a/b"
    assert [group.path for group in snapshot.memcgs] == ["/", "/a", "/a/b"]
    group = group_of(snapshot, "/a")
    assert group == Memcg(
        path="/a",
        version=1,
        limit_pages=500,
        memsw_limit_pages=900,
        usage_pages=409600 // PAGE,
        swap_usage_pages=409600 // PAGE,
        swappiness=10,
        oom_kill_disable=True,
    )
    assert group_of(snapshot, "/").limit_pages is None


def test_cgroup_v2(proc: FakeProc, tmp_path: Path) -> None:
    mount = tmp_path / "cgroup"
    write(mount / "cgroup.controllers", "cpu memory pids\n")
    write(mount / "cgroup.procs", "")
    memcg_v2(mount / "box", maximum=f"{PAGE * 500}\n", oom_group=True)
    write(mount / "box/inner/cgroup.procs", "6\n")  # without the memory controller
    proc.process(5, cgroup="0::/box\n")
    proc.process(6, cgroup="0::/box/inner\n")
    snapshot = look(proc, mount)
    assert task_of(snapshot, 5).cgroup == task_of(snapshot, 6).cgroup == "/box"
    assert group_of(snapshot, "/box") == Memcg(
        path="/box",
        version=2,
        limit_pages=500,
        swap_max_pages=4096000 // PAGE,
        usage_pages=409600 // PAGE,
        swap_usage_pages=40960 // PAGE,
        oom_group=True,
    )


def test_hybrid_takes_the_hierarchy_that_has_the_memory_controller(
    proc: FakeProc, tmp_path: Path
) -> None:
    mount = tmp_path / "cgroup"
    memcg_v1(mount / "memory")
    memcg_v1(mount / "memory/box", limit=f"{PAGE * 500}\n")
    write(mount / "unified/cgroup.controllers", "\n")
    write(mount / "unified/cgroup.procs", "")
    proc.process(5, cgroup="4:memory:/box\n0::/user.slice\n")
    snapshot = look(proc, mount)
    assert task_of(snapshot, 5).cgroup == "/box"
    assert group_of(snapshot, "/box").version == 1


def test_mounts_are_found_in_the_mount_table(proc: FakeProc, tmp_path: Path) -> None:
    """A container without a cgroup namespace: the mount shows its own group as the top."""
    mount = tmp_path / "c group"
    memcg_v1(mount, limit=f"{PAGE * 500}\n")
    memcg_v1(mount / "in")
    where = str(mount).replace(" ", r"\040")
    proc.file(
        "self/mountinfo",
        "30 20 0:26 / /sys rw - sysfs sysfs rw\n"
        "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        f"32 30 0:28 /docker/ab {where} ro,relatime shared:9 - cgroup cgroup rw,memory\n"
        "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    )
    proc.process(5, cgroup="4:memory:/docker/ab/in\n")
    proc.process(6, cgroup="4:memory:/docker/cd\n")
    snapshot = look(proc)
    assert task_of(snapshot, 5).cgroup == "/in"
    assert task_of(snapshot, 6).cgroup == "/../cd"
    assert group_of(snapshot, "/").limit_pages == 500


def test_container_without_anything_special(proc: FakeProc) -> None:
    """No PSI, no swap, no cgroup mount, no zoneinfo, others hidden: said, and gone on with."""
    for name in ("pressure/memory", "zoneinfo", "uptime"):
        (proc.root / name).unlink()
    proc.file("meminfo", "MemTotal: 1000000 kB\nMemFree: 5000 kB\n")
    proc.file("loadavg", "0.1 0.1 0.1 1/900 4\n")
    proc.process(5, cgroup="0::/../x\n")
    snapshot = look(proc)
    task = task_of(snapshot, 5)
    assert (task.rss_pages, task.cgroup) == (1000, "/../x")
    assert snapshot.memory.total_swap_pages == 0
    assert snapshot.memory.nodes == ()
    assert snapshot.pressure is None
    said = "\n".join(snapshot.missing)
    for word in ("PSI", "zoneinfo", "uptime", "cgroups", "CONFIG_HZ", "899 of the machine's"):
        assert word in said
    assert all(sentence.endswith(".") for sentence in snapshot.missing)


def test_a_directory_that_is_no_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="neither memory nor processes"):
        take_snapshot(proc_root=str(tmp_path))


def test_kernel_2_6_32(proc: FakeProc) -> None:
    proc = FakeProc(proc.root.parent / "old", kernel="2.6.32-5-amd64")
    (proc.root / "pressure/memory").unlink()
    proc.file("meminfo", "MemTotal: 2000000 kB\nMemFree: 5000 kB\nCached: 800 kB\nBuffers: 80 kB\n")
    (proc.root / "vmstat").unlink()
    proc.process(5)
    (proc.root / "5/oom_score_adj").unlink()
    proc.file("5/oom_adj", "-17\n")
    proc.process(6)
    (proc.root / "6/oom_score_adj").unlink()
    proc.file("6/oom_adj", "15\n")
    snapshot = look(proc)
    assert snapshot.memory.available_pages is None
    assert snapshot.memory.file_pages == 880 // KB
    assert [(t.oom_adj, t.oom_score_adj) for t in snapshot.tasks] == [(-17, -1000), (15, 1000)]


Refuse = Callable[[str, int], None]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Lets opening a path that ends as given fail; root would get past a file's mode."""
    refusals: dict[str, int] = {}
    real = os.open

    def guarded(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        for ending, number in refusals.items():
            if str(path).endswith(ending):
                raise OSError(number, os.strerror(number), path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", guarded)
    return refusals.__setitem__


@pytest.mark.parametrize("keep_open", [False, True])
def test_refused_files_are_counted_and_the_rest_is_read(
    proc: FakeProc, refuse: Refuse, *, keep_open: bool
) -> None:
    for pid in (5, 6, 7):
        proc.process(pid, adj=100)
    refuse("6/stat", errno.EACCES)
    refuse("7/status", errno.EPERM)
    refuse("7/oom_score_adj", errno.EACCES)
    refuse("vm/panic_on_oom", errno.EACCES)
    with Scanner(proc_root=str(proc.root), keep_open=keep_open) as scanner:
        for _ in range(2):
            snapshot = scanner.snapshot()
            assert [task.pid for task in snapshot.tasks] == [5, 7]
            task = task_of(snapshot, 7)
            assert (task.rss_pages, task.swap_pages, task.oom_score_adj) == (1000, 0, 0)
            said = "\n".join(snapshot.missing)
            assert "1 process could not be read.\n" in said
            assert "1 process could be read in part only." in said
            assert "vm.panic_on_oom" in said


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
@pytest.mark.parametrize("name", ["stat", "status", "oom_score"])
def test_a_process_that_vanishes_between_two_reads_is_passed_over(
    proc: FakeProc, refuse: Refuse, number: int, name: str
) -> None:
    proc.process(5)
    proc.process(6)
    refuse(f"6/{name}", number)
    snapshot = look(proc)
    assert [task.pid for task in snapshot.tasks] == [5]
    assert not any("process" in sentence and "read" in sentence for sentence in snapshot.missing)


def test_a_warm_scanner_sees_every_change(proc: FakeProc) -> None:
    proc.process(5)
    proc.process(6)
    with Scanner(proc_root=str(proc.root)) as scanner:
        before = scanner.snapshot()
        again = scanner.snapshot()
        assert task_of(again, 5) is task_of(before, 5)
        proc.file("5/oom_score_adj", "300\n")
        proc.file("6/stat", stat_line(6, b"renamed", rss_pages=9))
        proc.process(7)
        after = scanner.snapshot()
        assert task_of(after, 5).oom_score_adj == 300
        assert (task_of(after, 6).comm, task_of(after, 6).rss_pages) == ("renamed", 9)
        assert {task.pid for task in after.tasks} == {5, 6, 7}


def test_a_vfork_child_is_known_by_the_kernels_verdict(proc: FakeProc) -> None:
    proc.process(5, stat=stat_line(5, vsize_bytes=PAGE * 500))
    proc.process(6, stat=stat_line(6, ppid=5, vsize_bytes=PAGE * 500), score=0)
    proc.process(7, stat=stat_line(7, ppid=5, vsize_bytes=PAGE * 500), score=0, adj=-1000)
    proc.process(8, stat=stat_line(8, ppid=5, vsize_bytes=PAGE * 400), score=0)
    proc.process(9, stat=stat_line(9, ppid=5), score=0, status=status_text(pending=1 << 8))
    snapshot = look(proc)
    assert task_of(snapshot, 6).vfork
    assert task_of(snapshot, 6).mm_id == task_of(snapshot, 5).mm_id == 5
    assert not any(task_of(snapshot, pid).vfork for pid in (5, 7, 8, 9))
    assert task_of(snapshot, 9).mm_reaped
    assert not task_of(snapshot, 8).mm_reaped


def test_few_files_allowed_means_fewer_open(
    proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in range(5, 25):
        proc.process(pid)

    def ten(*, raise_limit: bool) -> int:
        return 10

    monkeypatch.setattr("oomkit.host.scan.file_budget", ten)
    with Scanner(proc_root=str(proc.root)) as scanner:
        in_use = len(os.listdir("/proc/self/fd"))
        assert len(scanner.snapshot().tasks) == 20
        assert len(os.listdir("/proc/self/fd")) == in_use + 8
        assert len(scanner.snapshot().tasks) == 20
    assert len(os.listdir("/proc/self/fd")) == in_use - 1


@pytest.mark.parametrize(
    ("kernel", "pages"), [("6.19.14+deb13-cloud-amd64", 900), ("7.0.0-38-generic", 4000 // KB)]
)
def test_resident_pages_are_those_that_badness_counts(
    tmp_path: Path, kernel: str, pages: int
) -> None:
    proc = FakeProc(tmp_path / "proc", kernel)
    proc.process(5, stat=stat_line(5, rss_pages=900), status=status_text(rss_kb=(1000, 2000, 1000)))
    assert task_of(look(proc), 5).rss_pages == pages


@pytest.mark.parametrize(
    ("text", "cpus"), [("cpu  1 2\ncpu0 1 2\ncpu3 1 2\nintr 7\n", 2), ("intr 7\n", None)]
)
def test_online_cpus_are_counted(proc: FakeProc, text: str, cpus: int | None) -> None:
    proc.file("stat", text)
    proc.process(5)
    assert look(proc).cpus == cpus
