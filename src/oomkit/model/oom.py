"""Out of memory in a run: ask the kernel's rules, and do what they decide."""

from typing import TYPE_CHECKING

import msgspec

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import near_equals, rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.klog.write import stamped, write_report
from oomkit.model.demand import Domain
from oomkit.model.snapshot import take_snapshot
from oomkit.model.solve import Rates
from oomkit.model.tasks import PAGE, Proc
from oomkit.scenario.record import Kill

if TYPE_CHECKING:
    from oomkit.model.engine import Engine
    from oomkit.model.pools import Group

_MB = 2**20 / PAGE

_SYSCALLS = {"read": "read", "write": "write", "tmpfs": "write"}
"""Steps whose memory is asked for by a system call, which fails, not by a page fault."""


def report(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    uptime_s: float,
) -> list[str]:
    """The stamped lines the kernel prints about one decision."""
    return stamped(write_report(snapshot, allocation, rules, decision), uptime_s)


class OomKiller:
    """Calls the rules when a domain is out of memory.

    Attributes:
        kills: what was decided, in order.
        panic: the panic's text; None while the machine runs.
        growing: keys of the tasks that took memory when the present shortage began.
    """

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.kills: list[Kill] = []
        self.innocents: set[str] = set()
        self.panic: str | None = None
        self.log: list[str] = []
        self._unresolved: dict[Group | None, int] = {}
        self._logged_pids: set[int] = set()

    def handle_oom(self, rates: Rates) -> bool:
        """Deal with every domain that is out of memory; returns whether anything changed."""
        changed = False
        for domain in rates.domains.values():
            if (
                not self._is_out_of_memory(domain)
                or self._unresolved.get(domain.group) == self.engine.version
            ):
                continue
            asking = self._allocating_task(rates, domain)
            if asking is not None:
                changed |= self._handle_domain(rates, domain, asking)
                if self.panic is not None:
                    return True
        return changed

    def _is_out_of_memory(self, domain: Domain) -> bool:
        return domain.blocked and domain.release <= 0.0 and not self.engine.exit_pending(domain)

    def _allocating_task(self, rates: Rates, domain: Domain) -> Proc | None:
        """Who meets the OOM: the one that asks for most, so most likely."""
        best, most = None, 0.0
        for demand in rates.demands:
            if demand.proc is None or demand.alloc_rate <= most:
                continue
            if demand.domain is domain:
                best, most = demand.proc, demand.alloc_rate
        return best

    def over_limit(self, group: "Group") -> None:
        """A v2 limit was set below what is in use, and reclaim is not enough: kill to fit."""
        if self._unresolved.get(group) == self.engine.version or self.engine.exit_pending(
            Domain(group, [])
        ):
            return
        allocation = Allocation(memcg=f"/{group.name}", user_fault=False)
        if self._decide(allocation).action != "kill":
            self._unresolved[group] = self.engine.version

    def _handle_domain(self, rates: Rates, domain: Domain, asking: Proc) -> bool:
        allocation = Allocation(
            pid=asking.pid,
            memcg=f"/{domain.group.name}" if domain.group is not None else None,
            user_fault=asking.current.verb not in _SYSCALLS,
        )
        decision = self._decide(allocation)
        if decision.action in ("panic", "kill"):
            return True
        return self._fail_or_retry(rates, domain, decision)

    def _decide(self, allocation: Allocation) -> Decision:
        """Ask the rules, and do what they decide."""
        machine = self.engine.machine
        snapshot = take_snapshot(machine, self.engine.now, machine.spec.kernel)
        decision = decide(snapshot, allocation, machine.rules)
        if decision.action in ("panic", "kill"):
            uptime_s = self.engine.uptime()
            self.log.extend(report(snapshot, allocation, machine.rules, decision, uptime_s))
        if decision.action == "panic":
            self.panic = decision.panic or "Out of memory"
        elif decision.action == "kill" and not self._kill(snapshot, allocation, decision):
            return msgspec.structs.replace(decision, action="none")
        elif decision.action == "would_kill":
            self._log_would_kill(snapshot, allocation, decision)
        return decision

    def _kill(self, snapshot: Snapshot, allocation: Allocation, decision: Decision) -> bool:
        """Have the victims die; returns whether there was one that was not dying already."""
        trace = (*decision.trace, *self._ties(snapshot, allocation, decision))
        tied = self._near_equals(snapshot, allocation, decision)
        procs = [(victim, self.engine.by_pid(victim.pid)) for victim in decision.victims]
        died = False
        for victim, proc in procs:
            if proc is None or proc.state == "exiting":
                continue
            self._record(proc, victim.badness, victim.freed_pages, trace, tied=tied)
            self.engine.lifecycle.exit(proc, killed=True)
            died = True
        if died:
            self._decide_again()
        for _, proc in procs:
            if not died and proc is not None and proc.end_s is not None:
                # It may be outside of the cgroup that waits, so that nothing else would tell.
                self.engine.call_at(proc.end_s, self._decide_again)
        return died

    def _decide_again(self) -> None:
        self.engine.version += 1

    def _log_would_kill(
        self, snapshot: Snapshot, allocation: Allocation, decision: Decision
    ) -> None:
        """``would_have_oomkilled``: the log names a task, each once, and nobody dies."""
        for victim in decision.victims:
            proc = self.engine.by_pid(victim.pid)
            if proc is not None and proc.pid not in self._logged_pids:
                self._logged_pids.add(proc.pid)
                rules = self.engine.machine.rules
                self.log.extend(report(snapshot, allocation, rules, decision, self.engine.uptime()))
                self._record(proc, victim.badness, victim.freed_pages, decision.trace, would=True)

    def _record(
        self,
        proc: Proc,
        badness: int | None,
        freed_pages: int,
        trace: tuple[str, ...],
        *,
        would: bool = False,
        tied: tuple[str, ...] = (),
    ) -> None:
        if not would and not self.engine.was_growing(proc):
            self.innocents.add(proc.key)
        self.kills.append(
            Kill(
                t_s=round(self.engine.now, 6),
                task=proc.spec.name,
                instance=proc.instance,
                pid=proc.pid,
                by="kernel",
                would_have=would,
                badness=badness,
                oom_score_adj=proc.oom_score_adj,
                freed_mb=round(freed_pages / _MB, 3),
                work_lost_s=round(proc.cpu_s, 3),
                trace=trace,
                tied_with=tuple(key for key in tied if key != proc.key),
            )
        )

    def _near_equals(
        self, snapshot: Snapshot, allocation: Allocation, decision: Decision
    ) -> tuple[str, ...]:
        """Who could as well have died, and who dies by the same decision."""
        rules = self.engine.machine.rules
        near: tuple[Task, ...] = ()
        if decision.points is not None:
            near = near_equals(snapshot, rules, allocation, decision.points)
        pids = dict.fromkeys((*(t.pid for t in near), *(v.pid for v in decision.victims)))
        procs = (self.engine.by_pid(pid) for pid in pids)
        return tuple(proc.key for proc in procs if proc is not None)

    def _ties(
        self, snapshot: Snapshot, allocation: Allocation, decision: Decision
    ) -> tuple[str, ...]:
        """Equals of the chosen one: which of them dies is decided by the order of the list."""
        if decision.points is None:
            return ()
        ranked = rank(snapshot, self.engine.machine.rules, allocation)
        equals = [f"{r.task.comm}[{r.task.pid}]" for r in ranked if r.badness == decision.points]
        if len(equals) < 2:
            return ()
        return (f"tie: {', '.join(equals)} have the same badness; their order in the list decides",)

    def _fail_or_retry(self, rates: Rates, domain: Domain, decision: Decision) -> bool:
        """Nobody dies: system calls fail, page faults are tried again for ever."""
        self._unresolved[domain.group] = self.engine.version
        sleeps = domain.group is not None and domain.group.oom_kill_disable
        changed = False
        for demand in rates.demands:
            proc = demand.proc
            if proc is None or demand.alloc_rate <= 0.0 or demand.domain is not domain:
                continue
            call = _SYSCALLS.get(proc.current.verb)
            if call is not None and not decision.retry:
                limit = f"/{domain.group.name}" if domain.group is not None else "free memory"
                self.engine.lifecycle.deny(proc, call, proc.step_left, limit)
                self.engine.version += 1
                changed = True
            elif sleeps and not proc.asleep:
                proc.asleep = changed = True
            elif not sleeps and not proc.spinning:
                proc.spinning = changed = True
        return changed
