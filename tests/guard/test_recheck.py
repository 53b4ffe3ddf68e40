"""What is read of a process immediately before its signal, and what comes of what can't be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.config import Places
from oomkit.guard.identity import Users, membership_of
from oomkit.guard.process_files import living_thread
from oomkit.guard.process_sizes import ProcessSizes
from oomkit.guard.recheck import Recheck
from oomkit.guard.shared_memory import mapped_kb
from oomkit.host.pidfd import Held, start_ticks_of
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import policy_from
from tests.guard.arena import unshare
from tests.guard.made import Process
from tests.guard.test_shortlist_looks import Proc

PID = 70


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path / "proc")
    made.put(PID, 50_000)
    directory = made.directory / str(PID)
    (directory / "cmdline").write_bytes(b"prog\0--word\0")
    (directory / "exe").symlink_to("/usr/bin/prog")
    return made


def refusal(proc: Proc, *never: dict[str, Any], users: Users | None = None) -> str:
    plan = compile_plan(policy_from({"name": "test", "whom": {"never": list(never)}}))
    places = Places(proc=str(proc.directory), cgroups="/cgroups", cgroup_version=2)
    known = users or Users({1000: "me"}, "/no/passwd")
    chooser = Chooser(plan, own_pids=frozenset({5}))
    return Recheck(chooser, places, plan.fields(), known).refusal(PID)


@pytest.mark.parametrize(
    ("field", "matches", "does_not"),
    [
        ("comm", "task", "tas"), ("exe", "/usr/bin/prog", "/usr/bin/pro"),
        ("cmdline", "*--word", "*--wor"), ("user", "me", "you"), ("user", "1000", "100"),
        ("cgroup", "/user.slice/*", "/system.slice/*"), ("unit", "app.scope", "*.service"),
    ],
)  # fmt: skip
def test_each_field_is_read_anew(proc: Proc, field: str, matches: str, does_not: str) -> None:
    assert refusal(proc, {field: matches}) == f"never: {field} {matches}"
    assert refusal(proc, {field: does_not}) == ""


def test_an_adjustment_of_minus_1000_protects(proc: Proc) -> None:
    (proc.directory / str(PID) / "oom_score_adj").write_text("-1000\n")
    assert refusal(proc) == "oom_score_adj -1000"


def test_who_is_gone_is_left_to_the_pidfd(proc: Proc) -> None:
    proc.directory.joinpath(str(PID), "stat").unlink()
    assert refusal(proc, {"comm": "task"}) == ""


def test_what_makes_no_sense_is_not_signalled(proc: Proc) -> None:
    proc.directory.joinpath(str(PID), "stat").write_text("nonsense")
    assert refusal(proc).startswith("what it is can't be read")


@pytest.mark.parametrize("field", ["cgroup", "unit", "container"])
@pytest.mark.parametrize("text", ["", "1:cpu:/a\n", None])
def test_an_unknown_cgroup_is_not_an_unprotected_one(
    proc: Proc, field: str, text: str | None
) -> None:
    path = proc.directory / str(PID) / "cgroup"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert refusal(proc, {field: "/x"}).endswith(f"as far as can be known ({field})")
    assert refusal(proc, {field: "/x", "comm": "other"}) == "", "the name rules it out"
    assert refusal(proc, {"comm": "other"}) == "", "nobody asks for the cgroup"


def test_an_unknown_program_is_not_an_unprotected_one(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", refused)
    assert refusal(proc, {"exe": "/x"}).endswith("as far as can be known (exe)")


def test_a_program_that_was_deleted_keeps_its_path(proc: Proc) -> None:
    exe = proc.directory / str(PID) / "exe"
    exe.unlink()
    exe.symlink_to("/usr/bin/prog (deleted)")
    assert refusal(proc, {"exe": "/usr/bin/prog"}) == "never: exe /usr/bin/prog"


@pytest.mark.parametrize("length", [4090, 4096, 65_536, 1_000_000])
def test_files_are_read_to_their_end(proc: Proc, length: int) -> None:
    directory = proc.directory / str(PID)
    (directory / "cmdline").write_bytes(b"x" * length + b"\0--last\0")
    assert refusal(proc, {"cmdline": "*--last"}) == "never: cmdline *--last"
    (directory / "cgroup").write_text(f"1:cpu:/{'c' * length}\n0::/far\n")
    assert refusal(proc, {"cgroup": "/far"}) == "never: cgroup /far"
    status = (directory / "status").read_text()
    (directory / "status").write_text(f"Name:\ttask\nGroups:\t{'7 ' * length}\n{status}")
    assert refusal(proc, {"user": "me"}) == "never: user me"


def test_a_user_that_was_added_later_is_known(proc: Proc, tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/:\n")
    users = Users({}, str(passwd))
    assert refusal(proc, {"user": "new"}, users=users) == ""
    passwd.write_text("root:x:0:0::/:\nnew:x:1000:1000::/:\nalias:x:1000:1000::/:\n")
    assert refusal(proc, {"user": "new"}, users=users) == "never: user new"
    other = tmp_path / "other"
    other.write_text("renamed:x:1000:1000::/:\n")
    other.replace(passwd)
    assert refusal(proc, {"user": "renamed"}, users=users) == "never: user renamed"
    passwd.unlink()
    assert refusal(proc, {"user": "renamed"}, users=users) == "never: user renamed"


def leaderless(proc: Proc, threads: int) -> Path:
    """A process whose leading thread has exited, and, if there are more, another one that lives."""
    directory = proc.directory / str(PID)
    stat = (directory / "stat").read_text()
    task = directory / "task" / "71"
    task.mkdir(parents=True)
    for name in ("stat", "status", "statm", "cgroup", "cmdline"):
        shutil.copy(directory / name, task / name)
    (task / "exe").symlink_to("/usr/bin/prog")
    (directory / "task" / str(PID)).mkdir()
    (directory / "stat").write_text(
        stat.replace(") S ", ") Z ").replace(" 20 0 1 0 ", f" 20 0 {threads} 0 ")
    )
    (directory / "statm").write_text("0 0 0 0 0 0 0\n")
    (directory / "status").write_text("Name:\ttask\nUid:\t1000\t1000\t1000\t1000\n")
    (directory / "cmdline").write_bytes(b"")
    (directory / "exe").unlink()
    return task


def test_a_zombie_with_other_threads_is_a_process(proc: Proc) -> None:
    task = leaderless(proc, 2)
    root = str(proc.directory)
    assert start_ticks_of(PID, root) == 100
    assert living_thread(f"{root}/{PID}") == str(task)
    assert refusal(proc, {"exe": "/usr/bin/prog"}) == "never: exe /usr/bin/prog"
    assert refusal(proc, {"cmdline": "*--word"}) == "never: cmdline *--word"
    assert refusal(proc, {"comm": "other"}) == ""


def test_a_zombie_alone_is_none(proc: Proc) -> None:
    leaderless(proc, 1)
    assert start_ticks_of(PID, str(proc.directory)) is None


def test_the_size_of_a_zombie_with_other_threads_is_theirs_whatever_ends_meanwhile(
    proc: Proc,
) -> None:
    task = leaderless(proc, 2)
    sizes = ProcessSizes(str(proc.directory))
    statm = (task / "statm").read_text()
    (task / "statm").unlink()  # as if that thread had just exited
    sizes.look(0, 0.0, full=True)
    assert sizes.kb[str(PID)] < 100
    (task / "statm").write_text(statm)
    sizes.look(0, 0.0, full=True)
    assert sizes.kb[str(PID)] == 50_000
    (task / "statm").write_text("100000 0 0 10 0 100000 0\n")
    sizes.look(300_000, 0.0, full=True)
    assert sizes.kb[str(PID)] == 300_000, "all of it may be in swap"
    sizes.close()


SMAPS = """\
7f00-7f01 rw-s 00000000 00:01 77 /dev/zero (deleted)
Size:                 64 kB
Rss:                  64 kB
Shared_Clean:          8 kB
Private_Clean:         4 kB
Private_Dirty:        32 kB
Swap:                 20 kB
VmFlags: rd wr sh
7f01-7f02 rw-s 00000000 00:01 78 /memfd:a b (deleted)
Private_Dirty:      1000 kB
7f02-7f03 rw-s 00000000 00:01 5 /SYSV00000000 (deleted)
Private_Dirty:     50000 kB
7f03-7f04 rw-s 00000000 00:17 5 /dev/shm/file
Private_Dirty:     50000 kB
7f04-7f05 rw-p 00000000 00:00 0
Private_Dirty:     50000 kB
7f05-7f06 rw-p 00000000 08:01 9 /usr/lib/x.so (deleted)
Private_Dirty:     50000 kB
"""


def test_only_shared_memory_that_dies_with_its_holder_is_counted(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS)
    assert mapped_kb(str(tmp_path)) == 4 + 32 + 20 + 1000


def test_a_segment_that_was_removed_dies_with_its_holder(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(SMAPS)
    segments = tmp_path / "shm"
    row = "         0          5  {:>4}  51200000  1  1  1  0  0  0  0  1  0  1  0  0\n"
    heading = "       key      shmid perms       size  cpid  lpid nattch\n"
    (tmp_path / "ns").mkdir()
    (tmp_path / "ns" / "ipc").symlink_to("/proc/self/ns/ipc")
    segments.write_text(heading + row.format("1600"))
    assert mapped_kb(str(tmp_path), str(segments)) == 1056 + 50_000
    segments.write_text(heading + row.format("600"))
    assert mapped_kb(str(tmp_path), str(segments)) == 1056, "it stays when nobody maps it"
    segments.write_text(heading + row.format("1600"))
    (tmp_path / "ns" / "ipc").unlink()
    (tmp_path / "ns" / "ipc").symlink_to("/proc/self/ns/uts")
    assert mapped_kb(str(tmp_path), str(segments)) == 1056, "numbers of another namespace"


def test_membership_is_empty_only_where_there_are_no_cgroups(tmp_path: Path) -> None:
    assert membership_of(str(tmp_path), Places()) == ""
    assert membership_of(str(tmp_path), Places(cgroups="/c", cgroup_version=1)) is None
    (tmp_path / "cgroup").write_text("4:memory:/a\n0::/b\n")
    assert membership_of(str(tmp_path), Places(cgroups="/c", cgroup_version=1)) == "/a"
    assert membership_of(str(tmp_path), Places(cgroups="/c", cgroup_version=2)) == "/b"


OUTER = """
import os
from oomkit.host.pidfd import Held, kill_fault, start_ticks_of
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        Held(int(pid), start_ticks_of(int(pid)) or 0).close()
    except ProcessLookupError:
        continue
    print("held", pid)
