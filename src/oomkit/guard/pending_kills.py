"""What is under way, kept where it survives the daemon: a file that is open already."""

import fcntl
import marshal
import mmap
import os
from binascii import crc32

from oomkit.files.safely import open_own
from oomkit.guard.config import read_boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODE = 0o600
_HEAD = 12
BYTES = 1 << 18
"""Room for some dozens of acts; they are few, and short-lived."""


class PendingKills:
    """The acts that have begun and are not recorded yet.

    They are written before the first signal. A guard that is started after another was killed
    in the middle finds them: which victims it waits for, and what has to be recorded.

    Attributes:
        fault: why nothing can be kept; empty when all is well.
    """

    __slots__ = ("_boot", "_fd", "_map", "_path", "fault")

    def __init__(self, path: str | None) -> None:
        """Open the file, and lock it against a second guard.

        Args:
            path: where; None: nothing is kept.

        Raises:
            BlockingIOError: another guard has it.
        """
        self.fault = ""
        self._path = path
        self._boot = read_boot_id()
        self._fd = -1
        self._map: mmap.mmap | None = None
        if path is None:
            return
        try:
            self._fd = open_own(path, os.O_RDWR, MODE)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # All of it is there and, as it is mapped, locked: writing takes no page any more.
            os.posix_fallocate(self._fd, 0, BYTES)
            self._map = mmap.mmap(self._fd, BYTES)
            self._map[0:BYTES] = self._map[0:BYTES]
        except BlockingIOError:
            self.close()
            raise
        except OSError as error:
            self.close()
            self.fault = error.strerror or str(error)

    @property
    def keeps(self) -> bool:
        """What was written last will be found by the guard that comes after this one."""
        return self._map is not None and not self.fault

    def doubt(self) -> str:
        """What does not work while nothing can be kept; empty when all is well."""
        if not self.fault:
            return ""
        return (
            f"state {self._path}: {self.fault}; nothing is known of what was under way, and "
            "nothing is kept"
        )

    def read(self) -> "list[dict[str, Any]]":
        """What the last guard left.

        Empty if it left nothing, a file that is damaged, or one of an earlier boot, whose
        processes are others.
        """
        if self._map is None:
            return []
        length = int.from_bytes(self._map[0:8], "little")
        body = self._map[_HEAD : _HEAD + length]
        if len(body) != length or crc32(body) != int.from_bytes(self._map[8:_HEAD], "little"):
            return []
        try:
            boot, acts = marshal.loads(body)
        except (ValueError, EOFError, TypeError):
            return []
        if boot != self._boot or not isinstance(acts, list):
            return []
        return acts

    def write(self, acts: "list[dict[str, Any]]") -> None:
        """Replace what the file says. Never raises, never waits for a disk."""
        if self._map is None:
            return
        body = self._body(acts)
        if len(body) > BYTES - _HEAD:
            # The victims matter more than the candidates they were chosen from.
            body = self._body([{**a, "record": {**a["record"], "candidates": []}} for a in acts])
        if len(body) > BYTES - _HEAD:
            self.fault = f"{len(acts)} acts are under way, more than can be kept"
            return
        head = len(body).to_bytes(8, "little") + crc32(body).to_bytes(4, "little")
        self._map[0 : _HEAD + len(body)] = head + body
        self.fault = ""

    def _body(self, acts: "list[dict[str, Any]]") -> bytes:
        return marshal.dumps((self._boot, acts))

    def close(self) -> None:
        """Close the file, and let another guard have it."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
