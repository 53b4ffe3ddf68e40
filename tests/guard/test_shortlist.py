"""The short list: who is on it, what is remembered, and what it does without files."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oomkit.guard.config import Places
from oomkit.guard.identity import Wanted
from oomkit.guard.shortlist import Shortlist
from oomkit.policy.engine.candidate import Growth
from oomkit.policy.engine.reading import Reading
from tests.guard.made import Fds, Process

pytestmark = pytest.mark.hermetic

TOTAL_KB = 1 << 20


def reading(t_s: float, anon_kb: float, swap_used_kb: float = 0.0) -> Reading:
    return Reading(t_s, TOTAL_KB, 1 << 19, 1 << 18, (1 << 18) - swap_used_kb, anon_kb)


class Proc:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: dict[int, Process] = {}

    def put(self, pid: int, anon: int, **fields: object) -> Process:
        made = self.processes[pid] = Process(
            self.directory, pid, anon=anon, **{"start": pid, **fields}
        )
        return made

    def shortlist(self, kept: int = 3, *fields: str, by_cgroup: bool = False) -> Shortlist:
        places = Places(proc=str(self.directory), cgroups="/c", cgroup_version=2)
        wanted = Wanted(places, frozenset(fields), {}, by_cgroup=by_cgroup, root="")
        return Shortlist(wanted, listed=kept)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def pids(warm: Shortlist) -> list[int]:
    return [one.pid for one in warm.top]


def test_it_is_cold_until_it_looks_and_after_it_forgot(proc: Proc) -> None:
    proc.put(10, 5000)
    warm = proc.shortlist()
    assert warm.is_cold
    assert warm.t_s == -1e9
    warm.forget()
    warm.look(reading(1.0, 5000), Growth(1.0))
    cold = warm.is_cold
    assert (cold, warm.t_s, pids(warm)) == (False, 1.0, [10])
    warm.forget()
    cold = warm.is_cold
    assert (cold, pids(warm), warm.holding(0)) == (True, [], [])
    warm.close()


def test_only_the_largest_are_on_it_and_all_are_known(proc: Proc) -> None:
    for pid, anon in ((10, 5000), (11, 7000), (12, 6000), (13, 4000)):
        proc.put(pid, anon)
    warm = proc.shortlist(2)
    warm.look(reading(1.0, 22_000), Growth(1.0))
    assert pids(warm) == [11, 12]
    assert sorted(warm.holding(5000)) == [10, 11, 12]
    assert sorted(warm.holding(5001)) == [11, 12]
    assert warm.larger_than(5000, 9) == [11, 12, 10]
    assert warm.larger_than(5000, 2) == [11, 12]
    warm.close()


def test_of_the_largest_the_files_stay_open_of_the_others_none(proc: Proc) -> None:
    before = Fds()
    for pid in range(10, 20):
        proc.put(pid, 1000 * pid)
    warm = proc.shortlist(3)
    warm.look(reading(1.0, 145_000), Growth(1.0))
    assert Fds().since(before) == 1 + 3 * 3
    proc.processes[10].set(anon=90_000)
    warm.look(reading(3.5, 225_000), Growth(1.0))
    assert pids(warm) == [10, 19, 18]
    assert Fds().since(before) == 1 + 3 * 3, "those of who left it are closed"
    warm.drop(10)
    assert Fds().since(before) == 1 + 2 * 3
    warm.drop(999)
    warm.close()
    assert Fds().since(before) == 0


def test_without_leave_to_keep_them_no_files_stay_open(proc: Proc) -> None:
    before = Fds()
    for pid in range(10, 15):
        proc.put(pid, 1000 * pid)
    warm = proc.shortlist(3)
    warm.look(reading(1.0, 60_000), Growth(1.0), keep=False)
    assert pids(warm) == [14, 13, 12]
    assert Fds().since(before) == 1
    proc.processes[14].set(anon=20_000)
    warm.look(reading(4.0, 66_000), Growth(1.0), keep=False)
    assert warm.top[0].anon_kb == 20_000
    warm.look(reading(7.0, 66_000), Growth(1.0))
    assert Fds().since(before) == 1 + 3 * 3
    warm.look(reading(9.0, 66_000), Growth(1.0), keep=False)
    assert Fds().since(before) == 1 + 3 * 3, "what is open is read as before"
    assert not warm.short_of_files
    warm.close()


def test_who_is_dropped_is_read_anew_and_is_another_process(proc: Proc) -> None:
    proc.put(10, 5000)
    warm, growth = proc.shortlist(), Growth(1.0)
    warm.look(reading(1.0, 5000), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    proc.processes[10].remove()
    proc.put(10, 6000, start=99)
    warm.look(reading(4.0, 6000), growth)
    assert [one.start_time for one in warm.top] == [10], "files of one that is gone stay readable"
    warm.drop(10)
    warm.look(reading(7.0, 6000), growth)
    assert [(one.start_time, one.anon_kb) for one in warm.top] == [(99, 6000.0)]
    warm.close()


class Gone:
    """Files of a process read as those of one that has exited, until it is opened again."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pread = os.pread
        self.lost = {
            int(fd) for fd in os.listdir("/proc/self/fd")
            if _link(fd).startswith(f"{pid}/") or f"/{pid}/" in _link(fd)
        }  # fmt: skip

    def __call__(self, fd: int, size: int, at: int) -> bytes:
        if fd in self.lost and f"/{self.pid}/" in _link(str(fd)):
            self.lost.discard(fd)
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return self.pread(fd, size, at)


