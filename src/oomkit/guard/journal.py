"""A record as a line of JSON, without the memory that :mod:`json` takes."""

from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock

from oomkit.files.safely import open_own, rename_own
from oomkit.guard.config import read_boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ESCAPES: dict[int, str] = {
    **{code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)},
    **{0xDC00 + byte: f"\\\\x{byte:02x}" for byte in range(0x80, 0x100)},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\t"): "\\t",
}
"""Besides what JSON demands: bytes of a name that were not UTF-8 become readable ``\\xff``."""


def encode(record: Mapping[str, object]) -> bytes:
    r"""Return a record as one line of UTF-8 JSON that ends in a newline.

    Names that are no UTF-8 (surrogate escapes) are written as the text ``\xff``, numbers that
    JSON has no word for (NaN, infinities) as null, bytes as text, tuples as arrays, and
    anything of a type JSON lacks as its ``str()``.
    """
    return (_value(record) + "\n").encode("utf-8", "replace")


def _value(value: object) -> str:
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        # An infinity, and only that or NaN, differs from itself after subtraction.
        return float.__repr__(value) if value - value == 0.0 else "null"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_value(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([f"{_text(str(k))}:{_value(v)}" for k, v in value.items()]) + "}"
    if isinstance(value, (bytes, bytearray)):
        return _text(value.decode("utf-8", "surrogateescape"))
    return _text(value if isinstance(value, str) else str(value))


def _text(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'


SCHEMA = 1
"""Of the records; a change that would mislead a reader of the old ones gets a new number."""
FULL_FILES = 4
"""Number of full files that are kept until they are imported into the history."""
MODE = 0o640
_FLAGS = os.O_RDWR | os.O_APPEND
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Journal:
    """Appends records to a file.

    A line is whole or, after a crash in the middle of a write, cut at the end of the file; the
    next journal ends such a line before it writes its own, and readers pass over it.

    Attributes:
        path: the file.
        fault: why the last write failed; None when all is well.
        written: records that reached the file.
        lost: records that fell over the bound of the memory and are gone.
        rotations: how often a full file was moved aside.
    """

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int = 8 << 20,
        backlog_bytes: int = 1 << 20,
        deferred: bool = False,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
        boot_id: str | None = None,
    ) -> None:
        """Open the file if that can be done now, else with the first record.

        Args:
            path: where (:func:`oomkit.files.safely.open_own`); its directory is not made.
            max_bytes: beyond it the file is renamed to ``PATH.1``, that one to ``PATH.2`` and so
                on; the last of :data:`FULL_FILES` goes.
            backlog_bytes: how much may wait in memory while nothing can be written.
            deferred: :meth:`append` does not touch the disk; somebody calls :meth:`flush`.
            wall: seconds since the epoch.
            mono: seconds of the clock that never steps.
            boot_id: of the kernel that runs; None: looked up.
        """
        self.path = path
        self.fault: str | None = None
        self.written = 0
        self.lost = 0
        self.rotations = 0
        self._unreported = 0
        self._max_bytes = max_bytes
        self._backlog_bytes = backlog_bytes
        self._deferred = deferred
        self._wall = wall
        self._mono = mono
        self._boot = read_boot_id().decode("ascii") if boot_id is None else boot_id
        self._lock = allocate_lock()
        self._flushing = allocate_lock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._sent_of_first = 0
        self._reopen = False
        self._fd = -1
        self._size = 0
        self._open()

    @property
    def waiting(self) -> int:
        """Records that are in memory only."""
        return len(self._waiting)

    def append(self, record: dict[str, object]) -> None:
        """Take a record, and write it and those that wait unless writing is deferred.

        Adds ``schema``, ``time_s`` (since the epoch), ``mono_s`` (since boot, without the time
        asleep) and ``boot_id`` where the record does not bring its own.
        """
        whole: dict[str, object] = {
            "schema": SCHEMA,
            "kind": record.get("kind", "error"),
            "time_s": round(self._wall(), 6),
            "mono_s": round(self._mono(), 6),
            "boot_id": self._boot,
        }
        whole.update(record)
        self._keep(encode(whole))
        if not self._deferred:
            self.flush()

    def flush(self) -> bool:
        """Write what waits; says whether all of it is in the file now."""
        with self._flushing:
            if self._reopen:
                self._reopen = False
                self._close()
            if self._fd < 0:
                self._open()
            while self._fd >= 0 and self._waiting:
                if not self._write_first():
                    return False
                if self._unreported and not self._waiting:
                    self._report_loss()
            if self._fd >= 0 and self._size > self._max_bytes:
                self._rotate()
            return not self._waiting

    def sync(self) -> None:
        """Have the disk hold what was written, so that a power cut can't take it. May block."""
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self.fault = _said(error)

    def reopen(self) -> None:
        """Open the file again at the next flush, after logrotate moved it away."""
        self._reopen = True
        if not self._deferred:
            self.flush()

    def close(self) -> None:
        """Write what can be written, and close the file."""
        self.flush()
        self._close()

    def _keep(self, line: bytes) -> None:
        with self._lock:
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            # The first may be half written, so it stays, and has to be ended.
            while self._waiting_bytes > self._backlog_bytes and len(self._waiting) > 2:
                self._waiting_bytes -= len(self._waiting.pop(1))
                self.lost += 1
                self._unreported += 1

    def _write_first(self) -> bool:
        with self._lock:
            line = self._waiting[0]
            rest = line[self._sent_of_first :]
        try:
            sent = os.write(self._fd, rest)
        except OSError as error:
            self.fault = _said(error)
            sent = 0
            if error.errno not in _FULL and error.errno != errno.EINTR:
                self._close()
        with self._lock:
            self._sent_of_first += sent
            self._size += sent
            if self._sent_of_first < len(line):
                return False
            self._waiting_bytes -= len(self._waiting.pop(0))
            self._sent_of_first = 0
        self.written += 1
        self.fault = None
        return True

    def _report_loss(self) -> None:
        count, self._unreported = self._unreported, 0
        self._keep(
            encode(
                {
                    "schema": SCHEMA,
                    "kind": "error",
                    "time_s": round(self._wall(), 6),
                    "mono_s": round(self._mono(), 6),
                    "boot_id": self._boot,
                    "text": f"{count} records could not be written and are lost",
                    "lost": count,
                }
            )
        )

    def _open(self) -> None:
        try:
            self._fd = open_own(self.path, _FLAGS, MODE)
            self._size = os.fstat(self._fd).st_size
            if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
                self._size += os.write(self._fd, b"\n")
        except OSError as error:
            self.fault = _said(error)
            self._close()
            return
        self._sent_of_first = 0
        self.fault = None

    def _rotate(self) -> None:
        """Move the full file aside; if its successor can't be made, go on with it."""
        try:
            if os.path.lexists(self.path):
                names = rotated(self.path)
                for older, newer in zip(names, (*names[1:], self.path), strict=True):
                    if os.path.lexists(newer):
                        rename_own(newer, older)
            fd = open_own(self.path, _FLAGS, MODE)
        except OSError as error:
            self.fault = _said(error)
            return
        os.close(self._fd)
        self._fd = fd
        self._size = 0
        self.rotations += 1

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def rotated(path: str) -> list[str]:
    """Where a journal's full files are, the oldest first."""
    return [f"{path}.{number}" for number in range(FULL_FILES, 0, -1)]


def _said(error: OSError) -> str:
    return error.strerror or str(error)
