"""``out_of_memory()``: panic rules, constraints, the asker, and nobody left to kill."""

from typing import Any

import pytest

from oomkit.kernel.alloc import decide
from oomkit.kernel.decision import Decision
from oomkit.kernel.out_of_memory import out_of_memory
from oomkit.kernel.state import Allocation, Memcg, Memory, Node, Task
from oomkit.kernel.versions import rules_for
from tests.kernel.strategies import INIT, KTHREAD, MAINLINE, snap, user, versions

CLASSIC = versions("2.6.11", "2.6.35")
MODERN = versions("2.6.36", "6.18")
NODES = tuple(Node(node_id=n, present_pages=10**6, spanned_pages=10**6) for n in (0, 1))
NUMA = Memory(total_ram_pages=2 * 10**6, nodes=NODES)
GROUP = (Memcg(path="/a", limit_pages=9000),)

ASKER, HOG, SMALL = user(10, 300), user(11, 90000), user(12, 50)


def oom(version: str, *tasks: Task, knobs: dict[str, int] | None = None, **fields: Any) -> Decision:
    world = {key: fields.pop(key) for key in ("memory", "memcgs") if key in fields}
    fields.setdefault("pid", 10)
    return decide(
        snap(*tasks, sysctl=knobs or {}, **world), Allocation(**fields), rules_for(version)
    )


def kills(decision: Decision) -> list[int]:
    assert decision.action == "kill"
    return [victim.pid for victim in decision.victims]


@pytest.mark.parametrize("version", MAINLINE)
def test_plain_kill(version: str) -> None:
    """R8, R10: no knob set: the worst task dies, and the request is tried again."""
    decision = oom(version, INIT, KTHREAD, ASKER, HOG, SMALL)
    assert kills(decision) == [11]
    assert (decision.message, decision.panic, decision.retry) == ("Out of memory", None, True)
    assert decision.scope == "global"
    assert decision.points is not None
    assert decision.victims[0].badness == decision.points


PANICS = [
    # panic_on_oom, scope of the OOM, first version that panics (None: never), its text
    (1, "global", "2.6.18"),
    (1, "cpuset", None),
    (1, "mempolicy", None),
    (1, "memcg", None),
    (2, "global", "2.6.18"),
    (2, "cpuset", "2.6.22"),
    (2, "mempolicy", "2.6.22"),
    (2, "memcg", "2.6.34"),
    (3, "global", "2.6.18"),
    (3, "cpuset", None),
]


@pytest.mark.parametrize(("value", "scope", "first"), PANICS)
def test_panic_on_oom(value: int, scope: str, first: str | None) -> None:
    """R8: 1 panics for an unconfined OOM (2.6.18 on), 2 for any (2.6.22), memcg 2.6.34."""
    how: dict[str, Any] = {"knobs": {"panic_on_oom": value}, "memory": NUMA}
    asker = ASKER
    if scope == "cpuset":
        asker = user(10, 300, mems_allowed=(0,))
    elif scope == "mempolicy":
        how["nodemask"] = (0,)
    elif scope == "memcg":
        how |= {"memcg": "/a", "memcgs": GROUP}
        asker = user(10, 300, cgroup="/a")
    oldest = {"global": "2.6.11", "memcg": "2.6.25"}.get(scope, "2.6.16")
    for version in versions(oldest, "6.18"):
        decision = oom(version, asker, HOG, **how)
        panics = first is not None and version in versions(first, "6.18")
        assert (decision.action == "panic") == panics, version
        assert (decision.panic is not None) == panics
        if panics:
            assert not decision.retry
            assert decision.victims == ()


def test_panic_texts() -> None:
    """R8: what the kernel says as it panics."""
    for version in versions("2.6.22", "2.6.35"):
        both = [oom(version, HOG, knobs={"panic_on_oom": n}).panic for n in (1, 2)]
        assert both == [
            "out of memory. panic_on_oom is selected",
            "out of memory. Compulsory panic_on_oom is selected.",
        ]
    for version in MODERN:
        both = [oom(version, HOG, knobs={"panic_on_oom": n}).panic for n in (1, 2)]
        assert both == [
            "Out of memory: system-wide panic_on_oom is enabled",
            "Out of memory: compulsory panic_on_oom is enabled",
        ]