def _link(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


@pytest.mark.parametrize(("start", "growth_kb"), [(10, 1500.0), (77, 6500.0)])
def test_files_that_read_as_gone_are_opened_anew(
    proc: Proc, monkeypatch: pytest.MonkeyPatch, start: int, growth_kb: float
) -> None:
    """A thread of it has exited, or the number is another process's, which grew from nothing."""
    proc.put(10, 5000)
    warm, growth = proc.shortlist(), Growth(1.0)
    warm.look(reading(1.0, 5000), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    proc.processes[10].set(anon=6500, start=start)
    monkeypatch.setattr(os, "pread", Gone(10))
    before = Fds()
    warm.look(reading(4.0, 6500), growth)
    (one,) = warm.top
    assert (one.start_time, one.growth_kb, Fds().since(before)) == (start, growth_kb, 0)
    warm.close()


def test_who_has_exited_is_forgotten(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.put(10, 5000)
    proc.put(11, 4000)
    warm = proc.shortlist()
    warm.look(reading(1.0, 9000), Growth(1.0))
    proc.processes[10].directory.joinpath("status").unlink()
    monkeypatch.setattr(os, "pread", Gone(10))
    before = Fds()
    warm.look(reading(4.0, 4000), Growth(1.0))
    assert (pids(warm), warm.holding(0)) == ([11], [11])
    assert before.since(Fds()) >= 3
    warm.close()


def test_who_entered_the_list_has_grown_from_what_it_held_before(proc: Proc) -> None:
    for pid, anon in ((10, 5000), (11, 400), (12, 4000), (13, 3000)):
        proc.put(pid, anon)
    warm, growth = proc.shortlist(2), Growth(1.0)
    warm.look(reading(1.0, 12_400), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    proc.processes[11].set(anon=50_000)
    proc.put(20, 60_000)
    warm.look(reading(3.1, 122_400), growth)
    assert [(one.pid, one.growth_kb) for one in warm.top] == [(20, 60_000.0), (11, 49_600.0)]
    warm.close()


def test_two_moments_are_noted(proc: Proc) -> None:
    proc.put(10, 5000, pte=7)
    proc.put(11, 100)
    warm, growth = proc.shortlist(1), Growth(1.0)
    warm.look(reading(1.0, 5100), growth)
    assert warm.note(1.0) == {(10, 10): 5007.0}
    for t_s in (2.0, 3.0):
        growth.note(t_s, 0.0, warm.note(t_s))
    proc.processes[11].set(anon=9000)
    warm.look(reading(5.5, 14_000), growth)
    assert [(one.pid, one.growth_kb) for one in warm.top] == [(11, 8900.0)]
    warm.close()


def crowd(proc: Proc, count: int) -> Iterator[Process]:
    for pid in range(10, 10 + count):
        yield proc.put(pid, 3000)


@pytest.mark.parametrize(("grown_kb", "seen"), [
    (TOTAL_KB // 64, False),  # no more than a 64th of memory
    (TOTAL_KB // 64 + 40, True),
])  # fmt: skip
def test_what_the_largest_do_not_explain_has_all_read(
    proc: Proc, grown_kb: int, seen: bool
) -> None:
    """Of 200, 32 are read in turn at this look: not surely the one that grew."""
    small = list(crowd(proc, 200))
    proc.put(999, 40_000)
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 640_000), Growth(1.0))
    for process in small:
        process.set(anon=35_000)
    warm.look(reading(1.0, 640_000 + grown_kb), Growth(1.0))
    known = len({*warm.holding(35_000)} - {999})
    assert known == 200 if seen else known <= 32
    warm.close()


def test_a_quarter_of_the_largest_may_hide(proc: Proc) -> None:
    small = list(crowd(proc, 200))
    proc.put(999, 400_000)
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 1_000_000), Growth(1.0))
    for process in small:
        process.set(anon=60_000)
    warm.look(reading(1.0, 1_100_000), Growth(1.0))
    assert len({*warm.holding(60_000)} - {999}) <= 32
    warm.look(reading(1.0, 1_100_001), Growth(1.0))
    assert len({*warm.holding(60_000)} - {999}) == 200
    warm.close()


def test_swap_counts_as_held_and_what_went_down_counts_from_there(proc: Proc) -> None:
    small = list(crowd(proc, 200))
    proc.put(999, 40_000)
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 640_000), Growth(1.0))
    warm.look(reading(1.0, 600_000), Growth(1.0))  # others hold 40,000 less
    for process in small:
        process.set(anon=35_000)
    warm.look(reading(1.0, 600_000, 16_384), Growth(1.0))
    assert len({*warm.holding(35_000)} - {999}) <= 32
    warm.look(reading(1.0, 600_000, 16_385), Growth(1.0))
    assert len({*warm.holding(35_000)} - {999}) == 200
    warm.close()


