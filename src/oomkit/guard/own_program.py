"""Other programs of ours, which do what takes more than a small process has, while we guard."""

import marshal
import os
import select
import time
from typing import Any

from oomkit.guard.messages import NOTICE, WARNING
from oomkit.host.self_protection import ordinary
from oomkit.policy.engine.plan import Plan
from oomkit.policy.engine.starts import from_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.policy.engine.starts import Starts

_END_MS = 500
"""What has said all ends within this, or is ended."""
_CHUNK = 1 << 16
MAX_BYTES = 1 << 22
"""No program prints more."""
_SIGKILL = 9


class OwnProgram:
    """One run of a program that prints a value as :mod:`marshal` writes it.

    Attributes:
        fd: becomes readable when there is news.
        value: what was printed; None while it runs, if it failed, or if that is no value.
        fault: what is wrong; empty while it runs, or if nothing is.
    """

    __slots__ = (
        "_clock",
        "_data",
        "_errors",
        "_longest_s",
        "_pid",
        "_until_s",
        "fault",
        "fd",
        "value",
    )

    def __init__(
        self,
        argv: tuple[str, ...],
        longest_s: float,
        clock: "Callable[[], float]" = time.monotonic,
    ) -> None:
        """Start it.

        Args:
            argv: the program.
            longest_s: it is ended when it takes longer.
            clock: the monotonic one.

        Raises:
            OSError: it can't be started.
        """
        self.value: Any = None
        self.fault = ""
        self._data = b""
        self._clock = clock
        self._longest_s = longest_s
        self._until_s = clock() + longest_s
        fds: list[int] = []
        try:
            fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            fds += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            for out in (fds[1], fds[3]):
                os.set_blocking(out, True)
            redirections = [(os.POSIX_SPAWN_DUP2, fds[1], 1), (os.POSIX_SPAWN_DUP2, fds[3], 2)]
            self._pid = os.posix_spawn(
                argv[0], argv, os.environ, file_actions=redirections, setsigdef=(1, 2, 13, 15)
            )
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        self.fd, out, self._errors, err = fds
        os.close(out)
        os.close(err)
        ordinary(self._pid)

    @property
    def left_s(self) -> float:
        """How long it may still take."""
        return max(self._until_s - self._clock(), 0.0)

    def finished(self) -> bool:
        """Take what is there; says whether that was all, and ``value`` or ``fault`` holds."""
        try:
            chunk = os.read(self.fd, _CHUNK)
        except BlockingIOError:
            if self.left_s:
                return False
            self._end(0)
            self.fault = f"reading it took more than {self._longest_s:.0f} s"
            return True
        self._data += chunk
        if chunk and len(self._data) <= MAX_BYTES and self.left_s:
            return False
        said, code = self._end(_END_MS)
        if code:
            self.fault = " ".join(said.split()) or f"reading it ended with status {code}"
            return True
        try:
            self.value = marshal.loads(self._data)
        except (ValueError, EOFError, TypeError):
            self.value = None
        return True

    def close(self) -> None:
        """End it, if it has not ended."""
        if self.fd >= 0:
            self._end(0)

    def _end(self, patience_ms: int) -> tuple[str, int]:
        """Wait for its end a little, then end it; what it said of errors, and its exit status."""
        os.close(self.fd)
        self.fd = -1
        status = _status_of(self._pid, time.monotonic() + patience_ms / 1000)
        try:
            said = os.read(self._errors, 4096).decode("utf-8", "replace")
        except BlockingIOError:
            said = ""
        os.close(self._errors)
        self._errors = -1
        return said, os.waitstatus_to_exitcode(status)


def _status_of(pid: int, until_s: float) -> int:
    """The wait status of a child, which is killed if it does not end in time."""
    killed = False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= until_s:
            if killed:
                return _SIGKILL  # it hangs in the kernel, and is not worth hanging with it
            killed = True
            os.kill(pid, _SIGKILL)
            until_s = time.monotonic() + _END_MS / 1000
        select.poll().poll(5)


