"""The reports that are open: what each still lacks, how near a line is, what a group is."""

from typing import Any

import pytest

from oomkit.klog.lines.line import Line
from oomkit.klog.records import Killed, Selected, Summary
from oomkit.klog.report.builder import Builder
from oomkit.klog.report.header import parse_header
from oomkit.klog.report.open_reports import OpenReports
from tests.klog.test_belonging import (
    CHOICE,
    GROUP,
    HEAD,
    KILL,
    MEMBER,
    OLD_KILL,
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

CHOSEN = Selected(pid=7, comm="db", line=3)
NAMED = Summary(pid=7, comm="db", line=3)
VICTIM = Killed(pid=7, comm="db", line=4)


def line(number: int = 10, **fields: Any) -> Line:
    return Line(number=number, text=fields.pop("text", ""), **fields)


def opened(*parts: dict[str, Any], first: Line | None = None) -> tuple[OpenReports, list[Builder]]:
    """Reports that are open, each with some parts; the last one is the youngest."""
    reports = OpenReports("x.log")
    built = []
    for fields in parts:
        report = reports.new(first or line(1, text=HEAD))
        report.header = parse_header(HEAD.format("db"))
        for name, value in fields.items():
            setattr(report, name, value)
        built.append(report)
    return reports, built


# -- what a report lacks -------------------------------------------------------------------------

MEMORY, WITH_TABLE = "39 pages RAM", {"columns": ("rss", "oom_score_adj")}


@pytest.mark.parametrize(
    ("fields", "lacks"),
    [
        ({}, "memory table summary selected end"),
        (WITH_TABLE, "summary selected end"),
        ({"tasks": [1]}, "summary selected end"),
        ({"summary": NAMED}, "selected end"),
        ({"selected": CHOSEN}, "end"),
        ({"summary": NAMED, "selected": CHOSEN}, "end"),
        ({"killed": [VICTIM]}, ""),
        ({"panic": "x"}, ""),
        ({"no_killable": True}, ""),
        ({"exiting": True}, ""),
        ({"foreign": True}, ""),
    ],
)
def test_what_a_report_still_lacks(fields: dict[str, Any], lacks: str) -> None:
    """By the order in which the kernel prints: head, memory, table, choice, end."""
    for part in ("memory", "table", "summary", "selected", "end"):
        reports, (report,) = opened(fields)
        assert (reports.lacking(line(), wants=part) is report) == (part in lacks.split()), part


def test_a_memory_part_is_not_begun_twice() -> None:
    for text, lacks in ((MEMORY, False), ("Mem-Info:", True)):
        reports, (report,) = opened({})
        assert report.memory.parse_line(text)
        assert (reports.lacking(line(), wants="memory") is report) == lacks


def test_the_youngest_that_lacks_it_gets_a_part() -> None:
    reports, (first, second) = opened({}, {})
    assert reports.lacking(line(), wants="end") is second
    reports, (first, second) = opened({}, {"panic": "x"})
    assert reports.lacking(line(), wants="end") is first
    third = reports.lacking(line(7), wants="memory")
    assert third is first
    first.panic = "x"
    assert reports.lacking(line(7), wants="memory").first.number == 7


@pytest.mark.parametrize(
    ("number", "uptime_s", "then_s", "near"),
    [
        (2, None, None, True),
        (201, None, None, True),
        (202, None, None, False),
        (1, None, None, False),
        (2, 11.0, 10.0, True),
        (2, 11.1, 10.0, False),
        (2, 9.0, 10.0, True),
        (2, 8.9, 10.0, False),
        (2, 99.0, None, True),
        (2, None, 99.0, True),
    ],
)
def test_a_report_waits_for_200_lines_and_a_second(
    number: int, uptime_s: float | None, then_s: float | None, near: bool
) -> None:
    reports, (report, _) = opened({}, {"panic": "x"}, first=line(1, uptime_s=then_s))
    found = reports.unfinished(line(number, uptime_s=uptime_s), wants="end")
    assert (found is report) == near


def test_only_a_report_with_a_head_waits() -> None:
    reports, (report, _) = opened({"header": None}, {"panic": "x"})
    assert reports.unfinished(line(2), wants="end") is None
    report.header = parse_header(HEAD.format("db"))
    assert reports.unfinished(line(2), wants="end") is report
    # The youngest of those that lack it is looked at, and no other.
    reports, (_, far, _) = opened({}, {}, {"panic": "x"})
    far.last = line(2)
    assert reports.unfinished(line(202), wants="end") is far
    assert reports.unfinished(line(203), wants="end") is None


# -- what is about a victim ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "now", "found"),
    [
        ({}, {}, True),
        ({"uptime_s": 10.0}, {"uptime_s": 310.0}, True),
        ({"uptime_s": 10.0}, {"uptime_s": 310.1}, False),
        ({"uptime_s": 310.1}, {"uptime_s": 10.0}, False),
        ({"uptime_s": 10.0}, {}, False),
        ({}, {"uptime_s": 10.0}, False),
        ({"time": "2026-11-24T03:00:00.1"}, {"time": "2026-11-24T03:00:00.9"}, True),
        ({"time": "2026-11-24T03:00:00"}, {"time": "2026-11-24T03:00:01"}, True),
    ],
)
def test_a_line_about_no_known_victim_is_of_the_last_end(
    last: dict[str, Any], now: dict[str, Any], found: bool
) -> None:
    """No later than 300 s, as far as stamps show."""
    reports, (report,) = opened({"killed": [VICTIM]})
    report.last = line(5, **last)
    assert (reports.of_victim(line(6, **now), 99) is report) == found
    report.killed = []
    assert reports.of_victim(line(6, **now), 99) is None


