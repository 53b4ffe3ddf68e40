"""Notice the kernel's own OOM kills: in its log, in its counter, in the cgroups' events.

``/dev/kmsg`` brings the report, and one record a victim with the raw lines is made of it; what a
report means is for others to say. A kill that the log did not show (it may not be ours to read,
or be ratelimited) is still counted by ``oom_kill`` of ``/proc/vmstat`` (4.13 and later), and the
memory cgroups' own counters say whose it was.
"""

from __future__ import annotations

import errno
import os
import select

from oomkit.files.safely import open_own
from oomkit.guard.config import read_boot_id
from oomkit.guard.records import CountedKillsRecord, KernelKillRecord
from oomkit.host.procfs import read_at, read_or_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    KillRecord = KernelKillRecord | CountedKillsRecord

SEEN_MODE = 0o600
FEW_FILES = 64
"""With fewer allowed, none is kept open that can be opened each time."""
GRACE_S = 2.0
"""The kernel counts a kill a moment before it logs it."""
_KMSG_BYTES = 8192
_BEGIN = b"invoked oom-killer"
_KILLED = b"Killed process "
_OF_CGROUP = b"emory cgroup out of memory"
MAX_BYTES = 128 << 10
"""Of a report; beyond it only the lines that matter stay."""
_ALWAYS = (b"oom-kill:", b"ut of memory", b"oom_reaper")
_KILLS_A_LOOK = 4
"""The rest of a log full of reports is read later, so that it need not all be in memory."""
_MAX_AGE_US = 10_000_000
"""Seconds after which a report without its kill line is given up."""


