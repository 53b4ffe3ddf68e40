"""A decision made again from what a report shows: each verdict with its reason, by hand.

Badness since 2.6.36 is rss, swap and page tables, since 3.5 in pages, plus oom_score_adj
thousandths of the total: RAM and swap, or the limit (mm/oom_kill.c, oom_badness()).
"""

from typing import Any

import pytest

from oomkit.kernel.versions import rules_for
from oomkit.klog.memory_records import Counter, Memcg, Memory, Zone
from oomkit.klog.records import Assumed, Killed, Report, Selected, Source, Summary, TaskRow
from oomkit.klog.replay import inputs_of, replay, replay_all
from oomkit.klog.snapshot import (
    Bounds,
    allocation_of,
    base_is_printed,
    bounds_by_score,
    chosen_pid,
    pgtable_pages,
    rule_sets,
    snapshot_of,
    total_is_printed,
)
from oomkit.records import replace

SOURCE = Source(file="x.log", line=1, end_line=9)
RULES = rules_for("6.1")
MEMORY = Memory(ram_pages=100_000, reserved_pages=0, total_swap_kb=0, free_swap_kb=0)
DB, WEB = Killed(pid=7, comm="db"), Killed(pid=8, comm="web")


def row(tgid: int, comm: str, rss: int, **more: Any) -> TaskRow:
    made = {"uid": 1000, "pgtables_bytes": 0, "swapents": 0, "oom_score_adj": 0, **more}
    return TaskRow(**{"tgid": tgid, "pid": tgid, **made}, comm=comm, total_vm_pages=9 * rss,
                   rss_pages=rss)  # fmt: skip


ROWS = (row(7, "db", 9000), row(8, "web", 5000), row(9, "sh", 10))


def report(**fields: Any) -> Report:
    made = {"source": SOURCE, "scope": "global", "kernel": "6.1.0", "tasks": ROWS, "killed": (DB,),
            "memory": MEMORY, "table_complete": True}  # fmt: skip
    return Report(**{**made, **fields})


def verdict(one: Report) -> tuple[bool | None, str]:
    found = replay(one)
    return found.agrees, found.why


# -- verdicts ------------------------------------------------------------------------------------


AGES = "this kernel ranks by CPU time, age and children as well, which the report does not show"
CHILD = "{}, a child of db[7], was sacrificed"
ALLOCATING = (
    "vm.oom_kill_allocating_task is set: the allocating task is killed, not the one with the "
    "highest badness"
)
BY_ASKER = {"kill_text": "Out of memory (oom_kill_allocating_task)", "invoker_pid": 8}


