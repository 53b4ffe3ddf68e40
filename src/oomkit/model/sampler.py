"""Samples of a run, interpolated: between two events every value moves along a straight line."""

from collections.abc import Iterable
from itertools import compress
from typing import Final

from oomkit.model.machine import Machine
from oomkit.model.psi import Psi
from oomkit.model.responsiveness import Prober
from oomkit.model.solve import Rates
from oomkit.model.tasks import PAGE, Proc
from oomkit.scenario.record import Samples, TaskSamples
from oomkit.scenario.sums import added

_MB: Final = 2**20 / PAGE

_A_PAGE_MB: Final = 1.0 / _MB

PING: Final = "ping/0"
PROBE: Final = "probe/0"

_FINEST_S: Final = 2.0**-10
"""Where an adaptive interval begins; doubled again and again it hits whole seconds."""

MAX_REGULAR: Final = 2400
"""Most samples at an adaptive interval; a longer run has a longer interval."""

_MAX_VALUES: Final = 100_000
"""Most samples times processes, so that with many processes the interval is longer still."""

_MAX_REGULAR_CROWDED: Final = 300
"""Minimum number of samples before thinning, however many processes there are."""

_MAX_KILLS: Final = 1000
"""Maximum number of kills with a sample of their own."""

_MAX_STARTS_AND_EXITS: Final = 400
"""Maximum number of starts and exits with a sample of their own."""


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
        rss, swap, progress = self.before
        _extend(self.rss, gap, rss * _A_PAGE_MB, after[0] * _A_PAGE_MB, parts, 3)
        _extend(self.swap, gap, swap * _A_PAGE_MB, after[1] * _A_PAGE_MB, parts, 3)
        _extend(self.progress, gap, progress, after[2], parts, 4)

    def keep(self, wanted: list[bool]) -> None:
        """Drop the samples of the run that are not wanted."""
        own = wanted[self.first :]
        self.rss = list(compress(self.rss, own))
        self.swap = list(compress(self.swap, own))
        self.progress = list(compress(self.progress, own))
        self.first = sum(wanted[: self.first])

    def cut(self, count: int) -> None:
        """Drop the samples after the run's first ``count``."""
        for column in (self.rss, self.swap, self.progress):
            del column[max(count - self.first, 0) :]

    def padded(self, column: list[float], count: int, *, hold: bool = False) -> list[float]:
        """A column from the start of the run to its end; it ends in 0, or ``hold``s its value."""
        last = column[-1] if hold and column else 0.0
        whole = [0.0] * self.first + column
        return (whole + [last] * (count - len(whole)))[:count]


def _extend(
    column: list[float], gap: int, start: float, end: float, parts: list[float], digits: int
) -> None:
    """Add to a column zeros for a gap, and what lies between two values."""
    if gap:
        column.extend([0.0] * gap)
    if start == end:
        value = round(max(start, 0.0), digits)
        if len(parts) == 1:
            column.append(value)
        else:
            column.extend([value] * len(parts))
        return
    column.extend([round(max(start + (end - start) * part, 0.0), digits) for part in parts])


