"""The event loop: run what is due, solve for the rates, advance to the next event."""

import random
from functools import partial
from typing import TYPE_CHECKING, Final

from oomkit.errors import ModelError
from oomkit.model import accounting, address_space
from oomkit.model.advance import advance, horizon
from oomkit.model.boot import set_limits
from oomkit.model.domains import count_usage, pools_in, run_kswapd
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.machine import Machine
from oomkit.model.oom import OomKiller
from oomkit.model.policy_driver import PolicyDriver
from oomkit.model.psi import Psi
from oomkit.model.reclaim import make_plan, reclaim_from
from oomkit.model.responsiveness import Prober, response_s
from oomkit.model.sampler import MAX_REGULAR, Sampler
from oomkit.model.solve import Rates, solve
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.policy.records import Policy
from oomkit.scenario.definitions import REQUESTS, outcome_of
from oomkit.scenario.format import At, Scenario
from oomkit.scenario.record import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from oomkit.model.pools import Group

MAX_EVENTS: Final = 200_000
"""A scenario with more events has steps too short to be played."""

_DONE: Final = 1e-5
"""With more than this left a step is not done, whatever its size."""

_MIN_STEP_S: Final = 1e-6
"""Events closer together than this happen at once."""


class Engine:
    """One run of a scenario.

    Attributes:
        machine: the machine's state; its clock is the run's.
        lifecycle: the processes, and the records of what happened to them.
        oom: the kernel's OOM killer, with its log.
        driver: the policy at work; None: the kernel is alone.
        events: number of events so far.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        sample_s: float | None,
        most_samples: int = MAX_REGULAR,
        audit: bool = False,
        policy: Policy | None = None,
        watch: "Callable[[Machine, Rates], None] | None" = None,
    ) -> None:
        """Make the machine of a scenario.

        Args:
            scenario: what is played.
            seed: moves only what the scenario declares as random.
            sample_s: time between samples; None: as fine as the run is short.
            most_samples: with None, at most about so many.
            audit: check the accounting of memory at every event.
            policy: what guards the machine; None: the kernel is alone.
            watch: is called at each event with the rates that hold until the next.
        """
        self.scenario = scenario
        self.events = 0
        self.machine = machine = Machine(scenario)
        self.psi = Psi(scenario.machine.hz)
        self.prober = Prober(machine.probe)
        self.sampler = Sampler(machine, self.psi, self.prober, sample_s, most_samples)
        self.timers = Timers()
        self.lifecycle = Lifecycle(
            machine,
            self.timers,
            random.Random(seed),
            on_start=self.sampler.process_started,
            on_kill=self.sampler.before_kill,
            on_exit=self._process_exited,
        )
        self.oom = OomKiller(machine, self.lifecycle, self.timers)
        self.driver: PolicyDriver | None = None
        if policy is not None and policy.when:
            self.driver = PolicyDriver(machine, self.lifecycle, self.timers, self.psi, policy)
        self._audit = audit
        self._watch = watch
        self._limits_lowered: set[Group] = set()
        self._last_change_s = max((event.t_s for event in scenario.at), default=0.0)

    def run(self) -> Outcome:
        """Play until nothing is left to happen, the duration is over, or the kernel panics.

        Raises:
            ModelError: the scenario needs too many events.
            AssertionError: with ``audit``: memory accounting is inconsistent.
        """
        for task in self.scenario.tasks:
            self.lifecycle.schedule(task, 0.0)
        for event in self.scenario.at:
            self.timers.call_at(event.t_s, partial(self._apply_event, event))
        duration = self.scenario.duration_s
        while True:
            self._run_due()
            rates = self._solve_until_stable()
            if self.oom.panic is not None or self.machine.now >= duration:
                return self._end_run()
            if self._is_over() and self._is_left_alone(rates):
                return self._end_run()
            if self._watch is not None:
                self._watch(self.machine, rates)
            self._advance(rates, duration)
            self.events += 1
            if self.events > MAX_EVENTS:
                raise ModelError(
                    f"more than {MAX_EVENTS} events in {self.machine.now:.3f} s: "
                    "the steps are too short to be played"
                )

    # What happens at an event.

    def _run_due(self) -> None:
        """Run the timers and end the steps that are due."""
        lifecycle = self.lifecycle
        self.timers.run_due(self.machine.now + _MIN_STEP_S / 2)
        lifecycle.start_forked()
        if lifecycle.waiting_starts:
            lifecycle.retry_starts()
        due = [
            proc
            for proc in self.machine.procs
            if proc.step_left <= _DONE and proc.state == "run" and not proc.frozen
        ]
        for proc in due:
            if _step_is_done(proc):
                lifecycle.finish_step(proc)
        lifecycle.start_forked()
        self._refuse_mappings()

    def _refuse_mappings(self) -> None:
        """A growing task asks for address space piece by piece: refuse what does not fit.

        One at a time: ``__vm_enough_memory()`` fails one request, and the exit that follows makes
        room for others.
        """
        if not address_space.can_refuse(self.machine):
            return
        refused = address_space.first_refusal(self.machine)
        if refused is not None:
            proc, limit = refused
            self.lifecycle.deny(proc, REQUESTS[proc.current.verb].call, proc.step_left, limit)

    def _process_exited(self, proc: Proc) -> None:
        self.sampler.process_exited()
        if self.driver is not None:
            self.driver.process_exited(proc)

    def _apply_event(self, event: At) -> None:
        """Change what an ``[[at]]`` entry of the scenario changes."""
        machine = self.machine
        if event.vm:
            machine.set_knobs(event.vm)
        if "nr_hugepages" in event.vm:
            machine.resize_hugetlb()
        if event.swap_bytes is not None:
            swap = (event.swap_bytes + machine.spec.zram_bytes) // 4096
            machine.swap_total = max(swap, int(machine.swap_used()) + 1)
        for name, fields in event.cgroups.items():
            set_limits(machine.groups[name], fields)
            self._limits_lowered.add(machine.groups[name])
        machine.note_io_limits()
        for proc in machine.procs:
            for field, value in event.tasks.get(proc.spec.name, {}).items():
                setattr(proc, field, value)
        machine.mark_changed()

    # The rates from here.

    def _solve_until_stable(self) -> Rates:
        """The present rates, once every OOM they lead to has been dealt with."""
        machine = self.machine
        while True:
            self._enforce_limits()
            machine.settle_zram()
            run_kswapd(machine)
            machine.settle_zram()
            rates = solve(machine)
            self._note_low_memory(rates)
            if self._wake_waiting(rates):
                continue
            if not self.oom.handle_oom(rates) or self.oom.panic is not None:
                return rates

    def _enforce_limits(self) -> None:
        """Reclaim from cgroups that are above their limit because it was lowered."""
        machine = self.machine
        if not machine.groups:
            return
        count_usage(machine)
        for group in machine.groups.values():
            over = group.usage - group.max_pages
            if over <= 1.0:
                continue
            swap_left = min(machine.swap_left(), group.swap_left())
            plan = make_plan(
                pools_in(machine, group),
                swap_left=swap_left,
                swappiness=machine.sysctl.swappiness,
                waiting=0,
            )
            fits = reclaim_from(machine, plan, swap_left, over)
            count_usage(machine)
            if fits:
                continue
            if group.version == 2:
                self.oom.handle_over_limit(group)
            elif group in self._limits_lowered:
                group.max_pages = group.usage  # EBUSY: a v1 limit can't be set below usage
        self._limits_lowered.clear()

    def _note_low_memory(self, rates: Rates) -> None:
        """Remember since when memory is low somewhere."""
        machine = self.machine
        if all(domain.plan is None for domain in rates.domains.values()):
            machine.low_since_s = None
        elif machine.low_since_s is None:
            machine.low_since_s = machine.now

    def _wake_waiting(self, rates: Rates) -> bool:
        """Let tasks that wait for a page go on where there are pages again."""
        woken = False
        for demand in rates.demands:
            proc = demand.proc
            if proc is None or not (proc.spinning or proc.asleep):
                continue
            domain = demand.domain
            # A sleeping task asks for nothing, so its cgroup does not look blocked.
            stuck = domain.blocked or (
                proc.asleep and domain.plan is not None and not domain.plan.layers
            )
            coming = domain.release > 0.0 and not self.oom.waits_for_no_release(domain)
            if not stuck or coming:
                proc.spinning = proc.asleep = False
                woken = True
        if woken:
            self.machine.mark_changed()
        return woken

    # On to the next event.

    def _is_over(self) -> bool:
        """Whether nothing is left to happen, as :func:`~oomkit.scenario.definitions.outcome_of`
        means it.
        """
        lifecycle = self.lifecycle
        if lifecycle.pending_starts or lifecycle.waiting_starts:
            return False
        if self.machine.now < self._last_change_s:
            return False
        return all(p.holds_forever for p in self.machine.procs)

    def _is_left_alone(self, rates: Rates) -> bool:
        """Whether the policy has nothing more to do on a machine where all is over."""
        return self.driver is None or (not self.timers and self.driver.is_quiescent(rates))

    def _advance(self, rates: Rates, duration: float) -> None:
        """Advance to the next event, or to the end of the duration."""
        machine = self.machine
        start = machine.now
        response = response_s(machine, rates)
        until = min(self.timers.next_s, duration)
        seconds = max(min(horizon(machine, rates), until - start), _MIN_STEP_S)
        if self.driver is not None:
            seconds = max(self.driver.next_action_s(rates, seconds), _MIN_STEP_S)
        self.sampler.begin_piece(start + seconds)
        advance(machine, rates, seconds)
        machine.settle_zram()
        if self.driver is not None:
            self.driver.advance(seconds)
        machine.now = start + seconds
        self.sampler.end_piece(start, seconds, rates, response)
        if self._audit:
            accounting.audit(machine)

    def _end_run(self) -> Outcome:
        now = self.machine.now
        self.sampler.end_run()
        return outcome_of(
            panicked=self.oom.panic is not None,
            over=self._is_over(),
            frozen=self.prober.freezes(now),
            ended_s=now,
        )


def _step_is_done(proc: Proc) -> bool:
    return proc.step_left <= 1e-6 * min(proc.step_total, 1.0) + 1e-9