LONGEST_S = 10.0
"""A policy that takes longer to read is refused."""


class Reload(OwnProgram):
    """One attempt to read the policy.

    Attributes:
        plan: what came of it; None while it runs, or if the policy is wrong.
    """

    __slots__ = ("plan",)

    def __init__(
        self, argv: tuple[str, ...], clock: "Callable[[], float]" = time.monotonic
    ) -> None:
        """Start the program that prints the plan.

        Args:
            argv: the program.
            clock: the monotonic one.

        Raises:
            OSError: it can't be started.
        """
        super().__init__(argv, LONGEST_S, clock)
        self.plan: Plan | None = None

    def finished(self) -> bool:
        """Take what is there; says whether that was all, and ``plan`` or ``fault`` holds."""
        if not super().finished():
            return False
        if not self.fault:
            try:
                self.plan = Plan.from_values(self.value)
            except ValueError as error:
                self.fault = str(error)
        return True


class Reloads:
    """Has the policy read again, one attempt at a time.

    Args:
        argv: the program that prints the plan; empty: there is none.
        clock: the monotonic one.

    Attributes:
        current: the attempt that is under way; None: none is.
        owed: it was asked for again meanwhile: what is read may be from before that change.
    """

    __slots__ = ("_argv", "_clock", "current", "owed")

    def __init__(self, argv: tuple[str, ...], clock: "Callable[[], float]") -> None:
        self._argv = argv
        self._clock = clock
        self.current: Reload | None = None
        self.owed = False

    def ask(self) -> bool:
        """Whether an attempt is to be begun now; else it is, where there is one, owed."""
        self.owed = self.current is not None
        return bool(self._argv) and not self.owed

    def begin(self) -> None:
        """Begin an attempt.

        Raises:
            OSError: the program can't be started.
        """
        self.owed = False
        self.current = Reload(self._argv, self._clock)

    def ended(self) -> Reload | None:
        """The attempt that was under way, once it is over."""
        done = self.current
        if done is None or not done.finished():
            return None
        self.current = None
        return done

    def close(self) -> None:
        """End what is under way."""
        if self.current is not None:
            self.current.close()


LEARNING_S = 120.0
"""A recording that takes longer to read teaches nothing; it is read at the lowest priority."""


class Learning:
    """Learns once, from the recording as it was at the start.

    Args:
        argv: the program that prints what was learnt; empty: there is none.
        starts: what takes it in.
        say: writes a line of the log.
        clock: the monotonic one.

    Attributes:
        current: the program while it runs.
    """

    __slots__ = ("_argv", "_clock", "_say", "_starts", "current")

    def __init__(
        self,
        argv: tuple[str, ...],
        starts: "Starts",
        say: "Callable[[int, str], None]",
        clock: "Callable[[], float]",
    ) -> None:
        self._argv = argv
        self._starts = starts
        self._say = say
        self._clock = clock
        self.current: OwnProgram | None = None

    def begin(self) -> None:
        """Start the program, if there is one."""
        if self._argv:
            try:
                self.current = OwnProgram(self._argv, LEARNING_S, self._clock)
            except OSError as error:
                self._complain(str(error.strerror))

    def attend(self) -> None:
        """Take in what was learnt, once the program is over."""
        done = self.current
        if done is None or not done.finished():
            return
        self.current = None
        if done.fault:
            self._complain(done.fault)
        known = from_values(done.value or ())
        self._starts.take_in(known)
        if known:
            number = f"{len(known)} services" if len(known) > 1 else "one service"
            self._say(NOTICE, f"learnt from the recording what starts of {number} took")

    def close(self) -> None:
        """End the program, if it runs."""
        if self.current is not None:
            self.current.close()

    def _complain(self, fault: str) -> None:
        self._say(WARNING, f"the recording teaches nothing of the starts of services: {fault}")
