"""One explained report as HTML."""

from collections.abc import Sequence

from oomkit.explain.records import Breakdown, Choice, Explanation
from oomkit.render.html import element, escaped, items
from oomkit.render.quantities import kb, moment, share
from oomkit.views.explain_table import TABLE_HEAD, table_cells
from oomkit.views.explain_text import (
    agreement,
    asker,
    choice_title,
    killer_lines,
    problem_texts,
    ran_out,
    shown_shares,
    swap_text,
    unknown_choice,
    when,
    where_title,
)

COLORS = {
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
    "rest": "#90a4ae",
    "swap": "#6677d0",
}
_WIDTH = 1000


def article(item: Explanation, number: int, *, unfolded: bool) -> str:
    """One report; folded it shows its headline only."""
    report = item.report
    facts = [("What ran out", ran_out(item))]
    if report.invoker is not None:
        facts.append(("Asked by", [asker(report)]))
    facts.append(("Killed by", killer_lines(item)))
    opened = " open" if unfolded else ""
    return (
        f'<details class="report"{opened}><summary><span class="number">#{number}</span> '
        f"{escaped(item.headline)}{_stamp(item)}</summary>"
        f"{element('p', when(report), 'dim')}"
        f"<dl>{''.join(_fact(name, texts) for name, texts in facts)}</dl>"
        f"{_where(item.where)}{_findings(item)}{_choice(item)}{_next(item)}{_problems(item)}"
        "</details>"
    )


def _stamp(item: Explanation) -> str:
    time = item.report.time
    return f' <span class="dim">{escaped(moment(time))}</span>' if time else ""


def _fact(name: str, texts: list[str]) -> str:
    first, rest = texts[0], texts[1:]
    return f"<dt>{escaped(name)}</dt><dd><strong>{escaped(first)}</strong>{items(rest)}</dd>"


def _where(where: Breakdown | None) -> str:
    if where is None:
        return ""
    shares, small = shown_shares(where)
    parts = [*shares, ("rest", "the rest", small)] if small else shares
    labels = [(k, f"{n} {kb(s)} ({share(s, where.total_kb)})", s) for k, n, s in parts]
    legend = "".join(
        f'<li><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect width="10" height="10" fill="{COLORS.get(key, COLORS["rest"])}"/></svg>'
        f"{escaped(label)}</li>"
        for key, label, _ in labels
    )
    bar = stacked_bar(labels, where.total_kb) if labels else ""
    return (
        f"<h3>Memory: {escaped(where_title(where))}</h3>"
        f'{bar}<ul class="legend">{legend}</ul>{_swap(where)}'
    )


def _swap(where: Breakdown) -> str:
    text = swap_text(where)
    if text is None:
        return ""
    bar = ""
    if where.swap_total_kb and where.swap_used_kb is not None:
        bar = stacked_bar([("swap", f"swap {text}", where.swap_used_kb)], where.swap_total_kb)
        bar = bar.replace('class="bar"', 'class="bar thin"')
    return f"{element('p', f'Swap: {text}')}{bar}"


def _findings(item: Explanation) -> str:
    if not item.findings:
        return ""
    found = "".join(element("li", finding.text, finding.level) for finding in item.findings)
    return f'<h3>What looks wrong</h3><ul class="findings">{found}</ul>'


def _choice(item: Explanation) -> str:
    choice = item.choice
    if choice is None:
        if not item.report.killed:
            return ""
        return f"<h3>Why this one</h3>{element('p', unknown_choice(item.report))}"
    title = "Why this one" if item.report.killed else "Ranking"
    texts = [choice.terms, choice.runner_up, agreement(item.report)]
    return (
        f"<h3>{title}</h3>{element('p', choice_title(choice, item.report))}"
        f"{_ranking(choice)}{items([text for text in texts if text])}"
    )


def _next(item: Explanation) -> str:
    changes = [change.text for change in item.changes]
    advice = [step.text for step in item.advice]
    would = f"<h3>What would have changed it</h3>{items(changes)}" if changes else ""
    return would + (f"<h3>What to look at</h3>{items(advice)}" if advice else "")


def _ranking(choice: Choice) -> str:
    if not choice.rows:
        return ""
    largest = max(row.rss_kb + (row.swap_kb or 0) for row in choice.rows)
    head = "".join(f"<th>{name}</th>" for name in TABLE_HEAD)
    body = []
    for row in choice.rows:
        cells = table_cells(row)
        drawn = small_bar([("anon", row.rss_kb), ("swap", row.swap_kb or 0)], largest)
        mark = ' <strong class="dead">killed</strong>' if row.killed else ""
        tds = [
            f"<td>{escaped(cell)}{mark}</td>" if i == 1 else element("td", cell, "n")
            for i, cell in enumerate(cells)
        ]
        css = ' class="killed"' if row.killed else ""
        body.append(f"<tr{css}>{''.join(tds)}<td>{drawn}</td></tr>")
    return (
        f'<div class="wide"><table class="ranking"><thead><tr>{head}<th>rss and swap</th></tr>'
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _problems(item: Explanation) -> str:
    texts = problem_texts(item.report.problems)
    return f"<h3>The log</h3>{items(texts, 'dim')}" if texts else ""


def stacked_bar(parts: Sequence[tuple[str, str, int]], total: int) -> str:
    """One bar of parts (key, label, size), as wide as the page."""
    drawn = []
    position = 0.0
    for key, label, size in parts:
        width = size * _WIDTH / total if total else 0.0
        drawn.append(
            f'<rect x="{position:.2f}" y="0" width="{max(width - 0.8, 0.4):.2f}" height="30" '
            f'fill="{COLORS.get(key, COLORS["rest"])}"><title>{escaped(label)}</title></rect>'
        )
        position += width
    words = escaped("; ".join(label for _, label, _ in parts))
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDTH} 30" preserveAspectRatio="none" role="img" '
        f'aria-label="{words}"><rect width="{_WIDTH}" height="30" class="trough"/>'
        f"{''.join(drawn)}</svg>"
    )


def small_bar(parts: Sequence[tuple[str, int]], total: int) -> str:
    """A narrow bar for a table's cell, of parts (key, size)."""
    drawn = []
    position = 0.0
    for key, size in parts:
        width = size * 200 / total if total else 0.0
        drawn.append(
            f'<rect x="{position:.2f}" width="{width:.2f}" height="10" fill="{COLORS[key]}"/>'
        )
        position += width
    return (
        '<svg class="small" viewBox="0 0 200 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="200" height="10" class="trough"/>{"".join(drawn)}</svg>'
    )
