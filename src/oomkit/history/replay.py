"""A recorded day under another policy: what it would have killed, and how long before the kernel.

The policy's own objects are driven by what was recorded, at the moments that were recorded. What
they choose is taken to die by the next one, and its memory to be free from then on: what it held
in the recording is added to what was available. What else would have gone differently without
it can't be known.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import msgspec

from oomkit.guard.act_record import ActRecord
from oomkit.guard.records import Origin
from oomkit.history.recording import Lessons, Mark, Recording, Sample
from oomkit.history.records import Act as RecordedAct
from oomkit.kernel.badness import oom_score, score_control
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory, Snapshot, Task
from oomkit.kernel.versions import UnknownKernelError, history, rules_for
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate, Growth, Ranked
from oomkit.policy.engine.decider import Act, Decider
from oomkit.policy.engine.driver import PolicyDriver
from oomkit.policy.engine.easing import Ease
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.engine.starts import Starts
from oomkit.policy.records import Policy

_PAGE_KB = 4


def fill_in(candidates: Sequence[Candidate], reading: Reading, kernel: str) -> None:
    """Give a score to each candidate that has none.

    Args:
        candidates: recorded processes; changed in place.
        reading: the machine they ran on.
        kernel: its release; rules of the newest kernel if oomkit does not know it.
    """
    wanting = [one for one in candidates if one.oom_score is None]
    if not wanting:
        return
    tasks = tuple(_task(one) for one in wanting)
    memory = Memory(
        total_ram_pages=_pages(reading.mem_total_kb), total_swap_pages=_pages(reading.swap_total_kb)
    )
    control = score_control(
        Snapshot(kernel=kernel, memory=memory, tasks=tasks), rules_or_newest(kernel)
    )
    for one, task in zip(wanting, tasks, strict=True):
        one.oom_score = oom_score(task, control)


def rules_or_newest(kernel: str) -> RuleSet:
    """The rules of a release, or of the newest kernel where that is not known."""
    try:
        return rules_for(kernel)
    except UnknownKernelError:
        return [row.rules for row in history() if row.variant is None][-1]


def _task(one: Candidate) -> Task:
    return Task(
        pid=one.pid,
        comm=one.comm,
        ppid=one.ppid,
        uid=one.uid or 0,
        global_init=one.pid == 1,
        kthread=one.kthread,
        rss_pages=_pages(one.rss_kb()),
        swap_pages=_pages(one.swap_kb),
        pgtable_pages=_pages(one.pgtables_kb),
        oom_score_adj=one.oom_score_adj,
    )


def _pages(kb: float) -> int:
    return int(kb) // _PAGE_KB


_Key = tuple[int, int]
"""Pid and start time."""

_INSTEAD_WITHIN_S = 600.0
"""Maximum time after an act of the policy in which it may have prevented a kernel's kill."""


class WouldKill(msgspec.Struct, frozen=True, kw_only=True):
    """An act of the policy.

    Attributes:
        t_s: monotonic clock.
        wall_s: seconds since the epoch.
        boot: which boot of the recording.
        pids: the processes that would have died.
        signals: the signals, in their order.
        act: the daemon's record of it, as plain values.
    """

    t_s: float
    wall_s: float
    boot: int
    pids: tuple[int, ...]
    signals: tuple[str, ...]
    act: dict[str, Any]

    @property
    def record(self) -> RecordedAct:
        """The daemon's record of it."""
        return msgspec.convert(self.act, RecordedAct)


class WouldEase(msgspec.Struct, frozen=True, kw_only=True):
    """A softer act of the policy.

    Attributes:
        t_s: monotonic clock.
        wall_s: seconds since the epoch.
        boot: which boot of the recording.
        act: ``reclaim``, ``throttle`` or ``freeze``.
        comm: the process that would have died first.
        pid: its number.
        cgroup: to which it is done; empty: to processes.
    """

    t_s: float
    wall_s: float
    boot: int
    act: str
    comm: str
    pid: int
    cgroup: str


