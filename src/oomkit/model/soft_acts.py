"""Softer acts than a signal in a run: reclaim, throttle and freeze, and what ends them."""

from oomkit.model.candidates import start_time
from oomkit.model.domains import count_usage, is_inside, pools_in
from oomkit.model.machine import Machine
from oomkit.model.pools import Group
from oomkit.model.reclaim import make_plan, reclaim_from
from oomkit.model.sensors import KB
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.policy.engine.easing import FREEZE, RECLAIM, Ease
from oomkit.scenario.record import SoftAct


class SoftActs:
    """Does softer acts to cgroups and processes, and takes them back in time.

    Args:
        machine: whose.
        timers: take them back.

    Attributes:
        done: what was done, in order.
    """

    def __init__(self, machine: Machine, timers: Timers) -> None:
        self.machine = machine
        self.timers = timers
        self.done: list[SoftAct] = []

    def begin(self, ease: Ease) -> bool:
        """Do one; False where it can't be done."""
        if ease.step.kind == FREEZE:
            return self._note(ease, 0.0, done=self._freeze(ease))
        group = self.machine.groups.get(ease.cgroup.lstrip("/"))
        if group is None:
            return False
        count_usage(self.machine)
        pages = ease.step.of_kb(group.usage * KB) / KB
        if ease.step.kind == RECLAIM:
            return self._note(ease, pages, done=self._reclaim(group, pages))
        return self._note(ease, pages, done=self._throttle(ease, group, max(pages, 1.0)))

    def _note(self, ease: Ease, pages: float, *, done: bool) -> bool:
        proc = self.machine.by_pid(ease.choice.candidate.pid)
        if done and proc is not None:
            self.done.append(
                SoftAct(
                    t_s=round(self.machine.now, 6),
                    act=ease.step.kind,
                    task=proc.spec.name,
                    instance=proc.instance,
                    cgroup=ease.cgroup,
                    mb=round(pages * KB / 1024, 3),
                    lasts_s=ease.step.lasts_s,
                )
            )
        return done

    def release(self, pid: int) -> None:
        """Let a process go on that is signalled."""
        proc = self.machine.by_pid(pid)
        if proc is not None and proc.frozen:
            proc.frozen = False
            self.machine.mark_changed()

    def _reclaim(self, group: Group, pages: float) -> bool:
        """Reclaim at once; the disk time of what goes to swap is not counted."""
        machine = self.machine
        swap_left = min(machine.swap_left(), group.swap_left())
        swappiness = machine.sysctl.swappiness if group.swappiness is None else group.swappiness
        plan = make_plan(
            pools_in(machine, group), swap_left=swap_left, swappiness=swappiness, waiting=1
        )
        if not plan.layers:
            return False
        reclaim_from(machine, plan, swap_left, pages)
        machine.mark_changed()
        return True

    def _throttle(self, ease: Ease, group: Group, high: float) -> bool:
        before = group.high_pages
        if before <= high:
            return False
        group.high_pages = high

        def take_back() -> None:
            if group.high_pages == high:
                group.high_pages = before
                self.machine.mark_changed()

        self.timers.call_at(self.machine.now + ease.step.lasts_s, take_back)
        self.machine.mark_changed()
        return True

    def _freeze(self, ease: Ease) -> bool:
        """Have processes stand still: they do nothing, and what they hold is not in use."""
        group = self.machine.groups.get(ease.cgroup.lstrip("/")) if ease.cgroup else None
        if group is not None:
            frozen = [proc for proc in self.machine.procs if is_inside(proc, group)]
        else:
            found = [(self.machine.by_pid(one.pid), one) for one in ease.choice.members]
            frozen = [p for p, one in found if p is not None and start_time(p) == one.start_time]
        if any(proc.frozen for proc in frozen) or not frozen:
            return False
        for proc in frozen:
            proc.frozen = True
        self.timers.call_at(self.machine.now + ease.step.lasts_s, lambda: self._thaw(tuple(frozen)))
        self.machine.mark_changed()
        return True

    def _thaw(self, procs: tuple[Proc, ...]) -> None:
        for proc in procs:
            if proc.frozen:
                proc.frozen = False
                self.machine.mark_changed()
