"""The lines of the live view's page, for a window of a given size; knows no terminal.

One document is above its table; others are of one process, of one cgroup, of a change to come.
"""

from collections.abc import Sequence

import msgspec
from rich.cells import cell_len, chop_cells

from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import label_in, row_name
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task
from oomkit.posture.asked import Asked, Comparison, WhatIf
from oomkit.posture.assess import available_pages
from oomkit.posture.whatif import SetError, adjusted
from oomkit.printable import printable
from oomkit.render.document import Document, Part, Table, Text
from oomkit.render.layout import ELLIPSIS, Piece, Terminal, no_room, table, wrapped
from oomkit.render.quantities import count_of, human_bytes, label, percent, seconds
from oomkit.render.terminal import laid_out
from oomkit.top.guard_state import GuardState
from oomkit.top.monitor import Group, Look, Trend
from oomkit.top.rows import TABS, Rows, Shown, rows_of
from oomkit.views.cgroup import anatomy_report
from oomkit.views.decision import add_whatif, outcome, reason
from oomkit.views.history import local_time, victim_of, what
from oomkit.views.posture import pressure_text, used_gauge
from oomkit.views.rank import rank_report

_MARGIN = 10
_SOON_S = 600.0
_DAY_S = 86400.0


def header(look: Look) -> Document:
    """What stands above the table, what matters most first."""
    page = Document()
    snapshot = look.snapshot
    _row(page, "left", trend_text(look.trend), _urgency(look.trend))
    _row(page, "next", outcome(look.decision, snapshot), "bold")
    eligible = [row for row in look.ranked if row.eligible][:2]
    if eligible:
        first, second = eligible[0], eligible[1] if len(eligible) > 1 else None
        for line in reason(snapshot, look.decision, first, second, ()):
            _row(page, "", line)
    memory, size = snapshot.memory, snapshot.page_size
    page.add(used_gauge("memory", available_pages(snapshot), memory.total_ram_pages, size))
    if memory.total_swap_pages:
        page.add(used_gauge("swap", memory.free_swap_pages, memory.total_swap_pages, size))
    else:
        _row(page, "swap", "none")
    _row(page, "pressure", pressure_text(snapshot.pressure))
    texts, style = guard_lines(look.guard)
    for i, text in enumerate(texts):
        _row(page, "" if i else "guard", text, style)
    return page


def _row(page: Document, heading: str, text: str, style: str = "") -> None:
    page.text(printable(text), style, first=heading.ljust(_MARGIN), rest=" " * _MARGIN)


def _urgency(trend: Trend) -> str:
    return "bold red" if trend.empty_s is not None and trend.empty_s < _SOON_S else "bold"


def trend_text(trend: Trend) -> str:
    """``1.2 GiB of memory and swap (14 %), falling by 3 MiB a second: ...``."""
    share = percent(trend.left_bytes / trend.total_bytes) if trend.total_bytes else "-"
    text = f"{human_bytes(trend.left_bytes)} of memory and swap ({share})"
    change = trend.change_bytes_s
    if change is None:
        return f"{text}; how it changes is not known yet"
    if trend.empty_s is None:
        return f"{text}, {'steady' if change <= 0 else 'not falling'}"
    left = "more than a day" if trend.empty_s > _DAY_S else seconds(trend.empty_s)
    return (
        f"{text}, falling by {human_bytes(-change)} a second: at that rate none is left in {left}"
    )


def guard_lines(guard: GuardState) -> tuple[list[str], str]:
    """The guard in a line or two, and their style."""
    if not guard.runs:
        lines, style = ["not running, by its status file"], "dim"
    else:
        acts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in guard.acts.items())
        parts = [
            f"policy {guard.policy}" if guard.policy else "running",
            "dry run: it sends no signals" if guard.dry_run else "armed",
            guard.level,
            f"acts: {acts}" if acts else "no acts yet",
            f"{count_of(guard.under_way, 'act')} under way" if guard.under_way else "",
            f"can't write {', '.join(guard.faults)}" if guard.faults else "",
        ]
        lines = [", ".join(filter(None, parts))]
        style = "yellow" if guard.faults or guard.under_way or guard.level == "hard" else ""
    act = guard.last_act
    if act is not None:
        lines.append(f"last: {local_time(act.time_s)} {victim_of(act)} {what(act)}")
    return lines, style


