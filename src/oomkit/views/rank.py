"""The answer of ``oomkit rank``: what is decided and why, and the kill order as a table."""

from collections.abc import Iterator, Sequence
from functools import cache

from oomkit.kernel.adj import task_oom_adj
from oomkit.kernel.cgroup_name import label_in, name_in
from oomkit.kernel.constraint import control_for
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Decision
from oomkit.kernel.kill import oom_group_of
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rank import Ranked
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.why import Why, why
from oomkit.posture.advice import counterfactual
from oomkit.posture.asked import Asked, By, Group, grouped
from oomkit.printable import printable
from oomkit.render.document import Command, Document, Part, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import human_pages
from oomkit.views.decision import adj_change, headline, label, reason

_OUT_ROWS = 5
"""How many of those that can't be chosen are shown beside a cut list."""

_MAX_COMMAND = 200


def shown_rows(ranked: Sequence[Ranked], top: int) -> tuple[list[Ranked], int]:
    """Choose the rows to show, and count those left out.

    Args:
        ranked: all rows, worst first, those that can't be chosen last.
        top: how many of those that can; 0 for every row.
    """
    if top <= 0:
        return list(ranked), 0
    killable = [row for row in ranked if row.eligible]
    others = [row for row in ranked if not row.eligible and row.task.has_mm]
    others.sort(key=lambda row: -(row.task.rss_pages + row.task.swap_pages))
    rows = killable[:top] + others[: min(top, _OUT_ROWS)]
    return rows, len(ranked) - len(rows)


def rank_table(
    snapshot: Snapshot, rules: RuleSet, rows: Sequence[Ranked], *, local_users: bool
) -> Part:
    """The kill order; sizes in binary units, badness as the rules count it.

    Args:
        snapshot: the machine.
        rules: the rules that ranked.
        rows: what to show.
        local_users: user ids are this machine's, and may be shown as names.
    """
    if not rows:
        return Text("no process to show")
    groups = [name_in(snapshot, row.task.cgroup) for row in rows]
    notes = [Column(heading="", cells=[row.reason or "" for row in rows])]
    if any(row.task.cgroup != "/" for row in rows):
        notes.insert(0, Column(heading="cgroup", cells=[printable(name) for name in groups]))
    commands = [printable(row.task.cmdline or "")[:_MAX_COMMAND] for row in rows]
    last = Column(heading="command", cells=commands) if any(commands) else None
    columns = _columns(snapshot, rules, rows, local_users=local_users)
    return Table(
        columns=columns,
        styles=["" if row.eligible else "dim" for row in rows],
        notes=notes,
        last=last,
        indent=2,
        gap=1,
        elsewhere="a wider window or --json has them",
        note_style="",
    )


def _columns(
    snapshot: Snapshot, rules: RuleSet, rows: Sequence[Ranked], *, local_users: bool
) -> list[Column]:
    classic = rules.badness == "classic"
    cells = [_cells(row, rules, snapshot.page_size, local_users) for row in rows]
    size = "total_vm" if classic else "rss"
    adj = "oom_adj" if classic else "adj"
    # Heading, and its place among those that leave where the window is narrow; 0: it stays.
    headings = [
        ("#", 9), ("pid", 0), ("name", 0), ("user", 3), (size, 7), ("swap", 4), ("pgtables", 1),
        (adj, 6), ("badness", 0), ("score", 5), ("kernel", 2),
    ]  # fmt: skip
    return [
        Column(
            heading=heading,
            cells=column,
            right=heading not in ("name", "user"),
            leaves=leaves,
            folds=heading == "name",
        )
        for (heading, leaves), column in zip(headings, zip(*cells, strict=True), strict=True)
    ]


def _cells(row: Ranked, rules: RuleSet, page_size: int, local_users: bool) -> list[str]:
    task = row.task
    classic = rules.badness == "classic"
    return [
        str(row.rank or "-"),
        str(task.pid),
        printable(task.comm),
        user_name(task.uid) if local_users else str(task.uid),
        human_pages(task.total_vm_pages if classic else task.rss_pages, page_size),
        human_pages(task.swap_pages, page_size) if task.swap_pages else "-",
        human_pages(task.pgtable_pages, page_size) if task.pgtable_pages else "-",
        str(task_oom_adj(task, rules) if classic else task.oom_score_adj),
        "-" if row.badness is None else str(row.badness),
        str(row.oom_score),
        "-" if task.kernel_oom_score is None else str(task.kernel_oom_score),
    ]


