"""What is read of a machine beside its snapshot, from copies of its files."""

from pathlib import Path

import pytest

from oomkit.host.configuration import Configuration, Daemon, read_configuration
from oomkit.kernel.state import Memory, Snapshot, Task
from tests.host.fake import write

MOUNTS = """\
proc /proc proc rw 0 0
tmpfs /shm tmpfs rw,size=1024k 0 0
tmpfs /hidden tmpfs rw 0 0
ext4 /hidden ext4 rw 0 0
tmpfs /with\\040space tmpfs rw 0 0
tmpfs /sealed tmpfs ro,size=4k 0 0
"""


def read(tmp_path: Path, *tasks: Task) -> Configuration:
    snapshot = Snapshot(kernel="6.12", memory=Memory(total_ram_pages=1 << 18), tasks=tasks)
    return read_configuration(
        snapshot,
        proc=str(tmp_path / "proc"), sys=str(tmp_path / "sys"), root=str(tmp_path),
    )  # fmt: skip


def test_a_machine_that_shows_nothing_is_read_as_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == Configuration()


def test_of_tmpfs_those_count_that_can_be_written_to_and_seen(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/mounts", MOUNTS)
    for name in ("shm", "hidden", "with space", "sealed"):
        (tmp_path / name).mkdir()
    assert [t.path for t in read(tmp_path).tmpfs] == ["/shm", "/with space"]


@pytest.mark.parametrize(
    ("mounts", "controller"),
    [
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "v2"),
        ("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n", "v1"),
        ("cgroup2 /u cgroup2 rw 0 0\ncgroup /m cgroup rw,memory 0 0\n", "hybrid"),
        ("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", "none"),
    ],
)
def test_the_memory_controller_may_be_mounted_in_four_ways(
    mounts: str, controller: str, tmp_path: Path
) -> None:
    write(tmp_path / "proc/self/mounts", mounts)
    assert read(tmp_path).controller == controller


def test_zram_counts_where_it_is_swap(tmp_path: Path) -> None:
    write(tmp_path / "proc/swaps", "Filename Type Size Used Priority\n"
          "/dev/zram0 partition 2097148 0 100\n/swapfile file 1048572 0 -2\n")  # fmt: skip
    write(tmp_path / "sys/block/zram0/disksize", "2147483648\n")
    write(tmp_path / "sys/block/zram0/mm_stat", "4096000 900000 1000000 5000000 0 0 0 0 0\n")
    (found,) = read(tmp_path).zram
    assert (found.name, found.size_bytes, found.original_bytes) == ("zram0", 2147483648, 4096000)
    assert (found.used_bytes, found.limit_bytes) == (1000000, 5000000)


def test_daemons_are_known_by_their_programs(tmp_path: Path) -> None:
    guard = b"/usr/bin/python3\0-I\0-S\0/usr/lib/oomkit/oomkit/guard/bootstrap.py\0005\0"
    write(tmp_path / "proc/7/cmdline", guard)
    write(tmp_path / "proc/8/cmdline", b"python3\0script.py\0")
    tasks = (Task(pid=5, comm="earlyoom"), Task(pid=7, comm="python3"), Task(pid=8, comm="python3"))
    assert read(tmp_path, *tasks).daemons == (
        Daemon(name="earlyoom", pid=5),
        Daemon(name="oomkit guard", pid=7, acts=None),
    )
    for dry_run in (True, False):
        status = f'{{"write": 3, "pid": 7, "dry_run": {str(dry_run).lower()}, "written": 3}}\n'
        write(tmp_path / "run/oomkit/status.json", status)
        assert read(tmp_path, *tasks).daemons[1].acts is not dry_run


