"""The whole answer of ``oomkit rank`` for a terminal."""

from collections.abc import Iterator, Sequence

from oomkit.kernel.why import why
from oomkit.posture.asked import Asked
from oomkit.posture.groups import By, Group, grouped
from oomkit.printable import printable
from oomkit.render.layout import Column, no_room, table, wrapped
from oomkit.render.quantities import human_pages
from oomkit.render.terminal import Page
from oomkit.views.decision import label
from oomkit.views.rank_text import Line, rank_table, show_heading, show_why, shown_rows, user_name


def show_rank(page: Page, asked: Asked, top: int, *, local_users: bool) -> None:
    """Print what was changed, what is decided and why, and the kill order.

    Args:
        page: where to.
        asked: the question and its answer.
        top: how many processes, or groups; 0 for all.
        local_users: user ids are this machine's, and may be shown as names.
    """
    snapshot, rules = asked.snapshot, asked.rules
    if asked.whatif is not None:
        from oomkit.views.what_if import show_whatif

        show_whatif(page, asked.whatif, snapshot)
        page.line("")
    ranked = asked.ranked()
    # With a change asked for, its own commands are enough.
    advise = asked.why_pid is None and asked.whatif is None
    show_heading(page, asked, ranked, advise=advise)
    page.line("")
    if asked.why_pid is not None:
        allocation, decision = asked.allocation, asked.decision
        reasons = why(snapshot, allocation, rules, decision, asked.why_pid)
        show_why(page, snapshot, reasons, rules)
        return
    if asked.by is not None:
        groups = grouped(snapshot, ranked, asked.by)
        shown, size = groups[: top or None], snapshot.page_size
        left_out = len(groups) - len(shown)
        table = groups_table(shown, asked.by, size, page.width, local_users=local_users)
    else:
        rows, left_out = shown_rows(ranked, top)
        table = rank_table(snapshot, rules, rows, page.width, local_users=local_users)
    for line, style in table:
        page.line(line, style)
    if left_out:
        page.line(f"({left_out} more; --top 0 shows all)")


def groups_table(
    groups: Sequence[Group], by: By, page_size: int, width: int, *, local_users: bool
) -> Iterator[Line]:
    """Lay out groups in the order in which they lose a process.

    Args:
        groups: the groups.
        by: what they are.
        page_size: bytes in a page.
        width: cells of the window.
        local_users: user ids are this machine's, and may be shown as names.
    """
    if not groups:
        yield "no process to show", ""
        return
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
    laid = table(columns, width, notes=[first], indent=1)
    for line in laid.heading:
        yield line, "bold"
    for group, lines in zip(groups, laid.row_lines(), strict=True):
        for line in lines:
            yield line, "" if group.first is not None else "dim"
    if laid.left_out:
        text = no_room(laid.left_out, "a wider window or --json has them")
        for line in wrapped(text, width):
            yield line, ""


def _numbers(heading: str, cells: list[str], leaves: int) -> Column:
    return Column(heading=heading, cells=cells, right=True, leaves=leaves)


def _size(pages: int | None, page_size: int) -> str:
    return "-" if pages is None else human_pages(pages, page_size)


def _name(group: Group, by: By, local_users: bool) -> str:
    if by == "user" and local_users and group.name.lstrip("-").isdigit():
        return user_name(int(group.name))
    return printable(group.title or group.name)
