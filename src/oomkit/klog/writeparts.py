"""The texts of a report's parts, in every form the kernel has printed them."""

from oomkit.kernel.adj import task_oom_adj
from oomkit.kernel.decision import Decision, Victim
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task

_NUMERIC_HEADERS = ("2.6.11", "2.6.13", "2.6.19", "2.6.32", "2.6.36", "3.7", "openvz")
_GFP = {
    "4.6": ("0x24280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)", "0x2400040(GFP_NOFS)"),
    "4.9": ("0x24280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)", "0x2400040(GFP_NOFS)"),
    "4.11": ("0x14280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)", "0x1400040(GFP_NOFS)"),
    "4.15": ("0x6280ca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)", "0x600040(GFP_NOFS)"),
    "5.0": ("0x100dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)", "0xc40(GFP_NOFS)"),
}
_TABLE_HEADS = {
    "2.6.25": "[ pid ]   uid  tgid total_vm      rss cpu oom_adj name",
    "2.6.36": "[ pid ]   uid  tgid total_vm      rss cpu oom_adj oom_score_adj name",
    "3.6": "[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
    "4.0": "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
    "4.15": "[ pid ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "4.19": "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "6.8": "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes "
    "swapents oom_score_adj name",
}
_UNLIMITED_KB = 9007199254740988


def header(allocation: Allocation, current: Task | None, rules: RuleSet) -> str:
    """The line that opens a report."""
    form = rules.log_header
    if form in _NUMERIC_HEADERS:
        gfp = "0x280da" if allocation.gfp_fs else "0x50"
    else:
        gfp = _GFP[form][0 if allocation.gfp_fs else 1]
    order = -1 if allocation.sysrq and rules.sysrq_never_panics else allocation.order
    comm = current.comm if current else "unknown"
    score_adj = current.oom_score_adj if current else 0
    oom_adj = task_oom_adj(current, rules) if current else 0
    match form:
        case "2.6.11":
            return f"oom-killer: gfp_mask={gfp}"
        case "2.6.13":
            return f"oom-killer: gfp_mask={gfp}, order={order}"
        case "openvz":
            pid = current.pid if current else 0
            return (
                f"{pid} ({comm}) invoked glob oom-killer: gfp {gfp} order {order} "
                f"oomkilladj={oom_adj}"
            )
        case "2.6.19":
            tail = f"order={order}, oomkilladj={oom_adj}"
        case "2.6.32":
            tail = f"order={order}, oom_adj={oom_adj}"
        case "2.6.36":
            tail = f"order={order}, oom_adj={oom_adj}, oom_score_adj={score_adj}"
        case "4.9" | "4.11" | "4.15":
            wide = "  " if form == "4.11" else " "
            tail = (
                f"nodemask={_nodemask(allocation)},{wide}order={order}, oom_score_adj={score_adj}"
            )
        case _:
            tail = f"order={order}, oom_score_adj={score_adj}"
    return f"{comm} invoked oom-killer: gfp_mask={gfp}, {tail}"


def _nodemask(allocation: Allocation) -> str:
    return "(null)" if allocation.nodemask is None else node_list(allocation.nodemask)


def node_list(nodes: tuple[int, ...]) -> str:
    """Nodes as the kernel prints a mask: ``0-2,5``."""
    ranges: list[list[int]] = []
    for node in sorted(nodes):
        if ranges and ranges[-1][1] == node - 1:
            ranges[-1][1] = node
        else:
            ranges.append([node, node])
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)


def caller(current: Task | None, release: str, rules: RuleSet) -> list[str]:
    """The lines that name the asker's cpuset, process and kernel."""
    if rules.log_header in ("2.6.11", "2.6.13") or current is None:
        return []
    mems = "0" if current.mems_allowed is None else node_list(current.mems_allowed)
    lines = []
    if rules.log_header not in ("2.6.19", "5.0", "openvz"):
        lines.append(f"{current.comm} cpuset=/ mems_allowed={mems}")
    if rules.log_memcg in ("none", "2.6.30"):
        lines.append(f"Pid: {current.pid}, comm: {current.comm} Not tainted {release} #1")
    else:
        lines.append(f"CPU: 0 PID: {current.pid} Comm: {current.comm} Not tainted {release} #1")
    return lines


