"""The kernel's log of a run."""

from oomkit.kernel.decision import Decision
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot


def report(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    now_s: float,
) -> list[str]:
    """The lines of one decision."""
    stamp = f"[{snapshot.uptime_s + now_s % 1:12.6f}] "
    del allocation, rules
    lines = [f"out of memory: {decision.action}"]
    lines += [f"Killed process {v.pid} ({v.comm})" for v in decision.victims]
    return [stamp + line for line in lines]
