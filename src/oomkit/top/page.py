"""The lines of the live view's page, for a window of a given size; knows no terminal."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from rich.cells import cell_len, chop_cells

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
    Piece,
    Terminal,
    no_room,
    shortened,
    table,
    unbroken,
    wrapped,
)
from oomkit.render.quantities import human_bytes, human_pages, label, seconds, share
from oomkit.render.terminal import laid_out
from oomkit.top.documents import header
from oomkit.top.monitor import Look
from oomkit.views.history import local_time, victim_of, what
from oomkit.views.rank import rank_table, user_name

Tab = Literal["processes", "cgroups", "guard"]
TABS: tuple[Tab, ...] = ("processes", "cgroups", "guard")
MAX_ROWS = 100
"""Rows that are laid out; a filter finds the others."""
_MAX_DECISIONS = 40
"""Cgroups for which it is worked out which process dies first there."""
_MIN_ROWS = 6
"""Lines of the table for which the lines above it give way."""
KEYS = (
    "q quit", "1 2 3 tab view", "enter see", "a adjust", "s sort", "r reverse", "/ filter",
    "space look now",
)  # fmt: skip

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
        first: line of the table that is shown first.
    """

    tab: Tab = "processes"
    sort: dict[Tab, int] = {}
    reverse: bool = False
    filter: str = ""
    chosen: int | str | None = None
    first: int = 0

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
        """Change the table; filter and order of that one are as they were left."""
        if tab != self.tab:
            self.tab, self.chosen, self.first, self.reverse = tab, None, 0, False


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a tab.

    Attributes:
        keys: what each is about: a pid, a path, or a number.
        part: the table, or a text where there is none.
        of: how many there are in all.
        found: how many the filter lets through.
    """

    keys: Sequence[int | str]
    part: Part
    of: int
    found: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of the window.

    Attributes:
        lines: as many as the window has.
        keys: what the rows are about, in their order.
        visible: those of them that are in the window.
    """

    lines: list[list[Piece]]
    keys: Sequence[int | str]
    visible: Sequence[int | str]


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
    found, rows = len(rows), rows[:MAX_ROWS]
    part = rank_table(snapshot, rules, rows, local_users=True)
    return Rows(keys=[row.task.pid for row in rows], part=part, of=of, found=found)


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
    found, groups = len(groups), groups[:MAX_ROWS]
    part = _cgroup_table(look, groups, rules, tree=shown.sort_name == "tree" and not shown.reverse)
    return Rows(keys=[memcg.path for memcg in groups], part=part, of=len(every), found=found)


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
    limited = [memcg.path for memcg in groups if memcg.limit_pages is not None][:_MAX_DECISIONS]
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
    note = Column(heading="dies first", cells=[first.get(memcg.path, "") for memcg in groups])
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
        return "none can be chosen"
    first, more = decision.victims[0], len(decision.victims) - 1
    return label(first.comm, first.pid) + (f" and {more} more" if more else "")


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
    if not found:
        why = guard.no_records or "no records" + (" with that in them" if cells else "")
        return Rows(keys=[], part=Text(printable(why)), of=len(cells), found=0)
    times, processes, whats = map(list, zip(*found, strict=True))
    columns = [
        Column(heading="time", cells=times),
        Column(heading="process", cells=processes, leaves=1, folds=True),
        Column(heading="what", cells=whats, words=True),
    ]
    part = Table(columns=columns, gap=1)
    return Rows(keys=list(range(len(found))), part=part, of=len(cells), found=len(found))


def laid_out_page(
    look: Look, shown: Shown, rules: RuleSet, terminal: Terminal, height: int
) -> Page:
    """Lay the page out, and scroll the table so that its cursor is in the window.

    Args:
        look: what was found.
        shown: what the user wants to see; the row under the cursor and the first line are set.
        rules: the kernel's.
        terminal: the window.
        height: its lines.
    """
    rows = rows_of(look, shown, rules)
    heading, lines, left_out = _table_lines(rows, terminal)
    foot = [*_text_lines(left_out, terminal), *_key_lines(terminal)]
    above = _cut(list(laid_out(header(look), terminal)), height, len(heading) + len(foot))
    title_room = max(terminal.width, 1)
    titles = _titles(rows, shown, "", title_room)
    room = max(1, height - len(above) - len(titles) - len(heading) - len(foot))
    chosen = rows.keys.index(shown.chosen) if shown.chosen in rows.keys else 0
    shown.chosen = rows.keys[chosen] if rows.keys and shown.chosen is not None else None
    begin = sum(map(len, lines[:chosen]))
    end = begin + (len(lines[chosen]) if lines else 0)
    flat = [(i, line) for i, row in enumerate(lines) for line in row]
    shown.first = max(0, min(shown.first, begin, len(flat) - room))
    if end > shown.first + room:
        shown.first = min(begin, end - room)
    window = flat[shown.first : shown.first + room]
    numbers = list(dict.fromkeys(i for i, _ in window))
    seen = f"{numbers[0] + 1}-{numbers[-1] + 1} of " if rows.keys else ""
    titles = _titles(rows, shown, seen, title_room)[: len(titles)]
    table_lines = [
        _under_cursor(line, terminal.width) if i == chosen and rows.keys else line
        for i, line in window
    ]
    blank: list[list[Piece]] = [[]] * (room - len(table_lines))
    page = [*above, *titles, *heading, *table_lines, *blank, *foot]
    if len(page) > height:
        sign = f"({len(page) - height + 1} more lines in a higher window)"
        page = [*page[: height - 1], [Piece(sign, "dim")]]
    return Page(
        lines=[fitted(line, terminal.width) for line in page],
        keys=rows.keys,
        visible=[rows.keys[i] for i in numbers if rows.keys],
    )


