"""Commands around a kill: before, after, instead of it, and a note on the desktop."""

import errno
import os
import re
import select
import time

from oomkit.host.self_protection import ordinary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from oomkit.policy.engine.candidate import Candidate

BEFORE_S = 0.5
"""The signal waits no longer than this for the command before it; not at all when it is hard."""

LONGEST_S = 60.0
"""A command that runs longer is killed."""
MAX = 8
"""Maximum number of commands at a time; the oldest is killed for one more."""
TAKE_IN_S = 600.0
"""Taking in a large journal may last longer."""
NOT_ASKED = "?"
"""The answer of a user who could not be asked: ``notify-send`` is older, or has no service."""
_BUS = "/run/user"
_SIGKILL = 9
_PLACEHOLDER = re.compile(r"\{(pid|comm|unit|cgroup)\}")


class Child:
    """A command that runs.

    Attributes:
        what: it is, for the log; empty where its end has been logged.
        until_s: it is killed then, by the monotonic clock.
        counts: towards that maximum; and the guard is not idle while it runs.
    """

    __slots__ = ("counts", "until_s", "what")

    def __init__(self, what: str, until_s: float, *, counts: bool) -> None:
        self.what = what
        self.until_s = until_s
        self.counts = counts


class Hooks:
    """Starts commands and, later, collects them.

    Each is the first of a process group of its own, so that it can be killed with what it started.

    Args:
        run: where users' session buses are.
        clock: the monotonic one.
        own_pids: processes that are never chosen; a command is among them while it runs, which
            is bounded in time.
    """

    __slots__ = ("_answers", "_bus", "_children", "_clock", "_failed", "_own_pids")

    def __init__(
        self,
        run: str = _BUS,
        clock: "Callable[[], float]" = time.monotonic,
        own_pids: "set[int] | None" = None,
    ) -> None:
        self._bus = run
        self._own_pids = set() if own_pids is None else own_pids
        self._clock = clock
        self._children: dict[int, Child] = {}
        self._failed: list[str] = []
        self._answers: dict[int, int | str] = {}

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
        """Collect a child that another part started, and log its end."""
        self._children[pid] = Child(what, float("inf"), counts=False)

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
        """Notify every user with a desktop session here, through ``notify-send``.

        Another user's session bus lets only that user in, so root becomes that user
        (``setpriv`` of util-linux).
        """
        try:
            uids = [int(name) for name in os.listdir(self._bus) if name.isdigit()]
        except OSError:
            return
        own = os.geteuid()
        for uid in uids:
            if uid == own or (own == 0 and _may_be_there(f"{self._bus}/{uid}/bus")):
                self._note(uid, [summary, body])

    def _note(self, uid: int, words: list[str], **rest: "Any") -> int | None:
        """Start ``notify-send`` for one user."""
        argv = ["notify-send", "--urgency=critical", "--app-name=oomkit", *words]
        if uid != os.geteuid():
            become = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
            argv = ["setpriv", *become, *argv]
        bus = f"unix:path={self._bus}/{uid}/bus"
        return self._spawn(argv, {**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus}, "notify", **rest)

    def offer(
        self,
        uid: int,
        summary: str,
        body: str,
        actions: "Sequence[tuple[str, str]]",
        *,
        longest_s: float,
    ) -> int | None:
        """Ask one user on the desktop; :meth:`answer` has what was said (libnotify 0.8).

        Args:
            uid: the user; nobody else is asked.
            summary: what it is about.
            body: more of it.
            actions: what can be chosen: a name, and a label.
            longest_s: it is asked for no longer than that.

        Returns:
            what to ask for the answer with; None where that user has no desktop here.
        """
        own = os.geteuid()
        if not (own == 0 or own == uid) or not os.path.isdir(f"{self._bus}/{uid}"):
            return None
        if not _may_be_there(f"{self._bus}/{uid}/bus"):
            return None
        words = [f"--action={name}={label}" for name, label in actions]
        try:
            there, here = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            pid = self._note(uid, [*words, summary, body], longest_s=longest_s, out=here)
        finally:
            os.close(here)
        if pid is None:
            os.close(there)
            return None
        self._answers[pid] = there
        return pid

    def answer(self, offer: int) -> str | None:
        """What was chosen; empty for nothing; None while nobody has chosen.

        :data:`NOT_ASKED` where the program could not ask.
        """
        said = self._answers.get(offer, "")
        if isinstance(said, int):
            return None
        self._answers.pop(offer, None)
        return said

    def _hear(self, pid: int, *, failed: bool) -> None:
        """Take the answer of a note that is closed."""
        fd = self._answers.get(pid)
        if isinstance(fd, int):
            try:
                said = os.read(fd, 256)
            except OSError:
                said = b""
            os.close(fd)
            answer = said.decode("ascii", "replace").strip()
            self._answers[pid] = NOT_ASKED if failed and not answer else answer

    def take_in(self, argv: "tuple[str, ...]") -> None:
        """Start the program that takes the journal into the history."""
        self._spawn(list(argv), dict(os.environ), "history", TAKE_IN_S)

    def collect(self) -> None:
        """Collect what has ended, and kill what has run for too long."""
        self._end_late()
        for pid in list(self._children):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                del self._children[pid]
                self._own_pids.discard(pid)
                self._hear(pid, failed=True)
                continue
            if ended:
                child = self._children.pop(pid)
                self._own_pids.discard(pid)
                self._hear(pid, failed=bool(status))
                if status and child.what:
                    self._failed.append(f"{child.what}: {_ending(status)}")

    def failures(self) -> list[str]:
        """Commands that could not be started or ended badly, in words, since the last call."""
        failed, self._failed = self._failed, []
        return failed

    def busy(self) -> bool:
        """Some command is still running."""
        return any(child.counts for child in self._children.values())

    def any(self) -> bool:
        """Something that was started or adopted is not known to have ended."""
        return bool(self._children)

    def _spawn(
        self,
        argv: list[str],
        environ: dict[str, str],
        what: str,
        longest_s: float = LONGEST_S,
        out: int = -1,
    ) -> int | None:
        self._make_room()
        rest: dict[str, Any] = {}
        if out >= 0:
            rest["file_actions"] = [(os.POSIX_SPAWN_DUP2, out, 1)]
        try:
            pid = os.posix_spawnp(
                argv[0], argv, environ, setsigdef=(1, 2, 13, 15), setpgroup=0, **rest
            )
        except OSError as error:
            self._failed.append(f"{what}: {argv[0]}: {error.strerror}")
            return None
        until_s = self._clock() + longest_s
        self._children[pid] = Child(f"{what}: {argv[0]}", until_s, counts=True)
        self._own_pids.add(pid)
        ordinary(pid)
        return pid

    def _make_room(self) -> None:
        """Kill the oldest command where as many run as may."""
        running = [pid for pid, child in self._children.items() if child.counts]
        if len(running) >= MAX:
            self.collect()
        running = [pid for pid in running if pid in self._children]
        for pid in running[: max(len(running) - MAX + 1, 0)]:
            self._kill(pid, f"{len(running)} commands run already, the maximum")

    def _end_late(self) -> None:
        now_s = self._clock()
        for pid, child in list(self._children.items()):
            if now_s >= child.until_s:
                self._kill(pid, "it has run for too long")

    def _kill(self, pid: int, why: str) -> None:
        """Kill a command with all that it started; it is ours until it is collected."""
        child = self._children.pop(pid)
        try:
            os.killpg(pid, _SIGKILL)
        except OSError:
            why += "; it had ended"
        self._failed.append(f"{child.what}: killed, as {why}")
        # To be collected without a word; if it can't die yet, it no longer counts.
        self._children[pid] = Child("", float("inf"), counts=False)


def _may_be_there(path: str) -> bool:
    """Root without the right to search other users' directories may not look."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.EACCES
    return True


def _filled(word: str, values: dict[str, str]) -> str:
    """Put the values in, once: what a value holds is never filled in again."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], word)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
