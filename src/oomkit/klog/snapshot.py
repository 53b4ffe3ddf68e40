"""From a report to the snapshot that the kernel's rules work on."""

from functools import lru_cache
from typing import NamedTuple

from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Memory, Node, Snapshot, Task
from oomkit.kernel.versions import UnknownKernelError, history, parse_version, rules_for
from oomkit.klog.memory_records import Counter
from oomkit.klog.records import Assumed, Bound, Report, TaskRow
from oomkit.klog.report.header import nodes_in
from oomkit.records import replace

_MAX_FACTOR = 16
"""Maximum ratio of an unknown total to what the tasks use."""


def pgtable_pages(row: TaskRow, size_kb: int) -> int:
    """Page tables of a row, in pages."""
    if row.pgtables_bytes is not None:
        return row.pgtables_bytes // (size_kb * 1024)
    return (row.nr_ptes or 0) + (row.nr_pmds or 0)


def chosen_pid(report: Report) -> int | None:
    """Process that the kernel chose, before it looked for a child; None where it is unknown."""
    selected = report.selected
    if selected is not None:
        pid: int | None = selected.tgid or selected.pid
    else:
        pid = report.summary.pid if report.summary is not None else None
    if pid is None and report.killed:
        pid = report.killed[0].pid
    return next((row.tgid for row in report.tasks if row.pid == pid), pid)


def snapshot_of(
    report: Report, rules: RuleSet, assumed: Assumed, tasks: tuple[Task, ...] | None = None
) -> Snapshot:
    """Build the snapshot of a report's table.

    Args:
        report: the report; its tasks stand in the kernel's order.
        rules: the rule set; names the kernel where the report does not.
        assumed: what the report does not say.
        tasks: what :func:`tasks_of` gave for the same; None: not asked yet.
    """
    size_kb = report.page_kb
    if tasks is None:
        tasks = tasks_of(report, assumed)
    memory = _memory(report, size_kb, tasks, assumed.bound)
    memcgs: tuple[Memcg, ...] = ()
    if report.scope == "memcg":
        memcgs = (_memcg(report, size_kb, tasks),)
    return Snapshot(
        kernel=report.kernel or rules.name,
        memory=memory,
        tasks=tasks,
        memcgs=memcgs,
        page_size=size_kb * 1024,
        missing=_missing(report),
    )


def allocation_of(report: Report) -> Allocation:
    """The request that a report is about."""
    gfp = report.gfp_mask or ""
    invoker = report.invoker_pid
    for row in report.tasks:
        if row.pid == invoker:
            invoker = row.tgid
    return Allocation(
        pid=invoker,
        memcg=(report.cgroup or "/") if report.scope == "memcg" else None,
        order=max(report.order or 0, 0),
        gfp_nofail="__GFP_NOFAIL" in gfp,
        gfp_thisnode="__GFP_THISNODE" in gfp,
        page_fault_oom="pagefault_out_of_memory" in report.call_trace and report.scope != "memcg",
        user_fault="pagefault_out_of_memory" in report.call_trace,
        sysrq=report.scope == "sysrq",
    )


def tasks_of(report: Report, assumed: Assumed) -> tuple[Task, ...]:
    """The rows of a report's table as tasks; of what is assumed, all but the bound matters."""
    size_kb = report.page_kb
    cgroup = (report.cgroup or "/") if report.scope == "memcg" else "/"
    has_caps, dead = assumed.root_has_caps, frozenset(assumed.dying)
    tasks = []
    for row in report.tasks:
        tgid, is_root = row.tgid, row.uid == 0 and has_caps
        dying = bool(dead) and (tgid in dead or row.pid in dead)
        tasks.append(
            Task(
                pid=tgid,
                comm=row.comm,
                uid=row.uid,
                rss_pages=row.rss_pages,
                anon_rss_pages=row.rss_anon_pages,
                file_rss_pages=row.rss_file_pages,
                shmem_rss_pages=row.rss_shmem_pages,
                swap_pages=row.swapents or 0,
                pgtable_pages=pgtable_pages(row, size_kb),
                pte_pages=row.nr_ptes,
                pmd_pages=row.nr_pmds,
                total_vm_pages=row.total_vm_pages,
                oom_score_adj=row.oom_score_adj or 0,
                oom_adj=row.oom_adj,
                cap_sys_admin=is_root,
                cap_sys_resource=is_root,
                global_init=tgid == 1,
                cgroup=cgroup,
                victim=dying,
                mm_reaped=dying,
            )
        )
    return tuple(tasks)


