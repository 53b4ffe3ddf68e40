"""The status file where it can't be written."""

import errno
import os
from pathlib import Path

import pytest

from oomkit.guard.writer import Status
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic


def test_a_status_that_cant_be_written_says_why_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = Status(str(tmp_path / "status"))
    status.flush()
    assert (tmp_path / "status").read_bytes() == b""

    def broken(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        status.write({"a": 1})
    faults = [status.fault]
    status.write({"a": 2})
    assert [*faults, status.fault] == ["No space left on device", None]
    assert (tmp_path / "status").read_bytes() == b'{"n":2,"a":2,"end":2}\n'
    status.write({"a": 12345})
    status.write({"a": 6})
    assert (tmp_path / "status").read_bytes() == b'{"n":4,"a":6,"end":4}    \n'
    before = Fds()
    status.close()
    status.close()
    assert before.since(Fds()) >= 1
