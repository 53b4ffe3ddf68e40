"""Decisions about a machine as it is beside those about the machine with something changed."""

import msgspec

from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import asker_dies
from oomkit.kernel.state import Snapshot
from oomkit.posture.whatif import Change


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about the machine as it is, and the same with something changed.

    Attributes:
        of: the memory cgroup that runs out; None: what the question was about.
        machine: the machine as it is.
        before: what is decided there.
        after: what is decided on the changed machine.
        changed: the changed machine.
        asker: pid of the task whose request fails; None: not known.
    """

    of: str | None = None
    machine: Snapshot
    before: Decision
    after: Decision
    changed: Snapshot
    asker: int | None = None

    @property
    def altered(self) -> bool:
        """Another outcome, or other victims."""
        return self.fate(self.machine, self.before) != self.fate(self.changed, self.after)

    def fate(self, machine: Snapshot, decision: Decision) -> tuple[str, bool, tuple[int, ...]]:
        """What is compared: the action, whether the task that asks pays, and the victims."""
        victims = tuple(victim.pid for victim in decision.victims)
        return decision.action, asker_dies(machine, decision, self.asker), victims


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """The changes, and what comes of them.

    Attributes:
        changes: what is not as it is.
        rules: names of the rule sets before and after.
        compared: the decision asked about, then those of the cgroups that were changed.
    """

    changes: tuple[Change, ...]
    rules: tuple[str, str]
    compared: tuple[Comparison, ...]
