"""A guard on the modelled machine: the policy's own objects, driven by the run.

Between two events everything moves along a straight line, so what the guard would read at any
moment is known. It is asked at the moments it would look by itself, except where the present
rates tell that nothing can come of it for long.
"""

from functools import partial
from typing import TYPE_CHECKING

from oomkit.model.candidates import candidates, cgroup_readings, sizes, start_time
from oomkit.model.sensors import Counters, Sensors
from oomkit.policy.core.conditions import available_kb
from oomkit.policy.core.decider import Act, Decider, Look
from oomkit.policy.core.how import Signal
from oomkit.policy.core.levels import SOFT
from oomkit.policy.core.reading import Reading
from oomkit.policy.format import Policy
from oomkit.policy.plan import compile_plan
from oomkit.policy.telling import act_lines, signal_line
from oomkit.scenario.record import Kill

if TYPE_CHECKING:
    from oomkit.model.engine import Engine
    from oomkit.model.solve import Rates
    from oomkit.model.tasks import Proc

_WAKE_S = 0.001
"""From the moment a daemon with its memory locked is due until it runs."""

_SCAN_S = 10e-6
"""What it takes to look at one process (docs/benchmarks.md)."""

_IDLE_S = 60.0
"""A machine on which nothing happens any more is given so long for the guard to act."""

_INFINITY = float("inf")


