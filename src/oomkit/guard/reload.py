"""Reading the policy anew, in another process: reading TOML takes more than a small daemon has."""

import marshal
import os

from oomkit.host.self_protection import ordinary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHUNK = 1 << 16
_MOST_BYTES = 1 << 22


class Reload:
    """One attempt to read the policy.

    Attributes:
        fd: becomes readable when there is news.
        plan: what came of it; None while it runs, or if the policy is wrong.
        fault: what is wrong; empty while it runs, or if nothing is.
    """

    __slots__ = ("_data", "_errors", "_pid", "fault", "fd", "plan")

    def __init__(self, argv: tuple[str, ...]) -> None:
        """Start the program that prints the plan.

        Raises:
            OSError: it can't be started.
        """
        self.plan: dict[str, Any] | None = None
        self.fault = ""
        self._data = b""
        self.fd, out = os.pipe2(os.O_CLOEXEC)
        self._errors, err = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        redirections = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
        try:
            self._pid = os.posix_spawn(
                argv[0], argv, os.environ, file_actions=redirections, setsigdef=(1, 2, 13, 15)
            )
        except OSError:
            os.close(self.fd)
            os.close(self._errors)
            raise
        finally:
            os.close(out)
            os.close(err)
        ordinary(self._pid)

    def finished(self) -> bool:
        """Take what is there; says whether that was all, and ``plan`` or ``fault`` holds."""
        chunk = os.read(self.fd, _CHUNK)
        self._data += chunk
        if chunk and len(self._data) <= _MOST_BYTES:
            return False
        os.close(self.fd)
        _, status = os.waitpid(self._pid, 0)
        try:
            said = os.read(self._errors, 4096).decode("utf-8", "replace")
        except BlockingIOError:
            said = ""
        os.close(self._errors)
        code = os.waitstatus_to_exitcode(status)
        if code:
            self.fault = " ".join(said.split()) or f"reading it ended with status {code}"
            return True
        try:
            plan = marshal.loads(self._data)
        except (ValueError, EOFError, TypeError):
            plan = None
        if isinstance(plan, dict):
            self.plan = plan
        else:
            self.fault = "what came of it is no plan"
        return True
