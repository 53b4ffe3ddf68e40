"""Many comparisons, several at a time where they don't feel each other."""

import multiprocessing
import signal
import sys
from collections.abc import Iterable, Iterator

import msgspec

from oomkit.agree.battery import agree_on
from oomkit.agree.records import Agreement
from oomkit.errors import OomkitError
from oomkit.model import ModelError
from oomkit.real import Place, RealError
from oomkit.scenario.format import Scenario


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison to make; see :func:`oomkit.agree.battery.agree_on`."""

    file: str
    scenario: Scenario
    place: Place
    seed: int = 0


class JobError(OomkitError):
    """A comparison that could not be made; the text names the file and says why."""


def agree_on_all(jobs: Iterable[Job], workers: int = 1) -> Iterator[Agreement]:
    """Make comparisons; results come in the order of the jobs.

    Args:
        jobs: what to compare.
        workers: processes that play at a time. More than one suits guests alone: in a cgroup of
            this host runs would slow each other down.

    Raises:
        JobError: one could not be made.
    """
    if workers == 1:
        yield from map(_play, jobs)
        return
    # Spawned: a caller that shows progress has threads. Leaving takes the workers down, and they
    # their guests.
    with multiprocessing.get_context("spawn").Pool(workers, _heed_signals) as pool:
        yield from pool.imap(_play, jobs)


def _heed_signals() -> None:
    def leave(number: int, _frame: object) -> None:
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, _stay)  # a second one must not cut the clean-up short
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _stay(_number: int, _frame: object) -> None:
    """Not SIG_IGN: Python complains of a signal that came just before it is ignored."""


def _play(job: Job) -> Agreement:
    try:
        return agree_on(job.file, job.scenario, job.place, seed=job.seed)
    except (RealError, ModelError) as error:
        raise JobError(f"{job.file}: {error}") from None
    except OSError as error:
        what = error.filename or job.place.world
        raise JobError(f"{job.file}: {what}: {error.strerror or error}") from None
