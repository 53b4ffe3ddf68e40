"""The processes of a snapshot as task entries of a scenario."""

from collections.abc import Iterator, Mapping
from itertools import count

from oomkit.kernel.rank import rank
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.model.pools import Mm
from oomkit.model.tasks import PAGE, PROCESS_PAGES
from oomkit.records import Record
from oomkit.scenario import format as scenario

SMALL_PAGES = 256
"""Mapped files below this size are not worth a file of their own."""

_SINGLES = 20
"""The first tasks of the kill order stand by themselves; the others are put together by name."""
_FORBIDDEN_IN_NAMES = " .=[]\"'"
_NOBODY = 65534
_TABLE_SPAN = 512
_RUNS_S = 5.0
"""How long a task with a program of some size runs, for the program to be in memory."""


class Entry(Record, kw_only=True):
    """A ``[[task]]`` in the making; amounts are pages of 4 KiB for each of its processes."""

    name: str
    like: Task
    count: int
    anon: int
    share: int
    program: int
    swap: int
    cgroup: str | None
    reads: list[tuple[int, str]] = []
    children: "list[Entry]" = []

    def tables(self) -> float:
        """Page tables of one of its processes."""
        return Mm.BASE_TABLES + (self.anon + self.swap + self.share) / _TABLE_SPAN

    def resident(self) -> float:
        """What all of it takes of memory besides page cache."""
        return self.count * (self.anon + self.share + self.tables() + PROCESS_PAGES)


class Entries:
    """Puts the processes of a snapshot together into entries.

    Args:
        snapshot: the machine.
        rules: its kernel's rules.
        cgroups: the scenario's name of each cgroup, by path.
        notes: gets what has to be known about the result.
    """

    def __init__(
        self, snapshot: Snapshot, rules: RuleSet, cgroups: Mapping[str, str], notes: list[str]
    ) -> None:
        self.snapshot = snapshot
        self.rules = rules
        self.cgroups = cgroups
        self.notes = notes
        self.scale = snapshot.page_size / PAGE
        self.names: set[str] = set()

    def of(self, tasks: list[Task]) -> tuple[list[Entry], list[Entry]]:
        """Entries in the order of creation: those at the top, and all of them."""
        alone = {row.task.pid for row in rank(self.snapshot, Allocation(), self.rules)[:_SINGLES]}
        pids = {task.pid for task in tasks}
        forks = self.rules.children != "none"
        parents = {task.ppid for task in tasks if task.ppid in pids} if forks else set()
        alone |= parents
        together: dict[object, list[Task]] = {}
        for task in tasks:
            above = task.ppid if task.ppid in parents else 0
            kind = (task.comm, task.cgroup, task.oom_score_adj, task.oom_adj, _uid(task), above)
            together.setdefault(task.pid if task.pid in alone else kind, []).append(task)
        roots: list[Entry] = []
        everyone: list[Entry] = []
        by_pid: dict[int, Entry] = {}
        for members in together.values():
            entry = self._entry(members)
            everyone.append(entry)
            by_pid[members[0].pid] = entry
            parent = by_pid.get(members[0].ppid) if members[0].ppid in parents else None
            (roots if parent is None else parent.children).append(entry)
        if len(everyone) < len(tasks):
            self.notes.append(
                f"{len(tasks)} processes stand as {len(everyone)} tasks: beyond the first "
                f"{_SINGLES} of the kill order those of one name and cgroup have their mean size"
            )
        return roots, everyone

    def _entry(self, members: list[Task]) -> Entry:
        def mean(field: str) -> int:
            return int(sum(getattr(t, field) or 0 for t in members) * self.scale) // len(members)

        first = members[0]
        rss, swap, share = mean("rss_pages"), mean("swap_pages"), mean("shmem_rss_pages")
        program = min(mean("file_rss_pages"), rss) - Mm.BASE_RSS
        share = min(share, max(rss - program - Mm.BASE_RSS, 0))
        anon = rss - share - program - Mm.BASE_RSS
        if program < SMALL_PAGES:
            anon, program = anon + program, 0
        entry = Entry(
            name=self._name(first.comm), like=first, count=len(members), anon=max(anon, 0),
            share=share, program=program, swap=swap, cgroup=self.cgroups.get(first.cgroup),
            reads=[], children=[],
        )  # fmt: skip
        if self.rules.pgtables != "none":
            # Badness counts both alike, and how tables come to be is not known.
            entry.anon = max(entry.anon + mean("pgtable_pages") - int(entry.tables()), 0)
        return entry

    def share_out(self, entries: list[Entry], shmem_pages: int) -> None:
        """Shared memory counts for each that maps it, but is there only once."""
        mapped = sum(entry.share * entry.count for entry in entries)
        if mapped <= shmem_pages:
            return
        part = shmem_pages / mapped
        for entry in entries:
            hot = int(entry.share * part)
            entry.program += entry.share - hot
            entry.share = hot
        self.notes.append(
            "which processes share memory is not known: each has its part of it, and the rest of "
            "what it maps counts as page cache"
        )

    def _name(self, comm: str) -> str:
        name = "".join(c if c.isprintable() and c not in _FORBIDDEN_IN_NAMES else "_" for c in comm)
        name = unused(name[:58] or "_", self.names)
        self.names.add(name)
        return name


def task_of(entry: Entry) -> scenario.Task:
    """An entry as the scenario has it."""
    return scenario.Task(
        name=entry.name,
        count=entry.count,
        oom_score_adj=entry.like.oom_score_adj,
        oom_adj=entry.like.oom_adj,
        uid=_uid(entry.like),
        nice=min(max(entry.like.nice, -20), 19),
        threads=max(entry.like.threads, 1),
        program_bytes=entry.program * PAGE,
        cgroup=entry.cgroup,
        children=tuple(map(task_of, entry.children)),
        steps=tuple(_steps(entry)),
    )


def _steps(entry: Entry) -> Iterator[scenario.Step]:
    # A program is in memory as far as its task has run.
    over = _RUNS_S if entry.program else None
    pages = max(entry.anon + entry.swap, 1 if over else 0)
    if pages:
        yield scenario.Step(verb="touch", size_bytes=pages * PAGE, over_s=over)
    if entry.share:
        yield scenario.Step(verb="share", size_bytes=entry.share * PAGE)
    for pages, file in entry.reads:
        yield scenario.Step(verb="read", size_bytes=pages * PAGE, file=file)
    yield scenario.Step(verb="hold")


def _uid(task: Task) -> int:
    """User 0 has every capability here, and only what has them may be it."""
    if task.cap_sys_admin:
        return 0
    return min(task.uid, 2**32 - 2) if task.uid > 0 else _NOBODY


def unused(name: str, taken: set[str]) -> str:
    """A name that is not taken: itself, or with a number."""
    if name not in taken:
        return name
    return next(f"{name}-{n}" for n in count(2) if f"{name}-{n}" not in taken)
