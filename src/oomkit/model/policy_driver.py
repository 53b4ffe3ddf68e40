"""A policy at work in a run: what it reads of the modelled machine, and what its signals do.

Between two events everything moves along a straight line, so what the policy would read at any
moment is known. It looks when a daemon would, except where the present rates show that looking
can have no effect for a while.
"""

from functools import partial
from typing import Final

from oomkit.model.candidates import candidates, cgroup_readings, sizes, start_time
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.machine import Machine
from oomkit.model.psi import Psi
from oomkit.model.sensors import Counters, Sensors
from oomkit.model.soft_acts import SoftActs
from oomkit.model.solve import Rates
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine import driver
from oomkit.policy.engine.candidate import Candidate, Growth, Ranked
from oomkit.policy.engine.conditions import SOFT
from oomkit.policy.engine.decider import Act, Assessment, Decider
from oomkit.policy.engine.easing import Ease
from oomkit.policy.engine.escalation import Signal
from oomkit.policy.engine.evidence import act_lines, signal_line
from oomkit.policy.engine.plan import Rule
from oomkit.policy.engine.reading import CgroupReading, Reading, available_kb
from oomkit.policy.records import Policy

_WAKEUP_S: Final = 0.001
"""Delay until a daemon with locked memory runs once it is due."""

_SCAN_S: Final = 10e-6
"""Time to scan one process (docs/benchmarks.md)."""

_IDLE_S: Final = 60.0
"""Time that the policy has to act on a machine where nothing else happens any more."""

_MIN_PAUSE_S: Final = 1e-3
"""Looks are at least this far apart."""

_INFINITY: Final = float("inf")


def _ahead_s(rule: Rule) -> float:
    """How long before a rule can hold it has to be looked at, to see when its conditions begin to.

    Of amounts that is how long they have to hold; rates need the window they are measured over.
    """
    read_off = all(not one.kind.over_a_window for one in rule.conditions)
    return max(rule.over_s, rule.for_s) if read_off else rule.over_s


