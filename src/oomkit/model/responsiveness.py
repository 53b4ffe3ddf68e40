"""Whether the machine is usable: how long a small interactive program takes, each second."""

from typing import Final

from oomkit.model.demand import amplification
from oomkit.model.machine import Machine
from oomkit.model.solve import Rates
from oomkit.scenario.sums import added

_CPU_S: Final = 0.010
"""CPU time of the probe, which is all it takes on an idle machine."""

_PAGES: Final = 300
"""Pages it needs: process, page tables, stack and data."""

_TEXT_PAGES: Final = 512
"""Pages of the system's programs and libraries it uses."""

FROZEN_S: Final = 1.0
"""The machine counts as frozen while the probe takes longer than this."""

_INFINITY: Final = float("inf")


def response_s(machine: Machine, rates: Rates) -> float:
    """How long the probe would take at the present rates; infinity when it gets no page."""
    top = rates.domains[None]
    if top.blocked and machine.free < machine.watermarks.floor_pages + _PAGES:
        return _INFINITY
    seconds = _CPU_S / _cpu_share(machine, rates)
    if top.plan is not None:
        seconds += _PAGES * top.plan.anon_share / machine.disk_pages_s * rates.queue
    programs = machine.programs
    if programs is not None and programs.missing_share > 0.0:
        cluster = 1 << machine.knobs.get("page-cluster", 3)
        reads = min(programs.size, _TEXT_PAGES) * programs.missing_share
        reads *= amplification(programs.missing_share, cluster)
        seconds += reads / machine.disk_pages_s * rates.queue
    return seconds


def _cpu_share(machine: Machine, rates: Rates) -> float:
    wanted = added(need for need, _ in rates.cpu_wants)
    if wanted + 1.0 <= machine.cpus:
        return 1.0
    weights = added(min(need, 1.0) * weight for need, weight in rates.cpu_wants)
    return min(machine.cpus * 1024.0 / (weights + 1024.0), 1.0)


class FreezeTracker:
    """Collects the spans of time in which the machine is frozen.

    Attributes:
        spans: start and end of each, seconds since the start.
        since: when the present one began; None: the machine is usable.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self.since: float | None = None

    def update(self, now: float, response: float) -> None:
        """Note how long the probe takes from now on."""
        if response > FROZEN_S:
            if self.since is None:
                self.since = now
        elif self.since is not None:
            # A probe that only waited for less than the limit was not frozen.
            if now - self.since > FROZEN_S:
                self.spans.append((self.since, now))
            self.since = None

    def close(self, now: float) -> bool:
        """End the run; returns whether the machine is frozen at its end."""
        frozen = self.since is not None and now - self.since > FROZEN_S
        if self.since is not None and frozen:
            self.spans.append((self.since, now))
        return frozen