@pytest.mark.parametrize(
    ("fields", "agrees", "why"),
    [
        ({}, True, ""),
        ({"tasks": ()}, None, "the report has no task table"),
        ({"kernel": "2.6.30"}, None, AGES),
        ({"killed": (Killed(pid=99, comm="x"),)}, None,
         "the chosen process is not in the task table"),
        ({"killed": ()}, None, "the report does not name the process that the kernel chose"),
        ({"table_complete": False}, None, "the task table is damaged"),
        ({"table_complete": False, "killed": (WEB,)}, None, "the task table is damaged"),
        ({"killed": (WEB,)}, False,
         ("by the rules db[7] comes first; it may have been on its way out already, or protected "
         "by what the table does not show")),
        ({"kernel": "4.4.0", "selected": Selected(pid=7, comm="db", score=90),
          "killed": (replace(WEB, killed_as="child"),)}, True, CHILD.format("web[8]")),
        ({"kernel": "4.4.0", "selected": Selected(pid=7, comm="db", score=90),
          "killed": (replace(DB, killed_as="selected"),)}, True, ""),
        ({"kernel": "4.4.0", "selected": Selected(pid=70, tgid=7, comm="db", score=90)}, True,
         "70 is a thread of db[7]: until 5.2 a memory cgroup's scan chose among threads"),
        ({**BY_ASKER, "killed": (WEB,)}, True, ALLOCATING),
        ({**BY_ASKER}, None, ALLOCATING),
        ({**BY_ASKER, "invoker_pid": None, "killed": (WEB,)}, None, ALLOCATING),
        ({**BY_ASKER, "invoker_pid": 80, "killed": (WEB,),
          "tasks": (ROWS[0], row(8, "web", 5000, pid=80))}, True, ALLOCATING),
        ({"killed": (), "panic": "Out of memory: system-wide panic_on_oom is enabled"}, None,
         "vm.panic_on_oom is set: the kernel panicked without choosing a process"),
        ({"killed": (), "panic": "System is deadlocked on memory"}, None,
         "db[7], web[8], sh[9] could be chosen by the table; a victim already reaped can't be"),
        ({"killed": (), "no_killable": True}, None,
         "db[7], web[8], sh[9] could be chosen by the table; a victim already reaped can't be"),
        ({"killed": (), "no_killable": True, "tasks": (row(7, "db", 9, oom_score_adj=-1000),)},
         True, "by the rules, too, no process in the table can be killed"),
        ({"killed": (), "panic": "deadlocked", "tasks": (row(1, "init", 9),)},
         True, "by the rules, too, no process in the table can be killed"),
        ({"tasks": (row(7, "db", 9000, oom_score_adj=-1000), ROWS[1])}, False,
         "by these rules the chosen process can't be chosen: oom_score_adj -1000"),
    ],
)  # fmt: skip
def test_a_verdict_with_its_reason(fields: dict[str, Any], agrees: bool | None, why: str) -> None:
    assert verdict(report(**fields)) == (agrees, why)


@pytest.mark.parametrize(
    ("first", "second", "gap"),
    [
        # A hundredth of the first's badness, or 64 pages, may have moved.
        (5050, 5000, 50),
        (5064, 5000, 64),
        (5065, 5000, None),
        (10_101, 10_000, 101),
        (10_102, 10_000, None),
    ],
)
def test_memory_may_move_between_choice_and_table(first: int, second: int, gap: int | None) -> None:
    rows = (row(7, "db", first), row(8, "web", second))
    agrees, why = verdict(report(tasks=rows, killed=(WEB,)))
    assert agrees is False
    moved = (
        f"db[7] stands {gap} pages above the chosen one: the kernel prints the table after it has "
        "chosen, and memory moved in between"
    )
    assert why == moved if gap is not None else why.startswith("by the rules db[7] comes first")


def test_in_thousandths_no_gap_is_small() -> None:
    # 51 and 50 thousandths of 100,000 pages
    rows = (row(7, "db", 5100), row(8, "web", 5000))
    agrees, why = verdict(report(kernel="3.2.0", tasks=rows, killed=(WEB,)))
    assert agrees is False
    assert why.startswith("by the rules db[7] comes first")


def test_equals_depend_on_the_walk() -> None:
    rows = (row(7, "db", 500), row(8, "web", 500))
    assert verdict(report(tasks=rows)) == (
        True,
        (
            "web[8] has the same badness; which of equals dies depends on the order in which the "
            "kernel walks its tasks"
        ),
    )


OLD = {"pgtables_bytes": None, "swapents": None}


@pytest.mark.parametrize(
    ("kernel", "swap", "unseen"),
    [
        ("3.5.0", (4096, 96), "swap and page tables"),
        ("3.5.0", (None, None), "swap and page tables"),
        ("3.5.0", (4096, None), "swap and page tables"),
        ("3.5.0", (4096, 4096), "page tables"),
    ],
)
def test_what_the_table_does_not_show(
    kernel: str, swap: tuple[int | None, int | None], unseen: str
) -> None:
    rows = (row(7, "db", 9000, **OLD), row(8, "web", 5000, **OLD))
    memory = replace(MEMORY, total_swap_kb=swap[0], free_swap_kb=swap[1])
    found = verdict(report(kernel=kernel, tasks=rows, killed=(WEB,), memory=memory))
    assert found == (None, f"the table does not show {unseen}, which these rules count")


