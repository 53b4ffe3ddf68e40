"""Which lines make a report: doubled screens, heads, tables, weak parts, traces, others."""

from typing import Any

import pytest

from oomkit.klog.lines.line import Line
from oomkit.klog.report.assembler import Assembler
from tests.klog.test_belonging import (
    CALLER,
    FRAMES,
    HEAD,
    KILL,
    OTHER,
    REAPED,
    ROW,
    SUMMARY,
    TABLE,
    killed,
    kinds,
    read,
    whole,
)

DB = [(10.0 + i / 10, text) for i, text in enumerate(whole(7, "db"))]
WEB = [(20.0 + i / 10, text) for i, text in enumerate(whole(8, "web"))]
FAILURE = "db: page allocation failure: order:3, mode:0x1(X)"


# -- screens that overlap ------------------------------------------------------------------------


def test_a_report_that_was_copied_again_below_another_is_one_more() -> None:
    """What is over is not looked back at: the lines are of no open report."""
    found = read(*DB, *WEB, *DB)
    assert [(r.invoker, r.source.line, len(r.tasks)) for r in found] == [
        ("db", 1, 2), ("web", 7, 2), ("db", 13, 2)]  # fmt: skip
    assert killed(read(*DB, *WEB, *DB[2:])) == [[7], [8], [7]]


@pytest.mark.parametrize("again", [0, 1, 4, 5])
def test_the_last_report_copied_again_is_one(again: int) -> None:
    """From its head or its end on; with a trace and a long table, which are taken in one go."""
    rows = [(20.2, ROW.format(100 + n, "a")) for n in range(9)]
    trace = [(20.05, f" {name}+0x1/0x2") for name in ("dump_stack", "dump_header", "out_of_memory")]
    for long in (WEB, [WEB[0], *trace, WEB[1], *rows, *WEB[2:]]):
        copy = long[long.index(WEB[again]) :]
        found = read(*DB, *long, *copy)
        assert killed(found) == [[7], [8]]
        notes = [p.line for p in found[1].problems if p.kind == "lines_repeated"]
        first = len(DB) + len(long) + 1
        assert notes == list(range(first, first + len(copy)))
        # What comes then is of it as before.
        late = read(*DB, *long, *copy, (20.6, REAPED.format(8, "web")))
        assert [len(r.reaped) for r in late] == [0, 1]


def test_only_a_clock_that_went_back_shows_a_copy() -> None:
    twice = [(10.0, HEAD.format("db")), (10.1, TABLE), (10.2, ROW.format(5, "a"))]
    (found,) = read(*twice, (10.2, ROW.format(5, "a")), (10.2, ROW.format(6, "b")))
    # A row that stands there twice is noted by its number, not as a screen.
    assert [row.pid for row in found.tasks] == [5, 6]
    (found,) = read(*twice, (10.1, ROW.format(4, "x")), (10.2, ROW.format(6, "b")))
    assert [row.pid for row in found.tasks] == [5, 4, 6]
    assert "lines_repeated" not in kinds(found)


def test_lines_without_a_stamp_are_no_copies() -> None:
    found = read(*whole(7, "db"), *whole(7, "db"))
    assert killed(found) == [[7], [7]]
    assert [kinds(report) for report in found] == [[], []]


# -- heads, tables -------------------------------------------------------------------------------


def test_a_head_without_its_mask_needs_a_stamp() -> None:
    assert read("db invoked oom-killer:") == []
    (found,) = read((1.0, "db invoked oom-killer:"))
    assert (found.invoker, found.gfp_mask) == ("db", None)


def test_a_second_head_notes_that_reports_are_mixed() -> None:
    first, second = read(*DB[:3], (10.3, HEAD.format("x")), (10.4, KILL.format(9, "x")))
    assert [(p.kind, p.line) for p in first.problems if p.kind == "interleaved"] == [
        ("interleaved", 4)]  # fmt: skip
    assert "interleaved" not in kinds(second)
    # Not after its end, nor after lines that are no head's.
    assert "interleaved" not in kinds(read(*DB, *WEB)[0])
    trace = [(1.0, f"{name}+0x1/0x2") for name in ("dump_header", "oom_kill_process")]
    assert "interleaved" not in kinds(read(*trace, *DB)[0])


