"""``oomkit top`` as it is installed, in a terminal of its own."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Command

OOMKIT = Path(sys.executable).parent / "oomkit"
_PATIENCE_S = 120.0
_CODES = re.compile(
    rb"\x1b(?:\[[?<>=]?[\d;:]*[a-zA-Z$]|\][^\x07]*\x07|P.*?\x1b\\|[()].|.)", re.DOTALL
)


class Terminal:
    """The command in a terminal of 100 columns and 40 lines."""

    def __init__(self, *args: str, **env: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.seen = b""
        self.process = subprocess.Popen(
            [OOMKIT, "top", *args], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", **env},
        )  # fmt: skip

    def type(self, keys: str) -> None:
        self.seen = b""
        os.write(self._master, keys.encode())

    def shows(self, text: str) -> None:
        """Wait until a text was drawn since the last keys."""
        self._wait(lambda: text.encode() in _CODES.sub(b"", self.seen), text)

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not done():
            if time.monotonic() > end or self.process.poll() is not None:
                self._take(0.1)
                if done():
                    return
                pytest.fail(f"no {what!r} in {_CODES.sub(b'', self.seen)!r}")
            self._take(0.1)

    def _take(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            self.seen += os.read(self._master, 65536)
            seconds = 0.0

    def ends(self) -> int:
        """Wait for the end; returns the exit status, with the terminal as it was before."""
        self._wait(lambda: self.process.poll() is not None, "end")
        self._take(0.2)
        assert termios.tcgetattr(self._slave) == self.before
        assert b"\x1b[?1049l" in self.seen
        assert b"Traceback" not in self.seen
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def child() -> Iterator[int]:
    """A process that can be killed, whatever else there is."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    started = []

    def start(*args: str, **env: str) -> Terminal:
        files = ("--status", str(tmp_path / "status"), "--journal", str(tmp_path / "journal"))
        started.append(Terminal(*files, *args, **env))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_a_process_is_found_seen_and_adjusted(
    terminal: Callable[..., Terminal], child: int
) -> None:
    window = terminal(NO_COLOR="1")
    window.shows("[1 processes]")
    window.shows("q quit")
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|9\d|[34]8;)[\d;]*m", window.seen)
    # Typed ahead, as people and pasted lines do: every key counts, in its order.
    window.type(f"/{child}\ra987\r")
    window.shows(f"set oom_score_adj of sleep[{child}] to 987? y: yes, n: no")
    window.shows("-> 987")
    assert Path(f"/proc/{child}/oom_score_adj").read_text() != "987\n"
    window.type("y\r")
    window.shows("esc back")
    window.shows(f"sleep[{child}]")
    assert Path(f"/proc/{child}/oom_score_adj").read_text() == "987\n"
    window.type("\x03")
    assert window.ends() == 0


def test_a_signal_leaves_the_terminal_as_it_was(terminal: Callable[..., Terminal]) -> None:
    window = terminal("--interval", "0.1")
    window.shows("q quit")
    window.process.send_signal(signal.SIGTERM)
    assert window.ends() == 0


def test_without_a_terminal_one_line_says_what_is_expected(oomkit: Command) -> None:
    done = oomkit("top")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "oomkit: top: expected a terminal; oomkit rank prints the kill order once\n"
    )


def test_without_textual_one_line_says_what_to_install(tmp_path: Path, oomkit: Command) -> None:
    (tmp_path / "textual.py").write_text('raise ModuleNotFoundError("kept out")\n')
    done = oomkit("top", env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "oomkit: oomkit top needs textual: install oomkit[top]\n"


def test_a_terminal_without_a_cursor_is_refused(terminal: Callable[..., Terminal]) -> None:
    window = terminal(TERM="dumb")
    window.shows("oomkit: top: TERM names no terminal whose cursor can be moved")
    assert window.process.wait() == 2