DISPATCH = [
    # constraint, panic_on_oom, outcome of 2.6.24-2.6.35: pid that dies or "panic"
    ("NONE", 0, 11),
    ("NONE", 1, "panic"),
    ("NONE", 2, "panic"),
    ("CPUSET", 0, 11),
    ("CPUSET", 1, 11),
    ("CPUSET", 2, "panic"),
    ("MEMORY_POLICY", 0, 10),
    ("MEMORY_POLICY", 1, 10),
    ("MEMORY_POLICY", 2, "panic"),
]


def _dispatched(version: str, constraint: str, panic_on_oom: int, **more: int) -> int | str:
    how: dict[str, Any] = {"nodemask": (0,)} if constraint == "MEMORY_POLICY" else {}
    asker = user(10, 300, mems_allowed=(0,)) if constraint == "CPUSET" else ASKER
    knobs = {"panic_on_oom": panic_on_oom, **more}
    decision = oom(version, asker, HOG, SMALL, knobs=knobs, memory=NUMA, **how)
    return "panic" if decision.action == "panic" else kills(decision)[0]


@pytest.mark.parametrize(("constraint", "panic_on_oom", "outcome"), DISPATCH)
@pytest.mark.parametrize("overcommit", [0, 1, 2])
def test_dispatch_of_the_source(
    constraint: str, panic_on_oom: int, outcome: int | str, overcommit: int
) -> None:
    """R8, R9: the source dispatches on the constraint; overcommit_memory plays no part."""
    for version in (*versions("2.6.24", "2.6.35"), "2.6.32-openvz"):
        got = _dispatched(version, constraint, panic_on_oom, overcommit_memory=overcommit)
        assert got == outcome, version


ARTICLE = [
    # overcommit_memory, panic_on_oom, outcome by the founding document
    (0, 0, 11),
    (0, 1, "panic"),
    (0, 2, "panic"),
    (1, 0, 11),
    (1, 1, 11),
    (1, 2, "panic"),
    (2, 0, 10),
    (2, 1, 10),
    (2, 2, "panic"),
]


@pytest.mark.parametrize(("overcommit", "panic_on_oom", "outcome"), ARTICLE)
@pytest.mark.parametrize("constraint", ["NONE", "CPUSET", "MEMORY_POLICY"])
def test_dispatch_of_the_article(
    overcommit: int, panic_on_oom: int, outcome: int | str, constraint: str
) -> None:
    """R8, R9: the article dispatches on overcommit_memory; the constraint plays no part."""
    got = _dispatched("2.6.32-article", constraint, panic_on_oom, overcommit_memory=overcommit)
    assert got == outcome


def test_article_and_source_differ() -> None:
    """R9: with overcommit_memory = 2 the article kills the asker, the source the worst."""
    assert _dispatched("2.6.32-article", "NONE", 0, overcommit_memory=2) == 10
    assert _dispatched("2.6.32", "NONE", 0, overcommit_memory=2) == 11


CONFINED = [
    # versions, victim of a cpuset's OOM, of a policy's
    (("2.6.16", "2.6.23"), 10, 10),
    (("2.6.24", "2.6.35"), 11, 10),
    (("2.6.36", "6.18"), 11, 11),
]


@pytest.mark.parametrize(("span", "by_cpuset", "by_policy"), CONFINED)
def test_who_dies_of_a_confined_oom(span: tuple[str, str], by_cpuset: int, by_policy: int) -> None:
    """R9: the asker itself, later a scan: 2.6.24 for cpusets, 2.6.36 for policies."""
    for version in versions(*span):
        assert _dispatched(version, "CPUSET", 0) == by_cpuset, version
        assert _dispatched(version, "MEMORY_POLICY", 0) == by_policy, version


