"""Where work is done: this machine's CPUs, or the workers of a Dask cluster."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from contextlib import contextmanager, suppress
from typing import Any

from oomkit import __version__
from oomkit.batch.local import LocalPool
from oomkit.errors import OomkitError

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