def test_a_kernel_whose_log_does_not_name_it() -> None:
    # Root's bonus of 3 %, until 4.16, is 150 of 5000 pages: 4850 are less than 4900.
    rows = (row(7, "db", 5000, uid=0), row(8, "web", 4900))
    unnamed = report(kernel=None, kernel_range=("4.15", "4.20"), tasks=rows)
    agrees, why = verdict(unnamed)
    assert agrees is True
    assert why.startswith("the log does not name the kernel; by the rules of 4.")
    assert why.endswith("another process would come first")
    assert replay(unnamed).rules in ("4.17", "4.19", "4.20", "4.18")
    assert verdict(replace(unnamed, tasks=(rows[0], ROWS[2]))) == (True, "")


def test_root_without_capabilities() -> None:
    rows = (row(7, "db", 5000, uid=0), row(8, "web", 4900))
    found = replay(report(kernel="4.4.0", tasks=rows))
    assert found.agrees is True
    assert found.why == (
        "the chosen process runs as root but without CAP_SYS_ADMIN, so it has no bonus"
    )
    assert not found.assumed.root_has_caps
    by_bonus = replay(report(kernel="4.4.0", tasks=rows, killed=(WEB,)))
    assert (by_bonus.agrees, by_bonus.why, by_bonus.assumed.root_has_caps) == (True, "", True)
    assert replay(report(kernel="4.19.0", tasks=rows, killed=(WEB,))).agrees is False


def test_an_unknown_total_may_explain_a_choice() -> None:
    # With adjustments of 10 and 0, a total of more than 40,000 pages puts web first: 4600 + 400.
    rows = (row(7, "db", 5000), row(8, "web", 4600, oom_score_adj=10))
    memory = Memory(ram_pages=30_000, reserved_pages=0)
    found = replay(report(tasks=rows, killed=(WEB,), memory=memory))
    assert found.agrees is True
    assert found.why == (
        "total swap is not in the report; with enough of it the kernel's choice is first"
    )
    assert found.assumed.bound == "most"
    either = replay(report(tasks=rows, memory=memory))
    assert (either.agrees, either.why) == (
        True,
        "total memory is not in the report; with more of it another would come first",
    )
    assert either.assumed.bound == "least"
    known = replay(report(tasks=rows, memory=replace(memory, total_swap_kb=0)))
    assert (known.agrees, known.why) == (True, "")
    wrong = replay(report(tasks=rows, killed=(WEB,), memory=replace(memory, total_swap_kb=0)))
    assert wrong.agrees is False


def test_a_ranking_that_depends_on_a_total_that_is_not_there() -> None:
    rows = (row(7, "db", 5000), row(8, "web", 4600, oom_score_adj=10))
    found = replay(report(tasks=rows, memory=None))
    assert (found.agrees, found.predicted, found.rules) == (None, (), "6.1")
    assert found.why == (
        "badness depends on the total of RAM and swap, or the limit, which is not in the log"
    )
    same = replay(report(tasks=ROWS, memory=None))
    assert [p.badness for p in same.predicted] == [9000, 5000, 10]
    assert (same.agrees, same.why) == (True, "")
    unnamed = replay(report(tasks=rows, memory=None, kernel=None, kernel_range=("4.4", "5.0")))
    assert (unnamed.rules, unnamed.agrees) == (None, None)


def test_badness_is_left_out_where_it_depends_on_the_total() -> None:
    # The first is the first whatever the total: only its badness is not known.
    rows = (row(7, "db", 9000, oom_score_adj=10), ROWS[1])
    found = replay(report(tasks=rows, memory=None))
    assert [(p.pid, p.comm, p.badness) for p in found.predicted] == [
        (7, "db", None), (8, "web", 5000),
    ]  # fmt: skip
    whole = replay(report(tasks=rows))
    assert [p.badness for p in whole.predicted] == [9000 + 1000, 5000]


# -- earlier victims -----------------------------------------------------------------------------