def test_messages_of_a_confined_oom() -> None:
    """R9: the classic kernels say which constraint it was."""
    for version in versions("2.6.16", "2.6.35"):
        decision = oom(version, ASKER, HOG, memory=NUMA, nodemask=(0,))
        assert decision.message == "No available memory (MPOL_BIND)"
        assert "constrained_alloc: CONSTRAINT_MEMORY_POLICY (mempolicy)" in decision.trace
    for version in versions("2.6.16", "2.6.23"):
        decision = oom(version, user(10, 300, mems_allowed=(0,)), HOG, memory=NUMA)
        assert decision.message == "No available memory in cpuset"


ALLOCATING = {"oom_kill_allocating_task": 1}
PROTECTED = user(10, 300, oom_adj=-17, oom_score_adj=-1000)


@pytest.mark.parametrize("version", MAINLINE)
def test_oom_kill_allocating_task(version: str) -> None:
    """R10: from 2.6.24 on the asker pays; default is off."""
    decision = oom(version, ASKER, HOG, knobs=ALLOCATING)
    assert oom(version, ASKER, HOG, knobs={"oom_kill_allocating_task": 0}).chosen_pid == 11
    if version in versions("2.6.11", "2.6.23"):
        assert kills(decision) == [11]
        return
    assert kills(decision) == [10]
    assert decision.message == "Out of memory (oom_kill_allocating_task)"
    assert decision.points is None
    assert decision.victims[0].reason == "allocating_task"


@pytest.mark.parametrize("version", versions("2.6.24", "6.18"))
def test_a_protected_allocating_task(version: str) -> None:
    """R10: a refusal falls back to the scan from 2.6.30 on; 3.2-3.5 forgot to look."""
    decision = oom(version, PROTECTED, HOG, knobs=ALLOCATING)
    if version in versions("2.6.24", "2.6.29"):
        assert (decision.action, decision.victims) == ("none", ())
    elif version in versions("3.2", "3.5"):
        assert kills(decision) == [10]
    else:
        assert kills(decision) == [11]


@pytest.mark.parametrize("version", versions("2.6.24", "6.18"))
def test_an_allocating_task_that_shares_with_a_protected_one(version: str) -> None:
    """R10: -1000 of a sharer saves the asker in 2.6.37-3.1, -17 in 2.6.24-2.6.31."""
    asker = user(10, 300, mm_id=1)
    sharer = user(13, 300, mm_id=1, oom_adj=-17, oom_score_adj=-1000)
    decision = oom(version, asker, HOG, sharer, knobs=ALLOCATING)
    if version in versions("2.6.24", "2.6.29"):
        assert decision.victims == ()
    elif version in (*versions("2.6.30", "2.6.31"), *versions("2.6.37", "3.1")):
        assert kills(decision) == [11]
    else:
        assert kills(decision)[0] == 10


@pytest.mark.parametrize("version", versions("2.6.30", "6.18"))
def test_askers_that_cannot_be_killed(version: str) -> None:
    """R10: a kernel thread, or nobody of the snapshot: the scan decides."""
    assert kills(oom(version, KTHREAD, HOG, pid=2, knobs=ALLOCATING)) == [11]
    assert kills(oom(version, ASKER, HOG, pid=None, knobs=ALLOCATING)) == [11]
    if version in MODERN:
        assert kills(oom(version, INIT, HOG, pid=1, knobs=ALLOCATING)) == [11]


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_allocating_task_is_not_for_memory_cgroups(version: str) -> None:
    """R10: a memory cgroup's OOM scans."""
    tasks = (user(10, 300, cgroup="/a"), user(11, 9000, cgroup="/a"))
    how: dict[str, Any] = {"memcg": "/a", "memcgs": GROUP, "knobs": ALLOCATING}
    assert kills(oom(version, *tasks, **how)) == [11]


@pytest.mark.parametrize("version", MAINLINE)
def test_none_killable(version: str) -> None:
    """R10: a machine whose tasks are all protected panics."""
    if version == "2.6.11":
        # Where -17 does not protect there is always somebody.
        assert kills(oom(version, INIT, PROTECTED)) == [10]
        return
    decision = oom(version, INIT, PROTECTED)
    assert decision.action == "panic"
    if version in versions("4.19", "6.18"):
        assert decision.panic == "System is deadlocked on memory"
        assert "out_of_memory: warning: Out of memory and no killable processes..." in (
            decision.trace
        )
    else:
        assert decision.panic == "Out of memory and no killable processes..."


