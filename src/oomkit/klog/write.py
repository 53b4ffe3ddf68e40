"""Write the report that a kernel of some rule set prints about a decision.

The model's kernel log is made of these lines; :mod:`oomkit.klog.reader` reads them back.
"""

from collections.abc import Iterable

from oomkit.kernel.badness import out_of_reach
from oomkit.kernel.constraint import control_for
from oomkit.kernel.decision import Decision
from oomkit.kernel.oom_control import in_memcg, is_hidden
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Memory, Snapshot, Task
from oomkit.klog import writeparts as parts

_SECOND_TABLES = ("6.1", "7.1", "7.3")


def mem_info(memory: Memory, page_kb: int, rules: RuleSet) -> list[str]:
    """The machine's memory: counters, one zone, swap and RAM."""
    return [
        "Mem-info:" if rules.log_meminfo in ("2.6.11", "2.6.28") else "Mem-Info:",
        *_counters(memory, rules),
        *_node(memory, page_kb, rules),
        _zone(memory, page_kb, rules),
        *_swap_and_ram(memory, page_kb, rules),
    ]


def _counters(memory: Memory, rules: RuleSet) -> list[str]:
    form = rules.log_meminfo
    anon, shmem = memory.anon_pages, memory.shmem_pages
    files = max(memory.file_pages - shmem, 0)
    slab = memory.slab_reclaimable_pages + memory.slab_unreclaimable_pages
    first, second = anon // 2, anon - anon // 2 + shmem
    active, inactive = files // 2, files - files // 2
    tables = f"pagetables:{memory.pgtable_pages}"
    if form in ("2.6.11", "2.6.28"):
        last = f" free:{memory.free_pages} slab:{slab} mapped:0 {tables} bounce:0"
        if form == "2.6.11":
            lists = f"Active:{first + active} inactive:{second + inactive}"
            return [f"{lists} dirty:0 writeback:0 unstable:0", last]
        return [
            f"Active_anon:{first} active_file:{active} inactive_anon:{second}",
            f" inactive_file:{inactive} unevictable:0 dirty:0 writeback:0 unstable:0",
            last,
        ]
    slabs = (
        f"slab_reclaimable:{memory.slab_reclaimable_pages} "
        f"slab_unreclaimable:{memory.slab_unreclaimable_pages}"
    )
    lines = [
        f"active_anon:{first} inactive_anon:{second} isolated_anon:0",
        f" active_file:{active} inactive_file:{inactive} isolated_file:0",
    ]
    if form in ("2.6.32", "3.7"):
        lines += [
            " unevictable:0 dirty:0 writeback:0 unstable:0",
            f" free:{memory.free_pages} {slabs}",
            f" mapped:0 shmem:{shmem} {tables} bounce:0",
        ]
        return [*lines, " free_cma:0"] if form == "3.7" else lines
    unstable = " unstable:0" if form == "4.2" else ""
    lines += [f" unevictable:0 dirty:0 writeback:0{unstable}", f" {slabs}"]
    if form in _SECOND_TABLES:
        lines += [f" mapped:0 shmem:{shmem} {tables}", " sec_pagetables:0 bounce:0"]
    else:
        lines.append(f" mapped:0 shmem:{shmem} {tables} bounce:0")
    if form == "5.15" or form in _SECOND_TABLES:
        lines.append(" kernel_misc_reclaimable:0")
    return [*lines, f" free:{memory.free_pages} free_pcp:0 free_cma:0"]


def _node(memory: Memory, page_kb: int, rules: RuleSet) -> list[str]:
    """The node's line, written where it has what the machine's counters lack: GPUs' memory."""
    if rules.log_meminfo not in ("7.1", "7.3"):
        return []
    anon = memory.anon_pages * page_kb
    files = max(memory.file_pages - memory.shmem_pages, 0) * page_kb
    line = (
        f"Node 0 active_anon:{anon}kB inactive_anon:0kB active_file:{files}kB inactive_file:0kB "
        f"unevictable:0kB shmem:{memory.shmem_pages * page_kb}kB "
        f"pagetables:{memory.pgtable_pages * page_kb}kB sec_pagetables:0kB all_unreclaimable? no "
        "Balloon:0kB gpu_active:0kB gpu_reclaim:0kB"
    )
    return [line]


def _zone(memory: Memory, page_kb: int, rules: RuleSet) -> str:
    def kb(pages: int) -> str:
        return f"{pages * page_kb}kB"

    marks = (
        f"free:{kb(memory.free_pages)} min:{kb(memory.min_wmark_pages)} "
        f"low:{kb(memory.low_wmark_pages)} high:{kb(memory.high_wmark_pages)}"
    )
    if rules.log_meminfo == "7.3":
        marks += " reserved_highatomic:0kB free_highatomic:0kB"
    present = f"present:{kb(memory.total_ram_pages)}"
    if rules.log_meminfo in ("2.6.11", "2.6.28", "2.6.32", "3.7"):
        return f"Node 0 Normal {marks} {present}"
    return f"Node 0 Normal {marks} {present} managed:{kb(memory.total_ram_pages)}"


def _swap_and_ram(memory: Memory, page_kb: int, rules: RuleSet) -> list[str]:
    form = rules.log_meminfo
    swap = [
        f"Free swap  = {memory.free_swap_pages * page_kb}kB",
        f"Total swap = {memory.total_swap_pages * page_kb}kB",
    ]
    ram = memory.total_ram_pages
    if form == "2.6.11":
        return [*swap, f"{ram} pages of RAM", "0 reserved pages", "0 pages swap cached"]
    cached = f"{memory.file_pages} total pagecache pages"
    if form in ("2.6.28", "2.6.32", "3.7"):
        return [cached, *swap, f"{ram} pages RAM", "0 pages reserved"]
    return [cached, *swap, f"{ram} pages RAM", "0 pages HighMem/MovableOnly", "0 pages reserved"]


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
    if decision.action == "none" and not _found_no_killable(decision):
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


def _found_no_killable(decision: Decision) -> bool:
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
