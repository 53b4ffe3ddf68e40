"""An explained report, and a long log in short, as a person reads them at three in the morning."""

from collections.abc import Sequence

from oomkit.explain.incidents import Incident
from oomkit.explain.killer import proof
from oomkit.explain.records import Breakdown, Candidate, Choice, Explanation
from oomkit.explain.recurring import Row, Tables, every_text
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import MAX_PROBLEMS, Problem, Report
from oomkit.klog.version_texts import NEWEST
from oomkit.printable import printable
from oomkit.render.document import Bar, Bars, Document, Part, Table, Text
from oomkit.render.layout import Column
from oomkit.render.quantities import count_of, kb, label, moment, uptime
from oomkit.render.terminal import LABEL_COLUMNS

_STYLES = {"cause": "bold yellow", "odd": "yellow", "note": ""}
_REST = "#90a4ae"
COLOURS = {
    "anon": "#3b6fb6",
    "anon_file": "#3b6fb6",
    "processes": "#3b6fb6",
    "file": "#6aa84f",
    "shmem": "#8e63b5",
    "unevictable": "#5b7083",
    "slab_unreclaimable": "#c0504d",
    "slab_reclaimable": "#dd9a97",
    "slab": "#c0504d",
    "pagetables": "#d08a2e",
    "kernel_stack": "#a8763e",
    "kernel_other": "#b5483a",
    "sock": "#4aa3a2",
    "hugetlb": "#7d8b2c",
    "gpu": "#9a63f6",
    "unaccounted": "#d63384",
    "free": "#cfd8dc",
    "swap": "#6677d0",
}
_MIN_SHARE = 0.01
"""Smaller uses are summed up."""


def explanation_report(item: Explanation, number: int) -> Document:
    """One report explained: what ran out, who asked, what was killed and why, what to do.

    Args:
        item: the report, explained.
        number: its number among those shown.
    """
    report = item.report
    style = "bold red" if report.killed else "bold"
    page = Document(Text(printable(item.headline), style, f"#{number} ", "   "))
    page.text(printable(when(report)), "dim", first="   ", rest="   ")
    page.field("ran out", ran_out(item))
    if report.invoker is not None:
        page.field("asked by", [asker(report)])
    page.field("killed by", killer_lines(item))
    if item.where is not None:
        page.field("memory", [where_title(item.where)], parts=[Bars(_bars(item.where))])
    texts = [finding.text for finding in item.findings]
    styles = [_STYLES[finding.level] for finding in item.findings]
    page.field("looks wrong", texts, mark="! ", styles=styles)
    _add_choice(page, item)
    page.field("would change", [change.text for change in item.changes], mark="- ")
    page.field("look at", [advice.text for advice in item.advice], mark="- ")
    page.field("log", problem_texts(report.problems), "dim")
    page.line()
    return page


def when(report: Report) -> str:
    """Time, host, kernel and place in the log, on one line."""
    parts = []
    if report.time is not None:
        parts.append(moment(report.time))
    if report.uptime_s is not None:
        parts.append(uptime(report.uptime_s))
    if report.host is not None:
        parts.append(f"host {report.host}")
    parts.append(kernel_text(report))
    parts.append(f"{report.source.file}:{report.source.line}-{report.source.end_line}")
    return " | ".join(parts)


def kernel_text(report: Report) -> str:
    """The kernel and the rules it was replayed with."""
    rules = f" (rules of {report.rules})" if report.rules else ""
    if report.kernel is not None:
        return f"kernel {report.kernel}{rules}"
    if report.kernel_range is not None:
        low, high = report.kernel_range
        span = low if low == high else f"{low} to {high}"
        if high == NEWEST:
            span = f"{low} or later"
        return f"kernel not named, by its format {span}{rules}"
    return f"kernel not named{rules}"


def ran_out(item: Explanation) -> list[str]:
    """What ran out, and the numbers that show it."""
    short = item.shortage
    return [f"{short.what} ({short.owner})" if short.owner else short.what, *short.details]


def asker(report: Report) -> str:
    """The allocating task, and how much memory it requested."""
    task = report.invoker or "?"
    if report.invoker_pid is not None:
        task += f"[{report.invoker_pid}]"
    if report.scope == "sysrq":
        return task
    parts = [task]
    if report.order is not None and report.order >= 0:
        pages = "1 page" if report.order == 0 else f"{1 << report.order} contiguous pages"
        parts.append(f"{pages} (order {report.order})")
    if report.gfp_mask:
        parts.append(f"gfp_mask {report.gfp_mask}")
    return ", ".join(parts)


def killer_lines(item: Explanation) -> list[str]:
    """The killer, and the lines that show it."""
    verdict = item.killer
    lines = [verdict.text]
    lines.extend(f"line {proof.line}: {proof.text}" for proof in verdict.evidence)
    return lines


def where_title(where: Breakdown) -> str:
    """What the bars are parts of."""
    if where.of == "memcg":
        limit = f" of {kb(where.limit_kb)}" if where.limit_kb is not None else ""
        return f"{kb(where.total_kb)}{limit} charged to the cgroup"
    known = "" if where.complete else " that the report accounts for"
    return f"{kb(where.total_kb)} of RAM{known}"