def test_a_victim_that_still_stands_in_the_table_is_not_chosen_again() -> None:
    def second(after_s: float | None, **fields: Any) -> Report:
        first = report(uptime_s=100.0)
        made: dict[str, Any] = {"uptime_s": after_s, "killed": (WEB,), **fields}
        return list(replay_all([first, report(**made)]))[1]

    assert (second(160.0).agrees, second(160.0).assumed.dying) == (True, (7,))
    assert (second(160.1).agrees, second(160.1).assumed.dying) == (False, ())
    assert second(99.9).assumed.dying == ()
    assert second(100.0).assumed.dying == (7,)
    assert second(None).assumed.dying == (7,)
    # It is killed again, or its number was given to another process.
    assert second(101.0, killed=(DB,)).assumed.dying == ()
    chosen = Selected(pid=7, comm="db", score=9)
    assert second(101.0, selected=chosen, kernel="4.4.0").assumed.dying == ()
    thread = Selected(pid=70, tgid=7, comm="db", score=9)
    assert second(101.0, selected=thread, kernel="4.4.0").assumed.dying == ()
    renamed = (row(7, "new", 9000), *ROWS[1:])
    assert second(101.0, tasks=renamed).assumed.dying == ()
    by_thread = (row(70, "db", 9000, pid=7), *ROWS[1:])
    assert second(101.0, tasks=by_thread).assumed.dying == (7,)


def test_so_many_victims_are_remembered() -> None:
    def last(between: int, again: int | None = None) -> Report:
        others = [
            report(uptime_s=1.0, killed=(Killed(pid=1000 + n, comm="x"),)) for n in range(between)
        ]
        if again is not None:
            others[again] = report(uptime_s=2.0)
        reports = [report(uptime_s=0.0), *others, report(uptime_s=2.0, killed=(WEB,))]
        return list(replay_all(reports))[-1]

    assert last(63).assumed.dying == (7,)
    assert last(64).assumed.dying == ()
    assert last(64, again=5).assumed.dying == (7,)  # killed again, it is the latest


# -- the snapshot --------------------------------------------------------------------------------


def test_a_row_as_a_task() -> None:
    one = row(8, "web", 50, pid=80, uid=0, rss_anon_pages=30, rss_file_pages=15, rss_shmem_pages=5,
              pgtables_bytes=8191, swapents=4, oom_score_adj=7)  # fmt: skip
    other = row(1, "init", 5, pgtables_bytes=None, nr_ptes=3, nr_pmds=2, swapents=None,
                oom_score_adj=None, oom_adj=4)  # fmt: skip
    found = snapshot_of(report(tasks=(one, other)), RULES, Assumed(dying=(80,)))
    web, init = found.tasks
    assert (web.pid, web.comm, web.uid, web.rss_pages, web.swap_pages) == (8, "web", 0, 50, 4)
    assert (web.anon_rss_pages, web.file_rss_pages, web.shmem_rss_pages) == (30, 15, 5)
    assert (web.pgtable_pages, web.oom_score_adj, web.total_vm_pages) == (1, 7, 450)
    assert (web.victim, web.mm_reaped, init.victim) == (True, True, False)
    assert (web.cap_sys_admin, web.cap_sys_resource, init.cap_sys_admin) == (True, True, False)
    assert (init.pgtable_pages, init.pte_pages, init.pmd_pages) == (5, 3, 2)
    assert (init.oom_score_adj, init.oom_adj) == (0, 4)
    assert (init.global_init, web.global_init) == (True, False)
    assert {web.cgroup, init.cgroup} == {"/"}
    without = snapshot_of(report(tasks=(one,)), RULES, Assumed(root_has_caps=False, dying=(8,)))
    assert not without.tasks[0].cap_sys_admin
    assert not without.tasks[0].cap_sys_resource
    assert without.tasks[0].victim
    assert found.page_size == 4096
    assert snapshot_of(report(page_kb=64), RULES, Assumed()).page_size == 65_536
    assert pgtable_pages(replace(one, pgtables_bytes=131_072), 64) == 2
    assert pgtable_pages(replace(one, pgtables_bytes=None), 4) == 0


