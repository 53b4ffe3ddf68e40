"""Known faults of kernels that look like something else: versions, signs, and what helps."""

import re
from collections.abc import Callable

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.records import Record


class KernelFault(Record, frozen=True, kw_only=True):
    """One known fault.

    Attributes:
        code: a stable name.
        what: what goes wrong, as the beginning of a sentence.
        versions: which kernels have it, in words.
        signature: what one sees of it.
        cure: what helps.
        has: whether a kernel has it, by its rules and its release (empty: not known).
    """

    code: str
    what: str
    versions: str
    signature: str
    cure: str
    has: Callable[[RuleSet, str], bool]


def _may_loop(rules: RuleSet, _release: str) -> bool:
    kills_while_charging = not rules.memcg_at_fault_end and rules.memcg_no_victim == "nothing"
    return rules.oom_reaper and kills_while_charging and not rules.memcg_reaped_charge


_NEXT_2020 = re.compile(r"^5\.8\.0-rc\d+-next-2020\d{4}\b")

MEMCG_LOOP = KernelFault(
    code="memcg_oom_loop",
    what="the dying threads of a victim whose memory was already reaped call the OOM killer of "
    "their memory cgroup again and again (CVE-2026-93241)",
    versions="4.19 to 7.2.5",
    signature="report after report of one cgroup without a new victim, for minutes or hours",
    cure="7.3, or a stable kernel of September 2026 or later (7.2.6); until then raise the "
    "cgroup's limit for a moment, or let memory.oom.group or a guard kill the cgroup as a whole",
    has=_may_loop,
)
SOFT_LIMIT = KernelFault(
    code="soft_limit_ignored",
    what="memory.soft_limit_in_bytes of cgroup v1 has no effect and reads as unlimited "
    "(CVE-2026-93240)",
    versions="from 7.2.6 and 7.3 on",
    signature="groups above their soft limit are no longer reclaimed first",
    cure="memory.low and memory.high of cgroup v2, or hard limits",
    has=lambda rules, _release: not rules.soft_limit,
)
NEXT_SELECTION = KernelFault(
    code="next_selection",
    what="linux-next of 2020 carried an unfinished form of the signed badness of 5.9",
    versions="5.8.0-rc with -next-2020 in its name",
    signature="the process that dies is not the first of the kernel's own table",
    cure="a released kernel",
    has=lambda _rules, release: bool(_NEXT_2020.match(release)),
)

FAULTS: tuple[KernelFault, ...] = (MEMCG_LOOP, SOFT_LIMIT, NEXT_SELECTION)


def has_fault(fault: KernelFault, release: str | None, rules_name: str | None = None) -> bool:
    """Whether a kernel has a fault.

    Args:
        fault: which.
        release: as ``uname -r`` prints it; None where it is not known.
        rules_name: the rule set it is judged by, for kernels whose release is not known.
    """
    try:
        rules = rules_for(release or rules_name or "")
    except UnknownKernelError:
        return False
    return fault.has(rules, release or "")
