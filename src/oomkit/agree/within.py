"""A modelled run in a cgroup, its memory as it looks from inside."""

import msgspec

from oomkit.scenario.format import Scenario
from oomkit.scenario.record import Run

_MB = 2**20


def from_within(run: Run, scenario: Scenario) -> Run:
    """Measure free and available memory against the cgroup's limit, not the host's RAM.

    What the tasks hold is what they have resident; page cache is what came since the start.

    Args:
        run: played by the model inside a host.
        scenario: as it was asked for; its RAM is the limit.
    """
    samples = run.samples
    limit_mb = scenario.machine.ram_bytes / _MB
    held = [sum(values) for values in zip(*(t.rss_mb for t in samples.tasks.values()), strict=True)]
    held = held or [0.0] * len(samples.t_s)
    before = samples.cached_mb[0] if samples.cached_mb else 0.0
    cached = [round(max(value - before, 0.0), 3) for value in samples.cached_mb]
    inside = msgspec.structs.replace(
        samples,
        free_mb=[_left(limit_mb, h + c) for h, c in zip(held, cached, strict=True)],
        available_mb=[_left(limit_mb, h) for h in held],
        cached_mb=cached,
    )
    return msgspec.structs.replace(run, samples=inside)


def _left(limit_mb: float, used_mb: float) -> float:
    return round(max(limit_mb - used_mb, 0.0), 3)
