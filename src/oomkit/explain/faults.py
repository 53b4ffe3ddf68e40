"""Known faults of the kernel that explain what a log shows; see :mod:`oomkit.kernel.faults`."""

from collections.abc import Iterator, Sequence

from oomkit.explain.records import Finding, Level
from oomkit.kernel.faults import MEMCG_LOOP, NEXT_SELECTION, SOFT_LIMIT, KernelFault, has_fault
from oomkit.klog.records import Report
from oomkit.render.quantities import count_of

LOOP_REPORTS = 3
"""So many reports of one cgroup, after a kill and without a new victim, are a loop."""


def kernel_faults(report: Report, incident: Sequence[Report]) -> tuple[Finding, ...]:
    """The known faults that a report, among those of its incident, shows signs of.

    Args:
        report: the report.
        incident: all reports of the same shortage, in their order.
    """
    return (*_loop(report, incident), *_soft_limit(report), *_selection(report))


def _found(fault: KernelFault, level: Level, seen: str) -> Finding:
    text = f"{seen}: {fault.what}; what helps: {fault.cure}"
    return Finding(kind=fault.code, level=level, text=text)


def _loop(report: Report, incident: Sequence[Report]) -> Iterator[Finding]:
    if report.scope != "memcg" or not has_fault(MEMCG_LOOP, report.kernel, report.rules):
        return
    same = [r for r in incident if r.scope == "memcg" and r.cgroup == report.cgroup]
    dead: set[tuple[int, str]] = set()
    idle = 0
    for one in same:
        new = {(victim.pid, victim.comm) for victim in one.killed} - dead
        idle += bool(dead) and not new
        dead |= new
    if idle >= LOOP_REPORTS:
        yield _found(
            MEMCG_LOOP, "cause", f"{count_of(idle, 'report')} of this cgroup brought no new victim"
        )


def _soft_limit(report: Report) -> Iterator[Finding]:
    v1 = report.memcg is not None and report.memcg.memsw is not None
    if v1 and has_fault(SOFT_LIMIT, report.kernel, report.rules):
        yield _found(SOFT_LIMIT, "note", "this machine limits memory by cgroup v1")


def _selection(report: Report) -> Iterator[Finding]:
    if report.agrees is False and has_fault(NEXT_SELECTION, report.kernel, report.rules):
        yield _found(NEXT_SELECTION, "odd", "the victim is not the first of the kernel's own table")
