"""A process of the short list: its files kept open, and what they say as a candidate."""

import os

from oomkit.guard.kept import number_after
from oomkit.host.membership import container_of, parse_membership, unit_of
from oomkit.policy.core.candidate import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from oomkit.guard.places import Places

_FLAGS = os.O_RDONLY | os.O_CLOEXEC
PF_EXITING = 0x00000004
PF_KTHREAD = 0x00200000
_SIGKILL_BIT = 1 << 8
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Wanted:
    """What is read of each process.

    Attributes:
        places: where.
        fields: those of a candidate that cost a read of their own and that somebody asks for.
        users: names of user ids.
    """

    __slots__ = ("fields", "places", "users")

    def __init__(
        self, places: "Places", fields: "frozenset[str]", users: "Mapping[int, str]"
    ) -> None:
        self.places = places
        self.fields = fields
        self.users = users


class Watched:
    """One process.

    Kept descriptors can't be mistaken for those of a later process with the same number: they
    read as ESRCH once it is gone.

    Attributes:
        pid: thread group id.
        candidate: what was last read.
    """

    __slots__ = ("_adj", "_cgroup", "_known_comm", "_score", "_stat", "_status", "candidate", "pid")

    def __init__(self, pid: int, wanted: Wanted, boot_s: float) -> None:
        """Open its files, and read them.

        Args:
            pid: thread group id.
            wanted: what is read.
            boot_s: seconds since boot, with those asleep.

        Raises:
            OSError: it is gone, is not ours to see, or too many files are open.
            ValueError, IndexError: the files are not what they should be.
        """
        self.pid = pid
        self._stat = self._status = self._adj = self._score = -1
        self._known_comm: str | None = None
        self._cgroup = ""
        directory = f"{wanted.places.proc}/{pid}"
        try:
            self._stat = os.open(f"{directory}/stat", _FLAGS)
            self._status = os.open(_living_thread(directory, self._stat) + "/status", _FLAGS)
            self._adj = os.open(f"{directory}/oom_score_adj", _FLAGS)
            if "oom_score" in wanted.fields:
                self._score = os.open(f"{directory}/oom_score", _FLAGS)
            self.candidate = self._read(wanted, boot_s)
        except (OSError, ValueError, IndexError):
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Its files are open, so that :meth:`look` can read them."""
        return self._stat >= 0

    def look(self, wanted: Wanted, boot_s: float) -> Candidate:
        """Read it again.

        Args:
            wanted: what is read.
            boot_s: seconds since boot, with those asleep.

        Raises:
            OSError: it is gone.
            ValueError, IndexError: the files are not what they should be.
        """
        self.candidate = self._read(wanted, boot_s)
        return self.candidate

    def close(self) -> None:
        """Close its files."""
        for fd in (self._stat, self._status, self._adj, self._score):
            if fd >= 0:
                os.close(fd)
        self._stat = self._status = self._adj = self._score = -1

    def _read(self, wanted: Wanted, boot_s: float) -> Candidate:
        stat = os.pread(self._stat, 1024, 0)
        status = os.pread(self._status, 4096, 0)
        end = stat.rindex(b")")
        fields = stat[end + 2 :].split(None, 21)
        flags = int(fields[6])
        start_ticks = int(fields[19])
        candidate = Candidate(
            self.pid,
            start_ticks,
            int(fields[1]),
            stat[stat.index(b"(") + 1 : end].decode("utf-8", "surrogateescape"),
            anon_kb=number_after(status, b"\nRssAnon:") or 0,
            file_kb=number_after(status, b"\nRssFile:") or 0,
            shmem_kb=number_after(status, b"\nRssShmem:") or 0,
            pgtables_kb=number_after(status, b"\nVmPTE:") or 0,
            swap_kb=number_after(status, b"\nVmSwap:") or 0,
            oom_score_adj=int(os.pread(self._adj, 16, 0)),
            oom_score=int(os.pread(self._score, 16, 0)) if self._score >= 0 else None,
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND,
            age_s=max(0.0, boot_s - start_ticks / _TICKS_A_SECOND),
            uid=number_after(status, b"\nUid:"),
            kthread=bool(flags & PF_KTHREAD),
            dying=_killed(status)
            or (fields[0] in (b"Z", b"X") and int(fields[17]) <= 1)
            or (bool(flags & PF_EXITING) and int(fields[17]) <= 1),
        )
        if candidate.comm != self._known_comm:
            self._cgroup = self._membership(wanted)
            self._known_comm = candidate.comm
        else:
            candidate.exe = self.candidate.exe
            candidate.cmdline = self.candidate.cmdline
        self._describe(candidate, wanted)
        return candidate

    def _describe(self, candidate: Candidate, wanted: Wanted) -> None:
        """Fill in what comes from elsewhere; a program's name changes with what it runs."""
        fields = wanted.fields
        path = candidate.cgroup = self._cgroup
        if path:
            candidate.unit = unit_of(path)
            candidate.container = container_of(path)
        if "user" in fields and candidate.uid is not None:
            candidate.user = wanted.users.get(candidate.uid)
        directory = f"{wanted.places.proc}/{self.pid}"
        if "exe" in fields and candidate.exe is None:
            candidate.exe = _link(f"{directory}/exe")
        if "cmdline" in fields and candidate.cmdline is None:
            data = _read_or_none(f"{directory}/cmdline")
            if data is not None:
                text = data.rstrip(b"\0").replace(b"\0", b" ")
                candidate.cmdline = text.decode("utf-8", "surrogateescape")

    def _membership(self, wanted: Wanted) -> str:
        data = _read_or_none(f"{wanted.places.proc}/{self.pid}/cgroup")
        return parse_membership(data, wanted.places.cgroup_version or None) if data else ""


def _living_thread(directory: str, stat_fd: int) -> str:
    """Where the sizes are: with another thread if the leading one has exited before the rest."""
    fields = os.pread(stat_fd, 1024, 0).rpartition(b")")[2].split(None, 18)
    if fields[0] == b"Z" and int(fields[17]) > 1:
        for tid in os.listdir(f"{directory}/task"):
            stat = _read_or_none(f"{directory}/task/{tid}/stat")
            if stat is not None and stat.rpartition(b")")[2].split(None, 1)[0] not in (b"Z", b"X"):
                return f"{directory}/task/{tid}"
    return directory


def _killed(status: bytes) -> bool:
    """SIGKILL is pending, for the thread or the whole process."""
    for key in (b"\nSigPnd:\t", b"\nShdPnd:\t"):
        at = status.find(key) + len(key)
        if at >= len(key) and int(status[at : at + 16], 16) & _SIGKILL_BIT:
            return True
    return False


def _read_or_none(path: str) -> bytes | None:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        return os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