@pytest.mark.parametrize(
    ("memory", "bound", "ram", "swap"),
    [
        (None, "least", 60, 7),
        (None, "most", 960, 7 + 960),
        (Memory(), "least", 60, 7),
        (Memory(ram_pages=500), "least", 500, 7),
        (Memory(ram_pages=500, reserved_pages=40), "most", 460, 967),
        (Memory(ram_pages=500, total_swap_kb=40), "most", 500, 10),
        (Memory(zones=(Zone(node=0, name="A", managed_kb=400), Zone(node=0, name="B",
                                                                   present_kb=80))), "most",
         120, 967),
        (Memory(zones=(Zone(node=0, name="A", managed_kb=400), Zone(node=0, name="B"))), "least",
         60, 7),
        (Memory(ram_pages=0), "least", 1, 7),
    ],
)  # fmt: skip
def test_ram_and_swap_as_printed_or_assumed(
    memory: Memory | None, bound: Any, ram: int, swap: int
) -> None:
    rows = (row(7, "db", 50, swapents=5), row(8, "web", 10, swapents=2))
    found = snapshot_of(report(tasks=rows, memory=memory), RULES, Assumed(bound=bound)).memory
    assert (found.total_ram_pages, found.total_swap_pages) == (ram, swap)


def test_counters_of_the_machine() -> None:
    memory = replace(
        MEMORY, free_swap_kb=44,
        counters_pages={"free": 1, "shmem": 2, "slab_reclaimable": 3, "slab_unreclaimable": 4,
                        "pagetables": 5},
    )  # fmt: skip
    found = snapshot_of(report(memory=memory), RULES, Assumed()).memory
    assert (found.free_pages, found.shmem_pages, found.slab_reclaimable_pages) == (1, 2, 3)
    assert (found.slab_unreclaimable_pages, found.pgtable_pages) == (4, 5)
    assert found.free_swap_pages == 11
    none = snapshot_of(report(memory=Memory()), RULES, Assumed()).memory
    assert (none.free_pages, none.shmem_pages, none.slab_reclaimable_pages) == (0, 0, 0)
    assert (none.slab_unreclaimable_pages, none.pgtable_pages, none.free_swap_pages) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "ram"),
    [
        ({"scope": "cpuset", "mems_allowed": "0", "nodemask": "1"}, 100),
        ({"scope": "cpuset", "mems_allowed": "0-1"}, 350),
        ({"scope": "mempolicy", "mems_allowed": "0", "nodemask": "1"}, 250),
        ({"scope": "mempolicy", "nodemask": "5"}, 100_000),
        ({"scope": "global", "mems_allowed": "0"}, 100_000),
    ],
)
def test_ram_of_the_nodes_that_are_allowed(fields: dict[str, Any], ram: int) -> None:
    zones = (Zone(node=0, name="DMA", present_kb=160), Zone(node=0, name="N", present_kb=240),
             Zone(node=1, name="N", present_kb=1000))  # fmt: skip
    one = report(memory=replace(MEMORY, zones=zones), **fields)
    assert snapshot_of(one, RULES, Assumed()).memory.total_ram_pages == ram
    bare = replace(one, memory=MEMORY)
    assert snapshot_of(bare, RULES, Assumed()).memory.total_ram_pages == 100_000


