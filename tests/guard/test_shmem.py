"""Memory that belongs to no process, or to one alone although it is shared."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import shared_memory
from oomkit.guard.config import Places
from oomkit.guard.shared_memory import (
    Sharers,
    SoleMemory,
    kernel_device,
    mapped_kb,
    shared_kb,
    sharers_of,
    unnamed_files_kb,
)
from oomkit.guard.tmpfs import Tmpfs, WriteCounters
from oomkit.policy.engine.candidate import Candidate
from tests.guard.made import Fds, Process

pytestmark = pytest.mark.hermetic


def mapping(mode: str, name: str, inode: int = 7, **kb: int) -> str:
    numbers = {"Rss": 900, "Shared_Clean": 50, "Private_Clean": 1, "Private_Dirty": 2, "Swap": 4,
               "SwapPss": 70, **kb}  # fmt: skip
    lines = "".join(f"{key}: {value:8} kB\n" for key, value in numbers.items())
    return f"7f00-7f01 {mode} 00000000 00:01 {inode} {' ' * 20}{name}\n{lines}"


@pytest.mark.parametrize(("text", "kb"), [
    (mapping("rw-s", "/dev/zero (deleted)"), 7),
    (mapping("rw-s", "/memfd:x (deleted)", Private_Dirty=100), 105),
    (mapping("rw-p", "/memfd:x (deleted)"), 0),  # private: counted as anonymous
    (mapping("rw-s", "/dev/shm/file"), 0),  # the file keeps it
    (mapping("rw-s", ""), 0),
    (mapping("rw-s", "/a (deleted)") + mapping("rw-s", "/dev/shm/file"), 7),
    (mapping("rw-s", "/dev/shm/file") + mapping("rw-s", "/a (deleted)") * 2, 14),
    ("", 0),
])  # fmt: skip
def test_what_a_process_alone_maps_of_files_without_a_name(
    tmp_path: Path, text: str, kb: int
) -> None:
    (tmp_path / "smaps").write_text(text)
    assert mapped_kb(str(tmp_path)) == kb
    assert mapped_kb(str(tmp_path / "none")) == 0


SEGMENTS = """\
       key      shmid perms                  size  cpid  lpid nattch
         0          7  1600               4194304   100   100      1
         0          8   600               4194304   100   100      1
"""


@pytest.mark.parametrize(("inode", "namespace", "kb"), [
    (7, "/proc/self/ns/ipc", 7), (8, "/proc/self/ns/ipc", 0), (9, "/proc/self/ns/ipc", 0),
    (7, "/proc/self/ns/mnt", 0), (7, "/none", 0),
])  # fmt: skip
def test_a_segment_goes_with_its_last_process_where_it_was_removed(
    tmp_path: Path, inode: int, namespace: str, kb: int
) -> None:
    (tmp_path / "ns").mkdir()
    (tmp_path / "ns/ipc").symlink_to(namespace)
    (tmp_path / "segments").write_text(SEGMENTS)
    (tmp_path / "smaps").write_text(mapping("rw-s", "/SYSV00000000 (deleted)", inode))
    assert mapped_kb(str(tmp_path), str(tmp_path / "segments")) == kb
    assert mapped_kb(str(tmp_path), str(tmp_path / "none")) == 0


def test_what_is_held_open_without_a_name_counts_once(tmp_path: Path) -> None:
    (tmp_path / "fd").mkdir()
    device = os.stat(tmp_path).st_dev
    opened = []
    for name, kb, keep in (("a", 64, False), ("b", 32, False), ("c", 16, True)):
        path = tmp_path / name
        path.write_bytes(b"x" * (kb << 10))
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        opened.append(fd)
        if not keep:
            path.unlink()
    targets = [opened[0], opened[0], *opened[1:]]
    for number, fd in enumerate(targets):
        (tmp_path / f"fd/{number}").symlink_to(f"/proc/self/fd/{fd}")
    (tmp_path / "fd/9").symlink_to("/none")
    (tmp_path / "fd/10").symlink_to("/proc/self/fd")
    kb = sum(os.fstat(fd).st_blocks for fd in opened[:2]) // 2
    assert kb >= 96
    assert unnamed_files_kb(str(tmp_path), {device}) == kb
    assert unnamed_files_kb(str(tmp_path), {device + 1}) == 0
    assert unnamed_files_kb(str(tmp_path / "none"), {device}) == 0
    for fd in opened:
        os.close(fd)


def test_the_kernels_own_tmpfs_is_known_by_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.memfd_create("x")
    assert kernel_device() == os.fstat(fd).st_dev
    os.close(fd)
    before = Fds()
    kernel_device()
    assert Fds().since(before) == 0

    def none(*_: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", none)
    assert kernel_device() is None


def test_shared_memory_that_is_mapped_is_in_status(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nRssShmem:\t77 kB\n")
    assert shared_kb(str(tmp_path)) == 77
    assert shared_kb(str(tmp_path / "none")) == 0


# Who wrote


class Writing:
    """A made ``/proc`` of processes that write, each with a file of a tmpfs open or not."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        proc.mkdir(exist_ok=True)
        (proc / "self").mkdir()
        (proc / "open").write_text("x")
        device = os.stat(proc).st_dev
        self.mounts = (
            f"24 1 {os.major(device)}:{os.minor(device)} / /tmp rw - tmpfs none rw\n"
            "25 1 8:1 / / rw - ext4 /dev/sda rw\n"
        )

    def put(self, pid: int, kb: int, *, disk_kb: int = 0, on_tmpfs: bool = True) -> None:
        directory = self.proc / str(pid)
        (directory / "fd").mkdir(parents=True, exist_ok=True)
        (directory / "io").write_text(
            f"rchar: 1\nwchar: {(kb + disk_kb) << 10}\nsyscr: 1\nread_bytes: 5\n"
            f"write_bytes: {disk_kb << 10}\n"
        )
        (directory / "mountinfo").write_text(self.mounts if on_tmpfs else self.mounts[-36:])
        if not (directory / "fd/3").is_symlink():
            (directory / "fd/3").symlink_to(self.proc / "open")
            (directory / "fd/4").symlink_to("/none")


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    return Writing(tmp_path / "proc")


