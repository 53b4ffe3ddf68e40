"""Kills the kernel made: found in its log, in its counter, and put down to a cgroup."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.kernel_kills import GRACE_S, KernelKills
from oomkit.klog.reader import read_bytes
from tests.real.memcg import Box

LOGS = Path(__file__).parents[1] / "data" / "oom-logs"


class Machine:
    """A kernel's log as a pipe that gives a record a read, a counter, and cgroups."""

    def __init__(self, place: Path) -> None:
        self.kmsg = place / "kmsg"
        self.vmstat = place / "vmstat"
        self.cgroups = place / "cgroup"
        self.seq = 0
        self.kills = 0
        os.mkfifo(self.kmsg)
        self.count(0)
        (self.cgroups / "a" / "b").mkdir(parents=True)
        # A pipe needs somebody who writes, or reading it finds its end.
        self._pipe = os.open(self.kmsg, os.O_RDWR | os.O_NONBLOCK)

    def count(self, kills: int) -> None:
        self.vmstat.write_text(f"nr_free_pages 1\noom_kill {kills}\npswpin 2\n")

    def events(self, cgroup: str, kills: int) -> None:
        (self.cgroups / cgroup / "memory.events.local").write_text(f"low 0\noom_kill {kills}\n")

    def watched(self) -> KernelKills:
        return KernelKills(
            kmsg=str(self.kmsg),
            vmstat=str(self.vmstat),
            cgroups=(str(self.cgroups), "memory.events.local"),
        )


def look(kills: KernelKills, *now: float, final: bool = False) -> list[dict[str, Any]]:
    return [record.to_values() for record in kills.look(*now, final=final)]


