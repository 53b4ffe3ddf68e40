"""HTML: the one page that all views fill, and safe ways to put foreign text into it."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import resources
from itertools import groupby
from typing import Any

from oomkit import __version__
from oomkit.printable import printable
from oomkit.render.document import Bar, Bars, Command, Field, Gauge, Part, Table, Text
from oomkit.render.extras import need
from oomkit.render.quantities import share

_HERE = "oomkit.render"
_CLOSED = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_DRAWS = "; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:"
"""What Vega needs: it compiles the expressions of a chart."""

_VEGA = (
    " Charts by Vega, Vega-Lite and Vega-Embed "
    "(BSD 3-Clause, University of Washington Interactive Data Lab and contributors)."
)


def page(title: str, body: str, *, style: str = "", charts: bool = False) -> str:
    """A page that needs nothing else: no network, no other file.

    Args:
        title: what names it; escaped here.
        body: its header and main part, as HTML.
        style: the rules that only this kind of page needs.
        charts: add what draws the charts whose specifications are in the body.

    Raises:
        MissingExtraError: vl-convert-python is not installed, and there are charts.
    """
    scripts = (_bundle(), asset(_HERE, "charts.js")) if charts else ()
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_CLOSED}{_DRAWS * charts}">\n'
        f"<title>{escaped(title)} &ndash; oomkit</title>\n"
        f"<style>\n{asset(_HERE, 'page.css')}{style}</style>\n</head>\n<body>\n{body}\n"
        f"<footer>oomkit {escaped(__version__)}. This page is complete in itself and opens no "
        f"connection.{_VEGA * charts}</footer>\n"
        f"{''.join(f'<script>{script}</script>' for script in scripts)}</body>\n</html>\n"
    )


def template(text: str) -> Any:
    """A jinja2 template that escapes what it is given and refuses names it is not given.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = need("jinja2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["printable"] = lambda value: printable(str(value))
    return environment.from_string(text)


def asset(package: str, name: str) -> str:
    """The text of a file in a package's ``assets``."""
    return resources.files(package).joinpath("assets", name).read_text(encoding="utf-8")


def spec(value: Any) -> Any:
    """A chart's specification, to stand inside a script element."""
    return _safe(json_for_script(value))


def json_for_script(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _safe(text: str) -> Any:
    """Mark text of this project, of its libraries, or already made safe, as not to be escaped."""
    return need("markupsafe").Markup(text)


@cache
def _bundle() -> str:
    bundle: str = need("vl_convert").javascript_bundle()
    # The two spellings mean the same to a script; the first would end the element.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def escaped(text: str) -> str:
    """Text fit for an element or an attribute: no mark-up, no control characters."""
    return escape(printable(text), quote=True)


def element(name: str, text: str, css: str = "") -> str:
    """An element with foreign text in it."""
    attribute = f' class="{css}"' if css else ""
    return f"<{name}{attribute}>{escaped(text)}</{name}>"


def items(texts: Sequence[str], css: str = "") -> str:
    """A list of foreign texts; empty where there are none."""
    if not texts:
        return ""
    attribute = f' class="{css}"' if css else ""
    return f"<ul{attribute}>{''.join(element('li', text) for text in texts)}</ul>"


_CLASSES = {
    "bold red": "bad",
    "bold yellow": "cause",
    "yellow": "odd",
    "dim": "dim",
    "bold": "head",
}
"""Styles of a terminal that a page's style sheet has rules for."""
_WIDTH = 1000
_CELL_WIDTH = 200


def part_of_page(parts: Iterable[Part]) -> str:
    """Parts of a document as HTML: short fields as a list of terms, others under their names."""
    return "".join(
        _terms(group) if kind is _terms else "".join(map(_block, group))
        for kind, group in groupby(parts, key=lambda part: _terms if _is_term(part) else None)
    )


def _is_term(part: Part) -> bool:
    return isinstance(part, Field) and not part.mark and not part.parts


def _terms(fields: Iterable[Any]) -> str:
    rows = (
        f"<dt>{escaped(_capital(field.name))}</dt>"
        f"<dd><strong>{escaped(field.texts[0])}</strong>{items(field.texts[1:])}</dd>"
        for field in fields
    )
    return f"<dl>{''.join(rows)}</dl>"


def _block(part: Part) -> str:
    if isinstance(part, Text):
        return element("p", part.text, _CLASSES.get(part.style, "")) if part.text else ""
    if isinstance(part, Field):
        return _section(part)
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Bars):
        return _bars(part.rows)
    if isinstance(part, Gauge):
        bar = stacked_bar([("", part.text, part.share)], 1.0)
        return f"{element('p', part.first + part.text)}{bar}"
    if isinstance(part, Command):
        return f"<pre># {escaped(part.lasts)}:\n{escaped(' '.join(part.words))}</pre>"
    return ""


def _section(field: Field) -> str:
    heading = element("h3", _capital(field.name))
    if field.mark:
        styles = field.styles or [field.style] * len(field.texts)
        rows = zip(field.texts, styles, strict=True)
        found = "".join(element("li", text, _CLASSES.get(style, "")) for text, style in rows)
        return f"{heading}<ul>{found}</ul>{part_of_page(field.parts)}"
    texts = "".join(element("p", text) for text in field.texts)
    below = "".join(
        _texts(group) if kind is Text else "".join(map(_block, group))
        for kind, group in groupby(field.parts, key=type)
    )
    return f"{heading}{texts}{below}"


def _texts(parts: Iterable[Part]) -> str:
    return items([part.text for part in parts if isinstance(part, Text)])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(table: Table) -> str:
    columns = [*table.columns, *table.notes, *([table.last] if table.last else [])]
    heads = [_heading(column.heading, "n" * column.right) for column in columns]
    if table.bars:
        heads.append(_heading(table.bars_heading))
    rows = []
    for i in range(len(table.columns[0].cells)):
        cells = [element("td", column.cells[i], "n" * column.right) for column in columns]
        if i < len(table.marks) and table.marks[i]:
            mark = element("strong", table.marks[i], "mark")
            cells[_first_text(table)] = cells[_first_text(table)].replace("</td>", f" {mark}</td>")
        if table.bars:
            cells.append(f"<td>{_cell_bar(table.bars[i])}</td>")
        css = _CLASSES.get(table.styles[i], "") if i < len(table.styles) else ""
        rows.append(f"<tr{f' class={css}' if css else ''}>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _heading(text: str, css: str = "") -> str:
    """A column's heading; one without words is an empty cell, which nobody is read aloud."""
    return element("th" if text else "td", text, css)


def _first_text(table: Table) -> int:
    """The first column that is not a number: the one that names what the row is about."""
    return next((i for i, column in enumerate(table.columns) if not column.right), 0)


def _bars(bars: Sequence[Bar]) -> str:
    parts = [bar for bar in bars if not bar.apart]
    labels = [(bar, f"{bar.label} {bar.text} ({share(bar.size, bar.whole)})") for bar in parts]
    drawn = [(bar.colour, label, bar.size) for bar, label in labels]
    legend = "".join(
        f'<li><svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect width="10" height="10" fill="{bar.colour}"/></svg>{escaped(label)}</li>'
        for bar, label in labels
    )
    whole = stacked_bar(drawn, parts[0].whole) if parts else ""
    return f'{whole}<ul class="legend">{legend}</ul>{"".join(_apart(b) for b in bars if b.apart)}'


def _apart(bar: Bar) -> str:
    label = f"{_capital(bar.label)}: {bar.text}{bar.more}"
    drawn = stacked_bar([(bar.colour, label, bar.size)], bar.whole) if bar.drawn else ""
    return element("p", label) + drawn.replace('class="bar"', 'class="bar thin"')


def stacked_bar(parts: Sequence[tuple[str, str, float]], total: float) -> str:
    """One bar of parts (colour, label, size), as wide as the page."""
    drawn = []
    position = 0.0
    for colour, label, size in parts:
        width = size * _WIDTH / total if total else 0.0
        fill = f'fill="{colour}"' if colour else 'class="filled"'
        drawn.append(
            f'<rect x="{position:.2f}" y="0" width="{max(width - 0.8, 0.4):.2f}" height="30" '
            f"{fill}><title>{escaped(label)}</title></rect>"
        )
        position += width
    words = escaped("; ".join(label for _, label, _ in parts))
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDTH} 30" preserveAspectRatio="none" role="img" '
        f'aria-label="{words}"><rect width="{_WIDTH}" height="30" class="trough"/>'
        f"{''.join(drawn)}</svg>"
    )


def _cell_bar(parts: Sequence[tuple[float, str]]) -> str:
    """A narrow bar for a table's cell, of parts (share, colour)."""
    drawn = []
    position = 0.0
    for part, colour in parts:
        width = part * _CELL_WIDTH
        drawn.append(f'<rect x="{position:.2f}" width="{width:.2f}" height="10" fill="{colour}"/>')
        position += width
    return (
        f'<svg class="small" viewBox="0 0 {_CELL_WIDTH} 10" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect width="{_CELL_WIDTH}" height="10" class="trough"/>'
        f"{''.join(drawn)}</svg>"
    )
