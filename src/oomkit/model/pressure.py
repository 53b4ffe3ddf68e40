"""Stalls for memory, of tasks and of the CPUs that they run on (kernel/sched/psi.c)."""

from collections.abc import Iterable, Sequence
from typing import Final

from oomkit.model.demand import Demand
from oomkit.model.domains import is_inside
from oomkit.model.machine import Machine
from oomkit.model.pools import Group
from oomkit.model.tasks import Proc

_NEGLIGIBLE: Final = 1e-9
"""Shares of time up to this are none."""


class Thread:
    """What one thread does with its time; shares of it.

    Attributes:
        proc: whose it is; None: kswapd.
        cpu: the CPU it runs on.
        works: it runs or waits for its CPU, and does not reclaim.
        reclaims: it runs and reclaims.
        stalled: it waits for memory: asleep, or for its CPU while it reclaims.
        asleep: the part of that in which it sleeps.
        waits_io: it waits for a disk, and not for memory.
    """

    __slots__ = ("asleep", "cpu", "proc", "reclaims", "stalled", "waits_io", "works")

    def __init__(self, proc: Proc | None, works: float = 0.0, reclaims: float = 0.0) -> None:
        self.proc = proc
        self.cpu = 0
        self.works = works
        self.reclaims = reclaims
        self.stalled = self.asleep = self.waits_io = 0.0

    @property
    def runs(self) -> float:
        """Share of time in which it runs, or waits for its CPU."""
        return self.works + self.reclaims + self.stalled - self.asleep


def threads_of(machine: Machine, demands: Sequence[Demand], queue: float) -> list[Thread]:
    """The running threads with what they do, each on its CPU; none where none is stalled.

    Where the machine reclaims, kswapd does what one CPU can.
    """
    background = 0.0
    stalls = False
    for demand in demands:
        stalls = stalls or demand.stall > 0.0 or demand.kernel_cpus > 0.0
        if demand.domain.group is None:
            background += demand.kernel_cpus * demand.speed
    if not stalls:
        return []
    own = max(1.0 - 1.0 / background, 0.0) if background > 0.0 else 0.0
    threads: list[Thread] = []
    kswapd = Thread(None, 0.0, min(background, 1.0))
    for demand in demands:
        if demand.proc is None:
            continue
        part = 1.0 if demand.domain.group is not None else own
        if part < 1.0 and demand.cpu_share < 1.0 and demand.cpu_share > 0.0:
            waiting = demand.kernel_cpus * demand.speed * (1.0 / demand.cpu_share - 1.0)
            kswapd.stalled += waiting * (1.0 - part)
        if demand.cpus > 1.0:
            count = max(min(demand.proc.spec.threads, machine.cpus), 1)
            threads += [_thread(demand, part, count, queue) for _ in range(count)]
        else:
            threads.append(_thread(demand, part, 1, queue))
    if background > 0.0:
        kswapd.stalled = min(kswapd.stalled, 1.0 - kswapd.reclaims)
        threads.append(kswapd)
    _spread(threads, machine.cpus)
    return threads


def _thread(demand: Demand, reclaim_part: float, count: int, queue: float) -> Thread:
    """One of a task's threads; of reclaim for it, it does such a part itself."""
    proc, speed = demand.proc, demand.speed
    if proc is not None and proc.spinning:
        thread = Thread(proc, 0.0, min(demand.cpus_given, 1.0))
        thread.stalled = 1.0 - thread.reclaims
        return thread
    kernel = demand.kernel_cpus * reclaim_part / count
    cpus = demand.cpus / count
    share = demand.cpu_share
    works = min(cpus * speed, 1.0)
    reclaims = waiting = 0.0
    if 0.0 < share < 1.0 - _NEGLIGIBLE and cpus > 0.0:
        # It asks for more than its part of the CPUs, so it is ready whenever it does not sleep.
        ready = speed / share
        works = ready * cpus / (cpus + kernel)
        waiting = ready - works
    thread = Thread(proc, works)
    io = demand.first_read_io + demand.async_io
    if kernel <= 0.0 and demand.stall <= 0.0 and io <= 0.0:
        return thread
    if kernel > 0.0:
        reclaims = thread.reclaims = min(kernel * speed, 1.0 - works)
        waiting = max(waiting - reclaims, 0.0)
    left = 1.0 - works - reclaims
    if kernel > 0.0 or demand.stall > 0.0:
        waiting = min(waiting, left)
        asleep = thread.asleep = min(demand.stall, left - waiting)
        thread.stalled = waiting + asleep
    if io > 0.0:
        thread.waits_io = min(speed * queue * io, left - thread.stalled)
    return thread


