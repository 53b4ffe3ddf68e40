"""The processes that are there: found, held open as far as allowed, dropped after exit."""

import os
import resource
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from oomkit.host.cgroups import Hierarchy
from oomkit.host.membership import parse_membership
from oomkit.host.process import FILES_PER_PROCESS, Process, View
from oomkit.host.procfs import GONE, read_at
from oomkit.kernel.state import OOM_SCORE_ADJ_MIN, Memcg, Task

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
    """Finds the processes and reads them, once for each snapshot."""

    def __init__(self, hierarchy: Hierarchy | None, files: int) -> None:
        """Begin empty.

        Args:
            hierarchy: where memory cgroups are seen.
            files: maximum number of open files.
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
            members: the processes of each, as far as the groups' own lists say.

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

    def look_again(self, view: View, tasks: Iterable[Task]) -> dict[int, Task | None]:
        """Read some of the processes of the last look again, in the cgroups they were in.

        Args:
            view: how to look.
            tasks: the processes; those that the last look did not find are passed over.

        Returns:
            Each as it is now; None where it is gone.
        """
        found: dict[int, Task | None] = {}
        for task in tasks:
            process = self._known.get(task.pid)
            if process is None:
                continue
            try:
                found[task.pid] = process.look(view, task.cgroup)
            except (OSError, ValueError):
                self._drop(task.pid)
                found[task.pid] = None
        return found

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
        if process is not None and process.holds_files:
            process.close()
            self._files_left += FILES_PER_PROCESS


def file_budget(*, raise_limit: bool) -> int:
    """Maximum number of files to hold open, with some left for the rest of this process.

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


def in_order_of_creation(processes: Iterable[Process], pid_max: int) -> list[Process]:
    """Sort as the kernel's task list is: a process is put at its end when it is created.

    ``/proc`` shows the start in ticks of 10 ms. Within one tick pids rise, unless they
    passed ``pid_max`` meanwhile and went on with low numbers: then those come last.

    Args:
        processes: what was found.
        pid_max: where pids wrap.
    """
    ordered = sorted(processes, key=lambda process: (process.start_ticks, process.pid))
    begin = 0
    while begin < len(ordered):
        ticks = ordered[begin].start_ticks
        end = begin + 1
        while end < len(ordered) and ordered[end].start_ticks == ticks:
            end += 1
        lowest = ordered[begin].pid
        if ordered[end - 1].pid - lowest > pid_max // 2:
            wrapped = lowest + pid_max // 2
            ordered[begin:end] = sorted(
                ordered[begin:end], key=lambda process: (process.pid < wrapped, process.pid)
            )
        begin = end
    return ordered


# At an adjustment above this a killable task's oom_score is far above 0, whatever its size.
_SURELY_POSITIVE = OOM_SCORE_ADJ_MIN + 10


def mark_borrowers(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Mark vfork children and reaped victims by the kernel's own verdict.

    From 5.9 on ``oom_score`` is 0 only for what can't be killed. A live process with memory
    and an ordinary adjustment that shows 0 is therefore a vfork child (its address space is its
    parent's) or has been reaped already (``MMF_OOM_SKIP``); a size equal to the
    parent's distinguishes the two. Before 5.9 small tasks show 0 too, and nothing is marked.

    Other processes that share an address space (CLONE_VM without CLONE_THREAD) can't be
    distinguished from forked twins by ``/proc``; asking kcmp() about every pair would cost more
    than the scan. They keep ``mm_id`` None.
    """
    suspects = [index for index, task in enumerate(tasks) if _refused_by_kernel(task)]
    if not suspects:
        return tuple(tasks)
    marked = list(tasks)
    place = {task.pid: index for index, task in enumerate(marked)}
    for index in suspects:
        task = marked[index]
        parent = place.get(task.ppid)
        if parent is not None and marked[parent].total_vm_pages == task.total_vm_pages:
            marked[index] = msgspec.structs.replace(task, vfork=True, mm_id=task.ppid)
            marked[parent] = msgspec.structs.replace(marked[parent], mm_id=task.ppid)
        elif task.fatal_signal or task.exiting:
            marked[index] = msgspec.structs.replace(task, mm_reaped=True)
    return tuple(marked)


def _refused_by_kernel(task: Task) -> bool:
    return (
        task.kernel_oom_score == 0
        and task.has_mm
        and not task.global_init
        and task.oom_score_adj > _SURELY_POSITIVE
    )