def _bars(where: Breakdown) -> list[Bar]:
    """The uses worth a line, largest first, free memory last; the sum of the others; swap."""
    whole = where.total_kb
    least = whole * _MIN_SHARE
    large = [use for use in where.shares if use.kb >= least]
    large.sort(key=lambda use: (use.key in ("free", "unaccounted"), use.key == "free", -use.kb))
    styles = {"free": "green", "unaccounted": "magenta"}
    rows = [
        Bar(
            label=use.label,
            size=use.kb,
            whole=whole,
            text=kb(use.kb),
            style=styles.get(use.key, "cyan"),
            colour=COLOURS.get(use.key, _REST),
        )
        for use in large
    ]
    small = sum(use.kb for use in where.shares if use.kb < least)
    if small and rows:
        rows.append(
            Bar(
                label="the rest",
                size=small,
                whole=whole,
                text=kb(small),
                style="dim",
                colour=_REST,
                drawn=False,
            )
        )
    return rows + _swap(where)


def _swap(where: Breakdown) -> list[Bar]:
    """Swap in use; nothing where the report does not say."""
    total, used = where.swap_total_kb, where.swap_used_kb
    if total != 0 and used is None:
        return []
    of = f" of {kb(total)}" if total is not None else ""
    end = ", no limit of its own" if total is None and where.of == "memcg" else ""
    text, more = ("none", "") if total == 0 else (f"{kb(used or 0)}{of}", f" in use{end}")
    return [
        Bar(
            label="swap",
            size=used or 0,
            whole=total or 0,
            text=text,
            more=more,
            style="blue",
            colour=COLOURS["swap"],
            drawn=bool(total),
            apart=True,
        )
    ]


def _add_choice(page: Document, item: Explanation) -> None:
    choice = item.choice
    if choice is None:
        if item.report.killed:
            page.field("why this one", [unknown_choice(item.report)])
        return
    name = "why this one" if item.report.killed else "ranking"
    margin = " " * LABEL_COLUMNS
    texts = (choice.terms, choice.runner_up, agreement(item.report))
    parts: list[Part] = [ranking(choice)] if choice.rows else []
    parts += [Text(printable(text), "", margin, margin) for text in texts if text]
    page.field(name, [choice_title(choice, item.report)], parts=parts)


def unknown_choice(report: Report) -> str:
    """What can be said of the choice without a task table."""
    if "allocating_task" in (report.kill_text or ""):
        return (
            "vm.oom_kill_allocating_task is set: the allocating task is killed, not the one with "
            "the highest badness"
        )
    return "unknown: the report has no task table"


def choice_title(choice: Choice, report: Report) -> str:
    """How the rows are ordered, and how many there were."""
    tasks = count_of(choice.tasks, "task")
    if not choice.complete:
        order = "by badness" if choice.ranked and choice.candidates else "by memory and swap"
        return f"the table is not whole; the first of its {count_of(choice.tasks, 'row')}, {order}"
    if not choice.ranked:
        return f"the largest of {tasks} in the table, by memory and swap"
    if not choice.candidates:
        return f"none of {tasks} in the table could be chosen"
    whose = "its" if report.kernel else "a likely"
    count = f"{choice.candidates} of {tasks}"
    return f"{count} could be chosen; the first by {whose} kernel's rules"


def agreement(report: Report) -> str:
    """Whether the rules come to the kernel's choice, and what is to say about it."""
    if "allocating_task" in (report.kill_text or "") or "panic_on_oom" in (report.panic or ""):
        return report.why
    if report.agrees is True:
        text = f"the rules of {report.rules} come to the same choice"
        return f"{text}; {report.why}" if report.why else text
    if report.agrees is False:
        return f"the kernel's choice differs from the rules of {report.rules}: {report.why}"
    return f"whether the rules agree is unknown: {report.why}" if report.why else ""


_KINDS = {
    "line_wrapped": "wrapped lines put together",
    "lines_repeated": "lines that stand twice",
    "row_damaged": "damaged rows of the task table",
    "lines_lost": "places where lines were lost",
    "line_damaged": "damaged lines",
    "lines_joined": "lines that were joined into one",
}


def problem_texts(problems: tuple[Problem, ...]) -> list[str]:
    """The problems in the order of the log; those of a kind as one."""
    texts: list[str] = []
    for kind in dict.fromkeys(problem.kind for problem in problems):
        same = [problem for problem in problems if problem.kind == kind]
        lines = [problem.line for problem in same if problem.line is not None]
        if len(same) == 1 or kind not in _KINDS:
            texts.extend(
                problem.text + (f" (line {problem.line})" if problem.line else "")
                for problem in same
            )
            continue
        span = f" (lines {min(lines)} to {max(lines)})" if lines else ""
        more = " or more" if len(same) >= MAX_PROBLEMS else ""
        texts.append(f"{len(same)}{more} {_KINDS[kind]}{span}")
    return texts


