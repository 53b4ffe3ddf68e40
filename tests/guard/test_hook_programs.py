"""Commands of a policy: what they get, how long they have, who collects them."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import hooks as hooks_module
from oomkit.guard.hooks import LONGEST_S, MAX, TAKE_IN_S, Hooks
from oomkit.policy.engine.candidate import Candidate
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


class Programs:
    """Stands in for the kernel's part in starting and collecting commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[tuple[list[str], dict[str, str]]] = []
        self.options: dict[str, Any] = {}
        self.ended: dict[int, int] = {}
        self.strangers: set[int] = set()
        self.killed: list[int] = []
        self.ordinary: list[int] = []
        self.next = 1000
        monkeypatch.setattr(os, "posix_spawnp", self._spawn)
        monkeypatch.setattr(os, "waitpid", self._wait)
        monkeypatch.setattr(os, "killpg", self._kill)
        monkeypatch.setattr(hooks_module, "ordinary", self.ordinary.append)

    def _spawn(self, program: str, argv: list[str], environ: dict[str, str], **more: Any) -> int:
        if program == "/none":
            raise OSError(errno.ENOENT, "No such file or directory")
        assert program == argv[0]
        self.started.append((argv, environ))
        self.options = more
        self.next += 1
        return self.next

    def _wait(self, pid: int, _flags: int) -> tuple[int, int]:
        if pid in self.strangers:
            raise ChildProcessError(errno.ECHILD, "No child processes")
        return (pid, self.ended.pop(pid)) if pid in self.ended else (0, 0)

    def _kill(self, pid: int, number: int) -> None:
        assert number == 9
        if pid in self.ended:
            raise ProcessLookupError(errno.ESRCH, "No such process")
        self.killed.append(pid)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(monkeypatch)


VICTIM = Candidate(4711, 1, 1, "big", cgroup="/a", unit=None)


def test_a_command_gets_what_it_is_about(programs: Programs) -> None:
    own: set[int] = set()
    hooks = Hooks(own_pids=own)
    assert hooks.start(("/x", "{pid}", "{comm}:{cgroup}:{unit}"), VICTIM, "before") == 1001
    ((argv, environ),) = programs.started
    assert argv == ["/x", "4711", "big:/a:"]
    said = [environ[f"OOMKIT_{name}"] for name in ("PID", "COMM", "UNIT", "CGROUP")]
    assert said == ["4711", "big", "", "/a"]
    assert environ["PATH"] == os.environ["PATH"]
    assert programs.options == {"setsigdef": (1, 2, 13, 15), "setpgroup": 0}
    assert (own, programs.ordinary) == ({1001}, [1001])
    assert (hooks.busy(), hooks.any()) == (True, True)
    other = Candidate(1, 1, 1, "x", unit="ssh.service")
    hooks.start(("/x", "{unit}", "{cgroup}"), other, "after")
    assert programs.started[-1][0] == ["/x", "ssh.service", ""]


@pytest.mark.parametrize(("status", "said"), [
    (0, []), (3 << 8, ["before: /x: exit status 3"]), (9, ["before: /x: killed by signal 9"]),
])  # fmt: skip
def test_how_a_command_ended_is_said_unless_it_is_well(
    programs: Programs, status: int, said: list[str]
) -> None:
    own: set[int] = {7}
    hooks = Hooks(own_pids=own)
    hooks.start(("/x",), VICTIM, "before")
    hooks.collect()
    assert hooks.any()
    programs.ended[1001] = status
    hooks.collect()
    assert (hooks.failures(), hooks.failures()) == (said, [])
    assert (hooks.any(), own) == (False, {7})


def test_one_that_is_collected_by_others_is_forgotten(programs: Programs) -> None:
    own: set[int] = set()
    hooks = Hooks(own_pids=own)
    hooks.start(("/x",), VICTIM, "before")
    hooks.start(("/x",), VICTIM, "before")
    programs.strangers.add(1001)
    programs.ended[1002] = 0
    hooks.collect()
    assert (hooks.any(), own, hooks.failures()) == (False, set(), [])


def test_one_that_cant_be_started_is_said(programs: Programs) -> None:
    hooks = Hooks()
    assert hooks.start(("/none",), VICTIM, "after") is None
    assert hooks.failures() == ["after: /none: No such file or directory"]
    assert not hooks.any()


