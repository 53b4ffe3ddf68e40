"""What stands before a line's text: which parts belong to it, and how far they are looked for."""

from typing import Any

import pytest

from oomkit.klog.lines.line import Line
from oomkit.klog.lines.prefix import PrefixStripper, strip_prefix

DAY = "2024-01-04T10:00:00"
UP = {"stamped": True, "uptime_s": 5.000001}


def fields(line: Line) -> dict[str, Any]:
    """What differs from a line without a prefix."""
    plain = Line(number=7, text="")
    names = ("text", "stamped", "time", "uptime_s", "host", "tag", "tag_pid", "caller")
    return {n: getattr(line, n) for n in names if getattr(line, n) != getattr(plain, n)}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("x", {"text": "x"}),
        ("  x  ", {"text": "x"}),
        ("[ 5.000001] x", {"text": "x", **UP}),
        ("[ 5.00001] x", {"text": "[ 5.00001] x"}),
        ("[ 5.000001][ T77] x", {"text": "x", **UP, "caller": "T77"}),
        ("[ 5.000001] [C1] x", {"text": "x", **UP, "caller": "C1"}),
        ("[ 5.000001][ X77] x", {"text": "[ X77] x", **UP}),
        # Two of them: the first is the line's.
        ("[ 5.000001][ T77][ T88] x", {"text": "x", **UP, "caller": "T77"}),
        ("[ 5.000001] c0   4711 x", {"text": "x", **UP, "caller": "c0   4711"}),
        ("[ 5.000001] <4>x", {"text": "x", **UP, "caller": "<4>"}),
        # A stamp of the change since the last one says no time.
        ("[ +0.000001] x", {"text": "x", "stamped": True}),
        ("[ 5.000001 < 0.000003>] x", {"text": "x", **UP}),
        # kmsg and netconsole.
        ("4,1,5000001,-;x", {"text": "x", **UP}),
        ("4,1,5000001,-,caller=T77; x ", {"text": "x", **UP, "caller": "T77"}),
        ("> 4,1,5000001,-;x", {"text": "x", **UP}),
        ("4,1,5000001;x", {"text": "4,1,5000001;x"}),
        # syslog.
        ("Jan  4 10:00:00 web kernel: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00", "host": "web"}),
        ("Jan  4 10:00:00 web Kernel: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00", "host": "web"}),
        ("Jan  4 10:00:00 web kernel[12]: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00", "host": "web"}),
        ("Jan  4 10:00:00 web app[12]: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00", "host": "web", "tag": "app",
          "tag_pid": 12}),
        ("Jan  4 10:00:00 web app: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00", "host": "web", "tag": "app"}),
        ("Jan  4 10:00:00 web app:", {"stamped": True, "time": "01-04T10:00:00",
                                      "host": "web", "tag": "app"}),
        # The kernel's stamp behind it makes it the kernel's, whatever the tag.
        ("Jan  4 10:00:00 web app[12]: [ 5.000001] x",
         {"text": "x", **UP, "time": "01-04T10:00:00", "host": "web", "tag_pid": 12}),
        ("Jan  4 10:00:00 web kernel: [ 5.000001] x",
         {"text": "x", **UP, "time": "01-04T10:00:00", "host": "web"}),
        # A host before the stamp, behind it, or both: the one nearest to the text.
        ("Jan  4 10:00:00 [ 5.000001] web kernel: x",
         {"text": "x", **UP, "time": "01-04T10:00:00", "host": "web"}),
        ("Jan  4 10:00:00 out kernel: [ 5.000001] kernel: x",
         {"text": "x", **UP, "time": "01-04T10:00:00", "host": "out"}),
        ("Jan  4 10:00:00 out kernel: [ 5.000001] in kernel: x",
         {"text": "x", **UP, "time": "01-04T10:00:00", "host": "in"}),
        ("[ 5.000001] web app: x", {"text": "web app: x", **UP}),
        # ISO 8601, with and without host and tag.
        (f"{DAY}Z x y", {"text": "x y", "stamped": True, "time": f"{DAY}Z"}),
        (f"{DAY} web kernel: x",
         {"text": "x", "stamped": True, "time": DAY, "host": "web"}),
        (f"{DAY} web app[7]: x",
         {"text": "x", "stamped": True, "time": DAY, "host": "web", "tag": "app", "tag_pid": 7}),
        (f"{DAY} app[7]: x",
         {"text": "x", "stamped": True, "time": DAY, "tag": "app", "tag_pid": 7}),
        (f"{DAY} app: x", {"text": "app: x", "stamped": True, "time": DAY}),
        (f"{DAY} kernel: x", {"text": "x", "stamped": True, "time": DAY}),
        (f"{DAY} kernel: <4>x", {"text": "x", "stamped": True, "time": DAY}),
        (f"{DAY} kernel: <8>x", {"text": "<8>x", "stamped": True, "time": DAY}),
        (f"{DAY} web app: <4>x",
         {"text": "<4>x", "stamped": True, "time": DAY, "host": "web", "tag": "app"}),
        # RFC 5424.
        (f"<4>1 {DAY}Z web kernel - - - x",
         {"text": "x", "stamped": True, "time": f"{DAY}Z", "host": "web"}),
        (f"<4>1 {DAY}Z web app 12 - - x",
         {"text": "x", "stamped": True, "time": f"{DAY}Z", "host": "web", "tag": "app",
          "tag_pid": 12}),
        (f"<4>1 {DAY}Z web app x - [a b] x",
         {"text": "x", "stamped": True, "time": f"{DAY}Z", "host": "web", "tag": "app"}),
        (f"<4>{DAY}Z web kernel: x",
         {"text": "x", "stamped": True, "time": f"{DAY}Z", "host": "web"}),
        # Other dates.
        ("1704358800.25 x",
         {"text": "x", "stamped": True, "time": "2024-01-04T09:00:00.250000+00:00"}),
        ("[Thu Jan  4 10:00:00 2024] x",
         {"text": "x", "stamped": True, "time": "2024-01-04T10:00:00"}),
        ("Thu Jan  4 10:00:00 CET 2024 x",
         {"text": "x", "stamped": True, "time": "2024-01-04T10:00:00"}),
        ("Jan 4 2024 10:00:00 x", {"text": "x", "stamped": True, "time": "2024-01-04T10:00:00"}),
        ("[dim. 19 avril 18:03:01 2026] x",
         {"text": "x", "stamped": True, "time": "2026-04-19T18:03:01"}),
        ("[dim. 19 nomonth 18:03:01 2026] x", {"text": "x", "stamped": True}),
        ("19 nomonth 18:03:01 x", {"text": "19 nomonth 18:03:01 x"}),
        ("nomonth 19 18:03:01 x", {"text": "nomonth 19 18:03:01 x"}),
        ("avril 19 18:03:01 web kernel: x",
         {"text": "x", "stamped": True, "time": "04-19T18:03:01", "host": "web"}),
        # Levels, facilities, severities, caller ids without a stamp.
        ("<4>x", {"text": "x", "stamped": True}),
        ("kern  :warn  : x", {"text": "x", "stamped": True}),
        (f"WARNING {DAY} x", {"text": "x", "stamped": True, "time": DAY}),
        ("[ T77] x", {"text": "x", "stamped": True, "caller": "T77"}),
        # Quoted.
        ("> > [ 5.000001] x", {"text": "x", **UP}),
        ("> x", {"text": "x"}),
        ("| x", {"text": "x"}),
        (": x", {"text": "x"}),
        # A tag of the kernel's behind what no known logger writes.
        ("10:00:00 kernel: x", {"text": "x", "stamped": True}),
        ("one 10:00:00 two kernel: x", {"text": "x", "stamped": True}),
        ("one kernel: x", {"text": "x", "stamped": True}),
        ("one two kernel: x", {"text": "one two kernel: x"}),
        ("kernel: x", {"text": "x", "stamped": True}),
        ("kernel:", {"stamped": True}),
        ("kernel:x", {"text": "kernel:x"}),
        (f"/var/log/m:{DAY}Z web kernel: x",
         {"text": "x", "stamped": True, "time": f"{DAY}Z", "host": "web"}),
        ("/var/log/m:Jan  4 10:00:00 web kernel: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00", "host": "web"}),
        ("/var/log/m:Jan  4 10:00:00 kernel: x",
         {"text": "x", "stamped": True, "time": "01-04T10:00:00"}),
        (f"{DAY} web more words kernel: x",
         {"text": "x", "stamped": True, "time": DAY, "host": "web"}),
        (f"{DAY} a b c d e f kernel: x",
         {"text": "x", "stamped": True, "time": DAY, "host": "a"}),
        (f"{DAY} a b c d e f g kernel: x",
         {"text": "a b c d e f g kernel: x", "stamped": True, "time": DAY}),
    ],
)  # fmt: skip
def test_what_stands_before_a_text(raw: str, expected: dict[str, Any]) -> None:
    found = strip_prefix(raw, 7)
    assert fields(found) == expected
    assert found.number == 7
    # As one of a log's lines.
    assert fields(PrefixStripper().strip(raw, 7)) == expected