class KernelKill(msgspec.Struct, frozen=True, kw_only=True):
    """A kill of the kernel in the recording, and what the policy would have made of it.

    Attributes:
        mark: the kill.
        ahead_s: how long before it the policy would have killed the same process; None: never.
        after: index of the policy's last act before it, by which it might have been prevented;
            None: none shortly before.
    """

    mark: Mark
    ahead_s: float | None
    after: int | None


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy would have done.

    Attributes:
        policy: its name.
        would_kill: its acts.
        kernel_kills: what the kernel did.
        acts: what the policy did that was in force then.
        would_ease: its softer acts; what they would have changed is not known.
        warned_s: how long it would have called memory short.
        missing: conditions that could not be measured.
        longest_gap_s: between two samples; the policy could not look in between.
    """

    policy: str
    would_kill: tuple[WouldKill, ...]
    kernel_kills: tuple[KernelKill, ...]
    acts: tuple[Mark, ...]
    would_ease: tuple[WouldEase, ...]
    warned_s: float
    missing: tuple[str, ...]
    longest_gap_s: float


def replay(recording: Recording, policy: Policy) -> Replay:
    """Play a recording under a policy."""
    found: list[WouldKill] = []
    eased: list[WouldEase] = []
    warned_s = longest_s = 0.0
    missing: tuple[str, ...] = ()
    boot: _Boot | None = None
    before: Sample | None = None
    starts = Starts()
    lessons = Lessons(recording, starts)
    for sample in recording.samples:
        if before is None or boot is None or sample.boot != before.boot:
            boot, before = _Boot(policy, recording.kernel, eased, starts), None
        step_s = sample.reading.t_s - before.reading.t_s if before is not None else 0.0
        longest_s = max(longest_s, step_s)
        if boot.level:
            warned_s += step_s
        lessons.take(sample)
        found += boot.see(sample)
        missing = boot.driver.decider.watch.missing(sample.reading)
        before = sample
    marks = _while_recorded(recording)
    return Replay(
        policy=policy.name,
        would_kill=tuple(found),
        kernel_kills=tuple(_compared(m, found) for m in marks if m.kind == "kernel_kill"),
        acts=tuple(mark for mark in marks if mark.kind == "act"),
        would_ease=tuple(eased),
        warned_s=warned_s,
        missing=missing,
        longest_gap_s=longest_s,
    )


def _while_recorded(recording: Recording) -> list[Mark]:
    """The marks but for kills that were found in the log of a time before the recording."""
    first_s: dict[int, float] = {}
    for sample in recording.samples:
        first_s.setdefault(sample.boot, sample.reading.t_s)
    return [mark for mark in recording.marks if mark.t_s >= first_s.get(mark.boot, float("inf"))]


class _Boot:
    """The policy at work from one boot to the next: what it reads, and what it does."""

    def __init__(self, policy: Policy, kernel: str, eased: list[WouldEase], starts: Starts) -> None:
        self._eased = eased
        self.driver = PolicyDriver(Decider(compile_plan(policy), starts=starts), self, self)
        self._origin = Origin(policy.name, dry_run=True)
        self._kernel = kernel
        self.level = 0
        self._dead: set[_Key] = set()
        self._dying: set[_Key] = set()
        self._noted: list[tuple[float, dict[_Key, float]]] = []
        self._listed: dict[_Key, float] = {}
        self._alive: list[Candidate] = []
        self._sample: Sample
        self._found: list[WouldKill] = []

    def see(self, sample: Sample) -> list[WouldKill]:
        """Take in a sample; returns what the policy does."""
        t_s = sample.reading.t_s
        for key in self._dying:
            self.driver.died(*key, t_s)
        self._dead |= self._dying
        self._dying = set()
        self._sample, self._found = sample, []
        look = self.driver.look(t_s)
        if look is not None:
            self.level = look.state.level
            self.driver.perform(look)
        return self._found

    def reading(self, now_s: float) -> Reading:
        """The sample without the memory of the dead."""
        sample = self._sample
        self._meet(sample)
        # A process no longer listed has exited in the recording too; its memory counts there.
        self._dead &= self._listed.keys()
        self._alive = [
            task for task in sample.tasks if (task.pid, task.start_time) not in self._dead
        ]
        return self._without_the_dead(sample)

    def candidates(
        self, reading: Reading, growth: Growth
    ) -> tuple[list[Candidate], tuple[CgroupReading, ...]]:
        """The processes that were recorded and would live."""
        found = []
        for task in self._alive:
            one = copy(task)
            one.growth_kb = growth.of(task.pid, task.start_time, task.freed_kb())
            found.append(one)
        fill_in(found, reading, self._kernel)
        return found, reading.cgroups

    def sizes(self, reading: Reading, growth: Growth) -> dict[_Key, float]:
        """Their sizes, to which those are added that are listed later."""
        sizes = {(task.pid, task.start_time): task.freed_kb() for task in self._alive}
        self._noted = [*self._noted[-1:], (reading.t_s, sizes)]
        return sizes

    def signal(self, signals: tuple[Signal, ...]) -> None:
        """Nothing: whatever is signalled is gone by the next sample."""

    def check(self, choice: Ranked) -> str:
        """Nothing is known that would speak against a choice."""
        return ""

    def act(self, act: Act, reading: Reading) -> bool:
        """Note what would have been killed."""
        sample, members = self._sample, act.choice.members
        self._dying = {(member.pid, member.start_time) for member in members}
        self._found.append(
            WouldKill(
                t_s=reading.t_s,
                wall_s=sample.wall_s,
                boot=sample.boot,
                pids=tuple(member.pid for member in members),
                signals=tuple(f"SIG{signal.name}" for signal in act.signals),
                act=ActRecord.of(act, self._origin, sample.wall_s).to_values(),
            )
        )
        return True

    def ease(self, ease: Ease, reading: Reading) -> bool:
        """Note what would have been done; the recording goes on as if it had not been."""
        one = ease.choice.candidate
        self._eased.append(
            WouldEase(
                t_s=reading.t_s,
                wall_s=self._sample.wall_s,
                boot=self._sample.boot,
                act=ease.step.kind,
                comm=one.comm,
                pid=one.pid,
                cgroup=ease.cgroup,
            )
        )
        return True

    def _meet(self, sample: Sample) -> None:
        """Note the processes that are listed.

        Only the largest are. An old process that comes among them was at most as large before as
        the smallest that was there, and did not grow from nothing.
        """
        smallest_kb = min(self._listed.values(), default=0.0)
        listed = {(task.pid, task.start_time): task.freed_kb() for task in sample.tasks}
        for task in sample.tasks:
            key = task.pid, task.start_time
            for noted_s, sizes in self._noted:
                if key not in self._listed and sample.reading.t_s - task.age_s < noted_s:
                    sizes.setdefault(key, min(listed[key], smallest_kb))
        self._listed = listed

    def _without_the_dead(self, sample: Sample) -> Reading:
        gone = [task for task in sample.tasks if (task.pid, task.start_time) in self._dead]
        reading = copy(sample.reading)
        if gone:
            memory_kb = sum(task.freed_kb() - task.swap_kb for task in gone)
            swap_kb = sum(task.swap_kb for task in gone)
            reading.available_kb = min(reading.available_kb + memory_kb, reading.mem_total_kb)
            reading.swap_free_kb = min(reading.swap_free_kb + swap_kb, reading.swap_total_kb)
            reading.anon_kb = max(reading.anon_kb - sum(map(_anon_kb, gone)), 0.0)
            reading.cgroups = tuple(_relieved(group, gone) for group in reading.cgroups)
        return reading


def _anon_kb(task: Candidate) -> float:
    return task.anon_kb


def _relieved(group: Any, gone: list[Candidate]) -> Any:
    """A cgroup without its dead."""
    inside = [
        task
        for task in gone
        if task.cgroup is not None
        and (task.cgroup == group.path or task.cgroup.startswith(f"{group.path.rstrip('/')}/"))
    ]
    relieved = copy(group)
    used_kb = sum(task.freed_kb() - task.swap_kb for task in inside)
    relieved.usage_kb = max(relieved.usage_kb - used_kb, 0.0)
    relieved.swap_kb = max(relieved.swap_kb - sum(task.swap_kb for task in inside), 0.0)
    return relieved


def _compared(mark: Mark, found: list[WouldKill]) -> KernelKill:
    earlier = [
        (index, would)
        for index, would in enumerate(found)
        if would.boot == mark.boot and would.t_s <= mark.t_s
    ]
    same = [would for _, would in earlier if mark.pid in would.pids]
    near = [index for index, would in earlier if mark.t_s - would.t_s <= _INSTEAD_WITHIN_S]
    return KernelKill(
        mark=mark,
        ahead_s=round(mark.t_s - same[-1].t_s, 3) if same else None,
        after=near[-1] if near else None,
    )
