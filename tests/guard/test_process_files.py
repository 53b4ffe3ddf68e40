"""What the files of one process say, and what becomes of it while they are read."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oomkit.guard.config import Places
from oomkit.guard.identity import Wanted, exited, has_exited, program_of
from oomkit.guard.kernel_file import KernelFile, number_after
from oomkit.guard.process_files import ProcessFiles, living_thread, watched
from tests.guard.made import TICKS, Fds, Process

pytestmark = pytest.mark.hermetic

PID = 70
SIGKILL_BIT, SIGTERM_BIT = 1 << 8, 1 << 14
PF_EXITING, PF_KTHREAD = 0x4, 0x200000


def wanted(proc: Path, *fields: str, whole: bool = False) -> Wanted:
    places = Places(proc=str(proc), cgroups="/cgroups", cgroup_version=2)
    return Wanted(places, frozenset(fields), {1000: "me"}, whole=whole, root="")


def read(proc: Path, *fields: str, boot_s: float = 50.0) -> ProcessFiles:
    return ProcessFiles(PID, wanted(proc, *fields), boot_s)


def test_each_number_comes_from_its_place(tmp_path: Path) -> None:
    Process(
        tmp_path, PID, comm="a (b) c", ppid=33, utime=3 * TICKS, stime=TICKS // 2, start=10 * TICKS,
        anon=1000, file=200, shmem=300, pte=40, swap=5, adj=-17,
    )  # fmt: skip
    one = read(tmp_path).candidate
    assert (one.pid, one.tid, one.ppid, one.comm, one.start_time) == (
        PID, PID, 33, "a (b) c", 10 * TICKS,
    )  # fmt: skip
    assert (one.anon_kb, one.file_kb, one.shmem_kb, one.pgtables_kb, one.swap_kb) == (
        1000, 200, 300, 40, 5,
    )  # fmt: skip
    assert (one.cpu_s, one.age_s, one.uid, one.oom_score_adj) == (3.5, 40.0, 1000, -17)
    assert one.oom_score is None
    assert not one.dying
    assert not one.kthread
    assert one.init_of is None


def test_a_process_that_began_after_the_clock_was_read_is_no_younger_than_now(
    tmp_path: Path,
) -> None:
    Process(tmp_path, PID, start=51 * TICKS)
    assert read(tmp_path).candidate.age_s == 0.0


def test_the_kernels_score_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    process = Process(tmp_path, PID)
    (process.directory / "oom_score").write_text("667\n")
    one = read(tmp_path, "oom_score")
    assert one.candidate.oom_score == 667
    one.close()


@pytest.mark.parametrize(("status", "sizes"), [
    ("Name:\tx\nUid:\t5\n", (0, 0, 0, 0, 0)),
    ("Name:\tx\nRssAnon:\t7 kB\nRssFile:\t8 kB\n", (7, 8, 0, 0, 0)),
    ("Name:\tx\nVmSwap:\t9 kB\nVmPTE:\t6 kB\nRssShmem:\t5 kB\nRssAnon:\t4 kB\nRssFile:\t3 kB\n",
     (4, 3, 5, 6, 9)),
    # Between 4.5 and 4.6 a line on huge pages stood where the fast way would not look.
    (("Name:\tx\nRssAnon:\t1 kB\nRssFile:\t2 kB\nRssShmem:\t3 kB\nVmData:\t4 kB\nVmStk:\t5 kB\n"
     "VmExe:\t6 kB\nVmLib:\t7 kB\nHugetlb:\t9 kB\nVmPTE:\t8 kB\nVmSwap:\t10 kB\n"),
     (1, 2, 3, 8, 10)),
    (("Name:\tx\nRssAnon:\t1 kB\nRssFile:\t2 kB\nMore:\t9 kB\nVmData:\t4 kB\nVmStk:\t5 kB\n"
     "VmExe:\t6 kB\nVmLib:\t7 kB\nVmPTE:\t8 kB\nVmSwap:\t10 kB\nRssShmem:\t3 kB\n"),
     (1, 2, 3, 8, 10)),
])  # fmt: skip
def test_sizes_are_found_in_whatever_order_they_stand(
    tmp_path: Path, status: str, sizes: tuple[int, ...]
) -> None:
    process = Process(tmp_path, PID)
    (process.directory / "status").write_text(status)
    one = read(tmp_path).candidate
    assert (one.anon_kb, one.file_kb, one.shmem_kb, one.pgtables_kb, one.swap_kb) == sizes


@pytest.mark.parametrize(("fields", "dying"), [
    ({"pending": SIGKILL_BIT}, True),
    ({"shared_pending": SIGKILL_BIT}, True),
    ({"pending": SIGTERM_BIT}, False),
    ({"shared_pending": SIGTERM_BIT | SIGKILL_BIT}, True),
    ({"pending": 1 << 7}, False),  # SIGFPE, one bit beside
    ({"pending": 1 << 9}, False),  # SIGUSR1
    ({"flags": PF_EXITING}, True),
    ({"flags": PF_EXITING, "threads": 2}, False),  # a thread leaves, the others stay
    ({"flags": PF_EXITING, "threads": 0}, True),
    ({"state": "Z"}, True),
    ({"flags": 0x400100}, False),
])  # fmt: skip
def test_what_counts_as_dying(tmp_path: Path, fields: dict[str, int], dying: bool) -> None:
    Process(tmp_path, PID, **fields)
    assert read(tmp_path).candidate.dying is dying


def test_a_status_without_signals_shows_none(tmp_path: Path) -> None:
    process = Process(tmp_path, PID)
    (process.directory / "status").write_text("Name:\tx\n")
    assert not read(tmp_path).candidate.dying
    (process.directory / "status").write_text(f"Name:\tx\nShdPnd:\t{SIGKILL_BIT:016x}\n")
    assert read(tmp_path).candidate.dying


def test_a_kernel_thread_is_known_by_its_flag(tmp_path: Path) -> None:
    Process(tmp_path, PID, flags=PF_KTHREAD | 0x8040, cgroup="")
    one = read(tmp_path, "cmdline").candidate
    assert one.kthread
    assert one.unknown == (), "what it lacks is no secret"


def test_an_init_of_another_pid_namespace_is_known(tmp_path: Path) -> None:
    process = Process(tmp_path, PID, numbers="NStgid:\t70\t1\n")
    one = read(tmp_path).candidate
    assert one.init_of == os.stat("/proc/self/ns/pid").st_ino
    process.set(numbers="NStgid:\t70\t2\n")
    assert read(tmp_path).candidate.init_of is None
    process.set(numbers="NStgid:\t1\n")
    assert read(tmp_path).candidate.init_of is None


def test_an_init_whose_namespace_cant_be_read_stands_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Process(tmp_path, PID, numbers="NStgid:\t70\t1\n")
    stat = os.stat

    def refused(path: str, **rest: bool) -> os.stat_result:
        if str(path).endswith("ns/pid"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **rest)

    monkeypatch.setattr(os, "stat", refused)
    assert read(tmp_path).candidate.init_of == -PID


def test_files_stay_open_and_are_read_again(tmp_path: Path) -> None:
    process = Process(tmp_path, PID, anon=1000)
    one = read(tmp_path)
    opened = one.is_open
    process.set(anon=3000)
    assert one.look(wanted(tmp_path), 50.0).anon_kb == 3000
    assert one.candidate.anon_kb == 3000
    one.close()
    assert (opened, one.is_open) == (True, False)
    one.close()


@pytest.mark.parametrize("missing", ["stat", "status", "oom_score_adj"])
def test_a_file_that_is_gone_leaves_none_open(tmp_path: Path, missing: str) -> None:
    process = Process(tmp_path, PID)
    (process.directory / missing).unlink()
    before = Fds()
    with pytest.raises(FileNotFoundError):
        read(tmp_path)
    assert Fds().since(before) == 0


def test_what_it_is_is_looked_up_again_only_after_an_exec(tmp_path: Path) -> None:
    """Where code and stack begin moves with each one; a name can be set without."""
    process = Process(tmp_path, PID)
    (process.directory / "cmdline").write_bytes(b"old\0")
    one = read(tmp_path, "cmdline")
    assert one.candidate.cmdline == "old"
    (process.directory / "cmdline").write_bytes(b"new\0")
    for fields, cmdline in (
        ({"anon": 5}, "old"),
        ({"code": 12288}, "new"),
        ({"anon": 6}, "new"),
    ):
        process.set(**fields)
        assert one.look(wanted(tmp_path, "cmdline"), 50.0).cmdline == cmdline
    (process.directory / "cmdline").write_bytes(b"third\0")
    process.set(stack=16384)
    assert one.look(wanted(tmp_path, "cmdline"), 50.0).cmdline == "third"
    (process.directory / "cmdline").write_bytes(b"fourth\0")
    process.set(comm="other")
    assert one.look(wanted(tmp_path, "cmdline"), 50.0).cmdline == "fourth"
    one.close()


def test_identify_reads_again_what_nothing_announces(tmp_path: Path) -> None:
    process = Process(tmp_path, PID)
    (process.directory / "cmdline").write_bytes(b"old\0")
    one = read(tmp_path, "cmdline")
    (process.directory / "cmdline").write_bytes(b"new\0")
    process.set(cgroup="0::/system.slice/ssh.service\n")
    one.identify(wanted(tmp_path, "cmdline"))
    found = one.candidate
    assert (found.cmdline, found.cgroup, found.unit) == (
        "new", "/system.slice/ssh.service", "ssh.service",
    )  # fmt: skip
    process.set(cgroup="0::/user.slice/app.scope\n")
    one.identify(wanted(tmp_path, "cmdline"))
    assert found.unit == "app.scope"
    one.close()


@pytest.mark.parametrize(("error", "known"), [(errno.ESRCH, None), (errno.ENAMETOOLONG, False)])
def test_a_cgroup_that_cant_be_read_again_is_unknown_and_a_process_that_is_gone_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, known: bool | None
) -> None:
    process = Process(tmp_path, PID)
    one = read(tmp_path)
    one.identify(wanted(tmp_path))
    pread = os.pread

    def fails(fd: int, size: int, at: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") == f"{process.directory}/cgroup":
            raise OSError(error, os.strerror(error))
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", fails)
    if known is None:
        with pytest.raises(ProcessLookupError):
            one.identify(wanted(tmp_path))
    else:
        one.identify(wanted(tmp_path))
        assert one.candidate.cgroup is None
        assert one.candidate.unknown == ("cgroup", "unit", "container")
    one.close()


def test_a_closed_one_is_identified_by_its_path(tmp_path: Path) -> None:
    process = Process(tmp_path, PID)
    one = read(tmp_path)
    one.close()
    process.set(cgroup="0::/x.service\n")
    one.identify(wanted(tmp_path))
    assert one.candidate.unit == "x.service"
    assert not one.is_open


def test_the_memory_of_a_leaderless_process_is_that_of_a_living_thread(tmp_path: Path) -> None:
    process = Process(tmp_path, PID, anon=900)
    process.thread(PID, state="Z")
    process.thread(71, state="X")
    process.thread(72, comm="worker", anon=900)
    process.set(state="Z", threads=3, anon=0)
    one = read(tmp_path)
    assert (one.candidate.anon_kb, one.candidate.tid, one.candidate.pid) == (900, 72, PID)
    assert not one.candidate.dying
    process.thread(72, anon=950)
    assert one.look(wanted(tmp_path), 50.0).anon_kb == 950
    assert one.candidate.tid == 72
    one.close()


def test_a_thread_that_has_exited_too_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(tmp_path, PID, anon=900)
    process.thread(72)
    process.set(state="Z", threads=3)
    one = read(tmp_path)
    assert one.candidate.tid == 72
    process.thread(72, state="X")
    process.thread(73, state="S", anon=800)
    pread = os.pread

    def fails(fd: int, size: int, at: int) -> bytes:
        if "/task/72/status" in os.readlink(f"/proc/self/fd/{fd}"):
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", fails)
    assert one.look(wanted(tmp_path), 50.0).anon_kb == 800
    assert one.candidate.tid == 73
    one.close()


def test_a_living_thread_is_looked_for_from_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where threads come and go the last one stays longest."""
    process = Process(tmp_path, PID, state="Z", threads=3)
    for tid in (71, 72, 73):
        process.thread(tid, state="S")
    monkeypatch.setattr(os, "listdir", lambda _path: ["71", "72", "73"])
    directory = str(process.directory)
    assert living_thread(directory) == f"{directory}/task/73"
    process.thread(73, state="Z")
    assert living_thread(directory) == f"{directory}/task/72"
    for tid in (71, 72):
        process.thread(tid, state="X")
    assert living_thread(directory) == directory
    with pytest.raises(ProcessLookupError):
        living_thread(directory, strict=True)
    process.set(state="S")
    assert living_thread(directory, strict=True) == directory
    process.set(state="Z", threads=1)
    with pytest.raises(ProcessLookupError):
        living_thread(directory, strict=True)