def test_a_memory_cgroup_of_either_version() -> None:
    part = Memcg(path="/a", memory=Counter(usage_kb=80, limit_kb=100),
                 swap=Counter(usage_kb=40, limit_kb=60))  # fmt: skip
    one = report(scope="memcg", cgroup="/a", memcg=part)
    snapshot = snapshot_of(one, RULES, Assumed())
    (found,) = snapshot.memcgs
    assert (found.path, found.version, found.limit_pages, found.usage_pages) == ("/a", 2, 25, 20)
    assert (found.swap_max_pages, found.swap_usage_pages) == (15, 10)
    assert {task.cgroup for task in snapshot.tasks} == {"/a"}
    old = replace(part, swap=None, memsw=Counter(usage_kb=9, limit_kb=200))
    (found,) = snapshot_of(replace(one, memcg=old), RULES, Assumed()).memcgs
    assert (found.version, found.memsw_limit_pages, found.swap_usage_pages) == (1, 50, 0)
    endless = replace(old, memory=Counter(usage_kb=80))
    (found,) = snapshot_of(replace(one, memcg=endless), RULES, Assumed()).memcgs
    assert found.limit_pages is None
    for lost in (None, Memcg(path="/a")):
        (found,) = snapshot_of(replace(one, memcg=lost, cgroup=None), RULES, Assumed()).memcgs
        assert (found.path, found.limit_pages) == ("/", 9000 + 5000 + 10)
    (found,) = snapshot_of(
        replace(one, memcg=None, tasks=(row(7, "db", 0),)), RULES, Assumed()
    ).memcgs
    assert found.limit_pages == 1
    assert snapshot_of(report(memcg=part), RULES, Assumed()).memcgs == ()


@pytest.mark.parametrize(
    ("memory", "missing"),
    [
        (MEMORY, ()),
        (None, ("total swap", "total RAM")),
        (Memory(ram_pages=1), ("total swap",)),
        (Memory(total_swap_kb=1), ("total RAM",)),
    ],
)
def test_what_a_snapshot_lacks(memory: Memory | None, missing: tuple[str, ...]) -> None:
    found = snapshot_of(report(memory=memory), RULES, Assumed()).missing
    assert found[0] == "parents, capabilities, CPU times and memory sharing of the tasks"
    assert found[1:] == missing


def test_the_kernel_of_a_snapshot() -> None:
    assert snapshot_of(report(), RULES, Assumed()).kernel == "6.1.0"
    assert snapshot_of(report(kernel=None), RULES, Assumed()).kernel == RULES.name


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"pid": None, "memcg": None, "order": 0, "gfp_nofail": False, "sysrq": False}),
        ({"invoker_pid": 8}, {"pid": 8}),
        ({"invoker_pid": 80, "tasks": (row(8, "web", 5, pid=80),)}, {"pid": 8}),
        ({"invoker_pid": 99}, {"pid": 99}),
        ({"order": 3}, {"order": 3}),
        ({"order": -1, "scope": "sysrq"}, {"order": 0, "sysrq": True}),
        ({"gfp_mask": "0x1(__GFP_NOFAIL|__GFP_IO)"}, {"gfp_nofail": True, "gfp_thisnode": False}),
        ({"gfp_mask": "0x1(__GFP_THISNODE)"}, {"gfp_nofail": False, "gfp_thisnode": True}),
        ({"scope": "memcg", "cgroup": "/a"}, {"memcg": "/a"}),
        ({"scope": "memcg"}, {"memcg": "/"}),
        ({"cgroup": "/a"}, {"memcg": None}),
        ({"call_trace": ("pagefault_out_of_memory",)},
         {"page_fault_oom": True, "user_fault": True}),
        ({"call_trace": ("pagefault_out_of_memory",), "scope": "memcg"},
         {"page_fault_oom": False, "user_fault": True}),
        ({"call_trace": ("out_of_memory",)}, {"page_fault_oom": False, "user_fault": False}),
    ],
)  # fmt: skip
def test_the_request(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    found = allocation_of(report(**fields))
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "pid"),
    [
        ({}, 7),
        ({"killed": ()}, None),
        ({"summary": Summary(pid=8)}, 8),
        ({"summary": Summary()}, 7),
        ({"summary": Summary(pid=8), "selected": Selected(pid=9, comm="sh")}, 9),
        ({"selected": Selected(pid=90, tgid=9, comm="sh")}, 9),
        ({"killed": (Killed(pid=80, comm="web"),), "tasks": (row(8, "web", 5, pid=80),)}, 8),
    ],
)
def test_whom_the_kernel_chose(fields: dict[str, Any], pid: int | None) -> None:
    assert chosen_pid(report(**fields)) == pid