def test_a_table_whose_head_is_cut_is_due() -> None:
    (found,) = read(*DB[:1], (10.1, "[  pid  ]   uid  tgid"), DB[-1])
    assert "no_table" in kinds(found)
    (alone,) = read((1.0, "[  pid  ]   uid  tgid"))
    assert alone.tasks == ()


def test_the_width_of_the_pids_column_tells_the_version() -> None:
    narrow = TABLE.replace("[  pid  ]", "[ pid ]")
    wide, slim = (read(*DB[:1], (10.1, head), *DB[2:4])[0] for head in (TABLE, narrow))
    assert wide.kernel_range != slim.kernel_range


def test_a_single_row_by_itself_is_no_table() -> None:
    assert read(ROW.format(5, "a")) == []
    (found,) = read(ROW.format(5, "a"), ROW.format(7, "db"))
    assert [row.pid for row in found.tasks] == [5, 7]


# -- parts without a head ------------------------------------------------------------------------


def test_a_memory_part_below_a_failure_is_the_failures() -> None:
    memory = ("Mem-Info:", "active_anon:1 inactive_anon:2 isolated_anon:0", "39 pages RAM")
    assert read(FAILURE, *memory) == []
    (found,) = read(FAILURE, *memory, *whole(7, "db"))
    assert (found.memory, found.source.line) == (None, 5)
    # A second one is another report's.
    found = read(FAILURE, *memory, *memory, KILL.format(7, "db"))[0]
    assert found.memory is not None
    assert found.source.line == 5


def test_statistics_of_a_cgroup_that_another_report_names_are_no_report() -> None:
    stats = ("Memory cgroup stats for /a:", "anon 4096", "file 0")
    summary = SUMMARY.format(7, "db").replace("global_oom", "oom_memcg=/a")
    assert len(read(*stats)) == 1
    part = ("Memory cgroup stats for /a:", "anon 5", "file 1")
    (one,) = read(*whole(7, "db")[:4], *part, summary, KILL.format(7, "db"), *stats)
    assert killed([one]) == [[7]]
    other = (stats[0].replace("/a", "/b"), *stats[1:])
    assert len(read(*whole(7, "db")[:4], *part, summary, KILL.format(7, "db"), *other)) == 2


def test_the_counters_of_a_cgroup_begin_a_report() -> None:
    usage = ("memory: usage 80kB, limit 100kB, failcnt 7", "swap: usage 1kB, limit 2kB, failcnt 0")
    (found,) = read(*usage)
    assert found.scope == "memcg"
    assert read(usage[0]) == []
    ended = read(*whole(7, "db"), *usage)
    assert [(r.scope, len(r.killed)) for r in ended] == [("global", 1), ("memcg", 0)]


def test_the_callers_line_below_a_panic_names_its_kernel() -> None:
    panic = "Kernel panic - not syncing: System is deadlocked on memory"
    (found,) = read(panic, CALLER)
    assert (found.kernel, found.invoker) == ("6.1.0-18", "db")
    (again,) = read(panic, CALLER, CALLER.replace("6.1.0-18", "5.4.0"))
    assert again.kernel == "6.1.0-18"
    (killed_one,) = read(*whole(7, "db"), CALLER)
    assert killed_one.kernel is None


@pytest.mark.parametrize("name", FRAMES)
def test_any_of_the_killers_frames_may_be_the_first_that_is_left(name: str) -> None:
    frames = (name, *[frame for frame in FRAMES if frame != name])
    (found,) = read(*frames, KILL.format(7, "db"))
    assert len(found.call_trace) == 3
    (named,) = read(CALLER, *frames, KILL.format(7, "db"))
    assert (named.kernel, named.source.line) == ("6.1.0-18", 1)


def test_a_caller_is_of_one_trace() -> None:
    trace = (*FRAMES, KILL.format(7, "db"))
    first, second = read(CALLER, *trace, *trace)
    assert (first.kernel, second.kernel) == ("6.1.0-18", None)