def test_others_are_read_for_once(proc: Proc) -> None:
    for pid, anon in ((10, 5000), (11, 300), (12, 200), (13, 100)):
        proc.put(pid, anon)
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 5600), Growth(1.0))
    before = Fds()
    found = warm.also([10, 11, 99, 11, 12, 13], most=2)
    assert [one.pid for one in found] == [11, 12]
    assert warm.also([11], most=0) == []
    (proc.directory / "13/stat").write_text("nonsense")
    assert warm.also([13], most=9) == []
    assert Fds().since(before) == 0
    assert pids(warm) == [10]
    warm.close()


def test_what_patterns_are_about_is_read_again_where_it_may_change(proc: Proc) -> None:
    process = proc.put(10, 5000)
    for by_cgroup in (False, True):
        process.set(cgroup="0::/old\n")
        warm = proc.shortlist(3, by_cgroup=by_cgroup)
        warm.look(reading(1.0, 5000), Growth(1.0))
        process.set(cgroup="0::/new\n")
        warm.identify()
        assert warm.top[0].cgroup == ("/new" if by_cgroup else "/old")
        warm.close()


def test_who_is_gone_when_it_is_looked_at_again_is_left_as_it_was(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.put(10, 5000)
    other = proc.put(11, 4000)
    warm = proc.shortlist(3, by_cgroup=True)
    warm.look(reading(1.0, 9000), Growth(1.0))
    proc.processes[10].directory.joinpath("cgroup").unlink()
    other.set(cgroup="0::/new\n")
    warm.identify()
    assert [one.cgroup for one in warm.top] == ["/user.slice/app.scope", "/new"]
    warm.drop(10)
    warm.identify()
    warm.close()


# Shared memory of one process alone

SMAPS = """7f00-7f01 rw-s 00000000 00:01 7                 /dev/zero (deleted)
Private_Dirty: {:8} kB
"""
SHARE_KB = TOTAL_KB // 64


def sharing(proc: Proc, pid: int, anon: int, shmem: int, sole: int, **fields: object) -> Process:
    process = proc.put(pid, anon, shmem=shmem, **fields)
    (process.directory / "smaps").write_text(SMAPS.format(sole))
    return process


def test_shared_memory_of_a_process_alone_is_its_own(proc: Proc) -> None:
    sharing(proc, 10, 5000, SHARE_KB, 9000)
    sharing(proc, 11, 100, SHARE_KB + 4, 20_000)  # small, but for what it shares
    sharing(proc, 12, 4000, SHARE_KB - 4, 9000)  # less than a 64th of memory
    sharing(proc, 13, 100, 0, 9000, file=SHARE_KB)  # files, which it maps, are not asked for
    sharing(proc, 14, 90, SHARE_KB, 0)
    warm = proc.shortlist(2)
    warm.look(reading(1.0, 9200), Growth(1.0))
    assert pids(warm) == [10, 12]
    holders = warm.add_holders()
    assert sorted(one.pid for one in holders) == [10, 11]
    assert {one.pid: one.shmem_sole_kb for one in warm.top} == {
        10: 9000.0, 12: 0.0, 11: SHARE_KB + 4.0, 14: 0.0,
    }  # fmt: skip
    assert {one.pid: one.growth_kb for one in holders} == {10: 9000.0, 11: SHARE_KB + 4.0}
    warm.close()


def test_what_is_measured_beforehand_is_not_measured_when_a_choice_is_due(proc: Proc) -> None:
    process = sharing(proc, 10, 5000, SHARE_KB, 9000)
    other = sharing(proc, 11, 100, SHARE_KB, 5000)  # small, but for what it shares
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 5100), Growth(1.0))
    warm.measure_holders()
    assert [(one.pid, one.shmem_sole_kb) for one in warm.top] == [(10, 0.0)], "no choice is due"
    for one in (process, other):
        (one.directory / "smaps").unlink()
    warm.look(reading(2.0, 5100), Growth(1.0))
    assert {one.pid: one.shmem_sole_kb for one in warm.add_holders()} == {10: 9000.0, 11: 5000.0}
    warm.forget()
    warm.look(reading(3.0, 5100), Growth(1.0))
    assert warm.add_holders() == [], "a shortage later it is measured again"
    warm.close()


