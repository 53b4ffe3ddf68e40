"""Who fills tmpfs: memory that belongs to no process, and grows with what one writes."""

import os

from oomkit.guard.kept import number_after
from oomkit.guard.shmem import unnamed_files_kb
from oomkit.guard.written import Written
from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.guard.places import Places
    from oomkit.policy.core.candidate import Candidate


_MUCH = 5
"""So many steps of shared memory are worth a look before it is known who grew."""


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

    __slots__ = ("_newer", "_older", "_places", "_written")

    def __init__(self, places: "Places") -> None:
        self._places = places
        self._older: _Noted | None = None
        self._newer: _Noted | None = None
        self._written = Written(places.proc)

    def note(self, shmem_kb: float) -> None:
        """Growth counts from now on, or from the time before.

        Args:
            shmem_kb: Shmem of the machine.
        """
        noted = _Noted(shmem_kb, self._walk(), self._written.now())
        self._older, self._newer = self._newer or noted, noted

    def forget(self) -> None:
        """The shortage is over."""
        self._older = self._newer = None

    def writers(
        self, shmem_kb: float, step_kb: float, holders: "Sequence[Candidate]" = ()
    ) -> dict[int, float]:
        """Who filled tmpfs, as far as can be told, and how much each, kB.

        Their cgroup tells, and which of its processes wrote; where none of those is known to have,
        it is shared out among them. Without cgroups that tell, only who wrote counts.

        Args:
            shmem_kb: Shmem of the machine.
            step_kb: as long as the machine's has not grown by so much, nobody is looked at.
            holders: processes with shared memory of their own, which nobody else is asked for.
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
        """Who wrote what lies in memory without a name, where growth is not known yet."""
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
