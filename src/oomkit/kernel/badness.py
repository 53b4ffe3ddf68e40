"""``badness()`` and ``oom_badness()``: how much a task deserves to die (mm/oom_kill.c)."""

from oomkit.kernel.adj import is_disabled, task_oom_adj
from oomkit.kernel.cint import LONG_MIN, ULONG_MAX, isqrt, s32, tdiv, u64
from oomkit.kernel.constraint import global_total_pages
from oomkit.kernel.oom_control import OomControl, in_memcg, is_hidden, nodes_overlap, share_mm
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import OOM_DISABLE, Allocation, Snapshot, Task


def badness(task: Task, oc: OomControl) -> int:
    """Return the task's badness by the rule set of ``oc`` (mm/oom_kill.c).

    Returns:
        Points without a unit up to 2.6.35, thousandths of ``totalpages`` from 2.6.36, pages from
        3.5 on. A task that is :func:`unkillable` has 0, or ``LONG_MIN`` from 5.9 on, where
        badness may be negative.
    """
    if oc.rules.badness == "classic":
        return classic_badness(task, oc)
    return oom_badness(task, oc)


def badness_of_killable(task: Task, oc: OomControl) -> int:
    """The same of a task for which :func:`unkillable` has found no reason."""
    if oc.rules.badness == "classic":
        return classic_badness(task, oc)
    return _oom_badness_of_killable(task, oc)


def scored(oc: OomControl) -> list[tuple[int, Task]]:
    """The candidates that can be chosen with their badness, in the order of the selection loop."""
    return [
        (badness_of_killable(task, oc), task)
        for task in oc.candidates()
        if unkillable(task, oc) is None
    ]


def unkillable(task: Task, oc: OomControl) -> str | None:
    """Return why ``oom_badness()`` rules a task out, in words; None if it can be chosen."""
    rules = oc.rules
    reason = out_of_reach(task, oc)
    if reason is not None:
        return reason
    if not task.has_mm:
        return "has no memory (exited)"
    if is_disabled(task, rules):
        return "oom_adj -17" if rules.adj_files == "oom_adj" else "oom_score_adj -1000"
    if rules.disable_scope == "mm" and any(is_disabled(s, rules) for s in oc.sharers(task)):
        return "shares memory with a task at oom_score_adj -1000"
    if rules.reaped_unkillable and task.mm_reaped:
        return "its memory was already reaped"
    if rules.vfork_unkillable and task.vfork:
        return "vfork child that borrows its parent's memory"
    if oc.allocation.memcg is not None and is_hidden(task, rules):
        return "is exiting, so a memory cgroup's OOM killer does not meet it"
    return None


def out_of_reach(task: Task, oc: OomControl) -> str | None:
    """Return why ``oom_unkillable_task()`` passes a task over, in words; None if it does not."""
    if task.global_init:
        return "global init"
    if task.kthread:
        return "kernel thread"
    path = oc.allocation.memcg
    if path is not None and not in_memcg(task.cgroup, path):
        return f"not in memory cgroup {path}"
    if oc.nodes_matter and _on_other_nodes(task, oc):
        return "none of its memory nodes would help"
    return None


def _on_other_nodes(task: Task, oc: OomControl) -> bool:
    """For a decision to which nodes matter (``OomControl.nodes_matter``)."""
    if oc.constraint == "CONSTRAINT_MEMORY_POLICY" and oc.rules.node_overlap != "skipped":
        return not nodes_overlap(task.mempolicy_nodes, oc.allocation.nodemask)
    return not _cpuset_overlaps(task, oc)


def _cpuset_overlaps(task: Task, oc: OomControl) -> bool:
    return oc.current is None or nodes_overlap(task.mems_allowed, oc.current.mems_allowed)


def classic_badness(task: Task, oc: OomControl) -> int:
    """Return the badness of 2.6.11-2.6.35 (``badness()``): address space, CPU time and age.

    Args:
        task: the process; before 2.6.32 the kernel scores each thread, here its leader is
            taken for all.
        oc: the decision it is part of; its ``current`` matters on NUMA only.
    """
    rules = oc.rules
    oom_adj = task_oom_adj(task, rules)
    if (rules.early_disable and oom_adj == OOM_DISABLE) or not task.has_mm:
        return 0
    if rules.origin == "ulong_max" and task.oom_origin:
        return ULONG_MAX
    points = _classic_basis(task, rules) + _children_points(task, oc)
    points //= _lifetime_divisor(task, oc)
    if task.nice > 0:
        points = u64(points * 2)
    if _is_privileged(task, rules):
        points //= 4
    if task.cap_sys_rawio:
        points //= 4
    if rules.node_overlap == "eighth" and not _cpuset_overlaps(task, oc):
        points //= 8
    if oom_adj > 0:
        if points == 0 and rules.lift_zero:
            points = 1
        return u64(points << oom_adj)
    return points >> -oom_adj


def _classic_basis(task: Task, rules: RuleSet) -> int:
    if rules.classic_basis == "total_vm":
        return task.total_vm_pages
    return task.rss_pages + task.swap_pages + task.pgtable_pages + task.locked_vm_pages


