"""From a request for pages to the OOM killer (mm/page_alloc.c, mm/memcontrol.c)."""

from oomkit.kernel.constraint import constrained_alloc
from oomkit.kernel.decision import Decision
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.out_of_memory import out_of_memory, pagefault_out_of_memory
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot
from oomkit.records import replace

PAGE_ALLOC_COSTLY_ORDER = 3
"""Requests above this order are not worth a process's life."""


def alloc_pages(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    *,
    reclaimable_pages: int = 0,
) -> Decision:
    """Ask the page allocator for 2**order pages, and follow what happens.

    The fast path takes them above the low watermark, the slow path above the min watermark
    after reclaim; only when that fails too is the OOM killer called, see :func:`decide`.

    Args:
        snapshot: the machine; its watermarks and free pages decide.
        allocation: the request.
        rules: the kernel's rules.
        reclaimable_pages: pages that reclaim can free now.
    """
    memory = snapshot.memory
    entry = rules.chain[0]
    wanted = 1 << allocation.order
    # The kernel's test: free - (2**order - 1) must exceed the mark.
    left = memory.free_pages - wanted + 1
    if left > memory.low_wmark_pages:
        step = f"{entry}: {wanted} of {memory.free_pages} free pages taken, above the low watermark"
        return _no_kill(snapshot, allocation, rules, (step,), retry=True)
    if left + reclaimable_pages > memory.min_wmark_pages:
        how = "above the min watermark"
        if left <= memory.min_wmark_pages:
            how = f"after reclaim (up to {reclaimable_pages} pages)"
        step = f"{_slowpath(rules)}: {wanted} pages found {how}"
        return _no_kill(snapshot, allocation, rules, (step,), retry=True)
    return decide(snapshot, allocation, rules)


