"""Processes that fill tmpfs: memory that belongs to none, and grows with what one writes."""

import os
import stat

from oomkit.guard.kernel_file import number_after
from oomkit.guard.shared_memory import kernel_device, unnamed_files_kb
from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oomkit.guard.config import Places
    from oomkit.policy.engine.candidate import Candidate

CONSIDERED = 4
"""Number of the largest writers that are looked at closely."""
MIN_SHARE = 8
"""Writers of less than this share of tmpfs growth are ignored."""
MAX_FILES = 256
"""Open files of a process that are looked at."""


class WriteCounters:
    """What every process says it has written.

    Args:
        proc: the proc file system. Its ``PID/io`` need CONFIG_TASK_IO_ACCOUNTING and the right to
            trace; a process that can't be read is not known to have written.
    """

    __slots__ = ("_kernel", "_proc")

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._kernel = kernel_device()

    def now(self) -> dict[int, int]:
        """Bytes that each process has written so far, disks left out."""
        return dict(self._of(self._all()))

    def to_tmpfs(
        self, grown_kb: float, before: dict[int, int], pids: "Iterable[int] | None" = None
    ) -> dict[int, float]:
        """The processes that wrote to tmpfs since a moment before, and how much, kB.

        Writes to pipes and sockets count as well, so only a process with a file of a tmpfs open is
        taken for a writer, and for no more than came about.

        Args:
            grown_kb: how much shared memory grew since then.
            before: what :meth:`now` said then.
            pids: the processes in question; None: all.
        """
        found = []
        for pid, written in self._of(self._all() if pids is None else pids):
            had = before.get(pid, 0)
            kb = (written - had if written >= had else written) / 1024
            if kb * MIN_SHARE >= grown_kb:
                found.append((kb, pid))
        found.sort(reverse=True)
        return {
            pid: min(kb, grown_kb)
            for kb, pid in found[:CONSIDERED]
            if self._has_open_on_tmpfs(pid)
        }  # fmt: skip

    def _all(self) -> "Iterable[int]":
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
            names = os.listdir(directory)[:MAX_FILES]
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


_MUCH = 5
"""Steps of shared memory after which its long-time holders are looked at."""
_HOLDERS = 16
"""Number of the largest writers of which it is read how much they hold."""


class _Noted:
    """How things were at one moment."""

    __slots__ = ("by_path", "shmem_kb", "written")

    def __init__(self, shmem_kb: float, by_path: dict[str, float], written: dict[int, int]) -> None:
        self.shmem_kb = shmem_kb
        self.by_path = by_path
        self.written = written


class Tmpfs:
    """Shared memory by cgroup, and what processes wrote, since growth began to count.

    Two moments are kept, as of processes' sizes, so that a new one does not hide what came before.

    Args:
        places: where processes and cgroups are.
    """

    __slots__ = ("_holders", "_newer", "_older", "_places", "_written")

    def __init__(self, places: "Places") -> None:
        self._places = places
        self._older: _Noted | None = None
        self._newer: _Noted | None = None
        self._holders: list[int] = []
        self._written = WriteCounters(places.proc)

    def note(self, shmem_kb: float, step_kb: float = 0.0) -> None:
        """Growth counts from now on, or from the time before.

        Args:
            shmem_kb: Shmem of the machine.
            step_kb: processes that hold less in files without a name are ignored.
        """
        written = self._written.now()
        noted = _Noted(shmem_kb, self._walk(), written)
        self._older, self._newer = self._newer or noted, noted
        self._holders = []
        if shmem_kb >= _MUCH * step_kb > 0.0:
            most = sorted(written, key=written.__getitem__, reverse=True)[:_HOLDERS]
            self._holders = [pid for pid in most if self.unnamed_kb(pid) >= step_kb]

    def held_kb(self) -> dict[int, float]:
        """What each process holds, kB, that held much in files without a name when last noted."""
        return {pid: self.unnamed_kb(pid) for pid in self._holders}

    def forget(self) -> None:
        """The shortage is over."""
        self._older = self._newer = None
        self._holders = []

    def writers(
        self, shmem_kb: float, step_kb: float, holders: "Sequence[Candidate]" = ()
    ) -> dict[int, float]:
        """The processes that filled tmpfs, as far as is known, and how much each, kB.

        Their cgroup shows it, and which of its processes wrote; where none is known to have
        written, it is shared out among them. Without such cgroups only writes count.

        Args:
            shmem_kb: Shmem of the machine.
            step_kb: as long as the machine's has not grown by so much, no process is looked at.
            holders: processes with shared memory of their own, which is read of no others.
        """
        before = self._older
        if before is None:
            return self._holding(shmem_kb - sum(one.shmem_sole_kb for one in holders), step_kb)
        if shmem_kb - before.shmem_kb < step_kb:
            return {}
        grown = {path: kb - before.by_path.get(path, 0.0) for path, kb in self._walk().items()}
        for one in holders:
            path = one.cgroup or ""
            if path != "/" and path in grown:
                grown[path] -= one.shmem_sole_kb
        groups = [(path, kb) for path, kb in grown.items() if path and kb >= step_kb / 2]
        if not groups:
            left_kb = shmem_kb - before.shmem_kb - sum(one.shmem_sole_kb for one in holders)
            return self._written.to_tmpfs(left_kb, before.written) if left_kb >= step_kb else {}
        shares: dict[int, float] = {}
        for path, grown_kb in groups:
            pids = self._inside(path)
            known = self._written.to_tmpfs(grown_kb, before.written, pids)
            shares.update(known or {pid: grown_kb / len(pids) for pid in pids})
        return shares

    def _holding(self, shmem_kb: float, step_kb: float) -> dict[int, float]:
        """The processes that wrote files without a name, where growth is not known yet."""
        if shmem_kb < _MUCH * step_kb:
            return {}
        found = self._written.to_tmpfs(shmem_kb, {})
        return {pid: kb for pid, kb in found.items() if self.unnamed_kb(pid) >= step_kb}

    def unnamed_kb(self, pid: int) -> float:
        """What a process holds open in memory that has no name, so that it dies with it."""
        directory = f"{self._places.proc}/{pid}"
        return unnamed_files_kb(directory, self._written.tmpfs_devices(pid))

    def _inside(self, path: str) -> list[int]:
        listed = read_or_none(f"{self._places.cgroups}{path}/cgroup.procs") or b""
        return [int(pid) for pid in listed.split()]

    def _walk(self) -> dict[str, float]:
        """Shared memory charged to each cgroup; in version 2 with those below."""
        found: dict[str, float] = {}
        root = self._places.cgroups
        if not root:
            return found
        for directory, _, files in os.walk(root):
            if "memory.stat" in files:
                stat = read_or_none(f"{directory}/memory.stat") or b""
                found[directory[len(root) :]] = (number_after(stat, b"\nshmem ") or 0) / 1024
        return found
