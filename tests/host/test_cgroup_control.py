"""Writes that wait, made by a thread, one after the other."""

import contextlib
import os
import time

import pytest

from oomkit.host.cgroup_control import SlowWrite, SlowWriter

pytestmark = pytest.mark.hermetic


def until_done(job: SlowWrite) -> None:
    end = time.monotonic() + 20.0
    while not job.done:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_what_waits_behind_another_write_can_be_cancelled_and_what_has_begun_can_not() -> None:
    there, here = os.pipe()
    os.set_blocking(here, False)
    room = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            room += os.write(here, bytes(4096))
    os.set_blocking(here, True)
    writer = SlowWriter()
    first = SlowWrite(here, b"x", 0.0)
    second = SlowWrite(os.open("/dev/null", os.O_WRONLY), b"x", 0.0)
    writer.put(first)
    end = time.monotonic() + 20.0
    writer.put(second)
    third = SlowWrite(os.open("/dev/null", os.O_WRONLY), b"x", 0.0)
    writer.put(third)
    assert writer.cancel(second)
    assert not writer.cancel(second)
    while room and time.monotonic() < end:
        room -= len(os.read(there, room))
    until_done(first)
    until_done(third)
    assert (first.error, third.error, second.done) == (0, 0, False)
    assert not writer.cancel(first)
    os.close(there)


def test_an_error_is_noted_and_the_file_closed() -> None:
    there, here = os.pipe()
    os.close(here)
    job = SlowWrite(os.dup(there), b"x", 0.0)
    job.run()
    assert job.error == 9
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(job.fd)
    os.close(there)
