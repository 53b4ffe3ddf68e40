"""Processes that take part in tests of the guard: ``python actors.py NAME ARGUMENT...``.

Each prints a line of JSON when it is as it should be, and then waits to be killed. It stands
alone, as it is started inside of namespaces.
"""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import struct
import sys
import threading
import time
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_VM = 0x100
CLONE_NEWPID = 0x20000000
SYS_EXIT = {"x86_64": 60}.get(os.uname().machine, 93)
HELD: list[Any] = []


def named(name: str) -> None:
    LIBC.prctl(15, name.encode(), 0, 0, 0)


def hold(mib: str | int) -> None:
    held = bytearray(int(mib) << 20)
    held[::4096] = b"x" * len(held[::4096])
    HELD.append(held)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def ready(value: object = None) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def wait() -> None:
    while True:
        time.sleep(600)


def plain(name: str, mib: str) -> None:
    named(name)
    hold(mib)
    ready()
    wait()


def in_groups(name: str, mib: str, count: str) -> None:
    """In so many supplementary groups that the sizes in its status stand far behind."""
    os.setgroups(range(100_000, 100_000 + int(count)))
    plain(name, mib)


def leaderless(name: str, mib: str) -> None:
    """Its leading thread exits; another one lives on and holds the memory."""
    named(name)

    def stay() -> None:
        hold(mib)
        while read("/proc/self/stat").rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        ready()
        wait()

    threading.Thread(target=stay).start()
    LIBC.syscall(SYS_EXIT, 0)


def _outlive(here: int) -> None:
    time.sleep(0.2)  # the leading thread can't be seen by a number of this namespace
    os.write(here, b"x")
    wait()


def relay(name: str, mib: str) -> None:
    """Its leading thread has exited; of the others each starts the next one and exits."""
    named(name)
    hold(mib)

    def run(*, first: bool = False) -> None:
        if first:
            while read("/proc/self/stat").rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.01)
            ready()
        time.sleep(0.0005)
        threading.Thread(target=run).start()

    threading.Thread(target=run, kwargs={"first": True}).start()
    LIBC.syscall(SYS_EXIT, 0)


def threads(name: str, mib: str, count: str) -> None:
    """Has thousands of threads."""
    named(name)
    threading.stack_size(1 << 16)
    for _ in range(int(count)):
        threading.Thread(target=wait, daemon=True).start()
    plain(name, mib)


def forged(name: str, mib: str, arguments_mib: str) -> None:
    """Says that its arguments are all of a large piece of its memory."""
    named(name)
    held = mmap.mmap(-1, int(mib) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(held), 4096):
        held[at : at + 8] = b"argument"
    HELD.append(held)
    start = ctypes.addressof(ctypes.c_char.from_buffer(held))
    end = start + (int(arguments_mib) << 20)
    held[end - start - 12 : end - start] = b" --precious\0"
    stat = read("/proc/self/stat").rpartition(")")[2].split()
    LIBC.sbrk.restype = ctypes.c_void_p
    # Their numbers in stat are counted from 1, and the state is the third.
    code_to_brk = [int(stat[number - 3]) for number in (26, 27, 45, 46, 47)]
    stack, *environ = (int(stat[number - 3]) for number in (28, 50, 51))
    places = (*code_to_brk, LIBC.sbrk(0), stack, start, end, *environ)
    made = struct.pack("12QIi", *places, 0, 0, -1)
    set_mm, set_mm_map = 35, 14
    if LIBC.prctl(set_mm, set_mm_map, made, ctypes.c_ulong(len(made)), ctypes.c_ulong(0)):
        ready(os.strerror(ctypes.get_errno()))
    else:
        ready(len(read("/proc/self/cmdline")))
    wait()


def grabs(name: str) -> None:
    """Takes every file of the machine as it comes free."""
    named(name)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    full = False
    while True:
        try:
            os.open("/dev/null", os.O_RDONLY)
        except OSError as error:
            if not full:
                ready(errno.errorcode.get(error.errno or 0))
            full = True


