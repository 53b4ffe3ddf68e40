"""The rows of the live view: processes, cgroups, records; sorted and filtered as the user asks."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import name_in, row_name
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rank import Ranked
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot
from oomkit.printable import printable
from oomkit.render.document import Part, Table, Text
from oomkit.render.layout import (
    Column,
    unbroken,
)
from oomkit.render.quantities import human_bytes, human_pages, label, seconds, share
from oomkit.top.monitor import Look
from oomkit.views.history import local_time, victim_of, what
from oomkit.views.rank import rank_table, user_name

Tab = Literal["processes", "cgroups", "guard"]
TABS: tuple[Tab, ...] = ("processes", "cgroups", "guard")

_Process = Callable[[Ranked], tuple[float | str, ...]]
PROCESS_SORTS: dict[str, _Process | None] = {
    "kill order": None,
    "rss": lambda row: (-row.task.rss_pages,),
    "swap": lambda row: (-row.task.swap_pages, -row.task.rss_pages),
    "oom_score_adj": lambda row: (-row.task.oom_score_adj, -row.task.rss_pages),
    "name": lambda row: (row.task.comm.casefold(), row.task.pid),
}
"""What processes can be sorted by."""
CGROUP_SORTS = ("tree", "nearest limit", "usage", "growth")
"""What cgroups can be sorted by."""


class Shown(msgspec.Struct, kw_only=True):
    """What the user wants to see; changed by keys.

    Attributes:
        tab: the table that is shown.
        sort: how it is sorted: a place in the tab's list.
        reverse: the other way round.
        filter: only rows with this in a name or path, or of this pid.
        chosen: the row under the cursor, a pid or path; None: the first.
        first: number of the row that is shown first.
        local_users: user ids are this machine's, and may be shown as names.
    """

    tab: Tab = "processes"
    sort: dict[Tab, int] = {}
    reverse: bool = False
    filter: str = ""
    chosen: int | str | None = None
    first: int = 0
    local_users: bool = True

    def sorts(self) -> Sequence[str]:
        """What the tab can be sorted by."""
        return {"processes": tuple(PROCESS_SORTS), "cgroups": CGROUP_SORTS, "guard": ("time",)}[
            self.tab
        ]

    @property
    def sort_name(self) -> str:
        """What the tab is sorted by."""
        return self.sorts()[self.sort.get(self.tab, 0)]

    def next_sort(self) -> None:
        """Sort by the next column."""
        self.sort[self.tab] = (self.sort.get(self.tab, 0) + 1) % len(self.sorts())
        self.first = 0

    def show(self, tab: Tab) -> None:
        """Change the table; the filter stays, and each table its order."""
        if tab != self.tab:
            self.tab, self.chosen, self.first, self.reverse = tab, None, 0, False


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a tab.

    Attributes:
        keys: what each is about: a pid, a path, or a number.
        part: makes the table of some of them, from one number up to another; a text where there is
            none.
        of: how many there are without the filter.
    """

    keys: Sequence[int | str]
    part: Callable[[int, int], Part]
    of: int


def rows_of(look: Look, shown: Shown, rules: RuleSet) -> Rows:
    """The rows of the tab that is shown."""
    if shown.tab == "processes":
        return _processes(look, shown, rules)
    return _cgroups(look, shown, rules) if shown.tab == "cgroups" else _records(look, shown)


def _processes(look: Look, shown: Shown, rules: RuleSet) -> Rows:
    snapshot = look.snapshot
    rows = [row for row in look.ranked if row.task.has_mm]
    of = len(rows)
    if shown.filter:
        rows = [row for row in rows if _has(shown.filter, snapshot, row)]
    order = PROCESS_SORTS[shown.sort_name]
    if order is not None:
        rows.sort(key=order)
    if shown.reverse:
        rows.reverse()

    def part(begin: int, end: int) -> Part:
        return rank_table(snapshot, rules, rows[begin:end], local_users=shown.local_users)

    return Rows(keys=[row.task.pid for row in rows], part=part, of=of)


def _has(words: str, snapshot: Snapshot, row: Ranked) -> bool:
    task, wanted = row.task, words.casefold()
    names = (task.comm, user_name(task.uid), task.cgroup, name_in(snapshot, task.cgroup))
    return wanted == str(task.pid) or any(wanted in name.casefold() for name in names)


def _cgroups(look: Look, shown: Shown, rules: RuleSet) -> Rows:
    snapshot = look.snapshot
    every = [memcg for memcg in snapshot.memcgs if memcg.path != "/"]
    groups = [memcg for memcg in every if _group_has(shown.filter, snapshot, memcg.path)]
    if shown.sort_name == "nearest limit":
        groups.sort(key=lambda memcg: -_used(memcg))
    elif shown.sort_name == "usage":
        groups.sort(key=lambda memcg: -memcg.usage_pages)
    elif shown.sort_name == "growth":
        groups.sort(key=lambda memcg: -look.growth.get(memcg.path, 0.0))
    if shown.reverse:
        groups.reverse()
    tree = shown.sort_name == "tree" and not shown.reverse

    def part(begin: int, end: int) -> Part:
        return _cgroup_table(look, groups[begin:end], rules, tree=tree)

    return Rows(keys=[memcg.path for memcg in groups], part=part, of=len(every))