def memcg_info(memcg: Memcg, task_path: str, page_kb: int, rules: RuleSet) -> list[str]:
    """The memory cgroup's part."""
    if rules.log_memcg == "none":
        return []
    lines = []
    if rules.log_memcg != "5.0":
        lines.append(f"Task in {task_path} killed as a result of limit of {memcg.path}")
    lines.append(_counter("memory", memcg.usage_pages, memcg.limit_pages, page_kb))
    both = memcg.usage_pages + memcg.swap_usage_pages
    if memcg.version == 2 and rules.log_memcg == "5.0":
        lines.append(_counter("swap", memcg.swap_usage_pages, memcg.swap_max_pages, page_kb))
    else:
        lines.append(_counter("memory+swap", both, memcg.memsw_limit_pages, page_kb))
        if rules.log_memcg != "2.6.30":
            lines.append(_counter("kmem", 0, None, page_kb))
    usage = memcg.usage_pages * page_kb
    if rules.log_memcg == "3.9":
        lines.append(f"Memory cgroup stats for {memcg.path}: cache:0KB rss:{usage}KB rss_huge:0KB")
    elif rules.log_memcg == "5.0":
        lines += [f"Memory cgroup stats for {memcg.path}:", f"anon {usage * 1024}", "file 0"]
    return lines


