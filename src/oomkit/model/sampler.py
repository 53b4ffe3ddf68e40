"""Samples of a run, interpolated: between two events every value moves along a straight line."""

from collections.abc import Iterable
from itertools import accumulate, compress
from typing import Final

from oomkit.model import accounting
from oomkit.model.machine import Machine
from oomkit.model.psi import Psi
from oomkit.model.responsiveness import Prober
from oomkit.model.sample_curves import MB, Curve, Values, rounded
from oomkit.model.solve import Rates
from oomkit.model.tasks import Proc
from oomkit.scenario.definitions import lines_of
from oomkit.scenario.record import Samples, TaskSamples
from oomkit.scenario.sums import added

PING: Final = "ping/0"
PROBE: Final = "probe/0"

_State = tuple[float, ...]

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


class _Row:
    """A sample.

    Attributes:
        t_s: when, rounded.
        due_at: after how many intervals it was due; -1: it is not a regular one.
        piece: the piece that it is in.
        part: share of the piece that was over.
        some, full: PSI averages over ten seconds, percent.
        cpu_busy: share of the CPUs in use.
        answered: rounds of the probe that are over.
    """

    __slots__ = ("answered", "cpu_busy", "due_at", "full", "part", "piece", "some", "t_s")

    def __init__(
        self, t_s: float, due_at: int, piece: int, part: float,
        some: float, full: float, cpu_busy: float, answered: float,
    ) -> None:  # fmt: skip
        self.t_s = t_s
        self.due_at = due_at
        self.piece = piece
        self.part = part
        self.some = some
        self.full = full
        self.cpu_busy = cpu_busy
        self.answered = answered


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

    What lies between two events is worked out at the end, for the samples that are left.
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
        self._rows: list[_Row] = []
        self._pieces: dict[int, tuple[_State, _State]] = {}
        """By number, the machine's state at the begin and at the end of each piece."""
        self._piece = 0
        self._curves: dict[str, Curve] = {}
        self._is_adaptive = interval_s is None
        self._most = most
        self._intervals = 0
        """Intervals until the next regular sample is due, counted from the start."""
        self._kills = 0
        self._starts_and_exits = 0
        self._last_kill_s = -1.0
        self._live: list[Curve] = []
        self._before: _State = ()
        self._lines = lines_of(machine.spec)
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
        self._piece += 1
        self._pieces[self._piece] = (self._before, self._state())
        while (at := self._next_s()) <= end:
            self._pass(at - now, rates, response_s)
            now = at
            if not self._is_sampled(at):
                part = (at - start) / seconds if seconds > 0 else 1.0
                self._add_row(at, part, due_at=self._intervals)
            self._intervals += 1
        for curve in self._live:
            curve.add(self._piece, self._values(curve))
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
        curve = Curve(proc, len(self._rows), total)
        curve.before = self._values(curve)
        self._curves[proc.key] = curve
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
        self._last_kill_s = self._rows[-1].t_s

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
            if self._last_kill_s == self._rows[-1].t_s:
                return False
            self._drop_last()
        self._sample_now()
        return True

    def _drop_last(self) -> None:
        """Drop the last sample, with its piece where nothing else is in that."""
        last = self._rows.pop()
        if self._rows and self._rows[-1].piece == last.piece:
            return
        del self._pieces[last.piece]
        for curve in self._live:
            curve.drop(last.piece)

    def _sample_now(self) -> None:
        first = len(self._rows)
        state = self._state()
        self._piece += 1
        self._pieces[self._piece] = (state, state)
        self._add_row(self.machine.now, 1.0, due_at=-1)
        for curve in self._live:
            if curve.first <= first:
                curve.before = values = self._values(curve)
                curve.add(self._piece, values)

    # The samples.

    def _next_s(self) -> float:
        return self._intervals * self.interval_s

    def _is_sampled(self, at: float) -> bool:
        """Whether there is a sample at a time (the present, or a later one) already."""
        return bool(self._rows) and self._rows[-1].t_s >= rounded(at, 6)

    def _add_row(self, at: float, part: float, *, due_at: int) -> None:
        some, full = self.psi.avg10()
        answered = float(self.prober.answered)
        self._rows.append(
            _Row(rounded(at, 6), due_at, self._piece, part, some, full, self._cpu_busy, answered)
        )

    def _lengthen_interval(self, end: float) -> None:
        """Double the interval until there are not too many regular samples at ``end``."""
        crowded = _MAX_VALUES // max(len(self._curves), 1)
        most = min(self._most, max(_MAX_REGULAR_CROWDED, crowded))
        while end / self.interval_s > most:
            self.interval_s *= 2
            self._intervals = -(-self._intervals // 2)
            wanted = [row.due_at < 0 or row.due_at % 2 == 0 for row in self._rows]
            if not all(wanted):
                self._keep(wanted)

    def _keep(self, wanted: list[bool]) -> None:
        """Drop the samples that are not wanted, of twice as many that were regular."""
        self._rows = list(compress(self._rows, wanted))
        for row in self._rows:
            if row.due_at > 0:
                row.due_at //= 2
        left = list(dict.fromkeys([row.piece for row in self._rows]))
        self._pieces = {piece: self._pieces[piece] for piece in left}
        before = [0, *accumulate(wanted)]
        for curve in self._curves.values():
            curve.first = before[curve.first]
            curve.keep(left)

    def _state(self) -> _State:
        """Pages that are free, available, cached, and free in swap, and further lines."""
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
        usual = (
            free,
            accounting.available(machine, file),
            file - lazy + shared + machine.rootfs,
            max(machine.swap_total - swapped, 0.0),
        )
        return usual + accounting.lines(machine) if self._lines else usual

    def _values(self, curve: Curve) -> Values:
        """A process's rss and swap, pages, and its progress."""
        proc = curve.proc
        if proc.state == "dead":
            return (0.0, 0.0, self._progress(curve))
        rss, swap = proc.mm.rss_and_swap()
        program = proc.program
        if program is not None:
            rss += program.resident
        return (rss, swap, self._progress(curve))

    def _progress(self, curve: Curve) -> float:
        proc = curve.proc
        done = proc.done_s
        if proc.state == "run" and proc.step < len(proc.nominal) and 0 < proc.step_total < 1e18:
            part = 1.0 - proc.step_left / proc.step_total
            done += part * proc.nominal[proc.step]
        if curve.total_s <= 0.0:
            return 1.0 if proc.state == "dead" and not proc.killed else 0.0
        return done / curve.total_s

    def samples(self) -> Samples:
        """Everything collected, as the record has it."""
        count = len(self._rows)
        parts: dict[int, tuple[int, list[float]]] = {}
        states = []
        for i, row in enumerate(self._rows):
            parts.setdefault(row.piece, (i, []))[1].append(row.part)
            before, after = self._pieces[row.piece]
            states.append([a + (b - a) * row.part for a, b in zip(before, after, strict=True)])
        columns = list(zip(*states, strict=True)) or [()] * (4 + len(self._lines))
        free, available, cached, swap_free = columns[:4]
        further = zip(self._lines, columns[4:], strict=True)
        tasks = {}
        for key, curve in self._curves.items():
            rss, swap, progress = curve.columns(parts, count)
            tasks[key] = TaskSamples(rss_mb=rss, swap_mb=swap, progress=progress)
        nothing = [0.0] * count
        answers = [row.answered for row in self._rows]
        tasks[PROBE] = TaskSamples(rss_mb=nothing, swap_mb=nothing, progress=answers)
        t_s = [row.t_s for row in self._rows]
        pings = [float(int(t)) for t in t_s]
        tasks[PING] = TaskSamples(rss_mb=nothing, swap_mb=nothing, progress=pings)
        return Samples(
            t_s=t_s,
            free_mb=_as_mb(free),
            available_mb=_as_mb(available),
            cached_mb=_as_mb(cached),
            swap_free_mb=_as_mb(swap_free),
            psi_some_avg10=[rounded(row.some, 2) for row in self._rows],
            psi_full_avg10=[rounded(row.full, 2) for row in self._rows],
            cpu_busy=[rounded(row.cpu_busy, 3) for row in self._rows],
            lines_mb={name: _as_mb(column) for name, column in further},
            tasks=tasks,
        )


def _as_mb(column: Iterable[float]) -> list[float]:
    return [rounded(pages / MB, 3) for pages in column]
