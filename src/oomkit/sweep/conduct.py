"""A sweep from its plan to rows on disk, whoever works and whatever stops it."""

from collections.abc import Iterator

import msgspec

from oomkit.batch import Pool, Work
from oomkit.sweep.format import Sweep
from oomkit.sweep.plan import Plan
from oomkit.sweep.play import encode, lost_row, work_of
from oomkit.sweep.spool import Spool


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
