"""What the guard does to this machine: triggers, pidfds, cgroups, the service manager."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.host import libc
from oomkit.host.libc import process_mrelease
from oomkit.host.membership import container_of, manager_root, unit_of
from oomkit.host.pidfd import Held, pids_below, start_ticks_of
from oomkit.host.psi_trigger import Trigger
from oomkit.host.sdnotify import ServiceManager

PRESSURE = "/proc/pressure/memory"
UNIFIED = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
ID = "0123456789abcdef" * 4


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_held_process_is_signalled_and_seen_to_die(sleeper: subprocess.Popen[bytes]) -> None:
    start = start_ticks_of(sleeper.pid)
    assert start is not None
    held = Held(sleeper.pid, start)
    assert not held.dead()
    held.send(signal.SIGKILL)
    poller = select.poll()
    poller.register(held.fd, select.POLLIN)
    assert poller.poll(5000)
    assert held.dead()
    assert start_ticks_of(sleeper.pid) is None, "a zombie is nobody"
    sleeper.wait()
    with pytest.raises(ProcessLookupError):
        held.send(signal.SIGKILL)
    held.close()
    with pytest.raises(ProcessLookupError):
        Held(sleeper.pid, start)


def test_memory_of_the_living_is_not_released(sleeper: subprocess.Popen[bytes]) -> None:
    fd = os.pidfd_open(sleeper.pid)
    with pytest.raises(OSError, match=r"Invalid argument|Function not implemented"):
        process_mrelease(fd)
    os.close(fd)


@pytest.mark.skipif(not os.path.exists(PRESSURE), reason="needs PSI")
def test_a_trigger_is_set_as_fine_as_allowed() -> None:
    try:
        trigger = Trigger(PRESSURE, "some", 100_000, 1_000_000)
    except OSError as error:
        pytest.skip(f"triggers are refused: {error}")
    capabilities = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
    assert trigger.fine == bool(int(capabilities, 16) >> 24 & 1)
    poller = select.poll()
    poller.register(trigger.fd, select.POLLPRI)
    assert not any(events & select.POLLERR for _, events in poller.poll(0))
    trigger.close()


def test_a_trigger_on_no_pressure_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Trigger(str(tmp_path / "memory"), "some", 100_000, 1_000_000)


@pytest.fixture
def group() -> Iterator[Path]:
    root = next((r for r in UNIFIED if (r / "cgroup.procs").exists()), None)
    path = root / f"oomkit-test-{os.getpid()}" if root else None
    try:
        assert path is not None, "version 2 is not mounted"
        path.mkdir()
        (path / "below").mkdir()
    except (OSError, AssertionError) as error:
        pytest.skip(f"needs root and cgroups of version 2: {error}")
    yield path
    end = time.monotonic() + 5
    for directory in (path / "below", path):
        while directory.exists():
            with contextlib.suppress(OSError):
                directory.rmdir()
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_cgroup_has_those_below_it_as_well(group: Path, sleeper: subprocess.Popen[bytes]) -> None:
    (group / "below/cgroup.procs").write_text(str(sleeper.pid))
    assert pids_below(str(group)) == [sleeper.pid]


def test_a_cgroup_that_is_gone_has_none(tmp_path: Path) -> None:
    assert pids_below(str(tmp_path / "gone")) == []


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_notified(tmp_path: Path, abstract: bool) -> None:
    path = f"oomkit-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path if abstract else path)
        ours = ServiceManager({"NOTIFY_SOCKET": "@" + path if abstract else path})
        ours.send(b"READY=1")
        assert manager.recv(100) == b"READY=1"
    ours.send(b"STOPPING=1")  # it is gone: no fault
    ours.close()
    assert ours.watchdog_s is None


def test_the_watchdog_is_the_managers_wish_for_this_process_alone() -> None:
    assert ServiceManager({"WATCHDOG_USEC": "30000000"}).watchdog_s == 30.0
    own, other = str(os.getpid()), "1"
    assert ServiceManager({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": own}).watchdog_s == 0.001
    assert ServiceManager({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": other}).watchdog_s is None
    assert ServiceManager({"WATCHDOG_USEC": "soon", "NOTIFY_SOCKET": "tcp"}).watchdog_s is None


@pytest.mark.parametrize(
    ("path", "unit", "container"),
    [
        ("/", None, None),
        ("/system.slice/mysqld.service", "mysqld.service", None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-77.scope",
         "user@1000.service/app-firefox-77.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope",
         "user@1000.service/init.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service", "user@1000.service", None),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope", None),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
         f"user@1000.service/libpod-{ID}.scope", f"user@1000.service/{ID}"),
        ("/system.slice/system-getty.slice/getty@tty1.service/inner", "getty@tty1.service", None),
        (f"/system.slice/docker-{ID}.scope/system.slice/sshd.service",
         f"docker-{ID}.scope/sshd.service", ID),
        (f"/system.slice/docker-{ID}.scope", f"docker-{ID}.scope", ID),
        (f"/docker/{ID}", None, ID),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
         f"cri-containerd-{ID}.scope", ID),
        (f"/machine.slice/libpod-{ID}.scope/container", f"libpod-{ID}.scope", ID),
        ("/anywhere/system.slice/sshd.service", "sshd.service", None),
        (f"/docker/{ID}/system.slice/sshd.service", f"{ID}/sshd.service", ID),
        ("/lxc.payload.web/system.slice/nginx.service", "lxc.payload.web/nginx.service", "web"),
    ],
)  # fmt: skip
def test_unit_and_container_of_a_cgroup(path: str, unit: str | None, container: str | None) -> None:
    assert unit_of(path) == unit
    assert container_of(path) == container


def test_in_a_container_without_a_cgroup_namespace_units_are_those_of_its_manager() -> None:
    root = manager_root(f"/docker/{ID}/init.scope")
    assert root == f"/docker/{ID}"
    assert unit_of(f"{root}/system.slice/sshd.service", root) == "sshd.service"
    assert unit_of("/system.slice/sshd.service", manager_root("/init.scope")) == "sshd.service"


def test_the_c_library_is_asked_for_no_name_after_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """To look a name up reads tables of symbols, in memory that the daemon has locked by then."""

    def looked_up(_: object, name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr("oomkit.host.libc._Libc.function", looked_up)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/smaps").write_text("")
    libc.drop_files(str(tmp_path))
    fd = libc.watch_directories([str(tmp_path)])
    os.close(fd)
    with pytest.raises(OSError, match=r"Invalid argument|Function not implemented|Bad file"):
        libc.process_mrelease(-1)
