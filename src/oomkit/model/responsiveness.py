"""Whether the machine is usable: how long the rounds of the probe take, each second."""

from math import ceil, floor
from typing import Final

from oomkit.model.demand import reads_a_page
from oomkit.model.disk import SWAP_WRITES_AHEAD
from oomkit.model.machine import Machine
from oomkit.model.solve import Rates
from oomkit.model.tasks import PAGE
from oomkit.scenario.definitions import Probe, freezes, is_late
from oomkit.scenario.record import Freeze

_INFINITY: Final = float("inf")

_ROUNDING: Final = 1e-9
"""What sums of time and of shares may lack of a whole."""


def response_s(machine: Machine, rates: Rates) -> float:
    """How long a round would take at the present rates; infinity when it gets no page."""
    top = rates.domains[None]
    probe = machine.probe
    pages = probe.scratch_bytes / PAGE
    if top.blocked and machine.free < machine.watermarks.floor_pages + pages:
        return _INFINITY
    seconds = probe.cpu_s / _cpu_share(machine, rates)
    if top.plan is not None:
        if machine.compressed.has_room:
            seconds += (
                pages * top.plan.anon_share * machine.compressed.out_s / _cpu_share(machine, rates)
            )
        else:
            seconds += pages * top.plan.anon_share / machine.disk_pages_s * rates.queue
    programs = machine.programs
    if programs is not None and programs.missing_share > 0.0:
        missing = programs.missing_share
        reads = programs.hot * missing * reads_a_page(machine, programs, missing)
        seconds += (
            reads / machine.disk_pages_s * (rates.queue + rates.swap_busy * SWAP_WRITES_AHEAD)
        )
    return seconds


def _cpu_share(machine: Machine, rates: Rates) -> float:
    wanted = weights = 0.0
    for demand in rates.demands:
        need = demand.need
        wanted += need
        weights += need * demand.weight if need < 1.0 else demand.weight
    if wanted + 1.0 <= machine.cpus_worth:
        return 1.0
    return min(machine.cpus_worth * 1024.0 / (weights + 1024.0), 1.0)


class Prober:
    """Takes the probe through its rounds.

    Args:
        probe: what it does.

    Attributes:
        answered: number of rounds that are over.
    """

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.answered = 0
        self._now = 0.0
        self._next_s = probe.every_s
        """When the next round is due."""
        self._began_s: float | None = None
        """When the present round began; None: there is none."""
        self._left = 0.0
        """Share of the present round that is left."""
        self._late: list[tuple[float, float | None]] = []
        """Rounds that were late; those that follow each other at a steady pace as one."""

    def advance(self, seconds: float, response_s: float) -> None:
        """Let time pass in which a round takes ``response_s``."""
        end = self._now + seconds
        if self._began_s is not None:
            over_s = self._now + self._left * response_s if self._left > 0.0 else self._now
            if over_s > end:
                self._left -= seconds / response_s
                self._now = end
                return
            self._finish(self._began_s, over_s)
        if self._next_s <= end:
            self._go_on(end, response_s)
        self._now = end

    def _go_on(self, end: float, response_s: float) -> None:
        """Begin the rounds that are due by then; all take the same time."""
        every_s = self.probe.every_s
        began_s = self._next_s
        whole = 0
        if response_s < end - began_s:
            apart_s = max(ceil(response_s / every_s - _ROUNDING), 1) * every_s
            whole = floor((end - began_s) / apart_s)
        if whole:
            # All but the last are over before that one begins.
            self.answered += whole - 1
            last_s = began_s + (whole - 1) * apart_s
            self._finish(last_s, last_s + response_s, since_s=began_s)
            began_s += whole * apart_s
        if began_s + response_s <= end:
            self._finish(began_s, began_s + response_s)
            return
        self._began_s = began_s
        self._left = 1.0 - (end - began_s) / response_s

    def _finish(self, began_s: float, over_s: float, since_s: float | None = None) -> None:
        """End a round, and those before it since another time that took as long."""
        every_s = self.probe.every_s
        self.answered += 1
        self._began_s = None
        self._next_s = max(ceil(over_s / every_s - _ROUNDING) * every_s, began_s + every_s)
        if is_late(over_s - began_s, self.probe):
            self._late.append((began_s if since_s is None else since_s, over_s))

    def freezes(self, ended_s: float) -> tuple[Freeze, ...]:
        """When the machine was frozen, in a run that ended then."""
        present = [] if self._began_s is None else [(self._began_s, None)]
        return freezes([*self._late, *present], ended_s, self.probe)