def test_how_long_ago_the_last_end_was_is_told_by_the_youngest() -> None:
    reports, (first, second) = opened({"killed": [VICTIM]}, {"panic": "x"})
    first.last, second.last = line(5, uptime_s=10.0), line(6, uptime_s=500.0)
    assert reports.of_victim(line(7, uptime_s=510.0), 99) is second
    assert reports.of_victim(line(7, uptime_s=10.0), 99) is None


def test_a_line_about_a_victim_is_of_the_report_that_has_it() -> None:
    reports, (first, second) = opened({}, {})
    first.add_killed(VICTIM)
    second.add_killed(Killed(pid=8, comm="web"))
    assert reports.of_victim(line(), 7) is first
    assert reports.of_victim(line(), 8) is second
    assert reports.of_victim(line(), 9) is second
    assert OpenReports("x.log").of_victim(line(), 7) is None
    reports, _ = opened({})
    assert reports.of_victim(line(), 7) is None


@pytest.mark.parametrize(
    ("last", "now", "joined"),
    [
        ({"uptime_s": 10.0}, {"uptime_s": 11.0}, True),
        ({"uptime_s": 11.0}, {"uptime_s": 10.0}, True),
        ({"uptime_s": 10.0}, {"uptime_s": 11.1}, False),
        ({"uptime_s": 10.0}, {}, False),
        ({}, {"uptime_s": 10.0}, False),
        ({}, {}, False),
        ({"time": "2026-11-24T03:00:00.1"}, {"time": "2026-11-24T03:00:00.9"}, True),
        ({"time": "2026-11-24T03:00:00"}, {"time": "2026-11-24T03:00:01"}, False),
        ({"time": "2026-11-24T03:00:00"}, {}, False),
        ({}, {"time": "2026-11-24T03:00:00"}, False),
    ],
)
def test_a_choice_below_its_kill_line_was_printed_at_that_moment(
    last: dict[str, Any], now: dict[str, Any], joined: bool
) -> None:
    reports = OpenReports("x.log")
    report = reports.new(line(1, **last))
    report.killed = [VICTIM]
    assert (reports.killed_just_now(line(2, **now), 7, "summary") is report) == joined
    assert reports.killed_just_now(line(2, **now), 8, "summary") is None
    report.panic = "x"
    assert reports.killed_just_now(line(2, **now), 7, "summary") is None


def test_whose_choice_a_process_is() -> None:
    reports, (first, second) = opened({"selected": CHOSEN}, {"summary": Summary(pid=8)})
    assert [reports.chose(pid) for pid in (7, 8, 9)] == [True, True, False]
    first.selected, second.summary = None, Summary(pid=None)
    assert [reports.chose(pid) for pid in (7, 8)] == [False, False]


# -- when it is over -----------------------------------------------------------------------------


def test_reports_that_are_over_are_looked_for_every_64_lines_and_after_a_leap() -> None:
    def over(*lines: Line, count: int = 1) -> list[int]:
        reports, (report,) = opened({})
        report.last = line(0, uptime_s=0.0)
        return [len(reports.over_by(one, count)) for one in lines]

    # Its time is up at once; so many lines pass until that is seen.
    near = [line(n, uptime_s=299.0 + n / 64) for n in range(1, 131)]
    assert over(*near).index(1) in range(64, 129)
    assert over(line(5), line(2001))[1] == 1
    assert over(line(5), line(2000))[1] == 0
    assert over(line(5), line(6, uptime_s=301.0))[1] == 1
    assert over(line(2001), count=64) == [1]
    assert OpenReports("x.log").over_by(line(9999)) == []


