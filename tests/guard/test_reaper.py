"""The memory of the killed is freed sooner."""

import errno
import os
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oomkit.guard.reaper import Reaper

pytestmark = pytest.mark.hermetic


def test_the_killed_are_hurried_and_freed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr("oomkit.guard.reaper.run_first", lambda: done.append("first"))
    monkeypatch.setattr("oomkit.guard.reaper.hurry", lambda pid: done.append(("hurry", pid)))

    def release(fd: int) -> None:
        done.append("release")
        raise OSError(errno.EINVAL, f"Invalid argument {fd}")

    monkeypatch.setattr("oomkit.guard.reaper.process_mrelease", release)
    reaper = Reaper()
    gone: Any = SimpleNamespace(pid=7, fd=-1)
    for pid, killed in ((70, True), (71, False), (72, True)):
        there, here = os.pipe()
        reaper.help(cast(Any, SimpleNamespace(pid=pid, fd=here)), killed=killed)
        os.close(here)
        assert os.read(there, 1) == b"", "its own descriptor is closed when it is done"
        os.close(there)
        reaper.help(gone, killed=True)
    assert done == ["first", ("hurry", 70), "release", "release", ("hurry", 72), "release"]