class Log:
    """Stands in for reads of ``/dev/kmsg``: a record each, then nothing more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kills: KernelKills) -> None:
        self.records: list[bytes | OSError] = []
        self.seq = 0
        real = os.read

        def read(fd: int, size: int) -> bytes:
            if fd != kills.kmsg_fd:
                return real(fd, size)
            if not self.records:
                raise BlockingIOError
            record = self.records.pop(0)
            if isinstance(record, OSError):
                raise record
            return record

        monkeypatch.setattr(os, "read", read)

    def say(self, text: str, s: float) -> None:
        self.seq += 1
        self.records.append(b"4,%d,%d,-;%s\n" % (self.seq, int(s * 1e6), text.encode()))


REPORT = """\
postgres invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0
Mem-Info:
Tasks state (memory values in pages):
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),global_oom,task_memcg=/a,task=leak,pid=31,uid=0
Out of memory: Killed process 31 (leak) total-vm:100kB, anon-rss:50kB, UID:0 oom_score_adj:0
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_report_becomes_a_record_with_its_lines(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    assert look(kills, 100.0, 5000.0) == []
    log.say("eth0: link up", 100.5)
    for line in REPORT.splitlines():
        log.say(line, 101.0)
    machine.count(1)
    (record,) = look(kills, 103.0, 5003.0)
    assert record.pop("lines") == [
        f"[  101.000000] {line}".encode() for line in REPORT.splitlines()
    ]
    assert record == {
        "kind": "kernel_kill", "seen": "kmsg", "pid": 31, "comm": "leak", "scope": "global",
        "kernel_s": 101.0, "mono_s": 101.0, "time_s": 5001.0,
    }  # fmt: skip
    assert look(kills, 110.0, 5010.0) == []


@pytest.mark.parametrize(
    "name",
    [
        "m-5.2-rc7-leaker.log",
        "m-6.7.4-arch-rsync-adj200.log",
        "g-5.10-rc3-next-stress-ng-adj1000.log",
        "g-2.6.32-431-el6-java.log",
    ],
)
def test_the_lines_are_what_explain_can_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Real reports, as the kernel's log hands them out, come back whole from the record."""
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    for line in (LOGS / name).read_text().splitlines():
        log.say(re.sub(r"^ *\[[ .0-9]*\] |^.* host kernel: ", "", line), 50.0)
    records = look(kills, 60.0, 60.0)
    assert records
    for record in records:
        lines: Any = record["lines"]
        reports = list(read_bytes(b"\n".join(lines) + b"\n"))
        assert record["pid"] in {k.pid for report in reports for k in report.killed}


def test_a_kill_no_log_tells_of_is_counted_and_put_down_to_its_cgroup(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.events("a", 4)
    kills = machine.watched()
    Log(monkeypatch, kills)
    look(kills, 100.0, 5000.0)
    machine.count(2)
    machine.events("a", 5)
    machine.events("a/b", 1)
    assert look(kills, 110.0, 5010.0) == []
    (record,) = look(kills, 110.0 + GRACE_S, 5010.0 + GRACE_S)
    assert record["seen"] == "vmstat"
    assert record["count"] == 2
    assert record["cgroups"] == {"/a": 1, "/a/b": 1}
    assert look(kills, 200.0, 5100.0) == []


def test_the_counter_may_be_ahead_of_the_log(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    look(kills, 100.0, 5000.0)
    machine.count(1)
    assert look(kills, 101.0, 5001.0) == []
    for line in REPORT.splitlines():
        log.say(line, 101.0)
    assert [record["pid"] for record in look(kills, 102.0, 5002.0)] == [31]
    assert look(kills, 110.0, 5010.0) == []


def test_without_a_log_the_last_look_still_tells(machine: Machine) -> None:
    machine.kmsg.unlink()
    kills = machine.watched()
    assert kills.missing == [f"{machine.kmsg}: No such file or directory"]
    machine.count(1)
    (record,) = look(kills, 100.0, 5000.0, final=True)
    assert record["count"] == 1


def test_kills_before_the_first_look_are_dated_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.count(1)
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    for line in REPORT.splitlines():
        log.say(line, 40.0)
    (record,) = look(kills, 100.0, 5000.0)
    assert (record["mono_s"], record["time_s"]) == (40.0, 4940.0)


def test_a_log_full_of_reports_is_reported_bit_by_bit(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.count(9)
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    for pid in range(9):
        log.say(f"Out of memory: Killed process {pid} (old) total-vm:1kB", 40.0 + pid)
    found = [look(kills, 100.0 + n, 5000.0 + n) for n in range(4)]
    assert [len(records) for records in found] == [4, 4, 1, 0]
    records = [record for some in found for record in some]
    assert [record["mono_s"] for record in records] == [40.0 + pid for pid in range(9)]
    assert [record["time_s"] for record in records] == [4940.0 + pid for pid in range(9)]
    machine.count(10)
    look(kills, 110.0, 5010.0)
    assert [record["seen"] for record in look(kills, 120.0, 5020.0)] == ["vmstat"]


def test_what_an_earlier_guard_reported_is_not_reported_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    for found in (1, 0, 0):
        kills = KernelKills(kmsg=str(machine.kmsg), vmstat=str(machine.vmstat), seen=str(seen))
        log = Log(monkeypatch, kills)
        for line in REPORT.splitlines():
            log.say(line, 40.0)
        assert len(look(kills, 100.0, 5000.0)) == found
        kills.close()
    # After a reboot numbers begin anew.
    seen.write_bytes(b"another-boot" + seen.read_bytes()[12:])
    kills = KernelKills(kmsg=str(machine.kmsg), vmstat=str(machine.vmstat), seen=str(seen))
    log = Log(monkeypatch, kills)
    log.say(REPORT.splitlines()[-1], 3.0)
    assert len(look(kills, 100.0, 5000.0)) == 1


def test_a_log_that_was_overwritten_or_taken_away_stops_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    look(kills, 1.0, 1.0)
    log.records.append(BrokenPipeError(32, "Broken pipe"))
    for line in REPORT.splitlines()[-1:]:
        log.say(line, 2.0)
    (record,) = look(kills, 3.0, 3.0)
    assert record["pid"] == 31
    log.records.append(OSError(5, "Input/output error"))
    look(kills, 4.0, 4.0)
    assert kills.missing == ["kmsg: Input/output error"]
    machine.count(2)
    look(kills, 5.0, 5.0)
    (record,) = look(kills, 9.0, 9.0)
    assert record["seen"] == "vmstat"


def test_a_report_of_thousands_of_tasks_is_bounded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = machine.watched()
    log = Log(monkeypatch, kills)
    head, *_, summary, kill = REPORT.splitlines()
    log.say(head, 1.0)
    for pid in range(5000):
        log.say(
            f"[{pid:7d}]     0 {pid:5d}     4000     3000    45056        0             0 x", 1.0
        )
    log.say(summary, 1.0)
    log.say(kill, 1.0)
    (record,) = look(kills, 2.0, 2.0)
    lines: Any = record["lines"]
    assert sum(map(len, lines)) < 140_000
    assert len(lines) + int(str(record["lines_dropped"])) == 5003
    assert lines[-1].endswith(kill.encode())


def test_this_machine_can_be_watched() -> None:
    kills = KernelKills()
    if kills.kmsg_fd < 0:
        pytest.skip(f"needs a readable kernel log: {kills.missing[0]}")
    for record in look(kills, 1e9, 2e9):
        assert record["kind"] == "kernel_kill"
        assert record["pid"]
    assert kills.kmsg_seq >= 0
    kills.close()


@pytest.mark.cgroup
def test_a_kill_of_this_kernel_is_seen() -> None:
    with Box(20_000) as box:
        victim = box.hog()
        root = str(box.directory).removesuffix(box.path)
        kills = KernelKills(cgroups=(root, "memory.oom_control"))
        while look(kills, time.monotonic(), time.time()):
            """Older kills, of which the log may be full."""
        begin_s = time.time()
        box.tighten()
        _, (killed, *_) = box.grow_until_a_kill(victim)
        found = look(kills, time.monotonic(), time.time(), final=True)
        (record,) = [one for one in found if one.get("pid") == killed]
        assert record["scope"] == "memcg"
        assert begin_s - 1.0 <= float(str(record["time_s"])) <= time.time()
        kills.close()