def protection(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> list[str]:
    """What ``memory.min`` and ``memory.low`` of the children protect, on cgroup v2."""
    if not rules.log_protection or any(group.version == 1 for group in snapshot.memcgs):
        return []
    top = (allocation.memcg or "/").rstrip("/")
    children = [g for g in snapshot.memcgs if g.path != "/" and g.path.rpartition("/")[0] == top]
    page_kb = snapshot.page_size // 1024
    least = sum(min(group.usage_pages, group.min_pages) for group in children) * page_kb
    low = sum(min(group.usage_pages, group.low_pages) for group in children) * page_kb
    return [f"Memory cgroup min protection {least}kB -- low protection {low}kB"]


def stall(task: Task, waited_s: int, allocation: Allocation, rules: RuleSet) -> str:
    """The warning of an allocation that waits; the task's nodes stand on the same line."""
    gfp = _GFP[rules.log_header][0 if allocation.gfp_fs else 1]
    mems = "0" if task.mems_allowed is None else node_list(task.mems_allowed)
    return (
        f"{task.comm}: page allocation stall for {waited_s} secs: order:{allocation.order}, "
        f"mode:{gfp} nodemask={_nodemask(allocation)},cpuset=/,mems_allowed={mems}"
    )


def _counter(name: str, usage: int, limit: int | None, page_kb: int) -> str:
    limit_kb = _UNLIMITED_KB if limit is None else limit * page_kb
    return f"{name}: usage {usage * page_kb}kB, limit {limit_kb}kB, failcnt 0"


def table(tasks: list[Task], snapshot: Snapshot, rules: RuleSet) -> list[str]:
    """The task table."""
    form = rules.log_table
    if form == "none":
        return []
    lines = [_TABLE_HEADS[form]]
    if form in ("4.19", "6.8"):
        lines.insert(0, "Tasks state (memory values in pages):")
    lines.extend(_row(task, form, snapshot.page_size, rules) for task in tasks)
    return lines


def _row(task: Task, form: str, page_size: int, rules: RuleSet) -> str:
    pid = f"[{task.pid:7}]" if form in ("4.19", "6.8") else f"[{task.pid:5}]"
    start = f"{pid} {task.uid:5} {task.pid:5} {task.total_vm_pages:8} {task.rss_pages:8}"
    ptes = task.pgtable_pages if task.pte_pages is None else task.pte_pages
    end = f"{task.swap_pages:8}         {task.oom_score_adj:5} {task.comm}"
    match form:
        case "2.6.25":
            return f"{start} {0:3}     {task_oom_adj(task, rules):3} {task.comm}"
        case "2.6.36":
            oom_adj = task_oom_adj(task, rules)
            return f"{start} {0:3}     {oom_adj:3}         {task.oom_score_adj:5} {task.comm}"
        case "3.6":
            return f"{start} {ptes:7} {end}"
        case "4.0":
            return f"{start} {ptes:7} {task.pmd_pages or 0:7} {end}"
        case "6.8":
            anon, files, shmem = rss_parts(task)
            start = f"{start} {anon:8} {files:8} {shmem:9}"
    return f"{start} {task.pgtable_pages * page_size:8} {end}"


def rss_parts(task: Task) -> tuple[int, int, int]:
    """Anonymous, file and shared pages; what is not known to be file or shared is anonymous."""
    files, shmem = task.file_rss_pages or 0, task.shmem_rss_pages or 0
    if task.anon_rss_pages is not None:
        return task.anon_rss_pages, files, shmem
    return max(task.rss_pages - files - shmem, 0), files, shmem


def summary(
    decision: Decision,
    allocation: Allocation,
    current: Task | None,
    victim: Task,
    rules: RuleSet,
) -> list[str]:
    """The ``oom-kill:`` line; 5.0 and 5.1 always print CONSTRAINT_NONE."""
    if rules.log_summary == "none":
        return []
    constraint = "CONSTRAINT_NONE" if rules.log_summary == "5.0" else decision.constraint
    mems = "0"
    if current is not None and current.mems_allowed is not None:
        mems = node_list(current.mems_allowed)
    scope = "global_oom" if allocation.memcg is None else f"oom_memcg={allocation.memcg}"
    return [
        (
            f"oom-kill:constraint={constraint},nodemask={_nodemask(allocation)},cpuset=/,"
            f"mems_allowed={mems},{scope},task_memcg={victim.cgroup},task={victim.comm},"
            f"pid={victim.pid},uid={victim.uid}"
        )
    ]


def selected(decision: Decision, chosen: Task, rules: RuleSet) -> list[str]:
    """The line that names the chosen process, where the version has one."""
    text = decision.message or "Out of memory"
    score = decision.points or 0
    if rules.log_points == "per_1000" and decision.total_pages:
        score = max(score, 0) * 1000 // decision.total_pages
    who = f"process {chosen.pid} ({chosen.comm})"
    match rules.log_kill:
        case "2.6.16":
            return [f"Out of Memory: Kill {who} score {score} and children."]
        case "2.6.20" | "2.6.33":
            return [f"{text}: kill {who} score {score} or a child"]
        case "2.6.36" | "4.5" | "el6":
            return [f"{text}: Kill {who} score {score} or sacrifice child"]
        case "openvz":
            return [f"{text}: kill {who} or a child"]
        case _:
            return []


def killed(victim: Task, text: str, page_kb: int, rules: RuleSet) -> str:
    """The line that names the victim."""
    who = f"process {victim.pid} ({victim.comm})"
    anon, files, shmem = rss_parts(victim)
    vm, anon_kb = victim.total_vm_pages * page_kb, anon * page_kb
    with_shmem = f"file-rss:{files * page_kb}kB, shmem-rss:{shmem * page_kb}kB"
    without = f"file-rss:{(files + shmem) * page_kb}kB"
    match rules.log_kill:
        case "2.6.11":
            return f"Out of Memory: Killed {who}."
        case "2.6.16":
            return f"{text}: Killed {who}."
        case "2.6.20":
            return f"Killed {who}"
        case "2.6.33":
            return f"Killed {who} vsz:{vm}kB, anon-rss:{anon_kb}kB, {without}"
        case "2.6.36":
            return f"Killed {who} total-vm:{vm}kB, anon-rss:{anon_kb}kB, {without}"
        case "4.5":
            return f"Killed {who} total-vm:{vm}kB, anon-rss:{anon_kb}kB, {with_shmem}"
        case "el6":
            return (
                f"Killed process {victim.pid}, UID {victim.uid}, ({victim.comm}) "
                f"total-vm:{vm}kB, anon-rss:{anon_kb}kB, {without}"
            )
        case "openvz":
            rss, swap = victim.rss_pages * page_kb, victim.swap_pages * page_kb
            return f"OOM killed {who} vm:{vm}kB, rss:{rss}kB, swap:{swap}kB"
        case "5.1":
            return f"{text}: Killed {who} total-vm:{vm}kB, anon-rss:{anon_kb}kB, {with_shmem}"
        case _:
            return (
                f"{text}: Killed {who} total-vm:{vm}kB, anon-rss:{anon_kb}kB, {with_shmem}, "
                f"UID:{victim.uid} pgtables:{victim.pgtable_pages * page_kb}kB "
                f"oom_score_adj:{victim.oom_score_adj}"
            )


def would_have(victim: Victim, rules: RuleSet) -> str:
    """The line that spares a victim (``would_have_oomkilled``)."""
    who = f"process {victim.pid} ({victim.comm})"
    if rules.would_have == "patch":
        return f"oom_kill_process: would have killed {who}, but continuing instead..."
    return f"Would have killed {who}. But continuing instead."


def sharer(victim: Victim, rules: RuleSet) -> list[str]:
    """The line about a process that dies because it shares the victim's memory."""
    if rules.log_kill in ("2.6.36", "el6"):
        return [f"Kill process {victim.pid} ({victim.comm}) sharing same memory"]
    return []
