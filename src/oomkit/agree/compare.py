"""One scenario on a real kernel and on the model, or many side by side, and where they part."""

import multiprocessing
import signal
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from statistics import median

import msgspec

from oomkit.agree.records import Agreement, Verdict
from oomkit.errors import OomkitError
from oomkit.model import ModelError
from oomkit.model import play as play_model
from oomkit.real import Place, Played, RealError, kernel_for, play, refusals
from oomkit.real.run_record import with_costs
from oomkit.scenario.format import Scenario
from oomkit.scenario.record import Kill, Run, Samples

_MB = 2**20
_SAMPLES_APART_S = 0.1


def compare(file: str, scenario: Scenario, real: Run, model: Run) -> Agreement:
    """Compare two runs.

    Args:
        file: the scenario's file.
        scenario: as it was asked for; its RAM and swap are what errors are shares of.
        real: the run on a real kernel.
        model: the run on the model; for a cgroup as :func:`from_within` shows it.
    """
    order = compare_order(real.kills, model.kills)
    ram_mb = scenario.machine.ram_bytes / _MB
    first_s, model_first_s = first_kill_s(real), first_kill_s(model)
    swap = None
    if scenario.machine.swap_bytes:
        swap = _error(real.samples, real.samples.swap_free_mb, model.samples,
                      model.samples.swap_free_mb, ram_mb)  # fmt: skip
    # A cgroup has no MemAvailable; what is left of its limit is the same thing in both.
    inside = real.on == "cgroup"
    curves = [run.samples.free_mb if inside else run.samples.available_mb for run in (real, model)]
    return Agreement(
        file=file,
        scenario=scenario.name,
        on=real.on,
        kernel=real.kernel,
        outcome=real.outcome,
        model_outcome=model.outcome,
        victims=tuple(map(_key, real.kills)),
        model_victims=tuple(map(_key, model.kills)),
        first=compare_order(real.kills[:1], model.kills[:1]),
        order=order,
        denied=tuple(f"{one.task}: {one.call}" for one in real.denied),
        model_denied=tuple(f"{one.task}: {one.call}" for one in model.denied),
        first_kill_s=first_s,
        model_first_kill_s=model_first_s,
        ratio=first_s / model_first_s if first_s is not None and model_first_s else None,
        curve="free" if inside else "available",
        curve_error=_error(real.samples, curves[0], model.samples, curves[1], ram_mb),
        swap_error=swap,
        frozen=_spans(real),
        model_frozen=_spans(model),
        overlap=overlap(_spans(real), _spans(model)),
    )


Spans = tuple[tuple[float, float], ...]


def _spans(run: Run) -> Spans:
    return tuple((freeze.from_s, freeze.to_s) for freeze in run.frozen)


def overlap(real: Spans, model: Spans) -> float | None:
    """Intersection over union of two sets of spans; None where both are empty.

    Args:
        real: spans that do not overlap each other.
        model: likewise.
    """
    both = sum(
        max(min(one[1], other[1]) - max(one[0], other[0]), 0.0) for one in real for other in model
    )
    whole = sum(to - begin for begin, to in (*real, *model)) - both
    if whole <= 0:
        return None
    return round(both / whole, 4)


def compare_order(real: tuple[Kill, ...], model: tuple[Kill, ...]) -> Verdict:
    """Whether the same died in the same order.

    Where another died than the model said, but one of its equals by either account, the two change
    places in what the model says from there on.
    """
    if len(real) != len(model):
        return "differs"
    verdict: Verdict = "same"
    name: dict[str, str] = {}
    for theirs, ours in zip(real, model, strict=True):
        said = name.get(_key(ours), _key(ours))
        if said == _key(theirs):
            continue
        equals = {name.get(key, key) for key in ours.tied_with} | {*theirs.tied_with}
        if _key(theirs) not in equals and said not in theirs.tied_with:
            return "differs"
        verdict = "tie"
        other = next((key for key, value in name.items() if value == _key(theirs)), _key(theirs))
        name[_key(ours)], name[other] = _key(theirs), said
    return verdict


def first_kill_s(run: Run) -> float | None:
    """When the first one died, or the kernel panicked; None if neither."""
    if run.kills:
        return run.kills[0].t_s
    return run.ended_s if run.outcome == "panicked" else None


def _key(kill: Kill) -> str:
    return f"{kill.task}/{kill.instance}"


