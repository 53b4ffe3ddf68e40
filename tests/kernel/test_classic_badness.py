"""The badness of 2.6.11-2.6.35 against values worked out by hand from mm/oom_kill.c."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.badness import badness, classic_badness
from oomkit.kernel.cint import ULONG_MAX
from oomkit.kernel.state import Allocation, Task
from oomkit.records import replace
from tests.kernel.strategies import CLASSIC, control, snapshots, versions

ALL = versions("2.6.11", "2.6.35")


def points(version: str, *tasks: Task, **world: Any) -> int:
    """Badness of the first task."""
    return classic_badness(tasks[0], control(*tasks, rules=version, **world))


def proc(pages: int = 100000, **fields: Any) -> Task:
    fields.setdefault("start_s", 1000)
    fields.setdefault("uid", 1000)
    return Task(pid=10, comm="p", total_vm_pages=pages, **fields)


def child(pages: int, pid: int = 11, **fields: Any) -> Task:
    return Task(pid=pid, comm="c", ppid=10, total_vm_pages=pages, uid=1000, **fields)


# uptime 1,000,000 s: run = 976, its fourth root 5; 123456 jiffies at HZ 1000: cpu = 15, root 3.
OLD = {"start_s": 0, "uid": 1000}
BUSY = {"cpu_jiffies": 123456}
FACTS_VECTORS = [
    ((proc(262144),), 1000, 262144),
    ((proc(mm_id=1), child(4001), child(9999, 12, mm_id=1)), 1000, 102001),
    ((proc(**OLD, **BUSY), child(4001)), 10**6, 6800),
    (
        (
            proc(
                **OLD, **BUSY, nice=5, cap_sys_admin=True, cap_sys_rawio=True,
                mems_allowed=(1,), oom_adj=3,
            ),
            child(4001),
        ),
        10**6,
        848,
    ),
    ((proc(10, **OLD, cpu_jiffies=10**8, oom_adj=15),), 10**6, 32768),
    ((proc(oom_origin=True),), 1000, ULONG_MAX),
    ((proc(cap_sys_admin=True, cap_sys_resource=True, oom_adj=-4),), 500, 1562),
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "uptime", "expected"), FACTS_VECTORS)
def test_vectors_of_2_6_32(tasks: tuple[Task, ...], uptime: int, expected: int) -> None:
    """R4: the worked examples of 2.6.32."""
    asker = Task(pid=99, comm="asker", mems_allowed=(0,))
    got = points("2.6.32", *tasks, asker, uptime_s=uptime, allocation=Allocation(pid=99))
    assert got == expected


@pytest.mark.parametrize("version", ALL)
def test_memory_alone_is_the_basis(version: str) -> None:
    """R4: without any other term badness is the address space in pages."""
    assert points(version, proc(123456)) == 123456
    assert points(version, proc(123456, has_mm=False)) == 0


CHILDREN = [
    # size of the child, share counted up to 2.6.15, from 2.6.16 on
    (4001, 4001, 2001),
    (4000, 4000, 2001),
    (1, 1, 1),
    (0, 0, 1),
]


@pytest.mark.parametrize(("size", "full", "half"), CHILDREN)
def test_children_count_fully_then_half(size: int, full: int, half: int) -> None:
    """R4: half of each child's memory counts for the parent (all of it before 2.6.16)."""
    for version in ALL:
        expected = full if version in versions("2.6.11", "2.6.15") else half
        assert points(version, proc(), child(size)) == 100000 + expected, version
        assert points(version, proc(), child(size), child(size, 12)) == 100000 + 2 * expected


@pytest.mark.parametrize("version", ALL)
def test_only_children_with_own_memory_count(version: str) -> None:
    """R4: a child without memory, one that shares it, and a grandchild add nothing."""
    sharing = (proc(mm_id=7), child(5000, mm_id=7))
    assert points(version, *sharing) == 100000
    assert points(version, proc(), child(5000, has_mm=False)) == 100000
    grandchild = Task(pid=12, comm="g", ppid=11, total_vm_pages=1000, uid=1000)
    first = points(version, proc(), child(5000))
    assert points(version, proc(), child(5000), grandchild) == first


