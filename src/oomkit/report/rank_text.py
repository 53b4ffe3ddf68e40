"""The kill order as a table."""

import pwd
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

from oomkit.kernel.adj import task_oom_adj
from oomkit.kernel.counterfactual import counterfactuals
from oomkit.kernel.decision import Decision
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.rank import Ranked
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.why import Why
from oomkit.report.decision_text import headline, reason
from oomkit.report.units import human_pages, printable

if TYPE_CHECKING:
    from rich.table import Table

_OUT_ROWS = 5
"""How many of those that can't be chosen are shown beside a cut list."""


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
    others = [row for row in others if not (row.reason or "").startswith("not in memory cgroup")]
    others.sort(key=lambda row: -(row.task.rss_pages + row.task.swap_pages))
    rows = killable[:top] + others[: min(top, _OUT_ROWS)]
    return rows, len(ranked) - len(rows)


def rank_table(
    snapshot: Snapshot, rules: RuleSet, rows: Sequence[Ranked], *, local_users: bool
) -> "Table":
    """Lay out the kill order; sizes in binary units, badness as the rules count it.

    Args:
        snapshot: the machine.
        rules: the rules that ranked.
        rows: what to show.
        local_users: user ids are this machine's, and may be shown as names.
    """
    from rich.table import Table
    from rich.text import Text

    classic = rules.badness == "classic"
    size = "total_vm" if classic else "rss"
    adj = "oom_adj" if classic else "adj"
    headings = ["#", "pid", "name", "user", size, "swap", "pgtables", adj, *_SCORES]
    cells = [_cells(row, rules, snapshot.page_size, local_users) for row in rows]
    columns = list(zip(*cells, strict=True)) or [()] * len(headings)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for heading, column in zip(headings, columns, strict=True):
        # The reason, last, is the one column that may wrap where the window is narrow.
        width = max([len(heading), *map(len, column)])
        justify: Literal["left", "right"] = "left" if heading in ("name", "user") else "right"
        table.add_column(heading, justify=justify, no_wrap=True, min_width=width)
    table.add_column("")
    for row, texts in zip(rows, cells, strict=True):
        style = None if row.eligible else "dim"
        table.add_row(*(Text(text) for text in (*texts, row.reason or "")), style=style)
    return table


_SCORES = ("badness", "score", "kernel")


def _cells(row: Ranked, rules: RuleSet, page_size: int, local_users: bool) -> list[str]:
    task = row.task
    classic = rules.badness == "classic"
    return [
        str(row.rank or "-"),
        str(task.pid),
        printable(task.comm),
        _user(task.uid) if local_users else str(task.uid),
        human_pages(task.total_vm_pages if classic else task.rss_pages, page_size),
        human_pages(task.swap_pages, page_size) if task.swap_pages else "-",
        human_pages(task.pgtable_pages, page_size) if task.pgtable_pages else "-",
        str(task_oom_adj(task, rules) if classic else task.oom_score_adj),
        "-" if row.badness is None else str(row.badness),
        str(row.oom_score),
        "-" if task.kernel_oom_score is None else str(task.kernel_oom_score),
    ]


@cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def rank_lines(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    ranked: Sequence[Ranked],
) -> Iterator[str]:
    """Yield the lines above the table: kernel, outcome, and what a cgroup is left with."""
    of = "" if rules.name == snapshot.kernel else f" (rules of {rules.name})"
    yield f"kernel {printable(snapshot.kernel)}{of}, {decision.scope} OOM" + (
        f" of {printable(allocation.memcg)}" if allocation.memcg else ""
    )
    yield headline(decision, snapshot)
    if allocation.memcg is not None:
        yield from _memcg_lines(snapshot, allocation.memcg, rules, decision)
    first = next((row for row in ranked if row.eligible), None)
    if first is not None:
        second = next((row for row in ranked if row.rank == 2), None)
        changes = counterfactuals(snapshot, allocation, rules, decision)
        yield from reason(snapshot, decision, first, second, changes)
    yield ""


def _memcg_lines(
    snapshot: Snapshot, path: str, rules: RuleSet, decision: Decision
) -> Iterator[str]:
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
    groups = [m.path for m in snapshot.memcgs if m.oom_group and in_memcg(path, m.path)]
    groups += [m.path for m in snapshot.memcgs if m.oom_group and in_memcg(m.path, path)]
    if groups and rules.oom_group:
        yield (
            f"memory.oom.group is set on {', '.join(sorted(set(groups)))}: {len(dying)} of "
            f"{len(members)} processes die together, {left} are left"
        )
    else:
        yield f"memory.oom.group is not set: {len(dying)} of {len(members)} dies, {left} are left"


def why_lines(reasons: Why) -> Iterator[str]:
    """Yield one process's fate: verdict, trace, what would alter it."""
    yield printable(reasons.verdict)
    yield ""
    yield "how it was decided"
    for step in reasons.trace:
        yield f"  {printable(step)}"
    for heading, lines in (
        ("what would alter it", reasons.changes),
        ("how exactly the kernel counts", reasons.counting),
    ):
        if lines:
            yield ""
            yield heading
            for line in lines:
                yield f"  {printable(line)}"
