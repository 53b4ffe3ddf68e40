"""The event loop: jump to what happens next, see what follows from it, work out new rates."""

import heapq
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from oomkit.model import address_space
from oomkit.model.advance import horizon, move
from oomkit.model.demand import Domain
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.machine import Machine, ModelError, set_limits
from oomkit.model.oom import Oom
from oomkit.model.policy_driver import Guard
from oomkit.model.psi import Psi
from oomkit.model.reclaim import Plan, make_plan
from oomkit.model.responsiveness import Freezes, response_s
from oomkit.model.sampler import Sampler
from oomkit.model.snapshot import UPTIME_AT_START_S
from oomkit.model.solve import Regime, count_usage, solve
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
        self.freezes = Freezes()
        self.oom = Oom(self)
        self.life = Lifecycle(self)
        self.short_since = 0.0
        self._short = False
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._born: list[Proc] = []
        self._lowered: set[Group] = set()
        self.pending = 0
        self.guard = Guard(self, policy) if policy is not None and policy.when else None

    # Used by the other parts.

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Have something done at a time."""
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, act))

    def soon(self, proc: Proc) -> None:
        """A process was forked: it enters its first step after its parent's present one."""
        self._born.append(proc)

    def by_pid(self, pid: int) -> Proc | None:
        """The living process of that id."""
        return next((p for p in self.machine.procs if p.pid == pid and p.alive), None)

    def exit_pending(self, domain: Domain) -> bool:
        """Whether somebody of this domain is on the way out and will give memory back."""
        for proc in self.machine.procs:
            if proc.state != "exiting":
                continue
            group = proc.mm.group
            if domain.group is None or (group is not None and domain.group in group.chain()):
                return True
        return False

    def uptime(self) -> float:
        """Seconds since the machine was booted."""
        return UPTIME_AT_START_S + self.now

    def was_growing(self, proc: Proc) -> bool:
        """Whether it took memory in the seconds before the shortage began, or since."""
        if proc.state == "run" and proc.current.verb in address_space.GROWS:
            return True
        since = self.short_since if self._short else self.now
        return proc.grew_s is not None and proc.grew_s >= since - _RECENT_S

    def squeeze(self, pages: float) -> bool:
        """Reclaim some pages at once, as direct reclaim does for a small request."""
        machine = self.machine
        swap_left = machine.swap_total - machine.swap_used()
        plan = make_plan(
            machine.pools(), swap_left=swap_left, swappiness=machine.sysctl.swappiness, waiting=1
        )
        return take_from(machine, plan, min(pages, swap_left) if plan.anon_share else pages, pages)

    # The run.

    def run(self) -> Outcome:
        """Play until nothing is left to happen, the time is over, or the kernel panics.

        Raises:
            ModelError: the scenario needs too many events.
        """
        for task in self.scenario.tasks:
            self.life.schedule(task, 0.0)
        for event in self.scenario.at:
            self.at(event.t_s, partial(self._change, event))
        duration = self.scenario.duration_s
        while True:
            self._fire()
            regime = self._settle()
            if self.oom.panic is not None:
                return self._end("panicked")
            if self._idle() and (self.guard is None or self.guard.rests(regime)):
                return self._end("completed")
            if self.now >= duration:
                return self._end("timed_out")
            self._step(regime, duration)
            self.events += 1
            if self.events > MAX_EVENTS:
                raise ModelError(
                    f"more than {MAX_EVENTS} events in {self.now:.3f} s: "
                    "the steps are too short to be played"
                )

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= self.now + _SHORTEST_S / 2:
            heapq.heappop(self._timers)[2]()
        self._begin_born()
        if self.life.waiting:
            self.life.retry_starts()
        for proc in [p for p in self.machine.procs if p.state == "run" and _done(p)]:
            self.life.finish_step(proc)
        self._begin_born()
        self._refuse_growth()

    def _begin_born(self) -> None:
        """Let forked processes enter their first step."""
        while self._born:
            self.life.begin(self._born.pop(0))

    def _refuse_growth(self) -> None:
        """A growing heap asks for address space piece by piece."""
        if not address_space.limited(self.machine):
            return
        growing = [
            p
            for p in self.machine.procs
            if p.state == "run" and p.current.verb in address_space.GROWS
        ]
        for proc, refusal in address_space.refused(self.machine, growing):
            call = "write" if proc.current.verb == "tmpfs" else "mmap"
            self.life.deny(proc, call, proc.left, refusal)

    def _settle(self) -> Regime:
        """Rates for the present state, after whatever an OOM made of it."""
        while True:
            self._enforce_limits()
            for proc in self.machine.procs:
                if proc.end_s is not None:
                    proc.exit_dt = proc.end_s - self.now
            regime = solve(self.machine)
            self._note_shortage(regime)
            if self._wake(regime):
                continue
            if not self.oom.face(regime) or self.oom.panic is not None:
                return regime

    def _wake(self, regime: Regime) -> bool:
        """Those who waited for a page go on when there are pages again."""
        woken = False
        for demand in regime.demands:
            proc = demand.proc
            if proc is None or not (proc.spin or proc.asleep):
                continue
            domain = demand.domain
            # Who sleeps asks for nothing, so its cgroup does not look blocked.
            stuck = domain.blocked or (
                proc.asleep and domain.plan is not None and not domain.plan.layers
            )
            if not stuck or domain.release > 0.0:
                proc.spin = proc.asleep = False
                woken = True
        if woken:
            self.version += 1
        return woken

    def _note_shortage(self, regime: Regime) -> None:
        """Remember when memory ran short."""
        short = any(d.plan is not None for d in regime.domains.values())
        if short and not self._short:
            self.short_since = self.now
        self._short = short

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
            inside = [p for p in machine.pools() if p.group and group in p.group.chain()]
            swap_left = min(machine.swap_total - machine.swap_used(), group.swap_left())
            plan = make_plan(
                inside, swap_left=swap_left, swappiness=machine.sysctl.swappiness, waiting=0
            )
            fits = take_from(machine, plan, swap_left, over)
            count_usage(machine)
            if fits:
                continue
            if group.version == 2:
                self.oom.over_limit(group)
            elif group in self._lowered:
                group.max_pages = group.usage  # EBUSY: a v1 limit can't be set below that
        self._lowered.clear()

    def _idle(self) -> bool:
        """Nothing will ever happen again."""
        if self.life.unfinished or self.life.waiting:
            return False
        if any(p.state in ("run", "exiting") for p in self.machine.procs):
            return False
        return not self._timers

    def _step(self, regime: Regime, duration: float) -> None:
        until = min(self._timers[0][0] if self._timers else duration, duration)
        response = response_s(self.machine, regime)
        self.freezes.see(self.now, response)
        seconds = max(min(horizon(self.machine, regime), until - self.now), _SHORTEST_S)
        if self.guard is not None:
            seconds = max(self.guard.within(regime, seconds), _SHORTEST_S)
        self.sampler.mark(self.now + seconds)
        move(self.machine, regime, seconds)
        if self.guard is not None:
            self.guard.moved(seconds)
        start, self.now = self.now, self.now + seconds
        self.sampler.run(start, seconds, (regime.some, regime.full, regime.cpu_busy, response))
        if self.audit:
            self.machine.audit()

    def _end(self, outcome: Outcome) -> Outcome:
        frozen = self.freezes.close(self.now)
        if outcome == "timed_out" and frozen:
            return "frozen"
        if outcome == "timed_out" and not any(
            p.state in ("run", "exiting") for p in self.machine.procs
        ):
            return "completed"
        return outcome

    # Changes on the way.

    def _change(self, event: At) -> None:
        machine = self.machine
        if event.vm:
            machine.set_knobs(event.vm)
        if event.swap_bytes is not None:
            machine.swap_total = max(event.swap_bytes // 4096, int(machine.swap_used()) + 1)
        for name, fields in event.cgroups.items():
            set_limits(machine.groups[name], fields)
            self._lowered.add(machine.groups[name])
        for proc in machine.procs:
            for field, value in event.tasks.get(proc.spec.name, {}).items():
                setattr(proc, field, value)
        self.version += 1


def _done(proc: Proc) -> bool:
    return proc.left <= 1e-6 * min(proc.whole, 1.0) + 1e-9


def take_from(machine: Machine, plan: Plan, swap_left: float, pages: float) -> bool:
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
