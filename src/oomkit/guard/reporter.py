"""Writes what the daemon saw and did: stderr, journal, flight recorder, status file."""

import os
import time

from oomkit.guard.act_record import ActRecord
from oomkit.guard.journal import Journal
from oomkit.guard.kernel_kills import KernelKills
from oomkit.guard.messages import ERROR, NOTICE, WARNING, MessageWriter, evidence
from oomkit.guard.records import (
    CountedKillsRecord,
    ErrorRecord,
    KernelKillRecord,
    Origin,
    Record,
    ReloadRecord,
    StartRecord,
    WarnRecord,
)
from oomkit.guard.reserve import ENOUGH, FULL_TABLE, SHORT_OF_FILES
from oomkit.guard.writer import Status, Writer
from oomkit.host.self_protection import run_first
from oomkit.policy.engine.conditions import NAMES, WARN

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from oomkit.guard.config import Settings
    from oomkit.guard.flight_recorder import FlightRecorder
    from oomkit.guard.sensors import Sensors
    from oomkit.policy.engine.candidate import Candidate
    from oomkit.policy.engine.reading import Reading
    from oomkit.policy.engine.trigger import State


class Counters:
    """Counts records as they are made.

    Args:
        started_s: when the daemon started, seconds since the epoch.
    """

    __slots__ = ("_acts", "_eases", "_freed_kb", "_kernel_kills", "_last_act_s", "_signals",
                 "_started_s", "_warnings")  # fmt: skip

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._last_act_s: float | None = None
        self._acts: dict[str, int] = {}
        self._signals: dict[str, int] = {}
        self._eases: dict[str, int] = {}
        self._freed_kb = self._kernel_kills = self._warnings = 0

    def count(self, record: Record) -> None:
        """Take a record into account; an act when it is over."""
        if isinstance(record, WarnRecord):
            self._warnings += 1
        elif isinstance(record, (KernelKillRecord, CountedKillsRecord)):
            self._kernel_kills += record.count
        elif record.kind == "ease":
            values = record.to_values()
            if values.get("outcome") not in (None, "refused", "dry_run"):
                self._eases[values["act"]] = self._eases.get(values["act"], 0) + 1
        elif isinstance(record, ActRecord) and record.outcome is not None:
            self._acts[record.outcome] = self._acts.get(record.outcome, 0) + 1
            self._freed_kb += record.freed_kb or 0
            self._last_act_s = record.time_s
            for one in record.signals:
                if not one.error:
                    self._signals[one.name] = self._signals.get(one.name, 0) + 1

    def values(self) -> "dict[str, Any]":
        """The counts."""
        return {
            "started_s": self._started_s,
            "last_act_s": self._last_act_s,
            "acts": self._acts,
            "signals": self._signals,
            "eases": self._eases,
            "freed_kb": self._freed_kb,
            "kernel_kills": self._kernel_kills,
            "warnings": self._warnings,
        }


REPEAT_S = 60.0
"""What still holds is logged again no sooner."""
SAMPLED = 32
"""Processes in a sample of the flight recorder at most, the largest."""
STOP_S = 1.0
"""Maximum seconds for which the end of the guard waits for the disk."""
_EVENTS = {1: "memory.oom_control", 2: "memory.events.local"}


