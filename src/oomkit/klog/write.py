"""Write the report that a kernel of some rule set prints about a decision.

The model's kernel log is made of these lines; :mod:`oomkit.klog.reader` reads them back.
"""

from collections.abc import Iterable

from oomkit.kernel.badness import out_of_reach
from oomkit.kernel.constraint import control_for
from oomkit.kernel.decision import Decision
from oomkit.kernel.oom_control import in_memcg, is_hidden
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task
from oomkit.klog import writeparts as parts
from oomkit.klog.writememinfo import mem_info

STALL_WARNING_S = 10.0
"""``ALLOC_STALL_WARN_MSECS`` (mm/page_alloc.c)."""

_DEADLOCK = "System is deadlocked on memory"
_NOBODY = "Out of memory and no killable processes..."


def write_report(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, decision: Decision
) -> list[str]:
    """Return the lines of the report, without stamps.

    A decision that neither kills nor panics is silent, but for a memory cgroup without a task
    that can be killed.

    Args:
        snapshot: the machine at the moment of the decision.
        allocation: the request that could not be met.
        rules: the rule set, which fixes the texts.
        decision: what the rules decided.
    """
    if decision.action == "none" and not _found_nobody(decision):
        return []
    by_pid = {task.pid: task for task in snapshot.tasks}
    current = None if allocation.pid is None else by_pid.get(allocation.pid)
    lines: list[str] = []
    if decision.action != "panic" or rules.badness != "classic":
        lines += _head(snapshot, allocation, rules, current)
    if decision.action in ("kill", "would_kill"):
        lines += _kill(snapshot, allocation, rules, decision, by_pid, current)
    elif decision.action == "none":
        lines.append(_NOBODY)
    else:
        if decision.panic == _DEADLOCK:
            lines.append(_NOBODY)
        lines.append(f"Kernel panic - not syncing: {decision.panic}")
    return lines


def stamped(lines: Iterable[str], uptime_s: float) -> list[str]:
    """Put the kernel's stamp before each line."""
    return [f"[{uptime_s:12.6f}] {line}" for line in lines]


def reaped(victim: Task, *, anon_kb: int = 0, file_kb: int = 0, shmem_kb: int = 0) -> str:
    """The line of oom_reaper about a victim whose memory it freed (4.6 and later)."""
    return (
        f"oom_reaper: reaped process {victim.pid} ({victim.comm}), now anon-rss:{anon_kb}kB, "
        f"file-rss:{file_kb}kB, shmem-rss:{shmem_kb}kB"
    )


def stalled(task: Task, waited_s: float, allocation: Allocation, rules: RuleSet) -> list[str]:
    """The line that opens the warning of an allocation that waits (7.2 and later).

    Args:
        task: which task waits.
        waited_s: for how long.
        allocation: its request.
        rules: the rule set; empty for one without such a warning, and below ten seconds.
    """
    if not rules.stall_warning or waited_s < STALL_WARNING_S:
        return []
    return [parts.stall(task, int(waited_s), allocation, rules)]


def _found_nobody(decision: Decision) -> bool:
    return decision.scope == "memcg" and any("no killable process" in s for s in decision.trace)


def _head(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, current: Task | None
) -> list[str]:
    page_kb = snapshot.page_size // 1024
    lines = [parts.header(allocation, current, rules)]
    lines += parts.caller(current, snapshot.kernel, rules)
    if allocation.memcg is not None:
        memcg = next((m for m in snapshot.memcgs if m.path == allocation.memcg), None)
        memcg = memcg or Memcg(path=allocation.memcg)
        task_path = current.cgroup if current else memcg.path
        lines += parts.memcg_info(memcg, task_path, page_kb, rules)
    if allocation.memcg is None or rules.log_memcg in ("none", "2.6.30"):
        lines += mem_info(snapshot.memory, page_kb, rules)
    lines += parts.protection(snapshot, allocation, rules)
    if snapshot.sysctl.oom_dump_tasks:
        lines += parts.table(_listed(snapshot, allocation, rules), snapshot, rules)
    return lines


def _listed(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> list[Task]:
    """The tasks that the table shows: since 2.6.36 only those the choice was between."""
    oc = control_for(snapshot, allocation, rules)
    if rules.log_table == "2.6.25":
        path = allocation.memcg
        return [
            t for t in snapshot.tasks if t.has_mm and (path is None or in_memcg(t.cgroup, path))
        ]
    in_reach = [t for t in snapshot.tasks if t.has_mm and out_of_reach(t, oc) is None]
    if allocation.memcg is None:
        return in_reach
    return [task for task in in_reach if not is_hidden(task, rules)]


def _kill(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    decision: Decision,
    by_pid: dict[int, Task],
    current: Task | None,
) -> list[str]:
    page_kb = snapshot.page_size // 1024
    text = decision.message or "Out of memory"
    first = decision.victims[0]
    victim = by_pid[first.pid]
    chosen = by_pid.get(decision.chosen_pid or first.pid, victim)
    lines = parts.summary(decision, allocation, current, chosen, rules)
    lines += parts.selected(decision, chosen, rules)
    if decision.action == "would_kill":
        return [*lines, parts.would_have(first, rules)]
    lines.append(parts.killed(victim, text, page_kb, rules))
    grouped = [v for v in decision.victims[1:] if v.reason == "oom_group"]
    for other in decision.victims[1:]:
        if other.reason == "mm_sharer":
            lines += parts.sharer(other, rules)
    if grouped:
        path = _group_path(snapshot, victim)
        lines.append(f"Tasks in {path} are going to be killed due to memory.oom.group set")
        lines += [parts.killed(by_pid[v.pid], text, page_kb, rules) for v in grouped]
    return lines


def _group_path(snapshot: Snapshot, victim: Task) -> str:
    """The highest cgroup around the victim that dies as one."""
    groups = [m.path for m in snapshot.memcgs if m.oom_group and in_memcg(victim.cgroup, m.path)]
    return min(groups, key=len, default=victim.cgroup)
