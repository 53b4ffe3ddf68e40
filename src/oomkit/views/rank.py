"""The whole answer of ``oomkit rank`` for a terminal."""

from collections.abc import Sequence

from oomkit.kernel.why import why
from oomkit.posture.asked import Asked
from oomkit.posture.groups import By, Group, grouped
from oomkit.printable import printable
from oomkit.render.document import Document, Part, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import human_pages
from oomkit.views.decision import label
from oomkit.views.rank_text import (
    add_heading,
    add_why,
    rank_table,
    shown_rows,
    user_name,
)


def rank_report(asked: Asked, top: int, *, local_users: bool) -> Document:
    """What was changed, what is decided and why, and the kill order.

    Args:
        asked: the question and its answer.
        top: how many processes, or groups; 0 for all.
        local_users: user ids are this machine's, and may be shown as names.
    """
    page = Document()
    snapshot, rules = asked.snapshot, asked.rules
    if asked.whatif is not None:
        from oomkit.views.what_if import add_whatif

        add_whatif(page, asked.whatif, snapshot)
        page.line()
    ranked = asked.ranked()
    # With a change asked for, its own commands are enough.
    advise = asked.why_pid is None and asked.whatif is None
    add_heading(page, asked, ranked, advise=advise)
    page.line()
    if asked.why_pid is not None:
        allocation, decision = asked.allocation, asked.decision
        reasons = why(snapshot, allocation, rules, decision, asked.why_pid)
        add_why(page, snapshot, reasons, rules)
        return page
    if asked.by is not None:
        groups = grouped(snapshot, ranked, asked.by)
        shown, size = groups[: top or None], snapshot.page_size
        left_out = len(groups) - len(shown)
        page.add(groups_table(shown, asked.by, size, local_users=local_users))
    else:
        rows, left_out = shown_rows(ranked, top)
        page.add(rank_table(snapshot, rules, rows, local_users=local_users))
    if left_out:
        page.line(f"({left_out} more; --top 0 shows all)")
    return page


def groups_table(groups: Sequence[Group], by: By, page_size: int, *, local_users: bool) -> Part:
    """Groups in the order in which they lose a process.

    Args:
        groups: the groups.
        by: what they are.
        page_size: bytes in a page.
        local_users: user ids are this machine's, and may be shown as names.
    """
    if not groups:
        return Text("no process to show")
    firsts = [group.first for group in groups]
    badness = ["-" if f is None or f.badness is None else str(f.badness) for f in firsts]
    columns = [
        Column(heading="#", cells=[str(i) for i in range(1, len(groups) + 1)], right=True),
        Column(heading=by, cells=[_name(g, by, local_users) for g in groups], folds=True),
        _numbers("tasks", [str(group.tasks) for group in groups], 3),
        _numbers("rss", [human_pages(group.rss_pages, page_size) for group in groups], 0),
        _numbers("swap", [_size(group.swap_pages or None, page_size) for group in groups], 2),
    ]
    if by == "cgroup":
        columns += [
            _numbers("usage", [_size(group.usage_pages, page_size) for group in groups], 4),
            _numbers("limit", [_size(group.limit_pages, page_size) for group in groups], 5),
        ]
    columns.append(_numbers("badness", badness, 6))
    first = Column(
        heading="dies first",
        cells=["none can be chosen" if f is None else label(f.task) for f in firsts],
    )
    return Table(
        columns=columns,
        styles=["" if group.first is not None else "dim" for group in groups],
        notes=[first],
        indent=1,
        gap=1,
        elsewhere="a wider window or --json has them",
        note_style="",
    )


def _numbers(heading: str, cells: list[str], leaves: int) -> Column:
    return Column(heading=heading, cells=cells, right=True, leaves=leaves)


def _size(pages: int | None, page_size: int) -> str:
    return "-" if pages is None else human_pages(pages, page_size)


def _name(group: Group, by: By, local_users: bool) -> str:
    if by == "user" and local_users and group.name.lstrip("-").isdigit():
        return user_name(int(group.name))
    return printable(group.title or group.name)
