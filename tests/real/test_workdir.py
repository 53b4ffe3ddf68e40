"""Directories of runs: ours go, others' of the same name stay."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from oomkit.real.errors import RealError
from oomkit.real.workdir import scratch, sweep

pytestmark = pytest.mark.hermetic


def left(where: Path, name: str, *, mode: int = 0o700) -> Path:
    """What a dead run leaves."""
    made = where / name
    made.mkdir(mode=mode)
    made.chmod(mode)
    (made / ".run").touch(mode=0o600)
    (made / "tasks").mkdir()
    (made / "tasks" / "own").touch()
    return made


def gone_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_what_a_dead_run_left_is_removed(tmp_path: Path) -> None:
    ours = left(tmp_path, f"oomkit-{gone_pid()}-abc")
    sweep(str(tmp_path))
    assert not ours.exists()


def test_what_only_has_such_a_name_stays(tmp_path: Path) -> None:
    gone = gone_pid()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / ".run").touch()
    plain = tmp_path / f"oomkit-{gone}-plain"
    plain.mkdir(mode=0o700)
    link = tmp_path / f"oomkit-{gone}-link"
    link.symlink_to(tmp_path / "precious")
    inside = left(tmp_path, f"oomkit-{gone}-linked")
    (inside / ".run").unlink()
    (inside / ".run").symlink_to(tmp_path / "precious" / ".run")
    left(tmp_path, f"oomkit-{gone}-open", mode=0o777)
    fifo = left(tmp_path, f"oomkit-{gone}-fifo")
    (fifo / ".run").unlink()
    os.mkfifo(fifo / ".run")
    others = left(tmp_path, f"oomkit-{gone}-others")
    if os.geteuid() == 0:
        os.chown(others, 12345, 12345)
    else:
        others = plain
    before = sorted(str(path) for path in tmp_path.rglob("*") if "fifo" not in str(path))
    sweep(str(tmp_path))
    after = sorted(str(path) for path in tmp_path.rglob("*") if "fifo" not in str(path))
    assert after == before
    assert others.exists()


def test_what_a_living_run_uses_stays(tmp_path: Path) -> None:
    ours = left(tmp_path, f"oomkit-{gone_pid()}-abc")
    with open(ours / ".run") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(str(tmp_path))
        assert ours.exists()
    with scratch(str(tmp_path)) as path:
        assert os.stat(path).st_mode & 0o777 == 0o700
        sweep(str(tmp_path))
        assert os.path.isdir(path)
        assert not ours.exists()
    assert not os.path.exists(path)


def test_root_makes_none_where_others_rule(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tmp_path.chmod(0o777)
    with pytest.raises(RealError, match="can be written by all users"), scratch(str(tmp_path)):
        pass
