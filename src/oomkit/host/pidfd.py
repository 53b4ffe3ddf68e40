"""Processes held by a pidfd, so that a signal can't reach a later process of the same number.

Beside that: which ones are in a cgroup, and whether a process can be killed from here at all.
"""

import os
import select

from oomkit.host.procfs import GONE, read_at, read_single, stat_fields

TYPE_CHECKING = False

if TYPE_CHECKING:
    import signal as _signal
else:  # the public module brings enum, which a small daemon can't afford
    import _signal

_START_TIME = 19
_STATE = 0
_THREADS = 17


class Held:
    """One process, and no other one.

    Attributes:
        pid: thread group id.
        start_ticks: when it was started, in ticks of USER_HZ since boot.
        fd: the pidfd.
    """

    __slots__ = ("_dead", "fd", "pid", "start_ticks")

    def __init__(self, pid: int, start_ticks: int, proc: str = "/proc", *, ready: int = -1) -> None:
        """Take hold of a process (``pidfd_open``, 5.3).

        Args:
            pid: thread group id.
            start_ticks: when the process that is meant was started.
            proc: the proc file system.
            ready: its pidfd, opened and compared before, so that no file has to be; -1: none.

        Raises:
            ProcessLookupError: it is gone, or the number belongs to another one by now, or to
                another one in ``proc``, which is that of another pid namespace.
            OSError: too many open files, or the kernel is too old.
        """
        self.pid = pid
        self.start_ticks = start_ticks
        self._dead = False
        if ready >= 0:
            self.fd = os.dup(ready)
            return
        self.fd = os.pidfd_open(pid)
        # Opened first, compared second: if the number still means the process that was meant,
        # it did so when the descriptor was opened.
        try:
            same = number_in(proc, self.fd) == pid and start_ticks_of(pid, proc) == start_ticks
        except OSError:
            self.close()
            raise
        if not same:
            self.close()
            raise ProcessLookupError(f"process {pid} is another one by now")

    def send(self, number: int) -> None:
        """Send a signal (``pidfd_send_signal``, 5.1).

        Raises:
            ProcessLookupError: it has ended.
            PermissionError: it is not ours to signal.
        """
        _signal.pidfd_send_signal(self.fd, number)

    def dead(self) -> bool:
        """It has ended: every thread has exited, reaped or not."""
        if not self._dead:
            poller = select.poll()
            poller.register(self.fd, select.POLLIN)
            self._dead = bool(poller.poll(0))
        return self._dead

    def close(self) -> None:
        """Let go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def number_in(proc: str, fd: int) -> int | None:
    """The number that the process of a pidfd has in a proc file system; None if it has none.

    Raises:
        OSError: that proc file system does not know us either, or too many files are open.
    """
    data = read_single(f"{proc}/self/fdinfo/{fd}")
    words = data[data.find(b"Pid:") :].split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def is_own(proc: str) -> bool:
    """Whether a proc file system numbers processes as this process does.

    One that was mounted for another pid namespace shows other processes under our numbers.
    """
    try:
        return os.readlink(f"{proc}/self") == str(os.getpid())
    except OSError:
        return False


def is_over(fields: "list[bytes]") -> bool:
    """Whether a process has ended: it is a zombie, and the last of its threads.

    A leading thread that has exited is a zombie, too, while the others go on.

    Args:
        fields: those of ``stat`` behind the name, from the state on.
    """
    return fields[_STATE] in (b"Z", b"X", b"x") and int(fields[_THREADS]) <= 1


def start_ticks_of(pid: int, proc: str = "/proc") -> int | None:
    """When a process was started, in ticks since boot; None if it is gone or has ended.

    Raises:
        OSError: it can't be known, as when too many files are open.
    """
    try:
        fields = stat_fields(read_single(f"{proc}/{pid}/stat"))
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    if len(fields) <= _START_TIME or is_over(fields):
        return None
    return int(fields[_START_TIME])


def hurry(pid: int, proc: str = "/proc") -> None:
    """Have all threads of a process that was sent SIGKILL run before others, to be gone sooner.

    Threads that are gone already, and those that are not ours to hurry, are passed over.
    """
    try:
        tids = os.listdir(f"{proc}/{pid}/task")
    except OSError:
        return
    for tid in tids:
        try:
            os.setpriority(os.PRIO_PROCESS, int(tid), -20)
        except OSError:
            continue


def pids_below(directory: str) -> list[int]:
    """The processes of a cgroup and of those below it; what vanishes meanwhile is passed over."""
    pids: list[int] = []
    # A process of a pid namespace that we can't see is listed as 0.
    for path, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            try:
                data = read_at(f"{path}/cgroup.procs")
            except OSError:
                continue  # removed meanwhile, or threaded
            pids += [int(pid) for pid in data.split() if pid != b"0"]
    return pids


_SIGKILL = 9
PATIENCE_MS = 5000
"""A process that was sent SIGKILL exits within this."""


def kill_fault(proc: str = "/proc") -> str:
    """Start a child, kill it the way victims are killed, and see it die.

    A sandbox that is too tight, a kernel that is too old or a hidden ``/proc`` shows here and not
    in the middle of a shortage.

    Returns:
        what does not work; empty if all does.
    """
    if not is_own(proc):
        return f"{proc} is not the proc file system of this pid namespace"
    child = os.fork()
    if child == 0:
        select.poll().poll(PATIENCE_MS * 2)
        os._exit(0)
    try:
        started = start_ticks_of(child, proc)
        if started is None:
            return f"a process just started is not seen in {proc}"
        held = Held(child, started, proc)
        try:
            held.send(_SIGKILL)
            poller = select.poll()
            poller.register(held.fd, select.POLLIN)
            if not poller.poll(PATIENCE_MS):
                return "a process that was sent SIGKILL did not exit"
        finally:
            held.close()
    except OSError as error:
        return f"a process can't be killed by pidfd: {error.strerror}"
    finally:
        os.kill(child, _SIGKILL)
        os.waitpid(child, 0)
    return ""
