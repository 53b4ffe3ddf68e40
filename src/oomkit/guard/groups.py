"""The memory cgroups that a policy's rules are about, or that die as one."""

import os

from oomkit.guard.kept import number_after
from oomkit.host.procfs import read_int, read_or_none
from oomkit.policy.core.reading import CgroupReading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from oomkit.guard.places import Places

_UNLIMITED_BYTES = 1 << 60
"""Version 1 says "none" by the largest number of pages."""


class Groups:
    """Finds the watched cgroups and reads them.

    Args:
        places: where they are mounted.
        patterns: the rules' patterns on their paths.
    """

    __slots__ = ("_paths", "_patterns", "_places")

    def __init__(self, places: "Places", patterns: "Iterable[re.Pattern[str]]") -> None:
        self._places = places
        self._patterns = tuple(patterns)
        self._paths: list[str] = []
        self.find()

    def find(self) -> None:
        """Look which cgroups there are that a rule is about."""
        root = self._places.cgroups
        if not self._patterns or not root:
            return
        self._paths = []
        for directory, _, _ in os.walk(root):
            path = directory[len(root) :] or "/"
            if any(pattern.fullmatch(path) for pattern in self._patterns):
                self._paths.append(path)

    def read(self) -> tuple[CgroupReading, ...]:
        """The watched cgroups as they are now; those that are gone are left out."""
        found = [read_group(self._places, path) for path in self._paths]
        return tuple(group for group in found if group is not None)


def directory_of(places: "Places", path: str) -> str:
    """Where a memory cgroup's files are."""
    return places.cgroups + (path if path != "/" else "")


def read_group(places: "Places", path: str) -> CgroupReading | None:
    """One memory cgroup; None if it is gone or has no memory controller."""
    directory = directory_of(places, path)
    if places.cgroup_version == 1:
        usage = read_int(f"{directory}/memory.usage_in_bytes")
        if usage is None:
            return None
        both = read_int(f"{directory}/memory.memsw.usage_in_bytes") or usage
        return CgroupReading(
            path, usage / 1024, _limit_kb(places, path), max(0, both - usage) / 1024
        )
    usage = read_int(f"{directory}/memory.current")
    if usage is None:
        return None
    some_us, full_us = pressure_us(read_or_none(f"{directory}/memory.pressure"))
    return CgroupReading(
        path,
        usage / 1024,
        _limit_kb(places, path),
        (read_int(f"{directory}/memory.swap.current") or 0) / 1024,
        some_us,
        full_us,
        number_after(read_or_none(f"{directory}/memory.stat") or b"", b"\npgscan "),
        oom_group=dies_as_one(places, path),
    )


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
