"""The processes that are there: found, kept open as far as allowed, dropped when gone."""

import os
import resource
from collections.abc import Iterable, Mapping

import msgspec

from oomkit.host.membership import parse_membership
from oomkit.host.mounts import Hierarchy
from oomkit.host.process import FILES_PER_PROCESS, Process, View
from oomkit.host.procfs import GONE, read_at
from oomkit.kernel.state import Memcg

_SPARE_FILES = 64


class Census(msgspec.Struct):
    """One look at all processes.

    Attributes:
        processes: those that could be read.
        refused: how many are there and can't be read.
    """

    processes: list[Process]
    refused: int = 0


class Roster:
    """Finds the processes and reads them, again and again."""

    def __init__(self, hierarchy: Hierarchy | None, files: int) -> None:
        """Begin with nobody.

        Args:
            hierarchy: where memory cgroups are seen.
            files: how many files may be kept open.
        """
        self._hierarchy = hierarchy
        self._files_left = files
        self._known: dict[int, Process] = {}

    def close(self) -> None:
        """Close all files."""
        for pid in list(self._known):
            self._drop(pid)

    def look(self, view: View, groups: Iterable[Memcg], members: Mapping[int, str]) -> Census:
        """Read every process.

        Args:
            view: how to look.
            groups: the memory cgroups.
            members: who is in which, as far as the groups' own lists tell.

        Raises:
            OSError: the proc file system can't be listed.
        """
        census = Census([])
        pids = [int(name) for name in os.listdir(view.proc_fd) if name.isdigit()]
        for pid in self._known.keys() - set(pids):
            self._drop(pid)
        paths = frozenset(group.path for group in groups)
        for pid in pids:
            known = pid in self._known
            try:
                try:
                    process = self._look_at(pid, view, members, paths)
                except ProcessLookupError:
                    if not known:
                        raise
                    # The files were those of an earlier process with this pid.
                    self._drop(pid)
                    process = self._look_at(pid, view, members, paths)
            except OSError as error:
                self._drop(pid)
                census.refused += error.errno not in GONE
            except ValueError:
                self._drop(pid)
                census.refused += 1
            else:
                census.processes.append(process)
        return census

    def _look_at(
        self, pid: int, view: View, members: Mapping[int, str], paths: frozenset[str]
    ) -> Process:
        process = self._known.get(pid)
        if process is None:
            process = self._known[pid] = Process(pid)
            if self._files_left >= FILES_PER_PROCESS:
                process.keep_open(view)
                self._files_left -= FILES_PER_PROCESS
        path = members.get(pid)
        process.look(view, self._membership(pid, view, paths) if path is None else path)
        return process

    def _membership(self, pid: int, view: View, paths: frozenset[str]) -> str:
        """The memory cgroup of a process that no ``cgroup.procs`` lists."""
        version = self._hierarchy.version if self._hierarchy else None
        try:
            data = read_at(f"{pid}/cgroup", view.proc_fd)
        except OSError:
            return "/"
        path = parse_membership(data, version)
        if self._hierarchy is None:
            return path
        path = self._hierarchy.below_mount(path)
        while path not in paths and path != "/" and not path.startswith("/.."):
            path = os.path.dirname(path)
        return path

    def _drop(self, pid: int) -> None:
        process = self._known.pop(pid, None)
        if process is not None and process.kept:
            process.close()
            self._files_left += FILES_PER_PROCESS


def file_budget(*, raise_limit: bool) -> int:
    """How many files may be kept open, with some left for everybody else in this process.

    Args:
        raise_limit: raise the soft limit to the hard one first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if raise_limit and soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    try:
        in_use = len(os.listdir("/proc/self/fd"))
    except OSError:
        in_use = _SPARE_FILES
    return max(0, soft - in_use - _SPARE_FILES)
