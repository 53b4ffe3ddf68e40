"""What the live view looks at, when, and what follows: on a made machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.host.scan import Scanner
from oomkit.kernel.versions import rules_for
from oomkit.top.guard_state import GuardReader
from oomkit.top.monitor import HEAD, Look, Monitor
from tests.host.fake import MEMINFO, FakeProc, memcg_v2, stat_line, status_text, write

KERNEL = "6.12.1"
MIB = 256


class Clocks:
    """Time, and the CPU time that whole looks take."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cpu = 0.0
        self.cost = 0.0

    def cpu_clock(self) -> float:
        self.cpu += self.cost / 2
        return self.cpu


def resident(proc: FakeProc, pid: int, pages: int) -> None:
    proc.process(
        pid,
        stat=stat_line(pid, b"p%d" % pid, rss_pages=pages),
        status=status_text(rss_kb=(pages * 4, 0, 0)),
    )


def available(proc: FakeProc, kb: int, swap_kb: int = 360000) -> None:
    text = MEMINFO.replace("MemAvailable:     640000", f"MemAvailable: {kb}")
    proc.file("meminfo", text.replace("SwapFree:         360000", f"SwapFree: {swap_kb}"))


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    made = FakeProc(tmp_path / "proc", KERNEL)
    for i in range(HEAD + 10):
        resident(made, 100 + i, 40 * MIB - i * MIB)
    return made


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    root = tmp_path / "cgroup"
    write(root / "cgroup.controllers", "memory\n")
    memcg_v2(root / "web", maximum="8192000\n")
    return root


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def monitor(proc: FakeProc, groups: Path, clocks: Clocks, tmp_path: Path) -> Iterator[Monitor]:
    scanner = Scanner(proc_root=str(proc.root), cgroup_root=str(groups), keep_open=False)
    guard = GuardReader(str(tmp_path / "none"), (), str(proc.root))
    with Monitor(
        scanner,
        rules_for(KERNEL),
        guard,
        names_root=str(tmp_path),
        clock=lambda: clocks.now,
        cpu_clock=clocks.cpu_clock,
    ) as made:
        yield made


def sizes(look: Look) -> dict[int, int]:
    return {row.task.pid: row.task.rss_pages for row in look.ranked}


def test_the_first_look_is_whole_and_ranks_all(monitor: Monitor) -> None:
    look = monitor.look()
    assert look.whole_s == look.at_s
    assert [row.task.pid for row in look.ranked[:3]] == [100, 101, 102]
    assert look.decision.victims[0].pid == 100
    assert len(look.ranked) == HEAD + 10


def test_in_between_the_head_alone_is_read_again(
    monitor: Monitor, proc: FakeProc, clocks: Clocks
) -> None:
    first = monitor.look()
    last = 100 + HEAD + 9
    resident(proc, 101, 60 * MIB)
    resident(proc, last, 70 * MIB)
    clocks.now += 1
    look = monitor.look()
    assert look.whole_s == first.whole_s
    assert sizes(look)[101] == 60 * MIB
    assert sizes(look)[last] == sizes(first)[last]
    assert look.decision.victims[0].pid == 101


def test_what_is_in_the_window_is_read_as_well(
    monitor: Monitor, proc: FakeProc, clocks: Clocks
) -> None:
    monitor.look()
    last = 100 + HEAD + 9
    resident(proc, last, 70 * MIB)
    clocks.now += 1
    assert monitor.look(pids=[last]).decision.victims[0].pid == last


def test_a_process_that_is_gone_leaves_the_list(
    monitor: Monitor, proc: FakeProc, clocks: Clocks
) -> None:
    monitor.look()
    for name in ("stat", "status", "oom_score_adj", "oom_score", "cgroup"):
        (proc.root / "100" / name).unlink()
    (proc.root / "100").rmdir()
    clocks.now += 1
    look = monitor.look()
    assert 100 not in sizes(look)
    assert look.decision.victims[0].pid == 101


