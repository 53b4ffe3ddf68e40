"""Records of the kernel's log, line by line, and what the counters say beside it."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oomkit.guard import kernel_kills as module
from oomkit.guard.kernel_kills import FEW_FILES, GRACE_S, KernelKills

if TYPE_CHECKING:
    from collections.abc import Callable
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


class Kernel:
    """A made log, a counter, and cgroups."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.kmsg, self.vmstat = directory / "kmsg", directory / "vmstat"
        self.cgroups = directory / "cg"
        self.cgroups.mkdir()
        self.kmsg.write_text("")
        self.count(0)
        self.records: list[bytes | OSError] = []
        self.seq = 0
        self.made: list[KernelKills] = []
        self.reads = 0
        read = os.read

        def reading(fd: int, size: int) -> bytes:
            if not any(fd == one.kmsg_fd for one in self.made):
                return read(fd, size)
            self.reads += 1
            if not self.records:
                raise BlockingIOError
            record = self.records.pop(0)
            if isinstance(record, OSError):
                raise record
            return record

        monkeypatch.setattr(os, "read", reading)

    def count(self, kills: int) -> None:
        self.vmstat.write_text(f"oom_kill {kills}\npswpin 2\n")

    def group(self, path: str, kills: int) -> None:
        directory = self.cgroups / path.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "events").write_text(f"low 0\noom_kill {kills}\noom_group_kill 9\n")

    def say(self, text: str, s: float = 50.0) -> None:
        self.seq += 1
        self.records.append(b"4,%d,%d,-;%s\n SUB=x\n" % (self.seq, int(s * 1e6), text.encode()))

    def watch(self, **options: Any) -> KernelKills:
        made = KernelKills(
            **{
                "kmsg": str(self.kmsg), "vmstat": str(self.vmstat),
                "cgroups": (str(self.cgroups), "events"), **options,
            }
        )  # fmt: skip
        self.made.append(made)
        return made


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(tmp_path, monkeypatch)


def look(kills: KernelKills, t_s: float = 100.0, *, final: bool = False) -> list[dict[str, Any]]:
    return [record.to_values() for record in kills.look(t_s, t_s + 5000.0, final=final)]


KILL = "Out of memory: Killed process 31 (leak) total-vm:100kB"


@pytest.mark.parametrize(("text", "pid", "comm", "scope"), [
    (KILL, 31, "leak", "global"),
    ("Killed process 31, UID 0, (leak) total-vm:100kB", 31, "leak", "global"),
    ("Killed process 31 (a) b) total-vm:9kB, anon-rss:1kB", 31, "a", "global"),
    ("Killed process 31 (a)b) ", 31, "a)b", "global"),
    ("Killed process 31 (a (b)) total-vm:9kB (", 31, "a (b)", "global"),
    ("Memory cgroup out of memory: Killed process 31 (leak) total-vm:1kB", 31, "leak", "memcg"),
    ("memory cgroup out of memory: Killed process 31 (leak)", 31, "leak", "memcg"),
    ("Killed process x (leak)", None, "leak", "global"),
    ("Killed process 31", 31, "", "global"),
    ("Killed process ", None, "", "global"),
])  # fmt: skip
def test_the_victim_is_in_the_line(
    kernel: Kernel, text: str, pid: int | None, comm: str, scope: str
) -> None:
    kills = kernel.watch()
    kernel.say(text)
    (record,) = look(kills)
    assert (record["pid"], record["comm"], record["scope"]) == (pid, comm, scope)
    assert record["lines"] == [f"[   50.000000] {text}".encode()]
    assert record["kernel_s"] == 50.0
    kills.close()


def test_the_time_of_a_line_is_printed_as_the_kernel_does(kernel: Kernel) -> None:
    kills = kernel.watch()
    kernel.say("x invoked oom-killer: y", 99999.000007)
    kernel.say(KILL, 100001.999999)
    (record,) = look(kills, 2e5)
    assert [line[:16] for line in record["lines"]] == [b"[99999.000007] x", b"[100001.999999] "]


@pytest.mark.parametrize(("record", "is_line"), [
    (b"4,1,50000000,-;%s\n", True), (b"4,1,50000000;%s\n", True), (b"4,x,50000000,-;%s\n", False),
    (b"4,1,x,-;%s\n", False), (b"4,1;%s\n", False), (b"%s\n", False),
])  # fmt: skip
def test_what_is_no_record_is_passed_over(kernel: Kernel, record: bytes, is_line: bool) -> None:
    kills = kernel.watch()
    kernel.records.append(record % KILL.encode())
    assert len(look(kills)) == is_line


