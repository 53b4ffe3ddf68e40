"""``totalpages``: the memory that badness is measured against.

Models constrained_alloc() of mm/oom_kill.c and mem_cgroup_get_limit()/mem_cgroup_get_max()
of mm/memcontrol.c, 2.6.36-7.3. The classic badness has no such term.
"""

from oomkit.kernel.decision import Constraint
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memcg, Snapshot

_UNLIMITED = 1 << 62


def global_total_pages(snapshot: Snapshot) -> int:
    """RAM and swap, as a global OOM and ``/proc/PID/oom_score`` take it."""
    return snapshot.memory.total_ram_pages + snapshot.memory.total_swap_pages


def nodes_total_pages(snapshot: Snapshot, rules: RuleSet, nodes: tuple[int, ...]) -> int:
    """All swap and the memory of some NUMA nodes."""
    known = [node for node in snapshot.memory.nodes if node.node_id in nodes]
    if not known:
        return global_total_pages(snapshot)
    spanned = rules.node_pages == "spanned"
    ram = sum(node.spanned_pages if spanned else node.present_pages for node in known)
    return snapshot.memory.total_swap_pages + ram


def memcg_total_pages(snapshot: Snapshot, rules: RuleSet, memcg: Memcg) -> int:
    """A memory cgroup's limit and the swap it may use, at least 1.

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
    """Return ``totalpages`` for a constraint; None for the classic rules.

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
