"""The parser between lines and reports: when it is at ease, and in which order it tells."""

from typing import Any

import pytest

from oomkit.klog import read_evidence
from oomkit.klog.evidence import Evidence
from oomkit.klog.parser import Parser
from oomkit.klog.records import Report
from tests.klog.test_belonging import HEAD, KILL, OTHER, ROW, TABLE, at, log, whole

TOLD = "Jan  4 10:00:00 pc app[7]: exit status 137"
CRON = "Nov 29 06:25:01 host CRON[4711]: (root) CMD (true)"


def parser_of(*lines: Any, evidence: bool = True) -> Parser:
    parser = Parser("x.log", evidence=evidence)
    parser.push(log(*lines), 1)
    return parser


def lines_of(records: list[Report | Evidence]) -> list[int]:
    return [record.source.line for record in records]


# -- at ease -------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [OTHER, CRON])
@pytest.mark.parametrize(
    ("before", "lines"), [((), 8), (whole(7, "db"), 8), (whole(7, "db")[:4], 40)]
)
def test_after_so_many_lines_of_others_a_parser_is_at_ease(
    before: tuple[str, ...], lines: int, other: str
) -> None:
    """Later where a report waits for its end."""
    for count, at_ease in ((lines, False), (lines + 1, True)):
        # The last line waits for more of it.
        assert parser_of(*before, *[other] * count).idle() == at_ease
    assert parser_of(*before, *[other] * 90, HEAD.format("x"), OTHER).idle() is False
    assert parser_of(*before, *[other] * 90).has_open() == (lines == 40)


def test_lines_taken_the_short_way_are_of_use_too() -> None:
    rows = [ROW.format(100 + n, "x") for n in range(9)]
    frames = [f" f{n}+0x1/0x2" for n in range(9)]
    memory = ["Mem-Info:", *["lowmem_reserve[]: 0 1 2"] * 9]
    for used in ([TABLE, *rows], frames, memory):
        lines = at(1.0, HEAD.format("db"), *[OTHER] * 39, *used, *[OTHER] * 39)
        assert not parser_of(*lines).idle()


# -- the order in which it tells -----------------------------------------------------------------


def test_what_stands_behind_an_open_report_waits_for_it() -> None:
    parser = parser_of(TOLD, *at(1.0, *whole(7, "db")[:4]), TOLD, TOLD, OTHER)
    assert lines_of(parser.drain()) == [1]
    assert parser.drain() == []
    parser.push(log(*at(1.1, *whole(7, "db")[4:]), *[(400.0, OTHER)] * 66), 9)
    assert lines_of(parser.drain()) == [2, 6, 7]
    assert parser.drain() == []
    parser.push(log(TOLD, OTHER), 90)
    assert lines_of(parser.finish()) == [90]


def test_two_open_reports_are_told_in_their_order() -> None:
    parser = parser_of(*at(1.0, HEAD.format("a")), TOLD, *at(1.0, *whole(8, "web")), TOLD, OTHER)
    assert parser.drain() == []
    assert lines_of(parser.finish()) == [1, 2, 3, 9]


def test_what_was_found_comes_out_once() -> None:
    parser = parser_of(TOLD, TOLD, *[OTHER] * 40)
    assert lines_of(parser.drain()) == [1, 2]
    assert parser.finish() == []


# -- one line by itself --------------------------------------------------------------------------


def test_a_line_by_itself_tells_of_others_alone() -> None:
    parser = Parser("x.log", evidence=True)
    parser.glance(f"{TOLD}\n".encode(), 5)
    parser.glance(log((1.0, KILL.format(7, "db"))), 6)
    parser.glance(b"\n", 7)
    assert lines_of(parser.finish()) == [5]
    deaf = Parser("x.log")
    deaf.glance(TOLD.encode(), 5)
    assert deaf.finish() == []


def test_a_line_by_itself_ends_reports_that_are_over() -> None:
    parser = parser_of(*at(1.0, *whole(7, "db")))
    parser.glance(f"[  302.000001] {OTHER}\n".encode(), 2000)
    assert lines_of(parser.drain()) == [1]


# -- what is a line ------------------------------------------------------------------------------


def test_a_line_is_cut_after_4096_characters() -> None:
    start = "Jan  4 10:00:00 pc app[7]: "
    for long, told in ((4096 - len(start), True), (4097 - len(start), False)):
        text = "x " * ((long - 16) // 2) + " exit status 137"
        parser = parser_of(start + text[-long:], OTHER)
        assert (parser.finish() != []) == told


def test_lines_in_a_record_are_not_put_together_by_their_width() -> None:
    wide = "Nov 24 03:00:00 web kernel: " + "#012".join(whole(7, "db"))
    (report,) = parser_of(wide, "four", "words").finish()
    assert isinstance(report, Report)
    assert "line_wrapped" not in [problem.kind for problem in report.problems]


def test_a_death_in_an_object_of_one_line() -> None:
    raw = ('{"kind":"Pod","metadata":{"name":"web"},"status":{"containerStatuses":[{"name":"app",'
           '"state":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}')  # fmt: skip
    (found,) = parser_of(raw, OTHER).finish()
    assert isinstance(found, Evidence)
    assert (found.pod, found.container_name, found.exit_code) == ("web", "app", 137)
    (other,) = parser_of(raw.replace("OOMKilled", "Error"), OTHER).finish()
    assert isinstance(other, Evidence)
    assert (other.kind, other.pod) == ("sigkill", None)


def test_a_line_of_a_program_is_none_of_the_log() -> None:
    parser = Parser("x.log", evidence=True)
    parser.no_log = frozenset({2})
    parser.push(log(TOLD, TOLD, TOLD), 1)
    assert lines_of(parser.finish()) == [1, 3]


# -- what people say -----------------------------------------------------------------------------


def said(*lines: str) -> list[tuple[int, str]]:
    found = read_evidence("".join(f"{line}\n" for line in lines).encode(), "x.log")
    return [(item.source.line, item.kind) for item in found]


TALK = "so the job was then killed by signal 9 on that day"


def test_talk_of_a_death_is_told_once_and_only_where_no_line_shows_it() -> None:
    assert said(TALK) == [(1, "sigkill")]
    assert said("words", TALK, "", TALK) == [(2, "sigkill")]
    assert said(TALK, "", TOLD) == [(3, "sigkill")]
    report = [line.decode() for line in log(*at(1.0, *whole(7, "db"))).splitlines()]
    assert said(TALK, "", *report) == []
    assert said(*report, "", TALK) == []
    over = [line.decode() for line in log(*[(400.0, OTHER)] * 70).splitlines()]
    assert said(*report, *over, TALK) == []


def test_in_a_long_log_a_sentence_is_a_line_like_others() -> None:
    quiet = ["Nov 29 06:25:01 host CRON[4711]: (root) CMD (test -x /usr/sbin/anacron)"] * 1000
    assert said(TALK, *quiet, TALK) == [(1, "sigkill"), (1002, "sigkill")]