def _children_points(task: Task, oc: OomControl) -> int:
    if oc.rules.children_term == "none":
        return 0
    sizes = [c.total_vm_pages for c in oc.children(task) if c.has_mm and not share_mm(c, task)]
    if oc.rules.children_term == "full":
        return sum(sizes)
    return sum(size // 2 + 1 for size in sizes)


def _lifetime_divisor(task: Task, oc: OomControl) -> int:
    """CPU time in units of about 8 s and age in units of 1024 s; each divides in turn."""
    jiffies = task.cpu_jiffies
    if oc.rules.cpu_time == "thread" and task.leader_cpu_jiffies is not None:
        jiffies = task.leader_cpu_jiffies
    cpu = jiffies >> (_shift_hz(oc.snapshot.hz) + 3)
    run = max(oc.snapshot.uptime_s - task.start_s, 0) >> 10
    # floor(floor(n/a)/b) == floor(n/(a*b)), so one division does for the kernel's two.
    return (isqrt(cpu) or 1) * (isqrt(isqrt(run)) or 1)


def _shift_hz(hz: int) -> int:
    """``SHIFT_HZ`` of include/linux/jiffies.h: the power of two nearest to HZ."""
    return (hz * 4 // 3).bit_length() - 1


def _is_privileged(task: Task, rules: RuleSet) -> bool:
    if task.cap_sys_admin:
        return True
    if rules.privilege == "admin_or_root":
        return task.uid == 0 or task.euid == 0
    return task.cap_sys_resource


def oom_badness(task: Task, oc: OomControl) -> int:
    """Return the badness of 2.6.36-7.3 (``oom_badness()``): memory, moved by ``oom_score_adj``.

    Resident memory and swap; page tables of the lowest level from 2.6.39 on, of the middle ones
    from 4.0, of all from 4.15.
    """
    if unkillable(task, oc) is not None:
        return LONG_MIN if oc.rules.result == "signed" else 0
    return _oom_badness_of_killable(task, oc)


def _oom_badness_of_killable(task: Task, oc: OomControl) -> int:
    result = oc.rules.result
    if oc.rules.origin == "permille_max" and task.oom_origin:
        return 1000
    points = unadjusted_points(task, oc) + task.oom_score_adj * adj_step(oc)
    if result == "signed":
        return points
    points = max(points, 1)
    return min(points, 1000) if result == "0..1000" else points


def adj_step(oc: OomControl) -> int:
    """What one step of ``oom_score_adj`` adds, in badness's unit; 0 below 1000 pages in all."""
    return 1 if oc.rules.badness == "permille" else (oc.total_pages or 0) // 1000


def unadjusted_points(task: Task, oc: OomControl) -> int:
    """Badness before ``oom_score_adj`` is added and the sum is cut to its range."""
    rules = oc.rules
    if rules.badness == "permille":
        points = _share_in_thousandths(task, rules, oc.total_pages or 1)
    else:
        points = task.rss_pages + task.swap_pages + counted_pgtable_pages(task, rules)
    if not task.cap_sys_admin:
        return points
    match rules.root_bonus:
        case "30_points" | "30_adj":
            return points - 30 * adj_step(oc)
        case "3_percent":
            return points - points * 3 // 100
        case _:
            return points


def counted_pgtable_pages(task: Task, rules: RuleSet) -> int:
    """Pages of page tables that badness counts (2.6.39 on; ``mm_pgtables_bytes()`` from 4.15)."""
    if rules.pgtables == "none":
        return 0
    if rules.pgtables == "all" or task.pte_pages is None:
        return task.pgtable_pages
    if rules.pgtables == "ptes":
        return task.pte_pages
    return task.pte_pages + (task.pmd_pages or 0)


def _share_in_thousandths(task: Task, rules: RuleSet, total: int) -> int:
    pgtables = counted_pgtable_pages(task, rules)
    if rules.arithmetic == "s32":
        # The product lives in a 32-bit int (2.6.39-3.1): it wraps above 8 GiB, and a negative
        # one is extended to 64 bits before the unsigned division.
        product = s32(s32(s32(task.rss_pages + pgtables) + task.swap_pages) * 1000)
        return s32(u64(product) // total)
    points = (task.rss_pages + pgtables + task.swap_pages) * 1000 // total
    return s32(points) if rules.arithmetic == "s32_result" else points


def score_control(snapshot: Snapshot, rules: RuleSet) -> OomControl:
    """The context in which scores are read: the whole machine, even for a task in a cgroup."""
    total = None if rules.badness == "classic" else global_total_pages(snapshot)
    return OomControl(snapshot, Allocation(), rules, total_pages=total)


def oom_score(task: Task, oc: OomControl) -> int:
    """Return what ``/proc/PID/oom_score`` prints (``proc_oom_score()``, fs/proc/base.c).

    Args:
        task: the process.
        oc: made by :func:`score_control`.
    """
    points = badness(task, oc)
    total = oc.total_pages or 1
    match oc.rules.oom_score:
        case "badness":
            return points
        case "per_1000":
            return u64(points * 1000) // total
        case "two_thirds":
            if points == LONG_MIN:
                return 0
            return tdiv((1000 + tdiv(points * 1000, total)) * 2, 3)
