"""``oomkit explain`` on a terminal: colour, width, progress."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.klog.logs import path_of

EXECUTABLE = Path(sys.executable).parent / "oomkit"
LOG = str(path_of("g-3.10.0-514-el7-sed-mysqld.log"))


def read_all(fd: int) -> str:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # a terminal's end, once nobody holds its other side
            chunk = b""
        if not chunk:
            return b"".join(chunks).decode()
        chunks.append(chunk)


def on_terminal(**environment: str) -> str:
    master, slave = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    env |= {"TERM": "xterm-256color", **environment}
    running = subprocess.Popen([EXECUTABLE, "explain", LOG], stdout=slave, env=env)
    os.close(slave)
    out = read_all(master)
    os.close(master)
    assert running.wait(60) == 1
    return out


def test_colour_on_a_terminal_only_and_not_under_no_color() -> None:
    assert "\x1b[1;31m#1 mysqld[6576] was killed" in on_terminal(COLUMNS="120")
    plain = on_terminal(COLUMNS="120", NO_COLOR="1")
    assert "#1 mysqld[6576] was killed" in plain
    assert "\x1b[31" not in plain
    assert ";31m" not in plain


def test_a_narrow_terminal_is_not_exceeded() -> None:
    lines = on_terminal(COLUMNS="50", NO_COLOR="1").replace("\r", "").split("\n")
    bare = [line.replace("\x1b[1m", "").replace("\x1b[2m", "") for line in lines]
    assert max(len(line.replace("\x1b[0m", "")) for line in bare) <= 50


def test_progress_while_a_user_waits() -> None:
    master, slave = pty.openpty()
    waiting = subprocess.Popen(
        [EXECUTABLE, "explain", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=slave
    )
    os.close(slave)
    assert "OOM reports so far" in os.read(master, 65536).decode()
    out, _ = waiting.communicate(b"nothing\n", timeout=60)
    assert read_all(master).endswith("\r\x1b[K")
    os.close(master)
    assert out == b"no OOM report in standard input\n"


def test_progress_of_many_logs_is_a_bar(tmp_path: Path) -> None:
    """The second log is a pipe in which nothing is written yet."""
    waited_for = tmp_path / "pipe"
    os.mkfifo(waited_for)
    master, slave = pty.openpty()
    waiting = subprocess.Popen(
        [EXECUTABLE, "explain", "--summary", LOG, str(waited_for)],
        stdout=subprocess.PIPE, stderr=slave, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    os.close(slave)
    shown = os.read(master, 65536).decode()
    assert "[##########..........] 1 of 2 logs, 1 OOM report so far" in shown
    waited_for.write_bytes(b"nothing\n")
    out, _ = waiting.communicate(timeout=60)
    assert read_all(master).endswith("\r\x1b[K")
    os.close(master)
    assert out.startswith(b"1 incident, 1 OOM report, ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("explain", "--follow"), "waiting for more; Ctrl-C ends it"),
        (("rank", "--watch", "--top", "1"), "Ctrl-C ends"),
    ],
)
def test_what_goes_on_until_it_is_stopped_says_so(
    args: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    log = tmp_path / "kern.log"
    log.write_text("nothing\n")
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [str(EXECUTABLE), *args, *([str(log)] if args[0] == "explain" else [])]
    running = subprocess.Popen(command, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    seen = ""
    while words not in seen:
        chunk = os.read(master, 65536).decode("utf-8", "replace")
        assert chunk, f"it ended without saying so: {seen}"
        seen += chunk
    running.send_signal(signal.SIGINT)
    read_all(master)
    os.close(master)
    assert running.wait(60) in (0, 1, 130)
