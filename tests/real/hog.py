"""A process that takes memory on command, one command a line: what it did is answered.

Run as ``python hog.py CGROUP_PROCS``; it enters that group before it takes anything.
"""

import ctypes
import mmap
import os
import signal
import sys
import threading
import time

PAGE = mmap.PAGESIZE
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # not named before Python 3.13
ANON = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE
SHARED = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
ROOM = 1 << 30

held: list[mmap.mmap] = []
room = mmap.mmap(-1, ROOM, flags=ANON)
used = 0


def touch(memory: mmap.mmap, begin: int, pages: int, stride: int = PAGE) -> None:
    for at in range(begin, begin + pages * stride, stride):
        memory[at] = 1


def anon(pages: int) -> str:
    """Touch that many more pages."""
    global used  # noqa: PLW0603 - the state of a script that is one process
    touch(room, used, pages)
    used += pages * PAGE
    return ""


def shmem(pages: int) -> str:
    """Touch pages of shared anonymous memory."""
    held.append(mmap.mmap(-1, pages * PAGE, flags=SHARED))
    touch(held[-1], 0, pages)
    return ""


def sparse(pages: int) -> str:
    """Touch pages so far apart that each needs a page table of its own."""
    stride = PAGE * (PAGE // 8)
    held.append(mmap.mmap(-1, pages * stride, flags=ANON))
    touch(held[-1], 0, pages, stride)
    return ""


def fork(children: int) -> str:
    """Fork children that do nothing."""
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            while True:
                signal.pause()
        pids.append(pid)
    return " ".join(map(str, pids))


def vfork(_: int) -> str:
    """Have a thread vfork a child that keeps borrowing this process's memory."""
    libc = ctypes.CDLL(None)

    def borrow() -> None:
        if libc.vfork() == 0:
            libc.pause()

    threading.Thread(target=borrow, daemon=True).start()
    time.sleep(0.2)
    return ""


ACTS = {"anon": anon, "shmem": shmem, "sparse": sparse, "fork": fork, "vfork": vfork}


def main() -> None:
    # On one CPU the counters' approximation is the same for equals.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with open(sys.argv[1], "wb", buffering=0) as procs:
        procs.write(b"0")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        name, number = line.split()
        act = ACTS[name]
        sys.stdout.write(f"ok {act(int(number))}\n")
        sys.stdout.flush()


main()