def test_words_of_a_trace_alone_are_none() -> None:
    for text in ("dump_header", "oom_kill_process failed", "out_of_memory is a function"):
        assert read(text, text, KILL.format(7, "db"))[0].call_trace == ()
    decoded = ("dump_header (mm/oom_kill.c:460)", "oom_kill_process (mm/oom_kill.c:1036)")
    (found,) = read(*whole(7, "db")[:1], *decoded, *whole(7, "db")[1:])
    assert found.call_trace == ("dump_header", "oom_kill_process")


def test_lines_of_the_head() -> None:
    cpuset = "db cpuset=/ mems_allowed=0-1"
    (found,) = read(HEAD.format("db"), cpuset, CALLER, "Call Trace:", *FRAMES, *whole(7, "db")[1:])
    assert (found.cpuset, found.mems_allowed, found.kernel) == ("/", "0-1", "6.1.0-18")
    assert len(found.call_trace) == 3
    (second,) = read(HEAD.format("db"), CALLER, CALLER.replace("6.1.0-18", "5.4.0"),
                     *whole(7, "db")[1:])  # fmt: skip
    assert second.kernel == "6.1.0-18"
    headless = read(FRAMES[0], FRAMES[1], cpuset, KILL.format(7, "db"))
    assert headless[0].cpuset is None


# -- what its callers ask ------------------------------------------------------------------------


def assembled(*lines: Any) -> tuple[Assembler, list[bool]]:
    """An assembler that took lines, and which of them were of use."""
    assembler = Assembler("x.log")
    used = [
        assembler.accept(Line(number=i, text=text, stamped=True, uptime_s=float(i)))[1]
        for i, text in enumerate(lines, start=1)
    ]
    return assembler, used


def test_what_was_of_use() -> None:
    _, used = assembled(OTHER, HEAD.format("db"), OTHER, TABLE, ROW.format(5, "a"), OTHER)
    assert used == [False, True, False, True, True, False]
    _, used = assembled("Linux version 6.1.0 (gcc)", FAILURE, "Mem-Info:", "39 pages RAM")
    assert used == [False, False, True, True]


def test_in_which_part_a_report_is() -> None:
    assembler, _ = assembled(HEAD.format("db"))
    assert (assembler.in_table, assembler.columns, assembler.in_memory) == (False, None, False)
    assembler, _ = assembled(HEAD.format("db"), "Mem-Info:")
    assert (assembler.in_table, assembler.in_memory) == (False, True)
    assembler, _ = assembled(HEAD.format("db"), "Mem-Info:", "Memory cgroup stats for /a:")
    assert not assembler.in_memory
    assembler, _ = assembled(HEAD.format("db"), "Mem-Info:", TABLE)
    assert (assembler.in_table, assembler.in_memory) == (True, False)
    assert assembler.columns is not None
    for end in (SUMMARY.format(7, "db"), KILL.format(7, "db"), HEAD.format("x")):
        assembler, _ = assembled(HEAD.format("db"), "Mem-Info:", TABLE, end)
        assert (assembler.in_table, assembler.columns, assembler.in_memory) == (False, None, False)
    assembler, _ = assembled(HEAD.format("db"), "Mem-Info:", KILL.format(7, "db"))
    assert not assembler.in_memory


def test_a_line_of_another_program_is_of_no_report() -> None:
    assembler = Assembler("x.log")
    for text in whole(7, "db"):
        assert assembler.accept(Line(number=1, text=text, stamped=True, tag="app")) == ([], False)
    assembler.accept(Line(number=1, text="Manual OOM execution", stamped=True, tag="app"))
    assembler.accept(Line(number=2, text=HEAD.format("db")))
    (report,) = assembler.flush()
    assert report.scope == "sysrq"


def test_lines_that_were_put_together_or_cut_are_noted() -> None:
    assembler = Assembler("x.log")
    assembler.accept(Line(number=1, text=HEAD.format("db")), wrapped=True)
    assembler.accept(Line(number=2, text=KILL.format(7, "db"), cut=True))
    assembler.accept(Line(number=3, text=OTHER, cut=True), wrapped=True)
    (report,) = assembler.flush()
    assert [(p.kind, p.line) for p in report.problems if p.line] == [
        ("line_wrapped", 1), ("line_damaged", 2)]  # fmt: skip
