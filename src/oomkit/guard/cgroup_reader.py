"""The memory cgroups that a policy's rules are about, or that die as one."""

import os

from oomkit.guard.kernel_file import number_after
from oomkit.guard.shared_memory import Sharers
from oomkit.host.pidfd import pids_below
from oomkit.host.pidns import inside
from oomkit.host.procfs import NO_FILES, read_int, read_or_none, stat_fields
from oomkit.policy.engine.reading import CgroupReading

TYPE_CHECKING = False

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from oomkit.guard.config import Places
    from oomkit.guard.shortlist import Shortlist
    from oomkit.policy.engine.candidate import Candidate
    from oomkit.policy.engine.plan import Selection

_UNLIMITED_BYTES = 1 << 60
"""Version 1 says "none" by the largest number of pages."""


class CgroupReader:
    """Finds the watched cgroups and reads them.

    Args:
        places: where they are mounted.
        patterns: the rules' patterns on their paths.
        working_set: their working sets are asked for.
    """

    __slots__ = ("_paths", "_patterns", "_places", "_working_set")

    def __init__(
        self,
        places: "Places",
        patterns: "Iterable[re.Pattern[str]]",
        *,
        working_set: bool = False,
    ) -> None:
        self._places = places
        self._working_set = working_set
        self._patterns = tuple(patterns)
        self._paths: list[str] = []
        self.find()

    def find(self) -> None:
        """Look which cgroups there are that a rule is about."""
        root = self._places.cgroups
        if not self._patterns or not root:
            return
        errors: list[OSError] = []
        found = [
            directory[len(root) :] or "/"
            for directory, _, _ in os.walk(root, onerror=errors.append)
        ]
        if not any(error.errno in NO_FILES for error in errors):
            self._paths = [path for path in found if any(p.fullmatch(path) for p in self._patterns)]

    def read(self) -> tuple[CgroupReading, ...]:
        """The watched cgroups as they are now; those that are gone are left out."""
        asked = self._working_set
        found = [read_group(self._places, path, working_set=asked) for path in self._paths]
        return tuple(group for group in found if group is not None)


def directory_of(places: "Places", path: str) -> str:
    """Where a memory cgroup's files are."""
    return places.cgroups + (path if path != "/" else "")


def read_group(places: "Places", path: str, *, working_set: bool = False) -> CgroupReading | None:
    """One memory cgroup; None if it is gone or has no memory controller."""
    directory = directory_of(places, path)
    if places.cgroup_version == 1:
        usage = read_int(f"{directory}/memory.usage_in_bytes")
        if usage is None:
            return None
        both = read_int(f"{directory}/memory.memsw.usage_in_bytes") or usage
        stat = read_or_none(f"{directory}/memory.stat") if working_set else None
        return CgroupReading(
            path,
            usage / 1024,
            _limit_kb(places, path),
            max(0, both - usage) / 1024,
            working_set_kb=_working_set_kb(usage, stat, b"\ntotal_inactive_file "),
        )
    usage = read_int(f"{directory}/memory.current")
    if usage is None:
        return None
    some_us, full_us = pressure_us(read_or_none(f"{directory}/memory.pressure"))
    stat = read_or_none(f"{directory}/memory.stat") or b""
    return CgroupReading(
        path,
        usage / 1024,
        _limit_kb(places, path),
        (read_int(f"{directory}/memory.swap.current") or 0) / 1024,
        some_us,
        full_us,
        number_after(stat, b"\npgscan "),
        oom_group=dies_as_one(places, path),
        working_set_kb=_working_set_kb(usage, stat, b"\ninactive_file "),
    )


def _working_set_kb(usage: int, stat: bytes | None, key: bytes) -> float | None:
    """Usage without inactive file cache, as cAdvisor computes it."""
    inactive = number_after(stat or b"", key)
    return None if inactive is None else max(0, usage - inactive) / 1024


def dies_as_one(places: "Places", path: str) -> bool:
    """Whether ``memory.oom.group`` is set on a cgroup (version 2, 4.19)."""
    if places.cgroup_version != 2:
        return False
    return read_int(f"{directory_of(places, path)}/memory.oom.group") == 1


def pressure_us(data: bytes | None) -> tuple[int | None, int | None]:
    """Totals of ``some`` and ``full`` in the text of a PSI file; None where there is none."""
    if not data:
        return None, None
    some, _, full = data.partition(b"\nfull")
    return number_after(some, b"total="), number_after(full, b"total=")


def _limit_kb(places: "Places", path: str) -> float | None:
    """The limit of a cgroup, or of the nearest one above that has any."""
    file = "memory.limit_in_bytes" if places.cgroup_version == 1 else "memory.max"
    while path and path != "/":
        limit = read_int(f"{directory_of(places, path)}/{file}")
        if limit is not None and limit < _UNLIMITED_BYTES:
            return limit / 1024
        path = path.rpartition("/")[0]
    return None


