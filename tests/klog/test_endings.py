"""How a report ends: what each of its last lines takes, and what may follow it."""

from typing import Any

import pytest

from oomkit.klog.records import Report
from tests.klog.test_belonging import (
    CHOICE,
    GROUP,
    HEAD,
    KILL,
    MEMBER,
    OTHER,
    REAPED,
    ROW,
    SUMMARY,
    TABLE,
    at,
    killed,
    kinds,
    read,
    whole,
)

EXITING = "Out of memory: OOM victim 7 (db) is already exiting. Skip killing the task"
NOBODY = "Out of memory and no killable processes..."
PANIC = "Kernel panic - not syncing: System is deadlocked on memory"
WOULD = "Would have killed process 7 (db). But continuing instead..."
ROWS = (ROW.format(5, "other"), ROW.format(7, "db"))
LATE = (ROW.format(9, "late"), ROW.format(10, "late"))
END_LINES = {
    "summary": SUMMARY.format(7, "db"), "choice": CHOICE.format(7, "db"),
    "kill": KILL.format(7, "db"), "exiting": EXITING, "nobody": NOBODY, "panic": PANIC,
    "spared": WOULD,
}  # fmt: skip


def first_of(*lines: Any) -> Report:
    return read(*lines)[0]


@pytest.mark.parametrize("end", END_LINES)
def test_the_table_is_over_with_the_first_line_below_it(end: str) -> None:
    found = read(HEAD.format("db"), TABLE, *ROWS, END_LINES[end], *LATE)
    assert [row.pid for row in found[0].tasks] == [5, 7]
    assert [row.pid for row in found[1].tasks] == [9, 10]
    # Lost lines are no part of it either.
    lost = first_of(HEAD.format("db"), TABLE, *ROWS, END_LINES[end], "Missed 7 kernel messages")
    assert "table_truncated" not in kinds(lost)
    assert ("lines_lost" in kinds(lost)) == (end in ("summary", "choice", "spared"))
    left = first_of(HEAD.format("db"), TABLE, *ROWS, END_LINES[end], "[...]")
    assert "table_truncated" not in kinds(left)


@pytest.mark.parametrize("end", END_LINES)
def test_rows_without_a_head_are_read_all_the_same(end: str) -> None:
    found = first_of(HEAD.format("db"), *ROWS, END_LINES[end])
    assert [row.pid for row in found.tasks] == [5, 7]
    assert "table_header_missing" in kinds(found)


def test_a_cut_kill_lines_name_stands_elsewhere() -> None:
    cut = "Out of memory: Killed process 7"
    stamped = [(10.0, HEAD.format("db")), (10.0, TABLE), *[(10.0, row) for row in ROWS]]
    by_row = first_of(*stamped, (10.0, cut))
    assert [v.comm for v in by_row.killed] == ["db"]
    headless = first_of((10.0, HEAD.format("db")), *[(10.0, row) for row in ROWS], (10.0, cut))
    assert [v.comm for v in headless.killed] == ["db"]
    by_summary = first_of((10.0, HEAD.format("x")), (10.0, SUMMARY.format(7, "web")), (10.0, cut))
    assert [v.comm for v in by_summary.killed] == ["web"]
    # Without a stamp such a line is a person's, unless a report has chosen that process.
    assert killed(read(HEAD.format("x"), cut)) == [[]]
    assert killed(read(HEAD.format("x"), SUMMARY.format(7, "web"), cut)) == [[7]]
    assert killed(read(HEAD.format("x"), SUMMARY.format(8, "web"), cut)) == [[]]
    assert killed(read(HEAD.format("x"), CHOICE.format(7, "web"), cut)) == [[7]]


def test_who_would_have_been_killed_was_not() -> None:
    found = first_of(*whole(7, "db")[:4], CHOICE.format(7, "db"), WOULD)
    assert (found.would_have, found.killed) == (True, ())
    assert "no_kill_line" not in kinds(found)
    assert read((10.0, WOULD)) == []


def test_the_first_words_on_what_ran_out_count() -> None:
    memcg = KILL.format(7, "db").replace("Out of memory", "Memory cgroup out of memory")
    found = first_of(HEAD.format("db"), CHOICE.format(7, "db"), memcg)
    assert found.kill_text == "Out of memory"
    assert first_of(HEAD.format("db"), memcg).kill_text == "Memory cgroup out of memory"


def test_a_panic_is_that_of_nobody_to_kill() -> None:
    both = f"Kernel panic - not syncing: {NOBODY}"
    found = first_of(*whole(7, "db")[:4], both)
    assert (found.no_killable, found.panic) == (False, NOBODY)
    # A second one is another report's.
    again = read(*whole(7, "db")[:4], PANIC, both)
    assert [r.panic for r in again] == ["System is deadlocked on memory", NOBODY]
    plain = first_of(*whole(7, "db")[:4], NOBODY)
    assert (plain.no_killable, plain.panic) == (True, None)


def test_a_panic_after_a_kill_is_of_the_report_that_waits() -> None:
    lines = (HEAD.format("a"), *whole(7, "db"), PANIC)
    assert [(r.invoker, r.panic is not None) for r in read(*lines)] == [("a", True), ("db", False)]
    end = f"---[ end {PANIC} ]---"
    assert len(read(*lines, end)) == 2
    (other, panicked) = read(*whole(7, "db"), end)
    assert (other.panic, panicked.panic) == (None, "System is deadlocked on memory")


def test_what_is_of_another_kind_ends_nothing() -> None:
    """Below a page allocation failure no line is its own."""
    failure = "db: page allocation failure: order:3, mode:0x1(X)"
    (found,) = read((1.0, failure), (1.0, GROUP), (1.0, MEMBER))
    assert (found.oom_group, killed([found])) == ("/a", [[8]])
    (reaped,) = read((1.0, failure), (1.0, REAPED.format(7, "db")))
    assert killed([reaped]) == [[7]]
    (panicked,) = read((1.0, failure), (1.0, PANIC))
    assert panicked.panic is not None
    assert read((1.0, failure), (1.0, "Kill process 8 (web) sharing same memory")) == []


def test_what_others_repeat_of_the_kernel_ends_nothing() -> None:
    for line in (CHOICE.format(7, "db"), KILL.format(7, "db"), NOBODY, PANIC):
        assert read((1.0, f"OOMKilling {line}")) == []
        assert read((1.0, f"kernel-monitor: {line}")) == []
        assert len(read((1.0, line))) == 1
    # Nor does a person's sentence, unless a stamp shows that it is none.
    for line in (NOBODY, PANIC):
        assert read(f"{line} is what they all say of it to me") == []


def test_a_reaper_of_a_chosen_one_tells_of_its_death() -> None:
    (found,) = read(*at(10.0, *whole(7, "db")[:5], REAPED.format(9, "x")))
    assert [(v.pid, v.told_by, v.killed_as) for v in found.killed] == [(9, "reaper", None)]
    assert [r.pid for r in found.reaped] == [9]
    two = read(*at(10.0, *whole(7, "db")), (999.0, REAPED.format(9, "x")), (999.0, OTHER))
    assert killed(two) == [[7], [9]]
