"""``oom_kill_process()``: children, sharers of the memory, groups, and the dry run."""

from typing import Any

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.kill import oom_group_of
from oomkit.kernel.oom_control import OomControl
from oomkit.kernel.state import Allocation, Memcg, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import INIT, MAINLINE, snap, user, versions

FIRST_CHILD = versions("2.6.11", "2.6.35")
WORST_CHILD = versions("2.6.36", "5.0")
NO_CHILD = versions("5.1", "6.18")


def oom(version: str, *tasks: Task, by: int | None = None, **world: Any) -> Decision:
    allocation = world.pop("allocation", Allocation(pid=by))
    return decide(snap(*tasks, **world), allocation, rules_for(version))


def victims(decision: Decision) -> list[int]:
    return [victim.pid for victim in decision.victims]


FAMILY = (
    user(10, 90000),
    user(11, 50, ppid=10),
    user(12, 700, ppid=10),
    user(13, 700, ppid=10),
    user(14, 80000, ppid=12),
)


@pytest.mark.parametrize("version", MAINLINE)
def test_which_child_is_sacrificed(version: str) -> None:
    """R11: the first child, from 2.6.36 the worst (the first of equals), from 5.1 none."""
    decision = oom(version, *FAMILY)
    assert decision.chosen_pid == 10
    if version in FIRST_CHILD:
        assert victims(decision) == [11]
    elif version in WORST_CHILD:
        # Below a thousandth of the memory all children score 1 alike in 2.6.36-3.4.
        alike = version in versions("2.6.36", "3.4")
        assert victims(decision) == [11 if alike else 12]
    else:
        assert victims(decision) == [10]
    reason = "selected" if version in NO_CHILD else "child"
    assert [victim.reason for victim in decision.victims] == [reason]


@pytest.mark.parametrize("version", MAINLINE)
def test_the_childs_memory_is_what_is_freed(version: str) -> None:
    """R11: the decision counts what the victim gives back, not what the chosen one holds."""
    decision = oom(version, *FAMILY)
    by_pid = {task.pid: task for task in FAMILY}
    assert decision.freed_pages == by_pid[victims(decision)[0]].rss_pages


@pytest.mark.parametrize("version", [*FIRST_CHILD, *WORST_CHILD])
def test_a_child_that_shares_the_memory_is_passed_over(version: str) -> None:
    """R11: such a child is no sacrifice (2.6.36-2.6.38 forgot that)."""
    tasks = (user(10, 900001, mm_id=1), user(11, 900000, ppid=10, mm_id=1), user(12, 50, ppid=10))
    decision = oom(version, *tasks)
    forgot = version in versions("2.6.36", "2.6.38")
    assert decision.victims[0].pid == (11 if forgot else 12)
    assert decision.victims[0].reason == "child"


@pytest.mark.parametrize("version", [*FIRST_CHILD, *WORST_CHILD])
def test_a_protected_child(version: str) -> None:
    """R11: oom_kill_task() refuses -17 from 2.6.20 on; before, such a child died."""
    tasks = (user(10, 90000), user(11, 50, ppid=10, oom_adj=-17, oom_score_adj=-1000))
    decision = oom(version, *tasks)
    assert victims(decision) == [11 if version in versions("2.6.11", "2.6.19") else 10]


@pytest.mark.parametrize("version", [*FIRST_CHILD, *WORST_CHILD])
def test_a_dead_child_is_passed_over(version: str) -> None:
    """R11: a child without memory is tried and refused."""
    decision = oom(version, user(10, 90000), user(11, 50, ppid=10, has_mm=False))
    assert victims(decision) == [10]


@pytest.mark.parametrize("version", versions("2.6.25", "5.0"))
def test_a_child_outside_the_memory_cgroup(version: str) -> None:
    """R11: from 2.6.33 on only a child inside the group that ran out is taken."""
    tasks = (user(10, 9000, cgroup="/a"), user(11, 50, ppid=10, cgroup="/b"))
    world: dict[str, Any] = {"memcgs": (Memcg(path="/a", limit_pages=9000),)}
    decision = oom(version, *tasks, allocation=Allocation(memcg="/a", pid=10), **world)
    assert victims(decision) == [11 if version in versions("2.6.25", "2.6.32") else 10]


