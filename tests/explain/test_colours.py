"""Colours of the page's bars, on what they lie on."""

import re

import pytest

from oomkit.render.html import page
from oomkit.views.explain_report import COLOURS

_TROUGHS = re.findall(r"--trough: (#[0-9a-f]{6})", page("", ""))

_MIN = 2.5
"""What is lighter or darker than its ground by less is hard to see."""


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", COLOURS)
def test_each_bar_is_seen_on_a_dark_page(name: str) -> None:
    _, dark = _TROUGHS
    assert _contrast(COLOURS[name], dark) >= _MIN


def test_swap_is_seen_on_both_pages_and_told_from_memory() -> None:
    for trough in _TROUGHS:
        assert _contrast(COLOURS["swap"], trough) >= _MIN
    assert COLOURS["swap"] != COLOURS["anon"]
