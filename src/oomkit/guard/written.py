"""Who writes files that lie in memory, by what each process says it has written."""

import os
import stat

from oomkit.guard.kept import number_after
from oomkit.guard.shmem import kernel_device
from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CONSIDERED = 4
"""So many of those who wrote most are looked at closely."""
LEAST_SHARE = 8
"""Who wrote less than this part of what tmpfs grew by is nobody to look at."""
MOST_FILES = 256
"""Open files of a process that are looked at."""


class Written:
    """What every process says it has written.

    Args:
        proc: the proc file system. Its ``PID/io`` need CONFIG_TASK_IO_ACCOUNTING and the right to
            trace; whoever can't be read is not known to have written.
    """

    __slots__ = ("_kernel", "_proc")

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._kernel = kernel_device()

    def now(self) -> dict[int, int]:
        """Bytes that everybody has written so far, disks left out."""
        return dict(self._of(self._everybody()))

    def to_tmpfs(
        self, grown_kb: float, before: dict[int, int], pids: "Iterable[int] | None" = None
    ) -> dict[int, float]:
        """Who wrote to tmpfs since a moment before, and how much, kB.

        Writes to pipes and sockets count as well, so only who has a file of a tmpfs open is taken
        for a writer, and for no more than came about.

        Args:
            grown_kb: how much shared memory grew since then.
            before: what :meth:`now` said then.
            pids: who may have been it; None: everybody.
        """
        found = []
        for pid, written in self._of(self._everybody() if pids is None else pids):
            had = before.get(pid, 0)
            kb = (written - had if written >= had else written) / 1024
            if kb * LEAST_SHARE >= grown_kb:
                found.append((kb, pid))
        found.sort(reverse=True)
        return {
            pid: min(kb, grown_kb)
            for kb, pid in found[:CONSIDERED]
            if self._has_open_on_tmpfs(pid)
        }  # fmt: skip

    def _everybody(self) -> "Iterable[int]":
        try:
            return [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return []

    def _of(self, pids: "Iterable[int]") -> "Iterable[tuple[int, int]]":
        """Bytes that each has written and that did not go to a disk."""
        for pid in pids:
            io = read_or_none(f"{self._proc}/{pid}/io")
            if io:
                to_disk = number_after(io, b"\nwrite_bytes:") or 0
                yield pid, max((number_after(io, b"wchar:") or 0) - to_disk, 0)

    def _has_open_on_tmpfs(self, pid: int) -> bool:
        devices = self.tmpfs_devices(pid)
        directory = f"{self._proc}/{pid}/fd"
        try:
            names = os.listdir(directory)[:MOST_FILES]
        except OSError:
            return False
        for name in names:
            try:
                found = os.stat(f"{directory}/{name}")
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_dev in devices:
                return True
        return False

    def tmpfs_devices(self, pid: int) -> set[int]:
        """The tmpfs that a process sees, by device, and the kernel's own for what has no name."""
        devices = {self._kernel} if self._kernel is not None else set()
        for line in (read_or_none(f"{self._proc}/{pid}/mountinfo") or b"").splitlines():
            fields, _, source = line.partition(b" - ")
            if source.startswith(b"tmpfs "):
                major, _, minor = fields.split(b" ", 3)[2].partition(b":")
                devices.add(os.makedev(int(major), int(minor)))
        return devices