CPU = [
    # hz, jiffies, root of the units: SHIFT_HZ is 7 for 100, 8 for 250 and 300, 10 for 1000
    (100, 1023, 1),
    (100, 1024, 1),
    (100, 4095, 1),
    (100, 4096, 2),
    (100, 1024 * 9, 3),
    (250, 2048 * 4 - 1, 1),
    (250, 2048 * 4, 2),
    (300, 2048 * 4 - 1, 1),
    (300, 2048 * 4, 2),
    (1000, 8192 * 4 - 1, 1),
    (1000, 8192 * 4, 2),
    (1000, 8192 * 100, 10),
    (1000, 8192 * 121 - 1, 10),
]


@pytest.mark.parametrize(("hz", "jiffies", "root"), CPU)
@pytest.mark.parametrize("version", ALL)
def test_cpu_time_divides(version: str, hz: int, jiffies: int, root: int) -> None:
    """R4: CPU time (utime + stime) lowers the score, by the root of its 8 s units."""
    assert points(version, proc(99991, cpu_jiffies=jiffies), hz=hz) == 99991 // root


@pytest.mark.parametrize("version", ALL)
def test_cpu_time_of_one_thread_before_2_6_32(version: str) -> None:
    """R4: before 2.6.32 only the task's own time counted, then that of its whole group."""
    task = proc(cpu_jiffies=8192 * 100, leader_cpu_jiffies=8192 * 4)
    group = version in versions("2.6.32", "2.6.35")
    assert points(version, task) == 100000 // (10 if group else 2)


AGE = [
    # age in seconds, fourth root of its 1024 s units
    (0, 1),
    (1023, 1),
    (1024, 1),
    (1024 * 15, 1),
    (1024 * 16 - 1, 1),
    (1024 * 16, 2),
    (1024 * 81 - 1, 2),
    (1024 * 81, 3),
    (1024 * 625, 5),
]


@pytest.mark.parametrize(("age", "root"), AGE)
@pytest.mark.parametrize("version", ALL)
def test_age_divides(version: str, age: int, root: int) -> None:
    """R4: age lowers the score, by the fourth root of its 1024 s units."""
    assert points(version, proc(99991, start_s=77), uptime_s=77 + age) == 99991 // root


@pytest.mark.parametrize("version", ALL)
def test_a_start_in_the_future_is_age_zero(version: str) -> None:
    """R4: a clock that runs behind counts as no age."""
    assert points(version, proc(start_s=1000), uptime_s=500) == 100000


@pytest.mark.parametrize("version", ALL)
def test_truncation_is_at_every_step(version: str) -> None:
    """R4: 29 // 2 (CPU) // 2 (age) * 2 (nice) // 4 (root): 7, then 14, then 3."""
    task = proc(29, cpu_jiffies=8192 * 4, start_s=0, nice=1, cap_sys_admin=True)
    assert points(version, task, uptime_s=1024 * 16) == 3


@pytest.mark.parametrize(("nice", "factor"), [(-20, 1), (-1, 1), (0, 1), (1, 2), (19, 2)])
@pytest.mark.parametrize("version", ALL)
def test_nice_doubles(version: str, nice: int, factor: int) -> None:
    """R4: a niced task counts double, whatever its degree; a negative nice changes nothing."""
    assert points(version, proc(nice=nice)) == 100000 * factor


PRIVILEGE = [
    # fields, quarter up to 2.6.24, quarter from 2.6.25 on
    ({"cap_sys_admin": True}, True, True),
    ({"cap_sys_resource": True}, False, True),
    ({"cap_sys_admin": True, "cap_sys_resource": True}, True, True),
    ({"uid": 0}, True, False),
    ({"uid": 5, "euid": 0}, True, False),
    ({"uid": 0, "euid": 5}, True, False),
    ({"uid": 5}, False, False),
]


@pytest.mark.parametrize(("fields", "before", "after"), PRIVILEGE)
@pytest.mark.parametrize("version", ALL)
def test_privilege_quarters(
    version: str, fields: dict[str, Any], before: bool, after: bool
) -> None:
    """R4: uid 0 or CAP_SYS_ADMIN; from 2.6.25 CAP_SYS_ADMIN or CAP_SYS_RESOURCE; once only."""
    quartered = before if version in versions("2.6.11", "2.6.24") else after
    assert points(version, proc(99999, **fields)) == 99999 // (4 if quartered else 1)