def decide(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> Decision:
    """Follow a request that found no page, even after reclaim, to its end.

    Args:
        snapshot: the machine at that moment.
        allocation: the request: its task, its order, under which limit.
        rules: the kernel's rules, from :func:`oomkit.kernel.versions.rules_for`.

    Returns:
        The decision; its trace begins with the functions between the request and
        ``out_of_memory()`` under the names that the version gives them.
    """
    if allocation.sysrq:
        decision = out_of_memory(snapshot, allocation, rules)
        return _prefix(decision, ("moom_callback: SysRq-f asks for a kill",))
    if allocation.memcg is not None:
        return _charge(snapshot, allocation, rules)
    if allocation.page_fault_oom:
        return pagefault_out_of_memory(snapshot, allocation, rules)
    steps = [f"{function}: no page" for function in rules.chain if "may_oom" not in function]
    refusal = _slowpath_refusal(snapshot, allocation, rules)
    if refusal is not None:
        text, retry = refusal
        steps.append(f"{_slowpath(rules)}: {text}")
        return _no_kill(snapshot, allocation, rules, tuple(steps), retry=retry)
    may_oom = rules.chain[-1]
    refusal = _may_oom_refusal(snapshot, allocation, rules)
    if refusal is not None:
        text, retry = refusal
        steps.append(f"{may_oom}: {text}")
        return _no_kill(snapshot, allocation, rules, tuple(steps), retry=retry)
    if "may_oom" in may_oom:
        steps.append(f"{may_oom}: still no page above the high watermark; calls out_of_memory")
    return _prefix(out_of_memory(snapshot, allocation, rules), tuple(steps))


def _slowpath(rules: RuleSet) -> str:
    return next((f for f in rules.chain if "slowpath" in f), rules.chain[-1])


def _slowpath_refusal(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet
) -> tuple[str, bool] | None:
    """Why the slow path never asks for a kill, and whether it tries again."""
    small = allocation.order <= PAGE_ALLOC_COSTLY_ORDER
    if allocation.gfp_noretry:
        return "__GFP_NORETRY: the request fails", False
    if not allocation.gfp_fs and rules.fs_check == "slowpath":
        again = small or allocation.gfp_nofail
        return "no __GFP_FS: no kill; small requests are tried again for ever", again
    if rules.retry != "any_progress" and not small and not allocation.gfp_retry_mayfail:
        return f"order {allocation.order} is more than 3: the request fails", allocation.gfp_nofail
    if snapshot.sysctl.oom_killer_disabled and rules.disabled_check in ("none", "slowpath"):
        return "oom_killer_disabled is set: the request fails without a kill", False
    return None


def _may_oom_refusal(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet
) -> tuple[str, bool] | None:
    """Why ``__alloc_pages_may_oom()`` gives up, and whether the slow path tries again."""
    if snapshot.sysctl.oom_killer_disabled and rules.disabled_check == "may_oom":
        return "oom_killer_disabled is set: the request fails without a kill", False
    # __GFP_NOFAIL never gets a failure; whether it may kill is another matter.
    small = allocation.order <= PAGE_ALLOC_COSTLY_ORDER
    again = allocation.gfp_nofail or (small and rules.retry == "any_progress")
    if allocation.gfp_nofail and rules.nofail_overrides:
        return None
    if not allocation.gfp_fs and rules.fs_check == "may_oom":
        return "no __GFP_FS: no kill; the request loops", True
    current = OomControl(snapshot, allocation, rules).current
    if rules.costly_order and not small:
        return f"order {allocation.order} is more than {PAGE_ALLOC_COSTLY_ORDER}: no kill", again
    if rules.low_zone and allocation.low_zone:
        return "only zones below NORMAL will do: killing would not help", again
    if rules.thisnode and allocation.gfp_thisnode:
        return "__GFP_THISNODE: the caller can fall back to another node", again
    if rules.coredump and current is not None and current.coredump:
        return "the asker is dumping core: no kill", again
    if rules.retry_mayfail and allocation.gfp_retry_mayfail:
        return "__GFP_RETRY_MAYFAIL: the request fails without a kill", False
    return None


def _charge(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> Decision:
    """A charge to a memory cgroup that is at its limit."""
    oc = OomControl(snapshot, allocation, rules)
    path = allocation.memcg
    steps = [f"{rules.memcg_chain[0]}: {path} is at its limit and reclaim found nothing"]
    where = rules.memcg_chain[-1]

    def stop(text: str, *, retry: bool) -> Decision:
        steps.append(f"{where}: {text}")
        return _no_kill(snapshot, allocation, rules, tuple(steps), retry=retry)

    current = oc.current
    if rules.memcg_reaped_charge and current is not None and current.victim and current.mm_reaped:
        return stop(
            "the allocating task is a victim whose memory was reaped: the charge fails", retry=False
        )
    if allocation.gfp_noretry:
        return stop("__GFP_NORETRY: the charge fails", retry=False)
    if rules.memcg_costly_order and allocation.order > PAGE_ALLOC_COSTLY_ORDER:
        return stop(f"order {allocation.order} is more than 3: the charge fails", retry=False)
    if rules.memcg_at_fault_end and not allocation.user_fault:
        return stop("outside a page fault: the charge fails with ENOMEM", retry=False)
    if oc.memcg is not None and oc.memcg.oom_kill_disable:
        if allocation.user_fault:
            return stop("oom_kill_disable is set: the asker sleeps until memory comes", retry=True)
        return stop("oom_kill_disable is set: the charge fails with ENOMEM", retry=False)
    if rules.memcg_at_fault_end:
        steps.append("mem_cgroup_oom_synchronize: the kill is done as the page fault ends")
    steps.extend(f"{function}: calls on" for function in rules.memcg_chain[1:])
    return _prefix(out_of_memory(snapshot, allocation, rules), tuple(steps))


def _no_kill(
    snapshot: Snapshot,
    allocation: Allocation,
    rules: RuleSet,
    steps: tuple[str, ...],
    *,
    retry: bool,
) -> Decision:
    current = OomControl(snapshot, allocation, rules).current
    found = constrained_alloc(snapshot, allocation, rules, current)
    return Decision(
        action="none",
        scope=found.scope,
        constraint=found.constraint,
        rules=rules.name,
        retry=retry,
        trace=steps,
    )


def _prefix(decision: Decision, steps: tuple[str, ...]) -> Decision:
    return replace(decision, trace=(*steps, *decision.trace))
