"""A page that stands by itself: the explained reports as HTML, to attach to a ticket."""

from collections.abc import Sequence

from oomkit.explain.incidents import Incident
from oomkit.explain.records import Explanation
from oomkit.explain.recurring import Row, Tables, every_text
from oomkit.klog.evidence import Evidence
from oomkit.klog.records import Report
from oomkit.render.html import asset, element, escaped, items, page, part_of_page
from oomkit.render.quantities import count_of, moment
from oomkit.views.explain_report import counts_text, explanation_report, span

_OPEN_REPORTS = 3
"""Of more reports only the last is unfolded."""
_MAX_ROWS = 20


def page_text(
    explained: Sequence[Explanation],
    reports: Sequence[Report],
    evidence: Sequence[Evidence],
    found: Sequence[Incident],
    recurring: Tables,
    no_kill: str | None = None,
) -> str:
    """Return the page; it loads nothing and runs nothing."""
    title, body = body_of(explained, reports, evidence, found, recurring, no_kill)
    return framed(title, body)


def framed(title: str, body: str) -> str:
    """The page around a body that :func:`body_of` made."""
    return page(title, body, style=asset("oomkit.views", "explain.css"))


def body_of(
    explained: Sequence[Explanation],
    reports: Sequence[Report],
    evidence: Sequence[Evidence],
    found: Sequence[Incident],
    recurring: Tables,
    no_kill: str | None = None,
) -> tuple[str, str]:
    """The page's title, and its header and main part as HTML."""
    title = _title(reports, found)
    if not found and no_kill is not None:
        title = no_kill[:1].upper() + no_kill[1:]
    heading = "OOM report" if len(reports) == len(found) == 1 else title
    unfolded = len(explained) <= _OPEN_REPORTS
    first = len(reports) - len(explained) + 1
    articles = [
        article(item, first + i, unfolded=unfolded or i == len(explained) - 1)
        for i, item in enumerate(explained)
    ]
    left = first - 1
    note = f"<p class=dim>{count_of(left, 'earlier report')} left out.</p>" if left else ""
    body = (
        f"<header><h1>{escaped(heading)}</h1></header><main>"
        f"{_incidents(reports, evidence, found)}{_tables(recurring)}{note}{''.join(articles)}"
        "</main>"
    )
    return title, body


def article(item: Explanation, number: int, *, unfolded: bool) -> str:
    """One report; folded it shows its headline only."""
    _, *parts = explanation_report(item, number)
    time = item.report.time
    stamp = f' <span class="dim">{escaped(moment(time))}</span>' if time else ""
    opened = " open" if unfolded else ""
    return (
        f'<details class="report"{opened}><summary><span class="number">#{number}</span> '
        f"{escaped(item.headline)}{stamp}</summary>{part_of_page(parts)}</details>"
    )


def _title(reports: Sequence[Report], found: Sequence[Incident]) -> str:
    if not found:
        return "No OOM report found"
    if len(found) == 1:
        return found[0].summary
    return counts_text(reports, found)


def _incidents(
    reports: Sequence[Report], evidence: Sequence[Evidence], found: Sequence[Incident]
) -> str:
    if not found or (len(found) == len(reports) == 1):
        return ""
    rows = []
    for incident in found:
        said = items([f"{evidence[e].by}: {evidence[e].text}" for e in incident.evidence], "dim")
        rows.append(
            f"<tr><td class=n>{incident.number}</td>"
            f"{element('td', span(incident, reports, evidence), 'when')}"
            f"<td>{escaped(incident.summary)}{said if not incident.reports else ''}</td></tr>"
        )
    return (
        '<section><h2>Incidents</h2><div class="wide"><table>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _tables(recurring: Tables) -> str:
    parts = []
    for title, rows in (
        ("By cgroup", recurring.cgroup),
        ("By unit", recurring.unit),
        ("By pod", recurring.pod),
        ("By command", recurring.comm),
    ):
        if any(row.incidents > 1 for row in rows):
            parts.append(_table(title, rows))
    return f'<section class="tables">{"".join(parts)}</section>' if parts else ""


def _table(title: str, rows: Sequence[Row]) -> str:
    body = "".join(
        f"<tr><td class=n>{row.incidents}</td><td class=n>{row.killed}</td>"
        f"{element('td', row.name)}"
        f"{element('td', every_text(row.every_s) if row.every_s is not None else '', 'dim')}</tr>"
        for row in rows[:_MAX_ROWS]
    )
    return (
        f'<div class="wide"><table><caption>{escaped(title)}</caption><thead><tr><th>incidents'
        f"<th>killed<th><th></tr></thead><tbody>{body}</tbody></table></div>"
    )