def storm(name: str) -> None:
    """Forks processes that end at once, without end."""
    named(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ready()
    while True:
        if not os.fork():
            os._exit(0)
        time.sleep(0.001)


def execs(name: str, mib: str) -> None:
    """Another thread than the leading one runs the program anew when told by SIGUSR1."""
    hold(mib)
    if name == "again":
        named("anew")
        wait()
    named(name)
    told = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: told.set())

    def run() -> None:
        told.wait()
        os.execv(sys.executable, [sys.executable, "-IS", __file__, "execs", "again", mib])

    threading.Thread(target=run).start()
    ready()
    while True:
        time.sleep(0.05)


def deaf(name: str, mib: str) -> None:
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    plain(name, mib)


def container(name: str, mib: str, inner: str, inner_mib: str, how: str = "") -> None:
    """A process with a child that is the init of a pid namespace, in which there is another one.

    The init may be ``leaderless``: its leading thread has exited.
    """
    if LIBC.unshare(CLONE_NEWPID):
        raise SystemExit(os.strerror(ctypes.get_errno()))
    there, here = os.pipe()
    init = os.fork()
    if not init:
        if not os.fork():
            named(inner)
            hold(inner_mib)
            os.write(here, b"x")
            wait()
        named(name)
        hold(mib)
        if how:
            threading.Thread(target=_outlive, args=(here,)).start()
            LIBC.syscall(SYS_EXIT, 0)
        os.write(here, b"x")
        wait()
    for _ in range(2):
        os.read(there, 1)
    with open(f"/proc/self/task/{os.getpid()}/comm", "w") as comm:
        comm.write("runtime")
    inside = [
        int(pid) for pid in os.listdir("/proc")
        if pid.isdigit() and read(f"/proc/{pid}/comm").strip() == inner
    ]  # fmt: skip
    ready([init, *inside])
    wait()


def sharing(name: str, mib: str, other: str, uid: str = "") -> None:
    """Two processes with one address space: this one, and another of another name and user."""
    named(other)
    hold(mib)
    stack = mmap.mmap(-1, 1 << 16)
    HELD.append(stack)
    top = ctypes.addressof(ctypes.c_char.from_buffer(stack)) + (1 << 16)
    LIBC.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    child = LIBC.clone(ctypes.cast(LIBC.pause, ctypes.c_void_p), top, CLONE_VM | 17, None)
    if child < 0:
        raise SystemExit(os.strerror(ctypes.get_errno()))
    named(name)
    if uid:
        LIBC.setuid(int(uid))
    ready(child)
    wait()


def mapped(name: str, mib: str, procs: str) -> None:
    """Holds shared memory that nobody else maps."""
    write(procs, "0")
    named(name)
    shared = mmap.mmap(-1, int(mib) << 20)
    for at in range(0, len(shared), 4096):
        shared[at] = 1
    HELD.append(shared)
    ready()
    wait()


def segment(name: str, mib: str, procs: str) -> None:
    """Holds a segment of System V that goes with it, as it was removed when it was attached."""
    write(procs, "0")
    named(name)
    size = int(mib) << 20
    LIBC.shmat.restype = ctypes.c_void_p
    number = LIBC.shmget(0, ctypes.c_size_t(size), 0o1600)
    at = LIBC.shmat(number, None, 0)
    LIBC.shmctl(number, 0, None)
    ctypes.memset(at, 1, size)
    ready()
    wait()


def memfd(name: str, mib: str, procs: str) -> None:
    """Holds a file that lies in memory and that it does not map."""
    write(procs, "0")
    named(name)
    fd = os.memfd_create("held")
    for _ in range(int(mib)):
        os.write(fd, bytes(1 << 20))
    ready()
    wait()


def becomes(name: str, *argv: str) -> None:
    """Runs another program, under the name of this one, when told by SIGUSR1."""
    named(name)
    signal.signal(signal.SIGUSR1, lambda *_: os.execv(argv[0], argv))
    hold(40)
    ready()
    wait()


def padded(name: str, mib: str, *_: str) -> None:
    """Has a long command line."""
    plain(name, mib)


def drops(name: str, mib: str, uid: str) -> None:
    """Becomes another user when told by SIGUSR1."""
    named(name)
    signal.signal(signal.SIGUSR1, lambda *_: os.setuid(int(uid)))
    hold(mib)
    ready()
    wait()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
