"""The agent as process 1 of a guest: makes the machine ready, plays the plan in ``/plan``."""

from __future__ import annotations

import ctypes
import marshal
import os
import time

from . import swap
from .beside import Beside
from .groups import write
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MCL_CURRENT_AND_FUTURE = 3
_MS_NOATIME = 1024
_PORT = "/dev/vport0p1"
_MOUNTS = (
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
)
_TRACING = "/sys/kernel/tracing"

_CHUNK = 1 << 20


class Setup:
    """The system calls Python has no name for."""

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)

    def check(self, result: int, what: str) -> None:
        """Raise what a call reports.

        Raises:
            OSError: with ``what`` as its file name.
        """
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)

    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        """Mount a file system."""
        os.makedirs(target, exist_ok=True)
        self.check(
            self.libc.mount(
                source.encode(), target.encode(), kind.encode(), flags, data.encode() or None
            ),
            target,
        )

    def swapon(self, device: str, flags: int) -> None:
        """Use a device for swap."""
        self.check(self.libc.swapon(device.encode(), flags), device)

    def insert(self, path: str) -> None:
        """Load a kernel module (x86-64: system call 313)."""
        fd = os.open(path, os.O_RDONLY)
        self.check(self.libc.syscall(313, fd, b"", 0), path)
        os.close(fd)
        os.unlink(path)


_QUIET_LOOKS = 10
"""Number of looks in a row that must find nothing else running."""


def main() -> None:
    """Never returns: process 1 that does would panic the guest."""
    setup = Setup()
    for source, target, kind in _MOUNTS:
        # Without a limit of its own: scenarios fill memory with it.
        data = "size=0" if target == "/tmp" else ""
        setup.mount(source, target, kind, 0, data)
    # What we fork and is no task must not be chosen; tasks and the companion set their own.
    write("/proc/self/oom_score_adj", "-1000")
    for path in sorted(os.listdir("/modules")):
        setup.insert(f"/modules/{path}")
    with open("/plan", "rb") as file:
        plan = marshal.load(file)
    port = os.open(_wait_for(_PORT), os.O_RDWR)
    watch = None
    try:
        _prepare(setup, plan["guest"])
        _wait_until_quiet()
        watch = Watch(plan, port, -1)
        watch.report.say("ready")
        os.read(port, 1)  # the host throttles the disk now
        watch.beside = Beside(watch.report, plan)
        watch.beside.start()
        watch.run()
    except (OSError, MemoryError) as error:
        number = getattr(error, "errno", None) or 0
        text = f"failed 0 {number} {getattr(error, 'filename', None) or '-'}\n"
        os.write(port, text.encode())
    while True:
        time.sleep(60)


def _wait_for(path: str) -> str:
    """Give a device ten seconds to appear."""
    for _ in range(1000):
        if os.path.exists(path):
            break
        time.sleep(0.01)
    return path


def _wait_until_quiet() -> None:
    """Let the kernel end what it still does after its boot, half a minute at most.

    From 7.x on its threads keep a CPU busy for some seconds, and a fault takes three times as long.
    """
    quiet = 0
    for _ in range(1500):
        with open("/proc/stat", "rb") as file:
            running = file.read().split(b"procs_running ", 1)[1].split(None, 1)[0]
        quiet = quiet + 1 if running == b"1" else 0  # the one is this process
        if quiet == _QUIET_LOOKS:
            return
        time.sleep(0.02)


def _prepare(setup: Setup, guest: dict[str, Any]) -> None:
    if guest["cgroup"]:
        setup.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
        with open("/sys/fs/cgroup/cgroup.subtree_control", "w", encoding="ascii") as file:
            file.write(guest["cgroup"])
    if guest["cgroup1"]:
        setup.mount("tmpfs", "/cgroup", "tmpfs")
        setup.mount("cgroup", "/cgroup/memory", "cgroup", 0, "memory")
    if guest["disk"]:
        setup.mount(_wait_for(guest["disk"]), "/disk", "ext4", _MS_NOATIME)
        os.chmod("/disk", 0o777)
        for name, size in guest["files"]:
            _fill(f"/disk/{name}", size)
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")
    if guest["swap"]:
        device = _wait_for(guest["swap"])
        setup.swapon(device, 0)
    if guest["zram"]:
        swap.add_zram(guest["zram"], setup.swapon)
    if guest["beats"] and os.path.isdir(_TRACING):
        setup.mount("tracefs", _TRACING, "tracefs")
    # The watcher must see and report what happens while there is no memory.
    setup.check(setup.libc.mlockall(_MCL_CURRENT_AND_FUTURE), "mlockall")


def _fill(path: str, size: int) -> None:
    """Write a file whose blocks exist; holes would be read without the disk."""
    chunk = bytes([1]) * _CHUNK
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    os.fchmod(fd, 0o666)
    while size > 0:
        size -= os.write(fd, chunk[: min(size, _CHUNK)])
    os.close(fd)
