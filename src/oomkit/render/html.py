"""What our pages are made of: one template, style and script, and everything inside the page."""

import json
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from oomkit.printable import printable
from oomkit.render.extras import need


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


def css() -> Any:
    """The style of all pages."""
    return _safe(asset("oomkit.views", "page.css"))


def script() -> Any:
    """What draws a page's charts and opens what they point to."""
    return _safe(asset("oomkit.views", "page.js"))


def library() -> Any:
    """Vega, Vega-Lite and Vega-Embed in one script, out of vl-convert-python's own copy.

    Raises:
        MissingExtraError: vl-convert-python is not installed.
    """
    return _safe(_bundle())


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
