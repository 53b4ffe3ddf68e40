"""Where a modelled and a real run of the same scenario part."""

from bisect import bisect_right
from statistics import median

from oomkit.agree.records import Agreement, Verdict
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
