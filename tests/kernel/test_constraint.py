"""``constrained_alloc()``: what confines an allocation."""

from typing import Any

import pytest

from oomkit.kernel.constraint import Constrained, constrained_alloc
from oomkit.kernel.state import Allocation, Memory, Node, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import MAINLINE, mem, snap, versions

NODES = tuple(Node(node_id=n, present_pages=1000, spanned_pages=1000) for n in (0, 1))
NUMA = Memory(total_ram_pages=2000, nodes=NODES)
AWARE = versions("2.6.16", "6.18")


def constrain(
    version: str, *, cpuset: tuple[int, ...] | None = None, memory: Memory = NUMA, **fields: Any
) -> Constrained:
    asker = Task(pid=5, comm="asker", mems_allowed=cpuset)
    snapshot = snap(asker, memory=memory)
    return constrained_alloc(snapshot, Allocation(pid=5, **fields), rules_for(version), asker)


FOUND = [
    # cpuset, policy, constraint with the cpuset first (to 2.6.32), with the policy first
    (None, None, "NONE", "NONE"),
    ((0, 1), None, "NONE", "NONE"),
    ((0,), None, "CPUSET", "CPUSET"),
    (None, (0,), "MEMORY_POLICY", "MEMORY_POLICY"),
    (None, (0, 1), "NONE", "NONE"),
    ((0, 1), (0,), "MEMORY_POLICY", "MEMORY_POLICY"),
    ((0,), (0, 1), "CPUSET", "CPUSET"),
    # The zone list holds node 1, which the cpuset forbids:
    ((0,), (1,), "CPUSET", "MEMORY_POLICY"),
    # and here only what it allows:
    ((0,), (0,), "MEMORY_POLICY", "MEMORY_POLICY"),
]


@pytest.mark.parametrize(("cpuset", "policy", "before", "after"), FOUND)
def test_constraint_on_two_nodes(
    cpuset: tuple[int, ...] | None, policy: tuple[int, ...] | None, before: str, after: str
) -> None:
    """R9: the constraint of an allocation, in either order of the two tests."""
    for version in AWARE:
        found = constrain(version, cpuset=cpuset, nodemask=policy)
        expected = before if version in versions("2.6.16", "2.6.32") else after
        assert found.constraint == f"CONSTRAINT_{expected}", version
        scope = {"NONE": "global", "CPUSET": "cpuset", "MEMORY_POLICY": "mempolicy"}[expected]
        assert found.scope == scope
        nodes = {"global": None, "cpuset": cpuset, "mempolicy": policy}[scope]
        assert found.nodes == nodes


@pytest.mark.parametrize("version", MAINLINE)
def test_one_node_constrains_nothing(version: str) -> None:
    """R9: on a machine without NUMA the constraint is always none."""
    for memory in (mem(), Memory(total_ram_pages=1000, nodes=NODES[:1])):
        found = constrain(version, cpuset=(0,), nodemask=(0,), memory=memory)
        assert found.constraint == "CONSTRAINT_NONE"


@pytest.mark.parametrize("version", versions("2.6.11", "2.6.15"))
def test_constraints_are_unknown_before_2_6_16(version: str) -> None:
    """R9: constrained_alloc() came with 2.6.16."""
    assert constrain(version, cpuset=(0,)).constraint == "CONSTRAINT_NONE"
    assert constrain(version, nodemask=(0,)).constraint == "CONSTRAINT_NONE"


@pytest.mark.parametrize("version", AWARE)
def test_thisnode_is_no_policy(version: str) -> None:
    """R9: from 2.6.33 on __GFP_THISNODE counts as unconstrained."""
    found = constrain(version, nodemask=(0,), gfp_thisnode=True)
    new = version in versions("2.6.33", "6.18")
    assert found.constraint == ("CONSTRAINT_NONE" if new else "CONSTRAINT_MEMORY_POLICY")


@pytest.mark.parametrize("version", MAINLINE)
def test_memory_cgroup_goes_first(version: str) -> None:
    """R9: a memory cgroup's OOM is confined to it, whatever nodes it may use."""
    found = constrain(version, cpuset=(0,), nodemask=(0,), memcg="/a")
    assert (found.constraint, found.scope) == ("CONSTRAINT_MEMCG", "memcg")


@pytest.mark.parametrize("version", MAINLINE)
def test_sysrq_and_page_faults_are_unconstrained(version: str) -> None:
    """R9: neither brings a node mask; a page fault's OOM has no zone list at all."""
    found = constrain(version, cpuset=(0,), sysrq=True)
    assert (found.constraint, found.scope) == ("CONSTRAINT_NONE", "sysrq")
    found = constrain(version, cpuset=(0,), nodemask=(0,), page_fault_oom=True)
    assert (found.constraint, found.scope) == ("CONSTRAINT_NONE", "global")