class Reporter:
    """Writes records, none of which the daemon ever waits for."""

    __slots__ = (
        "_begun_s",
        "_clock",
        "_counters",
        "_faults",
        "_journal",
        "_kernel_kills",
        "_killed",
        "_repeated_s",
        "_ring",
        "_say",
        "_status",
        "_wall",
        "_writer",
    )  # fmt: skip

    def __init__(
        self,
        settings: "Settings",
        clock: "Callable[[], float]",
        wall: "Callable[[], float]",
        killed: "Callable[[int, float], object] | None" = None,
    ) -> None:
        """Open the files.

        Args:
            settings: which.
            clock: the monotonic one.
            wall: seconds since the epoch.
            killed: is handed the pid of each victim that died, and when by the monotonic clock.
        """
        places = settings.places
        self._clock = clock
        self._wall = wall
        self._begun_s = clock()
        self._killed = killed
        self._faults: dict[str, str] = {}
        self._repeated_s: dict[str, float] = {}
        self._say = MessageWriter(deferred=True, priorities="JOURNAL_STREAM" in os.environ)
        self._journal: Journal | None = None
        self._ring: FlightRecorder | None = None
        self._status: Status | None = None
        flushes: list[Callable[[], object]] = []
        if settings.journal:
            self._journal = Journal(settings.journal, deferred=True, wall=wall, mono=clock)
            flushes.append(self._journal.flush)
        if settings.recording:
            # Only a flight recorder needs the means to pack numbers.
            from oomkit.guard import flight_recorder

            self._ring = flight_recorder.FlightRecorder(
                settings.recording, settings.recording_bytes, deferred=True, wall=wall
            )
            flushes.append(self._ring.flush)
        if settings.status:
            self._status = Status(settings.status)
            flushes.append(self._status.flush)
        events = _EVENTS.get(places.cgroup_version)
        self._kernel_kills = KernelKills(
            vmstat=f"{places.proc}/vmstat",
            cgroups=(places.cgroups, events) if events else None,
            seen=f"{settings.state}.kmsg" if settings.state else None,
        )
        for text in self._kernel_kills.missing:
            if settings.state and text.startswith(settings.state):
                self._say.line(WARNING, f"{text}; the kernel's kills may be recorded twice")
        self._counters = Counters(wall())
        # Where stderr may have to wait for its reader, the records come first.
        flushes.insert(0 if self._say.never_blocks else len(flushes), self._say.flush)
        # It holds the interpreter's lock now and then, for which the daemon must not have to wait.
        self._writer = Writer(*flushes, begin=None if settings.dry_run else run_first)

    @property
    def full_files(self) -> int:
        """How often the journal was full and moved aside."""
        return self._journal.rotations if self._journal is not None else 0

    @property
    def records_tasks(self) -> bool:
        """A flight recorder wants to know the largest processes."""
        return self._ring is not None

    def line(self, priority: int, text: str) -> None:
        """Log a line on stderr."""
        self._say.line(priority, text)
        self._writer.kick()

    def repeat(self, priority: int, text: str) -> bool:
        """Log what may hold for long, but not over and over; says whether it was logged."""
        what, t_s = text[:24], self._clock()
        if t_s - self._repeated_s.get(what, float("-inf")) < REPEAT_S:
            return False
        self._repeated_s[what] = t_s
        self.line(priority, text)
        return True

    def record(self, record: Record) -> None:
        """Put a record into the journal."""
        self._counters.count(record)
        if self._journal is not None:
            self._journal.append(record.to_values())
        if isinstance(record, ActRecord) and record.outcome == "died":
            self._mark_act(record)
            if self._killed is not None:
                self._killed(record.victim.pid, record.mono_s)
        self._writer.kick()

    def _mark_act(self, record: ActRecord) -> None:
        if self._ring is not None:
            from oomkit.guard import recording_format as fmt

            self._ring.mark(
                fmt.ACT, record.mono_s, record.victim.pid, record.victim.comm,
                by=record.origin.policy, freed_kb=record.freed_kb or 0,
            )  # fmt: skip

    @property
    def are_written(self) -> bool:
        """Nothing waits for a fault to go, or for stderr to be read."""
        return not (self._faults or self._say.waiting)

    @property
    def sees_log(self) -> bool:
        """The kernel's log is ours to read."""
        return self._kernel_kills.kmsg_fd >= 0

    @property
    def log_news(self) -> "Callable[[int], list[tuple[int, int]]]":
        """Says, as ``poll.poll`` does, whether something is to be read in the kernel's log."""
        return self._kernel_kills.log_news

    def sample(self, reading: "Reading", top: "Sequence[Candidate]") -> None:
        """Have the flight recorder take a moment."""
        if self._ring is not None:
            self._ring.sample(reading, top[:SAMPLED])
            self._writer.kick()

    def kernel_kills(self, *, final: bool = False) -> None:
        """Record what the kernel killed without us."""
        for kill in self._kernel_kills.look(self._clock(), self._wall(), final=final):
            self.record(kill)
            if kill.mono_s < self._begun_s:
                continue  # happened before the guard started: recorded, but not announced
            if isinstance(kill, CountedKillsRecord):
                self.line(WARNING, f"the kernel's OOM killer killed {kill.count} processes")
                continue
            self.line(WARNING, f"the kernel's OOM killer killed {kill.comm}[{kill.pid}]")
            if kill.pid is None:
                continue
            if self._killed is not None:
                self._killed(kill.pid, kill.mono_s)
            if self._ring is not None:
                from oomkit.guard import recording_format as fmt

                self._ring.mark(fmt.KERNEL_KILL, kill.mono_s, kill.pid, kill.comm, by="kernel")

    def status(
        self, origin: Origin, level: int, reading: "Reading", *, looks: int, under_way: int
    ) -> None:
        """Rewrite the status file.

        Args:
            origin: the policy.
            level: the level that holds.
            reading: this moment.
            looks: how often the machine was looked at.
            under_way: acts whose end is waited for.
        """
        if self._status is None:
            return
        values = {
            **origin.to_values(),
            "time_s": self._wall(),
            "mono_s": reading.t_s,
            "pid": os.getpid(),
            "level": level,
            "level_name": NAMES[level],
            "looks": looks,
            "cpu_s": time.process_time(),
            "under_way": under_way,
            "mem_total_kb": reading.mem_total_kb,
            "available_kb": reading.available_kb,
            "swap_total_kb": reading.swap_total_kb,
            "swap_free_kb": reading.swap_free_kb,
            "psi_us": {"some": reading.psi_some_us, "full": reading.psi_full_us},
            **self._counters.values(),
            "faults": self._faults,
        }
        if self._journal is not None:
            values["waiting"], values["lost"] = self._journal.waiting, self._journal.lost
        if self._ring is not None:
            values["ring_lost"] = self._ring.lost
        self._status.put(values)
        self._writer.kick()

    def check(self) -> None:
        """Report write failures once, and their recovery."""
        keepers = ("journal", self._journal), ("recording", self._ring), ("status", self._status)
        for name, keeper in keepers:
            fault = (keeper.fault or "") if keeper is not None else ""
            before = self._faults.get(name, "")
            if fault and fault != before:
                self._faults[name] = fault
                kept = "; records wait in memory" if name == "journal" else ""
                self.line(ERROR, f"{name} {keeper.path}: {fault}{kept}" if keeper else "")
            elif before and not fault:
                del self._faults[name]
                self.line(WARNING, f"{name} can be written again")
        if not self.are_written:
            self._writer.kick()  # try again

    def reopen(self) -> None:
        """Have the journal opened again, for logrotate."""
        if self._journal is not None:
            self._journal.reopen()
            self._writer.kick()

    def close(self) -> None:
        """Write what can be written soon."""
        self._say.flush()
        if not self._writer.stop(STOP_S):
            return  # a disk does not answer, and would not answer us either
        for keeper in (self._journal, self._ring, self._status, self._kernel_kills, self._say):
            if keeper is not None:
                keeper.close()