def test_what_went_to_a_disk_is_left_out(writing: Writing) -> None:
    writing.put(10, 500, disk_kb=900)
    (writing.proc / "11").mkdir()
    writing.put(12, 0)
    (writing.proc / "12/io").write_text("rchar: 1\nwchar: 5\nwrite_bytes: 4096\n")
    (writing.proc / "13").mkdir()
    (writing.proc / "13/io").write_text("rchar: 1\n")
    assert WriteCounters(str(writing.proc)).now() == {10: 500 << 10, 12: 0, 13: 0}


@pytest.mark.parametrize(("kb", "found"), [(124, {}), (125, {10: 125.0}), (2000, {10: 1000.0})])
def test_who_wrote_an_eighth_or_more_is_a_writer_of_no_more_than_came_about(
    writing: Writing, kb: int, found: dict[int, float]
) -> None:
    writing.put(10, 70)
    written = WriteCounters(str(writing.proc))
    before = written.now()
    writing.put(10, 70 + kb)
    assert written.to_tmpfs(1000.0, before) == found
    assert written.to_tmpfs(1000.0, before, [10]) == found
    assert written.to_tmpfs(1000.0, before, [11]) == {}


def test_the_four_largest_writers_are_looked_at(writing: Writing) -> None:
    written = WriteCounters(str(writing.proc))
    for pid in range(10, 16):
        writing.put(pid, 200 + pid, on_tmpfs=pid != 14)
    assert written.to_tmpfs(1000.0, {}) == {15: 215.0, 13: 213.0, 12: 212.0}
    assert written.to_tmpfs(1000.0, {15: 2 << 10}) == {15: 213.0, 13: 213.0, 12: 212.0}


