"""Carries out what the policy decides: signals, commands, and each act until its memory is back."""

import os
import time

from oomkit.guard.act_record import candidates
from oomkit.guard.hooks import BEFORE_S
from oomkit.guard.killer import GONE
from oomkit.guard.messages import ERROR, NOTICE, WARNING, acted, ended
from oomkit.guard.ongoing_acts import begun, resumed, take_up
from oomkit.guard.records import Origin
from oomkit.policy.engine.conditions import HARD
from oomkit.policy.engine.reading import left_kb
from oomkit.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from oomkit.guard.config import Places
    from oomkit.guard.hooks import Hooks
    from oomkit.guard.killer import Key, Killer, Sent
    from oomkit.guard.ongoing_acts import OngoingAct
    from oomkit.guard.pending_kills import PendingKills
    from oomkit.guard.recheck import Recheck
    from oomkit.guard.reporter import Reporter
    from oomkit.guard.sensors import Sensors
    from oomkit.guard.soft_acts import SoftActs
    from oomkit.policy.engine.candidate import Candidate, Ranked
    from oomkit.policy.engine.decider import Act, Decider
    from oomkit.policy.engine.easing import Ease
    from oomkit.policy.engine.escalation import Signal
    from oomkit.policy.engine.plan import Plan
    from oomkit.policy.engine.reading import Reading

WATCH_DEATH_S = 0.02
"""Seconds between checks of what came free while a victim exits."""
WATCH_SLOWLY_S = 0.25
_SLOW_S = 5.0
_MAY_BE_NARROWED = ("tree", "cgroup")
"""What dies together because the policy wants it to, and not because it can't but do."""
_SHRUNK = 8.0
"""Sizes may be seconds old: a process that shares another's memory may look this much smaller."""
_SHRUNK_BEFORE = 4.0
"""The same, of what that held before it grew."""