@pytest.mark.parametrize(
    ("cost_s", "age_s", "whole"),
    [
        (0.001, 1.9, False),  # never more often than that
        (0.001, 2.1, True),
        (0.020, 3.9, False),  # half a per cent of a CPU
        (0.020, 4.1, True),
        (0.100, 9.9, False),
        (0.100, 10.1, True),  # not older than that, as long as it costs two per cent at most
        (0.400, 19.9, False),
        (0.400, 20.1, True),
    ],
)
def test_whole_looks_are_paced_by_their_cost(
    monitor: Monitor, clocks: Clocks, cost_s: float, age_s: float, *, whole: bool
) -> None:
    clocks.cost = 2 * cost_s  # it is asked before and after
    first = monitor.look()
    clocks.now += age_s
    assert (monitor.look().whole_s != first.whole_s) is whole


@pytest.mark.parametrize(
    ("kb", "swap_kb", "cost_s", "whole"),
    [
        (640000 - 19000, 360000, 0.01, False),
        (640000 - 21000, 360000, 0.01, True),  # RAM is 2027520 kB
        (640000, 360000 - 21000, 0.01, True),
        (640000 + 21000, 360000, 0.01, True),
        (640000 - 21000, 360000, 0.06, False),  # that would be 6 % of a CPU
    ],
)
def test_the_whole_machine_is_looked_at_when_memory_moved(
    monitor: Monitor, proc: FakeProc, clocks: Clocks, kb: int, swap_kb: int, cost_s: float,
    *, whole: bool,
) -> None:  # fmt: skip
    clocks.cost = 2 * cost_s
    first = monitor.look()
    available(proc, kb, swap_kb)
    clocks.now += 1
    look = monitor.look()
    assert (look.whole_s != first.whole_s) is whole
    assert look.trend.left_bytes == (kb + swap_kb) * 1024


def test_a_look_at_all_can_be_asked_for(monitor: Monitor, clocks: Clocks) -> None:
    monitor.look()
    clocks.now += 0.5
    look = monitor.look(whole=True)
    assert look.whole_s == look.at_s


def test_the_time_to_run_out_is_what_is_left_by_the_rate(
    monitor: Monitor, proc: FakeProc, clocks: Clocks
) -> None:
    assert monitor.look().trend.change_bytes_s is None
    for second in range(1, 16):
        clocks.now += 1
        available(proc, 640000 - second * 8000, 360000 - second * 2000)
        trend = monitor.look().trend
        if second < 3:
            assert trend.empty_s is None
    left_kb = 640000 + 360000 - 15 * 10000
    assert trend.left_bytes == left_kb * 1024
    assert trend.change_bytes_s == pytest.approx(-10000 * 1024)
    assert trend.empty_s == pytest.approx(left_kb / 10000)


def test_memory_that_wavers_or_comes_back_does_not_run_out(
    monitor: Monitor, proc: FakeProc, clocks: Clocks
) -> None:
    for second in range(20):
        available(proc, 640000 + (second % 2) * 100)
        assert monitor.look().trend.empty_s is None
        clocks.now += 1
    for second in range(20):
        available(proc, 640000 + second * 9000)
        assert monitor.look().trend.empty_s is None
        clocks.now += 1


def test_cgroups_grow_by_what_two_whole_looks_saw(
    monitor: Monitor, groups: Path, clocks: Clocks
) -> None:
    assert monitor.look().growth == {}
    write(groups / "web" / "memory.current", "4505600\n")
    clocks.now += 4
    look = monitor.look(whole=True)
    assert look.growth["/web"] == pytest.approx((4505600 - 409600) / 4)


def test_one_cgroup_is_looked_at_closely(monitor: Monitor, groups: Path, proc: FakeProc) -> None:
    write(groups / "web" / "memory.stat", "anon 300000\nfile 100000\n")
    look = monitor.look()
    group = monitor.group(look, "/web")
    assert group is not None
    assert group.row.found is not None
    assert group.row.found.limit_bytes == 8192000
    assert monitor.group(look, "/gone") is None
    proc.file("101/cmdline", b"server\0--port\0")
    assert monitor.command_line(look, 101) == "server --port"
    assert monitor.command_line(look, 102) is None
    assert monitor.command_line(look, 1) is None
