"""Foreign text in HTML."""

from html import escape

from oomkit.printable import printable


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