def process_document(look: Look, pid: int, rules: RuleSet, command: str | None) -> Document:
    """How the decision falls on one process: what ``oomkit rank --why`` prints.

    Args:
        look: the machine.
        pid: the process.
        rules: the kernel's.
        command: its command line, as far as it could be read.
    """
    task = task_of(look.snapshot, pid)
    if task is None:
        return Document(Text(f"process {pid} has exited", "bold"))
    tasks = tuple(
        msgspec.structs.replace(one, cmdline=command) if one is task else one
        for one in look.snapshot.tasks
    )
    asked = Asked(
        snapshot=msgspec.structs.replace(look.snapshot, tasks=tasks),
        allocation=Allocation(),
        rules=rules,
        decision=look.decision,
        why_pid=pid,
    )
    page = Document(Text(label(task.comm, pid), "bold"))
    page.add(*rank_report(asked, 0, local_users=True))
    return page


def cgroup_document(look: Look, path: str, group: Group | None) -> Document:
    """What fills one cgroup: what ``oomkit cgroup PATH`` prints."""
    if group is None or group.row.found is None:
        why = "is gone, or its memory.stat can't be read by this user"
        return Document(Text(printable(f"{path} {why}"), "bold"))
    snapshot = look.snapshot
    return anatomy_report(
        group.row, group.findings, lambda one: row_name(snapshot, one), slabs=group.slabs
    )


def adjust_document(look: Look, pid: int, value: int, rules: RuleSet, key: str) -> Document:
    """Which process dies then, once the adjustment of one is another.

    Asked is an OOM of the machine and, where the process is in a cgroup with a limit, one of that.

    Args:
        look: the machine.
        pid: the process.
        value: the adjustment.
        rules: the kernel's.
        key: the file: ``oom_score_adj``, or ``oom_adj``.

    Raises:
        SetError: the process has exited, or the value is out of range.
    """
    snapshot = look.snapshot
    task = task_of(snapshot, pid)
    if task is None:
        raise SetError(f"process {pid} has exited")
    after, change = adjusted(snapshot, str(pid), value, rules, key)

    def compared(memcg: str | None) -> Comparison:
        allocation = Allocation(memcg=memcg)
        return Comparison(
            of=None if memcg is None else label_in(snapshot, memcg),
            machine=snapshot,
            before=decide(snapshot, allocation, rules),
            after=decide(after, allocation, rules),
            changed=after,
        )

    limited = [
        memcg.path
        for memcg in snapshot.memcgs
        if memcg.limit_pages is not None and memcg.path != "/" and in_memcg(task.cgroup, memcg.path)
    ]
    places = (None, *limited[-1:])  # parents come first: the last is the nearest
    found = WhatIf(
        changes=(change,),
        rules=(rules.name, rules.name),
        compared=tuple(compared(memcg) for memcg in places),
    )
    page = Document()
    add_whatif(page, found, after)
    return page


def task_of(snapshot: Snapshot, pid: int) -> Task | None:
    """The process of a pid; None: it is gone."""
    return next((task for task in snapshot.tasks if task.pid == pid), None)


_MIN_ROWS = 6
"""Lines of the table for which the lines above it give way."""
KEYS = (
    "q quit", "1 2 3 tab view", "enter see", "a adjust", "s sort", "r reverse", "/ filter",
    "space look now",
)  # fmt: skip


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


def laid_out_page(
    look: Look, shown: Shown, rules: RuleSet, terminal: Terminal, height: int
) -> Page:
    """Lay the page out, and scroll the table so that its cursor is in the window.

    Args:
        look: what was found.
        shown: what the user wants to see; the row under the cursor and the first row are set.
        rules: the kernel's.
        terminal: the window.
        height: its lines.
    """
    rows = rows_of(look, shown, rules)
    keys, foot = rows.keys, _key_lines(terminal)
    chosen = keys.index(shown.chosen) if shown.chosen in keys else 0
    shown.chosen = keys[chosen] if keys and shown.chosen is not None else None
    # No row takes less than a line, so that not more of them than lines need to be laid out.
    shown.first = max(0, min(shown.first, chosen, len(keys) - height), chosen - height + 1)
    laid = _laid_table(rows.part(shown.first, shown.first + height), terminal)
    foot = [*_text_lines(laid.left_out, terminal), *foot]
    titles = _titles(rows, shown, len(keys), terminal.width)
    fixed = len(titles) + len(laid.heading) + len(foot)
    above = _cut(list(laid_out(header(look), terminal)), height - fixed)
    room = max(1, height - len(above) - fixed)
    lines = laid.rows
    while sum(map(len, lines[: chosen - shown.first + 1])) > room and shown.first < chosen:
        lines = lines[1:]
        shown.first += 1
    lines = _whole_rows(lines, room)
    last = shown.first + len(lines)
    under = [
        _under_cursor(line, terminal.width) if i == chosen and keys else line
        for i, row in enumerate(lines, shown.first)
        for line in row
    ]
    titles = _titles(rows, shown, last, terminal.width)
    blank: list[list[Piece]] = [[]] * (room - len(under))
    page = [*above, *titles, *laid.heading, *under, *blank, *foot]
    if len(page) > height:
        sign = f"({len(page) - height + 1} more lines in a higher window)"
        page = [*page[: height - 1], [Piece(sign, "dim")]]
    return Page(
        lines=[fitted(line, terminal.width) for line in page],
        keys=keys,
        visible=keys[shown.first : last],
    )