class Sampler:
    """Samples a run, and advances the pressure averages.

    At a given interval there is one sample at each interval. An adaptive interval begins
    small and is doubled, with every second sample dropped, whenever there would be too many; in
    addition there is a sample just before each kill, at each start and exit, and at the end of
    the run.

    Args:
        machine: what is sampled.
        psi: its pressure.
        prober: takes the probe through its rounds.
        interval_s: seconds between two samples; None: adaptive.
        most: regular samples at an adaptive interval.
    """

    def __init__(
        self,
        machine: Machine,
        psi: Psi,
        prober: Prober,
        interval_s: float | None,
        most: int = MAX_REGULAR,
    ) -> None:
        self.machine = machine
        self.psi = psi
        self.prober = prober
        self.interval_s = _FINEST_S if interval_s is None else interval_s
        self.t: list[float] = []
        self.rows: list[tuple[float, ...]] = []
        self.probe_answers: list[float] = []
        self.curves: dict[str, _Curve] = {}
        self._is_adaptive = interval_s is None
        self._most = most
        self._intervals = 0
        """Intervals until the next regular sample is due, counted from the start."""
        self._due_at: list[int | None] = []
        """After how many intervals each sample was due; None: it is not a regular one."""
        self._kills = 0
        self._starts_and_exits = 0
        self._last_kill_s = -1.0
        self._live: list[_Curve] = []
        self._before: tuple[float, ...] = ()
        self._cpu_busy = 0.0

    # Between two events.

    def begin_piece(self, end: float) -> None:
        """Remember the present state, if a sample is due until ``end``."""
        if self._is_adaptive:
            self._lengthen_interval(end)
        if self._next_s() > end:
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
            response_s: how long a round of the probe took meanwhile.
        """
        self._cpu_busy = rates.cpu_busy
        end = start + seconds
        now = start
        if self._next_s() > end:
            self._pass(seconds, rates, response_s)
            return
        after = self._state()
        first = len(self.t)
        parts = []
        while (at := self._next_s()) <= end:
            self._pass(at - now, rates, response_s)
            now = at
            if not self._is_sampled(at):
                part = (at - start) / seconds if seconds > 0 else 1.0
                values = [a + (b - a) * part for a, b in zip(self._before, after, strict=True)]
                self._add_row(at, values, due_at=self._intervals)
                parts.append(part)
            self._intervals += 1
        for curve in self._live:
            curve.extend(first, self._values(curve), parts)
        self._pass(end - now, rates, response_s)
        self._live = [curve for curve in self._live if curve.proc.state != "dead"]

    def _pass(self, seconds: float, rates: Rates, response_s: float) -> None:
        """Let time pass for the pressure averages, and for the probe."""
        self.psi.advance(seconds, rates.some, rates.full)
        self.prober.advance(seconds, response_s)

    # At an event.

    def process_started(self, proc: Proc) -> None:
        """Sample a process from now on."""
        self._sample_start_or_exit()
        spec = proc.spec
        total = added(proc.nominal)
        if spec.loops is not None:
            total *= spec.loops
        curve = _Curve(proc, len(self.t), total)
        curve.before = self._values(curve)
        self.curves[proc.key] = curve
        self._live.append(curve)

    def process_exited(self) -> None:
        """Take a sample where a process is gone, if the interval is adaptive."""
        self._sample_start_or_exit()

    def before_kill(self) -> None:
        """Take a sample where a process is about to be killed, if the interval is adaptive."""
        if not self._is_adaptive or self._kills >= _MAX_KILLS:
            return
        if not self._is_sampled(self.machine.now):
            self._sample_now()
            self._kills += 1
        self._last_kill_s = self.t[-1]

    def end_run(self) -> None:
        """Take a last sample, if the interval is adaptive."""
        if self._is_adaptive:
            self._sample_or_replace()

    def _sample_start_or_exit(self) -> None:
        if self._is_adaptive and self._starts_and_exits < _MAX_STARTS_AND_EXITS:
            self._starts_and_exits += self._sample_or_replace()

    def _sample_or_replace(self) -> bool:
        """Take a sample, in place of one at the same time except that of a kill."""
        if self._is_sampled(self.machine.now):
            if self._last_kill_s == self.t[-1]:
                return False
            self._drop_last()
        self._sample_now()
        return True

    def _sample_now(self) -> None:
        first = len(self.t)
        self._add_row(self.machine.now, self._state(), due_at=None)
        for curve in self._live:
            if curve.first <= first:
                curve.before = self._values(curve)
                curve.extend(first, curve.before, [1.0])

    # The samples.

    def _next_s(self) -> float:
        return self._intervals * self.interval_s

    def _is_sampled(self, at: float) -> bool:
        """Whether there is a sample at a time (the present, or a later one) already."""
        return bool(self.t) and self.t[-1] >= round(at, 6)

    def _add_row(self, at: float, values: Iterable[float], *, due_at: int | None) -> None:
        self.t.append(round(at, 6))
        self.rows.append((*values, *self.psi.avg10(), self._cpu_busy))
        self.probe_answers.append(float(self.prober.answered))
        self._due_at.append(due_at)

    def _drop_last(self) -> None:
        for column in (self.t, self.rows, self.probe_answers, self._due_at):
            column.pop()
        for curve in self.curves.values():
            curve.cut(len(self.t))

    def _lengthen_interval(self, end: float) -> None:
        """Double the interval until there are not too many regular samples at ``end``."""
        crowded = _MAX_VALUES // max(len(self.curves), 1)
        most = min(self._most, max(_MAX_REGULAR_CROWDED, crowded))
        while end / self.interval_s > most:
            self.interval_s *= 2
            self._intervals = -(-self._intervals // 2)
            wanted = [due_at is None or due_at % 2 == 0 for due_at in self._due_at]
            if all(wanted):
                continue
            self.t = list(compress(self.t, wanted))
            self.rows = list(compress(self.rows, wanted))
            self.probe_answers = list(compress(self.probe_answers, wanted))
            for curve in self.curves.values():
                curve.keep(wanted)
            left = compress(self._due_at, wanted)
            self._due_at = [None if due_at is None else due_at // 2 for due_at in left]

    def _state(self) -> tuple[float, ...]:
        """Pages that are free, available, cached, and free in swap."""
        machine = self.machine
        file = shared = swapped = lazy = 0.0
        for pool in machine.pools():
            if pool.is_file:
                file += pool.resident + pool.dirty
                if pool.kind == "lazy":
                    lazy += pool.resident
            else:
                swapped += pool.swapped
                if pool.kind == "shmem":
                    shared += pool.resident
        free = machine.free
        return (
            free,
            machine.available(file),
            file - lazy + shared + machine.rootfs,
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
