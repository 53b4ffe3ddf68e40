"""A modelled run in a cgroup, its memory as it looks from inside."""

import msgspec

from oomkit.scenario.format import Scenario
from oomkit.scenario.record import Run

_MB = 2**20


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