def _error(
    at: Samples, values: list[float], model: Samples, modelled: list[float], ram_mb: float
) -> float | None:
    """Median distance of two curves at the real run's samples, as a share of RAM.

    Only while both run: what one holds after the other has ended says nothing.
    """
    gaps = []
    for t_s, value in zip(at.t_s, values, strict=True):
        place = bisect_right(model.t_s, t_s) - 1
        if place >= 0 and t_s <= model.t_s[-1] + _SAMPLES_APART_S:
            gaps.append(abs(value - modelled[place]))
    return round(median(gaps) / ram_mb, 4) if gaps else None


SAMPLE_S = 0.1
"""Distance of the model's samples: that of the real ones."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Both runs and their comparison.

    Attributes:
        agreement: how they compare.
        played: the real one, and the scenario with its machine as it was found.
        model: the modelled one, its memory seen from where the real one's was.
    """

    agreement: Agreement
    played: Played
    model: Run


def agree_on(
    file: str,
    scenario: Scenario,
    place: Place,
    *,
    seed: int = 0,
    costs: Mapping[str, float] | None = None,
) -> Agreement:
    """Compare one scenario; that it can't be played there, or broke, is noted in the result.

    The arguments are those of :func:`pair`.

    Raises:
        NoKernelError: there is no such kernel.
        NotHereError: nothing can be played there.
        ModelError: the model can't play it.
    """
    kernel = kernel_for(scenario, place)
    refused = "; ".join(refusals(scenario, place))
    failed = ""
    if not refused:
        try:
            return pair(file, scenario, place, seed=seed, costs=costs).agreement
        except RealError as error:
            failed = str(error)
    return Agreement(
        file=file,
        scenario=scenario.name,
        on=place.world,
        kernel=kernel,
        refused=refused,
        failed=failed,
    )


def pair(
    file: str,
    scenario: Scenario,
    place: Place,
    *,
    seed: int = 0,
    costs: Mapping[str, float] | None = None,
) -> Pair:
    """Play a scenario on a real kernel, then on the model with the machine as it was found.

    Args:
        file: the scenario's file.
        scenario: what is played.
        place: where it is played.
        seed: moves what the scenario declares as random.
        costs: what pages cost there, as it was measured before
            (:class:`~oomkit.scenario.record.Found`); None: by the model's defaults.

    Raises:
        RealError: it can't be played there, or playing failed.
        ModelError: the model can't play it.
    """
    began = time.perf_counter()
    played = play(scenario, place, seed=seed)
    if costs:
        found = with_costs(played.scenario, costs)
        played = msgspec.structs.replace(played, scenario=found)
    real_s = time.perf_counter() - began
    began = time.perf_counter()
    model = play_model(played.scenario, seed=seed, sample_s=SAMPLE_S)
    model_s = time.perf_counter() - began
    if place.world == "cgroup":
        model = from_within(model, scenario)
    agreement = compare(file, scenario, played.run, model)
    timed = msgspec.structs.replace(agreement, real_s=round(real_s, 3), model_s=round(model_s, 4))
    return Pair(agreement=timed, played=played, model=model)


def from_within(run: Run, scenario: Scenario) -> Run:
    """Measure free and available memory against the cgroup's limit, not the host's RAM.

    Nothing else runs on the modelled host, so what it has less than at the start, the cgroup uses.

    Args:
        run: played by the model inside a host.
        scenario: as it was asked for; its RAM is the limit.
    """
    samples = run.samples
    limit_mb = scenario.machine.ram_bytes / _MB
    before = samples.cached_mb[0] if samples.cached_mb else 0.0
    inside = msgspec.structs.replace(
        samples,
        free_mb=_left(limit_mb, samples.free_mb),
        available_mb=_left(limit_mb, samples.available_mb),
        cached_mb=[round(max(value - before, 0.0), 3) for value in samples.cached_mb],
    )
    return msgspec.structs.replace(run, samples=inside)


def _left(limit_mb: float, on_host: list[float]) -> list[float]:
    return [round(min(max(limit_mb - on_host[0] + mb, 0.0), limit_mb), 3) for mb in on_host]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison to make; see :func:`oomkit.agree.compare.agree_on`."""

    file: str
    scenario: Scenario
    place: Place
    seed: int = 0
    costs: dict[str, float] | None = None


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
        return agree_on(job.file, job.scenario, job.place, seed=job.seed, costs=job.costs)
    except (RealError, ModelError) as error:
        raise JobError(f"{job.file}: {error}") from None
    except OSError as error:
        what = error.filename or job.place.world
        raise JobError(f"{job.file}: {what}: {error.strerror or error}") from None