def test_no_more_is_its_own_than_it_maps_and_has_in_swap(proc: Proc) -> None:
    sharing(proc, 10, 5000, SHARE_KB, 90_000, swap=500)
    warm = proc.shortlist()
    warm.look(reading(1.0, 5000, 500), Growth(1.0))
    (one,) = warm.add_holders()
    assert one.shmem_sole_kb == SHARE_KB + 500.0
    warm.close()


def test_of_the_holders_the_largest_are_asked_and_of_those_four_are_read(proc: Proc) -> None:
    for pid in range(10, 30):
        # Three of the sixteen largest map files alone.
        only_files = pid in (29, 27, 25)
        sharing(
            proc, pid, 1000, 0 if only_files else SHARE_KB + 4 * pid, 5000,
            file=SHARE_KB + 4 * pid if only_files else 0,
        )  # fmt: skip
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 20_000), Growth(1.0))
    assert [one.pid for one in warm.add_holders()] == [28, 26, 24, 23]
    for pid in (28, 26, 24, 23, *range(14, 23)):
        proc.processes[pid].set(shmem=0, file=SHARE_KB + 4 * pid)
    warm.look(reading(4.0, 20_000), Growth(1.0))
    assert warm.add_holders() == [], "13 to 10 are not among the sixteen"
    proc.processes[14].set(shmem=SHARE_KB + 56, file=0)
    warm.look(reading(7.0, 20_000), Growth(1.0))
    assert [one.pid for one in warm.add_holders()] == [14]
    warm.close()


