"""What the guard on this machine is doing, and what it and the kernel did last."""

import errno
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from oomkit.files.safely import open_regular
from oomkit.guard.exporter import read_status
from oomkit.guard.journal import rotated
from oomkit.history.records import Act, Record, read_record
from oomkit.policy.engine.conditions import NAMES

MAX_RECORDS = 50
"""Records that are kept to be shown."""
TAIL_BYTES = 256 << 10
"""Of a journal only so much is read: the last acts are what is shown, and they are at its end."""


class GuardState(msgspec.Struct, frozen=True, kw_only=True):
    """The guard at one moment.

    Attributes:
        runs: its process is there.
        policy: its policy; None: not known.
        dry_run: it sends no signals.
        level: the level of its policy that holds.
        pid: its process.
        since_s: when it started, seconds since the epoch.
        acts: acts by how they ended.
        under_way: acts whose end it waits for.
        kernel_kills: OOM kills of the kernel that it saw.
        faults: what it can't write, and why.
        records: what its journal says last, the newest first.
        no_records: why there are none; empty where there could be.
    """

    runs: bool = False
    policy: str | None = None
    dry_run: bool = False
    level: str = ""
    pid: int | None = None
    since_s: float | None = None
    acts: dict[str, int] = {}
    under_way: int = 0
    kernel_kills: int = 0
    faults: dict[str, str] = {}
    records: tuple[Record, ...] = ()
    no_records: str = ""

    @property
    def last_act(self) -> Record | None:
        """The last choice or kill of the kernel's; None: none in these records."""
        return next((one for one in self.records if one.kind in ("act", "kernel_kill")), None)


class _Status(msgspec.Struct):
    """What is read of the status file: see :meth:`oomkit.guard.reporter.Reporter.status`."""

    pid: int | None = None
    policy: str | None = None
    dry_run: bool = False
    level: int = -1
    started_s: float | None = None
    acts: dict[str, int] = {}
    under_way: int = 0
    kernel_kills: int = 0
    faults: dict[str, str] = {}


class GuardReader:
    """Reads the guard's status file at each look, and its journal when that has grown."""

    def __init__(self, status: str, journals: Sequence[str], proc_root: str = "/proc") -> None:
        """Remember where to look.

        Args:
            status: the daemon's status file.
            journals: where its journal may be; the first that can be read counts.
            proc_root: where the daemon's process is looked up.
        """
        self._status = status
        self._journals = journals
        self._proc = proc_root
        self._seen: tuple[object, ...] = ()
        self._records: tuple[Record, ...] = ()
        self._fault = ""

    def read(self) -> GuardState:
        """Look. What can't be read or is damaged is left out."""
        self._read_journal()
        status = _status(self._status)
        pid = status.pid
        return GuardState(
            runs=pid is not None and pid > 0 and os.path.exists(f"{self._proc}/{pid}"),
            policy=status.policy,
            dry_run=status.dry_run,
            level=NAMES[status.level] if 0 <= status.level < len(NAMES) else "",
            pid=pid,
            since_s=status.started_s,
            acts=status.acts,
            under_way=status.under_way,
            kernel_kills=status.kernel_kills,
            faults=status.faults,
            records=self._records,
            no_records=self._fault,
        )

    def _read_journal(self) -> None:
        seen = tuple(_identity(path) for path in self._journals)
        if seen == self._seen:
            return
        self._seen, self._records, self._fault = seen, (), ""
        for path in self._journals:
            try:
                lines = tail(path)
            except OSError as error:
                if not self._fault or error.errno != errno.ENOENT:
                    self._fault = f"{path}: {error.strerror}"
                continue
            self._records, self._fault = newest(lines), ""
            for full in reversed(rotated(path)):
                if len(self._records) >= MAX_RECORDS:
                    break
                try:
                    lines = tail(full) + lines
                except OSError:
                    break
                self._records = newest(lines)
            break


def _status(path: str) -> _Status:
    try:
        return msgspec.convert(read_status(path) or {}, _Status)
    except msgspec.ValidationError:
        return _Status()  # of a guard that writes it otherwise


def tail(path: str) -> list[bytes]:
    """The last whole lines of a journal.

    Raises:
        OSError: it can't be read, or is no regular file.
    """
    with open(open_regular(path), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - TAIL_BYTES)
        file.seek(begin)
        lines = file.read(TAIL_BYTES).split(b"\n")
    # What stands before the first newline may be half a line; behind the last, one being written.
    return lines[1 if begin else 0 : -1]


def newest(lines: Sequence[bytes]) -> tuple[Record, ...]:
    """The records that lines hold, the newest first; damaged ones are passed over.

    An act is written when it begins and again when it ends: the later one counts.
    """
    found: list[Record] = []
    ended = set()
    for line in reversed(lines):
        if len(found) >= MAX_RECORDS:
            break
        try:
            values = msgspec.json.decode(line, type=dict[str, Any])
            record = read_record(values)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        identity = (values.get("boot_id"), values.get("id"))
        if isinstance(record, Act) and identity[1] is not None:
            key = repr(identity)
            if key in ended:
                continue
            ended.add(key)
        found.append(record)
    return tuple(found)


def _identity(path: str) -> tuple[int, ...] | int | None:
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
