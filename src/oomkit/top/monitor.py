"""Looks at the machine, again and again, as cheaply as that is possible."""

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Self

import msgspec

from oomkit.host.memcg_stat import Slab, read_memcg_stat, read_slabs
from oomkit.host.names import NameBook, names_of
from oomkit.host.process import with_command_lines
from oomkit.host.scan import Scanner
from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import Ranked, rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot
from oomkit.policy.engine.history import History
from oomkit.posture.anatomy_findings import Finding, findings, rates
from oomkit.posture.assess import available_pages, memory_left_pages
from oomkit.posture.cgroup_table import GroupRow, table_rows
from oomkit.top.guard_state import GuardReader, GuardState

if TYPE_CHECKING:
    from oomkit.kernel.memcg_stat import MemcgStat

HEAD = 24
"""Number of processes, the first of the kill order, that every look reads again."""
_MAX_AGE_S, _MIN_AGE_S = 10.0, 2.0
_SHARE, _MOST_SHARE, _MOVED_SHARE = 0.005, 0.02, 0.05
"""Of a CPU, for whole looks: as a rule, where that would make one older than the maximum, and where
memory moves."""
_MOVED = 0.01
"""Share of RAM by which memory has moved so far that the whole machine is looked at again."""
_RATE_OVER_S, _RATE_AFTER_S = 10.0, 3.0
"""How far back the rate looks at most, and at least: less would be chance."""
_STEADY = 1e-4
"""Share of RAM and swap a second below which memory is not falling, but wavering."""
_NAMES_S = 3600.0
"""Names of cgroups are forgotten after that, or those of all that ever were would pile up."""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What can still be had, and how that changes.

    Attributes:
        left_bytes: MemAvailable and free swap.
        total_bytes: RAM and swap.
        change_bytes_s: change of what is left over the last seconds, negative where it falls; None:
            not known yet.
        empty_s: when nothing is left at that rate; None: never, or not known yet.
    """

    left_bytes: int
    total_bytes: int
    change_bytes_s: float | None = None
    empty_s: float | None = None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one look found.

    Attributes:
        at_s: when, by the monotonic clock.
        whole_s: when the whole machine was looked at last; from then on the sizes of the head of
            the kill order alone are as of now.
        snapshot: the machine.
        decision: what an OOM of the machine would do.
        ranked: the kill order, then what can't be chosen.
        trend: what can still be had, and how that changes.
        growth: change of each cgroup's usage between the last two whole looks, bytes a second.
        guard: the guard.
    """

    at_s: float
    whole_s: float
    snapshot: Snapshot
    decision: Decision
    ranked: tuple[Ranked, ...]
    trend: Trend
    growth: dict[str, float]
    guard: GuardState


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One cgroup, looked at closely.

    Attributes:
        row: the cgroup, and what fills it.
        findings: what stands out.
        slabs: its largest slab caches, where they can be read.
    """

    row: GroupRow
    findings: tuple[Finding, ...]
    slabs: tuple[Slab, ...]


class Monitor:
    """Looks at a machine: whole now and then, and in between at what moves.

    A whole look reads every process and every cgroup. It comes when the last one is some seconds
    old, sooner where memory moved, and more rarely where it is dear, so that however many
    processes there are it takes no more than a small share of a CPU. Every other look reads
    meminfo, pressure and the head of the kill order.

    Attributes:
        rules: the kernel's.
        scanner: reads the machine.
    """

    def __init__(
        self,
        scanner: Scanner,
        rules: RuleSet,
        guard: GuardReader,
        *,
        names_root: str = "/",
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Begin.

        Args:
            scanner: reads the machine; closed with this.
            rules: the kernel's.
            guard: reads what the guard does.
            names_root: what container runtimes' files are below.
            clock: seconds.
            cpu_clock: seconds of CPU time.
        """
        self.scanner = scanner
        self.rules = rules
        self._guard = guard
        self._names_root = names_root
        self._clock, self._cpu_clock = clock, cpu_clock
        self._begun_s = clock()
        self._book, self._book_s = NameBook(names_root), self._begun_s
        self._left = History(_RATE_OVER_S, 2.0)
        self._last: Look | None = None
        self._cost_s = 0.0
        self._at_whole: Snapshot | None = None
        self._before: MemcgStat | None = None

    def __enter__(self) -> Self:
        """Return the monitor itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        self.scanner.close()

    def look(self, *, whole: bool = False, pids: Collection[int] = ()) -> Look:
        """Look at the machine.

        Args:
            whole: at all of it, whatever the last look found.
            pids: processes to read again besides the head.

        Raises:
            OSError: the proc file system can't be listed any more.
        """
        now = self._clock()
        last = self._last
        if last is None or whole or self._is_old(now - last.whole_s):
            return self._whole(now)
        head = {row.task.pid for row in last.ranked[:HEAD] if row.eligible}
        snapshot = self.scanner.look_again(last.snapshot, head.union(pids))
        if self._moved(snapshot) and now - last.whole_s >= self._cost_s / _MOVED_SHARE:
            return self._whole(now)
        return self._noted(now, last.whole_s, snapshot, last.growth)

    def group(self, look: Look, path: str) -> Group | None:
        """Look closely at a cgroup; None if it is gone or refuses.

        Args:
            look: the last look.
            path: the cgroup.
        """
        hierarchy, snapshot = self.scanner.hierarchy, look.snapshot
        stat = None if hierarchy is None else read_memcg_stat(hierarchy, path)
        if hierarchy is None or stat is None:
            return None
        before = self._before if self._before is not None and self._before.path == path else None
        if before is None or stat.at_s - before.at_s >= _RATE_OVER_S:
            self._before = stat
        rate = None if before is None else rates(before, stat)
        memcg = next((one for one in snapshot.memcgs if one.path == path), Memcg(path=path))
        seen = msgspec.structs.replace(snapshot, anatomy=(stat,))
        change = {} if rate is None else {path: rate}
        row = table_rows(seen, [memcg], self.rules, change)[0]
        found = () if row.found is None else findings(seen, stat, row.found, rate)
        slabs = read_slabs(hierarchy, path, self.scanner.proc_root, self.scanner.page_size)
        return Group(row=row, findings=tuple(found), slabs=tuple(slabs or ()))

    def command_line(self, look: Look, pid: int) -> str | None:
        """The command line of a process; None where there is none to be read."""
        tasks = tuple(task for task in look.snapshot.tasks if task.pid == pid)
        alone = msgspec.structs.replace(look.snapshot, tasks=tasks)
        alone = with_command_lines(alone, proc_root=self.scanner.proc_root)
        return alone.tasks[0].cmdline if tasks else None

    def _is_old(self, age_s: float) -> bool:
        share = min(max(self._cost_s / _SHARE, _MIN_AGE_S), _MAX_AGE_S)
        return age_s >= max(share, self._cost_s / _MOST_SHARE)

    def _moved(self, snapshot: Snapshot) -> bool:
        """Whether memory or swap is another than at the last whole look."""
        before = self._at_whole
        assert before is not None
        far = snapshot.memory.total_ram_pages * _MOVED
        swap = snapshot.memory.free_swap_pages - before.memory.free_swap_pages
        return abs(available_pages(snapshot) - available_pages(before)) > far or abs(swap) > far

    def _whole(self, now: float) -> Look:
        begin = self._cpu_clock()
        snapshot = self._named(self.scanner.snapshot(), now)
        growth = self._growth(snapshot, now)
        self._at_whole = snapshot
        look = self._noted(now, now, snapshot, growth)
        self._cost_s = self._cpu_clock() - begin
        return look

    def _named(self, snapshot: Snapshot, now: float) -> Snapshot:
        if now - self._book_s >= _NAMES_S:
            self._book, self._book_s = NameBook(self._names_root), now
        paths = dict.fromkeys(memcg.path for memcg in snapshot.memcgs)
        paths.update(dict.fromkeys(task.cgroup for task in snapshot.tasks))
        return msgspec.structs.replace(snapshot, names=names_of(paths, self._book))

    def _growth(self, snapshot: Snapshot, now: float) -> dict[str, float]:
        last, before = self._last, self._at_whole
        if last is None or before is None or now <= last.whole_s:
            return {}
        pages = {memcg.path: memcg.usage_pages for memcg in before.memcgs}
        per_s = snapshot.page_size / (now - last.whole_s)
        return {
            memcg.path: (memcg.usage_pages - pages[memcg.path]) * per_s
            for memcg in snapshot.memcgs
            if memcg.path in pages
        }

    def _noted(
        self, now: float, whole_s: float, snapshot: Snapshot, growth: dict[str, float]
    ) -> Look:
        allocation = Allocation()
        self._last = Look(
            at_s=now,
            whole_s=whole_s,
            snapshot=snapshot,
            decision=decide(snapshot, allocation, self.rules),
            ranked=rank(snapshot, allocation, self.rules),
            trend=self._trend(now, snapshot),
            growth=growth,
            guard=self._guard.read(),
        )
        return self._last

    def _trend(self, now: float, snapshot: Snapshot) -> Trend:
        memory = snapshot.memory
        left = memory_left_pages(snapshot) * snapshot.page_size
        total = (memory.total_ram_pages + memory.total_swap_pages) * snapshot.page_size
        self._left.add(now, {"left": float(left)})
        known = now - self._begun_s >= _RATE_AFTER_S
        change = self._left.change("left", _RATE_OVER_S) if known else None
        falls = change is not None and change < -_STEADY * total
        empty_s = left / -change if change is not None and falls else None
        return Trend(left_bytes=left, total_bytes=total, change_bytes_s=change, empty_s=empty_s)
