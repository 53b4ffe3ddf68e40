"""``constrained_alloc()``: what confines a failing allocation, and what badness is relative to.

Models mm/oom_kill.c, and ``totalpages`` of mm/memcontrol.c.
"""

from oomkit.kernel.decision import Constraint, Scope
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Memcg, Snapshot, Task


class Constrained:
    """The constraint, the candidates, and the nodes it leaves (None: all)."""

    __slots__ = ("constraint", "nodes", "scope")

    def __init__(
        self, *, constraint: Constraint, scope: Scope, nodes: tuple[int, ...] | None = None
    ) -> None:
        self.constraint: Constraint = constraint
        self.scope: Scope = scope
        self.nodes = nodes


def constrained_alloc(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet, current: Task | None
) -> Constrained:
    """Find the constraint of an allocation.

    2.6.16-2.6.32 meet the cpuset first, later kernels the memory policy. On a machine with
    one node there is none but a memory cgroup's.
    """
    if allocation.memcg is not None:
        return Constrained(constraint="CONSTRAINT_MEMCG", scope="memcg")
    if allocation.sysrq:
        return Constrained(constraint="CONSTRAINT_NONE", scope="sysrq")
    unconstrained = Constrained(constraint="CONSTRAINT_NONE", scope="global")
    # A page fault's OOM comes without a zone list to look at.
    unknown = rules.constraint == "none" or allocation.page_fault_oom
    if unknown or len(snapshot.memory.nodes) < 2:
        return unconstrained
    if allocation.gfp_thisnode and rules.thisnode:
        return unconstrained
    every = {node.node_id for node in snapshot.memory.nodes}
    policy = _confining(allocation.nodemask, every)
    cpuset = _confining(current.mems_allowed if current else None, every)
    by_cpuset = Constrained(constraint="CONSTRAINT_CPUSET", scope="cpuset", nodes=cpuset)
    by_policy = Constrained(constraint="CONSTRAINT_MEMORY_POLICY", scope="mempolicy", nodes=policy)
    if policy is None:
        return unconstrained if cpuset is None else by_cpuset
    if cpuset is None or rules.constraint == "policy_first":
        return by_policy
    # Before 2.6.33 the zone list is walked first: a zone in it that the cpuset forbids decides.
    return by_policy if set(policy) <= set(cpuset) else by_cpuset


def control_for(snapshot: Snapshot, allocation: Allocation, rules: RuleSet) -> OomControl:
    """The context in which ``out_of_memory()`` computes badness for a request."""
    return constrained_control(snapshot, allocation, rules)[0]


def constrained_control(
    snapshot: Snapshot, allocation: Allocation, rules: RuleSet
) -> tuple[OomControl, Constrained]:
    """That context, and the constraint it was made for."""
    oc = OomControl(snapshot, allocation, rules)
    found = constrained_alloc(snapshot, allocation, rules, oc.current)
    oc.constraint = found.constraint
    oc.total_pages = total_pages(
        snapshot, rules, found.constraint, memcg=oc.memcg, nodes=found.nodes
    )
    return oc, found


def _confining(nodes: tuple[int, ...] | None, every: set[int]) -> tuple[int, ...] | None:
    return None if nodes is None or every <= set(nodes) else nodes


_UNLIMITED = 1 << 62


def global_total_pages(snapshot: Snapshot) -> int:
    """RAM and swap in pages, as a global OOM and ``/proc/PID/oom_score`` take it."""
    return snapshot.memory.total_ram_pages + snapshot.memory.total_swap_pages


def nodes_total_pages(snapshot: Snapshot, rules: RuleSet, nodes: tuple[int, ...]) -> int:
    """All swap and the memory of some NUMA nodes, in pages (present ones from 5.4 on)."""
    known = [node for node in snapshot.memory.nodes if node.node_id in nodes]
    if not known:
        return global_total_pages(snapshot)
    spanned = rules.node_pages == "spanned"
    ram = sum(node.spanned_pages if spanned else node.present_pages for node in known)
    return snapshot.memory.total_swap_pages + ram


def memcg_total_pages(snapshot: Snapshot, rules: RuleSet, memcg: Memcg) -> int:
    """A memory cgroup's limit and the swap it may use, in pages, at least 1 (mm/memcontrol.c).

    A cgroup without a limit is taken to be limited by the machine's RAM.
    """
    limit = memcg.limit_pages
    if limit is None:
        limit = snapshot.memory.total_ram_pages
    swap = snapshot.memory.total_swap_pages
    memsw = _UNLIMITED if memcg.memsw_limit_pages is None else memcg.memsw_limit_pages
    swap_max = _UNLIMITED if memcg.swap_max_pages is None else memcg.swap_max_pages
    swappiness = snapshot.sysctl.swappiness if memcg.swappiness is None else memcg.swappiness
    match rules.memcg_total:
        case "unit_bug":
            # 2.6.36 and 2.6.37 add pages of swap to a limit in bytes.
            size = snapshot.page_size
            total = min(limit * size + swap, memsw * size) // size
        case "bytes":
            total = min(limit + swap, memsw)
        case "bytes_swappiness" | "swappiness":
            total = min(limit + swap, memsw) if swappiness else limit
        case "swap_max":
            total = min(limit + min(swap_max, swap), memsw) if swappiness else limit
        case "v1_gap":
            room = swap_max if memcg.version == 2 else max(memsw - limit, 0)
            total = limit + min(room, swap) if swappiness else limit
        case "none":
            total = limit
    return max(total, 1)


def total_pages(
    snapshot: Snapshot,
    rules: RuleSet,
    constraint: Constraint,
    *,
    memcg: Memcg | None = None,
    nodes: tuple[int, ...] | None = None,
) -> int | None:
    """Return ``totalpages`` for a constraint; None for the rules up to 2.6.35, which have none.

    Args:
        snapshot: the machine.
        rules: the kernel's rules.
        constraint: what confines the allocation.
        memcg: the memory cgroup that ran out, for CONSTRAINT_MEMCG.
        nodes: the nodes allowed, for CONSTRAINT_CPUSET and CONSTRAINT_MEMORY_POLICY.
    """
    if rules.badness == "classic":
        return None
    if constraint == "CONSTRAINT_MEMCG" and memcg is not None:
        return memcg_total_pages(snapshot, rules, memcg)
    if constraint != "CONSTRAINT_NONE" and nodes is not None:
        return nodes_total_pages(snapshot, rules, nodes)
    return global_total_pages(snapshot)
