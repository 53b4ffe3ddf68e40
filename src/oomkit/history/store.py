"""The history in an SQLite file: journals are read into it, and it is asked what happened."""

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from oomkit.errors import OomkitError
from oomkit.files.safely import NotSafeError, expect_own, open_own, open_regular
from oomkit.history.records import Act, Eased, KernelKill, Member, Record, Victim, read_record

_VERSION = 1
MODE = 0o640
"""Of a history that root makes."""
_TABLES = """
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    time_s REAL NOT NULL,
    kind TEXT NOT NULL,
    comm TEXT,
    pid INTEGER,
    json BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS record_time ON record (time_s);
CREATE TABLE IF NOT EXISTS journal (
    dev INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    head TEXT NOT NULL,
    read_bytes INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    PRIMARY KEY (dev, inode, head)
);
"""
MAX_BYTES = 256 << 20
"""What the records of a history may take; the oldest go first."""
_HEAD_BYTES = 64
_CHUNK_BYTES = 1 << 20


class StoreError(OomkitError):
    """The store can't be used; the text names the file and says why."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a journal brought.

    Attributes:
        new: records that were not known.
        damaged: lines that are no record (cut off by a crash) and were skipped.
    """

    new: int
    damaged: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the history.

    Attributes:
        id: its number in this store, from 1 in the order in which they came.
        record: the record.
        values: all that the daemon wrote of it.
    """

    id: int
    record: Record
    values: dict[str, Any]


class Store:
    """The history. Reading a journal twice, or one that grew, adds only what is new.

    A record is identified by what it is about: a kernel's kill by boot, time and pid; an
    act by the ``id`` it carries, so that what is written when it ends replaces what was written
    when it began; anything else by its very bytes.

    Attributes:
        path: the file.
        faults: records that can't be shown and were skipped, one line each.
    """

    def __init__(self, path: str) -> None:
        """Open the store, or make it.

        Args:
            path: the file; ``:memory:`` for one that is gone afterwards.

        Raises:
            StoreError: it can't be opened, is no store, or is of a later version; for root also,
                others could change it, or put one of the files in place that SQLite keeps beside
                it.
        """
        self.path = path
        self.faults: list[str] = []
        _expect_files(path)
        try:
            self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise StoreError(f"{path}: expected a store of version {_VERSION}, not {version}")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def read_journal(self, path: str) -> Imported:
        """Take in what a journal says that is not known yet.

        A line without its end is left for the next time: it may be in the middle of being
        written.

        Raises:
            StoreError: the journal can't be read, or the store can't be written.
        """
        try:
            with open(open_regular(path), "rb") as file:
                stat = os.fstat(file.fileno())
                head = hashlib.blake2b(file.read(_HEAD_BYTES), digest_size=8).hexdigest()
                return self._read(file, path, (stat.st_dev, stat.st_ino, head), stat.st_size)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None

    def _read(self, file: Any, path: str, key: tuple[int, int, str], size: int) -> Imported:
        row = self._db.execute(
            "SELECT read_bytes, damaged FROM journal WHERE dev = ? AND inode = ? AND head = ?", key
        ).fetchone()
        done, damaged_before = row or (0, 0)
        if done > size:
            done, damaged_before = 0, 0
        file.seek(done)
        new = damaged = 0
        rest = b""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            while chunk := file.read(_CHUNK_BYTES):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                at = done
                done += len(whole) + len(newline)
                for begin, line in _by_time(whole, at) if newline else ():
                    added = self._add(line, f"{path}: record at byte {begin}")
                    new += added is True
                    damaged += added is None
            # The head of a short file is still changing, so its place is remembered later.
            if size >= _HEAD_BYTES:
                self._db.execute(
                    "INSERT OR REPLACE INTO journal VALUES (?, ?, ?, ?, ?)",
                    (*key, done, damaged_before + damaged),
                )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return Imported(new=new, damaged=damaged)

    def _add(self, line: bytes, place: str) -> bool | None:
        """Add one record; None if the line is none, False if it is known or can't be shown."""
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
            time_s = float(record["time_s"])
            kind = str(record["kind"])
        except (UnicodeDecodeError, RecursionError):
            self.faults.append(f"{place}: expected JSON in UTF-8; skipped")
            return False
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            return None
        try:
            process = _process(read_record(record))
        except msgspec.ValidationError as error:
            self.faults.append(f"{place}: {error}; skipped")
            return False
        identity, replaces = _identity(record, line)
        cursor = self._db.execute(
            "INSERT INTO record (identity, time_s, kind, comm, pid, json) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (identity) DO "
            + ("UPDATE SET json = excluded.json WHERE ?7" if replaces else "NOTHING"),
            (identity, time_s, kind, process.comm, _int(process.pid), line)
            + ((_is_end(record),) if replaces else ()),
        )
        return bool(cursor.rowcount)

    def prune(self, most_bytes: int = MAX_BYTES) -> int:
        """Forget the oldest records beyond a size; returns how many.

        The file does not shrink: what comes next takes the place.

        Args:
            most_bytes: what all records may take.

        Raises:
            StoreError: the store can't be written.
        """
        try:
            cursor = self._db.execute(
                "DELETE FROM record WHERE id IN (SELECT id FROM (SELECT id, SUM(LENGTH(json)) OVER"
                " (ORDER BY time_s DESC, id DESC) AS bytes FROM record) WHERE bytes > ?)",
                (most_bytes,),
            )
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None
        return cursor.rowcount

    def entries(
        self,
        *,
        since_s: float | None = None,
        until_s: float | None = None,
        kinds: tuple[str, ...] = (),
        comm: str | None = None,
        last: int = 0,
    ) -> list[Entry]:
        """Return records, the oldest first.

        Args:
            since_s: not before, seconds since the epoch.
            until_s: not after.
            kinds: of these kinds; empty: of all.
            comm: victims of this name; may hold ``*``, ``?`` and ``[...]``.
            last: maximum number of records, the newest; 0: all.
        """
        where, values = ["1"], list[Any]()
        if since_s is not None:
            where.append("time_s >= ?")
            values.append(since_s)
        if until_s is not None:
            where.append("time_s <= ?")
            values.append(until_s)
        if kinds:
            where.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        if comm is not None:
            where.append("comm GLOB ?")
            values.append(comm)
        query = (
            f"SELECT id, json FROM record WHERE {' AND '.join(where)}"
            " ORDER BY time_s DESC, id DESC LIMIT ?"
        )
        rows = self._ask(query, (*values, last or -1))
        found = [self._entry(row) for row in rows]
        return [entry for entry in found if entry is not None][::-1]

    def entry(self, number: int) -> Entry | None:
        """Return one record by its number."""
        rows = list(self._ask("SELECT id, json FROM record WHERE id = ?", (number,)))
        return self._entry(rows[0]) if rows else None

    def _entry(self, row: tuple[int, Any]) -> Entry | None:
        """The record of a row; None, and a fault, if it is none."""
        number, line = row
        try:
            values = msgspec.json.decode(line, type=dict[str, Any])
            return Entry(id=number, record=read_record(values), values=values)
        except msgspec.ValidationError as error:
            expected = str(error)
        except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
            expected = "expected a JSON object in UTF-8"
        self.faults.append(f"{self.path}: record {number}: {expected}; skipped")
        return None

    def _ask(self, query: str, values: tuple[Any, ...]) -> Iterator[tuple[int, bytes]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None


class _Moment(msgspec.Struct):
    time_s: float = 0.0


def _by_time(whole: bytes, at: int) -> list[tuple[int, bytes]]:
    """Lines, and where in the file they begin, as what they are about happened.

    So numbers and times go up together: a guard that starts writes what the kernel did before
    behind its own start. What has no time is as old as the one before it.

    Args:
        whole: the lines.
        at: where in the file they begin.
    """
    found, time_s = [], 0.0
    for line in whole.split(b"\n"):
        if line:
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                time_s = msgspec.json.decode(line, type=_Moment).time_s
            found.append((time_s, at, line))
        at += len(line) + 1
    return [(begin, line) for _, begin, line in sorted(found)]


def _identity(record: dict[str, Any], line: bytes) -> tuple[str, bool]:
    """What identifies a record, and whether a later one of the same may replace it."""
    kind, boot = record["kind"], record.get("boot_id")
    if kind == "kernel_kill" and "kernel_s" in record:
        return f"kernel {boot} {record['kernel_s']} {record.get('pid')}", False
    if kind in ("act", "ease") and record.get("id") is not None:
        return f"{kind} {boot} {record['id']}", True
    return hashlib.blake2b(line, digest_size=16).hexdigest(), False


def _is_end(record: dict[str, Any]) -> bool:
    """What is known when an act ends is never replaced by what was known before."""
    return record.get("outcome") is not None


def _process(record: Record) -> Member | Victim | KernelKill:
    """The process that a record is about."""
    if isinstance(record, KernelKill):
        return record
    return (record.victim if isinstance(record, (Act, Eased)) else None) or Member()


def _int(value: int | None) -> int | None:
    """A number that SQLite can hold."""
    return value if value is not None and abs(value) < 1 << 62 else None


def _expect_files(path: str) -> None:
    """Refuse to have SQLite open, as root, what may be another user's: SQLite opens by name."""
    if path == ":memory:":
        return
    try:
        if os.geteuid() == 0:
            for suffix in ("", "-wal", "-shm", "-journal"):
                expect_own(path + suffix)
            # The files beside it get the mode that it has.
            os.close(open_own(path, os.O_RDWR, MODE))
        elif os.path.exists(path):
            os.close(open_regular(path))
    except NotSafeError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    except OSError:
        return  # SQLite says why
