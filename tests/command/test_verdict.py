"""Who killed a command, by counters and log before and after: every case that was thought of."""

import signal
from pathlib import Path

import pytest

from oomkit.command import verdict as is_
from oomkit.command.evidence import Level, Reading, Seen
from oomkit.command.group import Group, LimitError, current, own_group
from oomkit.command.kernel_log import kills_in
from oomkit.command.verdict import LogKill, Verdict, judge
from oomkit.views.exec_text import kill_lines, summary_lines
from tests.host.fake import memcg_v1, memcg_v2, write

MIB = 2**20
PID = 4711


class Machine:
    """A hierarchy of version 2 in a directory: ``/above/own``."""

    def __init__(self, root: Path, *, made: bool = True) -> None:
        self.root = root
        self.group = Group(2, str(root / "cgroup"), "/above/own")
        self.group.made = made
        for path in ("", "above", "above/own"):
            memcg_v2(root / "cgroup" / path)
        self.set("/above/own", maximum=64 * MIB)
        write(root / "proc/vmstat", "oom_kill 5\n")

    def set(self, path: str, *, maximum: int | None = None, ooms: int = 0, kills: int = 0,
            groups: int = 0, hits: int = 0) -> None:  # fmt: skip
        directory = self.root / "cgroup" / path.strip("/")
        if maximum is not None:
            write(directory / "memory.max", f"{maximum}\n")
        events = f"max {hits}\noom {ooms}\noom_kill {kills}\noom_group_kill {groups}\n"
        write(directory / "memory.events", events)
        write(directory / "memory.events.local", events)

    def machine(self, kills: int) -> None:
        write(self.root / "proc/vmstat", f"oom_kill {kills}\n")

    def read(self) -> Reading:
        return Reading(self.group, str(self.root / "proc"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.set("/above/own")
    made.set("/above")
    return made


def text(verdict: Verdict) -> str:
    return "\n".join(kill_lines(verdict, itself="/usr/bin/train"))


def test_nothing_was_killed(machine: Machine) -> None:
    before = machine.read()
    assert judge(before, machine.read(), 0, PID, []).killer == is_.NONE
    assert text(judge(before, machine.read(), 0, PID, [])) == ""


def test_its_own_limit(machine: Machine) -> None:
    before = machine.read()
    machine.set("/above/own", ooms=1, kills=1, hits=9)
    found = judge(before, machine.read(), signal.SIGKILL, PID, None)
    assert (found.killer, found.kills, found.limit) == (is_.KERNEL_HERE, 1, 64 * MIB)
    assert "killed: train by the kernel for the limit of this cgroup" in text(found)
    assert "more than 64.0 MiB is needed; it was still asking" in text(found)


def test_a_limit_above(machine: Machine) -> None:
    before = machine.read()
    machine.set("/above/own", kills=1)
    machine.set("/above", maximum=100 * MIB, ooms=1, kills=1)
    found = judge(before, machine.read(), signal.SIGKILL, PID, None)
    assert (found.killer, found.limit, found.limit_of) == (is_.KERNEL_ABOVE, 100 * MIB, "/above")
    assert "for the limit of a cgroup above (/above, 100 MiB)" in text(found)


def test_the_machine(machine: Machine) -> None:
    before = machine.read()
    machine.set("/above/own", kills=1)
    machine.set("/above", kills=1)
    machine.machine(6)
    found = judge(before, machine.read(), signal.SIGKILL, PID, None)
    assert found.killer == is_.KERNEL_MACHINE
    assert found.sufficed() is None


def test_a_grandchild_while_the_command_lives(machine: Machine) -> None:
    before = machine.read()
    machine.set("/above/own", ooms=1, kills=2)
    found = judge(before, machine.read(), 0, PID, None, [Seen(9, "worker", 60 * MIB)])
    assert (found.killer, found.itself) == (is_.KERNEL_HERE, False)
    assert "killed: 2 processes that it started (largest there: worker[9])" in text(found)


def test_the_whole_group(machine: Machine) -> None:
    before = machine.read()
    machine.set("/above/own", ooms=1, kills=3, groups=1)
    assert "the whole group" in text(judge(before, machine.read(), 9, PID, None))


def test_a_sigkill_of_unknown_origin(machine: Machine) -> None:
    before = machine.read()
    machine.machine(6)  # the kernel killed elsewhere meanwhile
    found = judge(before, machine.read(), signal.SIGKILL, PID, None)
    assert found.killer == is_.SIGKILL
    assert "by a SIGKILL of unknown origin" in text(found)


def test_another_signal_is_no_kill_for_memory(machine: Machine) -> None:
    before = machine.read()
    assert judge(before, machine.read(), signal.SIGSEGV, PID, []).killer == is_.NONE


def test_the_log_names_who_and_bounds_what_would_have_sufficed(machine: Machine) -> None:
    before = machine.read()
    machine.set("/above/own", ooms=1, kills=1)
    kill = LogKill(9, "worker", rss_bytes=60 * MIB, total_vm_bytes=200 * MIB,
                   cgroup="/above/own", task_cgroup="/above/own")  # fmt: skip
    other = LogKill(10, "other", cgroup="/x", task_cgroup="/x")
    found = judge(before, machine.read(), 0, PID, [other, kill])
    assert [v.pid for v in found.victims] == [9]
    assert found.sufficed() == (64 * MIB, 204 * MIB)
    assert "killed: worker[9] by the kernel" in text(found)
    assert "204 MiB would hold all that was mapped" in text(found)


def test_kills_of_a_group_that_others_are_in_may_be_theirs(tmp_path: Path) -> None:
    machine = Machine(tmp_path, made=False)
    machine.set("/above/own")
    machine.set("/above")
    before = machine.read()
    machine.set("/above/own", ooms=1, kills=1)
    found = judge(before, machine.read(), 0, PID, None)
    assert found.shared
    assert "a process of this cgroup, perhaps of others in it" in text(found)


def test_without_a_cgroup_the_machines_count_is_all_there_is(tmp_path: Path) -> None:
    write(tmp_path / "vmstat", "oom_kill 5\n")
    before = Reading(None, str(tmp_path))
    assert judge(before, Reading(None, str(tmp_path)), 9, PID, None).killer == is_.SIGKILL
    write(tmp_path / "vmstat", "oom_kill 6\n")
    assert judge(before, Reading(None, str(tmp_path)), 9, PID, None).killer == is_.KERNEL_MACHINE
    assert judge(before, Reading(None, str(tmp_path)), 0, PID, None).killer == is_.NONE


def test_version_1_knows_a_limit_by_its_peak(tmp_path: Path) -> None:
    memcg_v1(tmp_path / "a", limit=str(64 * MIB))
    write(tmp_path / "a/memory.max_usage_in_bytes", str(64 * MIB))
    level = Level(Group(1, str(tmp_path), "/a"))
    assert level.kills == 3
    assert level.was_full()
    write(tmp_path / "a/memory.max_usage_in_bytes", str(32 * MIB))
    assert not Level(Group(1, str(tmp_path), "/a")).was_full()


KMSG = b"""\
6,1,1,-;worker invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
6,2,1,-;memory: usage 65536kB, limit 65536kB, failcnt 12
6,3,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
task_memcg=/a/b,task=worker,pid=9,uid=0
3,4,1,-;Memory cgroup out of memory: Killed process 9 (worker) total-vm:204800kB, \
anon-rss:61440kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:200kB oom_score_adj:0
"""


def test_kills_in_the_kernels_own_records() -> None:
    (kill,) = kills_in(KMSG)
    assert (kill.pid, kill.comm, kill.cgroup, kill.task_cgroup) == (9, "worker", "/a", "/a/b")
    assert (kill.rss_bytes, kill.total_vm_bytes) == (60 * MIB, 200 * MIB)


def proc(root: Path, cgroup: str, mountinfo: str) -> str:
    write(root / "proc/self/cgroup", cgroup)
    write(root / "proc/self/mountinfo", mountinfo)
    return str(root / "proc")


def test_the_present_group_of_version_2(tmp_path: Path) -> None:
    top = tmp_path / "cg"
    write(top / "cgroup.controllers", "cpu memory\n")
    memcg_v2(top / "a")
    (top / "a/b").mkdir()  # without the controller: counted with a
    here = proc(tmp_path, "0::/a/b\n", f"30 20 0:27 / {top} rw - cgroup2 cgroup2 rw\n")
    found = current(here)
    assert found is not None
    assert (found.version, found.path, found.mount) == (2, "/a", str(top))


def test_a_group_outside_of_the_namespace_is_none(tmp_path: Path) -> None:
    top = tmp_path / "cg"
    write(top / "cgroup.controllers", "memory\n")
    here = proc(tmp_path, "0::/../x\n", f"30 20 0:27 / {top} rw - cgroup2 cgroup2 rw\n")
    assert current(here) is None


def test_a_limit_that_cant_be_set_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="no memory cgroup is seen"):
        own_group(None, MIB, None)
    group = Group(2, str(tmp_path), "/gone")
    with pytest.raises(LimitError, match="no cgroup can be made for the command: /gone"):
        own_group(group, MIB, None)


def test_the_line_of_a_run(machine: Machine) -> None:
    made = {
        "command": ["train"], "left_running": 2, "peak_bytes": 32 * MIB, "limit_bytes": 64 * MIB,
        "limit_of": "/above/own", "cgroup": {"path": "/above/own", "why_not_own": ""},
        "largest_process": {"pid": 9, "comm": "w", "rss_bytes": 30 * MIB, "at_most": False},
        "stalled_s": 0.25, "stalled_of": "cgroup", "elapsed_s": 2.0,
        "status": {"exit": 3, "signal": None},
    }  # fmt: skip
    lines = list(summary_lines(made, Verdict(), verbose=False))
    assert lines[0] == (
        "peak 32.0 MiB, 50 % of the limit 64.0 MiB; largest process 30.0 MiB (w[9]); waited for "
        "memory 0.25 s of 2 s; exit status 3"
    )
    assert lines[1].startswith("2 of its processes still run in /above/own")