@pytest.mark.parametrize("version", ALL)
def test_raw_io_quarters_once_more(version: str) -> None:
    """R4: CAP_SYS_RAWIO is another quarter."""
    assert points(version, proc(99999, cap_sys_rawio=True)) == 24999
    assert points(version, proc(99999, cap_sys_admin=True, cap_sys_rawio=True)) == 6249


@pytest.mark.parametrize("version", ALL)
def test_nodes_elsewhere_count_an_eighth(version: str) -> None:
    """R4: a task of other NUMA nodes counts an eighth from 2.6.19 on (skipped or not before)."""
    asker = Task(pid=99, comm="asker", mems_allowed=(0,))
    world = {"allocation": Allocation(pid=99)}
    eighth = version in versions("2.6.19", "2.6.35")
    for nodes, foreign in [((1,), True), ((0, 1), False), (None, False)]:
        expected = 99999 // 8 if foreign and eighth else 99999
        assert points(version, proc(99999, mems_allowed=nodes), asker, **world) == expected


ADJ = [
    # badness before, oom_adj, badness after
    (1000, 1, 2000),
    (1000, 15, 32768000),
    (1000, -1, 500),
    (1001, -1, 500),
    (1000, -9, 1),
    (1000, -10, 0),
    (65536, -16, 1),
    (65535, -16, 0),
    (1 << 60, 3, 1 << 63),
    (1 << 60, 4, 0),
    ((1 << 60) + 5, 4, 80),
]


@pytest.mark.parametrize(("before", "adj", "after"), ADJ)
@pytest.mark.parametrize("version", ALL)
def test_oom_adj_shifts(version: str, before: int, adj: int, after: int) -> None:
    """R3: oom_adj shifts the score left or right, in an unsigned long."""
    assert points(version, proc(before, oom_adj=adj)) == after


@pytest.mark.parametrize("version", ALL)
def test_a_zero_is_lifted_from_2_6_22_on(version: str) -> None:
    """R3: from 2.6.22 a positive oom_adj makes 1 of 0 before it shifts."""
    lifted = version in versions("2.6.22", "2.6.35")
    assert points(version, proc(0, oom_adj=5)) == (32 if lifted else 0)
    assert points(version, proc(0, oom_adj=0)) == 0
    assert points(version, proc(0, oom_adj=-5)) == 0


@pytest.mark.parametrize("version", ALL)
def test_minus_17_is_a_shift_before_2_6_32(version: str) -> None:
    """R3: badness() itself knows -17 only from 2.6.32 on; before, it shifts right by 17."""
    early = version in versions("2.6.32", "2.6.35")
    assert points(version, proc(1 << 20, oom_adj=-17)) == (0 if early else 8)


@pytest.mark.parametrize("version", ALL)
def test_oom_score_adj_stands_in_where_oom_adj_is_unknown(version: str) -> None:
    """R3: a snapshot of a later kernel has oom_score_adj alone: -1000 is -17, 470 is 7."""
    early = version in versions("2.6.32", "2.6.35")
    assert points(version, proc(1 << 20, oom_score_adj=-1000)) == (0 if early else 8)
    assert points(version, proc(1000, oom_score_adj=471)) == 1000 << 8


@pytest.mark.parametrize("version", ALL)
def test_origin_has_the_highest_badness_from_2_6_19_on(version: str) -> None:
    """R4: PF_SWAPOFF is in badness() since 2.6.19; before, only the selection looks at it."""
    new = version in versions("2.6.19", "2.6.35")
    assert points(version, proc(oom_origin=True)) == (ULONG_MAX if new else 100000)
    assert points(version, proc(oom_origin=True, has_mm=False)) == 0


def test_openvz_counts_used_pages_and_no_children() -> None:
    """R4: OpenVZ starts from rss, swap, page tables and locked pages; a child adds nothing."""
    task = proc(10**6, rss_pages=1000, swap_pages=200, pgtable_pages=30, locked_vm_pages=4, nice=1)
    assert points("2.6.32-openvz", task, child(4001)) == 2 * 1234