print(kill_fault())
"""


def test_a_proc_of_another_pid_namespace_is_refused() -> None:
    inside = [word for word in unshare() if word != "--mount-proc"]
    done = subprocess.run(
        [*inside, sys.executable, "-c", OUTER], capture_output=True, text=True, check=True
    )
    assert done.stdout == "/proc is not the proc file system of this pid namespace\n"
    oomkit = Path(sys.executable).with_name("oomkit")
    for options in (["--act", "--no-self-test"], ["--dry-run"], ["--check"]):
        ended = subprocess.run(
            [*inside, oomkit, "guard", *options], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert line.startswith("oomkit: /proc: expected the proc file system of this pid namespace")


def test_a_process_of_our_own_can_be_held() -> None:
    start = start_ticks_of(os.getpid())
    assert start is not None
    held = Held(os.getpid(), start)
    assert not held.dead()
    held.close()


def test_a_membership_without_a_path_is_not_known(tmp_path: Path) -> None:
    """Not taken for the root, as ``never`` may ask for it."""
    (tmp_path / "cgroup").write_text("4:memory\n0\n")
    for version in (1, 2):
        assert membership_of(str(tmp_path), Places(cgroups="/c", cgroup_version=version)) is None


def test_lines_of_smaps_that_are_cut_count_nothing(tmp_path: Path) -> None:
    head = "7f0000000000-7f0000100000 rw-s 00000000 00:01 5  /dev/zero (deleted)\n"
    for text, kb in ((head + "Swap: 8 kB\n", 8), (head + "Swap:\n", 0), (head + "Swap: x kB\n", 0),
                     ("7f00-7f01\nSwap: 8 kB\n", 0), ("7f00-", 0)):  # fmt: skip
        (tmp_path / "smaps").write_text(text)
        assert mapped_kb(str(tmp_path)) == kb, text


def test_an_init_is_protected_for_itself_and_for_those_that_die_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pid namespace dies with its init."""
    root = tmp_path / "namespace"
    Process(root, PID, comm="init", numbers=f"NStgid:\t{PID}\t1\n")
    Process(root, PID + 1, comm="data", ppid=PID)
    monkeypatch.setattr("oomkit.guard.recheck.inside", lambda _proc, _spaces: {PID + 1: ()})
    places = Places(proc=str(root), cgroups="/cgroups", cgroup_version=2)
    for never, why in (
        ([], ""),
        ([{"comm": "init"}], "never: comm init"),
        ([{"comm": "data"}], f"data[{PID + 1}] dies with it: never: comm data"),
    ):
        plan = compile_plan(policy_from({"name": "test", "whom": {"never": never}}))
        look = Recheck(Chooser(plan), places, plan.fields(), Users({1000: "me"}, "/no/passwd"))
        assert look.refusal(PID) == why