def test_only_what_is_new_by_its_number_counts(kernel: Kernel) -> None:
    kills = kernel.watch()
    for seq, counts in ((5, 1), (5, 0), (4, 0), (6, 1), (0, 0)):
        kernel.records.append(b"4,%d,50000000,-;%s\n" % (seq, KILL.encode()))
        assert len(look(kills)) == counts
    assert kills.kmsg_seq == 6
    fresh = kernel.watch()
    assert fresh.kmsg_seq == -1
    kernel.records.append(b"4,0,50000000,-;%s\n" % KILL.encode())
    assert len(look(fresh)) == 1


def test_a_report_begins_where_the_killer_was_invoked(kernel: Kernel) -> None:
    kills = kernel.watch()
    kernel.say("before")
    kernel.say("a invoked oom-killer: x")
    kernel.say("of the first")
    kernel.say("b invoked oom-killer: x")
    kernel.say("of the second")
    kernel.say(KILL)
    kernel.say("after")
    kernel.say(KILL)
    first, second = look(kills)
    assert [line[15:] for line in first["lines"]] == [
        b"b invoked oom-killer: x", b"of the second", KILL.encode(),
    ]  # fmt: skip
    assert len(second["lines"]) == 1


@pytest.mark.parametrize(("after_s", "count"), [(10.0, 2), (10.000001, 1)])
def test_a_report_without_its_kill_is_given_up_after_ten_seconds(
    kernel: Kernel, after_s: float, count: int
) -> None:
    kills = kernel.watch()
    kernel.say("a invoked oom-killer: x", 50.0)
    kernel.say(KILL, 50.0 + after_s)
    (record,) = look(kills)
    assert len(record["lines"]) == count