# -- rule sets -----------------------------------------------------------------------------------

ONE_LINE = Killed(pid=7, comm="db", total_vm_kb=9)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["6.1"]),
        ({"kernel": "no kernel", "kernel_range": ("6.1", "6.1")}, ["6.1"]),
        ({"kernel": None, "killed": (Killed(pid=7, comm="db", uid=0),),
          "selected": Selected(pid=7, comm="db")}, ["2.6.32-el6"]),
        # One line "MSG: Killed process" came with the end of child sacrifice.
        ({"kernel": "4.4.0", "killed": (ONE_LINE,), "kill_text": "Out of memory"},
         ["4.3+children"]),
        ({"kernel": "4.4.0", "killed": (ONE_LINE,)}, ["4.3"]),
        ({"kernel": "4.4.0", "killed": (DB,), "kill_text": "Out of memory"}, ["4.3"]),
        ({"kernel": "4.4.0", "killed": (), "kill_text": "Out of memory"}, ["4.3"]),
        ({"kernel": "4.4.0", "killed": (ONE_LINE,),
          "kill_text": "Out of memory (oom_kill_allocating_task)"}, ["4.3"]),
        ({"kernel": "4.4.0", "killed": (ONE_LINE,), "kill_text": "Out of memory",
          "selected": Selected(pid=7, comm="db")}, ["4.3"]),
        ({"kernel": "6.1.0", "killed": (ONE_LINE,), "kill_text": "Out of memory"}, ["6.1"]),
        ({"kernel": "2.6.30", "killed": (ONE_LINE,), "kill_text": "Out of memory"}, ["2.6.30"]),
    ],
)  # fmt: skip
def test_the_rules_to_try(fields: dict[str, Any], names: list[str]) -> None:
    assert [rules.name for rules in rule_sets(report(**fields))] == names


def test_the_rules_to_try_where_texts_contradict_each_other() -> None:
    both = rule_sets(report(kernel=None, kernel_range=None))
    assert both[0].since <= "5.3"
    assert any(rules.children != "none" for rules in both)
    chosen = rule_sets(report(kernel=None, selected=Selected(pid=7, comm="db")))
    assert {rules.name for rules in chosen} <= {rules.name for rules in both}
    newest = rule_sets(report(kernel=None, kernel_range=("4.15", "6.1")))
    assert len({(r.badness, r.root_bonus, r.children == "none", r.ties) for r in newest}) >= 2


def test_what_a_replay_was_made_of() -> None:
    assert inputs_of(report(tasks=())) is None
    unnamed = report(kernel=None, kernel_range=("4.15", "5.3"))
    names = [rules.name for rules in rule_sets(unnamed)]
    assert len(names) > 1
    for name in names:
        found = inputs_of(replace(unnamed, rules=name))
        assert found is not None
        assert found.rules.name == name
    first = inputs_of(unnamed)
    assert first is not None
    assert first.rules.name == names[0]
    other = inputs_of(replace(unnamed, rules="no such rules"))
    assert other is not None
    assert other.rules.name == names[0]


# -- totals --------------------------------------------------------------------------------------

LIMIT = Counter(usage_kb=9, limit_kb=100)


