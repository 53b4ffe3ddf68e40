"""Commands around a kill: before, after, instead of it, and a note on the desktop."""

import os
import select

from oomkit.host.self_protection import ordinary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oomkit.policy.core.candidate import Candidate

BEFORE_S = 0.5
"""The signal waits no longer than this for the command before it; not at all when it is hard."""

_BUS = "/run/user"


class Hooks:
    """Starts commands and, later, collects them.

    Args:
        run: where users' session buses are.
    """

    __slots__ = ("_bus", "_children", "_failed")

    def __init__(self, run: str = _BUS) -> None:
        self._bus = run
        self._children: dict[int, str] = {}
        self._failed: list[str] = []

    def start(self, argv: "Sequence[str]", candidate: "Candidate", what: str) -> int | None:
        """Start a command with ``{pid}``, ``{comm}``, ``{unit}`` and ``{cgroup}`` filled in.

        No shell is involved. The same is in its environment: ``OOMKIT_PID`` and so on.

        Args:
            argv: program and arguments.
            candidate: the victim.
            what: for the log, such as "before".

        Returns:
            the pid; None if it could not be started.
        """
        values = {
            "pid": str(candidate.pid),
            "comm": candidate.comm,
            "unit": candidate.unit or "",
            "cgroup": candidate.cgroup or "",
        }
        environ = dict(os.environ)
        for name, value in values.items():
            environ[f"OOMKIT_{name.upper()}"] = value
        return self._spawn([_filled(word, values) for word in argv], environ, what)

    def adopt(self, pid: int, what: str) -> None:
        """Collect a child that was started by somebody else, and say so when it ends."""
        self._children[pid] = what

    def wait(self, pid: int, timeout_s: float) -> bool:
        """Wait for a command; says whether it ended in time."""
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            ended = bool(poller.poll(int(timeout_s * 1000)))
        finally:
            os.close(fd)
        self.collect()
        return ended

    def notify(self, summary: str, body: str) -> None:
        """Tell everybody who has a desktop session here, through ``notify-send``.

        Another user's session bus lets only that user in, so root becomes that user
        (``setpriv`` of util-linux).
        """
        try:
            uids = [int(name) for name in os.listdir(self._bus) if name.isdigit()]
        except OSError:
            return
        own = os.geteuid()
        for uid in uids:
            bus = f"{self._bus}/{uid}/bus"
            if uid == own or (own == 0 and os.path.exists(bus)):
                argv = ["notify-send", "--urgency=critical", "--app-name=oomkit", summary, body]
                if uid != own:
                    become = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
                    argv = ["setpriv", *become, *argv]
                environ = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"}
                self._spawn(argv, environ, "notify")

    def take_in(self, argv: "tuple[str, ...]") -> None:
        """Start the program that takes the journal into the history."""
        self._spawn(list(argv), dict(os.environ), "history")

    def collect(self) -> None:
        """Collect what has ended."""
        for pid in list(self._children):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                del self._children[pid]
                continue
            if ended:
                what = self._children.pop(pid)
                if status:
                    self._failed.append(f"{what}: {_ending(status)}")

    def failures(self) -> list[str]:
        """Commands that could not be started or ended badly, in words, since the last call."""
        failed, self._failed = self._failed, []
        return failed

    def busy(self) -> bool:
        """Some command is still running."""
        return bool(self._children)

    def _spawn(self, argv: list[str], environ: dict[str, str], what: str) -> int | None:
        try:
            pid = os.posix_spawnp(argv[0], argv, environ, setsigdef=(1, 2, 13, 15))
        except OSError as error:
            self._failed.append(f"{what}: {argv[0]}: {error.strerror}")
            return None
        self._children[pid] = f"{what}: {argv[0]}"
        ordinary(pid)
        return pid


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
