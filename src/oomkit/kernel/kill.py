"""``oom_kill_process()``: what dies with, or instead of, the chosen task (mm/oom_kill.c)."""

from oomkit.kernel.adj import is_disabled
from oomkit.kernel.badness import badness, unkillable
from oomkit.kernel.decision import Reason, Victim
from oomkit.kernel.oom_control import OomControl, in_memcg, share_mm
from oomkit.kernel.state import OOM_SCORE_ADJ_MIN, Memcg, Task, name
from oomkit.records import Record, replace


class Killing(Record, frozen=True, kw_only=True):
    """What became of an attempt to kill.

    Attributes:
        done: the kernel takes it for a success.
        spared: ``would_have_oomkilled`` kept the victims alive.
        victims: the processes that die (or would have), in the order of the signals.
        steps: lines for the trace.
    """

    done: bool
    spared: bool = False
    victims: tuple[Victim, ...] = ()
    steps: tuple[str, ...] = ()


def freed_pages(task: Task) -> int:
    """Return how many pages a task's death gives back: anonymous memory, swap, page tables.

    File pages stay in the page cache and shared memory stays with its other users. Where the
    parts of rss are not known, all of rss that is not known to be file or shared counts.
    """
    anon = task.anon_rss_pages
    if anon is None:
        anon = task.rss_pages - (task.file_rss_pages or 0) - (task.shmem_rss_pages or 0)
    return max(anon, 0) + task.swap_pages + task.pgtable_pages


def oom_kill_process(oc: OomControl, chosen: Task, reason: Reason = "selected") -> Killing:
    """Kill the chosen task, a child in its place, and those that die with it.

    Up to 5.0 a child with memory of its own is sacrificed: the first up to 2.6.35, then the worst.
    Sharers of the memory die with it as ``RuleSet.sharers`` says, and from 4.19 on a cgroup with
    ``memory.oom.group`` does.
    """
    rules = oc.rules
    if _exits_anyway(chosen, oc):
        if not chosen.has_mm:
            return Killing(done=True, steps=("oom_kill_process: tried to kill an mm-less task!",))
        step = f"oom_kill_process: {name(chosen)} is exiting; it only gets access to reserves"
        return Killing(done=True, victims=(_victim(chosen, oc, "already_dying"),), steps=(step,))
    if rules.would_have == "patch" and oc.snapshot.sysctl.would_have_oomkilled:
        step = (
            f"oom_kill_process: would_have_oomkilled is set: {name(chosen)} would have been "
            "killed, but lives"
        )
        return Killing(
            done=True, spared=True, victims=(_victim(chosen, oc, reason),), steps=(step,)
        )
    if rules.children == "first":
        return _first_child_or_self(oc, chosen, reason)
    if rules.children == "worst_last":
        return _last_worst_child_or_self(oc, chosen, reason)
    if rules.children == "worst":
        child, step = _worst_child(oc, chosen)
        if child is not None:
            killing = _oom_kill_task(oc, child, "child")
        else:
            killing = _oom_kill_task(oc, chosen, reason)
        return replace(killing, steps=(step, *killing.steps))
    return _oom_kill_task(oc, chosen, reason)


def _exits_anyway(task: Task, oc: OomControl) -> bool:
    match oc.rules.exiting_victim:
        case "none":
            return False
        case "pf_exiting":
            return task.exiting
        case "will_free_mem" if oc.rules.dying_current == "will_free_mem":
            return task_will_free_mem(task, oc)
        case "will_free_mem":
            return task.exiting and not task.coredump


def task_will_free_mem(task: Task, oc: OomControl) -> bool:
    """Whether a task's memory comes free by itself: it and all its sharers are dying (4.8 on)."""
    if not task.has_mm or task.mm_reaped:
        return False
    return all(
        (user.fatal_signal or user.exiting) and not user.coredump
        for user in (task, *oc.sharers(task))
    )


def kill_faulting_task(oc: OomControl, task: Task) -> Killing:
    """The page-fault handler of 2.6.11-2.6.28: SIGKILL, without a look at children or knobs."""
    step = f"do_page_fault: VM: killing process {name(task)}"
    return Killing(done=True, victims=(_victim(task, oc, "allocating_task"),), steps=(step,))


def _first_child_or_self(oc: OomControl, chosen: Task, reason: Reason) -> Killing:
    steps: list[str] = []
    for child in oc.children(chosen):
        if share_mm(child, chosen):
            continue
        path = oc.allocation.memcg
        if oc.rules.children_in_memcg and path is not None and not in_memcg(child.cgroup, path):
            continue
        killing = _oom_kill_task(oc, child, "child")
        steps.extend(killing.steps)
        if killing.done:
            first = f"oom_kill_process: {name(child)}, a child of {name(chosen)}, goes first"
            return replace(killing, steps=(first, *steps))
    killing = _oom_kill_task(oc, chosen, reason)
    steps.extend(killing.steps)
    return replace(killing, steps=tuple(steps))


def _last_worst_child_or_self(oc: OomControl, chosen: Task, reason: Reason) -> Killing:
    """OpenVZ: the worst child, the last of equals, that is alive and not protected."""
    path = oc.allocation.memcg
    worst, worst_points = None, 0
    for child in oc.children(chosen):
        if share_mm(child, chosen) or not child.has_mm or child.frozen or child.victim:
            continue
        if is_disabled(child, oc.rules) or (path is not None and not in_memcg(child.cgroup, path)):
            continue
        points = badness(child, oc)
        if points >= worst_points:
            worst, worst_points = child, points
    steps: tuple[str, ...] = ()
    if worst is not None:
        killing = _oom_kill_task(oc, worst, "child")
        first = f"oom_kill_process: {name(worst)}, the worst child of {name(chosen)}, goes first"
        steps = (first, *killing.steps)
        if killing.done:
            return replace(killing, steps=steps)
    killing = _oom_kill_task(oc, chosen, reason)
    return replace(killing, steps=(*steps, *killing.steps))


