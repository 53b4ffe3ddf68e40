"""A made ``/proc``: processes whose files say what a test wants, as the kernel writes them."""

import os
from pathlib import Path

from oomkit.guard.act_record import ActRecord
from oomkit.guard.ongoing_acts import OngoingAct
from oomkit.guard.records import Origin, VictimRecord
from oomkit.policy.engine.candidate import Candidate

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


ABSENT = (1 << 22) + 10
"""A process id that no real process has (PID_MAX_LIMIT, include/linux/threads.h): a pidfd of a made
process must not turn out to be that of a real one."""


class Process:
    """The files of one process.

    Attributes:
        directory: where they are.
    """

    def __init__(self, proc: Path, pid: int, **fields: object) -> None:
        self.pid = pid
        self.directory = proc / str(pid)
        self.directory.mkdir(parents=True)
        (self.directory / "ns").mkdir()
        (self.directory / "ns/pid").symlink_to("/proc/self/ns/pid")
        self.fields = {
            "comm": "task", "state": "S", "ppid": 1, "flags": 0, "utime": 0, "stime": 0,
            "threads": 1, "start": 100, "code": 4096, "stack": 8192, "uid": 1000, "anon": 0,
            "file": 0, "shmem": 0, "pte": 0, "swap": 0, "pending": 0, "shared_pending": 0,
            "numbers": "", "adj": 0, "cgroup": "0::/user.slice/app.scope\n", "data": None,
            **fields,
        }  # fmt: skip
        self.write()

    def set(self, **fields: object) -> None:
        self.fields.update(fields)
        self.write()

    def write(self, directory: Path | None = None) -> None:
        """Write its files, or those of one of its threads."""
        at = directory or self.directory
        f = self.fields
        put(at / "stat", (
            f"{self.pid} ({f['comm']}) {f['state']} {f['ppid']} 1 1 0 -1 {f['flags']} 0 0 0 0 "
            f"{f['utime']} {f['stime']} 0 0 20 0 {f['threads']} 0 {f['start']} 1 1 2 {f['code']} "
            f"9 {f['stack']} 0 0\n"
        ))  # fmt: skip
        put(at / "status", (
            f"Name:\t{f['comm']}\n{f['numbers']}Uid:\t{f['uid']}\t7\t7\t7\n"
            f"RssAnon:\t{f['anon']} kB\nRssFile:\t{f['file']} kB\nRssShmem:\t{f['shmem']} kB\n"
            f"VmData:\t1 kB\nVmStk:\t2 kB\nVmExe:\t3 kB\nVmLib:\t4 kB\nVmPTE:\t{f['pte']} kB\n"
            f"VmSwap:\t{f['swap']} kB\n"
            f"SigPnd:\t{f['pending']:016x}\nShdPnd:\t{f['shared_pending']:016x}\n"
        ))  # fmt: skip
        put(at / "oom_score_adj", f"{f['adj']}\n")
        put(at / "cgroup", str(f["cgroup"]))
        pages = [int(str(f[name])) // PAGE_KB for name in ("anon", "file", "shmem")]
        data = f["data"] if f["data"] is not None else int(str(f["anon"])) + int(str(f["swap"]))
        shared = pages[1] + pages[2]
        put(at / "statm", (
            f"{pages[0] + shared + 500} {pages[0] + shared} {shared} 10 0 "
            f"{int(str(data)) // PAGE_KB} 0\n"
        ))  # fmt: skip

    def remove(self) -> None:
        for path, directories, files in os.walk(self.directory, topdown=False):
            for name in files:
                os.unlink(f"{path}/{name}")
            for name in directories:
                if os.path.islink(f"{path}/{name}"):
                    os.unlink(f"{path}/{name}")
                else:
                    os.rmdir(f"{path}/{name}")
        self.directory.rmdir()

    def thread(self, tid: int, **fields: object) -> Path:
        """Give it a thread that says the same, or other things."""
        at = self.directory / "task" / str(tid)
        at.mkdir(parents=True, exist_ok=True)
        kept = dict(self.fields)
        self.fields.update(fields)
        self.write(at)
        self.fields = kept
        return at


def put(path: Path, text: str) -> None:
    """Write a file so that a reader that has it open sees the new text."""
    path.write_text(text)


class Fds:
    """The files that are open: their numbers, and what each is.

    Threads of other tests may close theirs at any moment, so only what is new is counted.
    """

    def __init__(self) -> None:
        self.opened = set()
        for name in os.listdir("/proc/self/fd"):
            try:
                self.opened.add((name, os.readlink(f"/proc/self/fd/{name}")))
            except OSError:
                continue  # that of the listing itself

    def since(self, before: "Fds") -> int:
        """How many are open that were not before."""
        return len(self.opened - before.opened)


def ongoing(alive: set[tuple[int, int]], expected_kb: float = 1000.0) -> OngoingAct:
    """An act on process 7 that began at 100 s, with 5000 kB left."""
    record = ActRecord(
        Origin("p", dry_run=False), "7-1-100", 100.0, 100.0, level="hard",
        why_now={"rule": 0, "cgroup": None, "evidence": []},
        victim=VictimRecord(7, 1, "x", expected_kb=1000, members=((7, "x"),)),
        reason="", candidates=[], considered=1, command=None,
    )  # fmt: skip
    return OngoingAct(record, Candidate(7, 1, 1, "x"), alive, 100.0, 5000.0, expected_kb)
