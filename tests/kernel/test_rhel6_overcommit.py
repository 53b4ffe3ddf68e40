"""Overcommit of late RHEL 6 kernels, which mix the rules of 2.6.32 and 3.10."""

from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.overcommit import vm_enough_memory
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory, Sysctl, Task
from oomkit.kernel.versions import rules_for

EARLY, LATE = rules_for("2.6.32-504.el6.x86_64"), rules_for("2.6.32-754.el6.x86_64")
ADMIN_RESERVE_PAGES = 2048
MEMORY = Memory(
    total_ram_pages=500_000,
    total_swap_pages=100_000,
    free_pages=40_000,
    totalreserve_pages=10_000,
    file_pages=320_000,
    free_swap_pages=64_000,
    slab_reclaimable_pages=16_000,
)


def largest(rules: RuleSet, sysctl: Sysctl, task: Task | None, *, admin: bool) -> int | None:
    return vm_enough_memory(1, MEMORY, sysctl, rules, task=task, admin=admin).limit_pages


def test_the_administrator_s_share_is_the_knob_s_not_a_thirty_second() -> None:
    task = Task(pid=5, comm="a", ppid=1, total_vm_pages=3200)
    never = Sysctl(overcommit_memory=2, overcommit_ratio=50, admin_reserve_kbytes=8192)
    assert largest(LATE, never, task, admin=True) == 250_000 + 100_000 - 100 - 1
    assert largest(LATE, never, task, admin=False) == 350_000 - ADMIN_RESERVE_PAGES - 100 - 1
    assert largest(EARLY, never, task, admin=False) == 250_000 - 7812 + 100_000 - 100 - 1


def test_the_first_step_of_the_heuristic_keeps_the_knob_s_share() -> None:
    """R2: the second step adds 30,000 free pages above the reserve less 1/32, as ever."""
    guess = Sysctl(overcommit_memory=0, admin_reserve_kbytes=8192)
    free = 30_000 - 937
    assert largest(LATE, guess, None, admin=False) == 400_000 - ADMIN_RESERVE_PAGES + free - 1
    assert largest(EARLY, guess, None, admin=False) == 400_000 - 12_500 + free - 1


@given(total_vm=st.integers(0, 10_000_000))
def test_a_big_task_leaves_a_thirty_second_without_a_cap(total_vm: int) -> None:
    """Mainline caps it by user_reserve_kbytes since 3.10; RHEL 6 never took that over."""
    never = Sysctl(overcommit_memory=2, overcommit_ratio=50, user_reserve_kbytes=0)
    task = Task(pid=5, comm="a", ppid=1, total_vm_pages=total_vm)
    found = largest(LATE, never, task, admin=True)
    assert found == 350_000 - total_vm // 32 - 1
