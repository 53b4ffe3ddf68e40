"""Worker processes on this machine that fail one by one."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from typing import Any, TypeVar

T = TypeVar("T")


class LocalPool(Executor):
    """As many single-worker :class:`ProcessPoolExecutor` as there are workers.

    A ``ProcessPoolExecutor`` whose worker is killed kills the others and loses all their work.
    Here only the futures that were the dead worker's fail, with ``BrokenProcessPool``; its place
    is filled at the next submission.
    """

    def __init__(self, workers: int, *, preload: Sequence[str] = ()) -> None:
        """Prepare the workers; they start when they get work.

        Args:
            workers: how many.
            preload: modules that every worker has imported before it starts.
        """
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        _start_server()
        self._others = set(multiprocessing.active_children())
        self._lock = threading.Lock()
        self._stopped = False
        self._pools = [self._new() for _ in range(workers)]
        self._loads = [0] * workers

    def _new(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=_begin)
        # The thread that fills a pool's queue prints a traceback when stop() has the pipe closed
        # under it; there is no public way to say that this is meant.
        queue: Any = getattr(pool, "_call_queue", None)
        complain = getattr(queue, "_on_queue_feeder_error", None)
        if complain is not None:
            queue._on_queue_feeder_error = lambda error, item: (  # noqa: SLF001  # as above
                None if self._stopped else complain(error, item)
            )
        return pool

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Give a call to the worker with the least to do."""
        with self._lock:
            place = min(range(len(self._loads)), key=self._loads.__getitem__)
            self._loads[place] += 1
        with _undisturbed(), _safe_path():
            try:
                future = self._pools[place].submit(fn, *args, **kwargs)
            except BrokenProcessPool:
                self._pools[place].shutdown(wait=False)
                self._pools[place] = self._new()
                future = self._pools[place].submit(fn, *args, **kwargs)

        def done(_: Future[T]) -> None:
            with self._lock:
                self._loads[place] -= 1

        future.add_done_callback(done)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the workers end; the counterpart of ``Executor.shutdown``."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=cancel_futures)
        if wait:
            for pool in self._pools:
                pool.shutdown(wait=True)

    def stop(self) -> None:
        """End the workers now, whatever they are at."""
        self._stopped = True
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child not in self._others:
                child.terminate()
        self.shutdown(wait=True)


def _start_server() -> None:
    """Start what makes the workers, with SIGINT blocked in it and in them.

    Ctrl-C at a terminal reaches all of them, at any moment: while they import, before a worker
    can ignore it.
    """
    with _safe_path():
        # What it starts first takes SIGINT out of the mask again.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Start no interpreter that looks for modules in the current directory.

    Any user may have put them there. What the caller starts later is left as it is.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Have Ctrl-C wait: a worker whose start it breaks off would be unknown, and never ended."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(*came[0])


def _begin() -> None:
    """Leave Ctrl-C to the parent, and end when it does, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
