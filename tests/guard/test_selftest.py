"""What the guard tries before it is armed."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from oomkit.host import pidfd
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


def test_the_self_test_says_what_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fds()
    assert pidfd.kill_fault() == ""

    def refused(_self: Any, _number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr("oomkit.host.pidfd.Held.send", refused)
        assert pidfd.kill_fault() == "a process can't be killed by pidfd: Operation not permitted"
    with monkeypatch.context() as patch:
        patch.setattr("oomkit.host.pidfd.Held.send", lambda _self, _number: None)
        patch.setattr(pidfd, "PATIENCE_MS", 50)
        assert pidfd.kill_fault() in ("a process that was sent SIGKILL did not exit", "")
    assert Fds().since(before) == 0


def test_the_child_of_the_self_test_is_gone_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    fork = os.fork

    def noted() -> int:
        started.append(fork())
        return started[-1]

    monkeypatch.setattr(os, "fork", noted)
    assert pidfd.kill_fault() == ""
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)


def test_the_self_test_passes_here_and_fails_where_proc_is_not_to_be_seen(tmp_path: Path) -> None:
    assert pidfd.kill_fault() == ""
    assert "is not the proc file system" in pidfd.kill_fault(str(tmp_path))
    (tmp_path / "self").symlink_to(str(os.getpid()))
    assert "is not seen" in pidfd.kill_fault(str(tmp_path))