def fitted(line: Sequence[Piece], width: int) -> list[Piece]:
    """A line of at most ``width`` cells; where something is missing it ends with an ellipsis."""
    if sum(cell_len(piece.text) for piece in line) <= width:
        return list(line)
    made, room = [], width - 1
    for piece in line:
        size = cell_len(piece.text)
        if size > room:
            begun = chop_cells(piece.text, room)[0] if room > 1 else piece.text[:room]
            begun = begun if cell_len(begun) <= room else ""
            made.append(Piece(begun + ELLIPSIS, piece.style))
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


def _whole_rows(rows: list[list[list[Piece]]], room: int) -> list[list[list[Piece]]]:
    """The rows of which all lines have room; at least one, cut with a sign if it has to be."""
    used = count = 0
    for row in rows:
        used += len(row)
        if used > room:
            break
        count += 1
    if count or not rows:
        return rows[:count]
    return [[*rows[0][: room - 1], [Piece("(more lines in a higher window)", "dim")]]]


class _Laid(msgspec.Struct, frozen=True, kw_only=True):
    """A table laid out: the lines of the headings, those of each row, and what had no room."""

    heading: list[list[Piece]]
    rows: list[list[list[Piece]]]
    left_out: str


def _laid_table(part: Part, terminal: Terminal) -> _Laid:
    if not isinstance(part, Table):
        return _Laid(heading=[], rows=[list(laid_out([part], terminal))], left_out="")
    laid = table(
        part.columns,
        terminal.width,
        notes=part.notes,
        last=part.last,
        indent=part.indent,
        gap=part.gap,
    )
    rows = []
    for i, row in enumerate(laid.rows):
        style = part.styles[i] if i < len(part.styles) else ""
        rows.append([[piece.styled(style) for piece in line] for line in row])
    return _Laid(
        heading=[[Piece(text, part.heading_style)] for text in laid.heading],
        rows=rows,
        left_out=no_room(laid.left_out) if laid.left_out else "",
    )


def _text_lines(text: str, terminal: Terminal) -> list[list[Piece]]:
    return [[Piece(line, "dim")] for line in wrapped(text, terminal.width)] if text else []


def _key_lines(terminal: Terminal) -> list[list[Piece]]:
    items = "  ".join(key.replace(" ", "\xa0") for key in KEYS)
    lines = wrapped(items.replace("  ", " \xa0"), terminal.width)
    return [[Piece(line.strip("\xa0 ").replace("\xa0", " "), "dim")] for line in lines]


def _cut(above: list[list[Piece]], height: int) -> list[list[Piece]]:
    """The lines above the table, fewer where the window is too low for them."""
    room = max(2, height - _MIN_ROWS)
    if len(above) <= room:
        return above
    hidden = len(above) - room + 1
    return [*above[: room - 1], [Piece(f"({hidden} more lines in a higher window)", "dim")]]


def _titles(rows: Rows, shown: Shown, last: int, width: int) -> list[list[Piece]]:
    """Which table it is, and which of its rows are in the window, up to number ``last``."""
    tabs = "  ".join(
        f"[{i} {tab}]" if tab == shown.tab else f"{i} {tab}" for i, tab in enumerate(TABS, 1)
    )
    order = f"by {shown.sort_name}{', reversed' if shown.reverse else ''}"
    counted = f"{shown.first + 1}-{last} of {len(rows.keys)}" if rows.keys else "none"
    if shown.filter:
        counted += f" (filter {printable(shown.filter)!r}, {rows.of} in all)"
    text = f"{tabs}  {order}  {counted}"
    return [[Piece(line.rstrip(), "reverse")] for line in wrapped(text, width, rest="  ")]


def _under_cursor(line: Sequence[Piece], width: int) -> list[Piece]:
    used = sum(cell_len(piece.text) for piece in line)
    filled = [*line, Piece(" " * max(0, width - used))]
    return [Piece(piece.text, f"{piece.style} reverse".strip()) for piece in filled]