@pytest.mark.parametrize("version", MAINLINE)
def test_sharers_of_the_victims_memory(version: str) -> None:
    """R11: processes that share the memory die too, save in 2.6.20 and 2.6.32-2.6.36."""
    tasks = (user(10, 90000, mm_id=1), user(11, 90000, mm_id=1), user(12, 90, mm_id=2))
    decision = oom(version, *tasks)
    spared = version == "2.6.20" or version in versions("2.6.32", "2.6.36")
    assert len(victims(decision)) == (1 if spared else 2)
    assert set(victims(decision)) <= {10, 11}
    assert decision.freed_pages == 90000
    if not spared:
        assert decision.victims[1].reason == "mm_sharer"
        assert decision.victims[1].freed_pages == 0


@pytest.mark.parametrize("version", MAINLINE)
def test_a_protected_sharer(version: str) -> None:
    """R11: -17 on a sharer saves the task in 2.6.21-2.6.31, -1000 in 2.6.37-3.1."""
    tasks = (
        user(10, 90000, mm_id=1),
        user(11, 90000, mm_id=1, oom_adj=-17, oom_score_adj=-1000),
        user(12, 90),
    )
    decision = oom(version, *tasks)
    if version in versions("2.6.21", "2.6.31"):
        # Chosen, refused, and chosen again for ever.
        assert (decision.action, decision.chosen_pid, victims(decision)) == ("none", 10, [])
        assert "hangs" in decision.trace[-1]
    elif version in versions("2.6.37", "3.1"):
        assert victims(decision) == [12]
    elif version in ("2.6.20", *versions("2.6.32", "2.6.36"), *versions("3.2", "4.7")):
        assert victims(decision) == [10]
    else:
        # To 2.6.19 nobody looks, and from 4.8 on -1000 is no excuse either.
        assert victims(decision) == [10, 11]


@pytest.mark.parametrize("version", versions("3.2", "6.18"))
def test_init_and_kernel_threads_are_no_sharers(version: str) -> None:
    """R11: init and a kernel thread that borrows the memory are spared."""
    init = Task(pid=1, comm="init", global_init=True, mm_id=1)
    kthread = Task(pid=2, comm="vhost", kthread=True, mm_id=1)
    decision = oom(version, init, kthread, user(10, 90000, mm_id=1))
    assert victims(decision) == [10]


@pytest.mark.parametrize("version", versions("2.6.19", "6.18"))
def test_a_chosen_task_that_exits_anyway(version: str) -> None:
    """R11: from 2.6.19 it is only helped along, and no child dies for it."""
    leaving = user(10, 90000, exiting=True, traced_exit=True)
    decision = oom(version, leaving, user(11, 9, ppid=10), by=10)
    if version in versions("3.8", "6.18"):
        # The asker gets reserves before anybody is chosen.
        assert (decision.action, decision.victims) == ("none", ())
    else:
        assert [(v.pid, v.reason) for v in decision.victims] == [(10, "already_dying")]


@pytest.mark.parametrize("version", versions("4.6", "6.18"))
def test_an_exiting_victim_must_free_its_memory(version: str) -> None:
    """R11: a core dump, and from 4.8 on a sharer that stays alive, make it a plain kill."""
    alone = oom(version, user(10, 90000, exiting=True))
    assert [victim.reason for victim in alone.victims] == ["already_dying"]
    dumping = oom(version, user(10, 90000, exiting=True, coredump=True))
    assert [victim.reason for victim in dumping.victims] == ["selected"]
    sharing = (user(10, 90001, exiting=True, mm_id=1), user(11, 90000, mm_id=1))
    shared = [victim.reason for victim in oom(version, *sharing).victims]
    if version in versions("4.8", "6.18"):
        assert shared == ["selected", "mm_sharer"]
    else:
        assert shared == ["already_dying"]
    both = (sharing[0], user(11, 90000, mm_id=1, fatal_signal=True))
    assert [victim.reason for victim in oom(version, *both).victims] == ["already_dying"]


GROUP = (
    user(10, 9000, cgroup="/a/pod/x"),
    user(11, 500, cgroup="/a/pod/y"),
    user(12, 500, cgroup="/a/pod", oom_score_adj=-1000),
    user(13, 500, cgroup="/a/other"),
    user(14, 500, cgroup="/a/podium"),
)


def _memcgs(**flags: bool) -> tuple[Memcg, ...]:
    names = {"a": "/a", "pod": "/a/pod", "x": "/a/pod/x", "y": "/a/pod/y"}
    return tuple(
        Memcg(
            path=path, limit_pages=9000 if name == "a" else None, oom_group=flags.get(name, False)
        )
        for name, path in names.items()
    )


