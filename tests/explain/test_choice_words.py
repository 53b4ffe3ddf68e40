"""Why this process: ranking, sums, distances and what would have changed it, worked out by hand.

The rules since 4.20: badness = rss + swap + page tables in pages, plus oom_score_adj thousandths of
RAM and swap (or of the limit), mm/oom_kill.c, oom_badness(). Here the first, db, has 300,150 pages
(300,000 rss, 50 of swap, 100 of page tables), the next, web, 200,000. RAM without swap is 4 GiB,
1,048,576 pages: to fall by more than 100,150, oom_score_adj must be below -95.5, so -96; of 1 GiB,
262,144 pages, below -382.04, so -383.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from oomkit.explain.explanation import explain
from oomkit.explain.records import Change, Choice, Explanation
from oomkit.klog.memory_records import Counter
from oomkit.klog.records import Killed, Report, Selected
from oomkit.klog.replay import replay_all
from oomkit.records import replace
from tests.explain.made import DB, GIB_KB, group, machine, row, with_memcg, with_memory

ROWS = (
    row(7, "db", 300_000, pgtables_bytes=409_600, swapents=50),
    row(8, "web", 200_000),
    row(9, "sh", 10, oom_score_adj=-1000),
    row(1, "init", 10),
)
WEB = Killed(pid=8, comm="web", line=10)
SUM = "db[7]: rss 1.14 GiB + swap 200 KiB + page tables 400 KiB"


def on_machine(kernel: str = "6.1.0", *, score: int | None = None, **fields: Any) -> Report:
    selected = None if score is None else Selected(pid=7, comm="db", score=score)
    made = {"tasks": ROWS, "table_complete": True, "selected": selected, "kernel": kernel}
    return replace(machine(active_anon=600_000), **{**made, **fields})


def in_group(kernel: str = "6.1.0", **fields: Any) -> Report:
    made = {"tasks": ROWS[:2], "table_complete": True, "kernel": kernel}
    return replace(group(anon=GIB_KB), **{**made, **fields})


def explained(report: Report) -> Explanation:
    (replayed,) = replay_all([report])
    return explain(replayed)


def choice_of(report: Report) -> Choice:
    chosen = explained(report).choice
    assert chosen is not None
    return chosen


def changes_of(report: Report) -> dict[str, Change]:
    found = explained(report).changes
    assert len({one.kind for one in found}) == len(found)
    return {one.kind: one for one in found}


# -- the ranking ---------------------------------------------------------------------------------


def test_the_ranking_in_numbers() -> None:
    chosen = choice_of(on_machine())
    shown = [(r.rank, r.pid, r.comm, r.rss_kb, r.swap_kb, r.pgtables_kb, r.total_vm_kb, r.adj,
              r.badness, r.killed) for r in chosen.rows]  # fmt: skip
    assert shown == [
        (1, 7, "db", 1_200_000, 200, 400, 2_400_000, 0, 300_150, True),
        (2, 8, "web", 800_000, 0, 0, 1_600_000, 0, 200_000, False),
    ]
    assert (chosen.candidates, chosen.tasks, chosen.ranked, chosen.complete) == (2, 4, True, True)
    assert chosen.total_pages == 1_048_576
    assert chosen.total_bounds is None
    assert chosen.difference == ""


def test_page_tables_of_older_tables_are_counted_in_pages() -> None:
    rows = (
        row(7, "db", 300_000, pgtables_bytes=None, nr_ptes=10, nr_pmds=3),
        row(8, "web", 200_000, pgtables_bytes=None, nr_ptes=10),
        row(2, "sh", 100, pgtables_bytes=None, swapents=None),
    )
    found = {r.pid: (r.pgtables_kb, r.swap_kb) for r in choice_of(on_machine(tasks=rows)).rows}
    assert found == {7: (52, 0), 8: (40, 0), 2: (None, None)}


def test_five_rows_and_the_victims_wherever_they_stand() -> None:
    rows = tuple(row(pid, f"t{pid}", 1000 - pid) for pid in range(10, 20))
    dead = tuple(Killed(pid=pid, comm=f"t{pid}") for pid in (17, 16, 15))
    report = on_machine(tasks=(*rows, row(20, "safe", 9, oom_score_adj=-1000)), killed=dead)
    chosen = choice_of(report)
    # The kill line's first two are always shown; here neither is among the first five.
    assert [(r.rank, r.pid, r.killed) for r in chosen.rows] == [
        (1, 10, False), (2, 11, False), (3, 12, False), (4, 13, False), (5, 14, False),
        (7, 16, True), (8, 17, True),
    ]  # fmt: skip
    assert chosen.runner_up == ""


def test_a_victim_that_could_not_be_chosen_stands_without_a_rank() -> None:
    report = in_group(
        tasks=(*ROWS[:2], row(9, "sh", 10, oom_score_adj=-1000)),
        killed=(DB, Killed(pid=9, comm="sh", killed_as="oom_group")), oom_group="/app",
    )  # fmt: skip
    assert [(r.rank, r.pid, r.badness) for r in choice_of(report).rows] == [
        (1, 7, 300_150), (2, 8, 200_000), (None, 9, None),
    ]  # fmt: skip


def test_a_thread_that_was_killed_marks_its_process() -> None:
    rows = (replace(ROWS[0], pid=70), ROWS[1])
    chosen = choice_of(on_machine(tasks=rows, killed=(Killed(pid=70, comm="db"),)))
    assert [(r.pid, r.killed) for r in chosen.rows] == [(7, True), (8, False)]


def test_what_can_not_be_ranked_stands_by_its_size() -> None:
    # The classic rules count CPU time and age, which no table shows.
    rows = tuple(
        row(pid, f"t{pid}", size, pgtables_bytes=None, oom_score_adj=None, oom_adj=2, swapents=swap)
        for pid, size, swap in ((7, 100, 0), (8, 60, 50), (9, 200, None), (10, 1, 0))
    )
    chosen = choice_of(on_machine("2.6.30", tasks=rows))
    assert [(r.rank, r.pid, r.adj, r.badness) for r in chosen.rows] == [
        (None, 9, 2, None), (None, 8, 2, None), (None, 7, 2, None), (None, 10, 2, None),
    ]  # fmt: skip
    assert (chosen.ranked, chosen.candidates, chosen.total_pages) == (False, 0, None)
    assert chosen.terms == "t7[7]: rss 400 KiB, oom_adj 2"
    assert chosen.runner_up == ""


def test_no_table_no_choice() -> None:
    assert explained(on_machine(tasks=())).choice is None


# -- sums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "terms"),
    [
        (on_machine(), f"{SUM} = badness 300150 pages, measured against 4.00 GiB"),
        (
            on_machine(tasks=(row(7, "db", 1, oom_score_adj=5), *ROWS[2:])),
            # 1 page and 5 thousandths of 1,048,576 pages, 1048 each
            "db[7]: rss 4.00 KiB, oom_score_adj 5 = badness 5241 pages, measured against 4.00 GiB",
        ),
        (
            on_machine(tasks=(row(7, "db", 1), *ROWS[2:3])),
            "db[7]: rss 4.00 KiB = badness 1 page, measured against 4.00 GiB",
        ),
        (
            # 300,150 of 1,048,576 pages are 286 thousandths.
            on_machine("2.6.37", score=286),
            f"{SUM} = badness 286 of 1000, measured against 4.00 GiB",
        ),
        (in_group(), f"{SUM} = badness 300150 pages, measured against 1.00 GiB"),
        (
            with_memcg(in_group(), swap=Counter(usage_kb=0, limit_kb=4)),
            (
                f"{SUM} = badness 300150 pages, measured against 1.00 GiB and the swap it may use, "
                "which is not in the log"
            ),
        ),
        (
            in_group(memcg=None),
            f"{SUM} = badness 300150 pages; the total it is measured against is not in the log",
        ),
        (
            with_memcg(in_group(), memory=Counter(usage_kb=GIB_KB)),
            f"{SUM} = badness 300150 pages; the total it is measured against is not in the log",
        ),
        (
            with_memcg(in_group(), memory=None),
            f"{SUM} = badness 300150 pages; the total it is measured against is not in the log",
        ),
        (
            # 300,150,000 // 501 = 599,101 and // 500 = 600,300 pages
            in_group("4.4.0", memcg=None, selected=Selected(pid=7, comm="db", score=500)),
            (
                f"{SUM} = badness 300150 pages; its score 500 shows what it was measured against: "
                "2.29 GiB to 2.29 GiB"
            ),
        ),
        (
            # 300,150,000 // 10 = 30,015,000 and // 9 = 33,350,000 pages
            in_group("4.4.0", memcg=None, selected=Selected(pid=7, comm="db", score=9)),
            (
                f"{SUM} = badness 300150 pages; its score 9 shows what it was measured against: "
                "114 GiB to 127 GiB"
            ),
        ),
    ],
)
def test_a_sum_with_what_it_is_measured_against(report: Report, terms: str) -> None:
    if "2.29 GiB to 2.29 GiB" in terms:
        terms = terms.replace("2.29 GiB to 2.29 GiB", "about 2.29 GiB")
    assert choice_of(report).terms == terms


def test_a_total_that_a_score_puts_between_bounds() -> None:
    # 300,150 * 1000 // 287 = 1,045,818 and // 286 = 1,049,475
    report = on_machine("4.4.0", score=286)
    assert choice_of(report).total_bounds == (1_045_818, 1_049_475)
    assert choice_of(report).total_pages == 1_048_576
    # Without the swap line the total is a guess: the 50 pages that the table shows are added.
    guessed = with_memory(report, total_swap_kb=None)
    assert choice_of(guessed).total_pages == 1_048_626
    # A score that contradicts it leaves it out.
    other = replace(guessed, selected=Selected(pid=7, comm="db", score=100))
    assert choice_of(other).total_pages is None
    assert choice_of(other).terms.endswith(
        "; its score 100 shows what it was measured against: 11.3 GiB to 11.4 GiB"
    )
    without = replace(guessed, selected=None)
    assert choice_of(without).total_pages is None


def test_a_guess_that_a_score_allows_is_still_a_guess_without_a_base() -> None:
    # Without its limit the sum of rss, 300,000, stands for it, and 300,000 is within the bounds.
    report = in_group("4.4.0", tasks=(row(7, "db", 300_000),), memcg=None,
                      selected=Selected(pid=7, comm="db", score=1000))  # fmt: skip
    chosen = choice_of(report)
    assert chosen.total_bounds == (299_700, 300_000)
    assert chosen.total_pages is None
    assert chosen.terms.endswith("shows what it was measured against: about 1.14 GiB")


# -- distances -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (on_machine(), "next web[8], 100150 pages (391 MiB) behind"),
        (
            on_machine(tasks=(row(7, "db", 300), row(8, "web", 299))),
            "next web[8], 1 page (4.00 KiB) behind",
        ),
        (on_machine("2.6.37"), "next web[8], 96 thousandths behind"),  # 286 - 190
        (
            on_machine("2.6.37", tasks=(row(7, "db", 10_486), row(8, "web", 9438))),
            "next web[8], 1 thousandth behind",  # 10 and 9 of 1000
        ),
        (on_machine(tasks=ROWS[:1]), "no other process could be chosen"),
        (on_machine(killed=(WEB,)), ""),  # it is not the first
        (on_machine(table_complete=False), ""),
        (in_group(memcg=None), "next web[8], 100150 pages (391 MiB) behind"),
    ],
)
def test_the_distance_to_the_next(report: Report, text: str) -> None:
    assert choice_of(report).runner_up == text


def test_equals() -> None:
    rows = tuple(row(pid, comm, 300) for pid, comm in ((7, "db"), (8, "web"), (9, "sh")))
    last = Killed(pid=9, comm="sh")  # since 5.9 the last of equals is taken
    report = on_machine(tasks=(*rows, row(10, "low", 1)), killed=(last,))
    assert choice_of(report).runner_up == "2 others had the same badness, web[8] next"
    two = on_machine(tasks=(*rows[1:], row(10, "low", 1)), killed=(last,))
    assert choice_of(two).runner_up == "1 other had the same badness, web[8] next"


def test_no_distance_where_badness_is_not_known() -> None:
    # Adjustments count by a total that is not in the log.
    rows = (row(7, "db", 300_000, oom_score_adj=500), row(8, "web", 20, oom_score_adj=500))
    report = on_machine(tasks=rows, memory=None, scope="memcg", cgroup="/a")
    chosen = choice_of(report)
    assert [r.badness for r in chosen.rows] == [None, None]
    assert chosen.runner_up == ""
    assert chosen.terms == (
        "db[7]: rss 1.14 GiB, oom_score_adj 500; the total it is measured against is not in the log"
    )


# -- changes -------------------------------------------------------------------------------------


def test_what_would_have_changed_it_on_a_machine() -> None:
    found = changes_of(on_machine(invoker_pid=9))
    assert found["oom_score_adj"] == Change(
        kind="oom_score_adj", knob="oom_score_adj", now=0, needed=-96, pid=7, then=8,
        text="oom_score_adj -96 or lower for db[7] (was 0): web[8] dies instead",
    )  # fmt: skip
    # rss 200,000 to 300,150 pages: equal badness is enough for the later of the table
    assert found["memory"] == Change(
        kind="memory", knob="rss_pages", now=200_000, needed=300_150, unit="pages", pid=8, then=8,
        text="web[8] larger by 391 MiB: it dies instead",
    )  # fmt: skip
    assert found["swap"] == Change(
        kind="swap", knob="swap", now=0, unit="kb",
        text="swap (there was none): part of 2.29 GiB of anonymous memory could have moved there "
        "first",
    )  # fmt: skip
    assert set(found) == {"oom_score_adj", "memory", "swap"}


def test_what_would_have_changed_it_in_a_memory_cgroup() -> None:
    found = changes_of(in_group())
    assert list(found) == ["limit", "oom_score_adj", "memory", "oom_group", "swap"]
    assert found["oom_score_adj"].text == (
        "oom_score_adj -383 or lower for db[7] (was 0): web[8] dies instead"
    )
    group_of = found["oom_group"]
    assert group_of.text == "memory.oom.group 1: all 2 processes die together"
    assert (group_of.now, group_of.needed, group_of.then) == (0, 1, 7)
    assert found["swap"].text == (
        "memory.swap.max above 0: part of 1.00 GiB of anonymous memory could have moved there first"
    )
    assert found["swap"].knob == "memory.swap.max"
    together = in_group(oom_group="/app", killed=(DB, replace(WEB, killed_as="oom_group")))
    assert changes_of(together)["oom_group"].text == "memory.oom.group 0: only db[7] dies"


def test_cgroup_v1_has_no_oom_group() -> None:
    assert "oom_group" not in changes_of(with_memcg(in_group(), swap=None))
    assert "oom_group" not in changes_of(in_group(memcg=None))


def test_the_last_candidate() -> None:
    found = changes_of(on_machine(tasks=(ROWS[0],)))
    assert found["oom_score_adj"] == Change(
        kind="oom_score_adj", knob="oom_score_adj", now=0, needed=-1000, pid=7, then=None,
        text="oom_score_adj -1000 for db[7] (was 0): then no process can be killed",
    )  # fmt: skip


def test_an_adjustment_upwards_has_no_or_lower() -> None:
    # web, at -50, is 52,428 pages below its 320,000; 20,000 more would do: some thousandths up.
    rows = (ROWS[0], row(8, "web", 10, oom_score_adj=-1000))
    found = [one for one in explained(on_machine(tasks=rows)).changes
             if one.kind == "oom_score_adj"]  # fmt: skip
    assert [one.text for one in found] == [
        "oom_score_adj -1000 for db[7] (was 0): then no process can be killed"
    ]
    for one in found:
        assert "or lower" not in one.text


def test_nothing_is_varied_where_the_rules_decide_otherwise() -> None:
    assert set(changes_of(on_machine(killed=(WEB,)))) == {"swap"}
    assert set(changes_of(on_machine(killed=()))) == {"swap"}
    assert set(changes_of(on_machine(table_complete=False))) == {"swap"}


def test_nothing_is_varied_in_a_table_larger_than_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("oomkit.explain.choice.MAX_TASKS", 4)
    assert "oom_score_adj" in changes_of(on_machine())
    monkeypatch.setattr("oomkit.explain.choice.MAX_TASKS", 3)
    assert set(changes_of(on_machine())) == {"swap"}
    assert list(changes_of(in_group())) == ["limit", "oom_score_adj", "memory", "oom_group", "swap"]
    monkeypatch.setattr("oomkit.explain.choice.MAX_TASKS", 1)
    assert list(changes_of(in_group())) == ["limit", "swap"]


@dataclass
class _Swap:
    anon: int
    swap_kb: int | None
    found: bool


@pytest.mark.parametrize(
    "case",
    [
        # Half of 4 GiB are 524,288 pages.
        _Swap(anon=524_288, swap_kb=0, found=False),
        _Swap(anon=524_289, swap_kb=0, found=True),
        _Swap(anon=524_289, swap_kb=4, found=False),
        _Swap(anon=524_289, swap_kb=None, found=False),
    ],
)
def test_swap_would_have_helped(case: _Swap) -> None:
    report = replace(machine(active_anon=case.anon), tasks=ROWS, kernel="6.1.0")
    report = with_memory(report, total_swap_kb=case.swap_kb)
    assert ("swap" in changes_of(report)) == case.found


def test_swap_is_no_answer_for_nodes() -> None:
    for scope in ("cpuset", "mempolicy", "sysrq"):
        assert "swap" not in changes_of(on_machine(scope=scope, mems_allowed="0", nodemask="0"))


def test_without_a_table_the_limit_is_all_there_is_to_change() -> None:
    assert list(changes_of(in_group(tasks=()))) == ["limit"]
    assert changes_of(on_machine(tasks=())) == {}
