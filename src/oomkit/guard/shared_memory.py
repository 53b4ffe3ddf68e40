"""Memory that several processes hold, and what of it dies with one.

Processes share all of their memory without being threads of one (``CLONE_VM``, ``vfork``), or map
the same pages; those that no other process maps, and no file keeps, die with the one that does.
"""

import os
import stat
from functools import cmp_to_key
from itertools import pairwise

from oomkit.guard.kernel_file import number_after
from oomkit.guard.process_files import living_thread
from oomkit.host.libc import kcmp_memory
from oomkit.host.procfs import read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from oomkit.guard.process_sizes import ProcessSizes
    from oomkit.policy.engine.candidate import Candidate

_TRIES = 4


class Sharers:
    """Finds them by ``kcmp``, whose order of address spaces lets processes be sorted.

    That order holds for as long as the machine is up. So what was sorted before is put into the
    same order to begin with, which leaves one comparison for each; nothing else is concluded
    from it.

    Attributes:
        compared: pids that were compared with each other when last asked; which of them is
            not marked shares its memory with none of them.
    """

    __slots__ = ("_place", "compared")

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self.compared: frozenset[int] = frozenset()

    def mark(self, top: "Sequence[Candidate]") -> None:
        """Give those of the largest that share an address space the same ``mm_id``.

        Where ``kcmp`` is refused or not built in no sharing is known.
        """
        self.compared = frozenset()
        living = [one for one in top if not one.kthread and one.anon_kb + one.swap_kb > 0.0]
        for one in living:
            one.mm_id = None
        place, last = self._place, len(self._place)
        living.sort(key=lambda one: place.get(one.tid, last))
        for _ in range(_TRIES):
            try:
                living = _sorted(living)
            except ProcessLookupError:  # one has exited meanwhile
                living = [one for one in living if _shares(one.tid, one.tid)]
                continue
            except OSError:
                return
            self._place = {one.tid: number for number, one in enumerate(living)}
            self.compared = frozenset(one.pid for one in living)
            return
        _mark_pairs(living)


def _sorted(living: "list[Candidate]") -> "list[Candidate]":
    """In the kernel's order, those that share an address space marked.

    Raises:
        ProcessLookupError: one has exited.
        OSError: ``kcmp`` is refused, or not built in.
    """
    equal = False

    def order(one: "Candidate", other: "Candidate") -> int:
        nonlocal equal
        found = kcmp_memory(one.tid, other.tid)
        equal = equal or not found
        return (0, -1, 1)[found]

    ordered = sorted(living, key=cmp_to_key(order))
    # A sharer has been compared with another one, so as a rule this is all.
    if equal:
        for before, one in pairwise(ordered):
            if kcmp_memory(before.tid, one.tid) == 0:
                before.mm_id = one.mm_id = before.mm_id or before.pid
    return ordered


def sharers_of(
    pid: int, pids: "Iterable[int]", proc: str = "/proc", *, tid: int | None = None
) -> list[int]:
    """Those of some processes that share the address space of another one.

    Args:
        pid: that one.
        pids: the others.
        proc: the proc file system.
        tid: a thread of it that had its memory when it was last read; None: the leading one.
    """
    found = []
    try:
        tid = _living(pid, proc, pid if tid is None else tid)
    except OSError:
        return []
    for other in pids:
        try:
            if other != pid and _shares_with(tid, other, proc):
                found.append(other)
        except ProcessLookupError:
            continue
        except OSError:
            break
    return found


def _shares_with(tid: int, pid: int, proc: str) -> bool:
    """Whether a process shares the address space of a thread of another one.

    Raises:
        OSError: it is gone, or ``kcmp`` is refused.
    """
    if kcmp_memory(tid, pid) == 0:
        return True
    try:
        # A leading thread that has exited has no program any more; to see that opens no file.
        os.readlink(f"{proc}/{pid}/exe")
    except OSError:
        thread = _living(pid, proc, pid)
        return thread != pid and kcmp_memory(tid, thread) == 0
    return False