def test_what_is_gone_has_no_living_thread_and_want_of_files_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(tmp_path / "none")
    assert living_thread(directory) == directory
    with pytest.raises(ProcessLookupError):
        living_thread(directory, strict=True)
    (tmp_path / "none").mkdir()
    (tmp_path / "none/stat").write_text("70 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
    with pytest.raises(ProcessLookupError):
        living_thread(directory, strict=True)

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENFILE, "Too many open files in system")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="Too many open files"):
        living_thread(directory)
    with pytest.raises(OSError, match="Too many open files"):
        has_exited(directory)


@pytest.mark.parametrize(("stat", "is_it"), [
    (b"7 (x) Z 1 2", True), (b"7 (x) X 1 2", True), (b"7 (x) S 1 2", False), (b"", True),
    (b"7 (a) Z) R 1", False), (b"7 (x)", True), (b"7 (x) x 1", False),
])  # fmt: skip
def test_a_thread_has_exited_by_its_state(stat: bytes, is_it: bool) -> None:
    assert exited(stat) is is_it


def test_a_thread_without_files_has_exited(tmp_path: Path) -> None:
    assert has_exited(str(tmp_path / "no"))


def test_a_leader_that_exits_while_it_is_looked_at_before_a_signal_is_gone(tmp_path: Path) -> None:
    """Otherwise what it shows by then would be taken for the process's."""
    process = Process(tmp_path, PID)
    (process.directory / "cmdline").write_bytes(b"x\0")
    whole = wanted(tmp_path, "cmdline", whole=True)
    process.set(state="Z", threads=1)
    with pytest.raises(ProcessLookupError):
        ProcessFiles(PID, whole, 50.0)
    assert ProcessFiles(PID, wanted(tmp_path), 50.0).candidate.dying


