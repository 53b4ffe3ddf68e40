"""How tasks come, go through their steps, and go."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from oomkit.model import address_space
from oomkit.model.advance import shrink_cow_pools
from oomkit.model.pools import Mm, Pool
from oomkit.model.tasks import PAGE, PROCESS_PAGES, Proc, draw_scales, nominal_s
from oomkit.scenario.format import Step, Task
from oomkit.scenario.record import Denied

if TYPE_CHECKING:
    from oomkit.model.engine import Engine
    from oomkit.model.machine import Machine

_MB = 2**20 / PAGE

_EXIT_DELAY_S = 0.005
"""From the fatal signal to the first page given back."""

_EXIT_SPEED = 8.0
"""Taking an address space down is so much faster than faulting it in."""

_ROOM_PAGES = 64
"""What has to be free before a process can be made."""


class Lifecycle:
    """Starts processes, takes them from step to step, and ends them."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.machine: Machine = engine.machine
        self.counts: dict[str, int] = {}
        self.next_pid = 100
        self.waiting_starts: list[Callable[[], None]] = []
        self.denied: list[Denied] = []
        self.pending_starts = 0

    # Coming.

    def schedule(self, task: Task, at_s: float, parent: Proc | None = None) -> None:
        """Plan the start of a task entry's processes."""
        rng = self.engine.rng
        for i in range(task.count):
            late = rng.random() * task.jitter_s if task.jitter_s else 0.0
            start = at_s + task.start_s + i * task.every_s + late
            self.pending_starts += 1
            self.engine.call_at(start, lambda: self._start_or_wait(task, parent))

    def _start_or_wait(self, task: Task, parent: Proc | None) -> None:
        if self.machine.free < self._headroom() + Mm.BASE_TABLES + PROCESS_PAGES:
            self.waiting_starts.append(lambda: self._start_or_wait(task, parent))
            return
        self.pending_starts -= 1
        self._start(task, parent)

    def _headroom(self) -> float:
        return min(self.machine.watermarks.min_pages / 2.0, self.machine.total / 64.0) + _ROOM_PAGES

    def retry_starts(self) -> None:
        """Let those in that had to wait for memory."""
        waiting, self.waiting_starts = self.waiting_starts, []
        for start in waiting:
            start()

    def _start(self, task: Task, parent: Proc | None) -> None:
        ppid = parent.pid if parent is not None and parent.alive else 1
        proc = self._new(task, ppid, self._address_space(task))
        proc.program = self._program(task)
        self.run_steps(proc)
        for child in task.children:
            self.schedule(child, self.engine.now, proc)

    def _address_space(self, task: Task) -> Mm:
        if task.shares_mm_with is not None:
            for other in self.machine.procs:
                if other.spec.name == task.shares_mm_with and other.alive:
                    return other.mm
        group = self.machine.groups.get(task.cgroup) if task.cgroup else None
        return Mm(self.next_pid, group)

    def _program(self, task: Task) -> Pool | None:
        if not task.program_bytes:
            return None
        group = self.machine.groups.get(task.cgroup) if task.cgroup else None
        pool = self.machine.file(f"(program {task.name})", group)
        pool.size = max(pool.size, task.program_bytes / PAGE)
        return pool

    def _new(self, task: Task, ppid: int, mm: Mm) -> Proc:
        instance = self.counts.get(task.name, 0)
        self.counts[task.name] = instance + 1
        proc = Proc(task, instance, self.next_pid, ppid, mm, draw_scales(task, self.engine.rng))
        proc.nominal = tuple(
            nominal_s(step, scale, self.machine.fault, self.machine.disk)
            for step, scale in zip(task.steps, proc.scales, strict=True)
        )
        self.next_pid += 1
        mm.users += 1
        proc.state = "run"
        proc.start_s = self.engine.now
        self.machine.add_process(proc)
        self.engine.sampler.watch(proc)
        return proc

    # Going through the steps.

    def run_steps(self, proc: Proc) -> None:
        """Enter the present step; those that take no time are done at once."""
        while proc.state == "run":
            if proc.step >= len(proc.spec.steps):
                if not self._next_loop(proc):
                    return
                continue
            proc.current = proc.spec.steps[proc.step]
            if self._begin_step(proc, proc.current):
                return
            self._complete_step(proc)

    def finish_step(self, proc: Proc) -> None:
        """The present step is done."""
        self._complete_step(proc)
        self.run_steps(proc)

    def _complete_step(self, proc: Proc) -> None:
        if proc.step < len(proc.spec.steps):
            proc.done_s += proc.nominal[proc.step]
            if proc.current.verb in address_space.GROWING_VERBS:
                proc.last_growth_s = self.engine.now
            proc.step += 1

    def _next_loop(self, proc: Proc) -> bool:
        proc.loop += 1
        last = proc.spec.loops is not None and proc.loop >= proc.spec.loops
        if last or not proc.spec.steps:
            self.exit(proc)
            return False
        proc.step = 0
        return True

    def _begin_step(self, proc: Proc, step: Step) -> bool:
        """Begin a step; returns whether it takes time."""
        if step.verb == "hold":
            if step.seconds == 0.0:
                return False
            proc.state = "hold"
            if step.seconds is not None:
                self.engine.call_at(
                    self.engine.now + step.seconds * proc.scale(), self._hold_timer(proc)
                )
            return True
        if step.verb == "work":
            proc.worked_s = 0.0
            proc.step_total = proc.step_left = (
                float("inf") if step.seconds is None else step.seconds * proc.scale()
            )
            return proc.step_left > 0.0
        if step.verb == "exit":
            self.exit(proc)
            return True
        if step.verb == "fork":
            self._fork(proc, step.count)
            return False
        if step.verb == "free":
            self._free_anon(proc, step)
            return False
        return self._begin_memory_step(proc, step)

    def _hold_timer(self, proc: Proc) -> Callable[[], None]:
        step, loop = proc.step, proc.loop

        def wake() -> None:
            if proc.state == "hold" and (proc.step, proc.loop) == (step, loop):
                proc.state = "run"
                self.finish_step(proc)

        return wake

    def _begin_memory_step(self, proc: Proc, step: Step) -> bool:
        """Steps that take address space or go through the page cache."""
        pages = (step.size_bytes or 0) / PAGE * proc.scale()
        if step.verb == "reserve":
            refusal = address_space.charge(self.machine, proc, pages)
            if refusal is not None:
                self.deny(proc, "mmap", pages, refusal)
                return True
            proc.mm.reserved += pages
            proc.mm.mapped += pages
            return False
        if step.stride_bytes:
            pages = pages * PAGE / step.stride_bytes
        proc.step_total = proc.step_left = pages
        return pages > 0.0

    def deny(self, proc: Proc, call: str, pages: float, limit: str) -> None:
        """A call failed with ENOMEM: the task gives up."""
        self.record_denied(proc, call, pages, limit)
        self.exit(proc)

    def record_denied(self, proc: Proc, call: str, pages: float, limit: str) -> None:
        """Record a call that failed."""
        self.denied.append(
            Denied(
                t_s=round(self.engine.now, 6),
                task=proc.spec.name,
                instance=proc.instance,
                call=call,
                mb=round(pages / _MB, 3),
                limit=limit,
            )
        )

    def _fork(self, parent: Proc, count: int) -> None:
        for _ in range(count):
            mm = parent.mm
            copied = mm.charged
            probe = Mm(self.next_pid, mm.group)
            need = self._headroom() + mm.tables + PROCESS_PAGES
            if self.machine.free < need and not self.engine.reclaim_now(need - self.machine.free):
                self.record_denied(parent, "fork", copied, "free memory")
                return
            refusal = address_space.charge(self.machine, parent, copied)
            if refusal is not None:
                self.record_denied(parent, "fork", copied, refusal)
                return
            mm.charged -= copied
            probe.charged = copied
            self._copy_on_write(mm, probe)
            child = self._new(parent.spec, parent.pid, probe)
            child.program = parent.program
            child.oom_score_adj, child.oom_adj = parent.oom_score_adj, parent.oom_adj
            child.scales = parent.scales
            child.loop = parent.loop
            child.done_s = parent.done_s
            child.step = parent.step + 1
            self.engine.schedule_step(child)

    def _copy_on_write(self, mm: Mm, copy: Mm) -> None:
        """Copy-on-write: what the parent has is seen by both until one writes to it."""
        anon = mm.anon
        pages = anon.resident + anon.swapped
        if pages > 0.5:
            pool = self.machine.cow_pool(mm.group)
            pool.resident, pool.swapped = anon.resident, anon.swapped
            anon.resident = anon.swapped = 0.0
            mm.cow_views.append((pool, pages))
        copy.cow_views = list(mm.cow_views)
        copy.reserved, copy.mapped, copy.tables = mm.reserved, mm.mapped, mm.tables

    def _free_anon(self, proc: Proc, step: Step) -> None:
        """Give anonymous memory back, resident and swapped alike."""
        mm = proc.mm
        wanted = float("inf") if step.size_bytes is None else step.size_bytes / PAGE * proc.scale()
        held = mm.anon.resident + mm.anon.swapped
        own = min(wanted, held)
        if held > 0.0:
            kept = 1.0 - own / held
            self.machine.free += mm.anon.resident * (1.0 - kept)
            mm.anon.resident *= kept
            mm.anon.swapped *= kept
        tables = min(own / 512.0, mm.tables - mm.BASE_TABLES)
        if tables > 0.0:
            mm.tables -= tables
            self.machine.free += tables
        shared = sum(view for _, view in mm.cow_views)
        more = min(wanted - own, shared)
        if more > 0.0:
            mm.cow_views = [(pool, view * (1.0 - more / shared)) for pool, view in mm.cow_views]
            shrink_cow_pools(self.machine)
        mm.mapped = max(mm.mapped - own - more, float(mm.BASE_VM))
        address_space.uncharge(self.machine, proc, own + more)

    # Going.

    def exit(self, proc: Proc, *, killed: bool = False) -> None:
        """Begin to take a process down, after its last step or a fatal signal."""
        if proc.state in ("exiting", "dead"):
            return
        proc.killed = killed
        proc.state = "exiting"
        proc.spinning = proc.asleep = False
        held = proc.mm.anon.resident + proc.mm.shmem.resident + proc.mm.locked + proc.mm.tables
        takes = (_EXIT_DELAY_S if killed else 0.0) + held / (_EXIT_SPEED * self.machine.fault)
        proc.end_s = self.engine.now + takes
        self.engine.call_at(proc.end_s, lambda: self._finish_exit(proc))

    def _finish_exit(self, proc: Proc) -> None:
        mm = proc.mm
        machine = self.machine
        mm.users -= 1
        if mm.users == 0:
            for pool in (mm.anon, mm.shmem):
                machine.free += pool.resident
                pool.resident = pool.swapped = 0.0
            machine.free += mm.locked + mm.tables
            mm.locked = mm.tables = 0.0
            machine.committed -= mm.charged
            mm.charged = 0.0
        machine.free += PROCESS_PAGES
        proc.state = "dead"
        proc.killed = False
        if mm.users == 0 and mm.cow_views:
            mm.cow_views = []
            shrink_cow_pools(machine)
        machine.stale = True
        machine.procs.remove(proc)
        if self.engine.driver is not None:
            self.engine.driver.process_exited(proc)
        for other in machine.procs:
            if other.ppid == proc.pid:
                other.ppid = 1
        if proc.spec.restart_s is not None:
            self.pending_starts += 1
            at = self.engine.now + proc.spec.restart_s
            self.engine.call_at(at, lambda: self._start_or_wait(proc.spec, None))
