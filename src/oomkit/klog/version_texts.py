"""Which versions print which text: guesses at the kernel when no line names it."""

from functools import lru_cache
from typing import Protocol

from oomkit.kernel.versions import LAST_KNOWN
from oomkit.klog.records import Reaped, Summary
from oomkit.klog.report.line_records import Header
from oomkit.klog.report.memcg import MemcgPart
from oomkit.klog.report.meminfo import MemoryPart
from oomkit.klog.report.tasks import table_form

NEWEST = LAST_KNOWN
"""The newest version whose texts are known; what it prints, later ones may print as well."""

_HEADER_RANGE = {
    "2.6.11": ("2.6.11", "2.6.12"),
    "2.6.13": ("2.6.13", "2.6.18"),
    "2.6.19": ("2.6.19", "2.6.31"),
    "2.6.32": ("2.6.32", "2.6.35"),
    "2.6.36": ("2.6.32", "3.6"),
    "3.7": ("3.7", "4.5"),
    "4.6": ("4.6", NEWEST),
    "4.9": ("4.9", "4.20"),
    "4.11": ("4.11", "4.14"),
    "4.15": ("4.15", "4.20"),
    "openvz": ("2.6.32", "2.6.32"),
}
_TABLE_RANGE = {
    "2.6.25": ("2.6.25", "2.6.35"),
    "2.6.36": ("2.6.32", "3.5"),
    "3.6": ("3.6", "3.19"),
    "4.0": ("4.0", "4.14"),
    "4.15": ("4.15", "5.4"),
    "4.19": ("4.19", "6.7"),
    "6.8": ("6.8", NEWEST),
}
_KILL_RANGE = {
    "2.6.11": ("2.6.11", "2.6.15"),
    "2.6.16": ("2.6.16", "2.6.19"),
    "2.6.20": ("2.6.20", "2.6.32"),
    "2.6.33": ("2.6.33", "2.6.35"),
    "2.6.36": ("2.6.36", "4.4"),
    "4.5": ("3.10", "5.0"),
    "5.1": ("5.1", "5.3"),
    "5.4": ("5.4", NEWEST),
    "2.6.36 or later": ("2.6.36", "5.0"),
    "5.1 or later": ("5.1", NEWEST),
    "el5": ("2.6.18", "2.6.18"),
    "el5 or el6": ("2.6.18", "2.6.32"),
    "el6": ("2.6.32", "2.6.32"),
    "el7": ("3.10", "3.10"),
    "openvz": ("2.6.32", "2.6.32"),
}
"""First and last mainline version of each form; vendors that carry it earlier widen it."""


class _Parts(Protocol):
    """What is asked of a report that is being put together."""

    header: Header | None
    columns: tuple[str, ...] | None
    wide_pid: bool
    summary: Summary | None
    reaped: list[Reaped]
    memcg: MemcgPart
    memory: MemoryPart
    kill_form: str | None
    would_have: bool

    @property
    def columns_guessed(self) -> tuple[str, ...] | None: ...


def version_range(report: _Parts) -> tuple[str, str] | None:
    """First and last version whose formats a report follows; None where its parts contradict."""
    ranges = []
    header = report.header
    if header is not None and header.form is not None:
        ranges.append(_HEADER_RANGE[header.form])
    columns = report.columns or report.columns_guessed
    if columns is not None:
        form = table_form(columns, wide=report.wide_pid)
        if form is not None:
            low, high = _TABLE_RANGE[form]
            # Rows alone don't show how wide the head's first column is.
            guessed = report.columns is None and form == "4.15"
            ranges.append((low, _TABLE_RANGE["4.19"][1] if guessed else high))
    if report.summary is not None and report.summary.constraint is not None:
        ranges.append(("5.0", NEWEST))
    if report.reaped:
        ranges.append(("4.6", NEWEST))
    if report.memcg.protection is not None:
        ranges.append(("6.19", NEWEST))
    if report.memory.versions is not None:
        ranges.append(report.memory.versions)
    killed = []
    if report.kill_form is not None and not report.would_have:
        killed.append(_KILL_RANGE[report.kill_form])
    # A kill line that is cut, or put together from two, looks like one of another version.
    return _common(ranges + killed) or _common(ranges)


def _common(ranges: list[tuple[str, str]]) -> tuple[str, str] | None:
    if not ranges:
        return None
    low = max((low for low, _ in ranges), key=_key)
    high = min((high for _, high in ranges), key=_key)
    return (low, high) if _key(low) <= _key(high) else None


@lru_cache(maxsize=64)
def _key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def is_mempolicy(header: Header, mems_allowed: str | None) -> bool:
    """Whether the head alone shows a request bound to nodes by a memory policy (4.9-4.20).

    The line prints the cpuset's nodes where the request had no nodemask, so it shows a policy
    only where it differs from them.
    """
    nodes = header.nodemask
    if nodes is None or nodes == "(null)" or header.form not in {"4.9", "4.11", "4.15"}:
        return False
    return nodes != mems_allowed and (header.form != "4.9" or mems_allowed is not None)
