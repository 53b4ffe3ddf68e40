"""Log lines on stderr; never waits for their reader."""

import errno
import os
import stat
from _thread import allocate_lock

from oomkit.policy.engine.evidence import amount, evidence_line
from oomkit.printable import printable

TYPE_CHECKING = False

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from oomkit.guard.act_record import ActRecord
    from oomkit.policy.engine.candidate import Ranked
    from oomkit.policy.engine.decider import Act
    from oomkit.policy.engine.trigger import State

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""syslog's priorities."""

_BACKLOG = 1000
_NONBLOCKING = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY


class MessageWriter:
    """Lines for stderr; under systemd each with its priority in front.

    What can't be written at once waits, up to a bound, for the next :meth:`flush`.

    Args:
        fd: where to.
        deferred: lines wait until :meth:`flush` is called, from another thread.
        priorities: ``<4>`` in front of each line, as the journal understands it.

    Attributes:
        never_blocks: writing can't wait for a reader, whatever stderr is.
    """

    __slots__ = (
        "_deferred", "_fd", "_flushing", "_link", "_lock", "_lost", "_priorities", "_waiting",
        "_write", "never_blocks",
    )  # fmt: skip

    def __init__(self, fd: int = 2, *, deferred: bool = False, priorities: bool = False) -> None:
        self._fd = fd
        self._deferred = deferred
        self._priorities = priorities
        self._waiting: list[bytes] = []
        self._lost = 0
        self._lock = allocate_lock()
        self._flushing = allocate_lock()
        self._link: _socket.socket | None = None
        self.never_blocks = True
        self._write: Callable[[bytes], int] = self._plainly
        self._find_way()

    @property
    def waiting(self) -> bool:
        """Some line could not be written yet."""
        return bool(self._waiting)

    def line(self, priority: int, text: str) -> None:
        """Say a line; control characters in it are escaped."""
        with self._lock:
            if len(self._waiting) < _BACKLOG:
                self._waiting.append(self._made(priority, text))
            else:
                self._lost += 1
        if not self._deferred:
            self.flush()

    def flush(self) -> None:
        """Write what waits and can be written without waiting. Never raises."""
        if not self._flushing.acquire(blocking=False):
            return  # another thread is at it
        try:
            while self._waiting:
                try:
                    sent = self._write(self._waiting[0])
                except BlockingIOError:
                    return
                except OSError:
                    self._drop()  # it has no reader
                    return
                with self._lock:
                    rest = self._waiting[0][sent:]
                    self._waiting[:1] = [rest] if rest else []
                    if self._lost and not self._waiting:
                        count, self._lost = self._lost, 0
                        self._waiting.append(
                            self._made(WARNING, f"{count} lines are lost: stderr was not read")
                        )
        finally:
            self._flushing.release()

    def close(self) -> None:
        """Write what can be written, and close what was opened."""
        self.flush()
        if self._link is not None:
            self._write = self._plainly
            self._link.close()
            self._link = None

    def _made(self, priority: int, text: str) -> bytes:
        prefix = f"<{priority}>" if self._priorities else ""
        return f"{prefix}{printable(text)}\n".encode("utf-8", "backslashreplace")

    def _drop(self) -> None:
        with self._lock:
            self._waiting.clear()

    def _find_way(self) -> None:
        """Find a way to write that does not wait, and changes nothing for others.

        The flag ``O_NONBLOCK`` is shared by every process with the same stderr, so a pipe or a
        terminal is opened once more; a socket takes the flag with each message.
        """
        try:
            kind = os.fstat(self._fd).st_mode
        except OSError:
            return
        if stat.S_ISSOCK(kind):
            # Only a service has a socket there, and it imports this anyway.
            import _socket as sockets

            link = self._link = sockets.socket(fileno=os.dup(self._fd))
            self._write = lambda line: link.send(line, sockets.MSG_DONTWAIT)
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            try:
                os.close(os.open(f"/proc/self/fd/{self._fd}", _NONBLOCKING))
            except OSError:
                self.never_blocks = False
            else:
                self._write = self._reopened

    def _reopened(self, line: bytes) -> int:
        # Not kept open: a reader is to see the end when all others have closed it.
        try:
            fd = os.open(f"/proc/self/fd/{self._fd}", _NONBLOCKING)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise BlockingIOError from None
            raise
        try:
            return os.write(fd, line)
        finally:
            os.close(fd)

    def _plainly(self, line: bytes) -> int:
        return os.write(self._fd, line)


_ALSO = 2
"""Number of further candidates that are named."""

_OF = {"namesakes": "name"}

_OUTCOMES = {
    "gone": "exited before it could be signalled",
    "refused": "could not be signalled",
    "protected": "is protected by now, and was left alone",
    "spared": "memory recovered; waiting without escalation",
    "survived": "did not exit within a minute",
}


def evidence(state: "State") -> str:
    """The conditions of the rule that holds."""
    return ", ".join(evidence_line(one) for one in state.evidence)


def acted(act: "Act", *, dry_run: bool) -> str:
    """The victim, the reason, and the next candidates."""
    choice = act.choice
    one = choice.candidate
    who = f"{one.comm}[{one.pid}]"
    if len(choice.members) > 1:
        of = _OF.get(choice.level, choice.level)
        who += f" and {len(choice.members) - 1} more of its {of}"
    signal = f"SIG{act.signals[0].name}" if act.signals else "a signal"
    if dry_run:
        verb = f"would send {signal} to {who}"
    elif act.command is not None:
        verb = f"ran {act.command[0]} for {who} instead of {signal}"
    else:
        verb = f"sent {signal} to {who}"
    others = [r for r in act.ranked if not r.verdict and r is not choice][:_ALSO]
    behind = ", ".join(
        f"{r.candidate.comm}[{r.candidate.pid}] {amount(r.freed_kb, 'kb')}" for r in others
    )
    return (
        f"{verb}, {_gain(choice)}: {evidence(act.state)}"
        + (f"; next: {behind}" if behind else "")
        + (f"; {choice.note}" if choice.note else "")
    )


def _gain(choice: "Ranked") -> str:
    """What is expected of a choice."""
    wrote_kb = sum(one.tmpfs_growth_kb or 0.0 for one in choice.members)
    wrote = f" and wrote {amount(wrote_kb, 'kb')} to tmpfs" if wrote_kb else ""
    return f"which frees {amount(choice.freed_kb, 'kb')}{wrote}"


def ended(record: "ActRecord") -> str:
    """How an act ended."""
    name = f"{record.victim.comm}[{record.victim.pid}]"
    outcome = record.outcome or ""
    if outcome == "died":
        freed = amount(record.freed_kb or 0, "kb")
        return f"{name} exited after {record.died_after_ms or 0.0:.0f} ms; {freed} came free"
    return f"{name}: {_OUTCOMES.get(outcome, outcome)}"
