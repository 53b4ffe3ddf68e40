"""``totalpages``, what badness is measured against, by constraint and version."""

from typing import Any

import pytest

from oomkit.kernel.constraint import control_for, memcg_total_pages, nodes_total_pages
from oomkit.kernel.state import Allocation, Memcg, Memory, Node, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import mem, snap, user, versions

MODERN = versions("2.6.36", "6.18")
MIB = 256  # pages

NUMA = Memory(
    total_ram_pages=3000,
    total_swap_pages=70,
    nodes=(
        Node(node_id=0, present_pages=1000, spanned_pages=1100),
        Node(node_id=1, present_pages=2000, spanned_pages=2500),
    ),
)


@pytest.mark.parametrize("version", versions("2.6.11", "2.6.35"))
def test_classic_rules_have_no_total(version: str) -> None:
    """R4: the classic badness is not a share of anything."""
    assert control_for(snap(user(1)), Allocation(), rules_for(version)).total_pages is None


@pytest.mark.parametrize("version", MODERN)
def test_global_total_is_ram_and_swap(version: str) -> None:
    """R4: RAM plus all swap."""
    oc = control_for(snap(user(1)), Allocation(), rules_for(version))
    assert oc.total_pages == 2621440


@pytest.mark.parametrize("version", MODERN)
def test_nodes_total(version: str) -> None:
    """R9: a cpuset's or a policy's total is all swap and its nodes' pages (spanned to 5.3)."""
    present = version in versions("5.4", "6.18")
    bound = Task(pid=5, comm="b", mems_allowed=(1,))
    snapshot = snap(bound, memory=NUMA)
    oc = control_for(snapshot, Allocation(pid=5), rules_for(version))
    assert oc.constraint == "CONSTRAINT_CPUSET"
    assert oc.total_pages == 70 + (2000 if present else 2500)
    oc = control_for(snap(user(5), memory=NUMA), Allocation(nodemask=(0,)), rules_for(version))
    assert oc.constraint == "CONSTRAINT_MEMORY_POLICY"
    assert oc.total_pages == 70 + (1000 if present else 1100)
    thisnode = Allocation(nodemask=(0,), gfp_thisnode=True)
    assert control_for(snapshot, thisnode, rules_for(version)).total_pages == 3070


@pytest.mark.parametrize("version", MODERN)
def test_nodes_that_the_snapshot_lacks(version: str) -> None:
    """R9: of nodes without a size the whole machine is the best guess; of some, those known."""
    rules, snapshot = rules_for(version), snap(memory=NUMA)
    present = version in versions("5.4", "6.18")
    assert nodes_total_pages(snapshot, rules, (5,)) == 3070
    assert nodes_total_pages(snapshot, rules, (0, 5)) == 70 + (1000 if present else 1100)
    assert nodes_total_pages(snapshot, rules, (0, 1)) == 70 + (3000 if present else 3600)


@pytest.mark.parametrize("version", versions("2.6.25", "2.6.35"))
def test_the_limit_is_all_that_the_classic_rules_know_of_a_cgroup(version: str) -> None:
    """R4: what a share is shown of, though their badness is none; one page at least."""
    assert total(version, limit_pages=100, memsw_limit_pages=50) == 100
    assert total(version, limit_pages=0) == 1


def total(version: str, /, *, swap: int = 524288, **memcg: Any) -> int:
    snapshot = snap(memory=mem(total_swap_pages=swap))
    return memcg_total_pages(snapshot, rules_for(version), Memcg(path="/a", **memcg))


LIMIT = 100 * MIB
V1 = [
    # fields of the cgroup, then the total in each era:
    # 2.6.36-37, 2.6.38-3.6, 3.7-4.4, 4.5-5.9, 5.10-
    ({}, LIMIT + 128, LIMIT + 524288, LIMIT + 524288, LIMIT + 524288, LIMIT + 524288),
    ({"memsw_limit_pages": LIMIT + 5}, LIMIT + 5, LIMIT + 5, LIMIT + 5, LIMIT + 5, LIMIT + 5),
    ({"memsw_limit_pages": LIMIT}, LIMIT, LIMIT, LIMIT, LIMIT, LIMIT),
    ({"swappiness": 0}, LIMIT + 128, LIMIT + 524288, LIMIT, LIMIT, LIMIT),
    (
        {"swappiness": 0, "memsw_limit_pages": LIMIT + 5},
        LIMIT + 5, LIMIT + 5, LIMIT, LIMIT, LIMIT,
    ),
]  # fmt: skip
ERAS = [
    versions("2.6.36", "2.6.37"),
    versions("2.6.38", "3.6"),
    versions("3.7", "4.4"),
    versions("4.5", "5.9"),
    versions("5.10", "6.18"),
]


@pytest.mark.parametrize(("fields", "totals"), [(row[0], row[1:]) for row in V1])
def test_total_of_a_v1_cgroup(fields: dict[str, Any], totals: tuple[int, ...]) -> None:
    """R4: limit and swap, at most the memsw limit; 2.6.36-37 add swap pages to bytes.

    524,288 pages of swap taken for bytes are 128 pages.
    """
    for era, expected in zip(ERAS, totals, strict=True):
        for version in era:
            assert total(version, version=1, limit_pages=LIMIT, **fields) == expected, version


V2 = [
    # swap.max, swappiness, total in 4.5 and later
    (None, 60, LIMIT + 524288),
    (0, 60, LIMIT),
    (7, 60, LIMIT + 7),
    (10**7, 60, LIMIT + 524288),
    (7, 0, LIMIT),
]


@pytest.mark.parametrize(("swap_max", "swappiness", "expected"), V2)
@pytest.mark.parametrize("version", versions("4.5", "6.18"))
def test_total_of_a_v2_cgroup(
    version: str, swap_max: int | None, swappiness: int, expected: int
) -> None:
    """R4: memory.max and the swap it may use, from 4.5 on."""
    fields: dict[str, Any] = {
        "limit_pages": LIMIT,
        "swap_max_pages": swap_max,
        "swappiness": swappiness,
    }
    assert total(version, **fields) == expected


@pytest.mark.parametrize("version", versions("3.7", "6.18"))
def test_swappiness_of_the_machine_stands_in(version: str) -> None:
    """R4: without a swappiness of its own a cgroup follows the machine's."""
    snapshot = snap(sysctl={"swappiness": 0})
    memcg = Memcg(path="/a", limit_pages=LIMIT)
    assert memcg_total_pages(snapshot, rules_for(version), memcg) == LIMIT


@pytest.mark.parametrize("version", MODERN)
def test_total_is_at_least_one(version: str) -> None:
    """R4: a cgroup of 0 pages without swap counts as 1."""
    assert total(version, swap=0, limit_pages=0) == 1


def test_el6_counts_as_3_7() -> None:
    """R4: RHEL 6 carries the swappiness rule of 3.7."""
    assert total("2.6.32-el6", version=1, limit_pages=LIMIT, swappiness=0) == LIMIT
    assert total("2.6.32-el6", version=1, limit_pages=LIMIT) == LIMIT + 524288