def test_openvz_shares_the_rest_with_2_6_32() -> None:
    """R4: CPU time, age, nice, capabilities and oom_adj are those of 2.6.32."""
    fields: dict[str, Any] = {
        **OLD, **BUSY, "nice": 5, "cap_sys_admin": True, "cap_sys_rawio": True, "oom_adj": 3,
    }  # fmt: skip
    plain = points("2.6.32", proc(102001, **fields), uptime_s=10**6)
    assert plain == 102001 // 3 // 5 * 2 // 4 // 4 << 3
    same = proc(5, rss_pages=102001, **fields)
    assert points("2.6.32-openvz", same, uptime_s=10**6) == plain


def _isqrt(number: int) -> int:
    """Bit by bit, as int_sqrt() does."""
    root, bit = 0, 1 << 62
    while bit:
        if number >= root + bit:
            number -= root + bit
            root = (root >> 1) + bit
        else:
            root >>= 1
        bit >>= 2
    return root


def _oracle(version: str, task: Task, children: list[Task], uptime: int, hz: int) -> int:
    """The rule step by step, from the fact table of each version."""
    index = ALL.index
    at = index(version)
    if at >= index("2.6.32") and task.oom_adj == -17:
        return 0
    pts = task.total_vm_pages
    for kid in children:
        pts += kid.total_vm_pages if at <= index("2.6.15") else kid.total_vm_pages // 2 + 1
    shift = {100: 7, 250: 8, 300: 8, 1000: 10}[hz]
    cpu = _isqrt(task.cpu_jiffies >> (shift + 3))
    pts //= cpu or 1
    run = max(uptime - task.start_s, 0) >> 10
    pts //= _isqrt(_isqrt(run)) or 1
    if task.nice > 0:
        pts = pts * 2 % 2**64
    admin = task.cap_sys_admin
    if at <= index("2.6.24"):
        admin = admin or task.uid == 0 or task.euid == 0
    else:
        admin = admin or task.cap_sys_resource
    if admin:
        pts //= 4
    if task.cap_sys_rawio:
        pts //= 4
    adj = task.oom_adj or 0
    if adj > 0:
        if pts == 0 and at >= index("2.6.22"):
            pts = 1
        return (pts << adj) % 2**64
    return pts >> -adj


@given(
    version=st.sampled_from(ALL),
    pages=st.integers(0, 2**40),
    kids=st.lists(st.integers(0, 2**30), max_size=3),
    cpu=st.integers(0, 2**40),
    start=st.integers(0, 10**7),
    uptime=st.integers(0, 10**7),
    hz=st.sampled_from([100, 250, 300, 1000]),
    nice=st.integers(-20, 19),
    caps=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    ids=st.tuples(st.integers(0, 1), st.sampled_from([None, 0, 1])),
    adj=st.integers(-17, 15),
)
def test_all_terms_together(
    version: str,
    pages: int,
    kids: list[int],
    cpu: int,
    start: int,
    uptime: int,
    hz: int,
    nice: int,
    caps: tuple[bool, bool, bool],
    ids: tuple[int, int | None],
    adj: int,
) -> None:
    """R4: every term at once, in the kernel's order, truncated at each step."""
    task = Task(
        pid=10,
        comm="p",
        total_vm_pages=pages,
        cpu_jiffies=cpu,
        start_s=start,
        nice=nice,
        cap_sys_admin=caps[0],
        cap_sys_resource=caps[1],
        cap_sys_rawio=caps[2],
        uid=ids[0],
        euid=ids[1],
        oom_adj=adj,
    )
    children = [child(size, 20 + i) for i, size in enumerate(kids)]
    got = points(version, task, *children, uptime_s=uptime, hz=hz)
    assert got == _oracle(version, task, children, uptime, hz)


@given(snapshot=snapshots(plain=True), rules=st.sampled_from(CLASSIC), more=st.integers(1, 10**6))
def test_more_memory_is_never_a_lower_score(snapshot: Any, rules: Any, more: int) -> None:
    """R4: badness is monotone in memory (short of the 64-bit wrap)."""
    task = snapshot.tasks[-1]
    field = "total_vm_pages" if rules.classic_basis == "total_vm" else "rss_pages"
    bigger = replace(task, **{field: getattr(task, field) + more})
    oc = control(*snapshot.tasks, rules=rules)
    assert badness(bigger, oc) >= badness(task, oc)