@pytest.mark.parametrize("version", versions("2.6.12", "2.6.18"))
def test_kernel_threads_were_candidates(version: str) -> None:
    """R10: up to 2.6.18 a kernel thread is chosen with 0 points, and refused for ever."""
    decision = oom(version, INIT, KTHREAD, PROTECTED)
    assert (decision.action, decision.chosen_pid, decision.victims) == ("none", 2, ())
    assert "hangs" in decision.trace[-1]


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_none_killable_in_a_memory_cgroup(version: str) -> None:
    """R10: never a panic; up to 2.6.34 the asker is chosen, later nobody."""
    safe = user(11, 9000, cgroup="/a", oom_adj=-17, oom_score_adj=-1000)
    asker = user(10, 300)  # of another cgroup: it charges the group's page
    decision = oom(version, asker, safe, HOG, memcg="/a", memcgs=GROUP)
    if version in versions("2.6.25", "2.6.34"):
        assert kills(decision) == [10]
    else:
        assert (decision.action, decision.victims, decision.retry) == ("none", (), False)
    empty = oom(version, HOG, pid=None, memcg="/a", memcgs=GROUP)
    assert (empty.action, empty.victims) == ("none", ())


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_memory_cgroup_kills_its_own(version: str) -> None:
    """R10: the worst of the group and its descendants, however large others are."""
    tasks = (
        user(10, 300, cgroup="/a"),
        user(13, 9000, cgroup="/a/b"),
        user(14, 90000, cgroup="/ab"),
        HOG,
    )
    decision = oom(version, *tasks, memcg="/a", memcgs=GROUP)
    assert kills(decision) == [13]
    assert decision.message == "Memory cgroup out of memory"
    assert (decision.scope, decision.constraint) == ("memcg", "CONSTRAINT_MEMCG")


DYING = [
    # how the asker is, versions that let it through
    ({"fatal_signal": True}, ("2.6.36", "6.18")),
    ({"exiting": True, "traced_exit": True}, ("3.8", "6.18")),
    ({"exiting": True, "coredump": True, "traced_exit": True}, ("3.8", "3.18")),
    ({"fatal_signal": True, "coredump": True}, ("2.6.36", "4.7")),
    ({"fatal_signal": True, "has_mm": False}, ("2.6.36", "3.19")),
    ({"fatal_signal": True, "mm_reaped": True}, ("2.6.36", "4.7")),
]


@pytest.mark.parametrize(("fields", "span"), DYING)
def test_an_asker_that_is_dying(fields: dict[str, bool], span: tuple[str, str]) -> None:
    """R8: from 2.6.36 on a dying asker gets reserves instead of a kill."""
    for version in MAINLINE:
        snapshot = snap(user(10, 300, **fields), HOG)
        decision = out_of_memory(snapshot, Allocation(pid=10), rules_for(version))
        through = any("access to reserves" in s and "asks" in s for s in decision.trace)
        assert through == (version in versions(*span)), version
        if through:
            assert (decision.victims, decision.retry) == ((), True)


@pytest.mark.parametrize("version", versions("4.6", "6.18"))
def test_a_dying_asker_whose_memory_lives_on(version: str) -> None:
    """R8: from 4.8 on every process that shares the memory must be dying too."""
    asker = user(10, 300, fatal_signal=True, mm_id=1)
    alive, dying = user(11, 300, mm_id=1), user(11, 300, mm_id=1, fatal_signal=True)
    assert (oom(version, asker, alive, user(12, 9000)).victims == ()) == (
        version in versions("4.6", "4.7")
    )
    assert oom(version, asker, dying, user(12, 9000)).victims == ()