@pytest.mark.parametrize("version", versions("3.12", "6.18"))
def test_memory_oom_group(version: str) -> None:
    """R11: from 4.19 on the group dies as one, save who is at -1000."""
    decision = oom(version, *GROUP, memcgs=_memcgs(pod=True), allocation=Allocation(memcg="/a"))
    if version in versions("4.19", "6.18"):
        assert victims(decision) == [10, 11]
        assert [victim.reason for victim in decision.victims] == ["selected", "oom_group"]
        assert decision.freed_pages == 9500
        assert any("memory.oom.group" in step for step in decision.trace)
    else:
        assert victims(decision) == [10]


OOM_GROUPS = [
    # flags set, domain of the OOM, victims
    ({"x": True}, "/a", [10]),
    ({"y": True}, "/a", [10]),
    ({"pod": True, "x": True}, "/a", [10, 11]),
    ({"a": True, "pod": True}, "/a", [10, 11, 13, 14]),
    ({"a": True, "pod": True}, "/a/pod", [10, 11]),
    ({"a": True}, "/a/pod", [10]),
    ({"pod": True}, "/a/pod/x", [10]),
    ({"pod": True}, None, [10, 11]),
    ({"a": True}, None, [10, 11, 13, 14]),
]


@pytest.mark.parametrize(("flags", "domain", "expected"), OOM_GROUPS)
def test_highest_group_within_the_domain(
    flags: dict[str, bool], domain: str | None, expected: list[int]
) -> None:
    """R11: the highest ancestor with the flag, not above the group whose OOM it is."""
    for version in ("4.19", "5.15", "6.18"):
        decision = oom(
            version, *GROUP, memcgs=_memcgs(**flags), allocation=Allocation(memcg=domain)
        )
        assert victims(decision) == expected, version


def test_oom_group_is_of_version_2_alone() -> None:
    """R11: a v1 cgroup has no memory.oom.group."""
    memcgs = (Memcg(path="/a", version=1, limit_pages=9000, oom_group=True),)
    tasks = (user(10, 900, cgroup="/a"), user(11, 50, cgroup="/a"))
    assert victims(oom("6.18", *tasks, memcgs=memcgs, allocation=Allocation(memcg="/a"))) == [10]


def test_sharers_of_a_group_go_along() -> None:
    """R11: every member is killed like a victim, with who shares its memory, once each."""
    memcgs = (Memcg(path="/a", limit_pages=9000, oom_group=True),)
    tasks = (
        user(10, 9000, cgroup="/a"),
        user(11, 50, cgroup="/a", mm_id=1),
        user(12, 50, cgroup="/out", mm_id=1),
        user(13, 50, cgroup="/a", mm_id=1),
    )
    decision = oom("6.18", *tasks, memcgs=memcgs, allocation=Allocation(memcg="/a"))
    assert victims(decision) == [10, 11, 12, 13]
    assert decision.freed_pages == 9050


WOULD_HAVE = {"would_have_oomkilled": 1}


@pytest.mark.parametrize("version", MAINLINE)
def test_would_have_oomkilled(version: str) -> None:
    """R12: says whom it would have killed and kills nobody, with every rule set."""
    decision = oom(version, user(10, 90000), user(11, 50), sysctl=WOULD_HAVE)
    assert decision.action == "would_kill"
    assert victims(decision) == [10]
    assert (decision.freed_pages, decision.retry) == (0, True)
    assert any("would have" in step and "t10[10]" in step for step in decision.trace)


def test_would_have_oomkilled_of_rhel_6() -> None:
    """R12: looked at in oom_kill_task(), after the child was found; 1 exactly counts."""
    family = (user(10, 900000), user(11, 50000, ppid=10))
    dry = oom("2.6.32-el6", *family, sysctl=WOULD_HAVE)
    assert (dry.action, victims(dry)) == ("would_kill", [11])
    real = oom("2.6.32-el6", *family, sysctl={"would_have_oomkilled": 2})
    assert (real.action, victims(real)) == ("kill", [11])


def test_would_have_oomkilled_of_openvz() -> None:
    """R12: the refused child makes it fall back to the parent."""
    family = (user(10, 900000), user(11, 50000, ppid=10))
    dry = oom("2.6.32-openvz", *family, sysctl=WOULD_HAVE)
    assert (dry.action, victims(dry)) == ("would_kill", [10])
    assert any("t11[11]" in step and "would have" in step for step in dry.trace)
    real = oom("2.6.32-openvz", *family, sysctl={"would_have_oomkilled": 2})
    assert (real.action, victims(real)) == ("kill", [11])


