"""Quantities and names as the explanations write them."""

import re

from oomkit.printable import printable
from oomkit.render.quantities import human_bytes


def kb(size_kb: int) -> str:
    """A size in kB as a person reads it."""
    return human_bytes(size_kb * 1024)


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent."""
    if whole <= 0:
        return "-"
    percent = part * 100 / whole
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def label(comm: str, pid: int) -> str:
    """A process as a person is told of it."""
    return f"{printable(comm)}[{pid}]"


def many(count: int, one: str, several: str | None = None) -> str:
    """``1 process``, ``3 processes``."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def moment(time: str) -> str:
    """An ISO 8601 time as a person reads it, to the second."""
    return re.sub(r"(:\d\d)[.,]\d+", r"\1", time.replace("T", " "))