def _worst_child(oc: OomControl, chosen: Task) -> tuple[Task | None, str]:
    worst, worst_points = None, 0
    for child in oc.children(chosen):
        if oc.rules.children_own_mm and share_mm(child, chosen):
            continue
        points = badness(child, oc)
        if points > worst_points:
            worst, worst_points = child, points
    if worst is None:
        return None, f"oom_kill_process: {name(chosen)} has no child to sacrifice"
    step = (
        f"oom_kill_process: {name(worst)} (badness {worst_points}) is the worst child of "
        f"{name(chosen)} and is sacrificed instead"
    )
    return worst, step


def _oom_kill_task(oc: OomControl, task: Task, reason: Reason) -> Killing:
    rules = oc.rules
    refusal = _refusal(oc, task)
    if refusal is not None:
        return Killing(done=False, steps=(f"{_killer(oc)}: {refusal}",))
    if task.global_init:
        # Tried, warned about, and taken for a success.
        return Killing(done=True, steps=("oom_kill_task: tried to kill init!",))
    victims = [_victim(task, oc, reason)]
    would_have = oc.snapshot.sysctl.would_have_oomkilled
    if rules.would_have in ("el6", "openvz") and would_have == 1:
        step = (
            f"oom_kill_task: would_have_oomkilled is 1: would have killed {name(task)}, which lives"
        )
        done = rules.would_have == "el6"
        return Killing(done=done, spared=True, victims=tuple(victims), steps=(step,))
    steps = [_kill_line(task, oc)]
    for sharer in _dying_sharers(oc, task):
        victims.append(_victim(sharer, oc, "mm_sharer", freed=0))
        steps.append(f"{_killer(oc)}: {name(sharer)} shares its memory and dies with it")
    group = oom_group_of(oc, task)
    if group is not None:
        steps.append(
            f"mem_cgroup_get_oom_group: memory.oom.group is set on {group.path}: "
            "all of its tasks die"
        )
        victims.extend(_group_members(oc, group, {victim.pid for victim in victims}))
    return Killing(done=True, victims=tuple(victims), steps=tuple(steps))


def _killer(oc: OomControl) -> str:
    """The function that sends the signal: its own from 4.19, part of the caller from 3.4 on."""
    if oc.rules.oom_group:
        return "__oom_kill_process"
    return "oom_kill_process" if oc.rules.allocating_task == "no_fallback" else "oom_kill_task"


def _kill_line(task: Task, oc: OomControl) -> str:
    return f"{_killer(oc)}: SIGKILL to {name(task)}, which frees {freed_pages(task)} pages"


def _refusal(oc: OomControl, task: Task) -> str | None:
    rules = oc.rules
    if not task.has_mm:
        return f"{name(task)} has no memory"
    if not rules.kill_checks_disabled:
        return None
    if is_disabled(task, rules):
        return f"{name(task)} has oom_adj -17"
    if rules.sharers == "refuse_if_disabled":
        for sharer in oc.sharers(task):
            if is_disabled(sharer, rules):
                return f"{name(sharer)} shares the memory of {name(task)} and has oom_adj -17"
    return None


def _dying_sharers(oc: OomControl, task: Task) -> list[Task]:
    rules = oc.rules
    if rules.sharers == "spared":
        return []
    return [
        sharer
        for sharer in oc.sharers(task)
        if not (sharer.kthread or sharer.global_init)
        and not (rules.sharers_spare_disabled and sharer.oom_score_adj == OOM_SCORE_ADJ_MIN)
    ]


def oom_group_of(oc: OomControl, task: Task) -> Memcg | None:
    """Return the cgroup that dies as a whole; None without one (4.19 on).

    The highest ancestor of the victim, up to the cgroup that ran out, with ``memory.oom.group``
    (``mem_cgroup_get_oom_group()``, mm/memcontrol.c).
    """
    if not oc.rules.oom_group:
        return None
    domain = oc.allocation.memcg or "/"
    if not in_memcg(task.cgroup, domain):
        return None
    group = None
    path = task.cgroup
    while path != "/":
        memcg = oc.find_memcg(path)
        if memcg.oom_group and memcg.version == 2:
            group = memcg
        if path == domain:
            break
        path = path.rpartition("/")[0] or "/"
    return group


def _group_members(oc: OomControl, group: Memcg, already: set[int]) -> list[Victim]:
    """The group's tasks that are not protected, each with those that share its memory."""
    members: list[Victim] = []
    for task in oc.snapshot.tasks:
        if task.pid in already or not in_memcg(task.cgroup, group.path) or not task.has_mm:
            continue
        if task.kthread or task.global_init or task.oom_score_adj == OOM_SCORE_ADJ_MIN:
            continue
        members.append(_victim(task, oc, "oom_group"))
        already.add(task.pid)
        for sharer in _dying_sharers(oc, task):
            if sharer.pid not in already:
                members.append(_victim(sharer, oc, "mm_sharer", freed=0))
                already.add(sharer.pid)
    return members


def _victim(task: Task, oc: OomControl, reason: Reason, freed: int | None = None) -> Victim:
    points = None if unkillable(task, oc) else badness(task, oc)
    return Victim(
        pid=task.pid,
        comm=task.comm,
        badness=points,
        freed_pages=freed_pages(task) if freed is None else freed,
        reason=reason,
    )
