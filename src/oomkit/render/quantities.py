"""How bytes, times, shares, counts and processes are printed, in every command."""

import re

from oomkit.printable import printable

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_bytes(count: float) -> str:
    """Return ``594 MiB``: three significant digits, binary units."""
    value = float(count)
    unit = 0
    while abs(value) >= 1023.5 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.0f} B" if unit == 0 else f"{_three_digits(value)} {_UNITS[unit]}"


def _three_digits(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}"


def human_pages(pages: int, page_size: int) -> str:
    """Return a number of pages as bytes a person can compare."""
    return human_bytes(pages * page_size)


_MB = 2**20


def mb(amount: float) -> str:
    """A size of the record, in MB of 2**20 bytes, with the unit that suits it."""
    return human_bytes(amount * _MB)


def seconds(t: float) -> str:
    """A time: ``0.35 s``, ``12.4 s``, ``131 s``, ``12 min 5 s``, ``3 h 20 min``."""
    if t < 0:
        return f"-{seconds(-t)}"
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
    "requests_in_time": "requests in time",
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


def count_of(number: int, thing: str, things: str | None = None) -> str:
    """``1 kill``, ``2 kills``; ``things`` is the plural that is not made with an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def kb(size_kb: float) -> str:
    """A size in kB as a person reads it."""
    return human_bytes(size_kb * 1024)


def percent(share: float) -> str:
    """A share, 1 for the whole: ``97 %``, ``1.1 %``."""
    value = share * 100
    return f"{value:.0f} %" if abs(value) >= 9.95 or value == 0 else f"{value:.1f} %"


def time_share(share: float) -> str:
    """A share of time that tasks wait, of which PSI has two decimals: ``25.6 %``, ``0.14 %``."""
    return f"{_three_digits(share * 100)} %"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent; ``-`` where the whole is nothing."""
    return percent(part / whole) if whole > 0 else "-"


def label(comm: str, pid: int) -> str:
    """A process as it is printed: ``comm[pid]``, or its number where the name is lost."""
    return f"process {pid}" if not comm else f"{printable(comm)}[{pid}]"


def moment(time: str) -> str:
    """An ISO 8601 time as a person reads it, to the second."""
    return re.sub(r"(:\d\d)[.,]\d+", r"\1", time.replace("T", " "))


def uptime(since_boot_s: float) -> str:
    """A kernel's own time stamp, to the millisecond."""
    return f"{since_boot_s:.3f} s after boot"
