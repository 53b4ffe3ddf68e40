"""What the workload agent reports, line by line, gathered into curves and events."""

from typing import TYPE_CHECKING

import msgspec

from oomkit.real.static_agent import Agent
from oomkit.scenario.record import Found, Instrument

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS_OF_SAMPLE = 9
_SI_KERNEL = 128
_KB = 1024


class Seen(msgspec.Struct, kw_only=True):
    """One process of a run, as reported.

    Attributes:
        name: its task's name.
        instance: which of that name, in the order they started.
        pid: process id.
        slot: its place in the plan; forked copies come after all planned ones.
        start_s: when it began.
        end_s: when it was gone.
        code: exit status, negative for a signal; None if it was not seen.
        cpu_s: CPU seconds at the last sample.
        curve: index of the sample to (rss_mb, swap_mb, loops, position in its steps).
    """

    name: str
    instance: int
    pid: int
    slot: int
    start_s: float
    end_s: float | None = None
    code: int | None = None
    cpu_s: float = 0.0
    curve: dict[int, tuple[float, float, float, float]] = {}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a task that failed."""

    t_s: float
    pid: int
    call: str
    size_bytes: int
    error: str


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A signal as the kernel's tracing saw it.

    Attributes:
        t_s: when.
        number: which.
        from_kernel: the kernel itself sent it.
        pid: the receiver.
        sender: pid of the sender, or of the task in whose context the kernel sent it.
    """

    t_s: float
    number: int
    from_kernel: bool
    pid: int
    sender: int