def test_would_have_oomkilled_of_the_posted_patch() -> None:
    """R12: looked at in oom_kill_process(), before any child; any value but 0 counts."""
    family = (user(10, 900000), user(11, 50000, ppid=10))
    for value in (1, 2, -1):
        dry = oom("3.1", *family, sysctl={"would_have_oomkilled": value})
        assert (dry.action, victims(dry)) == ("would_kill", [10])
    assert oom("3.1", *family, sysctl={"would_have_oomkilled": 0}).action == "kill"


def test_would_have_oomkilled_comes_after_minus_17() -> None:
    """R11, R12: oom_kill_task() looks at oom_adj first, then at the dry run."""
    family = (user(10, 900000), user(11, 50000, ppid=10, oom_adj=-17))
    dry = oom("2.6.32", *family, sysctl=WOULD_HAVE)
    assert (dry.action, victims(dry)) == ("would_kill", [10])


def test_openvz_takes_the_last_of_the_worst_children() -> None:
    """R11: the worst child alive and unprotected, the later of equals."""
    tasks = (
        user(10, 900000),
        user(11, 500, ppid=10),
        user(12, 700, ppid=10),
        user(13, 700, ppid=10),
        user(14, 9000, ppid=10, oom_adj=-17),
        user(15, 9000, ppid=10, frozen=True),
        user(16, 9000, ppid=10, victim=True),
        user(17, 9000, ppid=10, has_mm=False),
    )
    assert victims(oom("2.6.32-openvz", *tasks)) == [13]


def test_el6_takes_the_worst_child_and_the_sharers() -> None:
    """R11: RHEL 6 sacrifices by the rule of 2.6.39 and kills who shares the memory."""
    tasks = (
        user(10, 900000),
        user(11, 50000, ppid=10),
        user(12, 70000, ppid=10, mm_id=1),
        user(13, 50, mm_id=1),
    )
    assert victims(oom("2.6.32-el6", *tasks)) == [12, 13]


@pytest.mark.parametrize("version", versions("2.6.24", "2.6.35"))
def test_init_as_the_asker_is_not_killed(version: str) -> None:
    """R11: oom_kill_allocating_task of init: warned about, taken for a success, nobody dies."""
    sysctl = {"oom_kill_allocating_task": 1}
    decision = oom(version, INIT, user(10, 90000), by=1, sysctl=sysctl)
    assert (decision.action, decision.victims) == ("none", ())
    assert any("tried to kill init!" in step for step in decision.trace)


FREED = [
    # fields, pages given back
    ({"rss_pages": 100}, 100),
    ({"rss_pages": 100, "swap_pages": 20, "pgtable_pages": 3}, 123),
    ({"rss_pages": 100, "anon_rss_pages": 60, "file_rss_pages": 30, "shmem_rss_pages": 10}, 60),
    ({"rss_pages": 100, "file_rss_pages": 30}, 70),
    ({"rss_pages": 100, "shmem_rss_pages": 100}, 0),
]


@pytest.mark.parametrize(("fields", "freed"), FREED)
def test_what_a_death_frees(fields: dict[str, int], freed: int) -> None:
    """R5: anonymous memory, swap and page tables; cache and shared memory stay."""
    decision = oom("6.18", Task(pid=10, comm="t", **fields))  # type: ignore[arg-type]  # ints all
    assert decision.freed_pages == freed


@pytest.mark.parametrize("version", versions("2.6.24", "2.6.35"))
def test_an_exiting_asker_without_memory(version: str) -> None:
    """R11: __oom_kill_task() warns of an mm-less task and gives up; taken for a success."""
    asker = user(10, 0, exiting=True, has_mm=False)
    knob = {"oom_kill_allocating_task": 1}
    decision = oom(version, asker, user(11, 9000), by=10, sysctl=knob)
    assert (decision.action, decision.victims, decision.chosen_pid) == ("none", (), 10)
    assert decision.trace[-1] == "oom_kill_process: tried to kill an mm-less task!"


