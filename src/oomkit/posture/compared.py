"""Decisions about a machine as it is beside those about the machine with something changed."""

import msgspec

from oomkit.kernel.decision import Decision
from oomkit.kernel.state import Snapshot
from oomkit.posture.whatif import Change


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about the machine as it is, and the same with something changed.

    Attributes:
        of: the memory cgroup that runs out; None: what the question was about.
        machine: the machine as it is.
        before: what is decided there.
        after: what is decided on the changed machine.
    """

    of: str | None = None
    machine: Snapshot
    before: Decision
    after: Decision

    @property
    def altered(self) -> bool:
        """Another outcome, or other victims."""
        return _fate(self.before) != _fate(self.after)


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


def _fate(decision: Decision) -> tuple[str, tuple[int, ...]]:
    return decision.action, tuple(victim.pid for victim in decision.victims)
