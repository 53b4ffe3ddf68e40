"""Who fills tmpfs: memory that belongs to no process, and grows with what one writes."""

import os

from oomkit.guard.kept import number_after
from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oomkit.guard.places import Places


class Tmpfs:
    """Shared memory by cgroup, since growth began to count.

    Args:
        places: where the cgroups are.
    """

    __slots__ = ("_by_path", "_places", "_shmem_kb")

    def __init__(self, places: "Places") -> None:
        self._places = places
        self._by_path: dict[str, float] = {}
        self._shmem_kb: float | None = None

    def note(self, shmem_kb: float) -> None:
        """Growth counts from now on.

        Args:
            shmem_kb: Shmem of the machine.
        """
        self._shmem_kb = shmem_kb
        self._by_path = self._walk()

    def writers(self, shmem_kb: float, step_kb: float) -> dict[int, float]:
        """Processes of cgroups whose shared memory grew, and each one's share of it, kB.

        Args:
            shmem_kb: Shmem of the machine.
            step_kb: as long as the machine's has not grown by so much, nobody is looked at.
        """
        if self._shmem_kb is None or shmem_kb - self._shmem_kb < step_kb:
            return {}
        shares: dict[int, float] = {}
        for path, kb in self._walk().items():
            grown_kb = kb - self._by_path.get(path, 0.0)
            if grown_kb >= step_kb / 2:
                listed = read_or_none(f"{self._places.cgroups}{path}/cgroup.procs") or b""
                pids = [int(pid) for pid in listed.split()]
                shares.update((pid, grown_kb / len(pids)) for pid in pids)
        return shares

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