def fitted(line: Sequence[Piece], width: int) -> list[Piece]:
    """A line of at most ``width`` cells; where something is missing it ends with an ellipsis."""
    if sum(cell_len(piece.text) for piece in line) <= width:
        return list(line)
    made, room = [], width
    for piece in line:
        size = cell_len(piece.text)
        if size >= room:
            made.append(Piece(shortened(piece.text + " ", room), piece.style))
            break
        made.append(piece)
        room -= size
    return made


def folded(line: Sequence[Piece], width: int) -> list[list[Piece]]:
    """A line as so many that each fits; of what must not be broken nothing is lost."""
    lines: list[list[Piece]] = [[]]
    room = width
    for piece in line:
        for i, text in enumerate(chop_cells(piece.text, width) if piece.text else []):
            if i or cell_len(text) > room:
                lines.append([])
                room = width
            lines[-1].append(Piece(text, piece.style))
            room -= cell_len(text)
    return lines


def _table_lines(
    rows: Rows, terminal: Terminal
) -> tuple[list[list[Piece]], list[list[list[Piece]]], str]:
    """The lines of the headings, those of each row, and what there was no room for."""
    part = rows.part
    if not isinstance(part, Table):
        return [], [list(laid_out([part], terminal))], ""
    laid = table(
        part.columns,
        terminal.width,
        notes=part.notes,
        last=part.last,
        indent=part.indent,
        gap=part.gap,
    )
    lines = []
    for i, row in enumerate(laid.rows):
        style = part.styles[i] if i < len(part.styles) else ""
        lines.append([[piece.styled(style) for piece in line] for line in row])
    headings = [[Piece(text, part.heading_style)] for text in laid.heading]
    return headings, lines, no_room(laid.left_out) if laid.left_out else ""


def _text_lines(text: str, terminal: Terminal) -> list[list[Piece]]:
    return [[Piece(line, "dim")] for line in wrapped(text, terminal.width)] if text else []


def _key_lines(terminal: Terminal) -> list[list[Piece]]:
    items = "  ".join(key.replace(" ", "\xa0") for key in KEYS)
    lines = wrapped(items.replace("  ", " \xa0"), terminal.width)
    return [[Piece(line.strip("\xa0 ").replace("\xa0", " "), "dim")] for line in lines]


def _cut(above: list[list[Piece]], height: int, others: int) -> list[list[Piece]]:
    """The lines above the table, fewer where the window is too low for them."""
    room = max(2, height - others - 1 - _MIN_ROWS)
    if len(above) <= room:
        return above
    hidden = len(above) - room + 1
    return [*above[: room - 1], [Piece(f"({hidden} more lines in a higher window)", "dim")]]


def _titles(rows: Rows, shown: Shown, seen: str, width: int) -> list[list[Piece]]:
    tabs = "  ".join(
        f"[{i} {tab}]" if tab == shown.tab else f"{i} {tab}" for i, tab in enumerate(TABS, 1)
    )
    order = f"by {shown.sort_name}{', reversed' if shown.reverse else ''}"
    left = rows.found - len(rows.keys)
    counted = f"{seen}{len(rows.keys)}"
    if left > 0 and rows.keys:
        counted += f", {left} more by a filter"
    if shown.filter:
        counted += f" (filter {printable(shown.filter)!r}, {rows.of} in all)"
    text = f"{tabs}  {order}  {counted}".replace(" more by", "\xa0more\xa0by")
    return [[Piece(line.rstrip(), "reverse")] for line in wrapped(text, width, rest="  ")]


def _under_cursor(line: Sequence[Piece], width: int) -> list[Piece]:
    used = sum(cell_len(piece.text) for piece in line)
    filled = [*line, Piece(" " * max(0, width - used))]
    return [Piece(piece.text, f"{piece.style} reverse".strip()) for piece in filled]
