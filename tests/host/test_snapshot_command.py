"""``oomkit snapshot`` as people run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oomkit import read_snapshot
from oomkit.kernel.snapshot_json import SnapshotError, decode_snapshot

OOMKIT = str(Path(sys.executable).with_name("oomkit"))


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([OOMKIT, *arguments], capture_output=True, check=False, timeout=60)


def test_snapshot_on_stdout_holds_this_machine() -> None:
    done = run("snapshot")
    assert done.returncode == 0
    snapshot = decode_snapshot(done.stdout, "stdout")
    assert snapshot.kernel == os.uname().release
    assert os.getpid() in {task.pid for task in snapshot.tasks}
    lines = done.stderr.decode().splitlines()
    assert lines == [f"oomkit: {sentence}" for sentence in snapshot.missing]


def test_snapshot_in_a_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    done = run("snapshot", "-o", str(path))
    assert (done.returncode, done.stdout) == (0, b"")
    assert read_snapshot(str(path)).kernel == os.uname().release


@pytest.mark.parametrize("where", ["/nonexistent/s.json", "/proc/self/stat"])
def test_a_place_that_can_not_be_written_is_one_line(where: str) -> None:
    done = run("snapshot", "-o", where)
    assert done.returncode == 2
    error = [line for line in done.stderr.decode().splitlines() if where in line]
    assert len(error) == 1
    assert b"Traceback" not in done.stderr


def test_a_full_disk_under_stdout_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [OOMKIT, "snapshot"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == (
        "oomkit: standard output: No space left on device"
    )


def test_a_reader_that_leaves_early_sees_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{OOMKIT} snapshot | head -c 1"], capture_output=True, check=False, timeout=60
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_loading_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"nowhere\.json: No such file"):
        read_snapshot(str(tmp_path / "nowhere.json"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(SnapshotError, match=r"bad\.json: at \$: Object missing"):
        read_snapshot(str(tmp_path / "bad.json"))
