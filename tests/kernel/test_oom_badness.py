"""The badness of 2.6.36-6.18 against values worked out by hand from mm/oom_kill.c."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.badness import badness, oom_badness, unkillable
from oomkit.kernel.cint import LONG_MIN
from oomkit.kernel.state import Allocation, Task
from oomkit.records import replace
from tests.kernel.strategies import INIT, KTHREAD, MODERN, control, mem, snapshots, versions

ALL = versions("2.6.36", "6.18")
SIGNED = versions("5.9", "6.18")
TOTAL = 2621440  # 8 GiB of RAM and 2 GiB of swap


def points(version: str, *tasks: Task, total: int = TOTAL, **world: Any) -> int:
    """Badness of the first task."""
    return oom_badness(tasks[0], control(*tasks, rules=version, total=total, **world))


def proc(pages: int = 0, **fields: Any) -> Task:
    return Task(pid=10, comm="p", uid=fields.pop("uid", 1000), rss_pages=pages, **fields)


A: dict[str, Any] = {
    "pages": 521000,
    "anon_rss_pages": 500000,
    "file_rss_pages": 20000,
    "shmem_rss_pages": 1000,
    "swap_pages": 30000,
    "pgtable_pages": 1110,
    "pte_pages": 1100,
    "pmd_pages": 10,
}
VECTORS = [
    # versions, badness of A, of A as root, of A at oom_score_adj 300
    (("2.6.36", "3.4"), 210, 180, 510),
    (("3.5", "3.13"), 552100, 473470, 1338400),
    (("3.14", "3.19"), 552100, 535537, 1338400),
    (("4.0", "4.14"), 552110, 535547, 1338410),
    (("4.15", "4.16"), 552110, 535547, 1338410),
    (("4.17", "6.18"), 552110, 552110, 1338410),
]


@pytest.mark.parametrize(("span", "plain", "root", "adjusted"), VECTORS)
def test_worked_example(span: tuple[str, str], plain: int, root: int, adjusted: int) -> None:
    """R4: a task of 551,000 pages on 10 GiB, in every era."""
    for version in versions(*span):
        assert points(version, proc(**A)) == plain, version
        assert points(version, proc(**A, cap_sys_admin=True)) == root, version
        assert points(version, proc(**A, oom_score_adj=300)) == adjusted, version


@pytest.mark.parametrize("version", ALL)
def test_a_small_task_far_below_zero(version: str) -> None:
    """R3: at -999 a small task scores 1, and from 5.9 on what the sum says."""
    expected = 100 - 999 * 2621 if version in SIGNED else 1
    assert points(version, proc(100, oom_score_adj=-999)) == expected


@pytest.mark.parametrize("version", ALL)
def test_idle_task_scores_one_or_nothing(version: str) -> None:
    """R4: a task that uses nothing is still eligible: 1 up to 5.8, 0 from 5.9 on."""
    assert points(version, proc(0)) == (0 if version in SIGNED else 1)


PERMILLE = versions("2.6.36", "3.4")
SHARES = [
    # pages, page tables, total, thousandths before 2.6.39 (rss and swap alone), after
    (1000, 0, 1000, 1000, 1000),
    (999, 1, 1000, 999, 1000),
    (500, 0, 1000000, 1, 1),
    (1999, 1, 1000000, 1, 2),
    (2000, 0, 1000000, 2, 2),
    (5, 0, 0, 1000, 1000),
]


@pytest.mark.parametrize(("pages", "ptes", "total", "without", "with_ptes"), SHARES)
@pytest.mark.parametrize("version", PERMILLE)
def test_thousandths(
    version: str, pages: int, ptes: int, total: int, without: int, with_ptes: int
) -> None:
    """R4: 2.6.36-3.4 score the share of allowed memory; page tables count from 2.6.39 on."""
    counted = version not in versions("2.6.36", "2.6.38")
    task = proc(pages, pgtable_pages=ptes)
    assert points(version, task, total=total) == (with_ptes if counted else without)


@pytest.mark.parametrize("version", PERMILLE)
def test_thousandths_stay_between_1_and_1000(version: str) -> None:
    """R4: 2.6.36-3.4 clamp, and root's 30 points come off before the clamp."""
    assert points(version, proc(TOTAL, oom_score_adj=1000)) == 1000
    assert points(version, proc(TOTAL // 100, oom_score_adj=-999)) == 1
    assert points(version, proc(TOTAL // 50, cap_sys_admin=True)) == 1
    assert points(version, proc(TOTAL // 20, cap_sys_admin=True)) == 20
    assert points(version, proc(TOTAL // 2, oom_score_adj=-499, cap_sys_admin=True)) == 1


OVERFLOW = [
    # rss, total, badness by 32-bit ints (as a C compiler computes them), by longs
    (2147483, 4000000, 536, 536),
    (2147484, 4000000, 1, 536),
    (3000000, 4000000, 1, 750),
    (4294968, 4000000, 1, 1000),
    (6294968, 8000000, 250, 786),
    (2200000, 2621440, 1000, 839),
    (2600000, 2621440, 1000, 991),
]


@pytest.mark.parametrize(("rss", "total", "overflown", "exact"), OVERFLOW)
def test_32_bit_overflow_of_2_6_39_to_3_1(rss: int, total: int, overflown: int, exact: int) -> None:
    """R4: above 2,147,483 pages (8 GiB) the product wraps, and size says little any more."""
    for version in versions("2.6.39", "3.1"):
        assert points(version, proc(rss), total=total) == overflown, version
    for version in (*versions("2.6.36", "2.6.38"), *versions("3.2", "3.4")):
        assert points(version, proc(rss), total=total) == exact, version


def test_2_6_36_cuts_the_quotient_to_an_int() -> None:
    """R4: 2.6.36-2.6.38 compute in an unsigned long and keep the low 32 bits of the quotient."""
    for version in versions("2.6.36", "2.6.38"):
        # 2**31 thousandths: a negative int, lifted to 1.
        assert points(version, proc(2**31), total=1000) == 1
        assert points(version, proc(2**32 + 5), total=1000) == 5
    for version in versions("3.2", "3.4"):
        assert points(version, proc(2**31), total=1000) == 1000


PGTABLES = [
    (("2.6.36", "2.6.38"), 0),
    (("2.6.39", "3.19"), 300),
    (("4.0", "4.14"), 340),
    (("4.15", "6.18"), 345),
]


@pytest.mark.parametrize(("span", "counted"), PGTABLES)
def test_which_page_tables_count(span: tuple[str, str], counted: int) -> None:
    """R4: none, then the lowest level, then two levels, then all of them."""
    task = proc(10000, pgtable_pages=345, pte_pages=300, pmd_pages=40)
    for version in versions(*span):
        permille = version in PERMILLE
        expected = 10000 + counted
        assert points(version, task, total=1000 if not permille else 10**6) == (
            expected * 1000 // 10**6 if permille else expected
        ), version


@pytest.mark.parametrize("version", ALL)
def test_unknown_levels_fall_back_to_all_page_tables(version: str) -> None:
    """R4: where the levels are not known apart, all page tables stand for them."""
    task = proc(10000, pgtable_pages=345)
    expected = 10000 if version in versions("2.6.36", "2.6.38") else 10345
    if version in PERMILLE:
        assert points(version, task, total=10**5) == expected // 100
    else:
        assert points(version, task) == expected


ROOT = [
    # pages, total, versions, badness as root
    (10000, 999, ("3.5", "3.13"), 10000),
    (10000, 1000, ("3.5", "3.13"), 9970),
    (10000, 1999, ("3.5", "3.13"), 9970),
    (10000, TOTAL, ("3.5", "3.13"), 1),
    (100000, TOTAL, ("3.5", "3.13"), 100000 - 30 * 2621),
    (33, TOTAL, ("3.14", "4.16"), 33),
    (34, TOTAL, ("3.14", "4.16"), 33),
    (10000, TOTAL, ("3.14", "4.16"), 9700),
    (10000, TOTAL, ("4.17", "6.18"), 10000),
]


@pytest.mark.parametrize(("pages", "total", "span", "expected"), ROOT)
def test_roots_bonus(pages: int, total: int, span: tuple[str, str], expected: int) -> None:
    """R4: 30 steps of adj to 3.13, 3 % of the own badness to 4.16, then nothing."""
    for version in versions(*span):
        assert points(version, proc(pages, cap_sys_admin=True), total=total) == expected, version


def test_roots_bonus_comes_before_the_adjustment() -> None:
    """R4: 3.14-4.16 take 3 % of the memory, not of the adjusted sum."""
    for version in versions("3.14", "4.16"):
        task = proc(10000, cap_sys_admin=True, oom_score_adj=100)
        assert points(version, task) == 9700 + 100 * 2621


STEP = [(999, 0), (1000, 1), (1999, 1), (2000, 2), (TOTAL, 2621)]


@pytest.mark.parametrize(("total", "step"), STEP)
@pytest.mark.parametrize("version", versions("3.5", "6.18"))
def test_a_step_of_adj_is_a_thousandth_cut_first(version: str, total: int, step: int) -> None:
    """R3: totalpages is divided by 1000 before it is multiplied; below 1000 adj does nothing."""
    assert points(version, proc(10**7, oom_score_adj=777), total=total) == 10**7 + 777 * step
    assert points(version, proc(10**7, oom_score_adj=-777), total=total) == 10**7 - 777 * step


def _dead(version: str) -> int:
    return LONG_MIN if version in SIGNED else 0


@pytest.mark.parametrize("version", ALL)
def test_who_is_never_chosen(version: str) -> None:
    """R3: init, kernel threads, who has no memory, and -1000: 0, from 5.9 on LONG_MIN."""
    for task in (INIT, KTHREAD, proc(5, has_mm=False), proc(5, oom_score_adj=-1000)):
        assert points(version, task) == _dead(version)
        assert unkillable(task, control(task, rules=version, total=TOTAL)) is not None


@pytest.mark.parametrize("version", ALL)
def test_minus_1000_of_a_sharer(version: str) -> None:
    """R3: 2.6.37-3.1 protect whoever shares memory with a task at -1000."""
    protected = version in versions("2.6.37", "3.1")
    other = Task(pid=11, comm="o", oom_score_adj=-1000, mm_id=3)
    got = points(version, proc(TOTAL // 10, mm_id=3), other)
    assert (got == 0) == protected


@pytest.mark.parametrize("version", ALL)
def test_reaped_and_borrowed_memory(version: str) -> None:
    """R4: a reaped mm is passed over from 4.6 on, a vfork child from 4.8 on."""
    reaped = points(version, proc(5, mm_reaped=True)) == _dead(version)
    assert reaped == (version in versions("4.6", "6.18"))
    vfork = points(version, proc(5, vfork=True)) == _dead(version)
    assert vfork == (version in versions("4.8", "6.18"))


@pytest.mark.parametrize("version", ALL)
def test_origin(version: str) -> None:
    """R4: PF_OOM_ORIGIN is worth 1000 to 2.6.39; later kernels do it elsewhere."""
    flagged = version in versions("2.6.36", "2.6.39")
    assert (points(version, proc(TOTAL // 100, oom_origin=True)) == 1000) == flagged
    assert points(version, proc(5, oom_origin=True, oom_score_adj=-1000)) == _dead(version)


@pytest.mark.parametrize("version", ALL)
def test_other_nodes_and_other_cgroups(version: str) -> None:
    """R4: a task of other NUMA nodes can't be chosen; from 5.3 on that spares a memcg's OOM."""
    asker = Task(pid=99, comm="asker", mems_allowed=(0,), cgroup="/a")
    far = proc(5000, mems_allowed=(1,), cgroup="/a")
    in_machine = control(far, asker, rules=version, total=TOTAL, allocation=Allocation(pid=99))
    assert oom_badness(far, in_machine) == _dead(version)
    of_cgroup = Allocation(pid=99, memcg="/a")
    in_cgroup = control(far, asker, rules=version, total=TOTAL, allocation=of_cgroup)
    lives = version not in versions("5.3", "6.18")
    assert (oom_badness(far, in_cgroup) == _dead(version)) == lives
    near_by_name = proc(5000, cgroup="/ab")
    other = control(near_by_name, asker, rules=version, total=TOTAL, allocation=of_cgroup)
    assert oom_badness(near_by_name, other) == _dead(version)
    below = proc(5000, cgroup="/a/b")
    inside = control(below, asker, rules=version, total=TOTAL, allocation=of_cgroup)
    assert oom_badness(below, inside) != _dead(version)


def test_el6_is_permille_in_longs_with_page_tables() -> None:
    """R4: RHEL 6 computes the share in thousandths, in longs, page tables included."""
    assert points("2.6.32-el6", proc(**A)) == 552100 * 1000 // TOTAL
    assert points("2.6.32-el6", proc(**A, cap_sys_admin=True)) == 180
    assert points("2.6.32-el6", proc(3000000), total=4000000) == 750
    assert points("2.6.32-el6", proc(999, pgtable_pages=1), total=1000) == 1000
    assert points("2.6.32-el6", proc(5, oom_score_adj=-1000)) == 0
    sharer = Task(pid=11, comm="o", oom_score_adj=-1000, mm_id=3)
    assert points("2.6.32-el6", proc(5, mm_id=3), sharer) == 0
    # CPU time, age and nice no longer matter.
    assert points("2.6.32-el6", proc(**A, cpu_jiffies=10**9, nice=5), uptime_s=10**6) == 210


def _oracle(version: str, task: Task, total: int) -> int:
    """The formulas of the fact table, era by era."""
    at = ALL.index(version)

    def since(other: str) -> bool:
        return at >= ALL.index(other)

    if task.oom_score_adj == -1000:
        return _dead(version)
    ptes, pmds = task.pte_pages or 0, task.pmd_pages or 0
    used = task.rss_pages + task.swap_pages
    if since("4.15"):
        used += task.pgtable_pages
    elif since("4.0"):
        used += ptes + pmds
    elif since("2.6.39"):
        used += ptes
    root = task.cap_sys_admin
    if not since("3.5"):
        x: int
        if since("2.6.39") and not since("3.2"):
            x = (used * 1000 + 2**31) % 2**32 - 2**31
            x = (x % 2**64) // max(total, 1)
            x = (x + 2**31) % 2**32 - 2**31
        else:
            x = used * 1000 // max(total, 1)
            if not since("3.2"):
                x = (x + 2**31) % 2**32 - 2**31
        x = x - 30 * root + task.oom_score_adj
        return 1 if x <= 0 else min(x, 1000)
    adj = task.oom_score_adj
    if not since("3.14"):
        adj -= 30 * root
    elif not since("4.17") and root:
        used -= used * 3 // 100
    x = used + adj * (total // 1000)
    return x if since("5.9") else max(x, 1)


@given(
    version=st.sampled_from(ALL),
    rss=st.one_of(st.integers(0, 10**4), st.integers(0, 2**33)),
    swap=st.integers(0, 2**22),
    tables=st.tuples(st.integers(0, 5000), st.integers(0, 50), st.integers(0, 10)),
    adj=st.integers(-1000, 1000),
    root=st.booleans(),
    total=st.one_of(st.integers(1, 3000), st.integers(1, 2**34)),
)
def test_all_terms_together(
    version: str,
    rss: int,
    swap: int,
    tables: tuple[int, int, int],
    adj: int,
    root: bool,
    total: int,
) -> None:
    """R4: the formula of every era on random numbers, bit for bit."""
    task = proc(
        rss,
        swap_pages=swap,
        pte_pages=tables[0],
        pmd_pages=tables[1],
        pgtable_pages=sum(tables),
        oom_score_adj=adj,
        cap_sys_admin=root,
    )
    assert points(version, task, total=total) == _oracle(version, task, total)


@given(
    snapshot=snapshots(plain=True), rules=st.sampled_from(MODERN), more=st.integers(1, 2 * 10**5)
)
def test_more_memory_is_never_a_lower_score(snapshot: Any, rules: Any, more: int) -> None:
    """R4: badness is monotone in memory, save where 32 bits overflow."""
    task = snapshot.tasks[-1]
    if rules.arithmetic == "s32":
        task = replace(task, rss_pages=task.rss_pages % 10**6)
    bigger = replace(task, rss_pages=task.rss_pages + more)
    oc = control(*snapshot.tasks, rules=rules, total=mem().total_ram_pages)
    assert badness(bigger, oc) >= badness(task, oc)
