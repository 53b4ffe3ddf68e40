"""HTML: the one page that all views fill, and safe ways to put foreign text into it."""

import json
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from oomkit import __version__
from oomkit.printable import printable
from oomkit.render.extras import need

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


def items(texts: list[str], css: str = "") -> str:
    """A list of foreign texts; empty where there are none."""
    if not texts:
        return ""
    attribute = f' class="{css}"' if css else ""
    return f"<ul{attribute}>{''.join(element('li', text) for text in texts)}</ul>"
