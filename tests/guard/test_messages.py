"""Lines of the guard's log, and readers that do not read."""

import contextlib
import os
import socket
import subprocess
import sys
import syslog
import time

from oomkit.guard import bootstrap
from oomkit.guard.messages import ERROR, INFO, NOTICE, WARNING, MessageWriter


def test_lines_are_clean_and_carry_their_priority_under_systemd() -> None:
    there, here = os.pipe()
    say = MessageWriter(here, priorities=True)
    say.line(4, "killed a\nb\x1b[31m é")
    os.close(here)
    with os.fdopen(there, "rb") as pipe:
        assert pipe.read() == "<4>killed a\\nb\\x1b[31m é\n".encode()


def test_priorities_are_those_of_the_systems_log() -> None:
    numbers = (syslog.LOG_ERR, syslog.LOG_WARNING, syslog.LOG_NOTICE, syslog.LOG_INFO)
    assert numbers == (ERROR, WARNING, NOTICE, INFO)


def test_a_reader_that_is_gone_is_no_error() -> None:
    there, here = os.pipe()
    os.close(there)
    say = MessageWriter(here)
    say.line(4, "nobody reads this")
    os.close(here)


def test_the_small_process_ends_in_one_line_if_it_can_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", bootstrap.__file__, "99"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "oomkit: internal error, please report it: OSError: [Errno 9] Bad file descriptor\n"
    )


def test_a_pipe_that_is_full_is_not_waited_for_and_nothing_is_said_twice() -> None:
    there, here = os.pipe()
    os.set_blocking(here, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(here, bytes(4096))
    os.set_blocking(here, True)
    say = MessageWriter(here)
    assert say.never_blocks
    for number in range(1200):
        say.line(4, f"line {number}")
    assert say.waiting
    assert os.get_blocking(here), "its flags are others' as well"
    os.set_blocking(there, False)
    got = b""
    end = time.monotonic() + 20
    while b"are lost" not in got:
        assert time.monotonic() < end
        with contextlib.suppress(BlockingIOError):
            got += os.read(there, 1 << 20)
        say.flush()
    lines = got.lstrip(b"\0").decode().splitlines()
    assert lines[:1000] == [f"line {number}" for number in range(1000)]
    assert lines[1000:] == ["200 lines are lost: stderr was not read"]
    os.close(here)
    os.close(there)


def test_a_socket_that_is_full_is_not_waited_for() -> None:
    one, other = socket.socketpair()
    with one, other:
        say = MessageWriter(one.fileno())
        for _ in range(900):
            say.line(4, "x" * 2000)
        assert say.waiting
        say.close()
