"""Work on local workers: order, batches, deaths, errors, stopping early."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from oomkit.batch import Pool, Work, local_pool
from tests.batch import functions


def lost(item: Any, deaths: int) -> Any:
    return ("lost", item, deaths)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with local_pool(2) as pool:
        yield pool


def test_results_come_in_the_items_order(pool: Pool) -> None:
    work = Work(pool, functions.slow_when_early, iter(range(300)), lost=lost, total=300)
    assert list(work) == list(range(300))
    assert work.done == 300


def test_nothing_to_do_ends_at_once(pool: Pool) -> None:
    assert list(Work(pool, functions.double, iter(()), lost=lost)) == []


def test_items_are_drawn_as_they_are_needed(pool: Pool) -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for number in range(1_000_000):
            drawn = number
            yield number

    results = iter(Work(pool, functions.double, items(), lost=lost))
    assert [next(results) for _ in range(10)] == list(range(0, 20, 2))
    assert drawn < 25_000


def test_only_the_item_that_kills_every_worker_is_given_up(pool: Pool) -> None:
    work = Work(pool, functions.deadly, iter(range(40)), lost=lost, total=40)
    assert list(work) == [*range(13), ("lost", 13, 3), *range(14, 40)]


def test_a_worker_that_dies_once_costs_nothing(pool: Pool, tmp_path: Path) -> None:
    marker = str(tmp_path / "died")
    jobs = [(number, marker) for number in range(30)]
    assert list(Work(pool, functions.deadly_once, iter(jobs), lost=lost)) == list(range(30))
    assert Path(marker).exists()


def test_what_the_function_raises_is_raised(pool: Pool) -> None:
    with pytest.raises(ValueError, match=r"no \d"):
        list(Work(pool, functions.wrong, iter(range(3)), lost=lost))


@pytest.mark.timeout(60)
def test_an_interrupted_caller_does_not_wait_for_long_work() -> None:
    def interrupted() -> int:
        with local_pool(1) as pool:
            pids.append(pool.executor.submit(os.getpid).result())
            pool.executor.submit(time.sleep, 1000)
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    while os.path.exists(f"/proc/{pids[0]}"):
        time.sleep(0.05)


def test_results_ahead_of_their_turn_can_be_had_when_stopping_early() -> None:
    executor = _ByHand()
    pool = Pool(executor, slots=lambda: 2, deaths=(), tries=1)  # type: ignore[arg-type]  # a stand-in
    work = Work(pool, functions.double, iter(range(4)), lost=lost)
    results = iter(work)
    executor.answer_on_submit = {1, 2}
    executor.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert work.ahead(timeout_s=0.0) == [2, 4]


class _ByHand:
    """An executor that answers the calls it is told to, and then is interrupted."""

    def __init__(self) -> None:
        self.answer_on_submit: set[int] = set()
        self.stop_after = 0
        self._count = 0

    def submit(self, fn: Any, function: Any, items: list[int]) -> Future[Any]:
        future: Future[Any] = Future()
        if items[0] in self.answer_on_submit:
            future.set_result(fn(function, items))
        self._count += 1
        if self._count == self.stop_after:
            future.set_running_or_notify_cancel()
            raise KeyboardInterrupt
        return future
