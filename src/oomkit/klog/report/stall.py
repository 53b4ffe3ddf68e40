"""Warnings of allocations that wait for memory: a timed witness of a freeze."""

from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.records import Report, Stall

_STALL = re.compile(
    r"^(?P<comm>.{1,20}?): page allocation (?:stall for (?P<s>\d{1,9}) secs: order:"
    r"|stalls for (?P<ms>\d{1,10})ms, order:)(?P<order>\d{1,2}), mode:"
)
MAX_STALLS = 64
MAX_BEFORE_S = 300.0
"""Maximum seconds, by the kernel's clock, from a warning to the report of its shortage."""


def parse_stall(line: Line) -> Stall | None:
    """Read the warning of ``check_alloc_stall_warn()`` (7.2) or ``warn_alloc()`` (4.10-4.14)."""
    match = _STALL.match(line.text)
    if match is None:
        return None
    waited = float(match["s"]) if match["s"] else int(match["ms"]) / 1000
    return Stall(
        comm=match["comm"],
        waited_s=waited,
        order=int(match["order"]),
        time=line.time,
        uptime_s=line.uptime_s,
        line=line.number,
    )


class Stalls:
    """The warnings that no report has claimed yet."""

    def __init__(self) -> None:
        self._waiting: list[Stall] = []

    def append(self, stall: Stall) -> None:
        """Take one."""
        self._waiting.append(stall)
        del self._waiting[:-MAX_STALLS]

    def before(self, report: Report) -> tuple[Stall, ...]:
        """Hand out those that stand before a report and belong to its shortage."""
        first = report.source.line
        earlier = [stall for stall in self._waiting if stall.line < first]
        self._waiting = [stall for stall in self._waiting if stall.line >= first]
        return tuple(stall for stall in earlier if _near(stall, report))


def _near(stall: Stall, report: Report) -> bool:
    if stall.uptime_s is None or report.uptime_s is None:
        return True
    return 0 <= report.uptime_s - stall.uptime_s <= MAX_BEFORE_S