class PolicyDriver:
    """A policy at work in a run.

    Args:
        machine: what it guards.
        lifecycle: ends the processes it signals.
        timers: for its actions.
        psi: the machine's pressure.
        policy: the policy; it has rules.
    """

    def __init__(
        self, machine: Machine, lifecycle: Lifecycle, timers: Timers, psi: Psi, policy: Policy
    ) -> None:
        self.machine = machine
        self.lifecycle = lifecycle
        self.timers = timers
        self.psi = psi
        self.policy = policy
        plan = compile_plan(policy)
        self.driver = driver.PolicyDriver(Decider(plan, cpus=machine.cpus), self, self)
        self.counters = Counters()
        self.soft_acts = SoftActs(machine, timers)
        self._sensors: Sensors | None = None
        self._warm_share = plan.polling.warm
        self._margin_s = max(map(_ahead_s, plan.rules)) + 0.5
        self._reads_cgroups = bool(plan.cgroups())
        conditions = [one for rule in plan.rules for one in rule.conditions]
        self._reads_working_sets = any(one.kind.name == "working_set_left" for one in conditions)
        self._uses_scores = "oom_score" in plan.rankings()
        self._interval_s: float | None = 0.0
        """Seconds between the last look and the next; None: nobody asked yet."""
        self._level = 0
        self._busy_until_s = 0.0
        self._traces: dict[tuple[int, int], tuple[str, ...]] = {}
        self._no_candidate_at: int | None = None

    def next_action_s(self, rates: Rates, seconds: float) -> float:
        """Look as often as the policy would in the next seconds, and schedule what it calls for.

        Args:
            rates: those of the present straight piece.
            seconds: how long they hold.

        Returns:
            Seconds until the policy acts on the machine; ``seconds`` where it does not before.
        """
        now = self.machine.now
        sensors = self._sensors = self._read_sensors(rates)
        due = max(self._next_look_s(sensors, seconds), self._busy_until_s)
        while due <= now + seconds:
            look, reading = self._look(due)
            self._interval_s = None
            if look.choose or look.signals or look.sizes or look.ease:
                at_s = due + self._reaction_s(look)
                self._busy_until_s = at_s
                self.timers.call_at(at_s, partial(self._perform, look))
                return min(seconds, at_s - now)
            quiet = self._quiet_s(reading, sensors, now + seconds - due)
            due += max(self._pause_s(reading) if quiet <= 0.0 else quiet, _MIN_PAUSE_S)
        return seconds

    def advance(self, seconds: float) -> None:
        """Count what the machine did in the seconds it has been advanced by."""
        if self._sensors is not None:
            self._sensors.advance(seconds)

    def is_quiescent(self, rates: Rates) -> bool:
        """Whether the policy leaves a machine alone on which nothing happens any more.

        An action that it would take is scheduled.
        """
        if self._no_candidate_at == self.machine.change_count:
            return True
        return self.next_action_s(rates, _IDLE_S) >= _IDLE_S

    def process_exited(self, proc: Proc) -> None:
        """Note that a process has exited, so that the policy does not wait for it any longer."""
        key = (proc.pid, start_time(proc))
        self._traces.pop(key, None)
        if key in self.driver.decider.escalation.dying():
            self.driver.died(*key, self.machine.now)
            self._interval_s = 0.0

    # Looking.

    def _read_sensors(self, rates: Rates) -> Sensors:
        return Sensors(
            self.machine,
            rates,
            self.psi,
            self.counters,
            cgroups=self._reads_cgroups,
            working_sets=self._reads_working_sets,
        )

    def _look(self, now_s: float) -> tuple[Assessment, Reading]:
        look, reading = self.driver.look(now_s), self.driver.reading
        assert look is not None, "the machine can always be read"
        assert reading is not None, "the machine can always be read"
        self._level = SOFT if look.state.eases else look.state.level
        return look, reading

    def _next_look_s(self, sensors: Sensors, seconds: float) -> float:
        """When the next look is due, seconds since the start."""
        now = self.machine.now
        last = self.driver.reading
        if last is None:
            return now
        quiet = self._quiet_s(sensors.reading(0.0), sensors, seconds)
        if quiet > 0.0:
            return now + quiet
        return max(last.t_s + self._pause_s(last), now)

    def _pause_s(self, last: Reading) -> float:
        """Seconds from the last look until the next at the policy's own pace."""
        if self._interval_s is None:
            self._interval_s = self.driver.decider.next_look_s(last)
        return self._interval_s

    def _quiet_s(self, reading: Reading, sensors: Sensors, seconds: float) -> float:
        """For how long looking can have no effect; 0: look at the policy's own pace."""
        decider = self.driver.decider
        if self._level >= SOFT or decider.escalation.next_s(reading.t_s) < _INFINITY:
            return 0.0
        pace = sensors.pace(max(seconds, 1e-6))
        # What comes after these seconds is for those that follow to find.
        enough = seconds + self._margin_s + 1.0
        quiet: float = max(decider.watch.earliest_s(reading, pace, enough) - self._margin_s, 0.0)
        spare = available_kb(reading) - self._warm_share * reading.mem_total_kb
        if pace.available_kb_s > 0.0 or pace.swap_kb_s > 0.0:
            if spare > 0.0:
                ahead = spare / pace.available_kb_s if pace.available_kb_s > 0.0 else _INFINITY
                quiet = min(quiet, ahead + _MIN_PAUSE_S)
            else:
                quiet = min(quiet, decider.growth.window_s)
        return quiet

    def _reaction_s(self, look: Assessment) -> float:
        wants = look.choose or look.sizes or look.ease
        scan = _SCAN_S * len(self.machine.procs) if wants else 0.0
        return _WAKEUP_S + scan

    # What the policy reads (driver.Sensors).

    def reading(self, now_s: float) -> Reading:
        """The machine at a moment, now or before the next event."""
        assert self._sensors is not None
        return self._sensors.reading(now_s - self._sensors.now)

    def candidates(
        self, reading: Reading, growth: Growth
    ) -> tuple[list[Candidate], list[CgroupReading]]:
        """The processes and cgroups as they are now."""
        found = candidates(self.machine, growth, with_scores=self._uses_scores)
        scanned = {f"/{group.name}": own.pgscan for group, own in self.counters.groups.items()}
        return found, cgroup_readings(self.machine, scanned)

    def sizes(self, reading: Reading, growth: Growth) -> dict[tuple[int, int], float]:
        """The sizes of the processes as they are now."""
        return sizes(self.machine)

    # Acting (driver.Actuator).

    def _perform(self, look: Assessment) -> None:
        """Do what a look called for, after the time that takes."""
        if look.choose:
            # Memory may have recovered during the scan.
            assert self._sensors is not None
            self._sensors = self._read_sensors(self._sensors.rates)
            wants_sizes = look.sizes
            look, _ = self._look(self.machine.now)
            look.sizes = wants_sizes
        if self.driver.perform(look) == driver.NO_CANDIDATE:
            self._no_candidate_at = self.machine.change_count
        self._interval_s = None

    def signal(self, signals: tuple[Signal, ...]) -> None:
        """Send signals to processes that were signalled before, and did not exit."""
        for signal in signals:
            self._send_signal(signal)

    def check(self, choice: Ranked) -> str:
        """Nothing is known that would speak against a choice."""
        return ""

    def act(self, act: Act, reading: Reading) -> bool:
        """Signal all that a choice takes."""
        lines = act_lines(self.policy.name, act)
        for member in act.choice.members:
            self._traces[member.pid, member.start_time] = lines
        if self.policy.how.evict and act.choice.cgroup is not None:
            self.lifecycle.evict(self.machine.groups[act.choice.cgroup.lstrip("/")])
        self.signal(act.signals)
        self.machine.mark_changed()
        return True

    def ease(self, ease: Ease, reading: Reading) -> bool:
        """Do a softer act than a signal; False where it can't be done."""
        return self.soft_acts.begin(ease)

    def _send_signal(self, signal: Signal) -> None:
        machine = self.machine
        proc = machine.by_pid(signal.pid)
        if proc is None or start_time(proc) != signal.start_time:
            self.driver.died(signal.pid, signal.start_time, machine.now)
            return
        key = (signal.pid, signal.start_time)
        self._traces[key] = (*self._traces.get(key, ()), signal_line(signal, proc.spec.name))
        if proc.state == "exiting":
            return
        self.soft_acts.release(proc.pid)
        if signal.name == "KILL":
            self._kill(proc)
        elif proc.spec.on_sigterm != "ignore":
            if proc.spec.sigterm_exit_s > 0.0:
                self.timers.call_at(
                    machine.now + proc.spec.sigterm_exit_s, partial(self._kill, proc)
                )
            else:
                self._kill(proc)

    def _kill(self, proc: Proc) -> None:
        """Let a signalled process exit."""
        if proc.state in ("exiting", "dead"):
            return
        self.lifecycle.kill(
            proc,
            by=self.policy.name,
            freed_pages=proc.mm.freed_by_kill(),
            trace=self._traces.get((proc.pid, start_time(proc)), ()),
        )
        self.machine.mark_changed()
