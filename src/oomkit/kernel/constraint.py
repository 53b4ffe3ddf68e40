"""``constrained_alloc()``: what confines the failing allocation (mm/oom_kill.c)."""

import msgspec

from oomkit.kernel.decision import Constraint, Scope
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Allocation, Snapshot, Task


class Constrained(msgspec.Struct, frozen=True, kw_only=True):
    """The constraint, who may be chosen from, and the nodes it leaves (None: all)."""

    constraint: Constraint
    scope: Scope
    nodes: tuple[int, ...] | None = None


def constrained_alloc(
    snapshot: Snapshot, rules: RuleSet, allocation: Allocation, current: Task | None
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


def _confining(nodes: tuple[int, ...] | None, every: set[int]) -> tuple[int, ...] | None:
    return None if nodes is None or every <= set(nodes) else nodes
