"""Bars as inline SVG."""

from collections.abc import Sequence

from oomkit.render.html import escaped

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
