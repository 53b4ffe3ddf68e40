"""The installed command as a process that is forked, not loaded anew: a start without its imports.

Run as a script this is the server: it has imported what the command imports, and forks for each
request a process that runs the console script with descriptors, arguments, environment and
directory of its own. What a fork can't take over from a fresh interpreter, :meth:`Server.can`
refuses.
"""

import atexit
import functools
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

EXECUTABLE = Path(sys.executable).parent / "oomkit"
_OF_START = ("PYTHON", "LC_", "LANG", "LD_")
"""A variable that begins so is read as the interpreter starts."""
_DRAWN = ("--html", "--svg", "--png")
_THREADED = ("sweep", "top")
"""Parts of the names of modules that import Polars or Textual: these start threads, which a fork
would not have."""
_COMPILED = "oomkit.klog.lines.compiled"
"""Cannot be imported where nothing was compiled."""
_LENGTH = 4


class Server:
    """The server, and what asks it: one command at a time."""

    def __init__(self) -> None:
        """Start it; the first answer waits until it has imported what it needs."""
        self._socket, theirs = socket.socketpair()
        self._of_start = _of_start(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        self._process.communicate()

    def can(self, environment: Mapping[str, str]) -> bool:
        """Whether a fork does the same as a fresh interpreter."""
        return _of_start(environment) == self._of_start

    def begin(
        self,
        args: Sequence[str],
        streams: Sequence[int],
        environment: Mapping[str, str],
        directory: str | Path,
    ) -> int:
        """Begin a command; :meth:`status` has to be asked for next.

        Args:
            args: what follows the command's name.
            streams: descriptors of its standard input, output and error; they are closed here.
            environment: its environment.
            directory: its working directory.

        Returns:
            Its process id.
        """
        asked = {"args": args, "environment": dict(environment), "directory": str(directory)}
        message = json.dumps(asked).encode()
        socket.send_fds(self._socket, [len(message).to_bytes(_LENGTH, "big")], streams)
        self._socket.sendall(message)
        for fd in streams:
            os.close(fd)
        return _number(self._socket)

    def status(self) -> int:
        """The exit status of the command that was begun, when it has ended."""
        return _number(self._socket)

    def run(
        self,
        args: Sequence[str],
        data: bytes,
        environment: Mapping[str, str],
        directory: str | Path,
        timeout_s: float,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end.

        Raises:
            TimeoutExpired: it did not end in time, and was killed.
        """
        (stdin, to_it), (out, stdout), (err, stderr) = (os.pipe() for _ in range(3))
        pid = self.begin(args, (stdin, stdout, stderr), environment, directory)
        late = threading.Timer(timeout_s, os.kill, (pid, signal.SIGKILL))
        late.start()
        found: dict[int, bytes] = {}
        threads = [
            threading.Thread(target=_write, args=(to_it, data)),
            threading.Thread(target=_read, args=(err, found)),
        ]
        for thread in threads:
            thread.start()
        _read(out, found)
        for thread in threads:
            thread.join()
        status = self.status()
        expired = not late.is_alive()
        late.cancel()
        if expired:
            raise subprocess.TimeoutExpired(["oomkit", *args], timeout_s, found[out], found[err])
        return subprocess.CompletedProcess([str(EXECUTABLE), *args], status, found[out], found[err])


@functools.cache
def server() -> Server:
    """The one server of this process."""
    return Server()


def close() -> None:
    """End the server, if there is one."""
    if server.cache_info().currsize:
        server().close()


def command(
    *args: str,
    stdin: str | bytes = "",
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run the installed command: forked, where that is the same as a fresh process.

    Args:
        args: what follows its name.
        stdin: its input.
        env: variables beside those of this process.
        cwd: its working directory, by default that of this process.
        timeout_s: after so long it is killed.

    Raises:
        TimeoutExpired: it did not end in time.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    environment = {**os.environ, **(env or {})}
    if server().can(environment):
        done = server().run(args, data, environment, cwd or os.getcwd(), timeout_s)
    else:
        done = subprocess.run(
            [EXECUTABLE, *args], check=False, input=data, capture_output=True,
            timeout=timeout_s, env=environment, cwd=cwd,
        )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def _of_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key.startswith(_OF_START)}


def _write(fd: int, data: bytes) -> None:
    with open(fd, "wb", buffering=0) as file, suppress(BrokenPipeError):
        while data:
            data = data[file.write(data) :]


def _read(fd: int, found: dict[int, bytes]) -> None:
    with open(fd, "rb") as file:
        found[fd] = file.read()


def _received(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise EOFError("the server of commands is gone")
        data += part
    return data


def _number(connection: socket.socket) -> int:
    return int.from_bytes(_received(connection, _LENGTH), "big", signed=True)


def _preload() -> None:
    """Import what commands import as they are called."""
    import oomkit

    for found in pkgutil.walk_packages(oomkit.__path__, "oomkit."):
        name = found.name
        threaded = any(part in name for part in _THREADED)
        if name not in ("oomkit.__main__", _COMPILED) and not threaded:
            importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "only the thread that forks would go on"


def _preload_drawing() -> None:
    """Import what draws; Vega's script, which takes seconds to make, is made once."""
    import altair as alt  # noqa: F401  # the next process that draws has it
    import jinja2  # noqa: F401  # as above
    import vl_convert

    # By another process: what makes it starts threads.
    made = subprocess.run(
        [sys.executable, "-c", "import vl_convert; print(vl_convert.javascript_bundle(), end='')"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    setattr(vl_convert, "javascript_bundle", made.__str__)  # noqa: B010  # mypy would not have it


def _become(connection: socket.socket) -> None:
    """Fork for each request; comes back as the process that is to be the command."""
    draws = False
    while True:
        header, fds, _, _ = socket.recv_fds(connection, _LENGTH, 3)
        if not header:
            sys.exit()
        header += _received(connection, _LENGTH - len(header))
        asked: dict[str, Any] = json.loads(
            _received(connection, int.from_bytes(header, "big", signed=True))
        )
        if not draws and any(word.startswith(_DRAWN) for word in asked["args"]):
            draws = True
            _preload_drawing()
        pid = os.fork()
        if not pid:
            break
        for fd in fds:
            os.close(fd)
        connection.sendall(pid.to_bytes(_LENGTH, "big", signed=True))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(status.to_bytes(_LENGTH, "big", signed=True))
    connection.close()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    os.chdir(asked["directory"])
    sys.argv = [str(EXECUTABLE), *asked["args"]]


_statuses: list[int] = []
"""The exit status of the command, once it is over."""


def _leave() -> None:
    """Registered first, so called last: ends before modules are taken apart, which takes long."""
    if _statuses:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_statuses[0])


def _run() -> None:
    """Run the console script."""
    try:
        runpy.run_path(str(EXECUTABLE), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int):
            _statuses.append(end.code)
        raise


if __name__ == "__main__":
    # Where a console script finds its modules.
    sys.path[0] = str(EXECUTABLE.parent)
    atexit.register(_leave)
    _preload()
    _become(socket.socket(fileno=int(sys.argv[1])))
    _run()