@pytest.mark.parametrize(("before", "found"), [(200, True), (389, True), (390, False)])
def test_the_kernels_stamp_stands_within_400_characters(before: int, found: bool) -> None:
    raw = "x" * before + "[ 5.000001] text"
    assert len("[ 5.000001]") == 11
    assert (strip_prefix(raw, 7).uptime_s == 5.000001) == found


@pytest.mark.parametrize(("before", "found"), [(193, True), (194, False)])
def test_a_bare_tag_stands_within_200_characters(before: int, found: bool) -> None:
    raw = "y" * (before - 1) + " kernel: x"
    assert (strip_prefix(raw, 7).text == "x") == found


def test_a_far_tag_stands_within_120_characters() -> None:
    for before, found in ((113, True), (114, False)):
        raw = f"{DAY} " + "y" * (before - 1) + " kernel: x"
        assert (strip_prefix(raw, 7).text == "x") == found, before


def test_no_more_than_six_pieces_are_taken() -> None:
    assert strip_prefix("<4>" * 6 + "x", 7).text == "x"
    assert strip_prefix("<4>" * 7 + "x", 7).text == "<4>x"


# -- as a line of a log --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "spaced"),
    [
        ("x", 0), (" x", 1), ("\tx", 1), ("x ", 2), (" x ", 3), ("x\t", 0),
        ("[ 5.000001] x", 0), ("[ 5.000001] x ", 2), (" [ 5.000001] x", 0),
        (" [ 5.000001] x ", 3),
    ],
)  # fmt: skip
def test_blanks_at_a_lines_ends_are_noted(raw: str, spaced: int) -> None:
    """They tell where a line was cut; behind a stamp what stands before it is no part of that."""
    line = PrefixStripper().strip(raw, 7)
    assert (line.spaced, line.width, line.text) == (spaced, len(raw), "x")


