"""Overcommit (mm/mmap.c, mm/util.c): the largest request allowed, and the first one refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.overcommit import Commit, commit_limit_pages, vm_enough_memory
from oomkit.kernel.state import Memory, Sysctl, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import ALL_RULES, MAINLINE, versions

HUGE = 1 << 40


def ask(
    version: str,
    pages: int,
    memory: Memory,
    *,
    admin: bool | None = False,
    task: Task | None = None,
    **knobs: int,
) -> Commit:
    return vm_enough_memory(
        pages, memory, Sysctl(**knobs), rules_for(version), admin=admin, task=task
    )


def assert_largest(version: str, largest: int, memory: Memory, **how: Any) -> None:
    """``largest`` passes; one page more does not, and is short by that page."""
    passes = ask(version, largest, memory, **how)
    assert passes.allowed, version
    assert passes.short_by_pages == 0
    refused = ask(version, largest + 1, memory, **how)
    assert not refused.allowed, version
    assert refused.short_by_pages == 1
    assert ask(version, largest + 1000, memory, **how).short_by_pages == 1000
    for pages in (0, 1, largest, largest + 1, HUGE):
        assert ask(version, pages, memory, **how).limit_pages == largest, (version, pages)


@pytest.mark.parametrize("version", MAINLINE)
def test_mode_1_never_refuses(version: str) -> None:
    """R2: overcommit_memory = 1 always grants."""
    answer = ask(version, HUGE, Memory(total_ram_pages=1), overcommit_memory=1)
    assert answer == Commit(allowed=True, limit="always", limit_pages=None, short_by_pages=0)


# A machine of 2 GiB: 3200 pages free above the reserve, so that each thirty-second is round.
BOX = Memory(
    total_ram_pages=524288,
    total_swap_pages=262144,
    free_pages=32000 + 1000,
    totalreserve_pages=1000,
    file_pages=40000,
    shmem_pages=6400,
    free_swap_pages=20000,
    slab_reclaimable_pages=4000,
    misc_reclaimable_pages=320,
)


@pytest.mark.parametrize("version", versions("2.6.17", "3.0"))
def test_mode_0_in_two_steps(version: str) -> None:
    """R2: cache, free swap and slab, then free pages above the reserve; strictly more."""
    assert_largest(version, 64000 + 32000 - 1, BOX, admin=True)
    assert_largest(version, 62000 + 31000 - 1, BOX, admin=False)


@pytest.mark.parametrize("version", versions("2.6.11", "2.6.16"))
def test_mode_0_knew_no_reserve_before_2_6_17(version: str) -> None:
    """R2: up to 2.6.16 every free page counts."""
    assert_largest(version, 64000 + 33000 - 1, BOX, admin=True)
    assert_largest(version, 62000 + 33000 - 33000 // 32 - 1, BOX, admin=False)


@pytest.mark.parametrize("version", versions("2.6.17", "3.0"))
def test_mode_0_with_free_pages_at_the_reserve(version: str) -> None:
    """R2: free pages no more than the reserve do not count at all."""
    low = Memory(total_ram_pages=524288, free_pages=1000, totalreserve_pages=1000, file_pages=6400)
    assert_largest(version, 6400 - 1, low, admin=True)
    assert_largest(version, 6200 - 1, low, admin=False)


@pytest.mark.parametrize("version", versions("3.1", "3.9"))
def test_mode_0_at_once_with_a_thirty_second(version: str) -> None:
    """R2: 3.1-3.9 add up everything, leave shmem out, keep 1/32 from who is not admin."""
    whole = 33000 + 40000 - 6400 + 20000 + 4000 - 1000
    assert_largest(version, whole - 1, BOX, admin=True)
    assert_largest(version, whole - whole // 32 - 1, BOX, admin=False)


@pytest.mark.parametrize("version", versions("3.10", "5.1"))
def test_mode_0_with_the_admins_reserve(version: str) -> None:
    """R2: 3.10-5.1 keep admin_reserve_kbytes; 4.17-5.1 count other reclaimable memory too."""
    whole = 33000 + 40000 - 6400 + 20000 + 4000 - 1000
    if version in versions("4.17", "5.1"):
        whole += 320
    assert_largest(version, whole - 1, BOX, admin=True)
    assert_largest(version, whole - 2048 - 1, BOX, admin=False)
    assert_largest(version, whole - 25 - 1, BOX, admin=False, admin_reserve_kbytes=100)


@pytest.mark.parametrize("version", versions("3.1", "5.1"))
def test_mode_0_below_the_reserve_refuses_everything(version: str) -> None:
    """R2: an estimate that does not exceed the reserve grants not even one page."""
    poor = Memory(total_ram_pages=524288, free_pages=1000, totalreserve_pages=1000)
    refused = ask(version, 1, poor, admin=True)
    assert not refused.allowed
    assert refused.short_by_pages >= 1


MEASURED = [
    # RAM and swap of the machine measured, largest mapping that succeeded on it
    (6171021, 0, 6171021),
    (6171021, 16383, 6187404),
]


@pytest.mark.parametrize(("ram", "swap", "largest"), MEASURED)
@pytest.mark.parametrize("admin", [True, False])
@pytest.mark.parametrize("version", versions("5.2", "6.18"))
def test_mode_0_as_measured(version: str, admin: bool, ram: int, swap: int, largest: int) -> None:
    """R2: from 5.2 on RAM and swap is the limit, to the page, whoever asks."""
    memory = Memory(total_ram_pages=ram, total_swap_pages=swap, committed_pages=10**7)
    assert_largest(version, largest, memory, admin=admin)


STRICT = Memory(total_ram_pages=6171021, committed_pages=21174)
USER_RESERVE = 100403  # kB, of the machine measured
MODE_2_MEASURED = [
    # admin, total_vm, overcommit_kbytes, committed, largest: rows of an experiment on 6.18
    (True, 4273, 0, 21174, 3064202),
    (False, 4308, 0, 21209, 3062118),
    (True, 4308, 0, 21209, 3064166),
    (True, 4300, 8000000, 21209, 1978656),
]


@pytest.mark.parametrize(("admin", "total_vm", "kbytes", "committed", "largest"), MODE_2_MEASURED)
def test_mode_2_as_measured(
    admin: bool, total_vm: int, kbytes: int, committed: int, largest: int
) -> None:
    """R2: mode 2 on 6,171,021 pages of RAM: the largest mappings that were seen to succeed."""
    memory = Memory(total_ram_pages=6171021, committed_pages=committed)
    assert_largest(
        "6.18",
        largest,
        memory,
        admin=admin,
        task=Task(pid=1, comm="t", total_vm_pages=total_vm),
        overcommit_memory=2,
        overcommit_kbytes=kbytes,
        user_reserve_kbytes=USER_RESERVE,
    )


LIMITS = [
    # ram, hugetlb, swap, ratio, kbytes, CommitLimit in pages
    (6171021, 0, 0, 50, 0, 3085510),
    (6171021, 0, 0, 80, 0, 4936816),
    (6171021, 0, 16383, 50, 0, 3101893),
    (6171021, 0, 0, 50, 8000000, 2000000),
    (6171021, 0, 16383, 50, 8000000, 2016383),
    (6171021, 171021, 0, 50, 0, 3000000),
    (6171021, 0, 0, 0, 0, 0),
    (1000, 0, 0, 120, 0, 1200),
    (6171021, 0, 0, 50, 7, 1),
]


@pytest.mark.parametrize(("ram", "huge", "swap", "ratio", "kbytes", "limit"), LIMITS)
def test_commit_limit(ram: int, huge: int, swap: int, ratio: int, kbytes: int, limit: int) -> None:
    """R2: swap and ratio % of RAM without hugetlb pages (default 50, settable), or kbytes."""
    memory = Memory(total_ram_pages=ram, total_swap_pages=swap, hugetlb_pages=huge)
    knobs = Sysctl(overcommit_ratio=ratio, overcommit_kbytes=kbytes)
    for version in versions("3.14", "6.18"):
        assert commit_limit_pages(memory, knobs, rules_for(version)) == limit, version
    if not kbytes:
        for version in versions("2.6.11", "3.13"):
            assert commit_limit_pages(memory, knobs, rules_for(version)) == limit, version


def test_overcommit_kbytes_is_unknown_before_3_14() -> None:
    """R2: older kernels have no overcommit_kbytes."""
    knobs = Sysctl(overcommit_kbytes=8)
    memory = Memory(total_ram_pages=1000)
    for version in versions("2.6.11", "3.13"):
        assert commit_limit_pages(memory, knobs, rules_for(version)) == 500


def test_default_ratio_is_50() -> None:
    """R2: the default is half of RAM."""
    assert Sysctl().overcommit_ratio == 50
    assert Sysctl().overcommit_memory == 0


@pytest.mark.parametrize("version", MAINLINE)
def test_mode_2_boundary(version: str) -> None:
    """R2: strictly below the limit; who is not admin and how large he is already cost."""
    memory = Memory(total_ram_pages=64000, total_swap_pages=320, committed_pages=500)
    small = Task(pid=1, comm="t", total_vm_pages=3200)
    how: dict[str, Any] = {"overcommit_memory": 2, "task": small}
    old = version in versions("2.6.11", "3.9")
    reserve = 1000 if old else 2048
    assert_largest(version, 32320 - 100 - 500 - 1, memory, admin=True, **how)
    assert_largest(version, 32320 - reserve - 100 - 500 - 1, memory, admin=False, **how)
    how["task"] = Task(pid=1, comm="t", total_vm_pages=32 * 20000)
    cost = 20000 if old else 40960 // 4
    how["user_reserve_kbytes"] = 40960
    assert_largest(version, 32320 - cost - 500 - 1, memory, admin=True, **how)


@pytest.mark.parametrize("version", MAINLINE)
def test_mode_2_refuses_and_does_not_kill(version: str) -> None:
    """R2: beyond the limit the request gets an error: short by so many pages."""
    memory = Memory(total_ram_pages=1000, committed_pages=900)
    refused = ask(version, 1, memory, admin=True, overcommit_memory=2)
    assert not refused.allowed
    assert refused.limit == "CommitLimit"
    assert refused.limit_pages == 500 - 900 - 1
    assert refused.short_by_pages == 402


@pytest.mark.parametrize("version", MAINLINE)
def test_unknown_modes_are_strict(version: str) -> None:
    """R2: the kernel tests for 1, then for 0; any other value takes the path of 2."""
    memory = Memory(total_ram_pages=1000)
    strict = ask(version, 600, memory, admin=True, overcommit_memory=2)
    assert ask(version, 600, memory, admin=True, overcommit_memory=3) == strict
    assert not strict.allowed


def test_admin_is_what_the_task_is_unless_told() -> None:
    """R2: CAP_SYS_ADMIN of the asking task decides."""
    memory = Memory(total_ram_pages=64000)
    root = Task(pid=1, comm="r", cap_sys_admin=True)
    plain = Task(pid=1, comm="u")
    for task, admin in ((root, True), (plain, False), (None, False)):
        asked = ask("6.18", 5, memory, admin=None, task=task, overcommit_memory=2)
        assert asked == ask("6.18", 5, memory, admin=admin, task=task, overcommit_memory=2)


def test_page_size_of_64_kib() -> None:
    """R2: reserves and overcommit_kbytes are kB, whatever a page is."""
    memory = Memory(total_ram_pages=64000)
    knobs = Sysctl(overcommit_memory=2, overcommit_kbytes=640000)
    answer = vm_enough_memory(5, memory, knobs, rules_for("6.18"), page_size=65536)
    assert answer.limit_pages == 10000 - 128 - 1


@given(
    rules=st.sampled_from(ALL_RULES),
    mode=st.sampled_from([0, 2]),
    admin=st.booleans(),
    sizes=st.lists(st.integers(0, 2**22), min_size=8, max_size=8),
    pages=st.integers(0, 2**24),
    total_vm=st.integers(0, 2**24),
)
def test_answers_are_of_one_piece(
    rules: Any, mode: int, admin: bool, sizes: list[int], pages: int, total_vm: int
) -> None:
    """R2: by every rule set a request passes exactly when it is no larger than the limit."""
    memory = Memory(
        total_ram_pages=sizes[0] + 1,
        total_swap_pages=sizes[1],
        free_pages=sizes[2],
        file_pages=sizes[3] + sizes[4],
        shmem_pages=sizes[4],
        free_swap_pages=min(sizes[5], sizes[1]),
        slab_reclaimable_pages=sizes[6],
        totalreserve_pages=sizes[7] % 50000,
        committed_pages=sizes[7],
    )
    task = Task(pid=1, comm="t", total_vm_pages=total_vm)
    answer = vm_enough_memory(
        pages, memory, Sysctl(overcommit_memory=mode), rules, task=task, admin=admin
    )
    assert answer.limit_pages is not None
    assert answer.allowed == (pages <= answer.limit_pages) == (answer.short_by_pages == 0)
    assert answer.short_by_pages == max(pages - answer.limit_pages, 0)
    smaller = vm_enough_memory(
        pages // 2, memory, Sysctl(overcommit_memory=mode), rules, task=task, admin=admin
    )
    assert smaller.allowed >= answer.allowed
    as_admin = vm_enough_memory(
        pages, memory, Sysctl(overcommit_memory=mode), rules, task=task, admin=True
    )
    assert as_admin.allowed >= answer.allowed
