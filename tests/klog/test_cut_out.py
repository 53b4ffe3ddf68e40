"""Parts that people cut out of a report: each says what it shows, and no more."""

import pytest

from oomkit.klog import Report, read_bytes
from tests.klog.test_styles import CLEAN, bare_lines

TRACES = [name for name in CLEAN if any("oom_kill_process" in line for line in bare_lines(name))]


_LAST = ("pages RAM", "Tasks state", "total_vm", "oom-kill:", "Kill process", "Killed process")


def _between(name: str, first: str, last: tuple[str, ...] = _LAST) -> list[str]:
    lines = bare_lines(name)
    begin = next(i for i, line in enumerate(lines) if first in line)
    rest = enumerate(lines[begin + 1 :], begin + 1)
    return lines[begin : next(i for i, line in rest if any(word in line for word in last))]


def _read(lines: list[str]) -> list[Report]:
    return list(read_bytes(("\n".join(lines) + "\n").encode()))


@pytest.mark.parametrize("first", ["dump_header", "oom_kill_process"])
@pytest.mark.parametrize("name", TRACES)
def test_a_trace_without_head_is_a_report(name: str, first: str) -> None:
    """Neither the head nor the caller's line is there, only the stack and what memory held."""
    (whole, *_) = _read(bare_lines(name))
    lines = _between(name, first)
    found = _read(lines)
    assert len(found) == 1
    assert (found[0].killed, found[0].invoker) == ((), None)
    assert found[0].source.line <= 2
    assert found[0].scope == whole.scope or whole.scope in ("sysrq", None)
    assert "no_header" in {problem.kind for problem in found[0].problems}


def test_a_trace_is_found_far_behind_other_lines() -> None:
    others = "Jun  7 10:00:00 web sshd[7]: Accepted publickey for u from 10.0.0.1 port 22 ssh2\n"
    lines = _between("g-3.10.0-514-el7-sed-mysqld.log", "dump_header")
    trace = "".join(f"Jun  7 10:00:01 web kernel: {line}\n" for line in lines)
    (report,) = read_bytes((others * 3000 + trace + others * 3000).encode())
    assert (report.scope, report.source.line) == ("global", 3001)
    assert report.memory is not None


@pytest.mark.parametrize(
    "frames",
    [
        ["__alloc_pages_slowpath+0x1/0x2", "out_of_memory+0x1/0x2"],
        ["schedule_timeout_killable+0x1/0x2", "out_of_memory+0x1/0x2", "handle_mm_fault+0x1/0x2"],
        ["dump_header+0x1/0x2", "warn_alloc+0x1/0x2"],
    ],
)  # fmt: skip
def test_a_stack_that_only_passes_there_is_none(frames: list[str]) -> None:
    assert _read(["Call Trace:", *frames]) == []


def test_rows_alone_are_a_table() -> None:
    name = "g-3.10.0-514-el7-sed-mysqld.log"
    rows = _between(name, "total_vm", ("Kill process",))[1:]
    (report,) = _read(rows)
    assert len(report.tasks) == len(rows)
    assert (report.killed, report.scope, report.table_complete) == ((), None, False)


@pytest.mark.parametrize(
    "lines",
    [
        ["[ 1234]     0  1234    25461    14124      56       24             0 systemd-journal"],
        ["[  200] [drm] 2 0 3 ready", "[  201] 7 8 9 10 11 12 13 foo"],
        ["[2024] 1 2 3 4 5 6 7 a", "[2024] 1 2 3 4 5 6 7 b"],
    ],
)
def test_a_line_that_looks_like_a_row_is_none(lines: list[str]) -> None:
    assert _read(lines) == []


def test_rows_of_32_bit_arm_have_their_page_tables_in_bytes() -> None:
    """Half a page each, which is no number of tables that any process has."""
    (report,) = _read(
        [
            "[   1060]     0  1060     2327      285    14336        0           100 systemd",
            "[   3706]     0  3706      592       73     6144        0             0 bash",
            "[   4207]     0  4207    16873    11539    73728        0             0 cc1",
        ]
    )
    assert [row.pgtables_bytes for row in report.tasks] == [14336, 6144, 73728]


def test_the_memory_part_has_begun_where_its_totals_are_cut_off() -> None:
    """Of a cgroup's report its own part would stand before."""
    (report,) = _read(
        [
            "[ 4563.079551] hog invoked oom-killer: gfp_mask=0x2084d0, order=0, oom_score_adj=0",
            "[ 4563.079563] hog cpuset=/ mems_allowed=0",
            "[ 4563.079821] Mem-Info:",
            "[ 4563.079827] Node 0 DMA per-cpu:",
            "[ 4563.079834] CPU    0: hi:    0, btch:   1 usd:   0",
        ]
    )
    assert (report.scope, report.memory) == ("global", None)


def test_a_trace_whose_addresses_mark_up_has_swallowed_shows_what_ran_out() -> None:
    (report,) = _read(
        [
            "oracle invoked oom-killer: gfp_mask=0x201d2, order=0, oomkilladj=0",
            "Call Trace:",
            "[] out_of_memory+0x8e/0x2f3",
            "[] __alloc_pages+0x27f/0x308",
        ]
    )
    assert (report.scope, report.call_trace[:1]) == ("global", ("out_of_memory",))


def test_statistics_of_a_cgroup_alone_are_of_a_report() -> None:
    """Only the head of a report prints them; the cgroup at its limit comes first."""
    path = "/kubepods/burstable/podbe9f3a11-7fa1-4f50-85d8-c02a8facb612"
    (report,) = _read(
        [
            f"[4936.521612] Memory cgroup stats for {path}: cache:0KB rss:0KB rss_huge:0KB",
            f"[4936.545735] Memory cgroup stats for {path}/966f: cache:0KB rss:52KB rss_huge:0KB",
            f"[4936.576139] Memory cgroup stats for {path}/51a8: cache:0KB rss:115KB rss_huge:0KB",
        ]
    )
    assert (report.scope, report.cgroup, report.killed) == ("memcg", path, ())


def test_siblings_statistics_do_not_name_the_cgroup_at_its_limit() -> None:
    (report,) = _read(
        [f"Memory cgroup stats for /a/{name}: cache:0KB rss:0KB rss_huge:0KB" for name in "bc"]
    )
    assert (report.scope, report.cgroup) == ("memcg", None)


@pytest.mark.parametrize(
    "frames",
    [
        [
            "[<c033f134>] (dump_header) from [<c033e4ac>] (oom_kill_process+0x358/0x3a8)",
            "[<c033e4ac>] (oom_kill_process) from [<c033eddc>] (out_of_memory+0x134/0x36c)",
            "[<c033eddc>] (out_of_memory) from [<c03451a0>] (__alloc_pages_nodemask+0xfc0/0x1180)",
        ],
        [
            " dump_header from oom_kill_process+0x23c/0x248",
            " oom_kill_process from out_of_memory+0x218/0x34c",
            " out_of_memory from __alloc_pages+0xa98/0x1044",
        ],
    ],
)
def test_traces_of_32_bit_arm_show_what_ran_out(frames: list[str]) -> None:
    head = "Compositor invoked oom-killer: gfp_mask=0x7000c0(GFP_KERNEL_ACCOUNT), nodemask=(null), "
    (report,) = _read([f"{head}order=0, oom_score_adj=300", *frames])
    assert report.call_trace == ("dump_header", "oom_kill_process", "out_of_memory")
    assert report.scope == "global"
