"""``out_of_memory()`` and its callers: what is done when no page can be found (mm/oom_kill.c)."""

from oomkit.kernel.adj import is_disabled
from oomkit.kernel.badness import out_of_reach
from oomkit.kernel.constraint import Constrained, constrained_control
from oomkit.kernel.decision import Decision, Reason
from oomkit.kernel.kill import (
    Killing,
    kill_faulting_task,
    oom_kill_process,
    task_will_free_mem,
)
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.select import select_bad_process
from oomkit.kernel.state import Allocation, Snapshot, Task, name
from oomkit.records import replace

_ALLOCATING = "Out of memory (oom_kill_allocating_task)"


class _Flow:
    """One pass through ``out_of_memory()``, gathering its trace."""

    def __init__(self, snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> None:
        oc, found = constrained_control(snapshot, allocation, rules)
        self.rules = rules
        self.sysctl = snapshot.sysctl
        self.allocation = allocation
        self.constrained: Constrained = found
        self.oc = oc
        self.message = (
            "Memory cgroup out of memory" if allocation.memcg is not None else "Out of memory"
        )
        self.trace: list[str] = []

    def step(self, function: str, text: str) -> None:
        self.trace.append(f"{function}: {text}")

    def decision(self, **fields: object) -> Decision:
        decision = Decision(
            action="none",
            scope=self.constrained.scope,
            constraint=self.constrained.constraint,
            rules=self.rules.name,
            total_pages=self.oc.total_pages,
            trace=tuple(self.trace),
        )
        return replace(decision, **fields)

    def panic(self, function: str, text: str) -> Decision:
        self.step(function, f"panic: {text}")
        return self.decision(action="panic", panic=text, retry=False)

    def killed(self, killing: Killing, chosen: Task, points: int | None, message: str) -> Decision:
        self.trace.extend(killing.steps)
        if not killing.victims:
            return self.decision(chosen_pid=chosen.pid, points=points)
        return self.decision(
            action="would_kill" if killing.spared else "kill",
            chosen_pid=chosen.pid,
            points=points,
            victims=killing.victims,
            freed_pages=0 if killing.spared else sum(v.freed_pages for v in killing.victims),
            message=message,
        )


def out_of_memory(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> Decision:
    """Decide what the OOM killer does about a request that could not be met.

    Args:
        snapshot: the machine at that moment.
        allocation: the request.
        rules: the kernel's rules (2.6.11-7.3).
    """
    flow = _Flow(snapshot, allocation, rules)
    if rules.badness == "classic":
        return _classic(flow)
    return _modern(flow)


def pagefault_out_of_memory(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> Decision:
    """Decide what follows when a page fault reports ``VM_FAULT_OOM``.

    2.6.11-2.6.28 kill the faulting process on the spot (arch/x86/mm/fault.c), 2.6.29-5.15
    call the OOM killer for the whole machine, later kernels retry the fault.
    """
    flow = _Flow(snapshot, allocation, rules)
    function = "pagefault_out_of_memory"
    match rules.pagefault:
        case "retry":
            flow.step(function, "the fault is tried again; no process is killed")
            return flow.decision()
        case "kill_faulter":
            current = flow.oc.current
            if current is None or current.global_init:
                flow.step("do_page_fault", "init is not killed; the fault is tried again")
                return flow.decision()
            if not current.has_mm:
                flow.step("do_page_fault", f"{name(current)} has no memory; no process is killed")
                return flow.decision()
            killing = kill_faulting_task(flow.oc, current)
            return flow.killed(killing, current, None, "VM: killing process")
        case "__out_of_memory":
            if flow.sysctl.panic_on_oom:
                return flow.panic(
                    function, "out of memory from page fault. panic_on_oom is selected."
                )
            flow.step(function, "calls __out_of_memory")
            return _scan_and_kill(flow, "__out_of_memory")
        case "out_of_memory":
            flow.step(function, "calls out_of_memory for the whole machine")
            return _modern(flow)


def _classic(flow: _Flow) -> Decision:
    """2.6.11-2.6.35."""
    rules, sysctl = flow.rules, flow.sysctl
    if flow.allocation.memcg is not None:
        return _classic_memcg(flow)
    if rules.panic_on_oom == "two" and sysctl.panic_on_oom == 2:
        return flow.panic("out_of_memory", "out of memory. Compulsory panic_on_oom is selected.")
    if rules.dispatch == "overcommit":
        return _article_dispatch(flow)
    scope = flow.constrained.scope
    if rules.constraint != "none":
        flow.step("constrained_alloc", f"{flow.constrained.constraint} ({scope})")
    if scope == "mempolicy":
        return _kill_current(flow, "No available memory (MPOL_BIND)")
    if scope == "cpuset" and rules.on_cpuset == "kill_current":
        return _kill_current(flow, "No available memory in cpuset")
    if scope != "cpuset" and rules.panic_on_oom != "none" and sysctl.panic_on_oom:
        return flow.panic("out_of_memory", "out of memory. panic_on_oom is selected")
    # A function of its own in 2.6.29-2.6.35, to serve page faults too.
    split = rules.pagefault == "__out_of_memory"
    return _scan_and_kill(flow, "__out_of_memory" if split else "out_of_memory")


def _article_dispatch(flow: _Flow) -> Decision:
    """The reading of the article on 2.6.32 (docs/kernels.md): a switch on ``overcommit_memory``."""
    mode = flow.sysctl.overcommit_memory
    if mode == 2:
        flow.step("out_of_memory", "overcommit_memory is 2: the allocating task is killed")
        return _kill_current(flow, "Out of memory")
    if mode == 0 and flow.sysctl.panic_on_oom:
        return flow.panic("out_of_memory", "out of memory. panic_on_oom is selected")
    flow.step("out_of_memory", f"overcommit_memory is {mode}: on to __out_of_memory")
    return _scan_and_kill(flow, "__out_of_memory")


def _classic_memcg(flow: _Flow) -> Decision:
    function = "mem_cgroup_out_of_memory"
    if flow.rules.panic_memcg and flow.sysctl.panic_on_oom == 2:
        return flow.panic(function, "out of memory(memcg). panic_on_oom is selected.")
    return _scan_and_kill(flow, function)


def _kill_current(flow: _Flow, message: str) -> Decision:
    current = flow.oc.current
    if current is None:
        flow.step(
            "oom_kill_process", "the allocating task, which is not in the snapshot, is killed"
        )
        return flow.decision(message=message)
    killing = oom_kill_process(flow.oc, current, "allocating_task")
    return flow.killed(killing, current, None, message)


def _modern(flow: _Flow) -> Decision:
    """2.6.36-7.3; memory cgroups came to share this path in 4.9 and did the same before."""
    rules, sysctl, allocation = flow.rules, flow.sysctl, flow.allocation
    function = "out_of_memory"
    if rules.disabled_check == "out_of_memory" and sysctl.oom_killer_disabled:
        flow.step(function, "oom_killer_disabled is set: no process is killed")
        return flow.decision(retry=False)
    current = flow.oc.current
    if current is not None and _is_dying(current, flow.oc):
        flow.step(function, f"{name(current)} asks and is dying: it gets access to reserves")
        return flow.decision()
    if not _may_enter_fs(allocation, rules):
        flow.step(function, "no __GFP_FS: no process is killed, the request loops")
        return flow.decision()
    scope = flow.constrained.scope
    flow.step(
        "constrained_alloc",
        f"{flow.constrained.constraint} ({scope}), totalpages {flow.oc.total_pages}",
    )
    panic = _check_panic_on_oom(flow)
    if panic is not None:
        return panic
    if scope != "memcg":
        decision = _allocating_task(flow)
        if decision is not None:
            return decision
    return _select_and_kill(flow)


def _may_enter_fs(allocation: Allocation, rules: RuleSet) -> bool:
    """``__GFP_FS``, or one of the requests that are not asked for it."""
    if allocation.gfp_fs or rules.fs_check != "out_of_memory":
        return True
    if allocation.sysrq or (allocation.memcg is not None and rules.fs_memcg_exempt):
        return True
    by_fault = allocation.memcg is None and allocation.page_fault_oom
    return by_fault or (allocation.gfp_nofail and rules.nofail_overrides)


def _is_dying(task: Task, oc: OomControl) -> bool:
    match oc.rules.dying_current:
        case "none":
            return False
        case "fatal_signal":
            return task.fatal_signal
        case "fatal_or_exiting":
            return task.fatal_signal or task.exiting
        case "not_coredump":
            return task.fatal_signal or (task.exiting and not task.coredump)
        case "needs_mm":
            dying = task.fatal_signal or (task.exiting and not task.coredump)
            return task.has_mm and dying
        case "will_free_mem":
            return task_will_free_mem(task, oc)


def _check_panic_on_oom(flow: _Flow) -> Decision | None:
    rules, value = flow.rules, flow.sysctl.panic_on_oom
    if value == 0 or (flow.allocation.sysrq and rules.sysrq_never_panics):
        return None
    if value == 2:
        return flow.panic("check_panic_on_oom", "Out of memory: compulsory panic_on_oom is enabled")
    if flow.constrained.constraint == "CONSTRAINT_NONE":
        return flow.panic(
            "check_panic_on_oom", "Out of memory: system-wide panic_on_oom is enabled"
        )
    flow.step("check_panic_on_oom", "panic_on_oom is 1, but this OOM is confined: no panic")
    return None


def _allocating_task(flow: _Flow) -> Decision | None:
    if not flow.sysctl.oom_kill_allocating_task or flow.allocation.sysrq:
        return None
    function = "oom_kill_allocating_task"
    current = flow.oc.current
    if current is None:
        flow.step(function, "set, but the allocating task is not in the snapshot; the scan follows")
        return None
    reason = _why_current_lives(current, flow)
    if reason is not None:
        flow.step(function, f"set, but {name(current)} can't be killed ({reason})")
        return None
    flow.step(function, f"set: the allocating task {name(current)} is killed")
    killing = oom_kill_process(flow.oc, current, "allocating_task")
    return flow.killed(killing, current, None, _ALLOCATING)


def _why_current_lives(current: Task, flow: _Flow) -> str | None:
    reason = out_of_reach(current, flow.oc)
    if reason is None and not current.has_mm:
        reason = "no memory"
    check = flow.rules.allocating_task_check
    if reason is None and check != "none" and is_disabled(current, flow.rules):
        reason = "oom_score_adj -1000"
    if reason is None and check == "mm":
        sharers = flow.oc.sharers(current)
        if any(is_disabled(sharer, flow.rules) for sharer in sharers):
            reason = "shares memory with a task at oom_score_adj -1000"
    return reason


def _scan_and_kill(flow: _Flow, function: str) -> Decision:
    """``__out_of_memory()`` and the classic ``mem_cgroup_out_of_memory()``."""
    rules, sysctl = flow.rules, flow.sysctl
    asked = sysctl.oom_kill_allocating_task and rules.allocating_task != "none"
    current = flow.oc.current
    if asked and flow.allocation.memcg is None and current is not None:
        flow.step(
            function,
            f"oom_kill_allocating_task is set: the allocating task {name(current)} is killed",
        )
        killing = oom_kill_process(flow.oc, current, "allocating_task")
        if killing.done or rules.allocating_task == "always":
            return flow.killed(killing, current, None, _ALLOCATING)
        flow.trace.extend(killing.steps)
    return _select_and_kill(flow)


def _select_and_kill(flow: _Flow) -> Decision:
    selection = select_bad_process(flow.oc)
    flow.step("select_bad_process", selection.how)
    if selection.waits_for is not None:
        return flow.decision()
    chosen = selection.chosen
    reason: Reason = "selected"
    if chosen is None:
        if flow.allocation.memcg is None or flow.rules.memcg_no_victim == "nothing":
            return _no_victim(flow)
        chosen, reason = flow.oc.current, "allocating_task"
        if chosen is None:
            return _no_victim(flow)
        flow.step("mem_cgroup_out_of_memory", f"the allocating task {name(chosen)} is killed")
    return _kill_chosen(flow, chosen, selection.points, reason)


def _kill_chosen(flow: _Flow, chosen: Task, points: int | None, reason: Reason) -> Decision:
    killing = oom_kill_process(flow.oc, chosen, reason)
    if killing.done or killing.spared:
        return flow.killed(killing, chosen, points, flow.message)
    flow.trace.extend(killing.steps)
    # Nothing has changed for the next scan, so the kernel chooses the same task for ever.
    flow.step(
        "select_bad_process", f"livelock: selects {name(chosen)} repeatedly, and the machine hangs"
    )
    return flow.decision(chosen_pid=chosen.pid, points=points)


def _no_victim(flow: _Flow) -> Decision:
    text = "Out of memory and no killable processes..."
    function = "out_of_memory"
    if flow.allocation.memcg is not None:
        flow.step(function, "no killable process in the memory cgroup; the charge fails")
        return flow.decision(retry=False)
    if flow.allocation.sysrq and flow.rules.sysrq_never_panics:
        flow.step(function, "no killable process; SysRq never panics")
        return flow.decision(retry=False)
    if flow.rules.no_victim == "warn_panic":
        flow.step(function, f"warning: {text}")
        return flow.panic(function, "System is deadlocked on memory")
    return flow.panic(function, text)
