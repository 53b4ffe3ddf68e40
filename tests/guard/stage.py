"""Process 1 of a pid namespace: starts and ends processes there, as it is told on stdin.

Each line of input is ``[command, argument]`` in JSON and is answered by one line. It stands alone
and imports nothing of the project: a guard that runs in here can reach only what was started
in here.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

ENDED: dict[int, int] = {}
_CLONE_VFORK = 0x4000
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            ENDED[pid] = status


def start(
    argv: list[str],
    *,
    files: int | None = None,
    out: str = os.devnull,
    environ: Any = None,
    cwd: str | None = None,
) -> int:
    # Open for reading too, so that a FIFO that nobody reads can be opened.
    log = os.open(out, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    pid = os.fork()
    if not pid:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(cwd or ".")
        os.execve(argv[0], argv, {**os.environ, **(environ or {})})
    os.close(log)
    return pid


def play(argv: list[str]) -> list[Any]:
    """Start an actor; returns its pid and what it says when it is as it should be."""
    there, here = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(here, 1)
        os.execv(argv[0], argv)
    os.close(here)
    with os.fdopen(there) as pipe:
        line = pipe.readline()
    if not line:
        raise OSError(f"{argv[-2:]} ended")
    return [pid, json.loads(line)]


def living(pid: int) -> bool:
    """Some thread of a process lives; a pidfd says so even while threads come and go."""
    reap()
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not select.select([pidfd], [], [], 0)[0]
    finally:
        os.close(pidfd)


def victim(name: str, mib: int, *, term: str = "die", stuck: bool = False) -> int:
    """Fork a process that holds memory; returns when it holds it."""
    there, here = os.pipe()
    pid = os.fork()
    if pid:
        os.close(here)
        os.read(there, 1)
        os.close(there)
        return pid
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    if term == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif term == "exit":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    held = bytearray(mib << 20)
    held[::4096] = b"x" * len(held[::4096])
    os.write(here, b"x")
    if stuck:
        # The parent of a vfork sleeps uninterruptibly but for SIGKILL, until its child is done.
        number = _SYS_CLONE[os.uname().machine]
        if ctypes.CDLL(None).syscall(number, _CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
            held.clear()
            ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
            time.sleep(600)
            os._exit(0)
    while True:
        time.sleep(600)


def filler(name: str, path: str) -> int:
    """Fork a process that writes a file, as many MiB as ``path.go`` says once that is there."""
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    with open(path, "wb", buffering=0) as file:
        while not os.path.exists(f"{path}.go") or not os.path.getsize(f"{path}.go"):
            time.sleep(0.02)
        with open(f"{path}.go") as go:
            file.writelines(bytes(1 << 20) for _ in range(int(go.read())))
        while True:
            time.sleep(600)


def tree(name: str, mib: int, children: int) -> list[int]:
    """A parent with children that hold memory, all of one name."""
    there, here = os.pipe()
    pid = os.fork()
    if pid:
        os.close(here)
        with os.fdopen(there) as pipe:
            return [pid, *json.loads(pipe.readline())]
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    pids = [victim(name, mib) for _ in range(children)]
    os.write(here, (json.dumps(pids) + "\n").encode())
    while True:
        time.sleep(600)


def grove(name: str, mib: int, children: int) -> None:
    """A tree whose members ignore SIGTERM."""
    there, here = os.pipe()
    if os.fork():
        os.close(here)
        os.read(there, 1)
        os.close(there)
        return
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(children):
        victim(name, mib, term="ignore")
    os.write(here, b"x")
    while True:
        time.sleep(600)


def grown(name: str) -> list[int]:
    """All processes of a name."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and comm(pid) == name]


def comm(pid: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return ""


def crowd(name: str, count: int) -> list[int]:
    """Many small processes."""
    pids = []
    for _ in range(count):
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
            while True:
                signal.pause()
        pids.append(pid)
    return pids


def alive(pid: int) -> bool:
    reap()
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def holds(guard: int, pid: int) -> bool:
    """Whether the guard keeps files of a process open, as of the first of its ranking."""
    found = False
    for name in os.listdir(f"/proc/{guard}/fd"):
        with contextlib.suppress(OSError):
            found = found or os.readlink(f"/proc/{guard}/fd/{name}").startswith(f"/proc/{pid}/")
    return found


def grips(guard: int, pid: int) -> bool:
    """Whether the guard has a pidfd of a process."""
    for name in os.listdir(f"/proc/{guard}/fdinfo"):
        with contextlib.suppress(OSError), open(f"/proc/{guard}/fdinfo/{name}") as file:
            if f"\nPid:\t{pid}\n" in file.read():
                return True
    return False


def reuse(pid: int, name: str, mib: int) -> int:
    """Have the next process get this number."""
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    return victim(name, mib)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def limit(pid: int, files: int) -> None:
    """Let a process open no more files than so many from now on."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, files))


COMMANDS: dict[str, Callable[..., Any]] = {
    "start": start,
    "victim": victim,
    "tree": tree,
    "grove": grove,
    "grown": grown,
    "crowd": crowd,
    "filler": filler,
    "alive": alive,
    "living": living,
    "play": play,
    "state": state,
    "holds": holds,
    "grips": grips,
    "read": read,
    "reuse": reuse,
    "kill": os.kill,
    "write": write,
    "limit": limit,
}


def answer(value: list[Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    answer(["ready", None])
    for line in sys.stdin:
        command, arguments, named = json.loads(line)
        reap()
        try:
            answer(["ok", COMMANDS[command](*arguments, **named)])
        except OSError as error:
            answer(["error", str(error)])


if __name__ == "__main__":
    main()