def _living(pid: int, proc: str, tid: int) -> int:
    """A thread of a process that has its memory: a leading one that has exited has none.

    Args:
        pid: the process.
        proc: the proc file system.
        tid: the thread it is taken to be where no more files can be opened.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        thread = living_thread(f"{proc}/{pid}", strict=True)
    except ProcessLookupError:
        raise
    except OSError:
        return tid
    return int(thread.rpartition("/")[2])


def _mark_pairs(living: "Sequence[Candidate]") -> None:
    for index, one in enumerate(living):
        for other in living[index + 1 :]:
            if _shares(one.tid, other.tid):
                other.mm_id = one.mm_id = one.mm_id or one.pid


def _shares(one: int, other: int) -> bool:
    try:
        return kcmp_memory(one, other) == 0
    except OSError:
        return False


_DELETED = b" (deleted)"
_SYSV = b"/SYSV"
_SEGMENTS = "/proc/sysvipc/shm"
_SHM_DEST = 0o1000
_REMEMBERED_S = 10.0
"""Seconds for which it is remembered what a process maps alone."""
_STEP = 8
"""It is read again once the process maps an eighth more or less of shared memory."""
HOLDS = 1 / 64
"""Share of memory, mapped from files or shared, from which a process may hold some alone."""
_HOLDERS = 16
"""Number of those of which shared memory is read."""
_HOLDERS_READ = 4
"""Number of processes for which memory that only they map is read, which takes long."""


class SoleMemory:
    """What processes alone map of shared memory, remembered while they map about as much.

    To read it the kernel walks all of a process's page tables, which takes longer than all else
    that a choice reads.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[float, float, int]] = {}

    def known(self, key: tuple[int, int], shmem_kb: float, t_s: float) -> int | None:
        """What was measured, kB; None if that is too long ago or the process changed since.

        Args:
            key: pid and start time of the process.
            shmem_kb: shared memory that it maps now.
            t_s: now.
        """
        measured_s, then_kb, found = self._known.get(key, (float("-inf"), 0.0, 0))
        fresh = 0.0 <= t_s - measured_s <= _REMEMBERED_S
        return found if fresh and abs(shmem_kb - then_kb) * _STEP <= then_kb else None

    def measure(self, key: tuple[int, int], directory: str, shmem_kb: float, t_s: float) -> int:
        """Read it, kB; see :func:`mapped_kb`."""
        found = mapped_kb(directory)
        self._known[key] = (t_s, shmem_kb, found)
        return found

    def forget(self) -> None:
        """Remember nothing."""
        self._known.clear()


class SoleHolders:
    """Which of the processes that map the most shared memory hold some alone, and how much.

    Args:
        proc: where processes are.
    """

    __slots__ = ("_noted", "_proc", "_sole")

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self._sole = SoleMemory()
        self._noted: list[tuple[float, dict[str, int]]] = []

    def note(self, t_s: float, sizes: "ProcessSizes") -> None:
        """Remember what is mapped now, for growth to be counted from."""
        self._noted = [*self._noted[-1:], (t_s, dict(sizes.shared_kb))]

    def measured(
        self,
        sizes: "ProcessSizes",
        top: "Iterable[Candidate]",
        read: "Callable[..., list[Candidate]]",
        t_s: float,
    ) -> "list[tuple[Candidate, int]]":
        """Those that map the most shared memory, and what they map alone, kB.

        Args:
            sizes: of all processes.
            top: those that were read.
            read: reads others, as :meth:`.shortlist.Shortlist.also` does.
            t_s: now.
        """
        at_hand, least_kb = {one.pid: one for one in top}, sizes.least_shared_kb
        names = sorted(sizes.shared_kb, key=sizes.shared_kb.__getitem__, reverse=True)[:_HOLDERS]
        names = [name for name in names if self._maps(name, at_hand.get(int(name)), least_kb)]
        found = []
        for name in names[:_HOLDERS_READ]:
            one = at_hand.get(int(name))
            if one is None:
                (one,) = read([int(name)], most=1) or (None,)
                if one is None:
                    continue
            key = (one.pid, one.start_time)
            sole_kb = self._sole.known(key, one.shmem_kb, t_s)
            if sole_kb is None:
                try:
                    directory = living_thread(f"{self._proc}/{name}")
                except OSError:
                    continue  # no more files can be opened: it is ranked by what is known
                sole_kb = self._sole.measure(key, directory, one.shmem_kb, t_s)
            found.append((one, sole_kb))
        return found

    def give(
        self, one: "Candidate", sole_kb: int, sizes: "ProcessSizes", t_s: float | None
    ) -> bool:
        """Count what a process maps alone as its own, and as its growth; says whether it has any.

        Args:
            one: the process; changed.
            sole_kb: what was measured.
            sizes: of all processes.
            t_s: when they were read; None: they were not.
        """
        one.shmem_sole_kb = min(float(sole_kb), one.shmem_kb + one.swap_kb)
        if not one.shmem_sole_kb:
            return False
        name = str(one.pid)
        grown_kb = sizes.shared_kb[name] - self._before_kb(one, name, t_s)
        one.growth_kb = (one.growth_kb or 0.0) + min(max(grown_kb, 0.0), one.shmem_sole_kb)
        return True

    def forget(self) -> None:
        """The shortage is over."""
        self._sole.forget()
        self._noted = []

    def _maps(self, name: str, one: "Candidate | None", least_kb: int) -> bool:
        if one is not None:
            return one.shmem_kb >= least_kb
        try:
            directory = living_thread(f"{self._proc}/{name}")
        except OSError:
            return False
        return shared_kb(directory) >= least_kb

    def _before_kb(self, one: "Candidate", name: str, t_s: float | None) -> float:
        """What a process mapped of files and shared memory when growth began to count."""
        if not self._noted or t_s is None:
            return 0.0
        noted_s, noted = self._noted[0]
        return 0.0 if one.age_s < t_s - noted_s else float(noted.get(name, 0.0))