MAX_PROCESSES = 512
"""Processes that are looked at for one choice, beside the largest."""
_WORTH_A_LOOK_KB = 1024
_MAX_THREADS = 1024
"""Of a tree: reading the children of more takes longer than asking every process for its parent."""


class Members:
    """Completes the short list with processes that would be killed along with one of its members.

    Args:
        places: where cgroups and processes are.
        selection: of the plan.
        by_reclaim: what is scanned in cgroups ranks.
        wholes: patterns of the cgroups that a rule kills as a whole.

    Attributes:
        sharers: finds processes that share an address space.
    """

    __slots__ = ("_by_reclaim", "_level", "_oom_group", "_places", "_wholes", "sharers")

    def __init__(
        self,
        places: "Places",
        selection: "Selection",
        *,
        by_reclaim: bool,
        wholes: "Iterable[re.Pattern[str]]" = (),
    ) -> None:
        self._places = places
        self._level = selection.level
        self._oom_group = selection.oom_group
        self._by_reclaim = by_reclaim
        self._wholes = tuple(wholes)
        self.sharers = Sharers()

    def complete(
        self, warm: "Shortlist", *, also: "Iterable[int]" = ()
    ) -> "tuple[list[Candidate], list[CgroupReading]]":
        """Candidates and cgroups to choose among.

        Args:
            warm: the short list.
            also: further pids to include.
        """
        top = warm.top
        paths = {one.cgroup for one in top if one.cgroup and one.cgroup != "/"}
        together = self._dying_as_one(paths)
        pids = list(also)
        # What dies as one is not only in the cgroups of the largest, but in others below it.
        dying = together | self._whole(paths)
        for path in sorted(paths | dying) if self._level == "cgroup" else sorted(together):
            pids += pids_below(directory_of(self._places, path))
        if self._level == "tree":
            for one in top:
                pids += descendants(self._places.proc, one.pid)
        if self._level != "process":
            pids += warm.larger_than(_WORTH_A_LOOK_KB, MAX_PROCESSES)
        groups = [read_group(self._places, path) for path in together | self._reclaiming(paths)]
        found = [*top, *(warm.also(pids, most=MAX_PROCESSES) if pids else ())]
        self._mark_inseparable(found, warm)
        return found, [group for group in groups if group is not None]

    def _mark_inseparable(self, found: "list[Candidate]", warm: "Shortlist") -> None:
        """Find processes that share an address space, or are in the pid namespace of an init.

        The latter are added, however small, as all of them die with it.
        """
        self.sharers.mark(found)
        namespaces = {one.init_of for one in found if one.init_of is not None}
        if not namespaces:
            return
        try:
            lives_in = inside(self._places.proc, namespaces)
        except OSError:
            return  # no more files can be opened: who dies along is asked before the signal
        known = {one.pid for one in found}
        small = [pid for pid in lives_in if pid not in known]
        found += warm.also(small, most=len(small))
        for one in found:
            one.namespaces = lives_in.get(one.pid, ())

    def _dying_as_one(self, paths: "set[str]") -> set[str]:
        """Those of the cgroups, and of the ones above, that have ``memory.oom.group``."""
        if not self._oom_group or self._places.cgroup_version != 2:
            return set()
        above = {up for path in paths for up in _upwards(path)}
        return {path for path in above if dies_as_one(self._places, path)}

    def _whole(self, paths: "set[str]") -> set[str]:
        """Those of the cgroups, and of the ones above, that a rule kills as a whole."""
        above = {up for path in paths for up in _upwards(path)} if self._wholes else set()
        return {path for path in above if any(p.fullmatch(path) for p in self._wholes)}

    def _reclaiming(self, paths: "set[str]") -> set[str]:
        return paths if self._by_reclaim else set()


def descendants(proc: str, pid: int, *, most_threads: int = _MAX_THREADS) -> list[int]:
    """All processes below one, by the lists of children that each thread has.

    Where there are very many threads, by what each process says of its parent.
    """
    found: list[int] = []
    left = [pid]
    while left and len(found) < MAX_PROCESSES:
        directory = f"{proc}/{left.pop()}/task"
        try:
            threads = os.listdir(directory)
        except OSError:
            continue
        most_threads -= len(threads)
        if most_threads < 0:
            return _by_parents(proc, pid)
        for tid in threads:
            children = _children(f"{directory}/{tid}/children")
            found += children
            left += children
    return found


def _by_parents(proc: str, pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir(proc)
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            fields = stat_fields(read_or_none(f"{proc}/{name}/stat") or b"", 2)
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for one in found:
        found += children.get(one, ())
        if len(found) > MAX_PROCESSES:
            break
    return found[1:]


def _children(path: str) -> "list[int]":
    # None if it has ended, or the kernel has no such file (CONFIG_PROC_CHILDREN).
    return [int(word) for word in (read_or_none(path) or b"").split()]


def _upwards(path: str) -> "Iterable[str]":
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]
