"""A sweep from its plan to rows on disk, on any pool, however it is stopped."""

import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import polars as pl

from oomkit import __version__
from oomkit.batch import Pool, Work
from oomkit.errors import OomkitError
from oomkit.files.safely import open_output, open_regular, replace_output
from oomkit.sweep.plan import Plan
from oomkit.sweep.run import columns, encode, lost_row, work_of
from oomkit.sweep.spec import Sweep

_FORMAT = 1


class SpoolError(OomkitError):
    """The file is not a spool of this sweep; the text names it and says why."""


class Spool:
    """Rows on their way to a table.

    Attributes:
        path: the file.
        stays: it outlives a sweep that is stopped, so that it can be gone on with.
        count: rows in order so far: the number of the next run.
        ahead: rows behind a gap, by the number of their run.
    """

    def __init__(self, path: str, sweep: Sweep, total: int) -> None:
        """Describe a spool; :meth:`begin` or :meth:`resume` opens it."""
        self.path = path
        self.stays = True
        self.count = 0
        self.ahead: dict[int, bytes] = {}
        self._header = {
            "oomkit_sweep": _FORMAT,
            "version": __version__,
            "fingerprint": fingerprint(sweep),
            "runs": total,
        }
        self._file: Any = None

    def begin(self) -> None:
        """Create the file, or truncate it.

        Raises:
            OSError: it can't be written.
        """
        self._file = open_output(self.path)
        self._file.write(msgspec.json.encode(self._header) + b"\n")
        self._file.flush()

    def resume(self) -> None:
        """Go on behind the rows that are there; a line torn by a crash is dropped.

        Raises:
            SpoolError: it is of another sweep, or damaged.
            OSError: it can't be read or written.
        """
        end = self._read()
        self._file = open_output(self.path, keep=end)

    def _read(self) -> int:
        """Count the rows in order, keep those behind a gap; returns where the former end."""
        with open(open_regular(self.path), "rb") as file:
            header = file.readline()
            self._compare(header)
            end = at = len(header)
            for number, line in enumerate(file, start=2):
                at += len(line)
                if not line.endswith(b"\n"):
                    break
                try:
                    run = msgspec.json.decode(line, type=_Pending).run
                except (msgspec.MsgspecError, ValueError, RecursionError):
                    raise SpoolError(f"{self.path}: line {number}: expected a row") from None
                if run == self.count and not self.ahead:
                    self.count += 1
                    end = at
                else:
                    self.ahead[run] = line.rstrip(b"\n")
        return end

    def _compare(self, line: bytes) -> None:
        try:
            found = msgspec.json.decode(line)
            known = isinstance(found, dict) and found.get("oomkit_sweep") == _FORMAT
        except (msgspec.MsgspecError, ValueError, RecursionError):
            known = False
        if not known:
            raise SpoolError(f"{self.path}: expected the rows of a sweep that was stopped")
        if found.get("version") != __version__:
            raise SpoolError(
                f"{self.path}: made by oomkit {found.get('version')}; this is {__version__}, whose "
                "rows may differ"
            )
        for key in ("fingerprint", "runs"):
            if found.get(key) != self._header[key]:
                raise SpoolError(
                    f"{self.path}: made by another sweep, or its files were changed since"
                )

    def add(self, row: bytes) -> None:
        """Append the next row.

        Raises:
            OSError: it can't be written.
        """
        self._file.write(row + b"\n")
        self.count += 1

    def close(self, ahead: Iterable[bytes] = ()) -> None:
        """Write what is left, with the rows whose turn has not come.

        Raises:
            OSError: it can't be written.
        """
        if self._file is None:
            return
        for row in ahead:
            self._file.write(row + b"\n")
        self._file.close()
        self._file = None

    def remove(self) -> None:
        """Delete the file."""
        os.unlink(self.path)


class _Pending(msgspec.Struct):
    run: int


def fingerprint(sweep: Sweep) -> str:
    """What distinguishes sweeps with other rows."""
    import hashlib

    known = msgspec.structs.replace(sweep, source="", about="", name="")
    files = []
    if sweep.fleet is not None:
        for path in sweep.fleet.files:
            status = os.stat(path)
            files.append((os.path.basename(path), status.st_size, status.st_mtime_ns))
    data = msgspec.json.encode([known, files], order="deterministic")
    return hashlib.sha256(data).hexdigest()


class Conduct:
    """One sweep at work.

    Attributes:
        total: how many runs there are.
        before: how many of them had rows when it began.
    """

    def __init__(self, sweep: Sweep, plan: Plan, spool: Spool) -> None:
        """Take a spool that :meth:`Spool.begin` or :meth:`Spool.resume` has opened."""
        self.total = plan.total
        self.before = spool.count + len(spool.ahead)
        self._sweep = sweep
        self._plan = plan
        self._spool = spool
        self._known = dict(spool.ahead)
        self._work: Work[bytes, bytes] | None = None

    @property
    def done(self) -> int:
        """How many runs have a row."""
        return self.before + (self._work.done if self._work is not None else 0)

    def run(self, pool: Pool) -> None:
        """Play what has no row yet. Stopped on the way, it keeps what is done.

        Raises:
            PoolError: the workers can't be had any more.
            OSError: a row can't be written.
            KeyboardInterrupt: stopped; what was done is in the spool.
        """
        spool = self._spool
        jobs = self._plan.jobs(frozenset(self._known), spool.count)
        sweep = self._sweep
        work = self._work = Work(
            pool,
            work_of(sweep),
            (encode(job) for job in jobs),
            lost=lambda data, deaths: lost_row(sweep, data, deaths),
            total=self.total - self.before,
        )
        try:
            for row in self._in_turn(iter(work)):
                spool.add(row)
            spool.close()
        except BaseException:
            ahead = {**self._known, **{_run(row): row for row in work.ahead()}}
            spool.close([row for run, row in sorted(ahead.items()) if run >= spool.count])
            raise

    def _in_turn(self, fresh: Iterator[bytes]) -> Iterator[bytes]:
        """Rows of this time and of the last, in the order of their runs."""
        while True:
            while (row := self._known.pop(self._spool.count, None)) is not None:
                yield row
            try:
                yield next(fresh)
            except StopIteration:
                return


class _Run(msgspec.Struct):
    run: int


def _run(row: bytes) -> int:
    return msgspec.json.decode(row, type=_Run).run


KINDS = (".parquet", ".csv", ".jsonl")
"""How the name of a table may end."""


def scan(sweep: Sweep, spool: str) -> pl.LazyFrame:
    """The rows of a finished spool, lazily."""
    types: dict[type, Any] = {int: pl.Int64, float: pl.Float64, str: pl.String, bool: pl.Boolean}
    schema = {name: types[kind] for name, kind in columns(sweep.axes).items()}
    # The first line is no row: it has none of the columns.
    return pl.scan_ndjson(spool, schema=schema).filter(pl.col("run").is_not_null())


def write(sweep: Sweep, spool: str, path: str) -> None:
    """Write a table, through a file beside it that takes its name when it is whole.

    Raises:
        OSError: it can't be written.
    """
    frame = scan(sweep, spool)
    beside = f"{path}.tmp"
    try:
        with open_output(beside) as file:
            if path.endswith(".parquet"):
                frame.sink_parquet(file)
            elif path.endswith(".csv"):
                frame.sink_csv(file)
            else:
                with open(spool, "rb") as rows:
                    rows.readline()
                    shutil.copyfileobj(rows, file)
        replace_output(beside, path)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