class Flickering:
    """``os.open`` that fails for a time, as where threads come and go."""

    def __init__(self, times: int, then: Callable[..., int]) -> None:
        self.left = times
        self.then = then
        self.tried = 0

    def __call__(self, path: str, flags: int, *rest: int, **named: int) -> int:
        if str(path).endswith("/status"):
            self.tried += 1
            if self.left:
                self.left -= 1
                raise ProcessLookupError(errno.ESRCH, "No such process")
        return self.then(path, flags, *rest, **named)


@pytest.mark.parametrize("times", [0, 49])
def test_a_process_whose_threads_come_and_go_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    Process(tmp_path, PID, anon=5)
    flickering = Flickering(times, os.open)
    monkeypatch.setattr(os, "open", flickering)
    one = watched(PID, wanted(tmp_path), 50.0)
    assert one.candidate.anon_kb == 5
    one.close()


def test_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(tmp_path, PID)
    flickering = Flickering(50, os.open)
    monkeypatch.setattr(os, "open", flickering)
    with pytest.raises(OSError, match="its threads come and go") as caught:
        watched(PID, wanted(tmp_path), 50.0)
    assert caught.value.errno == errno.EAGAIN
    flickering.left = 1000
    flickering.tried = 0
    process.remove()
    with pytest.raises(FileNotFoundError):
        watched(PID, wanted(tmp_path), 50.0)
    assert flickering.tried == 0, "what is gone is not tried again"


