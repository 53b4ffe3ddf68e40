"""A process of its own: what it hands back in whatever pieces, and how it ends."""

import io
import os
import signal
import time
from typing import Any

import pytest

from oomkit.klog.lines.forked import Forked, receive, send, write_all


def sent(*messages: Any) -> bytes:
    reads, writes = os.pipe()
    try:
        for message in messages:
            send(writes, message)
        os.close(writes)
        with io.FileIO(os.dup(reads), "rb") as file:
            return file.read()
    finally:
        os.close(reads)


class Pieces(io.RawIOBase):
    """A pipe that gives few bytes at a time, as a full one does."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, self._size))

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(memoryview(buffer)[: self._size])


@pytest.mark.parametrize("size", [1, 3, 8, 9, 1 << 20])
def test_messages_come_whole_in_any_pieces(size: int) -> None:
    messages = [b"x" * 1000, (1, None, [2, 3]), b"", "words"]
    file: Any = Pieces(sent(*messages), size)
    assert [receive(file) for _ in messages] == messages
    assert receive(file) is None


@pytest.mark.parametrize("lost", [1, 500, 1000, 1010])
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_a_message_that_is_not_whole_is_none(lost: int, size: int) -> None:
    file: Any = Pieces(sent(b"x" * 1000)[:-lost], size)
    assert receive(file) is None


def test_all_of_some_bytes_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    def few(_: int, data: memoryview) -> int:
        written.append(bytes(data[:3]))
        return len(written[-1])

    monkeypatch.setattr(os, "write", few)
    write_all(7, b"0123456789")
    assert written == [b"012", b"345", b"678", b"9"]


def test_what_the_function_writes_is_read_here() -> None:
    open_before = set(os.listdir("/proc/self/fd"))
    child = Forked(lambda fd: send(fd, os.getpid()))
    pid = receive(child.output)
    assert pid not in (None, os.getpid())
    assert receive(child.output) is None
    child.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert set(os.listdir("/proc/self/fd")) == open_before


def test_it_ends_when_it_is_closed() -> None:
    def works_on(fd: int) -> None:
        send(fd, os.getpid())
        time.sleep(600)  # it has to be ended

    child = Forked(works_on)
    pid = receive(child.output)
    os.kill(pid, 0)
    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def status_of(work: Any) -> int:
    """How a child ended."""
    child = Forked(work)
    (pid,) = [one for one in children() if one not in BEFORE]
    _, status = os.waitpid(pid, 0)
    child.close()
    return status


def children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(word) for word in file.read().split()]


BEFORE: list[int] = []


@pytest.mark.skipif(
    not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="the kernel lists none"
)
def test_a_child_runs_nothing_of_its_parents() -> None:
    BEFORE[:] = children()

    def fails(_: int) -> None:
        raise RuntimeError

    assert os.waitstatus_to_exitcode(status_of(lambda _: None)) == 0
    assert os.waitstatus_to_exitcode(status_of(fails)) == 1
    # The parent's handler of a signal is not the child's.
    old = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        killed = status_of(lambda _: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, old)
    assert os.waitstatus_to_exitcode(killed) == -signal.SIGTERM


def test_no_further_process_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError("no process is left")

    monkeypatch.setattr(os, "fork", refused)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        Forked(lambda _: None)
    assert set(os.listdir("/proc/self/fd")) == before
