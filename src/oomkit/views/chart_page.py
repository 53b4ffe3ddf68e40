"""What the pages with charts have in common: their templates, their style, a chart's place."""

from typing import Any

import msgspec

from oomkit.printable import printable
from oomkit.render import html

_VIEWS = "oomkit.views"


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One chart.

    Attributes:
        key: short name, fit for an HTML id.
        title: heading.
        note: what a reader should know to read it.
        chart: the layers, an Altair chart.
        height: of the plot, in pixels.
    """

    key: str
    title: str
    note: str
    chart: Any
    height: int


def chart_page(title: str, name: str, *, charts: bool, **values: Any) -> str:
    """Fill a template of ``assets`` and make a page of it.

    Args:
        title: the page's.
        name: the template; what it fills is the page's header and main part.
        charts: whether there is any chart to draw.
        values: what the template uses.

    Raises:
        MissingExtraError: jinja2 is not installed, or vl-convert-python where there are charts.
    """
    body = html.template(html.asset(_VIEWS, "macros.html") + html.asset(_VIEWS, name))
    style = html.asset(_VIEWS, "charts.css")
    return html.page(title, body.render(**values), style=style, charts=charts)


def placed(
    chart: Any, key: str, height: int, *, kills: str = "kill-", **more: str
) -> dict[str, Any]:
    """A chart as the templates' ``drawing`` takes it.

    Args:
        chart: an Altair chart, drawn as wide as its place.
        key: its name on the page.
        height: its height, in pixels.
        kills: what the elements its marks point to begin with.
        more: what stands around the chart.
    """
    spec = chart.properties(width="container", height=height).to_dict(validate=False)
    texts = {name: printable(text) for name, text in more.items()}
    return {"key": key, "height": height, "kills": kills, "spec": html.spec(spec), **texts}
