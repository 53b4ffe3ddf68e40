"""What ran out, by every sign that a report has: the machine, a cgroup, some nodes, or nothing."""

from typing import Protocol

from oomkit.kernel.decision import Scope
from oomkit.klog import version_texts
from oomkit.klog.records import Summary
from oomkit.klog.report.line_records import Caller, Header
from oomkit.klog.report.memcg import MemcgPart
from oomkit.klog.report.meminfo import MemoryPart

OOM_FRAMES = frozenset(
    {"dump_header", "oom_kill_process", "out_of_memory", "mem_cgroup_out_of_memory"}
)
"""What is on the stack whenever a report is printed."""
_CALLERS = frozenset(
    {"out_of_memory", "__out_of_memory", "pagefault_out_of_memory", "mem_cgroup_oom_synchronize"}
)
"""What calls the OOM killer; a task that waits for it may have these on its stack, too."""
_CHARGES = ("__mem_cgroup_try_charge", "mem_cgroup_do_charge")
_MEMCG_TRACE = ("mem_cgroup_out_of_memory", "mem_cgroup_oom_synchronize")


class Signs(Protocol):
    """What of a report shows what ran out."""

    header: Header | None
    caller: Caller | None
    mems_allowed: str | None
    trace: list[str]
    guesses: set[str]
    memory: MemoryPart
    memcg: MemcgPart
    summary: Summary | None
    kill_text: str | None
    asked: bool
    panic: str | None

    @property
    def has_table(self) -> bool:
        """It has a table of tasks, or its head."""


def has_stack(report: Signs) -> bool:
    """Its call trace is that of a report, not of a task that only waits for the killer."""
    calls = OOM_FRAMES.intersection(report.trace) | (OOM_FRAMES & report.guesses)
    if not calls:
        return False
    if "dump_header" in calls and len(calls) > 1:
        return True
    if not (report.memory.empty and report.memcg.empty):
        return True
    return report.caller is not None and "oom_kill_process" in report.trace


def has_middle_of_stack(report: Signs) -> bool:
    """Its call trace has the killer below what calls it; its ends may be missing."""
    return "oom_kill_process" in report.trace and not _CALLERS.isdisjoint(report.trace)


def what_ran_out(report: Signs) -> tuple[str | None, Scope | None]:
    """What ran out, by every sign the report has."""
    header, summary = report.header, report.summary
    printed = summary.constraint if summary else None
    if report.asked or (header and header.order == -1) or "moom_callback" in report.trace:
        return printed or "CONSTRAINT_NONE", "sysrq"
    text = (report.kill_text or "").lower()
    if (
        printed == "CONSTRAINT_MEMCG"
        or not report.memcg.empty
        or (summary and summary.oom_memcg)
        or text.startswith(("memory cgroup", "out of memory in ub"))
        or any(name in _MEMCG_TRACE for name in _calls(report))
        or _was_charging(report)
    ):
        return "CONSTRAINT_MEMCG", "memcg"
    if printed == "CONSTRAINT_CPUSET":
        return printed, "cpuset"
    if printed == "CONSTRAINT_MEMORY_POLICY" or "mpol_bind" in text:
        return "CONSTRAINT_MEMORY_POLICY", "mempolicy"
    if "cpuset" in text:
        return "CONSTRAINT_CPUSET", "cpuset"
    return _scope_by_nodes(report, printed)


def _was_charging(report: Signs) -> bool:
    """A charge to a cgroup called the OOM killer, not an allocation (until 3.11, el7)."""
    calls = _calls(report)
    called = "oom_kill_process" in calls and "out_of_memory" not in calls
    return called and any(name in _CHARGES for name in calls)


def _calls(report: Signs) -> set[str]:
    """The functions of the call trace; those of a kernel that guesses them all, if they agree.

    Kernels without frame pointers mark each function that led here as a guess.
    """
    sure = set(report.trace)
    if not report.guesses or sure & {"oom_kill_process", "out_of_memory"}:
        return sure
    both = "out_of_memory" in report.guesses and not report.guesses.isdisjoint(_MEMCG_TRACE)
    return sure if both else sure | report.guesses


def beancounter(report: Signs) -> str | None:
    """OpenVZ's user beancounter, which stands in the place of a cgroup."""
    text = report.kill_text or ""
    return text[text.index("UB") :] if text.startswith("Out of memory in UB") else None


def _scope_by_nodes(report: Signs, printed: str | None) -> tuple[str | None, Scope | None]:
    header, summary = report.header, report.summary
    policy = header is not None and version_texts.is_mempolicy(header, report.mems_allowed)
    if policy:
        return "CONSTRAINT_MEMORY_POLICY", "mempolicy"
    if printed or (summary and summary.global_oom):
        return printed or "CONSTRAINT_NONE", "global"
    if report.panic or report.kill_text or report.memory.begun or not report.memory.empty:
        return None, "global"
    if "out_of_memory" in _calls(report) or (header is not None and report.has_table):
        return None, "global"
    return None, None
