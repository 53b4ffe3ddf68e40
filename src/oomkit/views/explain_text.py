"""An explained report as a person reads it at three in the morning."""

from collections.abc import Iterator

from oomkit.explain.records import Breakdown, Choice, Explanation
from oomkit.klog.records import MAX_PROBLEMS, Problem, Report
from oomkit.klog.version_texts import NEWEST
from oomkit.printable import printable
from oomkit.render.bars import bar
from oomkit.render.quantities import count_of, kb, moment, share, uptime
from oomkit.render.terminal import LABEL_COLUMNS, Line, field, fields, under
from oomkit.views.explain_table import table_lines

_STYLES = {"cause": "bold yellow", "odd": "yellow", "note": ""}
_BAR_CELLS = 28
_MIN_BAR_CELLS = 6
"""Minimum width of a bar, in cells."""
_NAME_COLUMNS = 23
USUAL_WIDTH = 100
_MIN_SHARE = 0.01
"""Smaller uses are summed up."""


def explanation_lines(
    item: Explanation, number: int, *, ascii_only: bool, width: int = USUAL_WIDTH
) -> Iterator[Line]:
    """Yield the story of one report.

    Args:
        item: the report, explained.
        number: its number among those shown.
        ascii_only: draw bars without block characters.
        width: columns of the window, which tables and bars are made to fit.
    """
    report = item.report
    yield Line(f"#{number} {printable(item.headline)}", "bold red" if report.killed else "bold", 3)
    yield Line("   " + printable(when(report)), "dim", 3)
    yield from fields("ran out", ran_out(item))
    if report.invoker is not None:
        yield field("asked by", asker(report))
    yield from fields("killed by", killer_lines(item))
    if item.where is not None:
        yield from _where(item.where, ascii_only=ascii_only, width=width)
    for i, finding in enumerate(item.findings):
        name = "" if i else "looks wrong"
        yield from fields(name, [finding.text], _STYLES[finding.level], mark="! ")
    yield from _choice(item, width)
    yield from fields("would change", [change.text for change in item.changes], mark="- ")
    yield from fields("look at", [advice.text for advice in item.advice], mark="- ")
    if report.problems:
        yield from fields("log", problem_texts(report.problems), "dim")
    yield Line()


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


def shown_shares(where: Breakdown) -> tuple[list[tuple[str, str, int]], int]:
    """The uses worth a line, largest first, free memory last; and the sum of the others."""
    small = sum(s.kb for s in where.shares if s.kb < where.total_kb * _MIN_SHARE)
    large = [s for s in where.shares if s.kb >= where.total_kb * _MIN_SHARE]
    large.sort(key=lambda s: (s.key in ("free", "unaccounted"), s.key == "free", -s.kb))
    return [(s.key, s.label, s.kb) for s in large], small


def where_title(where: Breakdown) -> str:
    """What the bars are parts of."""
    if where.of == "memcg":
        limit = f" of {kb(where.limit_kb)}" if where.limit_kb is not None else ""
        return f"{kb(where.total_kb)}{limit} charged to the cgroup"
    known = "" if where.complete else " that the report accounts for"
    return f"{kb(where.total_kb)} of RAM{known}"


def swap_text(where: Breakdown) -> str | None:
    """Swap in use; None where the report does not say."""
    if where.swap_total_kb == 0:
        return "none"
    if where.swap_used_kb is None:
        return None
    if where.swap_total_kb is None:
        return f"{kb(where.swap_used_kb)} in use" + (
            ", no limit of its own" if where.of == "memcg" else ""
        )
    return f"{kb(where.swap_used_kb)} of {kb(where.swap_total_kb)} in use"


def _where(where: Breakdown, *, ascii_only: bool, width: int) -> Iterator[Line]:
    shares, small = shown_shares(where)
    yield field("memory", where_title(where))
    whole = where.total_kb
    rows = [(key, label, share(size, whole), kb(size), size) for key, label, size in shares]
    swap = swap_text(where)
    total, used = where.swap_total_kb, where.swap_used_kb
    with_bar = bool(swap and total and used is not None)
    last = max((len(row[3]) for row in rows), default=0)
    if swap and with_bar:
        # The bar says as well what is in use.
        swap = swap if width >= USUAL_WIDTH else swap.removesuffix(" in use")
        last = max(last, len(swap))
    cells = min(_BAR_CELLS, width - LABEL_COLUMNS - _NAME_COLUMNS - 9 - last)
    cells = cells if cells >= _MIN_BAR_CELLS else 0

    def row(name: str, part: int, whole: int, percent: str, size: str) -> str:
        full = part / whole if whole > 0 else 0.0
        drawn = bar(full, cells, unicode=not ascii_only, empty="·") + " " if cells else ""
        return f"{'':<{LABEL_COLUMNS}}{name:<{_NAME_COLUMNS}}{drawn}{percent:>6}  {size}"

    for key, label, percent, size, size_kb in rows:
        style = {"free": "green", "unaccounted": "magenta"}.get(key, "cyan")
        text = row(label, size_kb, where.total_kb, percent, size)
        yield Line(text, style, LABEL_COLUMNS)
    if small and shares:
        gap = f"{'':<{cells}} " if cells else ""
        percent = share(small, where.total_kb)
        yield under(f"{'the rest':<{_NAME_COLUMNS}}{gap}{percent:>6}  {kb(small)}", "dim")
    if swap is None:
        return
    if with_bar:
        text = row("swap", used or 0, total or 0, share(used or 0, total or 0), swap)
        yield Line(text, "blue", LABEL_COLUMNS)
    else:
        yield under(f"{'swap':<{_NAME_COLUMNS}}{swap}", "blue")


def _choice(item: Explanation, width: int) -> Iterator[Line]:
    choice = item.choice
    if choice is None:
        if item.report.killed:
            yield field("why this one", unknown_choice(item.report))
        return
    name = "why this one" if item.report.killed else "ranking"
    yield field(name, choice_title(choice, item.report))
    if choice.rows:
        yield from table_lines(choice, width)
    for text in (choice.terms, choice.runner_up, agreement(item.report)):
        if text:
            yield under(text)


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
        return f"the kernel chose otherwise than the rules of {report.rules}: {report.why}"
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
