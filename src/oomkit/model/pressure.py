"""Stalls for memory, of tasks and of the CPUs that they run on (kernel/sched/psi.c)."""

from collections.abc import Iterable
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
        works: it runs or waits for its CPU, and does not reclaim.
        reclaims: it runs and reclaims.
        stalled: it waits for memory: asleep, or for its CPU while it reclaims.
        asleep: the part of that in which it sleeps.
        waits_io: it waits for a disk, and not for memory.
    """

    __slots__ = ("asleep", "proc", "reclaims", "stalled", "waits_io", "works")

    def __init__(self, proc: Proc | None, works: float = 0.0, reclaims: float = 0.0) -> None:
        self.proc = proc
        self.works = works
        self.reclaims = reclaims
        self.stalled = self.asleep = self.waits_io = 0.0

    @property
    def runs(self) -> float:
        """Share of time in which it runs, or waits for its CPU."""
        return self.works + self.reclaims + self.stalled - self.asleep


class Cpus:
    """CPUs that have the same threads.

    Attributes:
        count: how many.
        threads: of each of them.
        load: how much of the time these run, while they are spread.
        number: of equally loaded ones the one with the lowest is next.
    """

    __slots__ = ("count", "load", "number", "threads")

    def __init__(self, count: int, threads: list[Thread]) -> None:
        self.count = count
        self.threads = threads
        self.load = 0.0
        self.number = 0


def busy_cpus(machine: Machine, demands: list[Demand], queue: float) -> list[Cpus]:
    """The CPUs that have threads, with what these do; none where no thread is stalled.

    Where the machine reclaims, kswapd does what one CPU can.
    """
    background = 0.0
    stalls = False
    for demand in demands:
        kernel = demand.kernel_cpus
        if kernel > 0.0:
            stalls = True
            if demand.domain.group is None:
                background += kernel * demand.speed
        elif demand.stall > 0.0:
            stalls = True
    if not stalls:
        return []
    own = max(1.0 - 1.0 / background, 0.0) if background > 0.0 else 0.0
    threads: list[tuple[Thread, int]] = []
    kswapd = Thread(None, 0.0, min(background, 1.0))
    for demand in demands:
        proc = demand.proc
        if proc is None:
            continue
        part = 1.0 if demand.domain.group is not None else own
        if part < 1.0 and demand.cpu_share < 1.0 and demand.cpu_share > 0.0:
            waiting = demand.kernel_cpus * demand.speed * (1.0 / demand.cpu_share - 1.0)
            kswapd.stalled += waiting * (1.0 - part)
        if demand.cpus > 1.0:
            count = max(min(proc.threads, machine.cpus), 1)
            threads.append((_thread(demand, part, count, queue), count))
        else:
            threads.append((_thread(demand, part, 1, queue), 1))
    if machine.limits_io:
        _wait_for_limits(demands, threads)
    if background > 0.0:
        kswapd.stalled = min(kswapd.stalled, 1.0 - kswapd.reclaims)
        threads.append((kswapd, 1))
    return _spread(threads, machine.cpus)


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
    works = cpus * speed
    if works > 1.0:
        works = 1.0
    reclaims = waiting = 0.0
    if 0.0 < share < 1.0 - _NEGLIGIBLE and cpus > 0.0:
        # It asks for more than its part of the CPUs, so it is ready whenever it does not sleep.
        ready = speed / share
        works = ready * cpus / (cpus + kernel)
        waiting = ready - works
    thread = Thread(proc, works)
    io = demand.first_read_io + demand.async_io
    stall = demand.stall
    if kernel <= 0.0 and stall <= 0.0 and io <= 0.0:
        return thread
    if kernel > 0.0:
        reclaims = thread.reclaims = min(kernel * speed, 1.0 - works)
        waiting = max(waiting - reclaims, 0.0)
    left = 1.0 - works - reclaims
    if kernel > 0.0 or stall > 0.0:
        if waiting > left:
            waiting = left
        asleep = left - waiting
        if stall < asleep:
            asleep = stall
        thread.asleep = asleep
        thread.stalled = waiting + asleep
    if io > 0.0:
        longer = 1.0 + demand.behind
        if queue > longer:
            longer = queue
        waits = speed * longer * io
        left -= thread.stalled
        thread.waits_io = min(left, waits)
    return thread


def _wait_for_limits(demands: list[Demand], threads: list[tuple[Thread, int]]) -> None:
    """What a thread waits for ``io.max``, and not for memory, it waits for a disk."""
    held: dict[Proc | None, float] = {}
    for d in demands:
        if d.proc is not None:
            held[d.proc] = d.speed * (d.held - d.held_stall)
    for thread, _ in threads:
        waits = held.get(thread.proc, 0.0)
        if waits > 0.0:
            left = max(1.0 - thread.works - thread.reclaims - thread.stalled, 0.0)
            thread.waits_io = min(left, thread.waits_io + waits)


def _spread(threads: list[tuple[Thread, int]], cpus: int) -> list[Cpus]:
    """Put threads on CPUs as load balancing does: the busiest first, each where least runs.

    Args:
        threads: each with how many of its kind there are.
        cpus: of the machine.
    """
    if cpus <= 1:
        return [Cpus(1, [one for one, count in threads for _ in range(count)])]
    order = [(-one.runs, i) for i, (one, _) in enumerate(threads)]
    order.sort()
    heap = [Cpus(cpus, [])]
    for idle, i in order:
        thread, left = threads[i]
        # One that only sleeps still counts as there, so that sleepers are spread, too.
        more = _NEGLIGIBLE - idle
        while left:
            least = heap[0]
            if left < least.count:
                other = Cpus(least.count - left, least.threads[:])
                other.load, other.number = least.load, len(heap)
                _push(heap, other)
                least.count = left
            least.threads.append(thread)
            left -= least.count
            least.load += more
            _sink(heap)
    return [one for one in heap if one.threads]


def _runs_less(one: Cpus, other: Cpus) -> bool:
    return one.load < other.load or (one.load == other.load and one.number < other.number)


def _push(heap: list[Cpus], one: Cpus) -> None:
    """Add to a heap whose first runs least, as :mod:`heapq` does to one of tuples."""
    at = len(heap)
    heap.append(one)
    while at > 0:
        above = (at - 1) // 2
        if not _runs_less(one, heap[above]):
            break
        heap[at] = heap[above]
        at = above
    heap[at] = one


def _sink(heap: list[Cpus]) -> None:
    """Put the first of a heap, which runs more than before, where it belongs."""
    one, at, end = heap[0], 0, len(heap)
    while (below := 2 * at + 1) < end:
        if below + 1 < end and _runs_less(heap[below + 1], heap[below]):
            below += 1
        if not _runs_less(heap[below], one):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = one


def pressure(cpus: Iterable[Cpus], *, counts_reclaimers: bool) -> tuple[float, float]:
    """PSI's some and full for memory of what threads do, shares of time.

    A CPU is in ``some`` while one of its threads waits for memory, and in ``full`` while besides
    none could work, or while the thread that runs reclaims: then nothing else could, though it is
    ready (``psi_group_change()``; before 5.13 ``psi_memstall_tick()`` sampled this, to the same
    effect). CPUs count by the time in which they are not idle (``collect_percpu_times()``).

    Args:
        cpus: the CPUs with the threads that count.
        counts_reclaimers: threads that reclaim, but wait for a CPU that others have, are none that
            could work (``TSK_MEMSTALL_RUNNING``, 5.17 and 5.15.55).
    """
    some = full = awake = 0.0
    for one in cpus:
        part, whole, weight = _of_one(one.threads, counts_reclaimers)
        weight *= one.count
        some += part * weight
        full += whole * weight
        awake += weight
    return (some / awake, full / awake) if awake > 0.0 else (0.0, 0.0)


def _of_one(threads: list[Thread], counts_reclaimers: bool) -> tuple[float, float, float]:
    """Of one CPU some, full, and how long it is not idle: as if threads were independent."""
    no_stall = none_ready = not_busy = idle = 1.0
    reclaimers: list[tuple[float, float]] = []
    for thread in threads:
        works, reclaims, stalls = thread.works, thread.reclaims, thread.stalled
        stalled = reclaims + stalls
        busy = 1.0 - works - stalled
        ready = works if counts_reclaimers else works + reclaims + stalls - thread.asleep
        none_ready *= 1.0 - ready if ready < 1.0 else 0.0
        if busy < 0.0:
            busy = 0.0
        not_busy *= busy
        busy -= thread.waits_io
        if busy < 0.0:
            busy = 0.0
        idle *= busy
        if stalled <= 0.0:
            continue
        no_stall *= 1.0 - stalled
        if reclaims > 0.0:
            reclaimers.append((reclaims, ready))
    some = 1.0 - no_stall
    full = none_ready - not_busy
    for reclaims, ready in reclaimers:
        if counts_reclaimers:
            others = none_ready / (1.0 - ready) if ready < 1.0 else 0.0
            full += reclaims * (1.0 - others)
        else:
            full += reclaims
    return some, min(max(full, 0.0), some), max(1.0 - idle, 0.0)


def pressure_in(
    cpus: Iterable[Cpus], group: Group, *, counts_reclaimers: bool
) -> tuple[float, float]:
    """The same of a cgroup's threads; kswapd is in none."""
    inside = []
    for one in cpus:
        threads = [t for t in one.threads if t.proc is not None and is_inside(t.proc, group)]
        if threads:
            inside.append(Cpus(one.count, threads))
    return pressure(inside, counts_reclaimers=counts_reclaimers)
