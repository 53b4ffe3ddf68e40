"""Numbers that no kernel prints: they are damage, and nothing fails over them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.explain.explanation import explain
from oomkit.klog import read_bytes, replay_all
from oomkit.records import to_json
from oomkit.render.layout import Terminal
from oomkit.render.terminal import plain_lines
from oomkit.views.explain_json import report_object
from oomkit.views.explain_report import explanation_report
from tests.klog.logs import bytes_of, manifest

NUMBER = re.compile(rb"\d+")
NAMES = sorted(row["file"] for row in manifest())
NUMBERS = st.sampled_from(
    [b"9" * 400, b"-" + b"9" * 400, b"9" * 20, b"18446744073709551616", b"99", b"-1", b"0", b""]
    + [text.encode() for text in ("\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT THREE}" * 30)]
)


def told(data: bytes) -> list[str]:
    """All that is said of a log's reports."""
    lines: list[str] = []
    for report in replay_all(read_bytes(data)):
        explanation = explain(report)
        lines += plain_lines(explanation_report(explanation, 1), Terminal())
        lines.append(to_json(report_object(explanation)).decode())
    return lines


@given(name=st.sampled_from(NAMES), data=st.data(), number=NUMBERS, everywhere=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_number_may_be_anything(
    name: str, data: st.DataObject, number: bytes, everywhere: bool
) -> None:
    log = bytes_of(name)[:40_000]
    places = list(NUMBER.finditer(log))
    at = data.draw(st.sampled_from(range(len(places))))
    start, end = places[at].span()
    before = log[max(start - 6, 0) : start]
    if everywhere:
        damaged = re.sub(re.escape(before) + rb"\d+", lambda _: before + number, log)
    else:
        damaged = log[:start] + number + log[end:]
    told(damaged)


HEAD = (
    b"[  1.000000] hog invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), "
    b"order=%b, oom_score_adj=0\n"
)


@pytest.mark.parametrize("order", [b"99999", b"9" * 400, b"-99999"])
def test_an_order_no_page_has_is_damage(order: bytes) -> None:
    report = next(iter(read_bytes(HEAD % order)))
    assert report.order is None
    assert "line_damaged" in {problem.kind for problem in report.problems}


def test_a_row_of_impossible_numbers_is_not_used() -> None:
    table = (
        b"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n",
        b"[    500]     0   500     1000      200    49152        0             0 small\n",
        b"[    501]     0   501     1000 " + b"9" * 40 + b"   49152        0             0 odd\n",
        b"[    502]     0   502     1000      200    49152        0             0 last\n",
    )
    log = HEAD % b"0" + b"".join(b"[  1.000000] " + line for line in table)
    log += b"[  1.000000] Out of memory: Killed process 500 (small) total-vm:4000kB\n"
    (report,) = read_bytes(log)
    assert [task.comm for task in report.tasks] == ["small", "last"]
    assert "row_damaged" in {problem.kind for problem in report.problems}