def test_a_dry_run_does_not_act_and_an_interpreter_may_be_a_daemon(tmp_path: Path) -> None:
    write(tmp_path / "proc/5/cmdline", b"/usr/bin/earlyoom\0-m\0005\0--dryrun\0")
    write(tmp_path / "proc/6/cmdline", b"python3\0/usr/sbin/nohang\0--monitor\0")
    write(tmp_path / "proc/7/cmdline", b"python3\0/tmp/a.py\0--log\0/var/log/nohang\0")
    tasks = (Task(pid=5, comm="earlyoom"), Task(pid=6, comm="python3"), Task(pid=7, comm="python3"))
    assert read(tmp_path, *tasks).daemons == (
        Daemon(name="earlyoom", pid=5, acts=False),
        Daemon(name="nohang", pid=6),
    )


@pytest.mark.parametrize(("enabled", "disabled"), [(0, True), (1, False)])
def test_memory_cgroups_may_be_switched_off(enabled: int, disabled: bool, tmp_path: Path) -> None:
    rows = f"#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t9\t1\nmemory\t0\t9\t{enabled}\n"
    write(tmp_path / "proc/cgroups", rows)
    assert read(tmp_path).memory_disabled is disabled


def test_of_the_kubelets_files_the_last_one_counts(tmp_path: Path) -> None:
    """Signal by signal, in the order of their names."""
    write(tmp_path / "proc/9/cmdline", "/usr/bin/kubelet\0--config-dir=/etc/k.d\0")
    write(tmp_path / "var/lib/kubelet/config.yaml", "evictionHard: {memory.available: 10Mi}\n")
    write(tmp_path / "etc/k.d/10-a.conf", "evictionHard: {memory.available: 20Mi}\n")
    write(tmp_path / "etc/k.d/20-b.conf", "evictionHard: {memory.available: 30Mi}\n")
    write(tmp_path / "etc/k.d/30-c.conf", "evictionHard: {nodefs.available: 10%}\n")
    write(tmp_path / "etc/k.d/40-d.yaml", "evictionHard: {memory.available: 40Mi}\n")
    found = read(tmp_path, Task(pid=9, comm="kubelet"))
    assert (found.eviction_bytes, found.eviction_from) == (30 << 20, "/etc/k.d/20-b.conf")
    assert found.eviction_directory == "/etc/k.d"


@pytest.mark.parametrize(
    ("flags", "config", "bytes_", "where"),
    [
        ("", "", 100 << 20, "its default"),
        ("", 'evictionHard:\n  nodefs.available: "10%"\n  memory.available: "250Mi" # enough\n',
         250 << 20, "/var/lib/kubelet/config.yaml"),
        ("", 'evictionSoft:\n  memory.available: "1Gi"\n', 100 << 20, "its default"),
        ("", "evictionHard: {memory.available: 5%}\n", 1 << 30, "/var/lib/kubelet/config.yaml"),
        ("--eviction-hard=memory.available<1.5Gi", "evictionHard:\n  memory.available: 1Mi\n",
         3 << 29, "--eviction-hard"),
        ("--v=2\0--eviction-hard\0memory.available<300Mi,nodefs.available<10%\0--x", "", 300 << 20,
         "--eviction-hard"),
        ("--eviction-hard=nodefs.available<10%", "", 0, "--eviction-hard"),
        ("", 'evictionHard:\n  nodefs.available: "10%"\nmaxPods: 5\n', 0,
         "/var/lib/kubelet/config.yaml"),
        ("--config=/etc/k.yaml", 'evictionHard: {memory.available: 200Mi}\n', 200 << 20,
         "/etc/k.yaml"),
    ],
)  # fmt: skip
def test_the_kubelets_threshold_has_three_places(
    flags: str, config: str, bytes_: int, where: str, tmp_path: Path
) -> None:
    write(tmp_path / "proc/9/cmdline", f"/usr/bin/kubelet\0{flags}\0")
    place = "etc/k.yaml" if "--config" in flags else "var/lib/kubelet/config.yaml"
    write(tmp_path / place, config)
    found = read(tmp_path, Task(pid=9, comm="kubelet"))
    expected = bytes_ if "%" not in config.partition("memory")[2] else (1 << 30) // 20
    assert (found.eviction_bytes, found.eviction_from) == (expected, where)