class Actions:
    """Carries out what the policy decides (:class:`oomkit.policy.engine.driver.Actuator`).

    Args:
        killer: sends the signals.
        pending: keeps what is under way for a guard that comes after this one.
        hooks: runs commands.
        reporter: writes what is done.
        clock: the monotonic one.
        wall: seconds since the epoch.
        places: where processes and cgroups are; for softer acts.

    Attributes:
        ongoing_acts: the acts under way.
        untouchable: processes that we may not signal, and that are left out from then on.
        under_way: pids of those that are to die, whose files stay open until then.
    """

    __slots__ = (
        "_clock",
        "_decider",
        "_dry_run",
        "_hooks",
        "_killer",
        "_origin",
        "_pending",
        "_places",
        "_reporter",
        "_response",
        "_sensors",
        "_soft",
        "_wall",
        "ongoing_acts",
        "under_way",
        "untouchable",
    )  # fmt: skip

    def __init__(
        self,
        killer: "Killer",
        pending: "PendingKills",
        hooks: "Hooks",
        reporter: "Reporter",
        clock: "Callable[[], float]",
        wall: "Callable[[], float]",
        places: "Places | None" = None,
    ) -> None:
        self._killer = killer
        self._pending = pending
        self._hooks = hooks
        self._reporter = reporter
        self._clock = clock
        self._wall = wall
        self._places = places
        self._soft: SoftActs | None = None
        self.ongoing_acts: list[OngoingAct] = []
        self.untouchable: set[Key] = set()
        self.under_way: set[int] = set()

    def serve(
        self,
        plan: "Plan",
        decider: "Decider",
        sensors: "Sensors",
        recheck: "Recheck",
        *,
        dry_run: bool,
    ) -> None:
        """Act for a policy from now on; it waits for what is under way as if it were its own."""
        self._killer.obey(recheck)
        self._sensors = sensors
        self._response = plan.response
        self._origin = Origin(plan.name, dry_run=dry_run)
        self._dry_run = dry_run
        self._decider = decider
        if plan.response.easements:
            self._soften()
        for ongoing in self.ongoing_acts:
            if ongoing.alive:
                take_up(ongoing, decider.escalation, self._clock())

    def _soften(self) -> "SoftActs | None":
        """What does softer acts; loaded where a policy allows them or some are to be taken back."""
        if self._soft is None and self._places is not None:
            from oomkit.guard.soft_acts import SoftActs

            self._soft = SoftActs(
                self._killer, self._places, self._hooks, self._reporter, self._clock, self._wall,
                self._is_saved,
            )  # fmt: skip
        return self._soft

    def ease(self, ease: "Ease", reading: "Reading") -> bool:
        """Do a softer act than a signal; False where it can't or must not be done."""
        soft = self._soften()
        return soft is not None and soft.begin(ease, self._origin, notify=self._response.notify)

    @property
    def is_easing(self) -> bool:
        """A softer act is under way, or is to be taken back."""
        return self._soft is not None and self._soft.any

    def tend(self, reading: "Reading") -> None:
        """Take back softer acts that are over."""
        if self._soft is None or not self._soft.any:
            return
        for ease in self._soft.tend(reading.t_s):
            self._end_frozen(ease, reading)

    def _end_frozen(self, ease: "Ease", reading: "Reading") -> None:
        """Ask a process to exit whose user wants it so."""
        choice = ease.choice
        if not self.check(choice):
            act = self._decider.asked_to_end(ease)
            self.act(act, reading)

    def close(self) -> None:
        """Take back every softer act."""
        if self._soft is not None:
            self._soft.take_back_all()

    def take_over(self) -> None:
        """Take up what a guard left that ended in the middle; its softer acts are taken back."""
        t_s = self._clock()
        left = self._pending.read()
        eased = [saved for saved in left if "undo" in saved]
        if eased and (soft := self._soften()) is not None:
            soft.take_over(eased)
        for saved in left:
            try:
                ongoing = resumed(saved)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            for key in tuple(ongoing.alive):
                if self._killer.hold(key) == GONE:
                    ongoing.died(key, t_s)
                elif why := self._killer.refusal(key):
                    self._spare(ongoing, key, why)
            self.ongoing_acts.append(ongoing)
            if ongoing.alive:
                take_up(ongoing, self._decider.escalation, t_s)
        if eased:
            self._save()

    def check(self, choice: "Ranked") -> str:
        """Why a choice must not be made, now that all it takes is held and looked at again.

        Args:
            choice: what was chosen; other processes that share its memory are added to its members.
        """
        under_way = {key for ongoing in self.ongoing_acts for key in ongoing.alive}
        one = choice.candidate
        self._sensors.warm.identify_these(choice.members)
        self._killer.complete(choice, self._sensors.holding(one, _least_shared_kb(one)))
        keys = [(one.pid, one.start_time) for one in choice.members]
        found = self._killer.check(keys)
        if found is None and choice.level == "cgroup":
            found = self._killer.check_group(one.cgroup or "/", keys)
        if found is None and not self._dry_run:
            return ""
        for key in keys:
            if key not in under_way:
                self._killer.let_go(key)
        if found is None:
            return ""
        (pid, _), why = found
        self._sensors.warm.drop(pid)
        if pid != one.pid and choice.level in _MAY_BE_NARROWED:
            choice.note = f"alone: process {pid} in its {choice.level}, looked at again: {why}"
            choice.members, choice.level, choice.freed_kb = (one,), "process", one.freed_kb()
            return self.check(choice)
        return f"looked at again: {why if pid == one.pid else f'with process {pid}: {why}'}"

    def act(self, act: "Act", reading: "Reading") -> bool:
        """Carry out a choice; False where it turned out that it must not be."""
        ongoing = begun(act, left_kb(reading), self._wall(), self._origin)
        if self._dry_run:
            ongoing.record.candidates = candidates(act.ranked)
            ongoing.abandon("dry_run")
            self._reporter.record(ongoing.record)
            self._reporter.line(WARNING, acted(act, dry_run=True))
            return True
        self.ongoing_acts.append(ongoing)
        self._save()
        self._before(act)
        if act.command is not None:
            self._run_instead(act, act.command, ongoing)
        else:
            # All were looked at when they were chosen, and only the command may have taken time.
            together = act.choice.level != "namesakes" and bool(self._response.before)
            self._send(act.signals, ongoing, together=together)
        ongoing.record.candidates = candidates(act.ranked)
        if ongoing.record.outcome == "protected":
            self._end(ongoing)
            return False
        if act.command is None and act.choice.level == "cgroup" and act.state.level >= HARD:
            self._sweep(act)
        self._save()
        self._reporter.record(ongoing.record)
        self._reporter.line(WARNING, acted(act, dry_run=False))
        if self._response.notify:
            self._hooks.notify("Low memory", printable(acted(act, dry_run=False)))
        return True

    def _run_instead(self, act: "Act", command: "tuple[str, ...]", ongoing: "OngoingAct") -> None:
        """Run the command that a policy wants instead of a signal, if that might be sent."""
        keys = [(signal.pid, signal.start_time) for signal in act.signals]
        found = self._killer.check(keys)
        if found is None:
            self._hooks.start(command, act.choice.candidate, "instead")
            self._let_go_on(keys, self._clock())
        else:
            for key in keys:
                self._spare(ongoing, key, f"with process {found[0][0]}: {found[1]}")

    def signal(self, signals: "tuple[Signal, ...]") -> None:
        """Send signals to processes that were signalled before, and did not exit."""
        for signal in signals:
            key = (signal.pid, signal.start_time)
            ongoing = next((one for one in self.ongoing_acts if key in one.alive), None)
            if ongoing is not None:
                (sent,) = self._send((signal,), ongoing)
                if not sent.error:
                    self._reporter.line(WARNING, f"SIG{signal.name} to {signal.pid}: {signal.why}")
        self._save()

    def see_deaths(self) -> None:
        """Note which victims have exited."""
        for key in self._killer.dead():
            self._died(key, self._clock())

    def settle(self, reading: "Reading", *, short: bool) -> None:
        """See what came free, and close the acts that are over."""
        for ongoing in list(self.ongoing_acts):
            over = ongoing.record.outcome is not None or ongoing.settled(
                reading.t_s, left_kb(reading), short=short
            )
            if over:
                self._end(ongoing)
                if self._response.after and ongoing.record.outcome != "protected":
                    self._hooks.start(self._response.after, ongoing.victim, "after")

    def _end(self, ongoing: "OngoingAct") -> None:
        """Close an act that is over."""
        self.ongoing_acts.remove(ongoing)
        for key in ongoing.alive:
            self._killer.let_go(key)
        # First the record, then the state: better reported twice than never.
        self._reporter.record(ongoing.record)
        self._save()
        self._reporter.line(NOTICE, ended(ongoing.record))

    def next_s(self, t_s: float) -> float:
        """Seconds until something under way is checked again; infinity where nothing is."""
        soft_s = self._soft.next_s(t_s) if self._soft is not None else float("inf")
        if not self.ongoing_acts:
            return soft_s
        fresh = any(t_s - ongoing.begun_s < _SLOW_S for ongoing in self.ongoing_acts)
        return min(WATCH_DEATH_S if fresh else WATCH_SLOWLY_S, soft_s)

    def _before(self, act: "Act") -> None:
        """Run the command before the signal, and wait for it a little, unless it is hard."""
        argv = self._response.before
        if argv:
            pid = self._hooks.start(argv, act.choice.candidate, "before")
            if pid is not None and act.state.level < HARD:
                self._hooks.wait(pid, BEFORE_S)

    def _sweep(self, act: "Act") -> None:
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME) - (self._clock() - act.state.t_s)
        keys = [(one.pid, one.start_time) for one in act.choice.members]
        path = act.choice.candidate.cgroup or ""
        self._killer.sweep(path, keys, int(boot_s * os.sysconf("SC_CLK_TCK")))

    def _send(
        self, signals: "tuple[Signal, ...]", ongoing: "OngoingAct", *, together: bool = True
    ) -> "list[Sent]":
        sent = self._killer.send(signals, together=together)
        ongoing.sent(sent)
        t_s = self._clock()
        self._let_go_on(((one.pid, one.start_time) for one in signals), t_s)
        for signal, one in zip(signals, sent, strict=True):
            key = (signal.pid, signal.start_time)
            if one.error == GONE:
                self._died(key, t_s)
                self.untouchable.add(key)  # whatever a ranking says, it is not chosen again
            elif one.protected:
                self._spare(ongoing, key, one.error)
            elif one.error:
                self._reporter.line(ERROR, f"SIG{one.name} to {one.pid}: {one.error}")
                self.untouchable.add(key)
                self._decider.died(*key, t_s)
                ongoing.alive.discard(key)
        if not ongoing.alive and all(one.error for one in sent) and ongoing.record.outcome is None:
            ongoing.abandon("gone" if all(one.error == GONE for one in sent) else "refused")
        return sent

    def _let_go_on(self, keys: "Iterable[Key]", t_s: float) -> None:
        """What was frozen and is signalled has to run to handle that."""
        if self._soft is not None and self._soft.any:
            self._soft.release(keys, t_s)

    def _spare(self, ongoing: "OngoingAct", key: "Key", why: str) -> None:
        """Spare members that turned out to be protected, and log it."""
        signalled = any(one.pid == key[0] and not one.error for one in ongoing.record.signals)
        self._reporter.line(NOTICE, f"process {key[0]} is not signalled: {why}")
        ongoing.record.spared.append((key[0], why))
        self._decider.spared(*key, signalled=signalled)
        self._sensors.warm.drop(key[0])
        self._killer.let_go(key)
        ongoing.alive.discard(key)
        if not ongoing.alive:
            ongoing.abandon("protected")

    def _died(self, key: "Key", t_s: float) -> None:
        self._killer.let_go(key)
        self._decider.died(*key, t_s)
        for ongoing in self.ongoing_acts:
            ongoing.died(key, t_s)

    def _save(self) -> None:
        self.under_way.clear()
        self.under_way.update(pid for ongoing in self.ongoing_acts for pid, _ in ongoing.alive)
        saved: list[dict[str, Any]] = [ongoing.saved() for ongoing in self.ongoing_acts]
        if self._soft is not None:
            saved += self._soft.saved()
        self._pending.write(saved)

    def _is_saved(self) -> bool:
        """Write the state file; says whether a guard that comes after this one will find it so."""
        self._save()
        return self._pending.keeps


def _least_shared_kb(one: "Candidate") -> float:
    """What a process that shares the memory of another one held at least when it was measured."""
    now_kb = one.anon_kb + one.swap_kb
    # Where growth is not known yet, all sizes were read just now.
    return max(now_kb / _SHRUNK, (now_kb - (one.growth_kb or 0.0)) / _SHRUNK_BEFORE)
