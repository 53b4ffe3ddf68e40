"""Every clean report reads the same in every wrapping, and damage degrades it without breaking."""

import random
from functools import cache
from typing import Any

import pytest

from oomkit.klog import Report, read_bytes
from oomkit.klog.lines.clean import clean, split_joined
from oomkit.klog.lines.prefix import strip_prefix
from tests.klog.logs import bytes_of
from tests.klog.styles import STYLES

CLEAN = [
    "g-2.6.32-431-el6-java.log",
    "g-2.6.36-39-arm-rascal-f951.log",
    "g-3.10.0-514-el7-sed-mysqld.log",
    "g-4.0-rc1-resvtest-quoted.log",
    "g-5.10-rc3-next-stress-ng-adj1000.log",
    "g-6.6.32-rt-ti-arm64-cifs-order2.log",
    "m-3.6-hierarchy-mal-quoted.log",
    "m-5.2-rc7-leaker.log",
    "m-6.7.4-arch-rsync-adj200.log",
    "p-3.19-rc1-resvtest-all-protected.log",
    "p-5.15-rc4-memcg-then-panic_on_oom.log",
    "p-6.8.1-armv7-nas5xx-nfsd.log",
    "s-5.13-ubuntu-sysrq-order-1.log",
]


@cache
def bare_lines(name: str) -> list[str]:
    lines = []
    for raw in clean(bytes_of(name).decode("utf-8", "replace")).split("\n"):
        lines += [text for part in split_joined(raw) if (text := strip_prefix(part, 1).text)]
    return lines


def gist(report: Report) -> dict[str, Any]:
    memory, memcg = report.memory, report.memcg
    return {
        "invoker": report.invoker,
        "gfp_mask": report.gfp_mask,
        "order": report.order,
        "scope": report.scope,
        "cgroup": report.cgroup,
        "tasks": [(row.pid, row.comm, row.rss_pages) for row in report.tasks],
        "complete": report.table_complete,
        "killed": [(k.pid, k.comm, k.total_vm_kb, k.oom_score_adj) for k in report.killed],
        "panic": report.panic,
        "ram": memory.ram_pages if memory else None,
        "swap": memory.total_swap_kb if memory else None,
        "zones": len(memory.zones) if memory else 0,
        "memcg": memcg.memory if memcg else None,
    }


@cache
def expected(name: str) -> list[dict[str, Any]]:
    return [gist(report) for report in read_bytes(STYLES["bare"](bare_lines(name)).encode())]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", CLEAN)
def test_wrapping_changes_nothing(name: str, style: str) -> None:
    text = STYLES[style](bare_lines(name))
    assert [gist(report) for report in read_bytes(text.encode())] == expected(name)


@pytest.mark.parametrize("style", ["dmesg", "syslog", "journal json", "kubernetes", "cut at 80"])
@pytest.mark.parametrize("name", CLEAN)
def test_lost_lines_lose_no_more_than_themselves(name: str, style: str) -> None:
    """With lines dropped at random, victims that still have their line are all found."""
    for seed in range(8):
        dice = random.Random(seed)
        lines = [line for line in bare_lines(name) if dice.random() > 0.1]
        reports = list(read_bytes(STYLES[style](lines).encode()))
        told = sum("Killed process" in line for line in lines)
        chosen_only = sum("Kill process" in line for line in lines)
        chosen_only += sum("oom_reaper: reaped" in line for line in lines)
        killed = [victim for report in reports for victim in report.killed]
        assert told <= len(killed) <= told + chosen_only
        rows = {row.pid for report in reports for row in report.tasks}
        assert rows <= {pid for want in expected(name) for pid, _, _ in want["tasks"]}
        assert len(reports) <= len(expected(name)) + 1


@pytest.mark.parametrize("name", CLEAN)
def test_a_log_cut_anywhere_gives_what_is_left(name: str) -> None:
    lines = bare_lines(name)
    text = STYLES["syslog and stamp"](lines)
    for cut in range(0, len(text), max(len(text) // 23, 1)):
        for piece in (text[:cut], text[cut:]):
            for report in read_bytes(piece.encode()):
                assert report.problems or report.killed or report.panic


def test_two_reports_at_once_are_distinguished_by_caller_ids() -> None:
    """Lines of two CPUs, each with its caller id, go to two reports."""
    first, second = bare_lines(CLEAN[4]), bare_lines(CLEAN[7])
    mixed = []
    for i in range(max(len(first), len(second))):
        mixed += [f"[  100.{i:06}][  T211] {line}" for line in first[i : i + 1]]
        mixed += [f"[  100.{i:06}][T23793] {line}" for line in second[i : i + 1]]
    found = {r.invoker: gist(r) for r in read_bytes("\n".join(mixed).encode())}
    assert found["stress-ng-brk"] == expected(CLEAN[4])[0]
    assert found["leaker"] == expected(CLEAN[7])[0]


DECOYS = """
Jun  1 10:00:00 web mysqld[99]: Out of memory (Needed 128 bytes)
Jun  1 10:00:00 web java[99]: java.lang.OutOfMemoryError: Java heap space
Jun  1 10:00:00 web sudo: root : COMMAND=/bin/grep invoked oom-killer /var/log/messages
Jun  1 10:00:00 web bash[77]: Out of memory: Killed process 1 (init) is what to look for
Jun  1 10:00:00 web nginx: 2024/01/01 [alert] worker process 1 exited on signal 9
Jun  1 10:00:01 web kernel: [100.000001] foo: page allocation failure: order:4, mode:0x40d0
Jun  1 10:00:01 web kernel: [100.000002] Mem-Info:
Jun  1 10:00:01 web kernel: [100.000003] active_anon:1 inactive_anon:2 isolated_anon:0
Jun  1 10:00:01 web kernel: [100.000004] Free swap  = 0kB
Jun  1 10:00:01 web kernel: [100.000005] 16384 pages RAM
Jun  1 10:00:02 web kernel: [200.000001] [drm] 2 0 3 ready
Jun  1 10:00:02 web kernel: [200.000002] Kernel panic - not syncing: Attempted to kill init!
The line "kernel: Out of memory: Killed process" is printed by the OOM killer.
"""


def test_nothing_is_invented() -> None:
    assert list(read_bytes(DECOYS.encode())) == []
