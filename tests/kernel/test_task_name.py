"""Which processes a person means."""

import pytest

from oomkit.kernel.cgroup_name import TaskNameError, find_task, find_tasks
from oomkit.kernel.state import Memory, Snapshot, Task

MACHINE = Snapshot(
    kernel="6.12",
    memory=Memory(total_ram_pages=1),
    tasks=(
        Task(pid=5, comm="web"), Task(pid=6, comm="web"), Task(pid=7, comm="6"),
        Task(pid=8, comm="gnome-shell-cal"), Task(pid=9, comm="webby", has_mm=False),
        Task(pid=10, comm="77"), Task(pid=11, comm=""),
    ),
)  # fmt: skip


@pytest.mark.parametrize(("given", "pids"), [
    ("5", [5]), ("6", [6]), ("web", [5, 6]), ("77", [10]),
    ("gnome-shell-calendar-server", [8]), ("gnome-shell-cal", [8]),
])  # fmt: skip
def test_a_pid_goes_before_a_name_and_a_name_means_all_of_it(given: str, pids: list[int]) -> None:
    assert [task.pid for task in find_tasks(MACHINE, given)] == pids


@pytest.mark.parametrize(("given", "text"), [
    ("wep", "no process wep in this snapshot; near: web"),
    ("shell", "no process shell in this snapshot; near: gnome-shell-cal"),
    ("zzz", "no process zzz in this snapshot"), ("99", "no process 99 in this snapshot"),
    ("", "no process  in this snapshot"),
])  # fmt: skip
def test_near_names_are_named(given: str, text: str) -> None:
    with pytest.raises(TaskNameError) as caught:
        find_tasks(MACHINE, given)
    assert str(caught.value) == text


def test_one_process_is_one() -> None:
    assert find_task(MACHINE, "5").pid == 5
    with pytest.raises(TaskNameError):
        find_task(MACHINE, "web")
