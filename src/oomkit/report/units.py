"""Quantities and foreign text, fit for a terminal."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_bytes(count: float) -> str:
    """Return ``594 MiB``: three significant digits, binary units."""
    value = float(count)
    unit = 0
    while abs(value) >= 1023.5 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    if unit == 0 or abs(value) >= 99.95:
        return f"{value:.0f} {_UNITS[unit]}"
    return f"{value:.{1 if abs(value) >= 9.995 else 2}f} {_UNITS[unit]}"


def human_pages(pages: int, page_size: int) -> str:
    """Return a number of pages as bytes a person can compare."""
    return human_bytes(pages * page_size)
