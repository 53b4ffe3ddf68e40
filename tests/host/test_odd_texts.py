"""Files of ``/proc`` in whose place something else stands: nothing but that is lost."""

from pathlib import Path

import pytest

from oomkit.host.membership import parse_membership
from oomkit.host.scan import take_snapshot
from tests.host.fake import FakeProc, memcg_v2, write


@pytest.mark.parametrize(("listed", "version", "path"), [
    (b"0\n", None, "/"), (b"0\n", 2, "/"), (b"\n0\n", 1, "/"), (b"4:memory:\n", 1, "/"),
    (b"0::\n0::/a\n", 2, "/a"), (b"4:memory:a\n5:memory:/b\n", 1, "/b"), (b"", 2, "/"),
    (b"0::/../a\n", 2, "/../a"),
])  # fmt: skip
def test_a_line_without_a_path_names_no_cgroup(
    listed: bytes, version: int | None, path: str
) -> None:
    assert parse_membership(listed, version) == path


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    made = FakeProc(tmp_path / "proc")
    made.process(77)
    return made


def test_a_process_whose_membership_is_no_path_is_in_the_root(
    proc: FakeProc, tmp_path: Path
) -> None:
    proc.file("77/cgroup", "0\n")
    write(tmp_path / "cgroup/cgroup.controllers", "memory\n")
    (task,) = take_snapshot(proc_root=str(proc.root), cgroup_root=f"{tmp_path}/cgroup").tasks
    assert (task.pid, task.cgroup) == (77, "/")


def test_what_is_no_number_in_a_list_of_processes_is_passed_over(
    proc: FakeProc, tmp_path: Path
) -> None:
    write(tmp_path / "cgroup/cgroup.controllers", "memory\n")
    memcg_v2(tmp_path / "cgroup/a")
    write(tmp_path / "cgroup/a/cgroup.procs", b"\xff\xff\n77\nx\n-5\n")
    found = take_snapshot(proc_root=str(proc.root), cgroup_root=f"{tmp_path}/cgroup")
    assert [task.pid for task in found.tasks] == [77]
    assert "/a" in [group.path for group in found.memcgs]


def test_a_release_that_is_no_name_of_a_file(proc: FakeProc) -> None:
    proc.file("sys/kernel/osrelease", b"6.12\0x\n")
    found = take_snapshot(proc_root=str(proc.root), boot_root=str(proc.root))
    assert found.kernel.startswith("6.12")
    assert [task.pid for task in found.tasks] == [77]