class Observation:
    """Gathers report lines.

    Attributes:
        t0: ``CLOCK_MONOTONIC`` at the start; None before it.
        procs: pid to what was seen of it.
        samples: t_s, free, available, cached, swap_free, total (MB), PSI some, full, CPU busy.
        lines: further lines of meminfo (MB), by the number of the sample they came with.
        refused: requests that failed.
        rounds: when rounds of the probe began and were over.
        round_began_s: when the newest that was seen under way began.
        kernel: kernel log lines with their time since the start.
        daemon: lines the companion wrote.
        daemon_end: when it ended, and its exit status, negative for a signal; None: it runs.
        gaps: name of a heartbeat to the ends and lengths of its gaps.
        low: when memory became low (True) and when it was no longer (False).
        sent: signals that were sent.
        faults: what the agent could not do.
        ready: the guest waits for us.
        found: the machine before the start.
        player: which agent reports.
        weight: kB of a task before its first step: resident, anonymous, committed.
        costs: when the agent reported what it costs: time, CPU seconds, kB resident and locked.
        done: why it ended; empty while it has not.
        last_s: time of the newest report.
        stamp_s: the same by the agent's clock.
        ticks: the agent reports its clock all the time.
    """

    def __init__(self) -> None:
        self.t0: float | None = None
        self.procs: dict[int, Seen] = {}
        self.samples: list[tuple[float, ...]] = []
        self.lines: dict[int, tuple[float, ...]] = {}
        self.refused: list[Refused] = []
        self.rounds: list[tuple[float, float]] = []
        self.round_began_s: float | None = None
        self.kernel: list[tuple[float, str]] = []
        self.daemon: list[tuple[float, str]] = []
        self.daemon_end: tuple[float, int] | None = None
        self.gaps: dict[str, list[tuple[float, float]]] = {"locked": [], "ordinary": []}
        self.low: list[tuple[float, bool]] = []
        self.late: list[tuple[float, float]] = []
        self.sent: list[Sent] = []
        self.faults: list[str] = []
        self.done = ""
        self.ready = False
        self.found: Found | None = None
        self.player = Agent(kind="python")
        self.weight = (0.0, 0.0, 0.0)
        self.costs: list[tuple[float, float, float, float]] = []
        self._measured: dict[str, float] = {}
        self.last_s = 0.0
        self.stamp_s = 0.0
        self.ticks = False
        self._counts: dict[str, int] = {}
        self._rest = b""
        self._events: dict[str, Callable[[float, list[str]], None]] = {
            "ready": self._on_ready,
            "machine": self._on_machine,
            "found": self._on_found,
            "weight": self._on_weight,
            "cost": self._on_cost,
            "clock": self._on_clock,
            "start": self._on_start,
            "end": self._on_end,
            "exit": self._on_exit,
            "gone": self._on_gone,
            "denied": self._on_denied,
            "sample": self._on_sample,
            "lines": self._on_lines,
            "task": self._on_task,
            "probe": self._on_probe,
            "probing": self._on_probing,
            "kernel": self._on_kernel,
            "daemon": self._on_daemon,
            "unready": self._on_unready,
            "daemon_end": self._on_daemon_end,
            "locked": self._on_locked,
            "ordinary": self._on_ordinary,
            "meter": self._on_meter,
            "service": self._on_service,
            "signal": self._on_signal,
            "broken": self._on_broken,
            "failed": self._on_failed,
            "unchanged": self._on_unchanged,
            "left": self._on_left,
            "done": self._on_done,
        }

    def push(self, data: bytes) -> None:
        """Take what came from the agent; lines may be cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            words = line.decode("utf-8", "replace").rstrip("\r").split(" ")
            try:
                self._line(words)
            except (ValueError, IndexError, KeyError):
                self.faults.append(f"unreadable report {' '.join(words)[:80]!r}")

    def _line(self, words: list[str]) -> None:
        event, stamp = words[0], float(words[1])
        if event == "begin":
            self.t0 = stamp
        self.stamp_s = max(self.stamp_s, stamp)
        now = stamp - self.t0 if self.t0 is not None else 0.0
        self.last_s = max(self.last_s, now)
        act = self._events.get(event)
        if act is not None:
            act(now, words[2:])

    def _on_ready(self, now: float, words: list[str]) -> None:
        self.ready = True

    def _on_machine(self, now: float, words: list[str]) -> None:
        total, free, cached, rate = (int(word) for word in words)
        self.found = Found(
            total_mb=total / _KB,
            free_mb=free / _KB,
            cached_mb=cached / _KB,
            fault_mb_s=rate / _KB**2,
            cpus_worth=self._measured.pop("cpus_worth", None),
            costs=self._measured,
        )

    def _on_found(self, now: float, words: list[str]) -> None:
        self._measured[words[0]] = float(words[1])

    def _on_weight(self, now: float, words: list[str]) -> None:
        resident, anonymous, committed = map(float, words)
        self.weight = (resident, anonymous, committed)

    def _on_clock(self, now: float, words: list[str]) -> None:
        self.ticks = True

    def _on_cost(self, now: float, words: list[str]) -> None:
        cpu_s, resident, locked = map(float, words)
        self.costs.append((now, cpu_s, resident, locked))

    def instrument(self) -> Instrument:
        """What the agent was, and what it cost."""
        first, last = (self.costs[0], self.costs[-1]) if self.costs else ((0.0,) * 4,) * 2
        passed = last[0] - first[0]
        return Instrument(
            agent=self.player.kind,
            why=self.player.why,
            cpu_s=round(last[1], 4),
            cpu_share=round((last[1] - first[1]) / passed, 5) if passed > 0 else 0.0,
            rss_mb=round(last[2] / _KB, 3),
            locked_mb=round(last[3] / _KB, 3),
            task_rss_mb=round(self.weight[0] / _KB, 3),
            task_anon_mb=round(self.weight[1] / _KB, 3),
            task_commit_mb=round(self.weight[2] / _KB, 3),
        )

    def _on_start(self, now: float, words: list[str]) -> None:
        pid, name, _, slot = words
        instance = self._counts.get(name, 0)
        self._counts[name] = instance + 1
        self.procs[int(pid)] = Seen(
            name=name, instance=instance, pid=int(pid), slot=int(slot), start_s=now
        )

    def _on_end(self, now: float, words: list[str]) -> None:
        self.procs[int(words[0])].code = int(words[1])

    def _on_exit(self, now: float, words: list[str]) -> None:
        if (proc := self.procs.get(int(words[0]))) is not None:
            proc.code = int(words[1])

    def _on_gone(self, now: float, words: list[str]) -> None:
        self.procs[int(words[0])].end_s = now

    def _on_denied(self, now: float, words: list[str]) -> None:
        pid, call, size, error = words
        self.refused.append(
            Refused(t_s=now, pid=int(pid), call=call, size_bytes=int(size), error=error)
        )

    def _on_sample(self, now: float, words: list[str]) -> None:
        values = tuple(float(word) for word in words)
        if len(values) != _WORDS_OF_SAMPLE - 1:
            raise ValueError("a sample of another length")
        self.samples.append((now, *values))

    def _on_lines(self, now: float, words: list[str]) -> None:
        self.lines[len(self.samples) - 1] = tuple(float(word) for word in words)

    def _on_task(self, now: float, words: list[str]) -> None:
        pid, rss, swap, cpu, loops, at = words
        proc = self.procs[int(pid)]
        proc.cpu_s = float(cpu)
        proc.curve[len(self.samples) - 1] = (float(rss), float(swap), float(loops), float(at))

    def _on_probe(self, now: float, words: list[str]) -> None:
        self.rounds.append((self._since_start(words[0]), self._since_start(words[1])))

    def _on_probing(self, now: float, words: list[str]) -> None:
        self.round_began_s = self._since_start(words[0])

    def probed(self) -> list[tuple[float, float | None]]:
        """The rounds of the probe in order; the last one may not be over."""
        rounds: list[tuple[float, float | None]] = [*self.rounds]
        under_way = self.round_began_s
        if under_way is not None and (not rounds or rounds[-1][0] < under_way):
            rounds.append((under_way, None))
        return rounds

    def _on_kernel(self, now: float, words: list[str]) -> None:
        self.kernel.append((now, " ".join(words)))

    def _on_daemon(self, now: float, words: list[str]) -> None:
        self.daemon.append((now, " ".join(words)))

    def _on_unready(self, now: float, words: list[str]) -> None:
        self.faults.append(f"the daemon was not ready after {words[0]} s")

    def _on_daemon_end(self, now: float, words: list[str]) -> None:
        self.daemon_end = (now, int(words[0]))

    def _on_locked(self, now: float, words: list[str]) -> None:
        self.gaps["locked"].append((self._since_start(words[0]), float(words[1])))

    def _on_ordinary(self, now: float, words: list[str]) -> None:
        self.gaps["ordinary"].append((self._since_start(words[0]), float(words[1])))

    def _on_meter(self, now: float, words: list[str]) -> None:
        self.low.append((self._since_start(words[0]), float(words[1]) > 0))

    def _on_service(self, now: float, words: list[str]) -> None:
        self.late.append((self._since_start(words[0]), float(words[1])))

    def _on_signal(self, now: float, words: list[str]) -> None:
        stamp, number, code, pid, sender = words
        sent = Sent(
            t_s=self._since_start(stamp.rstrip(":")),
            number=int(number),
            from_kernel=int(code) == _SI_KERNEL,
            pid=int(pid),
            sender=int(sender),
        )
        self.sent.append(sent)

    def _since_start(self, stamp: str) -> float:
        return float(stamp) - (self.t0 or float(stamp))

    def _on_broken(self, now: float, words: list[str]) -> None:
        self.faults.append(f"task {words[1]}: {words[4].replace('_', ' ')}")

    def _on_failed(self, now: float, words: list[str]) -> None:
        import os

        number = int(words[0])
        self.faults.append(f"{words[1]}: {os.strerror(number) if number else 'failed'}")

    def _on_unchanged(self, now: float, words: list[str]) -> None:
        import errno
        import os

        number = int(words[1])
        # A v1 limit can't be set below what is in use: this is the kernel's answer, not a fault.
        if number != errno.EBUSY:
            self.faults.append(f"{words[0]}: {os.strerror(number)}")

    def _on_left(self, now: float, words: list[str]) -> None:
        self.faults.extend(f"{path}: could not be removed" for path in words)

    def _on_done(self, now: float, words: list[str]) -> None:
        self.done = words[0]
