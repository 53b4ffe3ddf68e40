"""One process as the scanner keeps it: its open files, the last text read, the last record."""

import os
from os import pread

import msgspec

from oomkit.host.procfs import GONE, read_at, read_or_none, text
from oomkit.host.stat import PF_KTHREAD, Stat, Status, lasting_part, parse_stat, parse_status
from oomkit.host.task import Machine, Readings, build_task
from oomkit.host.visibility import has_initial_user
from oomkit.kernel.state import Snapshot, Task

_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_SIZE = 8192
_REFUSED = -1

FILES_PER_PROCESS = 4


class View(msgspec.Struct, frozen=True):
    """How processes are looked at; the same for all of one scan.

    Attributes:
        proc_fd: the open proc file system.
        machine: units.
        names: the files read of each process: stat, status, its adjustment (``oom_score_adj``,
            or ``oom_adj`` where that is the stored one), oom_score.
        initial_pids: process 1 is the global init.
        mapped_users: user ids are not those of the initial user namespace.
    """

    proc_fd: int
    machine: Machine
    names: tuple[str, str, str, str]
    initial_pids: bool
    mapped_users: bool


class Process:
    """A process and what was last read of it.

    A record is built again only if one of the texts differs from the last time; the text is
    compared, so nothing is ever assumed to stand still.

    Attributes:
        pid: thread group id.
        start_ticks: when it was started, in ticks since boot; 0 before the first look.
        task: the last record.
        partial: a file other than stat was refused.
    """

    __slots__ = (
        "_fds",
        "_leaderless",
        "_stat",
        "_status",
        "_status_part",
        "_texts",
        "partial",
        "pid",
        "start_ticks",
        "task",
    )

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start_ticks = 0
        self.task: Task | None = None
        self.partial = False
        self._leaderless = False
        self._fds: list[int] | None = None
        self._texts: list[bytes | None] = []
        self._stat: Stat | None = None
        self._status: Status | None = None
        self._status_part = b""

    def keep_open(self, view: View) -> None:
        """Open the files once and for all.

        Raises:
            OSError: stat can't be opened, or too many files are open; none then stays open.
        """
        fds: list[int] = []
        try:
            for name in view.names:
                try:
                    fds.append(os.open(f"{self.pid}/{name}", _FLAGS, dir_fd=view.proc_fd))
                except PermissionError:
                    fds.append(_REFUSED)
                    if name == "stat":
                        raise
        except OSError:
            _close(fds)
            raise
        self._fds = fds

    @property
    def holds_files(self) -> bool:
        """Its files are open."""
        return self._fds is not None

    def close(self) -> None:
        """Close its files."""
        if self._fds is not None:
            _close(self._fds)
            self._fds = None

    def look(self, view: View, cgroup: str) -> Task:
        """Read the process again.

        Args:
            view: how to look.
            cgroup: path of its memory cgroup.

        Raises:
            OSError: it is gone, or stat is refused.
            ValueError: the files are not what they should be.
        """
        texts = self._read(view)
        task = self.task
        if task is not None and texts == self._texts and not self._leaderless:
            if task.cgroup != cgroup:
                task = self.task = msgspec.structs.replace(task, cgroup=cgroup)
            return task
        before, self._texts = self._texts, texts
        stat_text, status_text, adj_text, score_text = texts
        assert stat_text is not None
        if not before or before[0] != stat_text or self._stat is None:
            self._stat = parse_stat(stat_text)
        if not before or before[1] != status_text:
            self._status = self._status_of(status_text, view)
        readings = Readings(self._stat, self._status, oom_score=_number(score_text))
        if view.names[2] == "oom_adj":
            readings.oom_adj = _number(adj_text)
        else:
            readings.oom_score_adj = _number(adj_text)
        if self._stat.threads > 1:
            self._look_at_threads(view, readings)
        self.partial = status_text is None or adj_text is None
        self.start_ticks = self._stat.start_ticks
        self.task = build_task(
            self.pid, readings, cgroup, view.machine, initial_namespace=view.initial_pids
        )
        return self.task

    def _read(self, view: View) -> list[bytes | None]:
        if self._stat is not None and self._stat.flags & PF_KTHREAD:
            # A kernel thread has no memory and no adjustment: only its CPU time moves.
            return [self._read_one(view, 0), *self._texts[1:]]
        if self._fds is not None:
            try:
                texts: list[bytes | None] = [pread(fd, _SIZE, 0) for fd in self._fds]
            except OSError:
                pass  # which one, and whether that matters, is seen below
            else:
                if len(texts[1] or b"") < _SIZE:
                    return texts
        return [self._read_one(view, index) for index in range(FILES_PER_PROCESS)]

    def _read_one(self, view: View, index: int) -> bytes | None:
        fds = self._fds
        try:
            if fds is None:
                return _read_small(f"{self.pid}/{view.names[index]}", view.proc_fd)
            if fds[index] == _REFUSED:
                return None
            data = pread(fds[index], _SIZE, 0)
            if len(data) == _SIZE:
                return read_at(f"{self.pid}/{view.names[index]}", view.proc_fd)
        except OSError as error:
            if index == 0 or error.errno in GONE:
                raise
            return None
        return data

    def _status_of(self, data: bytes | None, view: View) -> Status | None:
        if data is None:
            return None
        part = lasting_part(data)
        if part != self._status_part or self._status is None:
            self._status_part = part
            return self._parse_status(data, view)
        return self._status

    def _parse_status(self, data: bytes, view: View) -> Status:
        status = parse_status(data)
        privileged = status.cap_sys_admin or status.cap_sys_resource or status.cap_sys_rawio
        # Root's capabilities are the machine's; others may be those of a container's namespace.
        if privileged and (status.euid or view.mapped_users):
            unknown = not view.mapped_users
            if not has_initial_user(self.pid, view.proc_fd, unknown=unknown):
                return msgspec.structs.replace(status, capabilities=0)
        return status

    def _look_at_threads(self, view: View, readings: Readings) -> None:
        """Read what the leading thread's own files say, and what they hide.

        A leader that has exited shows no memory, while badness takes that of any other thread
        (``find_lock_task_mm()``).
        """
        leader = readings.stat
        task_dir = f"{self.pid}/task"
        self._leaderless = False
        try:
            own = parse_stat(read_at(f"{task_dir}/{self.pid}/stat", view.proc_fd))
            readings.leader_cpu_ticks = own.cpu_ticks
            if leader.vsize_bytes or leader.flags & PF_KTHREAD:
                return
            tids = _list_at(task_dir, view.proc_fd)
        except OSError:
            return  # not ours to see: what the leader shows stands
        self._leaderless = True  # none of its own texts says so when the others' sizes change
        for tid in tids:
            try:
                stat = parse_stat(read_at(f"{task_dir}/{tid}/stat", view.proc_fd))
                if not stat.vsize_bytes:
                    continue
                status = read_at(f"{task_dir}/{tid}/status", view.proc_fd)
                readings.status = self._parse_status(status, view)
            except (OSError, ValueError):
                continue  # that thread has exited meanwhile
            readings.stat = msgspec.structs.replace(
                leader,
                flags=stat.flags,
                vsize_bytes=stat.vsize_bytes,
                rss_pages=stat.rss_pages,
            )
            return


