"""A question about the next victim: the machine as it is, and beside it a changed one.

The kill order may be asked for by what processes belong to: units, cgroups, pods, users, names.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from oomkit.kernel.alloc import decide
from oomkit.kernel.cgroup_name import label_in, place, short_name
from oomkit.kernel.decision import Decision
from oomkit.kernel.rank import Ranked, asker_dies, rank, within
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task
from oomkit.kernel.versions import UnknownKernelError, rules_for
from oomkit.posture.whatif import Change
from oomkit.records import Record, replace

By = Literal["unit", "cgroup", "pod", "user", "name"]
KINDS: tuple[By, ...] = get_args(By)
NOWHERE = "(none)"


class Group(Record, frozen=True, kw_only=True):
    """Processes that belong together.

    Attributes:
        name: the unit, the cgroup's path, the pod's uid, the user id, or the name; ``(none)``
            for those that belong to none.
        title: what people call it, where that is more than its name.
        tasks: how many processes with memory.
        killable: how many of them can be chosen.
        rss_pages: what they have in memory; pages that several map count for each.
        swap_pages: what they have in swap.
        usage_pages: what their cgroup is charged, for cgroups.
        limit_pages: its limit, for cgroups; None: unlimited, or no record of it.
        first: which of them is killed first; None where none can be.
    """

    name: str
    tasks: int
    killable: int
    rss_pages: int
    swap_pages: int
    usage_pages: int | None = None
    limit_pages: int | None = None
    first: Ranked | None = None
    title: str | None = None


def grouped(snapshot: Snapshot, ranked: Sequence[Ranked], by: By) -> list[Group]:
    """Group the kill order: that which loses a process first stands first.

    Args:
        snapshot: the machine, for its cgroups.
        ranked: the rows to group, worst first.
        by: what to group by.
    """
    members: dict[str, list[Ranked]] = {}
    for row in ranked:
        if row.task.has_mm:
            members.setdefault(_KEYS[by](row.task), []).append(row)
    memcgs = {memcg.path: memcg for memcg in snapshot.memcgs} if by == "cgroup" else {}
    groups = [
        _group(name, rows, memcgs.get(name), _title(snapshot, by, name, rows))
        for name, rows in members.items()
    ]
    groups.sort(key=_order)
    return groups


def _title(snapshot: Snapshot, by: By, name: str, rows: list[Ranked]) -> str | None:
    if by == "cgroup":
        return label_in(snapshot, name)
    known = [names for row in rows if (names := snapshot.names.get(row.task.cgroup)) is not None]
    if by == "pod" and known and known[0].pod and name != NOWHERE:
        return "/".join(filter(None, (known[0].namespace, known[0].pod)))
    if by == "unit" and place(rows[0].task.cgroup).container and known:
        return known[0].text() or None
    return None


def _group(name: str, rows: list[Ranked], memcg: Memcg | None, title: str | None) -> Group:
    killable = [row for row in rows if row.rank is not None]
    return Group(
        name=name,
        tasks=len(rows),
        killable=len(killable),
        rss_pages=sum(row.task.rss_pages for row in rows),
        swap_pages=sum(row.task.swap_pages for row in rows),
        usage_pages=memcg.usage_pages if memcg is not None else None,
        limit_pages=memcg.limit_pages if memcg is not None else None,
        title=title,
        first=min(killable, key=lambda row: row.rank or 0) if killable else None,
    )


def _order(group: Group) -> tuple[bool, int]:
    first = group.first
    if first is None or first.rank is None:
        return True, -group.rss_pages
    return False, first.rank


def _unit(task: Task) -> str:
    found = place(task.cgroup)
    if found.pod or found.container:
        return short_name(task.cgroup)
    return found.unit or (NOWHERE if task.cgroup == "/" else task.cgroup)


_KEYS: dict[By, Callable[[Task], str]] = {
    "unit": _unit,
    "cgroup": lambda task: task.cgroup,
    "pod": lambda task: place(task.cgroup).pod or NOWHERE,
    "user": lambda task: str(task.uid),
    "name": lambda task: task.comm,
}


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
