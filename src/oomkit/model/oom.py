"""Out of memory in a run: ask the kernel's rules, and do what they decide."""

from typing import Final

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import nearly_as_bad
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.klog.write import stamped, write_report
from oomkit.model.domains import Domain
from oomkit.model.lifecycle import Lifecycle
from oomkit.model.machine import Machine
from oomkit.model.pools import Group
from oomkit.model.snapshot import take_snapshot
from oomkit.model.solve import Rates
from oomkit.model.tasks import Proc
from oomkit.model.timers import Timers
from oomkit.records import replace
from oomkit.render.quantities import label

_SYSCALLS: Final = {"read": "read", "write": "write", "tmpfs": "write"}
"""Steps whose memory is allocated in a system call, which fails, not in a page fault."""


_MOST_UNWRITTEN_TASKS: Final = 10_000
"""So that what the log is written from takes no more than some megabytes."""


class OomKiller:
    """Calls the kernel's rules when a domain is out of memory.

    Attributes:
        panic: the panic's message; None while the machine runs.
    """

    def __init__(self, machine: Machine, lifecycle: Lifecycle, timers: Timers) -> None:
        self.machine = machine
        self.lifecycle = lifecycle
        self.timers = timers
        self.panic: str | None = None
        self._log: list[str] = []
        self._unwritten: list[tuple[Snapshot, Allocation, Decision, float]] = []
        self._unwritten_tasks = 0
        self._unresolved: dict[Group | None, int] = {}
        """The machine's change count when no victim was found: to decide again would end alike."""
        self._logged_pids: set[int] = set()

    def handle_oom(self, rates: Rates) -> bool:
        """Deal with every domain that is out of memory; returns whether anything changed."""
        changed = False
        for domain in rates.domains.values():
            if not self._is_out_of_memory(domain) or self._is_unresolved(domain.group):
                continue
            proc = self._allocating_task(rates, domain)
            if proc is not None:
                changed |= self._handle_domain(rates, domain, proc)
                if self.panic is not None:
                    return True
        return changed

    def handle_over_limit(self, group: Group) -> None:
        """Kill to fit a v2 limit that was set below usage, where reclaim is not enough.

        The loop of ``memory_max_write()`` takes microseconds. It goes on while a victim exits where
        the rules no longer wait for that.
        """
        if self._is_unresolved(group) or self.machine.exit_pending(group):
            return
        allocation = Allocation(memcg=f"/{group.name}", user_fault=False)
        killed = self._decide(allocation).action == "kill"
        while killed and self.machine.rules.memcg_hides_exiting:
            killed = self._decide(allocation).action == "kill"
        if not killed:
            self._unresolved[group] = self.machine.change_count

    def _is_out_of_memory(self, domain: Domain) -> bool:
        if not domain.blocked:
            return False
        if self.waits_for_no_release(domain):
            return True
        return domain.release <= 0.0 and not self.machine.exit_pending(domain.group)

    def waits_for_no_release(self, domain: Domain) -> bool:
        """Whether a request that fails kills its caller, without a look at who is exiting.

        That branch of ``out_of_memory()`` stands before ``select_bad_process()``, which waits.
        """
        if domain.group is not None:
            return False
        machine = self.machine
        asked = machine.sysctl.oom_kill_allocating_task and not machine.sysctl.oom_killer_disabled
        return bool(asked) and machine.rules.allocating_task != "none"

    def _is_unresolved(self, group: Group | None) -> bool:
        return self._unresolved.get(group) == self.machine.change_count

    def _allocating_task(self, rates: Rates, domain: Domain) -> Proc | None:
        """The task whose allocation fails: most likely the one that allocates most."""
        chosen, most = None, 0.0
        for demand in rates.demands:
            if demand.proc is None or demand.alloc_rate <= most:
                continue
            if demand.domain is domain:
                chosen, most = demand.proc, demand.alloc_rate
        return chosen

    def _handle_domain(self, rates: Rates, domain: Domain, proc: Proc) -> bool:
        allocation = Allocation(
            pid=proc.pid,
            memcg=f"/{domain.group.name}" if domain.group is not None else None,
            user_fault=proc.verb not in _SYSCALLS,
        )
        decision = self._decide(allocation)
        if decision.action in ("panic", "kill"):
            return True
        return self._fail_or_retry(rates, domain, decision)

    def _decide(self, allocation: Allocation) -> Decision:
        """Ask the rules, and do what they decide."""
        snapshot = take_snapshot(self.machine)
        decision = decide(snapshot, allocation, self.machine.rules)
        if decision.action in ("panic", "kill"):
            self._report(snapshot, allocation, decision)
        if decision.action == "panic":
            self.panic = decision.panic or "Out of memory"
        elif decision.action == "kill" and not self._kill(snapshot, allocation, decision):
            return replace(decision, action="none")
        elif decision.action == "would_kill":
            self._log_would_kill(snapshot, allocation, decision)
        return decision

    def _report(self, snapshot: Snapshot, allocation: Allocation, decision: Decision) -> None:
        """Note what the log says of a decision, and when."""
        self._unwritten.append((snapshot, allocation, decision, self.machine.uptime_s()))
        self._unwritten_tasks += len(snapshot.tasks)
        if self._unwritten_tasks > _MOST_UNWRITTEN_TASKS:
            self.log()

    def log(self) -> list[str]:
        """The kernel's log of the run, in the chosen version's own format.

        It is written when it is asked for; some who play a run never do.
        """
        for snapshot, allocation, decision, uptime_s in self._unwritten:
            report = write_report(snapshot, allocation, self.machine.rules, decision)
            self._log.extend(stamped(report, uptime_s))
        self._unwritten.clear()
        self._unwritten_tasks = 0
        return self._log

    def _kill(self, snapshot: Snapshot, allocation: Allocation, decision: Decision) -> bool:
        """Kill the victims; returns whether one of them was not exiting already."""
        near = self._nearly_as_bad(snapshot, allocation, decision)
        trace = (*decision.trace, *_ties(near, decision))
        tied = self._keys(near, decision)
        procs = [(victim, self.machine.by_pid(victim.pid)) for victim in decision.victims]
        killed = False
        for victim, proc in procs:
            if proc is None or proc.state == "exiting":
                continue
            self.lifecycle.kill(
                proc,
                by="kernel",
                freed_pages=victim.freed_pages,
                trace=trace,
                badness=victim.badness,
                tied_with=tuple(key for key in tied if key != proc.key),
            )
            killed = True
        if killed:
            self.machine.mark_changed()
        for _, proc in procs:
            if not killed and proc is not None and proc.end_s is not None:
                # It may be outside of the cgroup that waits: nothing else would note its exit.
                self.timers.call_at(proc.end_s, self.machine.mark_changed)
        return killed

    def _log_would_kill(
        self, snapshot: Snapshot, allocation: Allocation, decision: Decision
    ) -> None:
        """``would_have_oomkilled``: log each victim once, and kill none."""
        for victim in decision.victims:
            proc = self.machine.by_pid(victim.pid)
            if proc is None or proc.pid in self._logged_pids:
                continue
            self._logged_pids.add(proc.pid)
            self._report(snapshot, allocation, decision)
            self.lifecycle.kill(
                proc,
                by="kernel",
                freed_pages=victim.freed_pages,
                trace=decision.trace,
                badness=victim.badness,
                would_have=True,
            )

    def _nearly_as_bad(
        self, snapshot: Snapshot, allocation: Allocation, decision: Decision
    ) -> list[tuple[int, Task]]:
        """The tasks that could have been chosen instead, with their badness."""
        if decision.points is None:
            return []
        return nearly_as_bad(snapshot, allocation, self.machine.rules, decision.points)

    def _keys(self, near: list[tuple[int, Task]], decision: Decision) -> tuple[str, ...]:
        """Keys of these tasks, and of the victims."""
        pids = dict.fromkeys((*(t.pid for _, t in near), *(v.pid for v in decision.victims)))
        procs = (self.machine.by_pid(pid) for pid in pids)
        return tuple(proc.key for proc in procs if proc is not None)

    def _fail_or_retry(self, rates: Rates, domain: Domain, decision: Decision) -> bool:
        """No victim: system calls fail, page faults are retried for ever."""
        group = domain.group
        self._unresolved[group] = self.machine.change_count
        sleeps = group is not None and group.oom_kill_disable
        changed = False
        for demand in rates.demands:
            proc = demand.proc
            if proc is None or demand.alloc_rate <= 0.0 or demand.domain is not domain:
                continue
            call = _SYSCALLS.get(proc.verb)
            if call is not None and not decision.retry:
                limit = f"/{group.name}" if group is not None else "free memory"
                self.lifecycle.deny(proc, call, proc.step_left, limit)
                self.machine.mark_changed()
                changed = True
            elif sleeps and not proc.asleep:
                proc.asleep = changed = True
            elif not sleeps and not proc.spinning:
                proc.spinning = changed = True
        return changed


def _ties(near: list[tuple[int, Task]], decision: Decision) -> tuple[str, ...]:
    """A trace line on tasks of the same badness, where the order of the list decides."""
    equals = [label(task.comm, task.pid) for points, task in near if points == decision.points]
    if len(equals) < 2:
        return ()
    return (f"tie: {', '.join(equals)} have the same badness; their order in the list decides",)
