"""Items through a function on a pool's workers: in batches, in order, even if workers die."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Generic, TypeVar

from oomkit.batch.pools import Pool
from oomkit.records import Record

T = TypeVar("T")
R = TypeVar("R")

_BATCH_S = 0.4
"""What a batch should take: enough to make sending it cheap, little to lose with a worker."""

MIN_S = 0.05
"""What a batch takes at the end too: shorter ones cost more to send than they even out."""

_MAX_BATCH = 1000

_MAX_AHEAD = 20_000
"""How many results may wait for an earlier one."""

_LISTEN_S = 5.0


class _Batch(Record, Generic[T]):
    """Neighbouring items.

    Attributes:
        first: the first one's number.
        items: they.
        deaths: how often a worker died over them.
    """

    first: int
    items: list[T]
    deaths: int = 0


class Work(Generic[T, R]):
    """Iterates over ``function(item)`` of every item, in the items' order.

    Batches grow until one takes about half a second, and shrink towards the end. Items are drawn
    as they are needed and results handed out as soon as their turn has come, so that neither
    piles up. When a worker dies, what it had is done again, item by item and alone, so that only
    the one that kills its worker every time is given up.

    Attributes:
        done: how many results there are.
    """

    def __init__(
        self,
        pool: Pool,
        function: Callable[[T], R],
        items: Iterator[T],
        *,
        lost: Callable[[T, int], R],
        total: int | None = None,
        max_batch: int = _MAX_BATCH,
    ) -> None:
        """Prepare the work; iterating does it.

        Args:
            pool: does the work.
            function: a function of a module, which workers can import.
            items: what it is called with; plain values travel best.
            lost: the result for an item that killed its workers, from the item and how many.
            total: how many items there are; None: unknown.
            max_batch: no batch is larger.
        """
        self.done = 0
        self._pool = pool
        self._function = function
        self._items = items
        self._lost = lost
        self._total = total
        self._max_batch = max_batch
        self._drawn = 0
        self._given = 0
        self._item_s: float | None = None
        self._exhausted = False
        self._pending: dict[Future[tuple[list[R], float]], _Batch[T]] = {}
        self._again: deque[_Batch[T]] = deque()
        self._results: dict[int, R] = {}

    def __iter__(self) -> Iterator[R]:
        """Hand out the results.

        Raises:
            PoolError: the workers can't be had any more.
            Exception: what the function raised.
        """
        while True:
            self._fill()
            while self._given in self._results:
                self._given += 1
                yield self._results.pop(self._given - 1)
                if self._given % 64 == 0:
                    self._fill()
            if not self._pending and not self._again and self._exhausted:
                return
            self._gather(_LISTEN_S)

    def ahead(self, timeout_s: float = 2.0) -> list[R]:
        """Results whose turn has not come, for a caller that stops before the end.

        Args:
            timeout_s: how long to wait for batches that are at work.
        """
        finished, _ = wait(self._pending, timeout_s)
        for future in finished:
            if not future.cancelled() and future.exception() is None:
                self._note(self._pending.pop(future).first, future.result()[0])
        return [self._results[number] for number in sorted(self._results)]

    def _fill(self) -> None:
        """Keep every worker busy and one batch waiting for each."""
        if self._again:
            # An item that may have killed a worker runs alone, to find out whether it did.
            if not self._pending:
                self._submit(self._again.popleft())
            return
        slots = self._pool.slots()
        while not self._exhausted and len(self._pending) < 2 * slots:
            if self._drawn - self._given > _MAX_AHEAD:
                return
            items = []
            for item in self._items:
                items.append(item)
                if len(items) >= self._size(slots):
                    break
            else:
                self._exhausted = True
            if items:
                self._submit(_Batch(self._drawn, items))
                self._drawn += len(items)

    def _size(self, slots: int) -> int:
        if self._item_s is None:
            return 1
        item_s = max(self._item_s, 1e-6)
        size = int(_BATCH_S / item_s)
        if self._total is not None:
            left = (self._total - self._drawn) // (3 * slots)
            size = min(size, max(left, int(MIN_S / item_s)))
        return max(min(size, self._max_batch), 1)

    def _submit(self, batch: _Batch[T]) -> None:
        future = self._pool.executor.submit(_apply, self._function, batch.items)
        self._pending[future] = batch

    def _gather(self, timeout_s: float) -> None:
        finished, _ = wait(self._pending, timeout_s, FIRST_COMPLETED)
        if not finished:
            self._pool.check()
        for future in finished:
            batch = self._pending.pop(future)
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or (error is not None and self._pool.is_death(error)):
                self._pool.check()
                self._died(batch)
            elif error is not None:
                raise error
            else:
                results, seconds = future.result()
                self._note(batch.first, results)
                each = seconds / len(results)
                self._item_s = each if self._item_s is None else (self._item_s * 3 + each) / 4

    def _died(self, batch: _Batch[T]) -> None:
        if len(batch.items) == 1 and batch.deaths + 1 >= self._pool.tries and batch.deaths:
            self._note(batch.first, [self._lost(batch.items[0], batch.deaths + 1)])
            return
        for place, item in enumerate(batch.items):
            deaths = batch.deaths + 1 if len(batch.items) == 1 else 1
            self._again.append(_Batch(batch.first + place, [item], deaths))

    def _note(self, first: int, results: list[R]) -> None:
        self.done += len(results)
        self._results.update(enumerate(results, first))


def _apply(function: Callable[[T], R], items: list[T]) -> tuple[list[R], float]:
    """On a worker: the results, and the seconds they took."""
    start = time.perf_counter()
    results = [function(item) for item in items]
    return results, time.perf_counter() - start
