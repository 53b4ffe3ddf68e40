"""The record of a run: the same fields from every world (model, cgroup, QEMU).

Written as JSON by ``oomkit run --json``; sizes are MB of 2**20 bytes, times seconds from the start.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from oomkit import records
from oomkit.records import Record
from oomkit.scenario.sums import added

Outcome = Literal["completed", "panicked", "frozen", "timed_out"]
"""``completed``: every task ended, or holds what it has for ever; ``frozen``: still unusable at
the end; ``timed_out``: the duration was over while tasks were at work."""


class Kill(Record, frozen=True, kw_only=True):
    """A task that was killed, or would have been.

    Attributes:
        t_s: when.
        task: name.
        instance: which of the tasks of this name, from 0.
        pid: process id.
        by: the killer: ``kernel`` or the name of a policy.
        would_have: it was only named (``would_have_oomkilled``) and lives.
        badness: what the rules gave it; None where it was not computed.
        oom_score_adj: its adjustment.
        freed_mb: anonymous memory, swap and page tables its death gave back.
        work_lost_s: CPU seconds it had used.
        trace: the steps of the decision, in the kernel's terms.
        tied_with: ``name/instance`` of tasks that could as well have died now: their badness was
            less than one point of ``oom_score_adj`` away, or they were killed by the same
            decision.
    """

    t_s: float
    task: str
    instance: int
    pid: int
    by: str
    would_have: bool
    badness: int | None
    oom_score_adj: int
    freed_mb: float
    work_lost_s: float
    trace: tuple[str, ...]
    tied_with: tuple[str, ...] = ()


class Denied(Record, frozen=True, kw_only=True):
    """A request that failed instead of being met.

    Attributes:
        t_s: when.
        task: name.
        instance: which of the tasks of this name.
        call: the system call that failed.
        mb: how much was asked for.
        limit: what refused it.
    """

    t_s: float
    task: str
    instance: int
    call: str
    mb: float
    limit: str


class SoftAct(Record, frozen=True, kw_only=True):
    """What a policy did that is softer than a signal.

    Attributes:
        t_s: when.
        act: ``reclaim``, ``throttle`` or ``freeze``.
        task: name of the task that would have died first.
        instance: which of the tasks of this name.
        cgroup: to which it was done; empty: to that task alone.
        mb: what was reclaimed, or ``memory.high``; 0 for a freeze.
        lasts_s: it is taken back after that.
    """

    t_s: float
    act: str
    task: str
    instance: int
    cgroup: str = ""
    mb: float = 0.0
    lasts_s: float = 0.0


class Freeze(Record, frozen=True, kw_only=True):
    """A time in which a probe task took over 1 s for what takes it 10 ms."""

    from_s: float
    to_s: float


class Signal(Record, frozen=True, kw_only=True):
    """A SIGTERM or SIGKILL that was sent.

    Attributes:
        t_s: when.
        number: 15 or 9.
        by: ``kernel``, or the name of what ran beside the scenario.
        pid: the receiver.
        task: its name; empty: it is none of the scenario's.
        instance: which of the tasks of this name.
    """

    t_s: float
    number: int
    by: str
    pid: int
    task: str = ""
    instance: int = 0


class Reaction(Record, frozen=True, kw_only=True):
    """How fast the killer acted, measured in the machine itself every 10 ms.

    Attributes:
        low_share: memory is called low when MemAvailable and SwapFree are both at or under this
            share of MemTotal and SwapTotal.
        low_s: when it first was; None: never.
        signal_s: when the first signal was sent; None: none was.
        back_s: when memory was no longer low after that signal, or the signal's own time if it
            was not low then; None: never.
        short_s: how long it was low in all.
        longest_gap_s: longest time between two beats of an ordinary program that wants to run
            every 10 ms, take a little memory and read a little of its own program.
        longest_locked_gap_s: the same of one with locked memory and real-time priority.
        requests: what a service that neither kernel nor guard may kill was asked, 20 times a
            second; what the run ended too early to answer is left out.
        requests_in_time: how many of them it answered within 100 ms.
        signals: all signals, in order.
    """

    low_share: float
    low_s: float | None
    signal_s: float | None
    back_s: float | None
    short_s: float
    longest_gap_s: float
    longest_locked_gap_s: float
    requests: int = 0
    requests_in_time: int = 0
    signals: tuple[Signal, ...] = ()


class Objectives(Record, frozen=True, kw_only=True):
    """What a good out-of-memory decision is measured by.

    Attributes:
        kills: how many died.
        freed_mb: what their deaths gave back.
        work_lost_s: CPU seconds of their work.
        innocents_killed: those that were not growing when the shortage began, or are marked so.
        frozen_s: how long the machine was unusable.
        protected_killed: those marked ``protected``.
    """

    kills: int = 0
    freed_mb: float = 0.0
    work_lost_s: float = 0.0
    innocents_killed: int = 0
    frozen_s: float = 0.0
    protected_killed: int = 0


class TaskSamples(Record, frozen=True, kw_only=True):
    """One task's curve; lists run beside ``Samples.t_s``, 0 where it does not exist.

    Attributes:
        rss_mb: resident memory.
        swap_mb: swapped memory.
        progress: share of its steps done, weighted by the time they take unhindered; with
            endless loops, loops done. ``probe/0`` and ``ping/0`` count answers: the probe is a
            small program that is started each second, the ping is answered by the kernel.
    """

    rss_mb: list[float]
    swap_mb: list[float]
    progress: list[float]


class Samples(Record, frozen=True, kw_only=True):
    """What ``free``, ``/proc/pressure/memory`` and ``top`` would have shown, by time.

    Attributes:
        t_s: times of the samples.
        free_mb: MemFree.
        available_mb: MemAvailable, estimated as the kernel does, also for kernels without it.
        cached_mb: page cache with shared memory (Cached).
        swap_free_mb: SwapFree.
        psi_some_avg10: memory pressure ``some avg10``, in percent.
        psi_full_avg10: memory pressure ``full avg10``, in percent.
        cpu_busy: CPUs' busy share, 0..1.
        lines_mb: further lines of ``/proc/meminfo`` by name, where the machine has something there.
        tasks: ``name/instance`` to its curve.
    """

    t_s: list[float]
    free_mb: list[float]
    available_mb: list[float]
    cached_mb: list[float]
    swap_free_mb: list[float]
    psi_some_avg10: list[float]
    psi_full_avg10: list[float]
    cpu_busy: list[float]
    lines_mb: dict[str, list[float]] = {}
    tasks: dict[str, TaskSamples]


class Found(Record, frozen=True, kw_only=True):
    """A real machine as it was measured before the start.

    Attributes:
        total_mb: MemTotal.
        free_mb: MemFree.
        cached_mb: Cached.
        fault_mb_s: memory one CPU faulted in and cleared in a second: the best of some rounds.
        cpus_worth: how many CPUs' worth of work all of them did together; None: not measured.
        pace: seconds of the machine's clock in one of the host's, over the whole run.
        costs: CPU seconds a page (``fault_s``, ``shared_fault_s``, ``first_read_s``, ``read_s``,
            ``swap_out_s``, ``swap_in_s``) and speeds (``disk_bytes_s``, ``first_read_bytes_s``,
            ``swap_out_bytes_s``, ``swap_in_bytes_s``); only where they were asked for.
    """

    total_mb: float
    free_mb: float
    cached_mb: float
    fault_mb_s: float
    cpus_worth: float | None = None
    pace: float = 1.0
    costs: dict[str, float] = {}


class Instrument(Record, frozen=True, kw_only=True):
    """What played a scenario with real processes, and what it weighed itself.

    Attributes:
        agent: ``static`` (a program of its own) or ``python``.
        why: why it is not the static one; empty if it is.
        cpu_s: CPU time of the watcher, from its start on.
        cpu_share: the same between the first and the last report of it, as a share of one CPU.
        rss_mb: its resident memory.
        locked_mb: what of its memory can't be reclaimed.
        task_rss_mb: resident memory of a task before its first step, much of it shared.
        task_anon_mb: anonymous memory in that.
        task_commit_mb: what such a task is committed to (VmData and VmStk).
    """

    agent: str
    why: str = ""
    cpu_s: float = 0.0
    cpu_share: float = 0.0
    rss_mb: float = 0.0
    locked_mb: float = 0.0
    task_rss_mb: float = 0.0
    task_anon_mb: float = 0.0
    task_commit_mb: float = 0.0


class Run(Record, frozen=True, kw_only=True):
    """What one run of a scenario gave.

    Attributes:
        scenario: its name.
        on: the world it ran in.
        kernel: release or rule set.
        policy: name of the policy that guarded it; None: the kernel was alone.
        outcome: how it ended.
        ended_s: when it ended.
        kills: in order.
        denied: requests that failed.
        frozen: when the machine was unusable.
        objectives: what the run is judged by.
        log: the kernel's log.
        samples: the curves.
        reaction: how fast the killer acted; None: it was not measured.
        found: a real machine as it was measured; None: the machine is modelled.
        instrument: what played it with real processes; None: the model did.
        eased: softer acts of the policy, in order.
    """

    scenario: str
    on: str
    kernel: str
    policy: str | None = None
    outcome: Outcome
    ended_s: float
    kills: tuple[Kill, ...] = ()
    denied: tuple[Denied, ...] = ()
    frozen: tuple[Freeze, ...] = ()
    objectives: Objectives = Objectives()
    log: tuple[str, ...] = ()
    samples: Samples
    reaction: Reaction | None = None
    found: Found | None = None
    instrument: Instrument | None = None
    eased: tuple[SoftAct, ...] = ()


def to_json(run: Run) -> bytes:
    """The record as JSON, one object, keys in the order of the fields."""
    return records.to_json(run)


def from_json(data: bytes) -> Run:
    """Read a record back.

    Raises:
        ValidationError: not a record of a run; the text names the place.
    """
    return records.from_json(data, type=Run)


def objectives(
    kills: Sequence[Kill],
    frozen: Sequence[Freeze],
    *,
    innocent: Callable[[Kill], bool],
    protected: Callable[[Kill], bool],
) -> Objectives:
    """Sum up a run. Victims that were only named (``would_have``) do not count.

    Args:
        kills: the run's kills.
        frozen: when it was unusable; the intervals do not overlap.
        innocent: whether a victim was not growing when the shortage began, or is marked so.
        protected: whether a victim is marked as protected.
    """
    dead = [kill for kill in kills if not kill.would_have]
    return Objectives(
        kills=len(dead),
        freed_mb=round(added(kill.freed_mb for kill in dead), 3),
        work_lost_s=round(added(kill.work_lost_s for kill in dead), 3),
        innocents_killed=sum(1 for kill in dead if innocent(kill)),
        frozen_s=round(added(freeze.to_s - freeze.from_s for freeze in frozen), 3),
        protected_killed=sum(1 for kill in dead if protected(kill)),
    )
