"""A memory cgroup of this host with a limit, processes in it, and what the kernel killed.

Whatever happens, leaving the ``with`` block kills the processes and removes the group.
"""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from oomkit.host.cgroups import Hierarchy, find_hierarchy
from oomkit.host.scan import Scanner
from oomkit.kernel.oom_control import in_memcg
from oomkit.kernel.state import Snapshot

PAGE = os.sysconf("SC_PAGE_SIZE")
HOG = Path(__file__).with_name("hog.py")
KILLED = re.compile(r"Memory cgroup out of memory: Killed process (\d+) \(")
_NUMBERS = itertools.count()
_PATIENCE_S = 60.0
_STEP_PAGES = 64
_HEADROOM_PAGES = 2500


class HogDiedError(Exception):
    """A hog was killed before it answered."""


class Hog:
    """One process in the group, see hog.py."""

    def __init__(self, procs: Path, adj: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(HOG), str(procs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        try:
            self._answer()
            if adj:
                Path(f"/proc/{self.pid}/oom_score_adj").write_text(f"{adj}\n")
        except BaseException:
            self.close()
            raise

    def do(self, command: str, number: int) -> list[int]:
        """Have it act, and return the numbers it answers.

        Raises:
            HogDiedError: it was killed meanwhile.
        """
        self.order(command, number)
        return [int(word) for word in self._answer().split()[1:]]

    def order(self, command: str, number: int) -> None:
        """Have it act without waiting for the answer.

        Raises:
            HogDiedError: it was killed before.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{command} {number}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise HogDiedError from None

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise HogDiedError
        return line

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Box:
    """A memory cgroup with a limit.

    Attributes:
        path: its path below the mount.
        hogs: the processes started here.
    """

    def __init__(
        self, limit_pages: int, *, swap_pages: int = 0, disable_oom_kill: bool = False
    ) -> None:
        self._hierarchy = _hierarchy()
        self.path = f"/oomkit-test-{os.getpid()}-{next(_NUMBERS)}"
        self.directory = Path(self._hierarchy.directory + self.path)
        self.hogs: list[Hog] = []
        self._swap_pages = swap_pages
        self._log = KernelLog()
        self._scanner = Scanner()
        try:
            self.directory.mkdir()
        except OSError as error:
            self._scanner.close()
            self._log.close()
            pytest.skip(f"needs to create a memory cgroup: {error.strerror}")
        try:
            if disable_oom_kill:
                self._disable_oom_kill()
            self._limit(limit_pages)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _disable_oom_kill(self) -> None:
        if self._hierarchy.version == 2:
            pytest.skip("only version 1 can switch a group's OOM killer off")
        self._set("memory.oom_control", 1)

    def _limit(self, pages: int) -> None:
        if self._hierarchy.version == 1:
            # The limit on both may never be below the other one, so it is out of the way first.
            memsw = (self.directory / "memory.memsw.limit_in_bytes").exists()
            if memsw:
                self._set("memory.memsw.limit_in_bytes", -1)
            self._set("memory.limit_in_bytes", pages * PAGE)
            if memsw:
                self._set("memory.memsw.limit_in_bytes", (pages + self._swap_pages) * PAGE)
        else:
            self._set("memory.max", pages * PAGE)
            if (self.directory / "memory.swap.max").exists():
                self._set("memory.swap.max", self._swap_pages * PAGE)

    def tighten(self) -> None:
        """Lower the limit to little more than what is used now, so that a grower stays small."""
        self._limit(self.usage_pages() + _HEADROOM_PAGES)

    def _set(self, name: str, value: int) -> None:
        (self.directory / name).write_text(f"{value}\n")

    def usage_pages(self) -> int:
        name = "memory.usage_in_bytes" if self._hierarchy.version == 1 else "memory.current"
        return int((self.directory / name).read_text()) // PAGE

    def hog(self, *, adj: int = 0, group: str = "") -> Hog:
        """Start a process in the group, or in one below it."""
        directory = self.directory / group
        if group and not directory.exists():
            if self._hierarchy.version == 2:
                (self.directory / "cgroup.subtree_control").write_text("+memory\n")
            directory.mkdir()
        hog = Hog(directory / "cgroup.procs", adj)
        self.hogs.append(hog)
        return hog

    def snapshot(self) -> Snapshot:
        return self._scanner.snapshot()

    def grow_until_a_kill(self, grower: Hog) -> tuple[Snapshot, list[int]]:
        """Have a hog grow step by step until the kernel kills somebody here.

        A second kill may follow in the same step: a victim that shares its pages with
        others gives back hardly more than its page tables, less than a step asks for.

        Returns:
            The snapshot taken just before the last step, and whom the kernel's log says it
            killed in it, in order.
        """
        self._log.skip()
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            snapshot = self.snapshot()
            with contextlib.suppress(HogDiedError):
                grower.do("anon", _STEP_PAGES)
            here = {task.pid for task in snapshot.tasks if in_memcg(task.cgroup, self.path)}
            if killed := [pid for pid in self._log.killed() if pid in here]:
                self.wait_for_end(killed)
                return snapshot, killed
        raise AssertionError("no process was killed")

    def wait_for_end(self, pids: list[int]) -> None:
        """Wait until these have ended; those that were started here are reaped."""
        for hog in self.hogs:
            if hog.pid in pids:
                hog.close()
        end = time.monotonic() + _PATIENCE_S
        while left := set(pids) & set(self.pids()):
            assert time.monotonic() < end, f"{left} do not end"
            time.sleep(0.01)

    def pids(self) -> list[int]:
        """All processes in the group and below."""
        return [
            int(pid)
            for procs in self.directory.rglob("cgroup.procs")
            for pid in procs.read_text().split()
        ]

    def close(self) -> None:
        """Kill what is in the group and remove it."""
        end = time.monotonic() + _PATIENCE_S
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for hog in self.hogs:
                hog.close()
            assert time.monotonic() < end, f"{pids} can't be killed"
            time.sleep(0.01)
        for hog in self.hogs:
            hog.close()
        below = sorted(self.directory.rglob("*/cgroup.procs"), reverse=True)
        for directory in (*(procs.parent for procs in below), self.directory):
            _remove(directory, end)
        self._scanner.close()
        self._log.close()


def _remove(directory: Path, end: float) -> None:
    while directory.exists():
        try:
            directory.rmdir()
        except OSError:  # a task that was just reaped still counts for a moment
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _hierarchy() -> Hierarchy:
    if os.geteuid() != 0:
        pytest.skip("needs root to create a memory cgroup")
    hierarchy = find_hierarchy("/proc")
    if hierarchy is None:
        pytest.skip("needs a mounted memory cgroup hierarchy")
    if hierarchy.version == 2:
        try:
            Path(hierarchy.directory, "cgroup.subtree_control").write_text("+memory\n")
        except OSError as error:
            pytest.skip(f"needs the memory controller below {hierarchy.directory}: {error}")
    return hierarchy


class KernelLog:
    """What the kernel says from now on."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            pytest.skip(f"needs the kernel's log: {error}")
        self.skip()

    def skip(self) -> None:
        """Forget what was said so far."""
        os.lseek(self._fd, 0, os.SEEK_END)

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return
            except BrokenPipeError:  # some records were overwritten before they were read
                continue
            yield record.decode(errors="replace").partition(";")[2].partition("\n")[0]

    def killed(self) -> list[int]:
        """Pids of the kill lines since the last look, in their order."""
        return [int(match[1]) for line in self._lines() if (match := KILLED.search(line))]

    def close(self) -> None:
        os.close(self._fd)