@pytest.mark.parametrize(("target", "path", "is_known"), [
    ("/usr/bin/prog", "/usr/bin/prog", True),
    ("/usr/bin/prog (deleted)", "/usr/bin/prog", True),
    ("/usr/bin/a (deleted) b", "/usr/bin/a (deleted) b", True),
])  # fmt: skip
def test_the_program_is_that_of_its_link(
    tmp_path: Path, target: str, path: str, is_known: bool
) -> None:
    (tmp_path / "exe").symlink_to(target)
    assert program_of(str(tmp_path)) == (path, is_known)


@pytest.mark.parametrize(("error", "is_known"), [
    (errno.ENOENT, True), (errno.ESRCH, True), (errno.EACCES, False), (errno.EPERM, False),
])  # fmt: skip
def test_a_program_that_is_not_there_is_known_one_that_is_hidden_is_not(
    monkeypatch: pytest.MonkeyPatch, error: int, is_known: bool
) -> None:
    def fails(_path: str) -> str:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "readlink", fails)
    assert program_of("/x") == (None, is_known)


@pytest.mark.parametrize(("data", "number"), [
    (b"\nA: 5 kB\n", 5), (b"\nA:\t  17\n", 17), (b"\nA:x\n", None), (b"\nA:", None),
    (b"\nB: 5\n", None), (b"\nA: -5\n", None), (b"\nA: 7", 7), (b"A: 7", None),
    (b"\nA:" + b" " * 39 + b"7", 7), (b"\nA:" + b" " * 40 + b"7", None),
])  # fmt: skip
def test_the_number_behind_a_key(data: bytes, number: int | None) -> None:
    assert number_after(data, b"\nA:") == number


