"""A question about the next victim: the machine as it is, and beside it a changed one."""

from typing import TYPE_CHECKING

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import Ranked, asker_dies, rank, within
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.posture.whatif import Change
from oomkit.records import Record, replace

if TYPE_CHECKING:
    from oomkit.posture.groups import By


class Comparison(Record, frozen=True, kw_only=True):
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


class WhatIf(Record, frozen=True, kw_only=True):
    """The changes, and what comes of them.

    Attributes:
        changes: what is not as it is.
        rules: names of the rule sets before and after.
        compared: the decision asked about, then those of the cgroups that were changed.
    """

    changes: tuple[Change, ...]
    rules: tuple[str, str]
    compared: tuple[Comparison, ...]


class Asked(Record, frozen=True, kw_only=True):
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


def whatif_of(
    as_it_is: Snapshot,
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    changes: tuple[Change, ...],
) -> WhatIf | None:
    """What the changes change; None where nothing is changed.

    Args:
        as_it_is: the machine.
        snapshot: the same with the changes made.
        allocation: the request that fails.
        rules: the kernel that decides on the changed machine.
        changes: what was changed.
    """
    try:
        before = rules_for(as_it_is.kernel)
    except UnknownKernelError:
        before = rules  # then the rules that were asked for are the only ones there are
    if not changes and before == rules:
        return None

    def compared(memcg: str | None, of: str | None) -> Comparison:
        request = replace(allocation, memcg=memcg)
        return Comparison(
            of=of,
            machine=as_it_is,
            before=decide(as_it_is, request, before),
            after=decide(snapshot, request, rules),
            changed=snapshot,
            asker=allocation.pid,
        )

    groups = dict.fromkeys(c.cgroup for c in changes if c.cgroup not in (None, allocation.memcg))
    return WhatIf(
        changes=changes,
        rules=(before.name, rules.name),
        compared=(
            compared(allocation.memcg, None),
            *(compared(path, path) for path in groups),
        ),
    )