def _read_small(path: str, proc_fd: int) -> bytes:
    """Read a file that the kernel gives whole in one read, as it does those of a process."""
    fd = os.open(path, _FLAGS, dir_fd=proc_fd)
    try:
        data = os.read(fd, _SIZE)
    finally:
        os.close(fd)
    return data if len(data) < _SIZE else read_at(path, proc_fd)


def _list_at(path: str, dir_fd: int) -> list[str]:
    fd = os.open(path, _FLAGS | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _number(data: bytes | None) -> int | None:
    return None if data is None else int(data)


def _close(fds: list[int]) -> None:
    for fd in fds:
        if fd != _REFUSED:
            os.close(fd)


_MAX_BYTES = 4096


def with_command_lines(snapshot: Snapshot, *, proc_root: str = "/proc") -> Snapshot:
    """Return the snapshot just taken of this machine with ``Task.cmdline`` filled where readable.

    Pids go round: none is given again before all others have been, so a pid seen a moment ago
    stands for the same process or for none.
    """
    tasks = tuple(
        msgspec.structs.replace(task, cmdline=_read(task, proc_root)) if task.has_mm else task
        for task in snapshot.tasks
    )
    return msgspec.structs.replace(snapshot, tasks=tasks)


def _read(task: Task, proc: str) -> str | None:
    data = read_or_none(f"{proc}/{task.pid}/cmdline")
    if not data:
        return None
    shown = data[:_MAX_BYTES].rstrip(b"\0").replace(b"\0", b" ")
    return text(shown) + ("…" if len(data) > _MAX_BYTES else "")