def _group_has(words: str, snapshot: Snapshot, path: str) -> bool:
    wanted = words.casefold()
    return wanted in path.casefold() or wanted in name_in(snapshot, path).casefold()


def _used(memcg: Memcg) -> float:
    return -1.0 if not memcg.limit_pages else memcg.usage_pages / memcg.limit_pages


def _cgroup_table(look: Look, groups: Sequence[Memcg], rules: RuleSet, *, tree: bool) -> Part:
    if not groups:
        return Text("no memory cgroup to show")
    snapshot, size = look.snapshot, look.snapshot.page_size
    names = [_tree_name(snapshot, memcg.path) if tree else row_name(snapshot, memcg.path)
             for memcg in groups]  # fmt: skip
    limited = [memcg.path for memcg in groups if memcg.limit_pages is not None]
    first = {path: _dies_first(snapshot, path, rules) for path in limited}
    grows = [look.growth.get(memcg.path) for memcg in groups]

    def pages(count: int | None) -> str:
        return "-" if count is None else human_pages(count, size)

    def numbers(heading: str, cells: list[str], leaves: int) -> Column:
        return Column(heading=heading, cells=cells, right=True, leaves=leaves)

    columns = [
        Column(heading="cgroup", cells=[printable(name) for name in names], folds=True),
        numbers("usage", [pages(memcg.usage_pages) for memcg in groups], 0),
        numbers("limit", [pages(memcg.limit_pages) for memcg in groups], 0),
        numbers(
            "used", [share(m.usage_pages, m.limit_pages) if m.limit_pages else "-" for m in groups],
            7,
        ),
        numbers("high", [pages(memcg.high_pages) for memcg in groups], 3),
        numbers("swap", [pages(memcg.swap_usage_pages or None) for memcg in groups], 4),
        numbers("growth/s", [_growth(grow) for grow in grows], 5),
        numbers("to limit", [_to_limit(m, g, size) for m, g in zip(groups, grows, strict=True)], 6),
        numbers("tasks", [str(_tasks(snapshot, memcg.path)) for memcg in groups], 2),
    ]  # fmt: skip
    note = Column(heading="", cells=[first.get(memcg.path, "") for memcg in groups])
    return Table(
        columns=columns,
        styles=["yellow" if _used(memcg) > 0.9 else "" for memcg in groups],
        notes=[note],
        gap=1,
    )


def _tree_name(snapshot: Snapshot, path: str) -> str:
    """A cgroup below the one it is in: its own part of the path, and what people call it."""
    own = path.rpartition("/")[2]
    called = name_in(snapshot, path)
    known = "" if called in (own, path) or path.endswith(called) else f" ({called})"
    return "  " * (path.count("/") - 1) + own + known


def _dies_first(snapshot: Snapshot, path: str, rules: RuleSet) -> str:
    decision = decide(snapshot, Allocation(memcg=path), rules)
    if decision.action != "kill" or not decision.victims:
        return "no process can be chosen in it"
    first, more = decision.victims[0], len(decision.victims) - 1
    others = f" and {more} more" if more else ""
    return f"dies first: {label(first.comm, first.pid)}{others}"


def _growth(grow: float | None) -> str:
    if grow is None or not grow:
        return "-"
    return f"{'+' if grow > 0 else '-'}{human_bytes(abs(grow))}"


def _to_limit(memcg: Memcg, grow: float | None, page_size: int) -> str:
    if not memcg.limit_pages or grow is None or grow <= 0:
        return "-"
    return seconds(max(0, memcg.limit_pages - memcg.usage_pages) * page_size / grow)


def _tasks(snapshot: Snapshot, path: str) -> int:
    return sum(task.has_mm and in_memcg(task.cgroup, path) for task in snapshot.tasks)


def _records(look: Look, shown: Shown) -> Rows:
    guard, wanted = look.guard, shown.filter.casefold()
    cells = [
        (local_time(record.time_s), victim_of(record), unbroken(what(record)))
        for record in guard.records
    ]
    found = [row for row in cells if wanted in " ".join(row).casefold()]
    if shown.reverse:
        found.reverse()

    def part(begin: int, end: int) -> Part:
        if not found:
            nothing = "no records" + (" with that in them" if cells else "")
            return Text(printable(guard.no_records or nothing))
        times, processes, whats = map(list, zip(*found[begin:end], strict=True))
        columns = [
            Column(heading="time", cells=times),
            Column(heading="process", cells=processes, leaves=1, folds=True),
            Column(heading="what", cells=whats, words=True),
        ]
        return Table(columns=columns, gap=1)

    return Rows(keys=list(range(len(found))), part=part, of=len(cells))