def test_a_clock_that_went_back_by_more_is_of_another_boot() -> None:
    begun = [(400.0, text) for text in whole(7, "db")[:4]]
    assert killed(read(*begun, (100.0, KILL.format(7, "db")))) == [[7]]
    assert killed(read(*begun, (99.0, KILL.format(7, "db")))) == [[], [7]]


def test_what_is_open_is_named() -> None:
    reports = OpenReports("x.log")
    assert (reports.has_open, reports.youngest) == (False, None)
    assert reports.oldest_open_line == float("inf")
    weak = Builder(line(4))
    reports.add(weak)
    assert (reports.has_open, reports.youngest, reports.oldest_open_line) == (False, weak, 4)
    reports.new(line(3)).header = parse_header(HEAD.format("db"))
    assert (reports.has_open, reports.oldest_open_line) == (True, 3)
    assert reports.youngest is not None
    reports.youngest.panic = "x"
    assert not reports.has_open
    assert len(list(reports.flush())) == 1
    assert not reports.has_open
    assert reports.oldest_open_line == float("inf")


@pytest.mark.parametrize(("number", "asked"), [(1, False), (2, True), (5, True), (6, False)])
def test_a_report_within_four_lines_was_asked_for(number: int, asked: bool) -> None:
    reports = OpenReports("x.log")
    reports.asked_at = 1
    assert reports.new(line(number)).asked == asked
    assert not OpenReports("x.log").new(line(1)).asked


# -- kill lines ----------------------------------------------------------------------------------


def test_a_kill_line_that_stands_again_is_no_report() -> None:
    lines = at(10.0, *whole(7, "db"))
    (found,) = read(*lines, (10.004, OTHER), lines[-1])
    assert killed([found]) == [[7]]
    # With a later stamp it is another death, of a process with the same number.
    assert killed(read(*lines, (12.0, KILL.format(7, "db")))) == [[7], [7]]
    # Without stamps nobody knows.
    assert killed(read(*whole(7, "db"), KILL.format(7, "db"))) == [[7], [7]]


@pytest.mark.parametrize("form", [KILL, OLD_KILL])
def test_a_choice_takes_its_kill_line_before_all_others(form: str) -> None:
    """Of two reports that wait, even the older one."""
    lines = at(10.0, HEAD.format("db"), CHOICE.format(7, "db"), HEAD.format("web"))
    found = read(*lines, (10.1, form.format(7, "db")), (12.0, form.format(9, "x")))
    assert killed(found) == [[7], [9]]


def test_a_summary_without_a_pid_takes_any_kill_line() -> None:
    cut = SUMMARY.format(7, "db").partition(",task=")[0]
    (found,) = read(*whole(7, "db")[:4], cut, KILL.format(9, "x"))
    assert killed([found]) == [[9]]


def test_a_group_by_its_line_takes_all_kill_lines() -> None:
    lines = at(10.0, *whole(7, "db"), GROUP)
    found = read(*lines, (10.1, KILL.format(7, "db")), (12.0, MEMBER), (14.0, MEMBER))
    assert killed(found) == [[7, 8]]
    other = GROUP.replace("/a", "/b")
    two = read(*lines, (10.1, other), (10.2, MEMBER))
    assert [(r.oom_group, len(r.killed)) for r in two] == [("/a", 1), ("/b", 1)]


def test_members_by_the_logs_date() -> None:
    """Where the kernel's stamp is missing, a second of the logger's clock is a moment."""

    def logged(second: str, *texts: str) -> list[str]:
        return [f"Nov 24 03:00:{second} web kernel: {text}" for text in texts]

    chosen = logged("01", *whole(7, "db"))
    assert killed(read(*chosen, *logged("01", MEMBER))) == [[7, 8]]
    assert killed(read(*chosen, *logged("02", MEMBER))) == [[7], [8]]
    assert killed(read(*chosen, MEMBER)) == [[7], [8]]
    # The chosen one's line again is its second kill, with the group.
    (found,) = read(*chosen, *logged("01", MEMBER, KILL.format(7, "db")))
    assert (killed([found]), kinds(found)) == ([[7, 8]], [])