def test_of_a_long_report_the_lines_that_matter_stay(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    kills = kernel.watch()
    lines = ["x invoked oom-killer: y", "t" * 60, "u" * 10, "v" * 10, "oom-kill:constraint=NONE",
             "oom_reaper: reaped", "w", KILL]  # fmt: skip
    for line in lines:
        kernel.say(line)
    (record,) = look(kills)
    kept = [line[15:].decode() for line in record["lines"]]
    assert kept == [lines[0], lines[1], *lines[4:6], KILL], "15 + 23 and 15 + 60 are more than 100"
    assert record["lines_dropped"] == 3
    kernel.say(KILL)
    assert "lines_dropped" not in look(kills, 101.0)[0]


def test_four_kills_are_read_at_a_look_and_all_at_the_last(kernel: Kernel) -> None:
    kills = kernel.watch()
    for _ in range(15):
        kernel.say(KILL)
    kernel.count(15)
    assert [len(look(kills, 100.0 + n)) for n in range(2)] == [4, 4]
    assert len(look(kills, 103.0, final=True)) == 7


@pytest.mark.parametrize(("error", "goes_on"), [
    (errno.EPIPE, True),  # overwritten before it was read
    (errno.EINVAL, True),  # longer than the buffer
    (errno.EIO, False),
])  # fmt: skip
def test_a_read_that_fails(kernel: Kernel, error: int, goes_on: bool) -> None:
    kills = kernel.watch()
    before = Fds()
    kernel.records.append(OSError(error, os.strerror(error)))
    kernel.say(KILL)
    assert len(look(kills)) == goes_on
    assert (kills.kmsg_fd == -1) is not goes_on
    assert kills.missing == ([] if goes_on else ["kmsg: Input/output error"])
    assert before.since(Fds()) >= (not goes_on)
    assert kills.log_news(0) in ([], [(kills.kmsg_fd, 1)])
    kills.close()


def test_an_end_of_the_log_ends_the_look(kernel: Kernel) -> None:
    kills = kernel.watch()
    kernel.records.append(b"")
    kernel.say(KILL)
    assert look(kills) == []
    assert len(look(kills)) == 1


# Counted kills


def caught_up(kernel: Kernel, **options: Any) -> KernelKills:
    kills = kernel.watch(**options)
    look(kills, 90.0)
    return kills


@pytest.mark.parametrize(("after_s", "told"), [(GRACE_S - 0.1, False), (GRACE_S, True)])
def test_a_kill_that_no_line_follows_is_told_after_a_while(
    kernel: Kernel, after_s: float, told: bool
) -> None:
    kills = caught_up(kernel)
    kernel.count(3)
    assert look(kills, 100.0) == []
    assert len(look(kills, 100.0 + after_s)) == told
    assert GRACE_S == 2.0


def test_at_the_end_it_is_told_at_once_and_dated_by_the_last_look(kernel: Kernel) -> None:
    kills = caught_up(kernel)
    kernel.count(3)
    (record,) = look(kills, 95.0, final=True)
    assert (record["seen"], record["count"], record["mono_s"], record["time_s"]) == (
        "vmstat", 3, 95.0, 5095.0,
    )  # fmt: skip
    assert look(kills, 96.0, final=True) == []


def test_lines_that_come_later_are_those_that_were_counted(kernel: Kernel) -> None:
    kills = caught_up(kernel)
    kernel.count(2)
    assert look(kills, 100.0) == []
    kernel.say(KILL, 100.0)
    assert len(look(kills, 101.0)) == 1
    # One is left, and waits from when it was noticed.
    (record,) = look(kills, 102.0)
    assert (record["seen"], record["count"]) == ("vmstat", 1)
    kernel.count(3)
    look(kills, 110.0)
    kernel.say(KILL, 110.0)
    assert len(look(kills, 111.0)) == 1
    assert look(kills, 120.0) == []
    # A line before the counter says so is no kill owed.
    kernel.say(KILL, 121.0)
    look(kills, 121.0)
    kernel.count(4)
    assert look(kills, 122.0) == []
    (late,) = look(kills, 130.0)
    assert late["count"] == 1, "what was counted late looks like one more"


def test_a_counter_that_began_anew_is_no_kill(kernel: Kernel) -> None:
    kernel.count(9)
    kills = caught_up(kernel)
    kernel.count(2)
    assert look(kills, 100.0, final=True) == []
    kernel.count(4)
    assert look(kills, 101.0, final=True)[0]["count"] == 2


@pytest.mark.parametrize("text", ["", "oom_kill x\n", "oom_killed 5\n", "nr_oom_kill 5\n"])
def test_without_a_counter_only_the_log_counts(kernel: Kernel, text: str) -> None:
    kernel.vmstat.write_text(text)
    kills = caught_up(kernel)
    assert look(kills, 101.0, final=True) == []
    kernel.count(5)
    assert look(kills, 102.0, final=True) == [], "what was before is not known"
    kernel.say(KILL)
    assert len(look(kills, 103.0, final=True)) == 1


def test_old_kills_of_the_log_are_not_held_against_the_counter(kernel: Kernel) -> None:
    kernel.count(50)
    kills = kernel.watch()
    for _ in range(8):
        kernel.say(KILL, 20.0)
    kernel.count(51)
    assert [len(look(kills, 100.0 + n)) for n in range(3)] == [4, 4, 0]
    kernel.count(52)
    assert look(kills, 110.0, final=True)[0]["count"] == 1


def test_without_a_log_the_counter_counts_from_the_first_look(kernel: Kernel) -> None:
    kernel.kmsg.unlink()
    kills = kernel.watch()
    assert kills.kmsg_fd == -1
    assert kills.missing == [f"{kernel.kmsg}: No such file or directory"]
    kernel.count(1)
    assert look(kills, 100.0) == []
    (record,) = look(kills, 102.0)
    assert record["count"] == 1


def test_the_cgroups_that_lost_processes_are_named(kernel: Kernel) -> None:
    for path, count in (("/a", 4), ("/a/b", 1), ("/c", 2), ("/d", 0)):
        kernel.group(path, count)
    (kernel.cgroups / "events").write_text("oom_kill 9\n")
    (kernel.cgroups / "none").mkdir()
    (kernel.cgroups / "link").symlink_to(kernel.cgroups / "a")
    kills = caught_up(kernel)
    kernel.count(5)
    for path, count in (("/a", 5), ("/a/b", 1), ("/c", 1), ("/d", 3)):
        kernel.group(path, count)
    (kernel.cgroups / "events").write_text("oom_kill 10\n")
    (record,) = look(kills, 100.0, final=True)
    assert record["cgroups"] == {"/a": 1, "/d": 3, "/": 1}
    kernel.count(6)
    kernel.group("/a", 6)
    (record,) = look(kills, 101.0, final=True)
    assert record["cgroups"] == {"/a": 1}


def test_kills_that_the_log_showed_are_not_put_down_to_a_cgroup_again(kernel: Kernel) -> None:
    kernel.group("/a", 1)
    kills = caught_up(kernel)
    kernel.count(1)
    kernel.group("/a", 2)
    kernel.say(KILL)
    look(kills, 100.0)
    kernel.count(2)
    (record,) = look(kills, 101.0, final=True)
    assert record["cgroups"] == {}
    nowhere = caught_up(kernel, cgroups=None)
    kernel.count(3)
    assert look(nowhere, 101.0, final=True)[0]["cgroups"] == {}


# When


@pytest.mark.parametrize(("kernel_s", "mono_s"), [
    (95.0, 95.0), (89.0, 90.0), (101.0, 100.0), (100.0, 100.0),
])  # fmt: skip
def test_a_kill_is_dated_between_the_last_look_and_this_one(
    kernel: Kernel, kernel_s: float, mono_s: float
) -> None:
    kills = caught_up(kernel)
    kernel.say(KILL, kernel_s)
    (record,) = look(kills, 100.0)
    assert (record["mono_s"], record["time_s"]) == (mono_s, mono_s + 5000.0)


# What was reported before


def test_the_place_in_the_log_is_stored_for_the_next_guard(kernel: Kernel) -> None:
    seen = kernel.directory / "seen"
    kills = kernel.watch(seen=str(seen))
    look(kills)
    assert seen.read_bytes() == b"", "nothing was reported"
    kernel.say("x")
    kernel.say(KILL)
    look(kills)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert seen.read_text() == f"{boot} {2:20d}\n"
    assert oct(seen.stat().st_mode & 0o777) == oct(0o600)
    assert kernel.watch(seen=str(seen)).kmsg_seq == 2
    for text, seq in ((f"{boot} 7\n", 7), (f"{boot} x\n", -1), ("other 7\n", -1), ("", -1)):
        seen.write_text(text)
        assert kernel.watch(seen=str(seen)).kmsg_seq == seq


def test_a_place_that_cant_be_stored_is_said_and_not_tried_again(kernel: Kernel) -> None:
    seen = kernel.directory / "no/seen"
    kills = kernel.watch(seen=str(seen))
    assert kills.missing == [f"{seen}: No such file or directory"]
    kernel.say(KILL)
    assert len(look(kills)) == 1
    assert len(kills.missing) == 1


def test_a_place_that_cant_be_written_any_more_is_said(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = kernel.watch(seen=str(kernel.directory / "seen"))
    before = Fds()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    kernel.say(KILL)
    assert len(look(kills)) == 1
    assert kills.missing == ["the place in the kernel's log: No space left on device"]
    assert Fds().since(before) == 0


def test_a_place_that_cant_be_read_is_the_beginning(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    kernel.watch(seen=str(kernel.directory / "seen"))
    before = Fds()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", broken)
        assert kernel.watch(seen=str(kernel.directory / "seen"), kmsg="/none").kmsg_seq == -1
    assert Fds().since(before) == 1


@pytest.mark.parametrize(("limit", "kept"), [
    (FEW_FILES - 1, 0), (FEW_FILES, 1), (0, 1), (-1, 1), (1, 0),
])  # fmt: skip
def test_with_few_files_the_counter_is_opened_each_time(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, limit: int, kept: int
) -> None:
    sysconf = os.sysconf
    monkeypatch.setattr(
        os, "sysconf", lambda name: limit if name == "SC_OPEN_MAX" else sysconf(name)
    )
    before = Fds()
    kills = kernel.watch(kmsg="/none")
    assert Fds().since(before) == kept
    kernel.count(2)
    assert look(kills, 100.0, final=True)[0]["count"] == 2
    kernel.vmstat.unlink()
    assert look(kills, 101.0, final=True) == []
    kills.close()
    assert Fds().since(before) == 0


def test_a_counter_that_cant_be_read_any_more_counts_nothing(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = caught_up(kernel)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", broken)
        assert look(kills, 100.0, final=True) == []
    kernel.count(3)
    assert look(kills, 101.0, final=True) == []
    kernel.count(4)
    assert look(kills, 102.0, final=True)[0]["count"] == 1


def test_news_of_the_log_are_polled_for(kernel: Kernel) -> None:
    there, here = os.pipe()
    kills = kernel.watch(kmsg=f"/proc/self/fd/{there}")
    poll: Callable[[int], list[tuple[int, int]]] = kills.log_news
    assert poll(0) == []
    os.write(here, b"x")
    assert poll(0) == [(kills.kmsg_fd, 1)]
    kills.close()
    for fd in (there, here):
        os.close(fd)
    assert kernel.watch(kmsg="/none").log_news(0) == []
