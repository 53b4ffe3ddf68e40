"""Where work is done: processes here that fail one by one, or workers of a Dask cluster."""

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from typing import Any, TypeVar

from oomkit import __version__
from oomkit.errors import OomkitError

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


MAX_WORKERS = 1024

_LOOK_AGAIN_S = 5.0
CONNECT_S = 10
"""Seconds in which a scheduler has to answer."""


class PoolError(OomkitError):
    """The workers can't be reached or used; the text is one line that says why."""


class Pool:
    """An executor, and what ``concurrent.futures`` does not say about it.

    Attributes:
        executor: takes the calls.
        tries: how often a call whose worker died is worth another try; a cluster's scheduler
            has tried before it reports.
        elsewhere: the workers may have another working directory.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        slots: Callable[[], int],
        deaths: tuple[type[BaseException], ...],
        tries: int,
        elsewhere: bool = False,
        alive: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.executor = executor
        self.tries = tries
        self.elsewhere = elsewhere
        self._slots = slots
        self._deaths = deaths
        self._alive = alive

    def slots(self) -> int:
        """How many calls it can run at a time now."""
        return max(self._slots(), 1)

    def is_death(self, error: BaseException) -> bool:
        """Whether a call failed because its worker died."""
        return isinstance(error, self._deaths)

    def check(self) -> None:
        """Look whether the workers can still be had.

        Raises:
            PoolError: they can't.
        """
        reason = self._alive()
        if reason is not None:
            raise PoolError(reason)


@contextmanager
def local_pool(workers: int | None = None, *, preload: Sequence[str] = ()) -> Iterator[Pool]:
    """Worker processes on this machine; an exception in the block ends them at once.

    Args:
        workers: how many; None: as many as this process may use CPUs.
        preload: modules that every worker has imported before it starts.
    """
    count = workers or len(os.sched_getaffinity(0))
    executor = LocalPool(count, preload=preload)
    try:
        yield Pool(executor, slots=lambda: count, deaths=(BrokenExecutor,), tries=3)
    except BaseException:
        executor.stop()
        raise
    executor.shutdown(wait=True)


@contextmanager
def cluster_pool(address: str) -> Iterator[Pool]:
    """The workers of a running Dask cluster.

    Args:
        address: its scheduler's, such as ``tcp://10.0.0.5:8786``.

    Raises:
        PoolError: that is no address, dask.distributed is not installed, there is no answer,
            there are no workers, or they have another version of oomkit.
    """
    if re.fullmatch(r"\w+://\S+:\d+/?", address) is None:
        raise PoolError(f"--cluster: expected tcp://HOST:PORT, not {address!r}")
    try:
        import distributed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise PoolError(
            "--cluster needs dask.distributed: install oomkit[cluster] (dask, distributed)"
        ) from None
    _quiet()
    try:
        connect: Any = distributed.Client
        client = connect(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PoolError(f"{address}: no Dask scheduler answers: {reason}") from None
    try:
        slots = _Slots(client)
        if slots() == 0:
            raise PoolError(f"{address}: the scheduler has no workers; start some with dask worker")
        _check_versions(client, address)
        yield Pool(
            client.get_executor(pure=False),
            slots=slots,
            deaths=(KilledWorker, CancelledError),
            tries=1,
            elsewhere=True,
            alive=lambda: (
                None
                if client.status == "running"
                else f"{address}: the connection to the scheduler was lost"
            ),
        )
    finally:
        client.close(timeout=2)


class _Slots:
    """The threads of a cluster's workers, asked for now and then: workers come and go."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._count = 0
        self._asked: float | None = None

    def __call__(self) -> int:
        now = time.monotonic()
        if self._asked is None or now - self._asked > _LOOK_AGAIN_S:
            # A lost scheduler is reported by check().
            with suppress(OSError, TimeoutError, RuntimeError, ValueError):
                self._count = sum(self._client.nthreads().values())
            self._asked = now
        return self._count


def _check_versions(client: Any, address: str) -> None:
    """Refuse workers that would not give the same results."""
    needed = f"{address}: the scheduler and its workers need oomkit {__version__}"
    try:
        # The scheduler looks into what it passes on; the workers are asked directly.
        client.submit(_version, pure=False).result(timeout=CONNECT_S)
        versions = set(client.run(_version).values())
    except Exception as error:
        while error.__cause__ is not None and isinstance(error.__cause__, Exception):
            error = error.__cause__
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PoolError(f"{needed}: {reason}") from None
    if versions != {__version__}:
        raise PoolError(f"{needed}; some have {', '.join(sorted(versions - {__version__}))}")


def _version() -> str:
    return __version__


def _quiet() -> None:
    """Keep the client's log off stderr; what matters comes as errors."""
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