@pytest.mark.parametrize(("count", "grouped"), [(9, True), (10, False)])
def test_without_the_kernels_stamps_ten_heads_are_at_its_limit(count: int, grouped: bool) -> None:
    """Their seconds are those of the logger, which may write late."""
    start = "Nov 24 03:00:01 web kernel: "
    for stamped in (False, True):
        lines = []
        for n in range(count):
            stamp = f"[   {10 + n / 100:.6f}] " if stamped else ""
            lines += [f"{start}{stamp}{text}" for text in whole(100 + n, f"t{n}")]
        found = killed(read(*lines, f"{start}{MEMBER}"))
        assert (len(found) == count) == grouped
    # A stamp of the kernel's clock that went back is of another boot.
    begun = [line for n in range(10) for line in at(10.0 + n / 100, *whole(100 + n, "t"))]
    assert len(read(*begun, (9.0, MEMBER))) == 11


def test_a_member_is_of_the_youngest_that_ended_so() -> None:
    lines = at(10.0, *whole(7, "db"), *whole(9, "app"))
    assert killed(read(*lines, (10.1, MEMBER))) == [[7], [9, 8]]


def test_while_another_waits_for_its_kill_line_there_is_no_group() -> None:
    lines = at(10.0, *whole(7, "db"), *whole(8, "web")[:5])
    assert killed(read(*lines, (10.1, MEMBER))) == [[7], [8]]
    nameless = SUMMARY.format(7, "db").partition(",task=")[0]
    lines = at(10.0, *whole(7, "db"), *whole(9, "x")[:4], nameless)
    assert killed(read(*lines, (10.1, MEMBER))) == [[7], [8]]
    # One that has named another does not wait for this.
    lines = at(10.0, *whole(7, "db"), *whole(9, "x")[:5])
    assert killed(read(*lines, (10.1, MEMBER))) == [[7, 8], []]


def test_members_that_came_before_the_groups_second_kill_are_taken_in() -> None:
    """Whose own lines looked like deaths of another kind, as the group was not known yet."""
    lines = at(10.0, *whole(7, "db"))
    cgroups = MEMBER.replace("Out of memory", "Memory cgroup out of memory")
    (found,) = read(*lines, (10.1, cgroups), (10.2, KILL.format(7, "db")))
    assert [(v.pid, v.killed_as) for v in found.killed] == [(7, "selected"), (8, "oom_group")]
    # A report that has more than kill lines stays what it is.
    two = read(*lines, (10.1, HEAD.format("x")), (10.1, cgroups), (10.2, KILL.format(7, "db")))
    assert killed(two) == [[7], [8]]


def test_of_kill_lines_alone_a_second_one_shows_the_group() -> None:
    first, again = (10.0, KILL.format(7, "db")), (10.5, KILL.format(7, "db"))
    assert killed(read(first, again)) == [[7]]
    (found,) = read(first, (10.2, MEMBER), again)
    assert [(v.pid, v.killed_as) for v in found.killed] == [(7, None), (8, "oom_group")]
    assert killed(read(first, (12.0, KILL.format(7, "db")))) == [[7], [7]]


# -- tables that are mixed -----------------------------------------------------------------------


def test_a_row_with_a_smaller_pid_is_of_a_table_that_had_one_of_the_last_lines() -> None:
    first, second = whole(7, "db"), whole(8, "web")
    for between, joined in ((0, True), (1, True), (2, False)):
        lines = [*first[:4], *second[:1], *second[5:], *[OTHER] * between, ROW.format(6, "low")]
        found = read(*lines)
        assert ([row.pid for row in found[0].tasks] == [5, 7, 6]) == joined, between


def test_no_row_is_of_a_table_that_is_over() -> None:
    found = read(*whole(7, "db"), *whole(8, "web"), ROW.format(9, "late"), ROW.format(10, "late"))
    assert [[row.pid for row in r.tasks] for r in found[:2]] == [[5, 7], [5, 8]]
    # Nor of one without a row.
    found = read(HEAD.format("a"), TABLE, *whole(8, "web"), ROW.format(9, "l"), ROW.format(10, "l"))
    assert [[row.pid for row in r.tasks] for r in found[:2]] == [[], [5, 8]]


# -- closed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("others", "known"), [(254, True), (255, True), (256, False)])
def test_so_many_victims_of_closed_reports_are_known(others: int, known: bool) -> None:
    lines: list[Any] = list(at(10.0, *whole(7, "db")))
    lines += [(1000.0 + n * 400, OLD_KILL.format(1000 + n, "x")) for n in range(others)]
    lines += [(1000.0 + others * 400, OTHER)] * 65
    found = read(*lines, (1001.0 + others * 400, REAPED.format(7, "db")))
    assert (len(found) == others + 1) == known