@pytest.mark.parametrize(("late_s", "killed"), [(-0.1, False), (0.0, True)])
@pytest.mark.parametrize("taking_in", [False, True])
def test_one_that_runs_too_long_is_killed(
    programs: Programs, late_s: float, killed: bool, taking_in: bool
) -> None:
    now = [100.0]
    hooks = Hooks(clock=lambda: now[0])
    if taking_in:
        hooks.take_in(("/x", "y"))
        assert programs.started[0][0] == ["/x", "y"]
    else:
        hooks.start(("/x",), VICTIM, "after")
    now[0] += (TAKE_IN_S if taking_in else LONGEST_S) + late_s
    hooks.collect()
    assert programs.killed == ([1001] if killed else [])
    what = "history" if taking_in else "after"
    assert hooks.failures() == (
        [f"{what}: /x: killed, as it has run for too long"] if killed else []
    )
    assert (hooks.busy(), hooks.any()) == (not killed, True)
    programs.ended[1001] = 9
    hooks.collect()
    assert hooks.failures() == ([] if killed else [f"{what}: /x: killed by signal 9"])
    assert (LONGEST_S, TAKE_IN_S) == (60.0, 600.0)


def test_one_that_had_ended_by_then_is_not_killed(programs: Programs) -> None:
    now = [100.0]
    hooks = Hooks(clock=lambda: now[0])
    hooks.start(("/x",), VICTIM, "after")
    programs.ended[1001] = 0
    now[0] += LONGEST_S
    hooks.collect()
    assert hooks.failures() == ["after: /x: killed, as it has run for too long; it had ended"]
    assert not hooks.any()


def test_a_child_of_another_part_is_collected_and_never_late(programs: Programs) -> None:
    now = [100.0]
    hooks = Hooks(clock=lambda: now[0])
    hooks.adopt(55, "metrics")
    assert (hooks.busy(), hooks.any()) == (False, True)
    now[0] += 1e9
    hooks.collect()
    assert programs.killed == []
    programs.ended[55] = 2 << 8
    hooks.collect()
    assert hooks.failures() == ["metrics: exit status 2"]


def test_of_very_many_the_oldest_is_killed_and_one_that_ended_makes_room(
    programs: Programs,
) -> None:
    hooks = Hooks()
    hooks.adopt(55, "metrics")
    for _ in range(MAX):
        hooks.start(("/x",), VICTIM, "after")
    assert (programs.killed, MAX) == ([], 8)
    programs.ended[1003] = 0
    hooks.start(("/x",), VICTIM, "after")
    assert programs.killed == []
    hooks.start(("/x",), VICTIM, "after")
    assert programs.killed == [1001]
    assert hooks.failures() == ["after: /x: killed, as 8 commands run already, the maximum"]
    hooks.start(("/x",), VICTIM, "after")
    assert programs.killed == [1001, 1002]


@pytest.mark.parametrize(("euid", "told"), [(0, ["0", "7", "8"]), (7, ["7"]), (9, [])])
def test_each_session_that_may_be_reached_is_notified(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, euid: int, told: list[str]
) -> None:
    for user in ("0", "7", "8", "9x"):
        (tmp_path / user).mkdir()
        (tmp_path / user / "bus").touch()
    (tmp_path / "6").mkdir()
    stat = os.stat

    def search(path: str, **rest: Any) -> os.stat_result:
        if str(path).endswith("8/bus"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **rest)

    monkeypatch.setattr(os, "stat", search)
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    Hooks(str(tmp_path)).notify("Low memory", "x")
    buses = {environ["DBUS_SESSION_BUS_ADDRESS"]: argv for argv, environ in programs.started}
    assert sorted(buses) == [f"unix:path={tmp_path}/{user}/bus" for user in told]
    note = ["notify-send", "--urgency=critical", "--app-name=oomkit", "Low memory", "x"]
    for user in told:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        assert buses[f"unix:path={tmp_path}/{user}/bus"] == (
            note if int(user) == euid else become + note
        )
    programs.started.clear()
    Hooks(str(tmp_path / "none")).notify("Low memory", "x")
    assert programs.started == []


def test_a_command_is_waited_for_a_little(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = os.pipe()
    monkeypatch.setattr(os, "pidfd_open", lambda _pid: os.dup(there))
    hooks = Hooks()
    hooks.start(("/x",), VICTIM, "before")
    before = Fds()
    assert not hooks.wait(1001, 0.0)
    os.write(here, b"x")
    programs.ended[1001] = 0
    assert hooks.wait(1001, 60.0)
    assert not hooks.any()
    assert Fds().since(before) == 0

    def none(_pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none)
    assert not hooks.wait(1001, 60.0)
    os.close(there)
    os.close(here)
