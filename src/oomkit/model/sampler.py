"""Samples of a run, interpolated: between two events every value moves along a straight line."""

from collections.abc import Iterable

from oomkit.model.machine import Machine
from oomkit.model.psi import Psi
from oomkit.model.responsiveness import FROZEN_S
from oomkit.model.solve import Rates
from oomkit.model.tasks import PAGE, Proc
from oomkit.scenario.record import Samples, TaskSamples

_MB = 2**20 / PAGE

PING = "ping/0"
PROBE = "probe/0"


class _Curve:
    """The samples of one process, from the first one after its start."""

    __slots__ = ("before", "first", "proc", "progress", "rss", "swap", "total_s")

    def __init__(self, proc: Proc, first: int, total_s: float) -> None:
        self.proc = proc
        self.first = first
        self.total_s = total_s
        self.rss: list[float] = []
        self.swap: list[float] = []
        self.progress: list[float] = []
        self.before = (0.0, 0.0, 0.0)

    def extend(self, at: int, after: tuple[float, float, float], parts: list[float]) -> None:
        """Add the samples between two events.

        Args:
            at: number of the first of them.
            after: rss, swap and progress at the second event.
            parts: share of the time between the events that was over at each.
        """
        gap = at - self.first - len(self.rss)
        mb = (1.0 / _MB, 3)
        columns = ((self.rss, mb), (self.swap, mb), (self.progress, (1.0, 4)))
        for (column, (unit, digits)), a, b in zip(columns, self.before, after, strict=True):
            column.extend([0.0] * gap)
            column.extend(_line(a * unit, b * unit, parts, digits))

    def padded(self, column: list[float], count: int, *, hold: bool = False) -> list[float]:
        """A column from the start of the run to its end; it ends in 0, or ``hold``s its value."""
        last = column[-1] if hold and column else 0.0
        whole = [0.0] * self.first + column
        return (whole + [last] * (count - len(whole)))[:count]


def _line(start: float, end: float, parts: list[float], digits: int) -> list[float]:
    if start == end:
        return [round(max(start, 0.0), digits)] * len(parts)
    return [round(max(start + (end - start) * part, 0.0), digits) for part in parts]


class Sampler:
    """Collects a sample every ``every_s`` seconds, and advances the pressure averages."""

    def __init__(self, machine: Machine, psi: Psi, every_s: float) -> None:
        self.machine = machine
        self.psi = psi
        self.every_s = every_s
        self.t: list[float] = []
        self.rows: list[tuple[float, ...]] = []
        self.probe_answers: list[float] = []
        self.curves: dict[str, _Curve] = {}
        self._live: list[_Curve] = []
        self._before: tuple[float, ...] = ()
        self._probe = 0.0

    def watch(self, proc: Proc) -> None:
        """Sample a process from now on."""
        spec = proc.spec
        total = sum(proc.nominal)
        if spec.loops is not None:
            total *= spec.loops
        curve = _Curve(proc, len(self.t), total)
        curve.before = self._values(curve)
        self.curves[proc.key] = curve
        self._live.append(curve)

    def begin_piece(self, end: float) -> None:
        """Remember the present state, if a sample is due until ``end``."""
        if self._next() > end:
            return
        self._before = self._state()
        for curve in self._live:
            curve.before = self._values(curve)

    def end_piece(self, start: float, seconds: float, rates: Rates, response_s: float) -> None:
        """Take the samples that were due while the machine was advanced.

        Args:
            start: from when.
            seconds: for how long.
            rates: at which rates.
            response_s: how long the probe took meanwhile.
        """
        some, full = rates.some, rates.full
        end = start + seconds
        now = start
        if self._next() > end:
            self.psi.advance(seconds, some, full)
            return
        after = self._state()
        first = len(self.t)
        parts = []
        while (at := self._next()) <= end:
            self.psi.advance(at - now, some, full)
            now = at
            part = (at - start) / seconds if seconds > 0 else 1.0
            if response_s <= FROZEN_S:
                self._probe += self.every_s
            self._add_row(at, part, after, rates.cpu_busy)
            parts.append(part)
        for curve in self._live:
            curve.extend(first, self._values(curve), parts)
        self.psi.advance(end - now, some, full)
        self._live = [curve for curve in self._live if curve.proc.state != "dead"]

    def _next(self) -> float:
        return len(self.t) * self.every_s

    def _add_row(self, at: float, part: float, after: tuple[float, ...], busy: float) -> None:
        row = [a + (b - a) * part for a, b in zip(self._before, after, strict=True)]
        self.t.append(round(at, 6))
        self.rows.append((*row, *self.psi.avg10(), busy))
        self.probe_answers.append(float(int(self._probe)))

    def _state(self) -> tuple[float, ...]:
        """Pages that are free, available, cached, and free in swap."""
        machine = self.machine
        file = shared = swapped = 0.0
        for pool in machine.pools():
            if pool.kind == "file":
                file += pool.resident + pool.dirty
            else:
                swapped += pool.swapped
                if pool.kind == "shmem":
                    shared += pool.resident
        free = machine.free
        return (
            free,
            machine.available(file),
            file + shared + machine.rootfs,
            max(machine.swap_total - swapped, 0.0),
        )

    def _values(self, curve: _Curve) -> tuple[float, float, float]:
        """A process's rss and swap, pages, and its progress."""
        proc = curve.proc
        if proc.state == "dead":
            return (0.0, 0.0, self._progress(curve))
        return (proc.rss(), proc.mm.swap(), self._progress(curve))

    def _progress(self, curve: _Curve) -> float:
        proc = curve.proc
        done = proc.done_s
        if proc.state == "run" and proc.step < len(proc.spec.steps) and 0 < proc.step_total < 1e18:
            part = 1.0 - proc.step_left / proc.step_total
            done += part * proc.nominal[proc.step]
        if curve.total_s <= 0.0:
            return 1.0 if proc.state == "dead" and not proc.killed else 0.0
        return done / curve.total_s

    def samples(self) -> Samples:
        """Everything collected, as the record has it."""
        count = len(self.t)
        columns = list(zip(*self.rows, strict=True)) if self.rows else [()] * 7
        free, available, cached, swap_free, some, full, busy = columns
        tasks = {}
        for key, curve in self.curves.items():
            tasks[key] = TaskSamples(
                rss_mb=curve.padded(curve.rss, count),
                swap_mb=curve.padded(curve.swap, count),
                progress=curve.padded(curve.progress, count, hold=True),
            )
        nothing = [0.0] * count
        tasks[PROBE] = TaskSamples(rss_mb=nothing, swap_mb=nothing, progress=self.probe_answers)
        pings = [float(int(t)) for t in self.t]
        tasks[PING] = TaskSamples(rss_mb=nothing, swap_mb=nothing, progress=pings)
        return Samples(
            t_s=self.t,
            free_mb=_as_mb(free),
            available_mb=_as_mb(available),
            cached_mb=_as_mb(cached),
            swap_free_mb=_as_mb(swap_free),
            psi_some_avg10=[round(percent, 2) for percent in some],
            psi_full_avg10=[round(percent, 2) for percent in full],
            cpu_busy=[round(share, 3) for share in busy],
            tasks=tasks,
        )


def _as_mb(column: Iterable[float]) -> list[float]:
    return [round(pages / _MB, 3) for pages in column]