class KernelKills:
    """Looks for kills since the last look.

    Attributes:
        kmsg_fd: readable when the kernel's log has something new; -1 if it is not ours to read.
        kmsg_seq: number of the last record of the log that was read.
        missing: what could not be opened, in words.
    """

    def __init__(
        self,
        *,
        kmsg: str = "/dev/kmsg",
        vmstat: str = "/proc/vmstat",
        cgroups: tuple[str, str] | None = None,
        seen: str | None = None,
    ) -> None:
        """Open everything, and read past what is known.

        Args:
            kmsg: the kernel's log. Read from its start, so that kills made while nothing
                looked are found.
            vmstat: the counter.
            cgroups: directory of the memory cgroups, and the name of the file in each that has
                a line ``oom_kill N``: ``memory.events.local`` (v2), ``memory.oom_control`` (v1).
            seen: a file that keeps the place in the log up to which kills were reported, so that
                another one that is started later does not report them again; None: nothing is
                kept, and all that the log still holds is reported.
        """
        self.missing: list[str] = []
        self._seen = seen
        self._boot = read_boot_id()
        self.kmsg_seq = self._reported_seq()
        self._cgroups = cgroups
        self._report: list[bytes] = []
        self._report_bytes = 0
        self._report_us = 0
        self._dropped = 0
        self.kmsg_fd = self._opened(kmsg, os.O_NONBLOCK)
        self._vmstat = vmstat
        few = 0 < os.sysconf("SC_OPEN_MAX") < FEW_FILES
        self._vmstat_fd = -1 if few else self._opened(vmstat, 0)
        self._counted = self._count()
        self._by_cgroup = self._walk()
        self._unseen = 0
        self._unseen_since_s: float | None = None
        self._looked_s: float | None = None
        self._caught_up = self.kmsg_fd < 0
        self._poller = select.poll()
        if self.kmsg_fd >= 0:
            self._poller.register(self.kmsg_fd, select.POLLIN)

    def look(self, mono_s: float, wall_s: float, *, final: bool = False) -> list[KillRecord]:
        """Return a record of each kill that was found.

        Args:
            mono_s: seconds of the monotonic clock, by which the kernel stamps its log.
            wall_s: seconds since the epoch.
            final: there will be no other look, so wait for no line of the log.
        """
        found: list[KillRecord] = []
        since_s = self._looked_s
        stamp_since_s = since_s if self._caught_up else None
        seen = self._read_kmsg(
            lambda one: found.append(_stamped(one, one.kernel_s, stamp_since_s, mono_s, wall_s)),
            most=None if final else _KILLS_A_LOOK,
        )
        self._looked_s = mono_s
        counted = self._count()
        if counted is not None and self._counted is not None:
            self._unseen += max(0, counted - self._counted) - seen
        if not self._caught_up:
            # The log holds older kills as well, so it can't be compared with the counter.
            self._unseen = 0
            self._caught_up = self.kmsg_fd < 0 or seen < _KILLS_A_LOOK
        self._counted = counted
        if self._unseen <= 0:
            self._unseen = 0
            self._unseen_since_s = None
        elif self._unseen_since_s is None:
            self._unseen_since_s = mono_s
        if self._unseen and (final or mono_s - (self._unseen_since_s or mono_s) >= GRACE_S):
            found.append(_stamped(self._unreported(), None, since_s, mono_s, wall_s))
        elif seen:
            self._by_cgroup = self._walk()
        if seen:
            self._keep_seq()
        return found

    @property
    def log_news(self) -> Callable[[int], list[tuple[int, int]]]:
        """``poll.poll`` on the kernel's log; a log that is not ours to read never has any."""
        return self._poller.poll

    def close(self) -> None:
        """Close what was opened."""
        for fd in (self.kmsg_fd, self._vmstat_fd):
            if fd >= 0:
                os.close(fd)
        self.kmsg_fd = self._vmstat_fd = -1

    def _reported_seq(self) -> int:
        """The place in this boot's log up to which kills were reported before."""
        if self._seen is None:
            return -1
        try:
            fd = open_own(self._seen, os.O_RDWR, SEEN_MODE)
        except OSError as error:
            self.missing.append(f"{self._seen}: {error.strerror}")
            self._seen = None
            return -1
        try:
            boot, _, seq = os.pread(fd, 64, 0).partition(b" ")
        except OSError:
            return -1
        finally:
            os.close(fd)
        seq = seq.strip()
        return int(seq) if boot == self._boot and seq.isdigit() else -1

    def _keep_seq(self) -> None:
        if self._seen is None:
            return
        line = b"%s %20d\n" % (self._boot, self.kmsg_seq)
        try:
            # A kill is rare, so no descriptor is kept for it.
            fd = open_own(self._seen, os.O_RDWR, SEEN_MODE)
            try:
                os.pwrite(fd, line, 0)
            finally:
                os.close(fd)
        except OSError as error:
            self.missing.append(f"the place in the kernel's log: {error.strerror}")

    def _unreported(self) -> CountedKillsRecord:
        """Kills that only the counter shows, and the cgroups that lost processes."""
        before, self._by_cgroup = self._by_cgroup, self._walk()
        grown = {p: n - before.get(p, 0) for p, n in self._by_cgroup.items()}
        count, self._unseen, self._unseen_since_s = self._unseen, 0, None
        return CountedKillsRecord(count, {path: n for path, n in grown.items() if n > 0})

    def _read_kmsg(self, found: Callable[[KernelKillRecord], None], *, most: int | None) -> int:
        """Read what there is, up to a maximum of kills; hand on each, and return how many."""
        kills = 0
        while self.kmsg_fd >= 0 and (most is None or kills < most):
            try:
                record = os.read(self.kmsg_fd, _KMSG_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue  # overwritten before it was read; the next read goes on
                if error.errno == errno.EINVAL:
                    continue  # longer than any line of a report
                self.missing.append(f"kmsg: {error.strerror}")
                self._poller.unregister(self.kmsg_fd)
                os.close(self.kmsg_fd)
                self.kmsg_fd = -1
                break
            if not record:
                break
            line = _line(record)
            if line is not None and line[0] > self.kmsg_seq:
                self.kmsg_seq = line[0]
                killed = self._take(line[1], line[2])
                if killed is not None:
                    kills += 1
                    found(killed)
        return kills

    def _take(self, usec: int, text: bytes) -> KernelKillRecord | None:
        if _BEGIN in text:
            self._forget()
            self._report_us = usec
        elif self._report and usec - self._report_us > _MAX_AGE_US:
            self._forget()
        if self._report or _BEGIN in text:
            self._keep(usec, text)
        if _KILLED not in text:
            return None
        if not self._report:
            self._keep(usec, text)
        scope = "memcg" if _OF_CGROUP in text else "global"
        record = KernelKillRecord(*_killed(text), scope, usec / 1e6, self._report, self._dropped)
        self._forget()
        return record

    def _keep(self, usec: int, text: bytes) -> None:
        if self._report_bytes > MAX_BYTES and not any(word in text for word in _ALWAYS):
            self._dropped += 1
            return
        line = b"[%5d.%06d] %s" % (usec // 1_000_000, usec % 1_000_000, text)
        self._report.append(line)
        self._report_bytes += len(line)

    def _forget(self) -> None:
        self._report = []
        self._report_bytes = 0
        self._dropped = 0

    def _opened(self, path: str, flags: int) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOCTTY | flags)
        except OSError as error:
            self.missing.append(f"{path}: {error.strerror}")
            return -1

    def _count(self) -> int | None:
        if self._vmstat_fd < 0:
            data = read_or_none(self._vmstat)
            return None if data is None else _oom_kill(b"\n" + data)
        try:
            return _oom_kill(b"\n" + os.pread(self._vmstat_fd, 1 << 16, 0))
        except OSError:
            return None

    def _walk(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        if self._cgroups is None:
            return counts
        root, file = self._cgroups
        left = [root]
        while left:
            directory = left.pop()
            try:
                with os.scandir(directory) as entries:
                    left += [e.path for e in entries if e.is_dir(follow_symlinks=False)]
                count = _oom_kill(b"\n" + read_at(f"{directory}/{file}"))
            except OSError:
                continue  # gone meanwhile, or the root, which has no such file
            if count:
                counts[directory[len(root) :] or "/"] = count
        return counts


def _oom_kill(data: bytes) -> int | None:
    number = data.partition(b"\noom_kill ")[2].partition(b"\n")[0]
    return int(number) if number.isdigit() else None


def _line(record: bytes) -> tuple[int, int, bytes] | None:
    """Sequence number, microseconds and text of a record ``prio,seq,usec,flags;text``."""
    head, _, body = record.partition(b";")
    fields = head.split(b",")
    if len(fields) < 3 or not (fields[1].isdigit() and fields[2].isdigit()):
        return None
    return int(fields[1]), int(fields[2]), body.partition(b"\n")[0]


def _killed(text: bytes) -> tuple[int | None, str]:
    """Pid and name in ``Killed process 812 (mysqld) ...``; up to 4.18 a comma may follow."""
    rest = text.partition(_KILLED)[2]
    number = rest.split(b" ", 1)[0].rstrip(b",")
    comm = rest.partition(b"(")[2].rpartition(b")")[0]
    if b") " in comm:
        comm = comm.partition(b") ")[0]
    pid = int(number) if number.isdigit() else None
    return pid, comm.decode("utf-8", "surrogateescape")


def _stamped(
    record: KillRecord,
    kernel_s: float | None,
    since_s: float | None,
    mono_s: float,
    wall_s: float,
) -> KillRecord:
    """Give a kill the time at which it was made, which may be long before it was found.

    The clock of the log drifts away from the monotonic clock over months, so the last look is
    taken as a bound.
    """
    at_s = min(max(mono_s if kernel_s is None else kernel_s, since_s or 0.0), mono_s)
    record.mono_s, record.time_s = at_s, round(wall_s - (mono_s - at_s), 6)
    return record