def _memory(report: Report, size_kb: int, tasks: tuple[Task, ...], bound: Bound) -> Memory:
    found = report.memory
    in_use = sum(task.rss_pages for task in tasks)
    swapped = sum(task.swap_pages for task in tasks)
    factor = 1 if bound == "least" else _MAX_FACTOR
    ram = in_use * factor
    swap = swapped if bound == "least" else swapped + in_use * factor
    if found is None:
        return Memory(total_ram_pages=max(ram, 1), total_swap_pages=swap)
    if found.total_swap_kb is not None:
        swap = found.total_swap_kb // size_kb
    if found.ram_pages is not None:
        ram = found.ram_pages - (found.reserved_pages or 0)
    elif found.zones and all(zone.managed_kb or zone.present_kb for zone in found.zones):
        ram = sum((zone.managed_kb or zone.present_kb or 0) // size_kb for zone in found.zones)
    nodes = _nodes(report, size_kb)
    if report.scope in ("cpuset", "mempolicy") and nodes:
        allowed = nodes_in(report.nodemask if report.scope == "mempolicy" else report.mems_allowed)
        ram = sum(n.present_pages for n in nodes if n.node_id in allowed) or ram
    counters = found.counters_pages
    return Memory(
        total_ram_pages=max(ram, 1),
        total_swap_pages=swap,
        free_pages=counters.get("free", 0),
        free_swap_pages=(found.free_swap_kb or 0) // size_kb,
        shmem_pages=counters.get("shmem", 0),
        slab_reclaimable_pages=counters.get("slab_reclaimable", 0),
        slab_unreclaimable_pages=counters.get("slab_unreclaimable", 0),
        pgtable_pages=counters.get("pagetables", 0),
    )


def _nodes(report: Report, size_kb: int) -> tuple[Node, ...]:
    pages: dict[int, int] = {}
    for zone in report.memory.zones if report.memory else ():
        pages[zone.node] = pages.get(zone.node, 0) + (zone.present_kb or 0) // size_kb
    return tuple(Node(node_id=n, present_pages=p, spanned_pages=p) for n, p in pages.items())


def _memcg(report: Report, size_kb: int, tasks: tuple[Task, ...]) -> Memcg:
    path = report.cgroup or "/"
    part = report.memcg
    if part is None or part.memory is None:
        return Memcg(path=path, limit_pages=max(sum(task.rss_pages for task in tasks), 1))
    return Memcg(
        path=path,
        version=2 if part.swap is not None else 1,
        limit_pages=_limit(part.memory, size_kb),
        memsw_limit_pages=_limit(part.memsw, size_kb),
        swap_max_pages=_limit(part.swap, size_kb),
        usage_pages=part.memory.usage_kb // size_kb,
        swap_usage_pages=part.swap.usage_kb // size_kb if part.swap else 0,
    )


def _limit(counter: Counter | None, size_kb: int) -> int | None:
    return None if counter is None or counter.limit_kb is None else counter.limit_kb // size_kb


def _missing(report: Report) -> tuple[str, ...]:
    missing = ["parents, capabilities, CPU times and memory sharing of the tasks"]
    if report.memory is None or report.memory.total_swap_kb is None:
        missing.append("total swap")
    if report.memory is None or report.memory.ram_pages is None:
        missing.append("total RAM")
    return tuple(missing)


class Inputs(NamedTuple):
    """What the rules need to decide a report again.

    Attributes:
        snapshot: the machine by the report's table.
        allocation: the request.
        rules: the rule set.
    """

    snapshot: Snapshot
    allocation: Allocation
    rules: RuleSet


def rule_sets(report: Report) -> tuple[RuleSet, ...]:
    """The rule sets to try, most likely first: one where the log names the kernel.

    A text that the named version does not print yet shows a vendor's backport, which then
    holds for the behaviour that came with it.
    """
    if report.kernel is not None:
        try:
            return (_backported(_rules_of(report.kernel), report),)
        except UnknownKernelError:
            pass
    if any(victim.uid is not None and report.selected is not None for victim in report.killed):
        of_el7 = report.kernel_range is not None and report.kernel_range[1] == "3.10"
        return (rules_for("3.10-el7-1127" if of_el7 else "2.6.32-el6"),)
    low, high = report.kernel_range or _widest(report)
    return tuple(_backported(rules, report) for rules in _between(low, high))


def _widest(report: Report) -> tuple[str, str]:
    """Kill line and table contradict each other: a vendor's mixture; go by the table's age."""
    if report.selected is not None:
        return "4.15", "5.0"
    return "4.15", "5.3"


_rules_of = lru_cache(maxsize=64)(rules_for)


@lru_cache(maxsize=64)
def _between(low: str, high: str) -> tuple[RuleSet, ...]:
    first, last = parse_version(low), parse_version(high)
    found = [rules_for(low)]
    found.extend(
        row.rules
        for row in history()
        if row.variant is None and first < parse_version(row.rules.since) <= last
    )
    found.reverse()
    distinct: dict[tuple[object, ...], RuleSet] = {}
    for rules in found:
        distinct.setdefault(_ranking_key(rules), rules)
    return tuple(distinct.values())


def _ranking_key(rules: RuleSet) -> tuple[object, ...]:
    """The fields on which the ranking of a table depends."""
    return (
        rules.badness,
        rules.root_bonus,
        rules.pgtables,
        rules.arithmetic,
        rules.result,
        rules.memcg_total,
        rules.ties,
        rules.children == "none",
    )


def _backported(rules: RuleSet, report: Report) -> RuleSet:
    if rules.children == "none" or report.selected is not None or not report.killed:
        return rules
    if report.kill_text is None or rules.badness == "classic":
        return rules
    if report.killed[0].total_vm_kb is None or "allocating_task" in report.kill_text:
        return rules
    # One line "MSG: Killed process" came with the end of child sacrifice.
    return replace(rules, name=f"{rules.name}+children", children="none")


_ROOT_SHARE = 0.97
"""What is left of a task's memory when root's bonus of 3 % is taken off."""


class Bounds(NamedTuple):
    """Between which sizes a total lies, in pages.

    Attributes:
        least: it is more than this.
        most: it is no more than this.
    """

    least: int
    most: int

    def hold(self, pages: int) -> bool:
        """Whether a total can be of that size."""
        return self.least < pages <= self.most


def total_is_printed(report: Report) -> bool:
    """Whether the report shows all of which the total is made: RAM or the limit, and swap."""
    if not base_is_printed(report):
        return False
    memory, part = report.memory, report.memcg
    swap = memory is not None and memory.total_swap_kb is not None
    if report.scope != "memcg" or part is None or part.memory is None:
        return swap
    if part.swap is not None and part.swap.limit_kb == 0:
        return True
    memsw = part.memsw
    return swap or (memsw is not None and memsw.limit_kb == part.memory.limit_kb)


def base_is_printed(report: Report) -> bool:
    """Whether the report shows RAM, or the memory cgroup's limit: the total without swap."""
    memory, part = report.memory, report.memcg
    if report.scope == "memcg":
        return part is not None and part.memory is not None and part.memory.limit_kb is not None
    if memory is None:
        return False
    sizes = [zone.managed_kb or zone.present_kb for zone in memory.zones]
    return memory.ram_pages is not None or (bool(sizes) and None not in sizes)


def bounds_by_score(report: Report, rules: RuleSet) -> Bounds | None:
    """Between which sizes the total lies by the score of the chosen process; None without one.

    The kill line prints thousandths of the total, cut to a whole number, where badness is in pages.
    """
    selected = report.selected
    if selected is None or not selected.score or rules.badness != "pages":
        return None  # 0 is what any small or much lowered badness comes to
    pids = {selected.pid, selected.tgid}
    row = next((row for row in report.tasks if row.tgid in pids or row.pid in pids), None)
    if row is None or row.swapents is None:
        return None
    held = row.rss_pages + row.swapents + pgtable_pages(row, report.page_kb)
    score = selected.score - (row.oom_score_adj or 0)
    least_held = held
    if row.uid == 0 and rules.root_bonus not in ("none", "quarter"):
        # Whether it has CAP_SYS_ADMIN, and with it the bonus, no report shows.
        least_held = int(held * _ROOT_SHARE)
    if held <= 0 or score <= 0:
        return None
    return Bounds(least=least_held * 1000 // (score + 1), most=held * 1000 // score)