_HEAD = ("rank", "process", "rss", "swap", "page tables", "adj", "badness")
_LEAVES = {4: 1, 3: 2, 5: 3, 6: 4}
"""Which columns are left out first: page tables, swap, adj, badness; other lines show those."""


def _cells(row: Candidate) -> tuple[str, ...]:
    """A row of the ranking as text."""
    return (
        "-" if row.rank is None else str(row.rank),
        label(row.comm, row.pid),
        kb(row.rss_kb),
        "-" if row.swap_kb is None else kb(row.swap_kb),
        "-" if row.pgtables_kb is None else kb(row.pgtables_kb),
        "-" if row.adj is None else str(row.adj),
        "-" if row.badness is None else str(row.badness),
    )


def ranking(choice: Choice) -> Table:
    """The rows of a choice; columns that say nothing are left out."""
    rows = [_cells(row) for row in choice.rows]
    largest = max(row.rss_kb + (row.swap_kb or 0) for row in choice.rows)
    colours = (COLOURS["anon"], COLOURS["swap"])
    return Table(
        columns=[
            Column(
                heading=heading,
                cells=[row[i] for row in rows],
                right=i != 1,
                leaves=_LEAVES.get(i, 0),
                folds=i == 1,
            )
            for i, heading in enumerate(_HEAD)
            if i < 3 or any(row[i] != "-" for row in rows)
        ],
        styles=["bold red" if row.killed else "" for row in choice.rows],
        leads=(LABEL_COLUMNS, 3),
        heading_style="dim",
        marks=["killed" if row.killed else "" for row in choice.rows],
        bars=[
            [
                (kb / largest if largest else 0.0, colour)
                for kb, colour in zip((row.rss_kb, row.swap_kb or 0), colours, strict=True)
            ]
            for row in choice.rows
        ],
        bars_heading="rss and swap",
    )


_MAX_ROWS = 10


def summary_of(
    reports: Sequence[Report],
    evidence: Sequence[Evidence],
    found: Sequence[Incident],
    recurring: Tables,
) -> Document:
    """A line an incident, then tables of what recurs."""
    page = Document(Text(counts_text(reports, found), "bold", rest=""))
    stamps = [span(incident, reports, evidence) for incident in found]
    width = max((len(stamp) for stamp in stamps), default=0)
    for incident, stamp in zip(found, stamps, strict=True):
        opening = f"{incident.number:>4}  {stamp:<{width}}  "
        page.text(printable(incident.summary), first=opening, rest=" " * len(opening))
    page.line()
    for title, rows in (
        ("by cgroup", recurring.cgroup),
        ("by unit", recurring.unit),
        ("by pod", recurring.pod),
        ("by command", recurring.comm),
    ):
        if len(rows) > 1 or any(row.incidents > 1 for row in rows):
            _add_table(page, title, rows)
    return page


def counts_text(reports: Sequence[Report], found: Sequence[Incident]) -> str:
    """How many incidents, reports and victims there are."""
    incidents = count_of(len(found), "incident")
    if not reports:
        return f"{incidents}, no OOM report of the kernel"
    killed = sum(len(report.killed) for report in reports)
    return (
        f"{incidents}, {count_of(len(reports), 'OOM report')}, "
        f"{count_of(killed, 'process', 'processes')} killed by the kernel"
    )


def reported(found: Sequence[Incident], evidence: Sequence[Evidence]) -> Document:
    """The lines that show incidents that only programs other than the kernel report."""
    page = Document()
    for incident in found:
        texts = [
            f"line {p.line}: {p.text}" for p in (proof(evidence[e]) for e in incident.evidence)
        ]
        more = len(texts) - _MAX_ROWS
        if more > 0:
            texts = [*texts[:_MAX_ROWS], f"and {count_of(more, 'more line')}"]
        page.field(f"incident {incident.number}", texts, "dim")
    if found:
        page.line()
    return page


def span(incident: Incident, reports: Sequence[Report], evidence: Sequence[Evidence]) -> str:
    """When an incident began: date, seconds since boot, or the line it begins at."""
    first = reports[incident.reports[0]] if incident.reports else evidence[incident.evidence[0]]
    if first.time is not None:
        return moment(first.time)
    if first.uptime_s is not None:
        return f"{first.uptime_s:.3f} s"
    return f"line {first.source.line}"


def _add_table(page: Document, title: str, rows: Sequence[Row]) -> None:
    page.text(f"{title:<11}incidents  killed", "bold", rest="")
    for row in rows[:_MAX_ROWS]:
        often = f"  {every_text(row.every_s)}" if row.every_s is not None else ""
        opening = f"{'':<11}{row.incidents:>9}  {row.killed:>6}  "
        page.text(f"{printable(row.name)}{often}", first=opening, rest=" " * len(opening))
    if len(rows) > _MAX_ROWS:
        page.text(f"{'':<11}and {count_of(len(rows) - _MAX_ROWS, 'other')}", "dim")
    page.line()