def test_only_a_regular_file_of_a_tmpfs_among_the_first_counts(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = WriteCounters(str(writing.proc))
    writing.put(10, 500)
    assert written.to_tmpfs(1000.0, {}) == {10: 500.0}
    (writing.proc / "10/fd/3").unlink()
    (writing.proc / "10/fd/3").symlink_to(writing.proc)  # a directory
    assert written.to_tmpfs(1000.0, {}) == {}
    (writing.proc / "10/fd/5").symlink_to(writing.proc / "open")
    assert written.to_tmpfs(1000.0, {}) == {10: 500.0}
    monkeypatch.setattr("oomkit.guard.tmpfs.MAX_FILES", 0)
    assert written.to_tmpfs(1000.0, {}) == {}


def test_devices_of_tmpfs_are_those_that_a_process_sees(writing: Writing) -> None:
    directory = writing.proc / "10"
    directory.mkdir()
    (directory / "mountinfo").write_text(
        "24 1 0:45 / /tmp rw - tmpfs none rw\n25 1 0:46 / / rw shared:1 master:2 - tmpfs none rw\n"
        "26 1 8:1 / / rw - ext4 /dev/sda rw\n27 1 0:9 / /d rw - devtmpfs none rw\nbad\n"
    )
    kernel = kernel_device()
    assert kernel is not None
    written = WriteCounters(str(writing.proc))
    assert written.tmpfs_devices(10) == {kernel, os.makedev(0, 45), os.makedev(0, 46)}
    assert written.tmpfs_devices(11) == {kernel}


def group(cgroups: Path, path: str, shmem_kb: int, *pids: int) -> None:
    directory = cgroups / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.stat").write_text(f"anon 1\nshmem {shmem_kb << 10}\nfile 5\n")
    (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


class Grown:
    """A tmpfs that grew, as its cgroups and its writers show it."""

    def __init__(self, tmp_path: Path, writing: Writing, *, cgroups: bool = True) -> None:
        self.cgroups = tmp_path / "cg"
        self.cgroups.mkdir()
        self.writing = writing
        self.tmpfs = Tmpfs(
            Places(
                proc=str(writing.proc), cgroups=str(self.cgroups) if cgroups else "",
                cgroup_version=2,
            )
        )  # fmt: skip


@pytest.fixture
def grown(tmp_path: Path, writing: Writing) -> Grown:
    return Grown(tmp_path, writing)


def test_before_growth_is_counted_nobody_wrote_unless_it_holds_much(grown: Grown) -> None:
    assert grown.tmpfs.writers(100.0, 1000.0) == {}
    grown.writing.put(10, 4000)
    kb: dict[int, float] = {10: 900.0}
    grown.tmpfs = _holding(grown, kb)
    assert grown.tmpfs.writers(4999.0, 1000.0) == {}, "five steps are much"
    assert grown.tmpfs.writers(5000.0, 1000.0) == {}, "it holds less than one"
    kb[10] = 1000.0
    assert grown.tmpfs.writers(5000.0, 1000.0) == {10: 4000.0}
    sole = Candidate(12, 1, 1, "x", shmem_sole_kb=1.0)
    assert grown.tmpfs.writers(5000.0, 1000.0, [sole]) == {}


def _holding(grown: Grown, kb: dict[int, float]) -> Tmpfs:
    class Known(Tmpfs):
        def unnamed_kb(self, pid: int) -> float:
            return kb.get(pid, 0.0)

    return Known(Places(proc=str(grown.writing.proc), cgroups=str(grown.cgroups),
                        cgroup_version=2))  # fmt: skip


def test_less_than_a_step_is_no_growth(grown: Grown) -> None:
    grown.writing.put(10, 0)
    grown.tmpfs.note(100.0)
    grown.writing.put(10, 5000)
    assert grown.tmpfs.writers(1099.0, 1000.0) == {}
    assert grown.tmpfs.writers(1100.0, 1000.0) == {10: 1000.0}


def test_without_a_cgroup_that_shows_it_what_others_hold_is_left_out(grown: Grown) -> None:
    grown.writing.put(10, 0)
    grown.tmpfs.note(100.0)
    grown.writing.put(10, 5000)
    sole = Candidate(12, 1, 1, "x", shmem_sole_kb=400.0)
    assert grown.tmpfs.writers(1500.0, 1000.0, [sole]) == {10: 1000.0}
    assert grown.tmpfs.writers(1499.0, 1000.0, [sole]) == {}


def test_in_the_cgroup_that_grew_the_writers_share_it_or_all(grown: Grown) -> None:
    for pid in (10, 11):
        grown.writing.put(pid, 0)
    group(grown.cgroups, "app", 100, 10, 11)
    group(grown.cgroups, "idle", 9000, 12)
    grown.tmpfs.note(100.0)
    group(grown.cgroups, "app", 100 + 500, 10, 11)
    assert grown.tmpfs.writers(1100.0, 1000.0) == {10: 250.0, 11: 250.0}, "nobody is known to"
    grown.writing.put(11, 700)
    assert grown.tmpfs.writers(1100.0, 1000.0) == {11: 500.0}
    group(grown.cgroups, "app", 100 + 499, 10, 11)
    grown.writing.put(11, 0)
    assert grown.tmpfs.writers(1100.0, 1000.0) == {}, "less than half a step is no growth of it"


def test_what_processes_hold_themselves_is_no_growth_of_their_cgroup(grown: Grown) -> None:
    grown.writing.put(10, 0)
    group(grown.cgroups, "app", 0, 10)
    grown.tmpfs.note(0.0)
    group(grown.cgroups, "app", 900, 10)
    (grown.cgroups / "memory.stat").write_text(f"anon 1\nshmem {900 << 10}\n")
    sole = Candidate(12, 1, 1, "x", shmem_sole_kb=300.0, cgroup="/app")
    assert grown.tmpfs.writers(1000.0, 1000.0, [sole]) == {10: 600.0}
    elsewhere = Candidate(12, 1, 1, "x", shmem_sole_kb=300.0, cgroup="/")
    assert grown.tmpfs.writers(1000.0, 1000.0, [elsewhere]) == {10: 900.0}
    unknown = Candidate(12, 1, 1, "x", shmem_sole_kb=300.0)
    assert grown.tmpfs.writers(1000.0, 1000.0, [unknown]) == {10: 900.0}


def test_two_moments_are_known_so_that_a_new_one_hides_nothing(grown: Grown) -> None:
    grown.writing.put(10, 0)
    grown.tmpfs.note(0.0)
    grown.writing.put(10, 2000)
    grown.tmpfs.note(2000.0)
    assert grown.tmpfs.writers(2000.0, 1000.0) == {10: 2000.0}
    grown.tmpfs.note(2000.0)
    assert grown.tmpfs.writers(2000.0, 1000.0) == {}
    grown.tmpfs.forget()
    assert grown.tmpfs.held_kb() == {}
    assert grown.tmpfs.writers(3000.0, 1000.0) == {}


def test_long_time_holders_are_known_where_there_is_much(grown: Grown) -> None:
    for pid in range(10, 30):
        grown.writing.put(pid, 100 * pid)
    kb = {29: 700.0, 28: 99.0, 20: 100.0, 13: 5000.0}
    tmpfs = _holding(grown, kb)
    tmpfs.note(499.0, 100.0)
    assert tmpfs.held_kb() == {}
    tmpfs.note(500.0, 100.0)
    assert tmpfs.held_kb() == {29: 700.0, 20: 100.0}, "of the sixteen largest writers"
    kb[29] = 650.0
    assert tmpfs.held_kb()[29] == 650.0
    tmpfs.note(499.0, 100.0)
    assert tmpfs.held_kb() == {}
    tmpfs.note(500.0)
    assert tmpfs.held_kb() == {}, "nobody said what much is"


def test_what_a_process_holds_is_read_from_its_files(grown: Grown) -> None:
    process = grown.writing.proc / "10"
    grown.writing.put(10, 5)
    path = grown.writing.proc / "file"
    path.write_bytes(b"x" * 8192)
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    path.unlink()
    (process / "fd/8").symlink_to(f"/proc/self/fd/{fd}")
    assert grown.tmpfs.unnamed_kb(10) == os.fstat(fd).st_blocks // 2
    os.close(fd)


# Who shares memory


def kcmp(order: dict[int, int], asked: list[tuple[int, int]]) -> Callable[[int, int], int]:
    """Compares by made addresses of the memory, as the kernel does: 0 equal, 1 less, 2 greater."""

    def compare(one: int, other: int) -> int:
        asked.append((one, other))
        if one not in order or other not in order:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return 0 if order[one] == order[other] else 1 if order[one] < order[other] else 2

    return compare


def marked(*pids: int) -> list[Candidate]:
    return [Candidate(pid, 1, 1, "x", anon_kb=10.0) for pid in pids]


def ids(top: list[Candidate]) -> dict[int, int | None]:
    return {one.pid: one.mm_id for one in top}


def test_those_with_one_address_space_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    order = {10: 5, 11: 3, 12: 5, 13: 9, 14: 5}
    monkeypatch.setattr(shared_memory, "kcmp_memory", kcmp(order, asked))
    made = Sharers()
    top = marked(10, 11, 12, 13, 14)
    made.mark(top)
    found = ids(top)
    assert found[11] is None
    assert found[13] is None
    assert found[10] is not None
    assert found[10] == found[12] == found[14]
    assert made.compared == {10, 11, 12, 13, 14}
    # What was sorted is put in that order, and each is compared once with the next.
    asked.clear()
    made.mark(top)
    assert found == ids(top)
    order[15] = 1
    del order[11]
    top = [*marked(15), *[one for one in top if one.pid != 11]]
    made.mark(top)
    assert ids(top)[15] is None
    order[12] = order[14] = 77
    made.mark(top)
    assert ids(top)[12] == ids(top)[14] is not None
    assert ids(top)[10] is None, "it is not marked any more"


def test_in_the_order_of_before_one_comparison_for_each_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        shared_memory, "kcmp_memory", kcmp({pid: -pid for pid in range(10, 42)}, asked)
    )
    made = Sharers()
    made.mark(marked(*(10 + 7 * n % 32 for n in range(32))))
    assert len(asked) > 31
    asked.clear()
    made.mark(marked(*(10 + 5 * n % 32 for n in range(32))))
    assert len(asked) == 31


def test_who_has_no_memory_is_compared_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(shared_memory, "kcmp_memory", kcmp({10: 5, 11: 5, 12: 5, 13: 5}, asked))
    top = [
        Candidate(10, 1, 1, "x"), Candidate(11, 1, 1, "k", anon_kb=5.0, kthread=True),
        Candidate(12, 1, 1, "x", swap_kb=1.0), Candidate(13, 1, 1, "x", anon_kb=1.0),
    ]  # fmt: skip
    made = Sharers()
    made.mark(top)
    assert made.compared == {12, 13}
    found = ids(top)
    assert (found[10], found[11]) == (None, None)
    assert found[12] == found[13] is not None


def test_who_exits_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(shared_memory, "kcmp_memory", kcmp({10: 5, 12: 5}, asked))
    made = Sharers()
    top = marked(10, 11, 12)
    made.mark(top)
    assert made.compared == {10, 12}
    assert ids(top)[10] == ids(top)[12] is not None


def test_where_the_kernel_refuses_no_sharing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_one: int, _other: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(shared_memory, "kcmp_memory", refused)
    made, top = Sharers(), marked(10, 11)
    top[0].mm_id = 7
    made.mark(top)
    assert (made.compared, ids(top)) == (frozenset(), {10: None, 11: None})


def test_where_one_after_the_other_exits_each_pair_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An order can't be had while they go, so what is left is compared with each other."""
    tries: list[int] = []
    compare = kcmp({10: 5, 11: 6, 12: 5, 13: 5}, [])

    def unlucky(one: int, other: int) -> int:
        if one != other and len(tries) < 4:
            tries.append(one)
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return compare(one, other)

    monkeypatch.setattr(shared_memory, "kcmp_memory", unlucky)
    made, top = Sharers(), marked(10, 11, 12, 13)
    made.mark(top)
    assert len(tries) == 4
    assert made.compared == frozenset()
    assert ids(top) == {10: 10, 11: None, 12: 10, 13: 10}


def test_sharers_of_one_are_asked_for_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in (10, 11, 12, 13):
        Process(tmp_path, pid)
    leaderless = Process(tmp_path, 14, threads=2)
    leaderless.thread(15)
    leaderless.set(state="Z")
    stranger = Process(tmp_path, 16, threads=2)
    stranger.thread(17)
    stranger.set(state="Z")
    order = {10: 5, 11: 5, 12: 6, 14: 0, 15: 5, 16: 0, 17: 6}
    monkeypatch.setattr(shared_memory, "kcmp_memory", kcmp(order, []))
    assert sharers_of(10, [10, 11, 12, 13, 14, 16, 99], str(tmp_path)) == [11, 14]
    assert sharers_of(99, [10], str(tmp_path)) == []


def test_what_the_real_kernel_says_of_ourselves() -> None:
    pid = os.getpid()
    parent: Any = os.getppid()
    assert sharers_of(pid, [parent]) == []


def test_what_is_mapped_alone_is_remembered_while_about_as_much_is_mapped(tmp_path: Path) -> None:
    smaps = tmp_path / "smaps"
    head = "7f00-7f01 rw-s 00000000 00:01 7                 /dev/zero (deleted)\n"
    smaps.write_text(f"{head}Private_Dirty: 700 kB\n")
    sole, key = SoleMemory(), (10, 5)
    assert sole.known(key, 800.0, 1.0) is None
    assert sole.measure(key, str(tmp_path), 800.0, 1.0) == 700
    assert sole.known(key, 800.0, 11.0) == 700
    assert sole.known(key, 900.0, 11.0) == sole.known(key, 700.0, 1.0) == 700
    assert sole.known(key, 901.0, 2.0) is sole.known(key, 699.0, 2.0) is None, "over an eighth"
    assert sole.known(key, 800.0, 11.1) is None, "too long ago"
    assert sole.known(key, 800.0, 0.9) is None, "measured later than now: another clock"
    assert sole.known((10, 6), 800.0, 1.0) is None, "another process of that pid"
    sole.forget()
    assert sole.known(key, 800.0, 1.0) is None
