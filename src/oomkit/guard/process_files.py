"""A process of the short list: its files kept open, and what they say as a candidate."""

import errno
import os

from oomkit.guard.identity import Identity, exited, has_exited
from oomkit.guard.kernel_file import number_after
from oomkit.host.pidfd import is_over, number_in, start_ticks_of
from oomkit.host.procfs import GONE, NO_FILES, pread_whole, read_single, stat_fields
from oomkit.policy.engine.candidate import Candidate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oomkit.guard.identity import Wanted

_FLAGS = os.O_RDONLY
PF_EXITING = 0x00000004
PF_KTHREAD = 0x00200000
_SIGKILL_BIT = 1 << 8
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 1024
_STATUS_BYTES = 4096
_FIELDS = 26
"""Of ``stat`` behind the name, up to ``startstack``."""
_CGROUP_BYTES = 4096
_PENDING = b"\nSigPnd:\t"
_NOTHING_PENDING = b"%s%016x\nShdPnd:\t%016x\n" % (_PENDING, 0, 0)
_SIZES = (b"\nRssAnon:", b"\nRssFile:", b"\nRssShmem:", b"\nVmPTE:", b"\nVmSwap:")
_SIZES_BYTES = 400
_BEHIND_ANON = [b"RssFile:", b"RssShmem:"]
_BEHIND_LIB = [b"VmPTE:", b"VmSwap:"]
_EXITED = (b"Z", b"X")
_TRIES = 50
"""How often a living thread is looked for, where threads come and go without a leading one."""


