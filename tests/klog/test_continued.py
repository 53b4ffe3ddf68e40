"""What lines below one that tells of a death add to it, and the coding of raw mails, by hand."""

from typing import Any

import pytest

from oomkit.klog.evidence import Evidence
from oomkit.klog.lines.clean import QuotedPrintable
from oomkit.klog.lines.line import Line
from oomkit.klog.records import Source
from oomkit.klog.userspace.continued import CONTINUED


def told(by: str, **fields: Any) -> Evidence:
    source = Source(file="log", line=10, end_line=10)
    return Evidence(**{"source": source, "by": by, "kind": "kill", "text": "killed", **fields})


def below(number: int, text: str, tag: str | None = None) -> Line:
    return Line(number=number, text=text, tag=tag)


UNIT = {"unit": "db.service"}
CACHE = "because cache 9kB is below limit 12kB for oom_score_adj 0"
CACHE_ADDED = "file cache 9kB was below its limit of 12kB"


@pytest.mark.parametrize(("by", "held", "line", "added"), [
    # systemd names the unit again: of another one it is another matter.
    ("systemd", UNIT, below(11, "db.service: Consumed 1.5s CPU time, 276.5M memory peak."),
     {"used_kb": 283_136}),
    ("systemd", UNIT, below(11, "web.service: Consumed 1.5s CPU time, 276.5M memory peak."), None),
    ("systemd", UNIT, below(11, "db.service: Failed with result 'oom-kill'."), None),
    # Batch systems sum up within eight lines.
    ("lsf", {}, below(18, "Max Memory :   512 MB"), {"used_kb": 524_288}),
    ("lsf", {}, below(19, "Max Memory :   512 MB"), None),
    ("lsf", {}, below(11, "Average Memory : 512 MB"), None),
    ("pbs", {}, below(18, "PBS Job Id: 77.head"), {"job": "77.head"}),
    ("pbs", {}, below(19, "PBS Job Id: 77.head"), None),
    ("pbs", {"job": "5"}, below(11, "PBS Job Id: 77.head"), None),
    ("pbs", {}, below(11, "Job done"), None),
    # earlyoom looks whether the process is gone; another program's line is none of it.
    ("earlyoom", {}, below(11, "process exited after 0.1 seconds"), {"exited": True}),
    ("earlyoom", {}, below(11, "process 77 did not exit", "earlyoom"), {"exited": False}),
    ("earlyoom", {}, below(11, "kill failed: Timer expired"), {"exited": False}),
    ("earlyoom", {}, below(11, "process exited", "systemd"), None),
    ("earlyoom", {}, below(11, "mem avail: 900 of 7000 MiB"), None),
    # lmkd, once.
    ("lmkd", {}, below(11, "to free 900kB because system is under critical memory pressure"),
     {"used_kb": 900, "reason": "system is under critical memory pressure"}),
    ("lmkd", {"used_kb": 7}, below(11, "to free 900kB because system is under low memory pressure"),
     None),
    ("lmkd", {}, below(11, "to free 900kB"), None),
    # The driver's lines: what it frees, and for whom; why; and one that adds nothing.
    ("lowmemorykiller", {}, below(11, "to free 900kB on behalf of 'kswapd0' (63)"),
     {"text": "killed to free 900kB on behalf of 'kswapd0' (63)", "used_kb": 900,
      "invoker": "kswapd0[63]"}),
    ("lowmemorykiller", {}, below(11, "to free 900kB"),
     {"text": "killed to free 900kB", "used_kb": 900}),
    ("lowmemorykiller", {}, below(11, CACHE), {"text": f"killed {CACHE}", "reason": CACHE_ADDED}),
    ("lowmemorykiller", {}, below(11, "Free memory is 5kB above reserved"), {}),
    ("lowmemorykiller", {}, below(11, "something else"), None),
])  # fmt: skip
def test_what_the_next_line_adds(
    by: str, held: dict[str, Any], line: Line, added: dict[str, Any] | None
) -> None:
    before = told(by, **held)
    found = CONTINUED[by](before, line)
    assert found == (None if added is None else told(by, **{**held, **added}))


@pytest.mark.parametrize(("lines", "decoded"), [
    # Not in use: a line may end in "=", where mails do not break.
    (["a=", "b"], ["a=", "b"]), (["x" * 68 + "=", "b"], ["x" * 68 + "=", "b"]),
    (["x" * 77 + "=", "b"], ["x" * 77 + "=", "b"]),
    # Once "=3D" or a break at column 70 to 76 has shown it, all that follows is decoded.
    (["a=3Db", "c=20d=09e"], ["a=b", "c d e"]),
    (["x" * 69 + "=", "b=3Dc"], ["", "x" * 69 + "b=c"]),
    (["x" * 75 + "=", "b"], ["", "x" * 75 + "b"]),
    (["a=3D", "b=", "c=", "d"], ["a=", "", "", "bcd"]),
    # A line without end is let go at 1000 characters.
    (["a=3D", "y" * 998 + "=", "z"], ["a=", "", "y" * 998 + "z"]),
    (["a=3D", "y" * 999 + "=", "z"], ["a=", "y" * 999 + "=", "z"]),
    (["a=3D", "=41"], ["a=", "=41"]),
])  # fmt: skip
def test_lines_of_a_raw_mail(lines: list[str], decoded: list[str]) -> None:
    """RFC 2045 breaks lines at 76 characters by "=", and writes that as "=3D"; a tab is a blank."""
    mail = QuotedPrintable()
    assert [mail.decode(line) for line in lines] == decoded
    assert mail.active == (lines != decoded)
