"""The kernel's log of a run, in the chosen version's own format."""

from oomkit.kernel.decision import Decision
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.klog.write import stamped, write_report


def report(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    uptime_s: float,
) -> list[str]:
    """The stamped lines the kernel prints about one decision."""
    return stamped(write_report(snapshot, allocation, rules, decision), uptime_s)