@cache
def user_name(uid: int) -> str:
    """The name this machine has for a user id; the id itself where it has none."""
    import pwd  # which a browser's Python has not

    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)


def add_heading(page: Document, asked: Asked, ranked: Sequence[Ranked], *, advise: bool) -> None:
    """Add what stands above the table: kernel, outcome, what a cgroup is left with, and why.

    Args:
        page: what it is added to.
        asked: the question and its answer.
        ranked: the kill order.
        advise: add the lines to type for the change that would alter it.
    """
    snapshot, allocation = asked.snapshot, asked.allocation
    rules, decision = asked.rules, asked.decision
    of = "" if rules.name == snapshot.kernel else f" (rules of {rules.name})"
    about = f" of {label_in(snapshot, allocation.memcg)}" if allocation.memcg else ""
    page.text(printable(f"kernel {snapshot.kernel}{of}, {decision.scope} OOM{about}"))
    page.text(printable(headline(decision, snapshot, allocation.pid)))
    if allocation.memcg is not None:
        for line in _memcg_lines(snapshot, allocation, rules, decision):
            page.text(line)
    first = next((row for row in ranked if row.eligible), None)
    if first is None:
        return
    second = next((row for row in ranked if row.rank == 2), None)
    changes = counterfactuals(snapshot, allocation, rules, decision)
    for line in reason(snapshot, decision, first, second, changes):
        page.text(line)
    change = adj_change(first, changes) if advise else None
    if change is not None:
        for advice in counterfactual(snapshot, change, rules):
            page.add(Command(advice.words, advice.lasts, 2))


def _memcg_lines(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, decision: Decision
) -> Iterator[str]:
    path = allocation.memcg or "/"
    memcg = next((m for m in snapshot.memcgs if m.path == path), None)
    size = snapshot.page_size
    if memcg is None or memcg.limit_pages is None:
        yield "no limit of its own: it runs out only with an ancestor or the machine"
    else:
        used, limit = human_pages(memcg.usage_pages, size), human_pages(memcg.limit_pages, size)
        yield f"uses {used} of {limit} (page cache included)"
    members = [t for t in snapshot.tasks if t.has_mm and in_memcg(t.cgroup, path)]
    dying = {victim.pid for victim in decision.victims} if decision.action == "kill" else set()
    left = sum(task.pid not in dying for task in members)
    if not dying:
        return
    oc = control_for(snapshot, allocation, rules)
    group = oom_group_of(oc, oc.by_pid[decision.victims[0].pid])
    if group is not None:
        whole = printable(label_in(snapshot, group.path))
        yield (
            f"memory.oom.group is set on {whole}: {len(dying)} of {len(members)} processes die "
            f"together, {left} are left"
        )
    else:
        verb = "dies" if len(dying) == 1 else "die"
        yield (
            f"memory.oom.group is not set: {len(dying)} of {len(members)} {verb}, {left} are left"
        )


def add_why(page: Document, snapshot: Snapshot, reasons: Why, rules: RuleSet) -> None:
    """Add one process's fate: verdict, trace, what would alter it and how that is done."""
    page.text(printable(reasons.verdict))
    task = next(task for task in snapshot.tasks if task.pid == reasons.pid)
    page.text(printable(f"  cgroup {task.cgroup}"))
    if task.cmdline:
        page.text(printable(f"  command {task.cmdline}"))
    page.line()
    page.line("how it was decided")
    for step in reasons.trace:
        page.text(f"  {printable(step)}")
    known = {change.text: change for change in reasons.counterfactuals}
    for heading, lines in (
        ("what would alter it", reasons.changes),
        ("how exactly the kernel counts", reasons.counting),
    ):
        if not lines:
            continue
        page.line()
        page.line(heading)
        for text in lines:
            page.text(f"  {printable(text)}")
            if text in known:
                for advice in counterfactual(snapshot, known[text], rules):
                    page.add(Command(advice.words, advice.lasts, 6))


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
        from oomkit.views.decision import add_whatif

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
