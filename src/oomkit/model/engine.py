"""The event loop: jump to what happens next, see what follows from it, work out new rates."""

import heapq
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from oomkit.model import address_space
from oomkit.model.advance import advance, horizon
from oomkit.model.demand import Domain
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.machine import Machine, ModelError, set_limits
from oomkit.model.oom import OomKiller
from oomkit.model.policy_driver import PolicyDriver
from oomkit.model.psi import Psi
from oomkit.model.reclaim import Plan, make_plan
from oomkit.model.responsiveness import FreezeTracker, response_s
from oomkit.model.sampler import Sampler
from oomkit.model.snapshot import UPTIME_AT_START_S
from oomkit.model.solve import Rates, count_usage, solve
from oomkit.model.tasks import Proc
from oomkit.policy.format import Policy
from oomkit.scenario.format import At, Scenario
from oomkit.scenario.record import Outcome

if TYPE_CHECKING:
    from oomkit.model.pools import Group

MAX_EVENTS = 200_000
"""More mean that the scenario asks for steps too short to be told apart."""

_RECENT_S = 10.0
"""Whoever took memory so shortly before a shortage was growing when it began."""

_SHORTEST_S = 1e-6
"""Two events this close are one."""


class Engine:
    """One run of a scenario.

    Attributes:
        now: seconds since the start.
        version: counts what could make an OOM end differently.
        events: how many events there were.
        audit: check the books after each of them.
        guard: the policy at work; None: the kernel is alone.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        sample_s: float,
        audit: bool = False,
        policy: Policy | None = None,
    ) -> None:
        self.scenario = scenario
        self.machine = Machine(scenario)
        self.rng = random.Random(seed)
        self.now = 0.0
        self.version = 0
        self.events = 0
        self.audit = audit
        self.psi = Psi(scenario.machine.hz)
        self.sampler = Sampler(self.machine, self.psi, sample_s)
        self.freezes = FreezeTracker()
        self.oom = OomKiller(self)
        self.lifecycle = Lifecycle(self)
        self.low_since = 0.0
        self._low = False
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._forked: list[Proc] = []
        self._limits_lowered: set[Group] = set()
        self.pending = 0
        self.driver = PolicyDriver(self, policy) if policy is not None and policy.when else None

    # Used by the other parts.

    def call_at(self, when: float, act: Callable[[], None]) -> None:
        """Have something done at a time."""
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, act))

    def schedule_step(self, proc: Proc) -> None:
        """A process was forked: it enters its first step after its parent's present one."""
        self._forked.append(proc)

    def by_pid(self, pid: int) -> Proc | None:
        """The living process of that id."""
        return next((p for p in self.machine.procs if p.pid == pid and p.alive), None)

    def exit_pending(self, domain: Domain) -> bool:
        """Whether somebody of this domain is on the way out and will give memory back."""
        for proc in self.machine.procs:
            if proc.state != "exiting":
                continue
            group = proc.mm.group
            if domain.group is None or (group is not None and domain.group in group.ancestry()):
                return True
        return False

    def uptime(self) -> float:
        """Seconds since the machine was booted."""
        return UPTIME_AT_START_S + self.now

    def was_growing(self, proc: Proc) -> bool:
        """Whether it took memory in the seconds before the shortage began, or since."""
        if proc.state == "run" and proc.current.verb in address_space.GROWING_VERBS:
            return True
        since = self.low_since if self._low else self.now
        return proc.last_growth_s is not None and proc.last_growth_s >= since - _RECENT_S

    def reclaim_now(self, pages: float) -> bool:
        """Reclaim some pages at once, as direct reclaim does for a small request."""
        machine = self.machine
        swap_left = machine.swap_total - machine.swap_used()
        plan = make_plan(
            machine.pools(), swap_left=swap_left, swappiness=machine.sysctl.swappiness, waiting=1
        )
        return reclaim_from(
            machine, plan, min(pages, swap_left) if plan.anon_share else pages, pages
        )

    # The run.

    def run(self) -> Outcome:
        """Play until nothing is left to happen, the time is over, or the kernel panics.

        Raises:
            ModelError: the scenario needs too many events.
        """
        for task in self.scenario.tasks:
            self.lifecycle.schedule(task, 0.0)
        for event in self.scenario.at:
            self.call_at(event.t_s, partial(self._apply_event, event))
        duration = self.scenario.duration_s
        while True:
            self._run_due()
            rates = self._solve_until_stable()
            if self.oom.panic is not None:
                return self._final_outcome("panicked")
            if self._is_quiescent() and (self.driver is None or self.driver.is_quiescent(rates)):
                return self._final_outcome("completed")
            if self.now >= duration:
                return self._final_outcome("timed_out")
            self._advance(rates, duration)
            self.events += 1
            if self.events > MAX_EVENTS:
                raise ModelError(
                    f"more than {MAX_EVENTS} events in {self.now:.3f} s: "
                    "the steps are too short to be played"
                )

    def _run_due(self) -> None:
        while self._timers and self._timers[0][0] <= self.now + _SHORTEST_S / 2:
            heapq.heappop(self._timers)[2]()
        self._start_forked()
        if self.lifecycle.waiting_starts:
            self.lifecycle.retry_starts()
        for proc in [p for p in self.machine.procs if p.state == "run" and _done(p)]:
            self.lifecycle.finish_step(proc)
        self._start_forked()
        self._refuse_mappings()

    def _start_forked(self) -> None:
        """Let forked processes enter their first step."""
        while self._forked:
            self.lifecycle.run_steps(self._forked.pop(0))

    def _refuse_mappings(self) -> None:
        """A growing heap asks for address space piece by piece."""
        if not address_space.can_refuse(self.machine):
            return
        growing = [
            p
            for p in self.machine.procs
            if p.state == "run" and p.current.verb in address_space.GROWING_VERBS
        ]
        for proc, refusal in address_space.refusals(self.machine, growing):
            call = "write" if proc.current.verb == "tmpfs" else "mmap"
            self.lifecycle.deny(proc, call, proc.step_left, refusal)

    def _solve_until_stable(self) -> Rates:
        """Rates for the present state, after whatever an OOM made of it."""
        while True:
            self._enforce_limits()
            for proc in self.machine.procs:
                if proc.end_s is not None:
                    proc.exit_dt = proc.end_s - self.now
            rates = solve(self.machine)
            self._note_low_memory(rates)
            if self._wake_waiting(rates):
                continue
            if not self.oom.handle_oom(rates) or self.oom.panic is not None:
                return rates

    def _wake_waiting(self, rates: Rates) -> bool:
        """Those who waited for a page go on when there are pages again."""
        woken = False
        for demand in rates.demands:
            proc = demand.proc
            if proc is None or not (proc.spinning or proc.asleep):
                continue
            domain = demand.domain
            # Who sleeps asks for nothing, so its cgroup does not look blocked.
            stuck = domain.blocked or (
                proc.asleep and domain.plan is not None and not domain.plan.layers
            )
            if not stuck or domain.release > 0.0:
                proc.spinning = proc.asleep = False
                woken = True
        if woken:
            self.version += 1
        return woken

    def _note_low_memory(self, rates: Rates) -> None:
        """Remember when memory ran short."""
        short = any(d.plan is not None for d in rates.domains.values())
        if short and not self._low:
            self.low_since = self.now
        self._low = short

    def _enforce_limits(self) -> None:
        """A cgroup above its limit, which was lowered, is reclaimed until it fits."""
        machine = self.machine
        if not machine.groups:
            return
        count_usage(machine)
        for group in machine.groups.values():
            over = group.usage - group.max_pages
            if over <= 1.0:
                continue
            inside = [p for p in machine.pools() if p.group and group in p.group.ancestry()]
            swap_left = min(machine.swap_total - machine.swap_used(), group.swap_left())
            plan = make_plan(
                inside, swap_left=swap_left, swappiness=machine.sysctl.swappiness, waiting=0
            )
            fits = reclaim_from(machine, plan, swap_left, over)
            count_usage(machine)
            if fits:
                continue
            if group.version == 2:
                self.oom.over_limit(group)
            elif group in self._limits_lowered:
                group.max_pages = group.usage  # EBUSY: a v1 limit can't be set below that
        self._limits_lowered.clear()

    def _is_quiescent(self) -> bool:
        """Nothing will ever happen again."""
        if self.lifecycle.pending_starts or self.lifecycle.waiting_starts:
            return False
        if any(p.state in ("run", "exiting") for p in self.machine.procs):
            return False
        return not self._timers

    def _advance(self, rates: Rates, duration: float) -> None:
        until = min(self._timers[0][0] if self._timers else duration, duration)
        response = response_s(self.machine, rates)
        self.freezes.update(self.now, response)
        seconds = max(min(horizon(self.machine, rates), until - self.now), _SHORTEST_S)
        if self.driver is not None:
            seconds = max(self.driver.next_action_s(rates, seconds), _SHORTEST_S)
        self.sampler.begin_piece(self.now + seconds)
        advance(self.machine, rates, seconds)
        if self.driver is not None:
            self.driver.advance(seconds)
        start, self.now = self.now, self.now + seconds
        self.sampler.end_piece(start, seconds, (rates.some, rates.full, rates.cpu_busy, response))
        if self.audit:
            self.machine.audit()

    def _final_outcome(self, outcome: Outcome) -> Outcome:
        frozen = self.freezes.close(self.now)
        if outcome == "timed_out" and frozen:
            return "frozen"
        if outcome == "timed_out" and not any(
            p.state in ("run", "exiting") for p in self.machine.procs
        ):
            return "completed"
        return outcome

    # Changes on the way.

    def _apply_event(self, event: At) -> None:
        machine = self.machine
        if event.vm:
            machine.set_knobs(event.vm)
        if event.swap_bytes is not None:
            machine.swap_total = max(event.swap_bytes // 4096, int(machine.swap_used()) + 1)
        for name, fields in event.cgroups.items():
            set_limits(machine.groups[name], fields)
            self._limits_lowered.add(machine.groups[name])
        for proc in machine.procs:
            for field, value in event.tasks.get(proc.spec.name, {}).items():
                setattr(proc, field, value)
        self.version += 1


def _done(proc: Proc) -> bool:
    return proc.step_left <= 1e-6 * min(proc.step_total, 1.0) + 1e-9


def reclaim_from(machine: Machine, plan: Plan, swap_left: float, pages: float) -> bool:
    """Reclaim pages from a plan's layers at once; returns whether all were found."""
    for layer in plan.layers:
        share = min(pages, layer.stock)
        total = sum(pool.resident for pool in layer.pools)
        for pool in layer.pools:
            part = share * pool.resident / total if total > 0 else 0.0
            if pool.kind != "file":
                part = min(part, max(swap_left, 0.0))
                swap_left -= part
                pool.swapped += part
            pool.resident -= part
            machine.free += part
            pages -= part
        if pages <= 0.5:
            return True
    return False
