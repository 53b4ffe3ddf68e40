"""How processes start, go through their steps, and end; and the record of kills and refusals."""

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from oomkit.kernel.counters import uncounted_pages
from oomkit.model import address_space
from oomkit.model.domains import is_inside
from oomkit.model.machine import Machine
from oomkit.model.pools import Group, Mm, Pool
from oomkit.model.reclaim import reclaim_now
from oomkit.model.tasks import PAGE, PROCESS_PAGES, Proc, nominal_s
from oomkit.model.timers import Timers
from oomkit.scenario.draws import Drawn, draw
from oomkit.scenario.format import Step, Task
from oomkit.scenario.record import Denied, Kill

_MB: Final = 2**20 / PAGE

_EXIT_DELAY_S: Final = 0.005
"""From the fatal signal to the first page that is freed."""

_EXIT_SPEED: Final = 8.0
"""How many times faster an address space is torn down than faulted in."""

_HEADROOM_PAGES: Final = 64
"""Pages above half the min watermark and the zones' reserves that creating a process takes."""


class Lifecycle:
    """Starts processes, takes them from step to step, and ends them.

    Args:
        machine: where they run.
        timers: for their starts, the ends of their holds, and their exits.
        rng: draws what the scenario declares as random.
        on_start: called with each new process.
        on_kill: called before each kill that is recorded, while the victim still has its memory.
        on_exit: called with each process that is gone.

    Attributes:
        pending_starts: number of processes that are to start.
        waiting_starts: starts that wait for free memory.
        kills: what was killed, or logged by ``would_have_oomkilled``, in order.
        idle_victims: keys of the killed processes that were not growing.
        denied: requests that failed, in order.
    """

    def __init__(
        self,
        machine: Machine,
        timers: Timers,
        rng: random.Random,
        *,
        on_start: Callable[[Proc], None],
        on_kill: Callable[[], None],
        on_exit: Callable[[Proc], None],
    ) -> None:
        self.machine = machine
        self.timers = timers
        self.rng = rng
        self.pending_starts = 0
        self.waiting_starts: list[Callable[[], None]] = []
        self.kills: list[Kill] = []
        self.idle_victims: set[str] = set()
        self.denied: list[Denied] = []
        self._on_start = on_start
        self._on_kill = on_kill
        self._on_exit = on_exit
        self._next_pid = 100
        self._instances: dict[str, int] = {}
        self._forked: deque[Proc] = deque()

    # Starting.

    def schedule(
        self,
        task: Task,
        at_s: float,
        parent: Proc | None = None,
        drawn: tuple[Drawn, ...] | None = None,
    ) -> None:
        """Schedule the start of a task entry's processes.

        Args:
            task: the entry.
            at_s: what its start times count from, seconds since the start.
            parent: the process whose children they are; None: init.
            drawn: what was drawn for them; None: nothing yet.
        """
        for i, one in enumerate(draw(task, self.rng) if drawn is None else drawn):
            start = at_s + task.start_s + i * task.every_s + one.late_s
            self.pending_starts += 1
            self.timers.call_at(start, partial(self._start_or_wait, task, parent, one))

    def retry_starts(self) -> None:
        """Try again to start the processes that wait for memory."""
        waiting, self.waiting_starts = self.waiting_starts, []
        for start in waiting:
            start()

    def start_forked(self) -> None:
        """Let forked processes enter their first step; they wait for their parent's to end."""
        while self._forked:
            self.run_steps(self._forked.popleft())

    def evict(self, group: Group) -> None:
        """Start nothing in a cgroup any more, and remove its files in memory once it is empty."""
        group.evicted = True

    def _remove_files(self, group: Group | None) -> None:
        """Remove what is in tmpfs of a cgroup that was evicted when its last process is gone."""
        machine = self.machine
        for root in group.ancestry if group is not None else ():
            if not root.evicted or any(is_inside(proc, root) for proc in machine.procs):
                continue
            for owner, pool in machine.tmpfs.items():
                if owner is not None and root in owner.ancestry:
                    machine.free += pool.resident
                    machine.committed -= pool.charged
                    pool.resident = pool.swapped = pool.charged = 0.0

    def _start_or_wait(self, task: Task, parent: Proc | None, drawn: Drawn) -> None:
        group = self._group(task)
        if group is not None and any(one.evicted for one in group.ancestry):
            self.pending_starts -= 1
            return
        if self.machine.free < self._headroom() + Mm.BASE_TABLES + PROCESS_PAGES:
            self.waiting_starts.append(partial(self._start_or_wait, task, parent, drawn))
            return
        self.pending_starts -= 1
        self._start(task, parent, drawn)

    def _headroom(self) -> float:
        """Pages that have to be left free when a process is created."""
        machine = self.machine
        marks = machine.watermarks
        spared = marks.floor_pages - marks.min_pages / 2.0
        return min(spared, machine.total / 64.0) + _HEADROOM_PAGES

    def _start(self, task: Task, parent: Proc | None, drawn: Drawn) -> None:
        ppid = parent.pid if parent is not None and parent.alive else 1
        proc = self._new_process(task, ppid, self._address_space(task), drawn)
        proc.program = self._program(task)
        self.run_steps(proc)
        for child, its in zip(task.children, drawn.children, strict=True):
            self.schedule(child, self.machine.now, proc, its)

    def _address_space(self, task: Task) -> Mm:
        if task.shares_mm_with is not None:
            for other in self.machine.procs:
                if other.spec.name == task.shares_mm_with and other.alive:
                    return other.mm
        return Mm(self._next_pid, self._group(task))

    def _group(self, task: Task) -> Group | None:
        return self.machine.groups.get(task.cgroup) if task.cgroup else None

    def _program(self, task: Task) -> Pool | None:
        if not task.program_bytes:
            return None
        pool = self.machine.file(f"(program {task.name})", self._group(task))
        pool.size = max(pool.size, task.program_bytes / PAGE)
        return pool

    def _new_process(self, task: Task, ppid: int, mm: Mm, drawn: Drawn) -> Proc:
        machine = self.machine
        instance = self._instances.get(task.name, 0)
        self._instances[task.name] = instance + 1
        proc = Proc(task, instance, self._next_pid, ppid, mm, drawn)
        proc.nominal = tuple(
            nominal_s(step, scale, machine.fault_pages_s, machine.disk_pages_s)
            for step, scale in zip(task.steps, drawn.scales, strict=True)
        )
        self._next_pid += 1
        mm.users += 1
        proc.state = "run"
        proc.start_s = machine.now
        machine.add_process(proc)
        self._on_start(proc)
        return proc

    # Going through the steps.

    def run_steps(self, proc: Proc) -> None:
        """Enter the present step; steps that take no time are over at once."""
        while proc.state == "run":
            if proc.step >= len(proc.spec.steps):
                if not self._next_loop(proc):
                    return
                continue
            proc.enter(proc.spec.steps[proc.step])
            if self._enter_step(proc, proc.current):
                return
            self._leave_step(proc)

    def finish_step(self, proc: Proc) -> None:
        """End the present step and enter the next one."""
        self._leave_step(proc)
        self.run_steps(proc)

    def _leave_step(self, proc: Proc) -> None:
        if proc.step < len(proc.spec.steps):
            proc.done_s += proc.nominal[proc.step]
            if proc.grows:
                proc.last_growth_s = self.machine.now
            if proc.current.scatter:
                self._note_uncounted(proc, proc.current)
            proc.step += 1

    def _note_uncounted(self, proc: Proc, step: Step) -> None:
        """Note the pages of a step that stay in counters of its threads or of their CPUs."""
        machine = self.machine
        pages = round((step.size_bytes or 0) / PAGE * proc.scale())
        uncounted = uncounted_pages(machine.rules, machine.cpus, pages, step.scatter)
        if step.verb == "share":
            proc.mm.uncounted_shmem += uncounted
        else:
            proc.mm.uncounted_anon += uncounted

    def _next_loop(self, proc: Proc) -> bool:
        """Go back to the first step; returns False where the process exits instead."""
        proc.loop += 1
        last = proc.spec.loops is not None and proc.loop >= proc.spec.loops
        if last or not proc.spec.steps:
            self.exit(proc)
            return False
        proc.step = 0
        return True

    def _enter_step(self, proc: Proc, step: Step) -> bool:
        """Begin a step; returns whether it takes time."""
        if step.verb == "hold":
            return self._hold(proc, step)
        if step.verb == "work":
            proc.worked_s = 0.0
            seconds = float("inf") if step.seconds is None else step.seconds * proc.scale()
            proc.step_total = proc.step_left = seconds
            return proc.step_left > 0.0
        if step.verb == "exit":
            self.exit(proc)
            return True
        if step.verb == "fork":
            self._fork(proc, step.count)
            return False
        if step.verb == "free":
            size = step.size_bytes
            pages = float("inf") if size is None else size / PAGE * proc.scale()
            if step.lazy:
                address_space.free_lazily(self.machine, proc, pages)
            else:
                address_space.free_anon(self.machine, proc, pages)
            return False
        return self._enter_memory_step(proc, step)

    def _hold(self, proc: Proc, step: Step) -> bool:
        """Begin a pause that uses no CPU, for a time or for ever."""
        if step.seconds == 0.0:
            return False
        proc.state = "hold"
        if step.seconds is not None:
            place = (proc.step, proc.loop)

            def end_hold() -> None:
                # Unless it was killed meanwhile.
                if proc.state == "hold" and (proc.step, proc.loop) == place:
                    proc.state = "run"
                    self.finish_step(proc)

            self.timers.call_at(self.machine.now + step.seconds * proc.scale(), end_hold)
        return True

    def _enter_memory_step(self, proc: Proc, step: Step) -> bool:
        """Begin a step that takes address space or goes through the page cache."""
        pages = (step.size_bytes or 0) / PAGE * proc.scale()
        refusal = None
        if step.verb == "reserve":
            reserve = address_space.reserve_shared if step.shared else address_space.reserve
            refusal = reserve(self.machine, proc, pages)
        elif step.hugetlb:
            refusal = address_space.reserve_hugetlb(self.machine, proc, pages)
        if refusal is not None:
            self.deny(proc, "mmap", pages, refusal)
        if refusal is not None or step.verb == "reserve":
            return refusal is not None
        if step.stride_bytes:
            pages = pages * PAGE / step.stride_bytes
        proc.step_total = proc.step_left = pages
        return pages > 0.0

    def _fork(self, parent: Proc, count: int) -> None:
        for _ in range(count):
            mm = parent.mm
            charge = mm.charged
            need = self._headroom() + mm.tables + PROCESS_PAGES
            free = self.machine.free
            short = free < need and not reclaim_now(self.machine, need - free)
            refusal = "free memory" if short else address_space.charge(self.machine, parent, charge)
            if refusal is not None:
                self.record_denied(parent, "fork", charge, refusal)
                return
            copy = Mm(self._next_pid, mm.group)
            mm.charged -= charge
            copy.charged = charge
            address_space.copy_on_write(self.machine, mm, copy)
            child = self._new_process(parent.spec, parent.pid, copy, parent.drawn)
            child.program = parent.program
            child.oom_score_adj, child.oom_adj = parent.oom_score_adj, parent.oom_adj
            child.loop, child.done_s, child.step = parent.loop, parent.done_s, parent.step + 1
            self._forked.append(child)

    # Refusals and kills.

    def deny(self, proc: Proc, call: str, pages: float, limit: str) -> None:
        """Fail a call with ENOMEM: the process exits."""
        self.record_denied(proc, call, pages, limit)
        self.exit(proc)

    def record_denied(self, proc: Proc, call: str, pages: float, limit: str) -> None:
        """Record a call that failed with ENOMEM."""
        self.denied.append(
            Denied(
                t_s=round(self.machine.now, 6),
                task=proc.spec.name,
                instance=proc.instance,
                call=call,
                mb=round(pages / _MB, 3),
                limit=limit,
            )
        )

    def kill(
        self,
        proc: Proc,
        *,
        by: str,
        freed_pages: float,
        trace: tuple[str, ...],
        badness: int | None = None,
        tied_with: tuple[str, ...] = (),
        would_have: bool = False,
    ) -> None:
        """Record a kill and let the process exit; with ``would_have`` only record it.

        The arguments are the fields of :class:`~oomkit.scenario.record.Kill`.
        """
        self._on_kill()
        self.kills.append(
            Kill(
                t_s=round(self.machine.now, 6),
                task=proc.spec.name,
                instance=proc.instance,
                pid=proc.pid,
                by=by,
                would_have=would_have,
                badness=badness,
                oom_score_adj=proc.oom_score_adj,
                freed_mb=round(freed_pages / _MB, 3),
                work_lost_s=round(proc.cpu_s, 3),
                trace=trace,
                tied_with=tied_with,
            )
        )
        if not would_have:
            if not self.machine.was_growing(proc):
                self.idle_victims.add(proc.key)
            self.exit(proc, killed=True)

    # Exiting.

    def exit(self, proc: Proc, *, killed: bool = False) -> None:
        """Begin a process's exit, after its last step or a fatal signal."""
        if proc.state in ("exiting", "dead"):
            return
        proc.killed = killed
        proc.state = "exiting"
        proc.spinning = proc.asleep = False
        held = proc.mm.unmapped_on_exit() + proc.mm.locked + proc.mm.tables
        takes = held / (_EXIT_SPEED * self.machine.fault_pages_s)
        proc.end_s = self.machine.now + ((_EXIT_DELAY_S if killed else 0.0) + takes)
        self.timers.call_at(proc.end_s, lambda: self._finish_exit(proc))

    def _finish_exit(self, proc: Proc) -> None:
        mm, machine = proc.mm, self.machine
        mm.users -= 1
        if mm.users == 0:
            address_space.tear_down(machine, mm)
        machine.free += PROCESS_PAGES
        proc.state = "dead"
        proc.killed = False
        machine.remove_process(proc)
        self._remove_files(mm.group)
        self._on_exit(proc)
        if proc.spec.restart_s is not None:
            self.pending_starts += 1
            at_s = machine.now + proc.spec.restart_s
            self.timers.call_at(at_s, partial(self._start_or_wait, proc.spec, None, proc.drawn))
