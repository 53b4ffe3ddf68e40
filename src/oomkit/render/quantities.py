"""Quantities and foreign text, fit for a terminal."""

import re

from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.printable import printable

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


_MB = 2**20
_PAGE_SIZE = 4096


def mb(amount: float) -> str:
    """A size of the record, in MB of 2**20 bytes, with the unit that suits it."""
    return human_bytes(amount * _MB)


def seconds(t: float) -> str:
    """A time: ``0.35 s``, ``12.4 s``, ``131 s``, ``12 min 5 s``, ``3 h 20 min``."""
    if t < 0.995:
        return f"{t:.2f} s"
    if t < 99.95:
        return f"{t:.1f} s"
    whole = round(t)
    if whole < 600:
        return f"{whole} s"
    if whole < 3 * 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def badness_text(badness: int | None, kernel: str) -> str:
    """Badness in the unit of the kernel's rules: pages, thousandths, or classic points."""
    if badness is None:
        return "badness not computed"
    try:
        unit = rules_for(kernel).badness
    except UnknownKernelError:
        return f"badness {badness}"
    if unit == "pages":
        return f"badness {badness} pages ({human_pages(badness, _PAGE_SIZE)})"
    if unit == "permille":
        return f"badness {badness} of 1000"
    return f"badness {badness} points"


FIELDS = {
    "kills": "kills",
    "freed_mb": "memory freed",
    "work_lost_s": "work lost",
    "innocents_killed": "innocents killed",
    "frozen_s": "frozen",
    "protected_killed": "protected killed",
    "ended_s": "ended after",
    "denied": "requests refused",
    "low_s": "low from",
    "signal_s": "first signal at",
    "back_s": "back at",
    "short_s": "low in all",
    "longest_gap_s": "longest pause",
    "longest_locked_gap_s": "longest locked pause",
}
"""What the fields of a run's record are called where people read them."""

OUTCOMES = {
    "completed": "completed",
    "timed_out": "timed out",
    "frozen": "frozen",
    "panicked": "panicked",
}


def outcome_of(outcome: str) -> str:
    """How a run ended, in words."""
    return OUTCOMES.get(outcome, outcome.replace("_", " "))


def count_of(number: int, thing: str) -> str:
    """``1 kill``, ``2 kills``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


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
    """A process as it is printed: ``comm[pid]``."""
    return f"{printable(comm)}[{pid}]"


def many(count: int, one: str, several: str | None = None) -> str:
    """``1 process``, ``3 processes``."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def moment(time: str) -> str:
    """An ISO 8601 time as a person reads it, to the second."""
    return re.sub(r"(:\d\d)[.,]\d+", r"\1", time.replace("T", " "))
