"""The charts of a run as one picture."""

import struct
import zlib
from typing import Any, Literal

from oomkit.printable import printable
from oomkit.render.extras import need, need_altair
from oomkit.render.quantities import count_of, outcome_of, seconds
from oomkit.scenario import Run, Scenario
from oomkit.views.run_charts import panels
from oomkit.views.run_text import title

WIDTH = 860
"""Of the plots, in pixels; axes and legends come on top."""

_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"

_CONFIG = {
    "background": "white",
    "font": _FONT,
    "padding": 14,
    "title": {"anchor": "start", "frame": "bounds", "fontSize": 13, "offset": 6,
              "subtitleColor": "#555"},
    "axis": {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
             "gridColor": "#e6e6e6", "domainColor": "#999", "tickColor": "#999"},
    "axisY": {"minExtent": 38},
    "legend": {"labelFontSize": 11, "orient": "right", "symbolStrokeWidth": 2.5,
               "symbolSize": 140},
    "view": {"stroke": "#cccccc"},
}  # fmt: skip


def picture(
    run: Run,
    fmt: Literal["png", "svg"],
    scenario: Scenario | None = None,
    *,
    scale: float = 1.5,
) -> bytes:
    """Draw a run.

    Args:
        run: the record.
        fmt: PNG, or SVG in UTF-8.
        scenario: what was played, for the size of memory and swap.
        scale: pixels of a PNG for each unit of length.

    Raises:
        MissingExtraError: altair or vl-convert-python is not installed.
        ValueError: the run has no samples to draw.
    """
    spec = picture_spec(run, scenario)
    convert = need("vl_convert")
    # Fonts and data come with the call; nothing may be fetched.
    if fmt == "svg":
        svg: str = convert.vegalite_to_svg(spec, allowed_base_urls=[])
        return svg.encode()
    return _packed(convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[]))


def picture_spec(run: Run, scenario: Scenario | None = None) -> dict[str, Any]:
    """The picture as a Vega-Lite specification.

    Raises:
        MissingExtraError: altair is not installed.
        ValueError: the run has no samples to draw.
    """
    need_altair()
    import altair as alt

    found = panels(run, scenario, interactive=False)
    if not found:
        raise ValueError("the run has no samples to draw")
    charts = [
        panel.chart.properties(
            width=WIDTH, height=panel.height, title={"text": panel.title, "subtitle": panel.note}
        )
        for panel in found
    ]
    whole = (
        alt.vconcat(*charts, spacing=14)
        .resolve_scale(color="independent")
        .properties(
            title={
                "text": title(run),
                "subtitle": _subtitle(run, scenario),
                "fontSize": 16,
                "offset": 12,
            }
        )
        .configure(**_CONFIG)
    )
    spec: dict[str, Any] = whole.to_dict(validate=False)
    return spec


def _subtitle(run: Run, scenario: Scenario | None) -> list[str]:
    text = f"{outcome_of(run.outcome)} after {seconds(run.ended_s)}"
    text += f", {count_of(run.objectives.kills, 'kill')}"
    if run.kills:
        text += " (red marks)"
    if run.frozen:
        text += f", unusable for {seconds(run.objectives.frozen_s)} (shaded)"
    about = " ".join(scenario.about.split()) if scenario is not None else ""
    return [printable(line) for line in (about, text) if line]


def _packed(png: bytes) -> bytes:
    """The same PNG with its data packed as tightly as zlib can: a third of the size."""
    head, data, place = [png[:8]], [], 8
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        chunk = png[place : place + length + 12]
        if kind == b"IDAT":
            data.append(chunk[8:-4])
        elif kind != b"IEND":
            head.append(chunk)
        place += length + 12
    packed = zlib.compress(zlib.decompress(b"".join(data)), 9)
    return b"".join((*head, _chunk(b"IDAT", packed), _chunk(b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