class TestKernelFile:
    def test_what_is_there_is_read_again_and_again(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("one")
        file = KernelFile(str(path))
        assert file.fd >= 0
        assert file.read() == b"one"
        path.write_text("another")
        assert file.read(3) == b"another", "all of it, however long"
        assert file.read(3, pieces=True) == b"another"
        file.close()
        assert file.fd == -1
        assert file.read() is None
        file.reopen()
        assert file.read() == b"another"
        file.close()

    def test_what_is_not_there_may_come(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        file = KernelFile(str(path))
        assert (file.fd, file.read()) == (-1, None)
        path.write_text("one")
        assert file.read() is None
        file.reopen()
        fd = file.fd
        assert file.read() == b"one"
        file.reopen()
        assert file.fd == fd, "what is open stays open"
        file.close()

    def test_one_that_cant_be_read_any_more_is_closed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "file"
        path.write_text("one")
        file = KernelFile(str(path))

        def fails(_fd: int, _size: int, _at: int) -> bytes:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        with monkeypatch.context() as broken:
            broken.setattr(os, "pread", fails)
            assert file.read() is None
            assert file.fd == -1
        file.reopen()
        assert file.read() == b"one"
        file.close()

    @pytest.mark.parametrize("replaced", [False, True])
    def test_one_that_is_replaced_is_followed_where_that_may_be(
        self, tmp_path: Path, replaced: bool
    ) -> None:
        path, other = tmp_path / "file", tmp_path / "other"
        path.write_text("one")
        file = KernelFile(str(path), replaced=replaced)
        fd = file.fd
        assert file.read() == b"one"
        assert file.fd == fd, "it is the same file"
        other.write_text("two")
        other.replace(path)
        assert file.read() == (b"two" if replaced else b"one")
        path.unlink()
        assert file.read() == (b"two" if replaced else b"one"), "kept while there is nothing else"
        file.close()
        path.write_text("three")
        assert file.read() == (b"three" if replaced else None)
        file.close()

    def test_a_fifo_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        file = KernelFile(str(tmp_path / "fifo"))
        assert file.read() in (b"", None)
        file.close()


def test_what_was_moved_is_looked_at_again_and_what_was_not_is_not(tmp_path: Path) -> None:
    process = Process(tmp_path, PID, cgroup="0::/a\n")
    (process.directory / "cmdline").write_bytes(b"first\0")
    known = wanted(tmp_path, "cmdline")
    one = ProcessFiles(PID, known, 50.0)
    for cgroup, written, cmdline in (
        ("/a", b"second\0", "second"),  # its cgroup was not kept open before
        ("/a", b"third\0", "second"),
        ("/b", b"fourth\0", "fourth"),
        ("/a", b"fifth\0", "fifth"),  # which is known, but is not where it was
        ("/a", b"sixth\0", "fifth"),
    ):
        process.set(cgroup=f"0::{cgroup}\n")
        (process.directory / "cmdline").write_bytes(written)
        one.follow(known)
        assert (one.candidate.cgroup, one.candidate.cmdline) == (cgroup, cmdline)
    one.close()


def test_after_a_look_with_nothing_remembered_it_is_as_it_was_known(tmp_path: Path) -> None:
    process = Process(tmp_path, PID)
    (process.directory / "cmdline").write_bytes(b"old\0")
    known = wanted(tmp_path, "cmdline")
    one = ProcessFiles(PID, known, 50.0)
    (process.directory / "cmdline").write_bytes(b"new\0")
    fresh = [one.is_fresh]
    assert one.afresh(known, 50.0).cmdline == "new"
    fresh.append(one.is_fresh)
    assert one.look(known, 50.0).cmdline == "old"
    assert [*fresh, one.is_fresh] == [True, False, False]
    one.close()
