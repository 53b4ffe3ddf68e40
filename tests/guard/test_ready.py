"""Processes that are held ready to be killed, so that no file is missing when it counts."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.config import Places, Settings
from oomkit.guard.identity import Wanted
from oomkit.guard.process_files import ProcessFiles
from oomkit.guard.reserve import AMPLE, READY, Reserve
from oomkit.guard.sensors import READY_S, Sensors
from oomkit.policy.engine.candidate import Growth
from oomkit.policy.engine.reading import Reading
from tests.guard.made import Fds, Process
from tests.policy.making import LOW, plan

pytestmark = pytest.mark.hermetic


class Pidfds:
    """Stands in for ``pidfd_open`` and for what it says of a process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[int] = []
        self.numbers: dict[int, int] = {}
        self.fails: dict[int, int] = {}
        self._of: dict[int, int] = {}
        monkeypatch.setattr(os, "pidfd_open", self._open)
        monkeypatch.setattr("oomkit.guard.process_files.number_in", self._number)

    def _open(self, pid: int) -> int:
        if pid in self.fails:
            raise OSError(self.fails[pid], os.strerror(self.fails[pid]))
        self.opened.append(pid)
        fd = os.open("/dev/zero", os.O_RDONLY)
        self._of[fd] = pid
        return fd

    def _number(self, _proc: str, fd: int) -> int:
        return self.numbers.get(self._of[fd], self._of[fd])


@pytest.fixture
def pidfds(monkeypatch: pytest.MonkeyPatch) -> Pidfds:
    return Pidfds(monkeypatch)


def test_what_is_read_before_a_signal_is_opened_with_the_process(
    tmp_path: Path, pidfds: Pidfds
) -> None:
    process = Process(tmp_path, 10)
    (process.directory / "cmdline").write_bytes(b"x\0")
    places = Places(proc=str(tmp_path), cgroups="/c", cgroup_version=2)
    for fields, files in ((frozenset[str](), 5), (frozenset({"cmdline"}), 6)):
        wanted = Wanted(places, fields, {}, root="")
        before = Fds()
        one = ProcessFiles(10, wanted, 1.0)
        assert one.pidfd == -1
        one.hold(wanted)
        one.hold(wanted)
        assert one.pidfd >= 0
        assert Fds().since(before) == files
        one.close()
        assert Fds().since(before) == 0
        one.hold(wanted)
        assert one.pidfd == -1, "it is closed"
    assert pidfds.opened == [10, 10]


def test_another_process_of_that_number_is_not_held(tmp_path: Path, pidfds: Pidfds) -> None:
    Process(tmp_path, 10)
    wanted = Wanted(Places(proc=str(tmp_path)), frozenset(), {}, root="")
    one = ProcessFiles(10, wanted, 1.0)
    before = Fds()
    pidfds.numbers[10] = 11
    with pytest.raises(ProcessLookupError):
        one.hold(wanted)
    assert one.pidfd == -1
    assert Fds().since(before) == 1, "its cgroup alone"
    one.close()


def test_one_that_exits_while_it_is_opened_is_not_held(
    tmp_path: Path, pidfds: Pidfds, monkeypatch: pytest.MonkeyPatch
) -> None:
    Process(tmp_path, 10)
    wanted = Wanted(Places(proc=str(tmp_path)), frozenset(), {}, root="")
    one = ProcessFiles(10, wanted, 1.0)
    before = Fds()

    def gone(*_: object) -> bytes:
        raise ProcessLookupError(errno.ESRCH, "No such process")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", gone)
        with pytest.raises(ProcessLookupError):
            one.hold(wanted)
    assert one.pidfd == -1
    assert Fds().since(before) == 1
    one.close()


@pytest.mark.parametrize(("limit", "ready"), [
    (AMPLE, READY), (AMPLE - 1, 0), (0, 0), (-1, READY), (1 << 20, READY),
])  # fmt: skip
def test_as_many_are_held_as_files_allow(
    monkeypatch: pytest.MonkeyPatch, limit: int, ready: int
) -> None:
    reserve = Reserve()
    sysconf = os.sysconf
    monkeypatch.setattr(
        os, "sysconf", lambda name: limit if name == "SC_OPEN_MAX" else sysconf(name)
    )
    assert reserve.ready() == ready
    assert READY == 64
    reserve.close()


class Machine:
    def __init__(self, root: Path, *, bounded: bool = True, count: int = 3) -> None:
        self.proc = root / "proc"
        for pid in range(10, 10 + count):
            Process(self.proc, pid, anon=1000 * pid)
        (self.proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 5000000 kB\n")
        places = Places(proc=str(self.proc), sys=str(root))
        self.reserve = Reserve(bounded=bounded)
        made: Any = plan(LOW)
        self.sensors = Sensors(made, Settings(made, places=places), root="", reserve=self.reserve)
        self.growth = Growth(1.0)

    def keep_ready(self, t_s: float) -> None:
        self.sensors.keep_ready(self.growth, Reading(t_s, 9e6, 5e6, anon_kb=33_000.0))

    def close(self) -> None:
        self.sensors.close()
        self.reserve.close()


def test_while_all_is_well_the_largest_are_held_and_chosen_anew_every_minute(
    tmp_path: Path, pidfds: Pidfds
) -> None:
    machine = Machine(tmp_path)
    machine.keep_ready(100.0)
    assert sorted(pidfds.opened) == [10, 11, 12]
    cold = machine.sensors.warm.is_cold
    assert cold
    Process(machine.proc, 20, anon=90_000)
    machine.keep_ready(100.0 + READY_S - 0.1)
    assert len(pidfds.opened) == 3
    machine.keep_ready(100.0 + READY_S)
    assert sorted(pidfds.opened) == [10, 11, 12, 20], "those that are held stay so"
    assert READY_S == 60.0
    machine.close()


def test_nobody_is_held_where_files_are_never_refused(tmp_path: Path, pidfds: Pidfds) -> None:
    machine = Machine(tmp_path, bounded=False)
    machine.keep_ready(100.0)
    assert pidfds.opened == []
    machine.close()


@pytest.mark.parametrize(("error", "held", "short"), [
    (errno.EMFILE, [12], True), (errno.ESRCH, [12, 10], False),
])  # fmt: skip
def test_one_that_is_gone_is_passed_over_and_want_of_files_ends_it(
    tmp_path: Path, pidfds: Pidfds, error: int, held: list[int], short: bool
) -> None:
    machine = Machine(tmp_path)
    pidfds.fails[11] = error
    machine.keep_ready(100.0)
    assert pidfds.opened == held
    assert machine.sensors.warm.short_of_files is short
    machine.close()