class PolicyDriver:
    """A policy at work in a run.

    Attributes:
        policy: the policy.
        last_act: the last choice, for whoever wants to look at it.
    """

    def __init__(self, engine: "Engine", policy: Policy) -> None:
        self.engine = engine
        self.policy = policy
        plan = compile_plan(policy)
        self.decider = Decider(plan, cpus=engine.machine.cpus)
        self.counters = Counters()
        self.last_act: Act | None = None
        self._sensors: Sensors | None = None
        self._warm: float = plan["look"]["warm"]
        self._margin_s = max(rule["over_s"] for rule in plan["rules"]) + 0.5
        self._cgroups = any(rule["cgroup"] is not None for rule in plan["rules"])
        rules_by = {rule["by"] for rule in plan["rules"]}
        self._scores = "oom_score" in (policy.whom.by, *rules_by)
        self._last: Reading | None = None
        self._interval_s = 0.0
        self._level = 0
        self._busy_until = 0.0
        self._traces: dict[tuple[int, int], tuple[str, ...]] = {}
        self._no_candidate_version: int | None = None

    def next_action_s(self, rates: "Rates", seconds: float) -> float:
        """Look as often as the policy would in the next seconds.

        Returns:
            The seconds until the machine changes by what the guard does; at most ``seconds``.
        """
        now = self.engine.now
        sensors = self._sensors = Sensors(
            self.engine.machine, rates, self.engine.psi, self.counters, now, cgroups=self._cgroups
        )
        if self._last is None:
            due = now
        else:
            reading = sensors.reading(0.0)
            wait = self._quiet_s(reading, sensors, seconds)
            due = max(self._last.t_s + self._interval_s, now) if wait <= 0.0 else now + wait
        due = max(due, self._busy_until)
        while due <= now + seconds:
            reading = sensors.reading(due - now)
            look = self.decider.look(reading)
            self._last, self._level = reading, look.state.level
            self._interval_s = self.decider.next_look_s(reading)
            if look.choose or look.signals or look.sizes:
                at = due + self._reaction_s(look)
                self._busy_until = at
                self.engine.call_at(at, partial(self._perform, look))
                return min(seconds, at - now)
            wait = self._quiet_s(reading, sensors, now + seconds - due)
            due += max(self._interval_s if wait <= 0.0 else wait, 1e-3)
        return seconds

    def advance(self, seconds: float) -> None:
        """The machine has moved along for so long."""
        if self._sensors is not None:
            self._sensors.advance(seconds)

    def is_quiescent(self, rates: "Rates") -> bool:
        """Whether nothing will come of it on a machine where nothing happens any more."""
        if self._no_candidate_version == self.engine.version:
            return True
        return self.next_action_s(rates, _IDLE_S) >= _IDLE_S

    def process_exited(self, proc: "Proc") -> None:
        """A process is gone."""
        key = (proc.pid, start_time(proc))
        self._traces.pop(key, None)
        if key in self.decider.escalation.dying():
            self.decider.died(*key, self.engine.now)
            self._interval_s = 0.0

    def _quiet_s(self, reading: Reading, sensors: Sensors, seconds: float) -> float:
        """How long nothing can come of looking; 0: look at the policy's own pace."""
        decider = self.decider
        if self._level >= SOFT or decider.escalation.next_s(reading.t_s) < _INFINITY:
            return 0.0
        pace = sensors.pace(max(seconds, 1e-6))
        wait: float = max(decider.watch.earliest_s(reading, pace) - self._margin_s, 0.0)
        spare = available_kb(reading) - self._warm * reading.mem_total_kb
        if pace.available_kb_s > 0.0 or pace.swap_kb_s > 0.0:
            if spare > 0.0:
                ahead = spare / pace.available_kb_s if pace.available_kb_s > 0.0 else _INFINITY
                wait = min(wait, ahead + 1e-3)
            else:
                wait = min(wait, decider.growth.window_s)
        return wait

    def _reaction_s(self, look: Look) -> float:
        scan = _SCAN_S * len(self.engine.machine.procs) if look.choose or look.sizes else 0.0
        return _WAKE_S + scan

    def _perform(self, look: Look) -> None:
        """What a look called for, after the time it takes to do."""
        self._do(look)
        if self._last is not None:
            self._interval_s = self.decider.next_look_s(self._last)

    def _do(self, look: Look) -> None:
        engine, decider = self.engine, self.decider
        if look.sizes and self._last is not None:
            left_kb = available_kb(self._last) + self._last.swap_free_kb
            decider.growth.note(engine.now, left_kb, sizes(engine.machine))
        for signal in look.signals:
            self._send_signal(signal)
        if not look.choose:
            return
        again = self._look_again()
        for signal in again.signals:
            self._send_signal(signal)
        if not again.choose:
            return
        found = candidates(engine.machine, engine.now, decider.growth, with_scores=self._scores)
        act = decider.choose(found, cgroup_readings(engine.machine))
        if act is None:
            self._no_candidate_version = engine.version
            return
        self.last_act = act
        lines = act_lines(self.policy.name, act)
        for member in act.choice.members:
            self._traces[member.pid, member.start_time] = lines
        for signal in act.signals:
            self._send_signal(signal)
        engine.version += 1

    def _look_again(self) -> Look:
        """Memory may have come back while a victim was looked for."""
        assert self._sensors is not None
        sensors = Sensors(
            self.engine.machine,
            self._sensors.rates,
            self.engine.psi,
            self.counters,
            self.engine.now,
            cgroups=self._cgroups,
        )
        self._last = sensors.reading(0.0)
        look = self.decider.look(self._last)
        self._level = look.state.level
        return look

    def _send_signal(self, signal: Signal) -> None:
        engine = self.engine
        proc = engine.by_pid(signal.pid)
        if proc is None or start_time(proc) != signal.start_time:
            self.decider.died(signal.pid, signal.start_time, engine.now)
            return
        key = (signal.pid, signal.start_time)
        self._traces[key] = (*self._traces.get(key, ()), signal_line(signal, proc.spec.name))
        if proc.state == "exiting":
            return
        if signal.name == "KILL":
            self._follow_signal(proc)
        elif proc.spec.on_sigterm != "ignore":
            if proc.spec.sigterm_exit_s > 0.0:
                engine.call_at(
                    engine.now + proc.spec.sigterm_exit_s, lambda: self._follow_signal(proc)
                )
            else:
                self._follow_signal(proc)

    def _follow_signal(self, proc: "Proc") -> None:
        """A process follows a signal."""
        if proc.state in ("exiting", "dead"):
            return
        engine = self.engine
        if not engine.was_growing(proc):
            engine.oom.innocents.add(proc.key)
        mm = proc.mm
        freed = mm.anon.resident + mm.locked + mm.swap() + mm.tables
        engine.oom.kills.append(
            Kill(
                t_s=round(engine.now, 6),
                task=proc.spec.name,
                instance=proc.instance,
                pid=proc.pid,
                by=self.policy.name,
                would_have=False,
                badness=None,
                oom_score_adj=proc.oom_score_adj,
                freed_mb=round(freed / 256, 3),
                work_lost_s=round(proc.cpu_s, 3),
                trace=self._traces.get((proc.pid, start_time(proc)), ()),
            )
        )
        engine.lifecycle.exit(proc, killed=True)
        engine.version += 1