def _spread(threads: list[Thread], cpus: int) -> None:
    """Put threads on CPUs as load balancing does: the busiest first, each where least runs."""
    if cpus <= 1:
        return
    runs = [one.works + one.reclaims + one.stalled - one.asleep for one in threads]
    loads = [0.0] * min(cpus, len(threads))
    for i in sorted(range(len(threads)), key=runs.__getitem__, reverse=True):
        least = min(loads)
        cpu = threads[i].cpu = loads.index(least)
        # One that only sleeps still counts as there, so that sleepers are spread, too.
        loads[cpu] = least + runs[i] + _NEGLIGIBLE


class _Cpu:
    """What the threads of a group do on one CPU, as if independent of each other."""

    __slots__ = ("idle", "no_stall", "none_ready", "not_busy", "reclaimers")

    def __init__(self) -> None:
        self.no_stall = self.none_ready = self.not_busy = self.idle = 1.0
        self.reclaimers: list[tuple[float, float]] = []


def pressure(threads: Iterable[Thread], *, counts_reclaimers: bool) -> tuple[float, float]:
    """PSI's some and full for memory of a set of threads, shares of time.

    A CPU is in ``some`` while one of its threads waits for memory, and in ``full`` while besides
    none could work, or while the thread that runs reclaims: then nothing else could, though it is
    ready (``psi_group_change()``; before 5.13 ``psi_memstall_tick()`` sampled this, to the same
    effect). CPUs count by the time in which they are not idle (``collect_percpu_times()``).

    Args:
        threads: the threads, on their CPUs.
        counts_reclaimers: threads that reclaim, but wait for a CPU that others have, are none that
            could work (``TSK_MEMSTALL_RUNNING``, 5.17 and 5.15.55).
    """
    cpus: dict[int, _Cpu] = {}
    for thread in threads:
        cpu = cpus.get(thread.cpu)
        if cpu is None:
            cpu = cpus[thread.cpu] = _Cpu()
        stalled = thread.reclaims + thread.stalled
        works = thread.works
        busy = 1.0 - works - stalled
        ready = works if counts_reclaimers else thread.runs
        cpu.none_ready *= 1.0 - ready if ready < 1.0 else 0.0
        cpu.not_busy *= max(0.0, busy)
        busy -= thread.waits_io
        cpu.idle *= max(0.0, busy)
        if stalled <= 0.0:
            continue
        cpu.no_stall *= 1.0 - stalled
        if thread.reclaims > 0.0:
            cpu.reclaimers.append((thread.reclaims, ready))
    some = full = awake = 0.0
    for cpu in cpus.values():
        weight = 1.0 - cpu.idle
        if weight <= 0.0:
            continue
        one = 1.0 - cpu.no_stall
        whole = cpu.none_ready - cpu.not_busy
        for reclaims, ready in cpu.reclaimers:
            if counts_reclaimers:
                others = cpu.none_ready / (1.0 - ready) if ready < 1.0 else 0.0
                whole += reclaims * (1.0 - others)
            else:
                whole += reclaims
        some += one * weight
        full += min(max(whole, 0.0), one) * weight
        awake += weight
    return (some / awake, full / awake) if awake > 0.0 else (0.0, 0.0)


def pressure_in(
    threads: Iterable[Thread], group: Group, *, counts_reclaimers: bool
) -> tuple[float, float]:
    """The same of a cgroup's threads; kswapd is in none."""
    inside = [t for t in threads if t.proc is not None and is_inside(t.proc, group)]
    return pressure(inside, counts_reclaimers=counts_reclaimers)
