"""The memory cgroups of a machine, the worst first."""

from collections.abc import Iterable

from oomkit.kernel.alloc import decide
from oomkit.kernel.memcg_stat import MemcgStat
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task
from oomkit.posture.anatomy import Anatomy, anatomy
from oomkit.posture.anatomy_findings import Rates, time_to_limit_s
from oomkit.records import Record


class GroupRow(Record, frozen=True, kw_only=True):
    """A cgroup in the table.

    Attributes:
        memcg: the cgroup.
        stat: what the kernel counts of it; None: not looked at.
        found: its anatomy; None: not looked at.
        victim: which process is killed first if it runs out; None: none.
        victims: how many die with it, itself included.
        freed_bytes: what that gives back.
        rate: how it changes; None: not known.
        to_limit_s: when it meets its limit at that rate; None: never, or not known.
    """

    memcg: Memcg
    stat: MemcgStat | None
    found: Anatomy | None
    victim: Task | None
    victims: int
    freed_bytes: int
    rate: Rates | None = None
    to_limit_s: float | None = None


def worst_first(snapshot: Snapshot) -> list[Memcg]:
    """Order groups by how near their own limit they are; then those without one, by usage.

    The root, which is the machine, is not among them.
    """

    def order(memcg: Memcg) -> tuple[bool, float, int]:
        if memcg.limit_pages is None:
            return True, 0.0, -memcg.usage_pages
        return False, -memcg.usage_pages / max(1, memcg.limit_pages), -memcg.usage_pages

    return sorted((m for m in snapshot.memcgs if m.path != "/"), key=order)


def table_rows(
    snapshot: Snapshot,
    memcgs: Iterable[Memcg],
    rules: RuleSet,
    rates: dict[str, Rates] | None = None,
) -> list[GroupRow]:
    """For each group, what fills it and which process is killed when it runs out.

    Args:
        snapshot: the machine.
        memcgs: the groups to show.
        rules: the kernel's.
        rates: how groups change, by path.
    """
    stats = {stat.path: stat for stat in snapshot.anatomy}
    tasks = {task.pid: task for task in snapshot.tasks}
    rows = []
    for memcg in memcgs:
        stat = stats.get(memcg.path)
        found = None if stat is None else anatomy(snapshot, stat)
        rate = (rates or {}).get(memcg.path)
        decision = decide(snapshot, Allocation(memcg=memcg.path), rules)
        victims = decision.victims if decision.action in ("kill", "would_kill") else ()
        rows.append(
            GroupRow(
                memcg=memcg,
                stat=stat,
                found=found,
                victim=tasks.get(victims[0].pid) if victims else None,
                victims=len(victims),
                freed_bytes=decision.freed_pages * snapshot.page_size if victims else 0,
                rate=rate,
                to_limit_s=None if found is None else time_to_limit_s(found, rate),
            )
        )
    return rows