@pytest.mark.parametrize("version", MAINLINE)
def test_page_fault_oom(version: str) -> None:
    """R8: the faulter dies up to 2.6.28, then the worst task, from 5.16 on nobody."""
    child = user(13, 9, ppid=10)
    decision = oom(version, ASKER, child, HOG, page_fault_oom=True)
    if version in versions("2.6.11", "2.6.28"):
        assert kills(decision) == [10]
        assert decision.message == "VM: killing process"
    elif version in versions("5.16", "6.18"):
        assert (decision.action, decision.victims, decision.retry) == ("none", (), True)
    else:
        assert kills(decision) == [11]


@pytest.mark.parametrize("version", versions("2.6.11", "2.6.28"))
def test_page_fault_of_the_protected_and_of_init(version: str) -> None:
    """R8: the old handler looks at no knob; init alone is let off and tries again."""
    assert kills(oom(version, PROTECTED, HOG, page_fault_oom=True)) == [10]
    decision = oom(version, INIT, HOG, pid=1, page_fault_oom=True)
    assert (decision.action, decision.retry) == ("none", True)
    # Whoever has no address space has no fault to be killed for.
    gone = user(10, 0, has_mm=False)
    assert oom(version, gone, HOG, pid=10, page_fault_oom=True).action == "none"


@pytest.mark.parametrize("version", MAINLINE)
def test_each_step_from_a_page_fault_is_said(version: str) -> None:
    """R6, R8: what the handler of that version does first, whoever faults."""
    gone = user(10, 0, has_mm=False)
    said = [
        oom(version, who, HOG, pid=who.pid, page_fault_oom=True).trace[0]
        for who in (INIT, gone, ASKER)
    ]
    if version in versions("2.6.11", "2.6.28"):
        assert said == [
            "do_page_fault: init is not killed; the fault is tried again",
            "do_page_fault: t10[10] has no memory; no process is killed",
            "do_page_fault: VM: killing process t10[10]",
        ]
    elif version in versions("2.6.29", "2.6.35"):
        assert set(said) == {"pagefault_out_of_memory: calls __out_of_memory"}
    elif version in versions("2.6.36", "5.15"):
        whole = "pagefault_out_of_memory: calls out_of_memory for the whole machine"
        assert set(said) == {whole}
    else:
        again = "pagefault_out_of_memory: the fault is tried again; no process is killed"
        assert set(said) == {again}


@pytest.mark.parametrize("version", versions("2.6.29", "5.15"))
def test_page_fault_oom_and_panic(version: str) -> None:
    """R8: 2.6.29-2.6.35 panic for any value; a bound task's fault is unconfined."""
    for value in (1, 2):
        decision = oom(
            version, user(10, 9, mems_allowed=(0,)), HOG, memory=NUMA, page_fault_oom=True,
            knobs={"panic_on_oom": value},
        )  # fmt: skip
        assert decision.action == "panic"
        if version in versions("2.6.29", "2.6.35"):
            text = "out of memory from page fault. panic_on_oom is selected."
            assert decision.panic == text


@pytest.mark.parametrize("version", MAINLINE)
def test_sysrq(version: str) -> None:
    """R8: SysRq-f kills the worst; from 4.3 on it never panics, before it may."""
    assert kills(oom(version, HOG, SMALL, pid=None, sysrq=True)) == [11]
    newer = version in versions("4.3", "6.18")
    knob = oom(version, HOG, pid=None, sysrq=True, knobs={"panic_on_oom": 1})
    if version in versions("2.6.18", "6.18"):
        assert knob.action == ("kill" if newer else "panic")
    nobody = oom(version, PROTECTED, pid=None, sysrq=True)
    if version != "2.6.11":
        assert nobody.action == ("none" if newer else "panic")


@pytest.mark.parametrize("version", MAINLINE)
def test_request_without_gfp_fs(version: str) -> None:
    """R8: without __GFP_FS nobody is killed; the request is tried again."""
    decision = oom(version, ASKER, HOG, gfp_fs=False)
    assert (decision.action, decision.retry) == ("none", True)
    assert any("__GFP_FS" in step for step in decision.trace)
    assert kills(oom(version, HOG, pid=None, sysrq=True, gfp_fs=False)) == [11]


