"""What is under way, kept where it survives the daemon: a file that is open already."""

import fcntl
import marshal
import os
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
_HEAD = 12


class Pending:
    """The acts that have begun and are not recorded yet.

    They are written before the first signal. A guard that is started after another was killed
    in the middle finds them: whom it must wait for, and what has to be recorded.

    Attributes:
        fault: why nothing can be kept; empty when all is well.
    """

    __slots__ = ("_fd", "fault")

    def __init__(self, path: str | None) -> None:
        """Open the file, and lock it against a second guard.

        Args:
            path: where; None: nothing is kept.

        Raises:
            BlockingIOError: another guard has it.
        """
        self.fault = ""
        self._fd = -1
        if path is None:
            return
        try:
            self._fd = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            self.fault = error.strerror or str(error)
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise

    def read(self) -> "list[dict[str, Any]]":
        """What the last guard left; empty if it left nothing, or a file that is damaged."""
        if self._fd < 0:
            return []
        try:
            data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
            length = int.from_bytes(data[:8], "little")
            body = data[_HEAD : _HEAD + length]
            if len(body) != length or crc32(body) != int.from_bytes(data[8:_HEAD], "little"):
                return []
            acts = marshal.loads(body)
        except (OSError, ValueError, EOFError, TypeError):
            return []
        return acts if isinstance(acts, list) else []

    def write(self, acts: "list[dict[str, Any]]") -> None:
        """Replace what the file says. Never raises."""
        if self._fd < 0:
            return
        body = marshal.dumps(acts)
        head = len(body).to_bytes(8, "little") + crc32(body).to_bytes(4, "little")
        try:
            os.pwrite(self._fd, head + body, 0)
        except OSError as error:
            self.fault = error.strerror or str(error)
        else:
            self.fault = ""

    def close(self) -> None:
        """Close the file, and let another guard have it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
