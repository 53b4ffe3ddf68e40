"""All that is looked for, worst first."""

from oomkit.host.configuration import Configuration
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Snapshot
from oomkit.posture.doctor import limits, memory, units, victims
from oomkit.posture.doctor.finding import Case, Finding

_ORDER = ("critical", "warning", "info")


def examine(
    snapshot: Snapshot, rules: RuleSet, configuration: Configuration | None
) -> tuple[Finding, ...]:
    """Look for what invites a bad OOM.

    Args:
        snapshot: the machine.
        rules: its kernel's rules.
        configuration: what else was read of it; None: only the snapshot is known.
    """
    case = Case(snapshot, rules, configuration)
    found = [
        finding for part in (victims, units, limits, memory) for finding in part.findings(case)
    ]
    found.sort(key=lambda finding: _ORDER.index(finding.severity))
    return tuple(found)
