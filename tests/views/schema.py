"""Charts are held to the schema of Vega-Lite: views make them without looking."""

import json
import re
from typing import Any


def hold(spec: dict[str, Any]) -> None:
    """Hold one chart's specification to the schema.

    Raises:
        jsonschema.ValidationError: it is not as the schema says.
    """
    import altair as alt

    alt.TopLevelSpec.validate(spec)


def hold_page(page: str) -> None:
    """Hold each chart of a page to the schema; there is one at least."""
    specs = re.findall(r'class="spec"[^>]*>(.*?)</script>', page)
    assert specs
    for spec in specs:
        hold(json.loads(spec))
