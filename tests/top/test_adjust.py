"""oom_score_adj of one process is changed, and of no other."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oomkit.host.stat import parse_stat
from oomkit.kernel.state import Task
from oomkit.top.adjust import AdjustError, Adjustment
from tests.host.fake import FakeProc, stat_line


@pytest.fixture
def child() -> Iterator[Task]:
    process = subprocess.Popen(["sleep", "1000"])
    stat = parse_stat(Path(f"/proc/{process.pid}/stat").read_bytes())
    start_s = stat.start_ticks // os.sysconf("SC_CLK_TCK")
    adj = int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())
    yield Task(pid=process.pid, comm="sleep", start_s=start_s, oom_score_adj=adj)
    process.kill()
    process.wait()


def adj_of(task: Task) -> int:
    return int(Path(f"/proc/{task.pid}/oom_score_adj").read_text())


def test_ones_own_process_can_be_raised(child: Task) -> None:
    with Adjustment(child) as adjustment:
        adjustment.write(999)
    assert adj_of(child) == 999


def test_a_process_that_exited_is_not_changed_and_neither_is_a_later_one(child: Task) -> None:
    with Adjustment(child) as adjustment:
        os.kill(child.pid, 9)
        os.waitpid(child.pid, 0)
        with pytest.raises(AdjustError, match=rf"sleep\[{child.pid}\] has exited"):
            adjustment.write(999)
    with pytest.raises(AdjustError, match="has exited"):
        Adjustment(child)


def test_a_pid_that_is_another_process_now_is_refused(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.process(50, stat=stat_line(50, start_ticks=1000))
    ticks = os.sysconf("SC_CLK_TCK")
    task = Task(pid=50, comm="old", start_s=1000 // ticks + 1)
    with pytest.raises(AdjustError, match=r"old\[50\] has exited; its pid is another process's"):
        Adjustment(task, proc_root=str(tmp_path))
    same = Task(pid=50, comm="old", start_s=1000 // ticks)
    with Adjustment(same, proc_root=str(tmp_path)) as adjustment:
        adjustment.write(-7)
    assert (tmp_path / "50/oom_score_adj").read_text().startswith("-7")


def test_the_old_file_is_written_where_the_kernel_has_that_one(tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    proc.process(50, stat=stat_line(50, start_ticks=0))
    proc.file("50/oom_adj", "")
    task = Task(pid=50, comm="old", start_s=0)
    with Adjustment(task, "oom_adj", str(tmp_path)) as adjustment:
        adjustment.write(-17)
    assert (tmp_path / "50/oom_adj").read_text() == "-17"


_LOWER = """
import os, sys
from oomkit.kernel.state import Task
from oomkit.top.adjust import Adjustment, AdjustError
pid, start_s, value = map(int, sys.argv[1:])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    with Adjustment(Task(pid=pid, comm="sleep", start_s=start_s)) as adjustment:
        adjustment.write(value)
except AdjustError as error:
    print(error)
"""


def test_what_is_not_allowed_is_said_in_one_line(child: Task) -> None:
    values = map(str, (child.pid, child.start_s, child.oom_score_adj - 1))
    done = subprocess.run(
        [sys.executable, "-c", _LOWER, *values], check=True, capture_output=True, text=True
    )
    root = os.geteuid() == 0
    why = "it is another user's" if root else "lowering it needs CAP_SYS_RESOURCE"
    assert done.stdout == (
        f"oom_score_adj of sleep[{child.pid}] can't be changed: permission denied; {why}\n"
    )
    assert adj_of(child) == child.oom_score_adj