@pytest.mark.parametrize(("age_s", "sole_kb", "growth_kb"), [
    (1000.0, 9000, 2000.0), (1.0, 9000, 9000.0), (1.0, 90_000, SHARE_KB + 2000.0),
])  # fmt: skip
def test_shared_memory_has_grown_since_it_was_noted_or_the_process_began(
    proc: Proc, monkeypatch: pytest.MonkeyPatch, age_s: float, sole_kb: int, growth_kb: float
) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr("time.clock_gettime", lambda _clock: 2000.0)
    process = sharing(
        proc, 10, 5000, SHARE_KB, sole_kb, swap=500, start=int((2000.0 - age_s) * ticks)
    )  # fmt: skip
    warm, growth = proc.shortlist(), Growth(1.0)
    warm.look(reading(1.0, 5000), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    process.set(shmem=SHARE_KB + 2000)
    warm.look(reading(4.0, 5000), growth)
    (one,) = warm.add_holders()
    assert one.growth_kb == growth_kb
    warm.close()


def test_a_holder_that_exits_meanwhile_is_left_out(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing(proc, 10, 5000, 0, 0)
    sharing(proc, 11, 100, SHARE_KB + 4, 700)
    sharing(proc, 12, 100, SHARE_KB, 700)
    warm = proc.shortlist(1)
    warm.look(reading(1.0, 5200), Growth(1.0))
    (proc.directory / "11/oom_score_adj").unlink()
    assert [one.pid for one in warm.add_holders()] == [12]
    assert pids(warm) == [10, 12]
    warm.close()


# Want of files


class Scarce:
    """``os.open`` that fails for some paths, some times, as where too many files are open."""

    def __init__(self, times: int, what: Callable[[str], bool]) -> None:
        self.left = times
        self.what = what
        self.open = os.open

    def __call__(self, path: str, *rest: int, **named: int) -> int:
        if self.left and self.what(str(path)):
            self.left -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.open(path, *rest, **named)


def test_without_room_for_one_more_others_are_closed(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Fds()
    for pid in range(10, 15):
        proc.put(pid, 1000 * pid)
    warm = proc.shortlist(4)
    warm.look(reading(1.0, 60_000), Growth(1.0))
    assert Fds().since(before) == 1 + 4 * 3
    proc.put(20, 50_000)
    monkeypatch.setattr(os, "open", Scarce(1, lambda path: path.endswith("20/stat")))
    warm.look(reading(4.0, 110_000), Growth(1.0))
    assert pids(warm) == [20, 14, 13, 12], "nobody is lost"
    assert warm.short_of_files
    assert Fds().since(before) == 1 + 3, "they were read, and are opened when they are again"
    warm.look(reading(5.0, 110_000), Growth(1.0))
    assert Fds().since(before) == 1 + 2 * 3, "half as many are kept from then on"
    warm.shed()
    assert Fds().since(before) == 1
    warm.look(reading(7.0, 110_000), Growth(1.0))
    assert pids(warm) == [20, 14, 13, 12]
    assert Fds().since(before) == 1 + 3
    warm.close()


def test_the_list_of_all_is_tried_again_with_room(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in range(10, 15):
        proc.put(pid, 1000 * pid)
    warm = proc.shortlist(4)
    scarce = Scarce(1, lambda path: path.endswith("statm"))
    monkeypatch.setattr(os, "open", scarce)
    warm.look(reading(1.0, 60_000), Growth(1.0))
    assert pids(warm) == [14, 13, 12, 11]
    assert warm.short_of_files
    scarce.left = 9
    warm.look(reading(4.0, 60_000), Growth(1.0))
    assert pids(warm) == [14, 13, 12, 11], "what is known stays"
    warm.close()


def test_a_list_that_cant_be_had_for_another_reason_says_so(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.put(10, 1000)
    warm = proc.shortlist(4)

    def fails(_where: object) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", fails)
    with pytest.raises(PermissionError):
        warm.look(reading(1.0, 60_000), Growth(1.0))
    assert not warm.short_of_files
    monkeypatch.undo()
    warm.close()


def test_who_cant_be_opened_for_want_of_files_is_known_still(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in (10, 11):
        proc.put(pid, 1000 * pid)
    warm = proc.shortlist(4)
    monkeypatch.setattr(os, "open", Scarce(9, lambda path: path.endswith("11/stat")))
    warm.look(reading(1.0, 21_000), Growth(1.0))
    assert pids(warm) == [10]
    assert warm.short_of_files
    assert sorted(warm.holding(1)) == [10, 11]
    monkeypatch.undo()
    warm.look(reading(4.0, 21_000), Growth(1.0))
    assert pids(warm) == [11, 10]
    warm.close()


def test_who_can_not_be_seen_is_not_on_the_list(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in (10, 11):
        proc.put(pid, 1000 * pid)
    (proc.directory / "11/status").unlink()
    warm = proc.shortlist(4)
    warm.look(reading(1.0, 21_000), Growth(1.0))
    assert (pids(warm), warm.holding(1), warm.short_of_files) == ([10], [10], False)
    warm.close()


def test_a_descriptor_is_of_the_process_that_is_held_and_of_no_other(proc: Proc) -> None:
    proc.put(10, 5000, start=70)
    warm = proc.shortlist(3)
    warm.look(reading(1.0, 5000), Growth(1.0))
    assert warm.pidfd_of(10, 70) == -1, "its files are open, it is not held"
    files = warm.files_of(10)
    assert files is not None
    files.pidfd = os.open("/dev/null", os.O_RDONLY)
    assert warm.pidfd_of(10, 70) == files.pidfd
    assert warm.pidfd_of(10, 71) == -1, "another one of that number"
    assert warm.pidfd_of(11, 70) == -1
    warm.close()
    assert warm.is_cold


def test_of_those_that_a_policy_does_not_protect_only_the_cgroup_is_read_again(
    proc: Proc,
) -> None:
    """One that was free when last read is read again before its signal."""
    for pid in (10, 11):
        process = proc.put(pid, 5000, cgroup="0::/old\n")
        (process.directory / "cmdline").write_bytes(b"old\0")
    for by_cgroup in (True, False):
        warm = proc.shortlist(3, "cmdline", by_cgroup=by_cgroup)
        for pid in (10, 11):
            proc.processes[pid].set(cgroup="0::/old\n")
            (proc.processes[pid].directory / "cmdline").write_bytes(b"old\0")
        for t_s in (1.0, 4.0):
            warm.look(reading(t_s, 10_000), Growth(1.0))
        for pid in (10, 11):
            proc.processes[pid].set(cgroup="0::/new\n")
            (proc.processes[pid].directory / "cmdline").write_bytes(b"new\0")
        warm.identify(lambda one: "protected" if one.pid == 10 else "", again=False)
        found = {one.pid: (one.cmdline, one.cgroup) for one in warm.top}
        # Where the cgroup is another one, all is read again.
        other = ("new", "/new") if by_cgroup else ("old", "/old")
        assert found == {10: ("new", "/new"), 11: other}
        warm.close()


def test_shared_memory_that_went_down_is_no_growth(proc: Proc) -> None:
    process = sharing(proc, 10, 5000, SHARE_KB + 2000, 90_000)
    warm, growth = proc.shortlist(), Growth(1.0)
    warm.look(reading(1.0, 5000), growth)
    growth.note(1.0, 0.0, warm.note(1.0))
    process.set(shmem=SHARE_KB)
    warm.look(reading(4.0, 5000), growth)
    (one,) = warm.add_holders()
    assert one.growth_kb == 0.0
    warm.close()


def test_what_was_read_just_now_is_not_read_again(proc: Proc) -> None:
    process = proc.put(10, 5000)
    (process.directory / "cmdline").write_bytes(b"old\0")
    warm = proc.shortlist(3, "cmdline")
    warm.look(reading(1.0, 5000), Growth(1.0))
    (process.directory / "cmdline").write_bytes(b"new\0")
    found = []
    for again in (False, True):
        warm.identify(again=again)
        found.append(warm.top[0].cmdline)
    assert found == ["old", "new"]
    warm.close()


def test_of_shared_memory_two_moments_are_noted(proc: Proc) -> None:
    process = sharing(proc, 10, 5000, SHARE_KB, 90_000, start=0)
    warm, growth = proc.shortlist(), Growth(1.0)
    grown = []
    for t_s, more_kb in ((1.0, 0), (4.0, 1000), (7.0, 1500), (10.0, 1600)):
        process.set(shmem=SHARE_KB + more_kb)
        warm.look(reading(t_s, 5000), growth)
        (one,) = warm.add_holders()
        grown.append(one.growth_kb)
        growth.note(t_s, 0.0, warm.note(t_s))
    # From the first, then from the second last.
    assert grown[1:] == [1000.0, 1500.0, 600.0]
    warm.close()