@pytest.mark.parametrize("version", MAINLINE)
def test_nofail_without_gfp_fs(version: str) -> None:
    """R8: __GFP_NOFAIL killed even so in 3.19-4.10."""
    decision = oom(version, ASKER, HOG, gfp_fs=False, gfp_nofail=True)
    assert (decision.action == "kill") == (version in versions("3.19", "4.10"))
    assert decision.retry


@pytest.mark.parametrize("version", versions("2.6.25", "6.18"))
def test_memory_cgroup_without_gfp_fs(version: str) -> None:
    """R8: a memory cgroup's OOM did not kill without __GFP_FS in 4.9-5.3 alone."""
    tasks = (user(10, 300, cgroup="/a"), user(11, 9000, cgroup="/a"))
    decision = oom(version, *tasks, memcg="/a", memcgs=GROUP, gfp_fs=False)
    assert (decision.action == "none") == (version in versions("4.9", "5.3"))


@pytest.mark.parametrize("version", MAINLINE)
def test_trace_can_be_read_aloud(version: str) -> None:
    """R6: each step is a function of the kernel, a colon, and what it did."""
    decision = oom(version, INIT, ASKER, HOG, SMALL)
    for step in decision.trace:
        function, colon, text = step.partition(": ")
        assert colon
        assert function.replace("_", "").isalnum()
        assert text
    names = [step.partition(":")[0] for step in decision.trace]
    assert "select_bad_process" in names
    assert ("constrained_alloc" in names) == (version in versions("2.6.16", "6.18"))
    if version in versions("4.19", "6.18"):
        assert names[-1] == "__oom_kill_process"
    elif version in versions("3.4", "4.18"):
        assert names[-1] == "oom_kill_process"
    else:
        assert names[-1] == "oom_kill_task"


GONE: dict[str, Any] = {"pid": 77, "knobs": {"oom_kill_allocating_task": 1}}
SPARED = user(10, 9, cgroup="/a", oom_score_adj=-1000, oom_adj=-17)


@pytest.mark.parametrize(("version", "tasks", "fields", "step"), [
    ("3.10", (HOG,), GONE, ("oom_kill_allocating_task: set, but the allocating task is not in the "
     "snapshot; the scan follows")),
    ("3.10", (ASKER, HOG), {"knobs": {"oom_kill_allocating_task": 1}},
     "oom_kill_allocating_task: set: the allocating task t10[10] is killed"),
    ("3.10", (INIT, HOG), {"pid": 1, "knobs": {"oom_kill_allocating_task": 1}},
     "oom_kill_allocating_task: set, but init[1] can't be killed (global init)"),
    ("6.12", (KTHREAD, INIT), {"pid": None, "sysrq": True},
     "out_of_memory: no killable process; SysRq never panics"),
    ("6.12", (SPARED,), {"memcgs": GROUP, "memcg": "/a"},
     "out_of_memory: no killable process in the memory cgroup; the charge fails"),
    ("2.6.30", (SPARED,), {"memcgs": GROUP, "memcg": "/a"},
     "mem_cgroup_out_of_memory: the allocating task t10[10] is killed"),
    ("2.6.30", (SPARED,), {"memcgs": GROUP, "memcg": "/a"},
     "select_bad_process: livelock: selects t10[10] repeatedly, and the machine hangs"),
    ("2.6.32-article", (ASKER, HOG), {"knobs": {"overcommit_memory": 2}},
     "out_of_memory: overcommit_memory is 2: the allocating task is killed"),
    ("2.6.32-article", (ASKER, HOG), {},
     "out_of_memory: overcommit_memory is 0: on to __out_of_memory"),
    ("2.6.32-article", (HOG,), {"pid": 77, "knobs": {"overcommit_memory": 2}},
     "oom_kill_process: the allocating task, which is not in the snapshot, is killed"),
    ("2.6.13", (KTHREAD, INIT), {"pid": None, "sysrq": True}, ("oom_kill_task: kthreadd[2] has no "
     "memory")),
])  # fmt: skip
def test_what_ends_otherwise_is_said(
    version: str, tasks: tuple[Task, ...], fields: dict[str, Any], step: str
) -> None:
    """R6: each way past a kill by the highest badness has a step of its own."""
    assert step in oom(version, *tasks, **fields).trace