def report_start(
    reporter: Reporter,
    origin: Origin,
    settings: "Settings",
    resumed: int,
    doubts: "Iterable[str]",
) -> None:
    """Report that the guard started.

    Args:
        reporter: where.
        origin: whose record it is.
        settings: how it runs.
        resumed: number of acts that were taken over.
        doubts: sentences on what does not work here.
    """
    reporter.record(StartRecord(origin, settings.source, settings.missing, resumed))
    mode = "dry run" if origin.dry_run else "armed"
    reporter.line(NOTICE, f"started with policy {origin.policy} ({mode})")
    if 0 < os.sysconf("SC_OPEN_MAX") < ENOUGH:
        reporter.repeat(NOTICE, SHORT_OF_FILES)
    for sentence in doubts:
        reporter.line(WARNING, sentence)


def report_reload(reporter: Reporter, origin: Origin, fault: str = "") -> None:
    """Report that another policy is in force, or why it is not."""
    reporter.record(ReloadRecord(origin, fault))
    if fault:
        reporter.line(ERROR, f"policy reload failed, keeping the old one: {fault}")
    else:
        reporter.line(NOTICE, f"policy reloaded: {origin.policy}")


def report_level(reporter: Reporter, origin: Origin, state: "State", before: int) -> bool:
    """Report that memory is low, or is no longer; says whether it became low since ``before``."""
    became_low = before < WARN == state.level
    if became_low:
        reporter.record(WarnRecord(origin, state))
        reporter.line(WARNING, f"low memory: {evidence(state)}")
    elif state.level < WARN <= before:
        reporter.line(NOTICE, "memory recovered")
    return became_low


def report_limits(reporter: Reporter, origin: Origin, sensors: "Sensors") -> None:
    """Report what of this machine can't be read any more, and what can be again."""
    if sensors.sources.pressure_came_or_went():
        if sensors.sources.sees_pressure:
            reporter.line(NOTICE, "PSI is readable again")
        else:
            fault = "PSI is no longer readable; pressure rules are ignored"
            report_error(reporter, origin, fault)
    if sensors.warm.is_blind:
        reporter.repeat(WARNING, FULL_TABLE)
    elif sensors.warm.short_of_files:
        reporter.repeat(NOTICE, SHORT_OF_FILES)


def report_error(reporter: Reporter, origin: Origin, text: str) -> None:
    """Report what keeps the guard from its work, once a while."""
    if reporter.repeat(ERROR, text):
        reporter.record(ErrorRecord(origin, text))
