"""Name the kernel of reports that don't, by what stands near them in the same log."""

import re
from collections.abc import Iterator, Sequence

from oomkit.explain.proximity import seconds
from oomkit.klog.records import KernelName, Report
from oomkit.klog.version_texts import NEWEST
from oomkit.records import replace

_DAY_S = 86400.0
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


def with_kernels(reports: Sequence[Report], named: Sequence[KernelName]) -> Iterator[Report]:
    """Yield the reports, those without a kernel's name with that of their neighbours.

    ``uname`` and forms about bugs name the machine's kernel wherever they stand; a neighbouring
    report does so as long as nothing shows another boot between the two. A name that does not fit
    what the report prints is not taken.
    """
    releases = {name.release for name in named}
    for i, report in enumerate(reports):
        if report.kernel is not None:
            yield report
            continue
        kernel = _neighbours(reports, i) or _of_machine(report, named, releases)
        yield report if kernel is None else replace(report, kernel=kernel)


def _neighbours(reports: Sequence[Report], at: int) -> str | None:
    """The kernel of the nearest report of the same boot, the one before first."""
    report = reports[at]
    for nearest in (reversed(reports[:at]), iter(reports[at + 1 :])):
        other = next((r for r in nearest if r.kernel is not None), None)
        if other is not None and _is_one_boot(other, report) and _fits(other.kernel, report):
            return other.kernel
    return None


def _is_one_boot(a: Report, b: Report) -> bool:
    if a.host is not None and b.host is not None and a.host != b.host:
        return False
    first, second = (a, b) if a.source.line <= b.source.line else (b, a)
    if first.uptime_s is not None and second.uptime_s is not None:
        return first.uptime_s <= second.uptime_s
    then, now = seconds(first), seconds(second)
    if first.time is not None and second.time is not None and then is not None and now is not None:
        return 0 <= now - then <= _DAY_S
    return (first.time is None) == (second.time is None)


def _of_machine(report: Report, named: Sequence[KernelName], releases: set[str]) -> str | None:
    """The one kernel that the log names outside of reports; None where it names several."""
    if len(releases) != 1:
        return None
    name = named[0]
    if name.host is not None and report.host is not None and name.host != report.host:
        return None
    return name.release if _fits(name.release, report) else None


def _fits(kernel: str | None, report: Report) -> bool:
    """Whether a kernel can have printed the report, judging by its format."""
    if kernel is None:
        return False
    if report.kernel_range is None:
        return True
    if ".el" in kernel:
        return True  # a vendor's kernel carries later texts
    low, high = map(_version, report.kernel_range)
    version = _version(kernel)
    return low <= version and (version <= high or report.kernel_range[1] == NEWEST)


def _version(release: str) -> tuple[int, ...]:
    numbers = _NUMBERS.match(release)
    version = tuple(map(int, numbers[0].split("."))) if numbers is not None else ()
    return version[:3] if version[:2] == (2, 6) else version[:2]