@pytest.mark.parametrize(
    ("raw", "text", "cut"),
    [
        ("[ 5.000001] free:12kB>", "free:12kB", True),
        ("[ 5.000001] free:12kB…", "free:12kB", True),
        ("[ 5.000001] free:12kB...", "free:12kB", True),
        ("free:12kB>", "free:12kB", True),
        ("free:12kB...", "free:12kB...", False),
        ("free:12kB", "free:12kB", False),
        ("<free>", "<free>", False),
    ],
)
def test_the_end_that_a_pager_hid(raw: str, text: str, cut: bool) -> None:
    line = PrefixStripper().strip(raw, 7)
    assert (line.text, line.cut) == (text, cut)


UNKNOWN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("box7| Mem-Info:", {}),
    ("[2-4711.0400] Mem-Info:", {"uptime_s": 4711.04}),
    ("[4711.04@0] Mem-Info:", {"uptime_s": 4711.04}),
    ("[4711.0] Mem-Info:", {}),
    ("a 4,1,5000001,-,caller=T7; Mem-Info:", {"uptime_s": 5.000001, "caller": "T7"}),
    (f"a {DAY}Z b| Mem-Info:", {"time": f"{DAY}Z"}),
    ("a Jan  4 10:00:00 b| Mem-Info:", {"time": "01-04T10:00:00"}),
)


@pytest.mark.parametrize(("raw", "expected"), UNKNOWN)
def test_what_a_prefix_of_unknown_form_says(raw: str, expected: dict[str, Any]) -> None:
    line = PrefixStripper().strip(raw, 7)
    assert fields(line) == {"text": "Mem-Info:", "stamped": True, **expected}


def test_lines_of_others_teach_no_prefix() -> None:
    stripper = PrefixStripper()
    line = stripper.strip("Jan  4 10:00:00 web app: box7| Mem-Info:", 7)
    assert line.text == "box7| Mem-Info:"
    assert stripper.strip("box7| x", 8).text == "box7| x"
    stripper.strip("box7| Mem-Info:", 9)
    assert stripper.strip("box8| x", 10).text == "x"
    assert stripper.without_learned("box9| db") == "db"


# -- whole lines behind the same prefix ----------------------------------------------------------


def alike(first: str, *raws: str) -> int | None:
    """How many of the lines are like the first; None where that can't be told."""
    stripper = PrefixStripper()
    stripper.strip(first, 1)
    whole = stripper.whole_lines(r"(?P<word>a+)\s*")
    return None if whole is None else len(whole.beginning(list(raws), 0))


@pytest.mark.parametrize(
    ("first", "raws", "count"),
    [
        ("[ 5.000001] x", ("[ 5.000002] a", "[ 6.000001] aa", "[ 6.000001] b", "[ 7.000001] a"), 2),
        ("[ 5.000001] x", ("a",), 0),
        ("[ 5.000001] x", ("[ 5.000002][ T7] a",), 0),
        ("[ 5.000001][ T7] x", ("[ 5.000002][ T7] a", "[ 5.000002][ T8] a"), 1),
        ("[ 5.000001][ T7] x", ("[ 5.000002] a",), 0),
        ("x", ("a", "aa", "[ 5.000001] a"), 2),
        ("Jan  4 10:00:00 web kernel: x",
         ("Jan  4 10:00:00 web kernel: a", "Jan  4 10:00:01 web kernel: a"), 1),
        ("Jan  4 10:00:00 web kernel: [ 5.000001] x",
         ("Jan  4 10:00:00 web kernel: [ 6.000001] a", "Jan  4 10:00:00 web kernel: a"), 1),
        # What stands before the text can't be cut off the next one.
        ("<4>x", ("<4>a",), None),
    ],
)  # fmt: skip
def test_lines_that_are_like_the_last(first: str, raws: tuple[str, ...], count: int | None) -> None:
    assert alike(first, *raws) == count


def test_lines_with_something_behind_their_text_are_taken_one_by_one() -> None:
    stripper = PrefixStripper()
    stripper.strip('"Mem-Info:",', 1)
    stripper.strip('Mem-Info:",', 2)
    assert stripper.whole_lines("a") is None
