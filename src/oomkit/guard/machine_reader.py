"""The machine as a whole: its files of memory, swap and pressure, read anew at each look."""

import os

from oomkit.guard.cgroup_reader import CgroupReader, pressure_us
from oomkit.guard.kernel_file import KernelFile, number_after
from oomkit.host.procfs import NO_FILES
from oomkit.policy.engine.reading import Reading

TYPE_CHECKING = False

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    from oomkit.guard.config import Places


class MachineReader:
    """Everything that a reading is made of.

    Args:
        places: where it is.
        patterns: patterns of the cgroups that are watched.
        counters: refaults, swap-ins and scanned pages are asked for, which cost most to read.
        working_set: the working set is asked for.

    Attributes:
        meminfo: what ``meminfo`` said when last read.
        news_fd: in a drill, readable when another file may have been put in a file's place; else
            -1.
    """

    __slots__ = (
        "_arc", "_counters", "_groups", "_meminfo", "_places", "_psi", "_saw_pressure",
        "_sees_pressure", "_shmem_kb",
        "_vmstat", "_working_set", "_zram", "meminfo", "news_fd",
    )  # fmt: skip

    def __init__(
        self,
        places: "Places",
        patterns: "Iterable[re.Pattern[str]]" = (),
        *,
        counters: bool = True,
        working_set: bool = False,
    ) -> None:
        self._places = places
        self._counters = counters
        self._working_set = working_set
        self._shmem_kb = 0
        self.meminfo = b""
        drill = places.signals != places.proc
        self.news_fd = -1
        if drill:
            # Only a drill needs the means to watch directories.
            from oomkit.host.libc import watch_directories

            try:
                self.news_fd = watch_directories((places.signals, f"{places.signals}/pressure"))
            except OSError:
                self.news_fd = -1
        self._meminfo = KernelFile(f"{places.signals}/meminfo", replaced=drill)
        self._vmstat = KernelFile(f"{places.signals}/vmstat" if counters else "", replaced=drill)
        self._psi = KernelFile(f"{places.signals}/pressure/memory", replaced=drill)
        self._arc = KernelFile(f"{places.proc}/spl/kstat/zfs/arcstats")
        self._zram: dict[str, KernelFile] = {}
        self._groups = CgroupReader(places, patterns, working_set=working_set)
        self.find()
        self._sees_pressure = self._saw_pressure = self._psi.fd >= 0

    def pressure_came_or_went(self) -> bool:
        """The pressure file can be read, and could not when last asked, or the other way round."""
        before, self._saw_pressure = self._saw_pressure, self.sees_pressure
        return before != self._saw_pressure

    @property
    def shmem_kb(self) -> int:
        """Shmem of the machine: tmpfs and shared memory, when last read."""
        return self._shmem_kb

    @property
    def sees_pressure(self) -> bool:
        """The pressure file could be read when last tried."""
        return self._sees_pressure

    @property
    def meminfo_fd(self) -> int:
        """``meminfo``; -1 while it can't be read."""
        return self._meminfo.fd

    def find(self) -> None:
        """Look for what came, went, or can be read again: zram devices, cgroups, pressure."""
        for kept in (self._meminfo, self._vmstat, self._psi, self._arc):
            kept.reopen()
        try:
            names = {n for n in os.listdir(f"{self._places.sys}/block") if n.startswith("zram")}
        except OSError as error:
            names = {*self._zram} if error.errno in NO_FILES else set()
        for name in names - self._zram.keys():
            self._zram[name] = KernelFile(f"{self._places.sys}/block/{name}/mm_stat")
        for name in self._zram.keys() - names:
            self._zram.pop(name).close()
        for kept in self._zram.values():
            kept.reopen()
        self._groups.find()

    def read(self, t_s: float) -> Reading | None:
        """This moment; None if not even ``meminfo`` can be read.

        Args:
            t_s: now, by the monotonic clock.
        """
        if self.news_fd >= 0:
            self._drain()
        meminfo = self._meminfo.read(4096)
        if not meminfo:
            return None
        total_kb = number_after(meminfo, b"MemTotal:")
        available_kb = number_after(meminfo, b"MemAvailable:")
        if total_kb is None or available_kb is None:
            return None
        self.meminfo = meminfo
        swap_total_kb = number_after(meminfo, b"SwapTotal:") or 0
        self._shmem_kb = number_after(meminfo, b"\nShmem:") or 0
        some_us, full_us = pressure_us(self._psi.read(512))
        self._sees_pressure = some_us is not None
        vmstat = self._vmstat.read(16384, pieces=True) if self._counters else None
        return Reading(
            t_s,
            total_kb,
            available_kb,
            swap_total_kb,
            # A drill's file may say more, as that of a machine without swap.
            min(number_after(meminfo, b"SwapFree:") or 0, swap_total_kb),
            number_after(meminfo, b"AnonPages:") or 0,
            self._zram_kb(),
            self._arc_kb(),
            some_us,
            full_us,
            _sum(vmstat, b"\nworkingset_refault_anon ", b"\nworkingset_refault_file ")
            # Before 5.9 one counter held both.
            or _sum(vmstat, b"\nworkingset_refault "),
            _sum(vmstat, b"\npswpin "),
            _sum(vmstat, b"\npgscan_kswapd ", b"\npgscan_direct "),
            self._groups.read(),
            _working_set_kb(meminfo) if self._working_set else None,
        )

    def close(self) -> None:
        """Close all files."""
        if self.news_fd >= 0:
            os.close(self.news_fd)
            self.news_fd = -1
        for kept in (self._meminfo, self._vmstat, self._psi, self._arc, *self._zram.values()):
            kept.close()

    def _drain(self) -> None:
        try:
            while os.read(self.news_fd, 4096):
                pass
        except BlockingIOError:
            return

    def _zram_kb(self) -> float:
        """RAM that compressed swap occupies: ``mem_used_total`` of ``mm_stat``."""
        used = 0
        for kept in self._zram.values():
            fields = (kept.read(256) or b"").split()
            if len(fields) > 2 and fields[2].isdigit():
                used += int(fields[2])
        return used / 1024

    def _arc_kb(self) -> float:
        """What the ZFS cache could give back: its size above the least it keeps."""
        stats = self._arc.read(16384, pieces=True)
        if not stats:
            return 0.0
        size, least = _third(stats, b"\nsize "), _third(stats, b"\nc_min ")
        return max(0, size - least) / 1024


def _working_set_kb(meminfo: bytes) -> float:
    """What the root's working set is: anonymous memory and files, those on the inactive list apart.

    So cAdvisor computes it of the root's ``memory.stat`` (``anon`` + ``file`` - ``inactive_file``),
    whose counters are those of ``meminfo``. Kernel memory is not in it.
    """
    used = sum(
        number_after(meminfo, key) or 0
        for key in (b"AnonPages:", b"\nCached:", b"Buffers:", b"SwapCached:")
    )
    return max(used - (number_after(meminfo, b"Inactive(file):") or 0), 0)


def _sum(data: bytes | None, *keys: bytes) -> int | None:
    """The sum of those counters that are there; None if none is."""
    if not data:
        return None
    numbers = [n for n in (number_after(data, key) for key in keys) if n is not None]
    return sum(numbers) if numbers else None


def _third(data: bytes, key: bytes) -> int:
    """The number in the third column of a kstat line, which reads ``name type value``."""
    fields = data.partition(key)[2].partition(b"\n")[0].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