class ProcessFiles:
    """One process.

    Kept descriptors can't be mistaken for those of a later process with the same number: they
    read as ESRCH once it is gone.

    Attributes:
        pid: thread group id.
        candidate: what was last read.
        is_fresh: what patterns are about was read when it was read last.
        pidfd: the process itself; -1 while it is not held.
    """

    __slots__ = (
        "_adj", "_cgroup", "_cmdline", "_directory", "_identity", "_leader",
        "_program", "_score", "_stat", "_status", "_tid", "candidate", "is_fresh", "pid", "pidfd",
    )  # fmt: skip

    def __init__(self, pid: int, wanted: "Wanted", boot_s: float) -> None:
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
        self._cgroup = self._cmdline = self.pidfd = -1
        self._program: tuple[str, bytes, bytes] | None = None
        self._identity: Identity | None = None
        self._leader, self._tid = True, pid
        self._directory = f"{wanted.places.proc}/{pid}"
        try:
            self._stat = os.open(f"{self._directory}/stat", _FLAGS)
            self._status = os.open(f"{self._directory}/status", _FLAGS)
            self._adj = os.open(f"{self._directory}/oom_score_adj", _FLAGS)
            if "oom_score" in wanted.fields:
                self._score = os.open(f"{self._directory}/oom_score", _FLAGS)
            self.candidate = self._read(wanted, boot_s)
        except (OSError, ValueError, IndexError):
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Its files are open, so that :meth:`look` can read them."""
        return self._stat >= 0

    def look(self, wanted: "Wanted", boot_s: float) -> Candidate:
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

    def hold(self, wanted: "Wanted") -> None:
        """Open what is read before a signal, and the process itself, so that none is missing then.

        Args:
            wanted: what is read.

        Raises:
            OSError: it is gone, or too many files are open.
        """
        if self.pidfd >= 0 or not self.is_open:
            return
        if self._cgroup < 0:
            self._cgroup = os.open(f"{self._directory}/cgroup", _FLAGS)
        if self._cmdline < 0 and "cmdline" in wanted.fields:
            self._cmdline = os.open(f"{self._directory}/cmdline", _FLAGS)
        fd = os.pidfd_open(self.pid)
        try:
            # Opened first, compared second, as with Held; stat reads as ESRCH once it is gone.
            pread_whole(self._stat, _STAT_BYTES)
            same = number_in(wanted.places.proc, fd) == self.pid
        except OSError:
            os.close(fd)
            raise
        if not same:
            os.close(fd)
            raise ProcessLookupError(f"process {self.pid} is another one there")
        self.pidfd = fd

    def identify(self, wanted: "Wanted") -> None:
        """Read again what patterns are about, none of which says so when it changes.

        Raises:
            OSError: it is gone, or too many files are open.
        """
        directory = self._living()
        if self._leader and self.is_open and self._cgroup < 0:
            self._cgroup = os.open(f"{directory}/cgroup", _FLAGS)
        self._identity = self._identified(directory, wanted)
        self._identity.fill_in(self.candidate, wanted)

    def follow(self, wanted: "Wanted") -> None:
        """The same where it is in another cgroup than before.

        Raises:
            OSError: it is gone, or too many files are open.
        """
        text = self._cgroup_text()
        if (
            text is None
            or self._identity is None
            or (wanted.memberships.get(text) is not self._identity.membership)
        ):
            self.identify(wanted)

    def afresh(self, wanted: "Wanted", boot_s: float) -> Candidate:
        """What it is now, with nothing remembered, from the files that are open.

        Args:
            wanted: what is read.
            boot_s: seconds since boot, with those asleep.

        Raises:
            OSError: it is gone, or too many files are open.
            ValueError, IndexError: the files are not what they should be.
        """
        known, self._identity = (self._identity, self._program), None
        try:
            return self._read(wanted, boot_s)
        finally:
            self._identity, self._program = known
            self.is_fresh = False

    def close(self) -> None:
        """Close its files."""
        for fd in (
            self._stat, self._status, self._adj, self._score, self._cgroup, self._cmdline,
            self.pidfd,
        ):  # fmt: skip
            if fd >= 0:
                os.close(fd)
        self._stat = self._status = self._adj = self._score = -1
        self._cgroup = self._cmdline = self.pidfd = -1

    def _read(self, wanted: "Wanted", boot_s: float) -> Candidate:
        stat = pread_whole(self._stat, _STAT_BYTES)
        end = stat.rindex(b")")
        fields = stat[end + 2 :].split(None, _FIELDS)
        status = self._read_status(fields)
        flags = int(fields[6])
        start_ticks = int(fields[19])
        anon_kb, file_kb, shmem_kb, pgtables_kb, swap_kb = _sizes(status)
        self.is_fresh = False
        candidate = Candidate(
            self.pid,
            start_ticks,
            int(fields[1]),
            stat[stat.index(b"(") + 1 : end].decode("utf-8", "surrogateescape"),
            anon_kb=anon_kb,
            file_kb=file_kb,
            shmem_kb=shmem_kb,
            pgtables_kb=pgtables_kb,
            swap_kb=swap_kb,
            oom_score_adj=int(os.pread(self._adj, 16, 0)),
            oom_score=int(os.pread(self._score, 16, 0)) if self._score >= 0 else None,
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND,
            age_s=max(0.0, boot_s - start_ticks / _TICKS_A_SECOND),
            uid=number_after(status, b"\nUid:"),
            kthread=bool(flags & PF_KTHREAD),
            dying=_killed(status)
            or is_over(fields)
            or (bool(flags & PF_EXITING) and int(fields[17]) <= 1),
        )
        # Where code and stack begin moves with every exec, if it may be read.
        program = (candidate.comm, *fields[23:26:2])
        if self._identity is None or program != self._program:
            self._identity = self._identified(self._living(), wanted)
            self._program = program  # type: ignore[assignment]  # three parts, as sliced
            self.is_fresh = True
        self._identity.fill_in(candidate, wanted, status)
        if not self._leader:
            candidate.tid = self._tid
        return candidate

    def _read_status(self, fields: "list[bytes]") -> bytes:
        """The status of a living thread: a leading one that has exited shows no sizes."""
        if fields[0] in _EXITED and not is_over(fields):
            try:
                if not self._leader:
                    return pread_whole(self._status, _STATUS_BYTES)
            except ProcessLookupError:
                pass  # that thread has exited as well
            thread = living_thread(self._directory)
            status = os.open(f"{thread}/status", _FLAGS)
            os.close(self._status)
            self._status, self._leader = status, False
            self._tid = int(thread.rpartition("/")[2])
        return pread_whole(self._status, _STATUS_BYTES)

    def _identified(self, directory: str, wanted: "Wanted") -> Identity:
        """What it is now.

        Raises:
            ProcessLookupError: the thread has exited, and what it showed is not the process's.
            OSError: too many files are open.
        """
        if self._leader:
            found = Identity(directory, wanted, self._cgroup_text(), self._cmdline)
            over = wanted.whole and exited(pread_whole(self._stat, _STAT_BYTES))
        else:
            found = Identity(directory, wanted)
            over = has_exited(directory)
        if over:
            raise ProcessLookupError(directory)
        return found

    def _cgroup_text(self) -> bytes | None:
        """Its ``cgroup``; None where that is not open."""
        if self._cgroup < 0:
            return None
        try:
            return pread_whole(self._cgroup, _CGROUP_BYTES)
        except OSError as error:
            if error.errno in GONE:
                raise
            return b""  # unknown, as of a path that is too long for the kernel

    def _living(self) -> str:
        """The directory of the process, or of a living thread if the leading one has exited."""
        return self._directory if self._leader else living_thread(self._directory)


def watched(pid: int, wanted: "Wanted", boot_s: float) -> ProcessFiles:
    """Open the files of a process, and read them, whichever of its threads come and go meanwhile.

    Raises:
        ProcessLookupError, FileNotFoundError: it is gone.
        OSError, ValueError, IndexError: see :class:`ProcessFiles`.
    """
    for _ in range(_TRIES):
        try:
            return ProcessFiles(pid, wanted, boot_s)
        except (ProcessLookupError, FileNotFoundError):
            if start_ticks_of(pid, wanted.places.proc) is None:
                raise
    raise OSError(errno.EAGAIN, "its threads come and go")


def living_thread(directory: str, *, strict: bool = False) -> str:
    """Where a process shows its memory: in its own directory, or in that of a living thread.

    The files of a leading thread that has exited before the others are empty.

    Args:
        directory: of the process.
        strict: it is an error if no thread is found to live; else it is the directory again.

    Raises:
        ProcessLookupError: it is gone, or its threads come and go.
        OSError: too many files are open.
    """
    try:
        fields = stat_fields(read_single(f"{directory}/stat"), 18)
        if len(fields) > 17 and fields[0] not in _EXITED:
            return directory
        threads = [] if len(fields) <= 17 or is_over(fields) else os.listdir(f"{directory}/task")
    except OSError as error:
        if error.errno in NO_FILES:
            raise
        threads = []
    # Where they come and go the last one stays longest.
    for tid in reversed(threads):
        if not has_exited(f"{directory}/task/{tid}"):
            return f"{directory}/task/{tid}"
    if strict:
        raise ProcessLookupError(directory)
    return directory


def _sizes(status: bytes) -> "tuple[int, ...]":
    """RssAnon, RssFile, RssShmem, VmPTE and VmSwap, kB; 0 where there is none."""
    at = status.find(_SIZES[0])
    if at >= 0:
        # As a rule they are eight lines in this order, which are cheap to take apart at once.
        words = status[at : at + _SIZES_BYTES].split(None, 26)
        if words[3:7:3] == _BEHIND_ANON and words[21:25:3] == _BEHIND_LIB:
            return int(words[1]), int(words[4]), int(words[7]), int(words[22]), int(words[25])
    return tuple(number_after(status, key) or 0 for key in _SIZES)


def _killed(status: bytes) -> bool:
    """SIGKILL is pending, for the thread or the whole process."""
    at = status.find(_PENDING)
    # Both sets are zero as a rule, and stand one after the other.
    if at >= 0 and status.startswith(_NOTHING_PENDING, at):
        return False
    for key in (_PENDING, b"\nShdPnd:\t"):
        at = status.find(key) + len(key)
        if at >= len(key) and int(status[at : at + 16], 16) & _SIGKILL_BIT:
            return True
    return False
