"""Start a command and wait for its end, with signals, terminal and exit status as they would be.

The command stays in oomkit's process group, so the terminal's signals reach both alike, and a shell
stops and continues both. Nothing is polled: oomkit sleeps until a signal comes.
"""

import errno
import os
import resource
import signal
import sys

from oomkit.errors import OomkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

_SI_KERNEL = 0x80
"""``si_code`` of signals that the kernel sends, those of the terminal among them (siginfo.h)."""

NOT_FOUND = 127
NOT_EXECUTABLE = 126

_OWN = frozenset(
    {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGSYS,
        signal.SIGWINCH,
        signal.SIGURG,
        signal.SIGPIPE,
        signal.SIGALRM,
    }
)
"""Signals that are not for the command, or that can't be waited for."""
_TERMINAL_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


class StartError(OomkitError):
    """The command can't be started.

    Attributes:
        status: what a shell would exit with: 127 where it is not found, else 126.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Ended:
    """How a command ended.

    Attributes:
        pid: its process.
        status: as ``wait()`` says it.
        largest_bytes: the highest resident memory of any of its process and the descendants that it
            waited for.
        floor_bytes: what oomkit itself had when it forked, which the kernel counts for the new
            process, too; a figure that is no higher only says "at most".
    """

    def __init__(self, pid: int, status: int, usage: "resource.struct_rusage") -> None:
        self.pid = pid
        self.status = status
        self.largest_bytes = usage.ru_maxrss * 1024
        self.floor_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    @property
    def signal(self) -> int:
        """The signal that ended it; 0: none."""
        return os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0


def run(
    argv: "Sequence[str]",
    directories: "Sequence[str]",
    adj: int | None,
    started: "Callable[[int], None]",
) -> Ended:
    """Run a command to its end.

    Args:
        argv: the command.
        directories: cgroups that it enters first.
        adj: its ``oom_score_adj``; None: as it is.
        started: called with its pid once it runs.

    Raises:
        StartError: it can't be started.
    """
    waited = signal.valid_signals() - _OWN
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        pid = _start(argv, directories, adj, before)
        started(pid)
        return _wait(pid, waited)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    argv: "Sequence[str]", directories: "Sequence[str]", adj: int | None, mask: "set[int]"
) -> int:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _become(argv, directories, adj, mask, write_end)
    os.close(write_end)
    with open(read_end, "rb") as said:
        data = said.read()
    if not data:
        return pid
    os.waitpid(pid, 0)
    stage, _, number = data.decode().partition(" ")
    code = int(number)
    if stage == "exec":
        status = NOT_FOUND if code == errno.ENOENT else NOT_EXECUTABLE
        raise StartError(f"{argv[0]}: {os.strerror(code)}", status)
    raise StartError(f"{stage}: {os.strerror(code)}", 2)


def _become(
    argv: "Sequence[str]",
    directories: "Sequence[str]",
    adj: int | None,
    mask: "set[int]",
    said: int,
) -> "NoReturn":
    """In the child: enter the cgroups, and become the command."""
    stage = ""
    try:
        for directory in directories:
            stage = f"{directory}/cgroup.procs"
            _put(stage, b"0")
        if adj is not None:
            stage = "oom_score_adj"
            _put("/proc/self/oom_score_adj", b"%d" % adj)
        stage = "exec"
        # Python ignores these; a command expects them as they were.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _execute(argv)
    except OSError as error:
        os.write(said, f"{stage} {error.errno or errno.EIO}".encode())
    finally:
        os._exit(NOT_EXECUTABLE)


def _execute(argv: "Sequence[str]") -> None:
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        # A script without "#!": as execvp(3) does, have the shell read it.
        os.execv("/bin/sh", ["sh", *argv])


def _put(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, data)
    os.close(fd)


def _wait(pid: int, waited: "set[signal.Signals]") -> Ended:
    while True:
        info = signal.sigwaitinfo(waited)
        number = info.si_signo
        if number == signal.SIGCHLD:
            ended = _reap(pid)
            if ended is not None:
                return ended
        elif info.si_code != _SI_KERNEL and info.si_pid != pid:
            # The terminal's signals went to the command as well; those of others did not.
            _send(pid, number)


def _reap(pid: int) -> Ended | None:
    """Take note of children that ended or stopped; as process 1, of all orphans."""
    while True:
        try:
            found, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return None
        if found == 0:
            return None
        if os.WIFSTOPPED(status):
            # Ctrl-Z: stop as well, so that the shell knows. A SIGSTOP from elsewhere is between
            # them and the command; nothing would wake oomkit again.
            if found == pid and os.WSTOPSIG(status) in _TERMINAL_STOPS:
                _stop_by(os.WSTOPSIG(status))
        elif found == pid:
            return Ended(pid, status, usage)


def _stop_by(number: int) -> None:
    """Stop as the command did, once, until both are continued."""
    # The terminal's own signal may wait as well: sent while blocked, both are one.
    os.kill(os.getpid(), number)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        return


def end_as(ended: Ended) -> "NoReturn":
    """End as the command did: with its exit status, or by the same signal."""
    number = ended.signal
    if number:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core is the command's
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
        # Process 1 of a container can't be killed by itself.
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(ended.status))
