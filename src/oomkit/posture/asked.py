"""A question about the next victim, with all it takes to answer it."""

from typing import TYPE_CHECKING

import msgspec

from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import Ranked, rank, within
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot

if TYPE_CHECKING:
    from oomkit.posture.compared import WhatIf
    from oomkit.posture.groups import By


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The question and the decision about it.

    Attributes:
        snapshot: the machine, with what was to be changed.
        allocation: the request that fails.
        rules: the kernel's rules.
        decision: what they decide.
        why_pid: the process whose fate is asked about; None: no single one.
        by: what the kill order is grouped by; None: by process.
        whatif: what was changed; None: nothing.
    """

    snapshot: Snapshot
    allocation: Allocation
    rules: RuleSet
    decision: Decision
    why_pid: int | None = None
    by: "By | None" = None
    whatif: "WhatIf | None" = None

    def ranked(self) -> list[Ranked]:
        """The kill order of the processes the question is about."""
        rows = rank(self.snapshot, self.allocation, self.rules)
        return within(rows, self.allocation)