def kernel_device() -> int | None:
    """The device of the tmpfs that ``memfd_create`` and shared mappings without a file lie on."""
    try:
        fd = os.memfd_create("oomkit")
    except OSError:
        return None
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def mapped_kb(directory: str, segments: str = _SEGMENTS) -> int:
    """What a process alone maps of shared memory that goes with its last mapping.

    Files stay until they are removed, and so do segments of System V.

    Args:
        directory: of the process, or of a living thread of it, in ``/proc``.
        segments: the list of the latter.
    """
    found = 0
    counts = False
    removed: set[bytes] | None = None
    for line in (read_or_none(f"{directory}/smaps") or b"").split(b"\n"):
        key, _, value = line.partition(b":")
        if b"-" in key.partition(b" ")[0]:
            words = line.split(None, 5)
            name = words[5] if len(words) > 5 else b""
            counts = name.endswith(_DELETED) and words[1][3:4] == b"s"
            if counts and name.startswith(_SYSV):
                if removed is None:
                    removed = _removed_segments(directory, segments)
                counts = words[4] in removed  # its number is that of the inode
        elif counts and key in (b"Private_Clean", b"Private_Dirty", b"Swap"):
            number = value.partition(b"kB")[0].strip()
            found += int(number) if number.isdigit() else 0
    return found


def _removed_segments(directory: str, segments: str) -> set[bytes]:
    """Numbers of those segments that are freed when no process has them attached any more.

    Empty for a process of another IPC namespace, whose segments we don't see.
    """
    try:
        if os.stat(f"{directory}/ns/ipc").st_ino != os.stat("/proc/self/ns/ipc").st_ino:
            return set()
    except OSError:
        return set()
    rows = [line.split(None, 3) for line in (read_or_none(segments) or b"").splitlines()[1:]]
    return {row[1] for row in rows if len(row) > 2 and int(row[2], 8) & _SHM_DEST}


def unnamed_files_kb(directory: str, devices: "set[int]") -> int:
    """What a process holds open of files in memory that have no name any more.

    Args:
        directory: of the process in ``/proc``.
        devices: those of tmpfs.
    """
    found: dict[tuple[int, int], int] = {}
    try:
        names = os.listdir(f"{directory}/fd")
    except OSError:
        return 0
    for name in names:
        try:
            file = os.stat(f"{directory}/fd/{name}")
        except OSError:
            continue
        if stat.S_ISREG(file.st_mode) and not file.st_nlink and file.st_dev in devices:
            found[file.st_dev, file.st_ino] = file.st_blocks // 2
    return sum(found.values())


def shared_kb(directory: str) -> int:
    """Shared memory that a process maps (``RssShmem``)."""
    return number_after(read_or_none(f"{directory}/status") or b"", b"\nRssShmem:") or 0