def test_openvz_sacrifices_no_child_outside_the_cgroup() -> None:
    """R11: the worst child within it; of equals the last, and one of no points as well."""
    tasks = (
        user(10, 9000, cgroup="/a"),
        user(11, 700, ppid=10, cgroup="/a"),
        user(12, 800, ppid=10, cgroup="/b"),
        user(13, 700, ppid=10, cgroup="/a/b"),
        user(14, 800, ppid=10, cgroup="/a", mm_id=1),
    )
    world: dict[str, Any] = {"memcgs": (Memcg(path="/a", limit_pages=9000),)}
    asked = Allocation(memcg="/a", pid=10)
    shared = (user(10, 9000, cgroup="/a", mm_id=1), *tasks[1:])
    assert victims(oom("2.6.32-openvz", *shared, allocation=asked, **world)) == [13]
    assert victims(oom("2.6.32-openvz", *tasks[:2], allocation=asked, **world)) == [11]
    empty = (user(10, 9000, cgroup="/a"), user(11, 0, ppid=10, cgroup="/a"))
    assert victims(oom("2.6.32-openvz", *empty, allocation=asked, **world)) == [11]


@pytest.mark.parametrize("version", versions("4.19", "6.18"))
def test_a_victim_from_elsewhere_takes_no_group_along(version: str) -> None:
    """R11: mem_cgroup_get_oom_group(): only a victim within the cgroup that ran out."""
    memcgs = (Memcg(path="/a", limit_pages=10), Memcg(path="/b", oom_group=True))
    snapshot = snap(user(10, 90, cgroup="/b"), user(11, 9, cgroup="/b"), memcgs=memcgs)
    for domain, group in (("/a", None), ("/b", "/b"), (None, "/b")):
        oc = OomControl(snapshot, Allocation(memcg=domain), rules_for(version))
        found = oom_group_of(oc, snapshot.tasks[0])
        assert (found.path if found else None) == group


@pytest.mark.parametrize(("version", "killer"), [
    ("2.6.32", "oom_kill_task"), ("3.2", "oom_kill_task"), ("3.4", "oom_kill_process"),
    ("4.18", "oom_kill_process"), ("4.19", "__oom_kill_process"), ("6.18", "__oom_kill_process"),
])  # fmt: skip
def test_what_is_done_to_the_victim_is_said(version: str, killer: str) -> None:
    """R6: who sends the signal, what comes free, who goes along."""
    tasks = (user(10, 90_000, mm_id=1, swap_pages=5), user(11, 90_000, mm_id=1))
    trace = oom(version, *tasks).trace
    assert f"{killer}: SIGKILL to t10[10], which frees 90005 pages" in trace
    shares = f"{killer}: t11[11] shares its memory and dies with it"
    assert (shares in trace) == (version != "2.6.32")


@pytest.mark.parametrize(("version", "tasks", "sysctl", "step"), [
    ("3.10", (user(10, 90_000),), {"would_have_oomkilled": 1},
     "oom_kill_process: would_have_oomkilled is set: t10[10] would have been killed, but lives"),
    ("2.6.32", (user(10, 90_000),), {"would_have_oomkilled": 1},
     "oom_kill_task: would_have_oomkilled is 1: would have killed t10[10], which lives"),
    ("2.6.32", (user(10, 90_000), user(11, 9, ppid=10)), {},
     "oom_kill_process: t11[11], a child of t10[10], goes first"),
    ("2.6.32-openvz", (user(10, 90_000), user(11, 9, ppid=10)), {},
     "oom_kill_process: t11[11], the worst child of t10[10], goes first"),
    ("4.0", (user(10, 90_000), user(11, 9, ppid=10)), {},
     ("oom_kill_process: t11[11] (badness 9) is the worst child of t10[10] and is sacrificed "
      "instead")),
    ("4.0", (user(10, 90_000),), {}, "oom_kill_process: t10[10] has no child to sacrifice"),
    ("2.6.32", (user(10, 90_000), user(11, 9, ppid=10, oom_adj=-17)), {},
     "oom_kill_task: t11[11] has oom_adj -17"),
    ("2.6.30", (user(10, 90_000, mm_id=1), user(11, 9, mm_id=1, oom_adj=-17)), {},
     "oom_kill_task: t11[11] shares the memory of t10[10] and has oom_adj -17"),
    ("6.18", (user(10, 90_000, exiting=True),), {},
     "oom_kill_process: t10[10] is exiting; it only gets access to reserves"),
])  # fmt: skip
def test_each_way_of_a_kill_is_said(
    version: str, tasks: tuple[Task, ...], sysctl: dict[str, int], step: str
) -> None:
    """R6: in the words of the function that does it."""
    assert step in oom(version, *tasks, sysctl=sysctl).trace