@pytest.mark.parametrize(
    ("fields", "base", "total"),
    [
        ({}, True, True),
        ({"memory": None}, False, False),
        ({"memory": Memory(ram_pages=1)}, True, False),
        ({"memory": Memory(total_swap_kb=1)}, False, False),
        ({"memory": Memory(total_swap_kb=1, zones=(Zone(node=0, name="A", managed_kb=1),))},
         True, True),
        ({"memory": Memory(total_swap_kb=1, zones=(Zone(node=0, name="A", present_kb=1),
                                                   Zone(node=0, name="B")))}, False, False),
        ({"scope": "memcg"}, False, False),
        ({"scope": "memcg", "memcg": Memcg(path="/a")}, False, False),
        ({"scope": "memcg", "memcg": Memcg(memory=Counter(usage_kb=9))}, False, False),
        ({"scope": "memcg", "memcg": Memcg(memory=LIMIT)}, True, True),
        ({"scope": "memcg", "memcg": Memcg(memory=LIMIT), "memory": None}, True, False),
        ({"scope": "memcg", "memory": None,
          "memcg": Memcg(memory=LIMIT, swap=Counter(usage_kb=0, limit_kb=0))}, True, True),
        ({"scope": "memcg", "memory": None,
          "memcg": Memcg(memory=LIMIT, swap=Counter(usage_kb=0, limit_kb=4))}, True, False),
        ({"scope": "memcg", "memory": None, "memcg": Memcg(memory=LIMIT, memsw=LIMIT)},
         True, True),
        ({"scope": "memcg", "memory": None,
          "memcg": Memcg(memory=LIMIT, memsw=Counter(usage_kb=9, limit_kb=200))}, True, False),
        ({"scope": "memcg", "memory": None,
          "memcg": Memcg(memory=LIMIT, memsw=Counter(usage_kb=9))}, True, False),
    ],
)  # fmt: skip
def test_a_total_that_is_printed(fields: dict[str, Any], base: bool, total: bool) -> None:
    one = report(**fields)
    assert (base_is_printed(one), total_is_printed(one)) == (base, total)


@pytest.mark.parametrize(
    ("kernel", "fields", "bounds"),
    [
        # 3,500 pages held of a total T: score 70 is 3,500,000 // T, so 49,295 < T <= 50,000.
        ("4.19.0", {}, Bounds(least=49_295, most=50_000)),
        ("4.19.0", {"score": 0}, None),
        ("4.19.0", {"score": None}, None),
        ("4.19.0", {"adj": 20}, Bounds(least=68_627, most=70_000)),
        ("4.19.0", {"adj": 70}, None),
        ("4.19.0", {"adj": 69}, Bounds(least=1_750_000, most=3_500_000)),
        ("4.19.0", {"adj": -30}, Bounds(least=34_653, most=35_000)),
        ("4.19.0", {"swap": None}, None),
        ("4.19.0", {"rss": 0, "swap": 0, "tables": 0}, None),
        # Root's bonus, 3 %: 3395 pages if it has it.
        ("4.4.0", {"uid": 0}, Bounds(least=47_816, most=50_000)),
        ("4.4.0", {}, Bounds(least=49_295, most=50_000)),
        ("4.19.0", {"uid": 0}, Bounds(least=49_295, most=50_000)),
        ("4.19.0", {"pid": 70}, Bounds(least=49_295, most=50_000)),
        ("4.19.0", {"chosen": 99}, None),
        ("3.2.0", {}, None),
    ],
)  # fmt: skip
def test_a_total_by_the_score_of_the_chosen(
    kernel: str, fields: dict[str, Any], bounds: Bounds | None
) -> None:
    made = {"score": 70, "adj": 0, "rss": 3000, "swap": 400, "tables": 100, "uid": 1000, "pid": 7,
            "chosen": fields.get("pid", 7), **fields}  # fmt: skip
    one = row(7, "db", made["rss"], pid=made["pid"], uid=made["uid"], swapents=made["swap"],
              pgtables_bytes=made["tables"] * 4096, oom_score_adj=made["adj"])  # fmt: skip
    selected = Selected(pid=made["chosen"], comm="db", score=made["score"])
    chosen = report(tasks=(ROWS[1], one), selected=selected)
    assert bounds_by_score(chosen, rules_for(kernel)) == bounds
    assert bounds_by_score(replace(chosen, selected=None), rules_for(kernel)) is None


def test_bounds_hold_what_is_above_the_least_and_no_more_than_the_most() -> None:
    bounds = Bounds(least=10, most=20)
    assert [bounds.hold(pages) for pages in (10, 11, 20, 21)] == [False, True, True, False]
