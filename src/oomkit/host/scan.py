"""The scan: everything a decision depends on, read from this machine into a snapshot."""

import errno
import os
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Self

import msgspec

from oomkit.host.cgroups import Memcgs, find_hierarchy, read_memcgs
from oomkit.host.machine import (
    ASSUMED_HZ,
    config_hz,
    kernel_release,
    memory_again,
    online_cpus,
    read_memory,
    read_pressure,
    read_sysctl,
    uptime_s,
)
from oomkit.host.pidfd import is_own
from oomkit.host.process import View
from oomkit.host.process_table import Roster, file_budget, in_order_of_creation, mark_borrowers
from oomkit.host.procfs import read_int
from oomkit.host.task import Machine
from oomkit.host.visibility import Seen, maps_users, sees_initial_pids, sentences
from oomkit.kernel.rules import RuleSet
from oomkit.kernel.state import Memory, Snapshot
from oomkit.kernel.versions import UnknownKernelError, rules_for

_DEFAULT_PID_MAX = 32768


def take_snapshot(
    *, proc_root: str = "/proc", cgroup_root: str | None = None, boot_root: str = "/boot"
) -> Snapshot:
    """Look at the machine once.

    Args:
        proc_root: the proc file system, or a copy of one.
        cgroup_root: a directory laid out like ``/sys/fs/cgroup``; None: wherever the
            mount table of ``proc_root`` says.
        boot_root: where kernel configurations lie.

    Raises:
        OSError: ``proc_root`` can't be listed or shows nothing at all. Anything less is noted in
            ``missing``.
    """
    scanner = Scanner(
        proc_root=proc_root, cgroup_root=cgroup_root, boot_root=boot_root, keep_open=False
    )
    with scanner:
        return scanner.snapshot()


