"""What softer acts are done to: cgroups and processes, looked at before an act and during it."""

from oomkit.host.cgroup_control import HeldCgroup
from oomkit.host.pidfd import start_ticks_of
from oomkit.host.procfs import NO_FILES, read_single, stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.guard.config import Places
    from oomkit.guard.killer import Key, Killer
    from oomkit.guard.undo import Undo

MOST_PROCESSES = 512
"""A cgroup with more is left alone: all of them are looked at before an act."""


class Targets:
    """Looks at what an act is done to.

    Args:
        killer: looks at processes.
        places: where processes and cgroups are.
    """

    __slots__ = ("_killer", "_places")

    def __init__(self, killer: "Killer", places: "Places") -> None:
        self._killer = killer
        self._places = places

    def refusal(self, held: HeldCgroup, pid: int | None = None) -> str:
        """Why nothing may be done to a cgroup; empty where it may.

        Args:
            held: the cgroup.
            pid: a process that has to be in it; None: none has.
        """
        pids = held.pids()
        if pid is not None and pid not in pids:
            return f"process {pid} is not in it any more"
        if len(pids) > MOST_PROCESSES:
            return f"{len(pids)} processes are in it, more than are looked at"
        if 0 in pids:
            return "a process in it can't be seen from this pid namespace"
        for one in pids:
            started = start_ticks_of(one, self._places.proc)
            found = self._killer.check([(one, started)], keep=False) if started else None
            if found is not None:
                return f"process {one} in it: {found[1]}"
        return ""

    def protected(self, undo: "Undo") -> str:
        """Why what is in force must not be so any more; empty where it may."""
        if not undo.file:
            found = self._killer.check(undo.keys, keep=False)
            return "" if found is None else f"process {found[0][0]}: {found[1]}"
        try:
            held = HeldCgroup(self._places.cgroups, undo.place, undo.identity)
        except OSError as error:
            return "" if error.errno in NO_FILES else "it is gone"
        with held:
            try:
                return self.refusal(held)
            except OSError as error:
                return "" if error.errno in NO_FILES else error.strerror or str(error)

    def pids_in(self, undo: "Undo") -> set[int]:
        """Those that an act is in force on; empty where its cgroup is gone or can't be read."""
        if not undo.file:
            return {pid for pid, _ in undo.keys}
        try:
            with HeldCgroup(self._places.cgroups, undo.place, undo.identity) as held:
                return set(held.pids())
        except OSError:
            return set()

    def freed_kb(self, place: str, usage_kb: float) -> int | None:
        """How much less a cgroup uses than it did, kB; None where that can't be read."""
        try:
            with HeldCgroup(self._places.cgroups, place) as held:
                return max(int(usage_kb - int(held.read("memory.current")) / 1024), 0)
        except (OSError, ValueError):
            return None

    def stopped(self, keys: "Sequence[Key]") -> str:
        """Which of some processes stands still already; empty where none does."""
        for pid, _ in keys:
            if _state_of(pid, self._places.proc) in (b"T", b"t"):
                return f"process {pid} is stopped already"
        return ""


def _state_of(pid: int, proc: str) -> bytes:
    try:
        return stat_fields(read_single(f"{proc}/{pid}/stat"), 1)[0]
    except (OSError, IndexError):
        return b""
