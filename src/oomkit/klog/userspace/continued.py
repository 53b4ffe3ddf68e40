"""What the lines below one that tells of a death add to it, by who printed it."""

from collections.abc import Callable

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines import expressions as re
from oomkit.klog.lines.line import Line
from oomkit.klog.userspace.form import size_kb
from oomkit.klog.userspace.named import PBS_JOB
from oomkit.records import replace

_DRIVER_FREE = re.compile(
    r"to free (?P<free>\d+kB)(?: on behalf of '(?P<comm>[^']*)' \((?P<pid>\d+)\))?"
)
_DRIVER_CACHE = re.compile(r"cache (?P<cache>\d+kB) is below (?:limit|minimum) (?P<limit>\d+kB)")
_PEAK = re.compile(r"(?P<unit>\S+): Consumed .*?(?P<used>[\d.]+[KMGT]?) memory peak")
_EARLYOOM_OUTCOME = re.compile(
    r"process (?:\d+ )?(?:(?P<exited>exited)|did not exit)\b|kill failed: Timer expired"
)

JOB_LINES = 8
"""So far apart a batch system names a job and says what became of it."""


def _driver(held: Evidence, text: str) -> Evidence | None:
    """The kernel's Android driver tells in three or four lines why it killed."""
    free, cache = _DRIVER_FREE.search(text), _DRIVER_CACHE.search(text)
    if free is not None:
        invoker = f"{free['comm']}[{free['pid']}]" if free["comm"] else None
        used = size_kb(free["free"])
        return replace(held, text=f"{held.text} {text}", used_kb=used, invoker=invoker)
    if cache is not None:
        reason = f"file cache {cache['cache']} was below its limit of {cache['limit']}"
        return replace(held, text=f"{held.text} {text}", reason=reason)
    return held if text.startswith("Free memory is") else None


def _freed(held: Evidence, line: Line) -> Evidence | None:
    """Older lmkd says in a line of its own what a kill would free, and why."""
    freed = _LMKD_FREES.search(line.text)
    if freed is None or held.used_kb is not None:
        return None
    return replace(held, used_kb=size_kb(freed["used"]), reason=freed["reason"])


_LMKD_FREES = re.compile(
    r"to free (?P<used>\d+kB) because (?P<reason>system is under \w+ memory pressure)"
)


def _outcome(held: Evidence, line: Line) -> Evidence | None:
    """Earlyoom says whether the process that it signalled exited."""
    outcome = _EARLYOOM_OUTCOME.search(line.text) if line.tag in (None, "earlyoom") else None
    if outcome is None:
        return None
    return replace(held, exited=outcome["exited"] is not None)


def _peak(held: Evidence, line: Line) -> Evidence | None:
    """Systemd says what a unit held at most when it is over."""
    peak = _PEAK.match(line.text)
    if peak is None or peak["unit"] != held.unit:
        return None
    return replace(held, used_kb=size_kb(peak["used"]))


def _peak_of_lsf(held: Evidence, line: Line) -> Evidence | None:
    """LSF sums up below what a job held at most."""
    peak = _LSF_PEAK.match(line.text)
    if peak is None or line.number - held.source.line > JOB_LINES:
        return None
    return replace(held, used_kb=size_kb(peak["used"]))


_LSF_PEAK = re.compile(r"Max Memory : +(?P<used>[\d.]+ [KMGT]?B(?:ytes)?)")


def _job(held: Evidence, line: Line) -> Evidence | None:
    """PBS names the job in a summary below."""
    job = PBS_JOB.search(line.text)
    if job is None or held.job is not None or line.number - held.source.line > JOB_LINES:
        return None
    return replace(held, job=job["job"])


CONTINUED: dict[str, Callable[[Evidence, Line], Evidence | None]] = {
    "lowmemorykiller": lambda held, line: _driver(held, line.text),
    "earlyoom": _outcome,
    "systemd": _peak,
    "pbs": _job,
    "lsf": _peak_of_lsf,
    "lmkd": _freed,
}
"""What the lines below those of each add."""