class Scanner:
    """Takes snapshots of the machine repeatedly, with the processes' files held open.

    Attributes:
        proc_root: the proc file system.
        page_size: bytes in a page.
        hierarchy: where memory cgroups are seen; None: nowhere.

    Of each process stat, status, oom_score_adj and oom_score stay open as far as the limit on
    open files goes; the rest is opened each time. An open file can't be mistaken for
    that of a later process with the same pid: it reads ESRCH.
    """

    def __init__(
        self,
        *,
        proc_root: str = "/proc",
        cgroup_root: str | None = None,
        boot_root: str = "/boot",
        keep_open: bool = True,
        raise_file_limit: bool = False,
    ) -> None:
        """Open the proc file system and read what can't change while the machine runs.

        Args:
            proc_root: the proc file system, or a copy of one.
            cgroup_root: a directory laid out like ``/sys/fs/cgroup``; None: wherever the
                mount table of ``proc_root`` says.
            boot_root: where kernel configurations lie.
            keep_open: keep files open between two looks.
            raise_file_limit: raise this process's soft limit on open files to the hard one.

        Raises:
            OSError: ``proc_root`` can't be opened.
        """
        self.proc_root = proc_root
        self.kernel = kernel_release(proc_root)
        self.page_size = os.sysconf("SC_PAGE_SIZE")
        hz = config_hz(proc_root, boot_root, self.kernel)
        self._hz_assumed = hz is None
        self._hz = hz or ASSUMED_HZ
        self._user_hz = os.sysconf("SC_CLK_TCK")
        self.hierarchy = find_hierarchy(proc_root, cgroup_root)
        self._initial_pids = sees_initial_pids(proc_root)
        self._mapped_users = maps_users(proc_root)
        self._pid_max = read_int(f"{proc_root}/sys/kernel/pid_max") or _DEFAULT_PID_MAX
        self._cpus = online_cpus(proc_root)
        self._rules = _rules_of(self.kernel)
        files = file_budget(raise_limit=raise_file_limit) if keep_open else 0
        self._roster = Roster(self.hierarchy, files)
        self._own_pids = is_own(proc_root)
        self._proc_fd = os.open(proc_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        """Return the scanner itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all files."""
        self.close()

    def close(self) -> None:
        """Close all files. The scanner can't be used afterwards."""
        self._roster.close()
        if self._proc_fd >= 0:
            os.close(self._proc_fd)
            self._proc_fd = -1

    @property
    def _adjustment(self) -> str:
        """The file with the adjustment that the kernel stores."""
        oom_adj = self._rules is not None and self._rules.adj_files == "oom_adj"
        return "oom_adj" if oom_adj else "oom_score_adj"

    @property
    def _zero_is_unkillable(self) -> bool:
        """An ``oom_score`` of 0 means that the process can't be chosen."""
        return self._rules is not None and self._rules.oom_score == "two_thirds"

    def snapshot(self) -> Snapshot:
        """Look at the machine.

        Raises:
            OSError: the proc file system can't be listed any more, or shows nothing at all.
        """
        proc = self.proc_root
        memory, no_memory = read_memory(proc, self.page_size)
        memcgs = read_memcgs(self.hierarchy, self.page_size) if self.hierarchy else Memcgs()
        members = memcgs.members if self._own_pids else {}
        census = self._roster.look(self._view(memory), memcgs.groups, members)
        ordered = in_order_of_creation(census.processes, self._pid_max)
        tasks = [process.task for process in ordered if process.task is not None]
        if not tasks and not memory.total_ram_pages:
            raise OSError(errno.ENODATA, "shows neither memory nor processes", proc)
        sysctl, no_sysctl = read_sysctl(proc)
        pressure = read_pressure(f"{proc}/pressure/memory")
        uptime = uptime_s(proc)
        seen = Seen(
            refused=census.refused,
            partial=sum(process.partial for process in ordered),
            threads=sum(task.threads for task in tasks),
            initial_pids=self._initial_pids,
            mapped_users=self._mapped_users,
            memcgs=self.hierarchy is not None,
            pressure=pressure is not None,
            uptime=uptime is not None,
            assumed_hz=self._hz if self._hz_assumed else None,
        )
        return Snapshot(
            kernel=self.kernel,
            memory=memory,
            sysctl=sysctl,
            tasks=mark_borrowers(tasks) if self._zero_is_unkillable else tuple(tasks),
            memcgs=memcgs.groups,
            pressure=pressure,
            page_size=self.page_size,
            hz=self._hz,
            cpus=self._cpus,
            uptime_s=uptime or 0,
            taken_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            missing=(*no_memory, *no_sysctl, *sentences(seen, proc)),
        )

    def look_again(self, snapshot: Snapshot, pids: Collection[int]) -> Snapshot:
        """The last snapshot with meminfo, pressure and some processes read again.

        All else (the other processes, the cgroups, the knobs) stays as it was. A process that is
        gone is left out. It costs as much as there are processes asked for.

        Args:
            snapshot: the last one, or what this method made of it.
            pids: the processes.
        """
        memory = memory_again(snapshot.memory, self.proc_root, self.page_size)
        asked = (task for task in snapshot.tasks if task.pid in pids)
        found = self._roster.look_again(self._view(memory), asked)
        now = (found.get(task.pid, task) for task in snapshot.tasks)
        tasks = tuple(task for task in now if task is not None)
        return msgspec.structs.replace(
            snapshot,
            memory=memory,
            pressure=read_pressure(f"{self.proc_root}/pressure/memory"),
            tasks=mark_borrowers(tasks) if self._zero_is_unkillable else tasks,
        )

    def _view(self, memory: Memory) -> View:
        machine = Machine(
            page_size=self.page_size,
            user_hz=self._user_hz,
            hz=self._hz,
            nodes=frozenset(node.node_id for node in memory.nodes),
            summed_rss=self._rules is not None and self._rules.rss_counters == "summed",
        )
        return View(
            proc_fd=self._proc_fd,
            machine=machine,
            names=("stat", "status", self._adjustment, "oom_score"),
            initial_pids=self._initial_pids,
            mapped_users=self._mapped_users,
        )


def _rules_of(release: str) -> RuleSet | None:
    """The kernel's rules; None for a version that no rules are known for."""
    try:
        return rules_for(release)
    except UnknownKernelError:
        return None
