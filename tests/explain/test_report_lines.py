"""A report's own lines: each field is found, and nothing of a line is lost."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.explain.report_lines import MAX_CHARS, MarkedLine, marked_lines, meanings
from oomkit.klog.reader import read_bytes
from oomkit.printable import printable
from tests.klog.logs import bytes_of

LOGS = Path(__file__).parents[2] / "tests/data/oom-logs"
_NAMED = re.compile(r"(?<![\w.-])([A-Za-z_+-]{2,})[:=] ?-?\d+")


def marked(lines: list[str], page_kb: int = 4) -> list[MarkedLine]:
    """The lines marked, numbered from 1."""
    return list(marked_lines(enumerate(lines, 1), page_kb))


def fields(*lines: str) -> dict[str, tuple[str, str]]:
    """The fields of some lines by key: their text and size."""
    return {
        piece.field: (piece.text, piece.size)
        for line in marked(list(lines))
        for piece in line.pieces
        if piece.field
    }


@pytest.mark.parametrize(
    "name",
    [
        "m-5.15-pve-lxc-php-fpm-german-date.log",
        "m-5.4-k8s-pause-all-minus998-quoted.log",
        "g-6.6.32-rt-ti-arm64-cifs-order2.log",
        "s-5.13-ubuntu-sysrq-order-1.log",
        "g-6.x-colmap-french-date.log",
    ],
)
def test_every_named_number_of_a_report_is_explained(name: str) -> None:
    data = bytes_of(name)
    text = data.decode(errors="replace").splitlines()
    (report, *_) = read_bytes(data)
    lines = marked(text[report.source.line - 1 : report.source.end_line], report.page_kb)
    silent = {
        number
        for line in lines
        for piece in line.pieces
        if not piece.field
        for number in _NAMED.findall(piece.text)
    }
    assert silent == set()
    explained = meanings(lines)
    assert all(one.text and one.source for one in explained.values())
    assert {key.split("/")[0] for key in explained} >= {"tasks", "decision"}


def test_amounts_are_said_for_people_in_the_units_of_their_line() -> None:
    found = fields(
        "[1.0] Mem-Info:",
        "[1.0] active_anon:256 inactive_anon:0 isolated_anon:0",
        "[1.0] Node 0 DMA free:15360kB min:16kB low:20kB high:24kB reserved_highatomic:0KB",
        "[1.0] 524288 pages RAM",
        "[1.0] memory: usage 1048576kB, limit 9007199254740988kB, failcnt 7",
        "[1.0] Memory cgroup stats for /a:",
        "[1.0] anon 1073741824",
        "[1.0] Out of memory: Killed process 7 (x y) total-vm:2048kB, anon-rss:1024kB",
    )
    assert found["memory/active_anon"] == ("active_anon:256", "1.00 MiB")
    assert found["memory/free"] == ("free:15360kB", "15.0 MiB")
    assert found["memory/pages RAM"] == ("524288 pages RAM", "2.00 GiB")
    assert found["memcg/memory usage"] == ("memory: usage 1048576kB", "1.00 GiB")
    assert found["memcg/memory limit"] == ("limit 9007199254740988kB", "no limit")
    assert found["memcg/failcnt"] == ("failcnt 7", "")
    assert found["memcg/anon"] == ("anon 1073741824", "1.00 GiB")
    assert found["decision/victim"] == ("Killed process 7 (x y)", "")
    assert found["decision/anon-rss"] == ("anon-rss:1024kB", "1.00 MiB")


def test_flags_and_cells_have_their_meaning() -> None:
    found = fields(
        "[1.0] a b invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0",
        "[1.0] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "[1.0] [    812]  1000   812   300000   200000      1048576       256          -17 my app",
    )
    assert found["request/invoker"][0] == "a b invoked "
    assert {"request/GFP_HIGHUSER_MOVABLE", "request/__GFP_COMP"} <= set(found)
    assert found["tasks/rss"] == ("200000", "781 MiB")
    assert found["tasks/pgtables_bytes"] == ("1048576", "1.00 MiB")
    assert found["tasks/oom_score_adj"] == ("-17", "")
    assert found["tasks/name"] == ("my app", "")


_PARTS = st.sampled_from(
    ["invoked oom-killer: ", "gfp_mask=0x", "memory: usage 1kB, limit ", "[ 7] 1 2 3 4 x",
     "[ pid ] uid tgid total_vm rss name", "anon 1", "Memory cgroup stats for /", " kB", "1*4kB ",
     "Killed process 7 (", "CPU: 1 PID: 2 Comm: ", "Tainted: P ", "=", ":", "<b>", "\t", "\x1b"]
)  # fmt: skip


@given(st.lists(st.lists(_PARTS | st.text(max_size=8), max_size=8).map("".join), max_size=12))
def test_nothing_of_a_line_is_lost(lines: list[str]) -> None:
    found = marked(lines)
    assert ["".join(piece.text for piece in line.pieces) for line in found] == [
        printable(line[:MAX_CHARS].expandtabs()) for line in lines
    ]
    meanings(found)


def test_a_line_without_end_is_cut() -> None:
    (line,) = marked(["x" * 10**6 + " invoked oom-killer"])
    assert sum(len(piece.text) for piece in line.pieces) == MAX_CHARS
