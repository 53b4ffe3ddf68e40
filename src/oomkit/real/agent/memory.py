"""A task's memory: maps it, touches it at a pace, goes over it, gives it back."""

from __future__ import annotations

import _thread
import errno
import mmap
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 4096
MAP_LOCKED = 0x2000
_MAP_HUGETLB = 0x40000
_HUGE_PAGE = 2 << 20
SLICE_S = 0.01
"""Paced steps proceed in slices of about this long."""

_BACKLOG_S = 0.2
"""How much of a stall a paced step makes good afterwards; more is lost."""

_SLICE_BYTES = 1 << 20
_SMALL_STACK = 128 << 10
_ONES = bytes([1]) * (_SLICE_BYTES // PAGE)


def filler(share: float) -> bytes:
    """A slice of pages of which so large a share does not compress."""
    hard = int(PAGE * share)
    return b"".join(os.urandom(hard) + bytes(PAGE - hard) for _ in range(_SLICE_BYTES // PAGE))


class Area:
    """One mapping.

    Attributes:
        map: the mapping.
        size: its length in bytes.
        used: bytes from its start that have been gone over.
        seen: bytes from its start that have been read, where that is more.
        lazy: up to here from ``used`` on it was freed lazily, where that is more.
        shared: it was reserved for ``share``.
        anon: private anonymous memory, which ``free`` gives back.
        filler: what is written into it; empty: a byte a page.

    Of huge pages ``thp`` says: 0 none, 1 as the machine has it, 2 it asks for them.
    """

    def __init__(self, size: int, flags: int, *, anon: bool, thp: int, filler: bytes = b"") -> None:
        size = max(-(-size // PAGE) * PAGE, PAGE)
        self.map = mmap.mmap(-1, size, flags=flags | mmap.MAP_ANONYMOUS)
        if thp != 1 and not flags & MAP_LOCKED:
            try:  # noqa: SIM105 - contextlib would cost each task 0.6 MB
                self.map.madvise(mmap.MADV_HUGEPAGE if thp else mmap.MADV_NOHUGEPAGE)
            except OSError:
                pass  # a kernel without huge pages says EINVAL, and has none
        self.size = size
        self.used = self.seen = self.lazy = 0
        self.anon = anon
        self.shared = False
        self.filler = filler

    def touch(self, start: int, end: int, stride: int = PAGE) -> None:
        """Write a byte into each page (or each ``stride``) of a range; or all of ``filler``."""
        if self.filler and stride == PAGE:
            for at in range(start, end, _SLICE_BYTES):
                stop = min(at + _SLICE_BYTES, end)
                self.map[at:stop] = self.filler[: stop - at]
        elif stride == PAGE:
            for at in range(start, end, _SLICE_BYTES):
                stop = min(at + _SLICE_BYTES, end)
                self.map[at:stop:PAGE] = _ONES[: -(-(stop - at) // PAGE)]
        else:
            for at in range(start, end, stride):
                self.map[at] = 1

    def peek(self, start: int, end: int, stride: int) -> None:
        """Read a byte of each page, or of each ``stride``."""
        for at in range(start, end, stride):
            self.map[at]
        self.seen = end

    def come_to(self, verb: str) -> int:
        """How far a step has come in it."""
        return max(self.used, self.seen, self.lazy) if verb == "peek" else self.used

    def free_lazily(self, size: int) -> int:
        """Give its last pages back by MADV_FREE; returns how many bytes."""
        keep = max(self.used - size, 0) // PAGE * PAGE
        freed = self.used - keep
        length = -(-freed // PAGE) * PAGE
        try:
            self.map.madvise(mmap.MADV_FREE, keep, length)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.map.madvise(mmap.MADV_DONTNEED, keep, length)  # before 4.5 there was none
        self.lazy = max(self.lazy, self.used)
        self.used = keep
        return freed


class Pace:
    """Slices of a step with a maximum rate in bytes a second."""

    def __init__(self, total: int, rate: float | None, largest: int, unit: int = PAGE) -> None:
        self.total = total
        self.rate = rate
        self.unit = unit
        slice_bytes = largest if rate is None else min(largest, int(rate * SLICE_S))
        self.slice = max(slice_bytes // unit * unit, unit)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Ranges of bytes, each when its time has come."""
        due = time.monotonic()
        for start in range(0, self.total, self.slice):
            end = min(start + self.slice, self.total)
            yield start, end
            if self.rate:
                now = time.monotonic()
                due = max(due + (end - start) / self.rate, now - _BACKLOG_S)
                if due > now:
                    time.sleep(due - now)


def _touch_and_stay(
    area: mmap.mmap,
    begin: int,
    end: int,
    cpu: int,
    done: _thread.LockType,
    forever: _thread.LockType,
) -> None:
    os.sched_setaffinity(0, (cpu,))
    for at in range(begin, end, PAGE):
        area[at] = 1
    done.release()
    forever.acquire()


class Memory:
    """Everything a task has mapped, in the order it did."""

    def __init__(self, *, thp: int, filler: bytes) -> None:
        self.areas: list[Area] = []
        self.huge: list[mmap.mmap] = []
        self.thp = thp
        self.filler = filler

    def reserve(self, size: int, *, shared: bool = False) -> None:
        """Map anonymous memory; forked children share what is ``shared``.

        Raises:
            OSError: the kernel refuses it.
        """
        self._add(size, shared=shared).shared = shared

    def _add(self, size: int, *, shared: bool) -> Area:
        flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
        area = Area(size, flags, anon=not shared, thp=self.thp, filler=self.filler)
        self.areas.append(area)
        return area

    def go_over(
        self,
        verb: str,
        size: int,
        rate: float | None,
        stride: int,
        progress: Callable[[float], None],
    ) -> None:
        """``touch`` or ``share`` memory (write to it), or ``peek`` (only read).

        What was mapped before comes first. New memory is mapped piece by piece as it is needed, as
        an allocator does.

        Raises:
            OSError: the kernel refuses a piece.
        """
        spare = self._spare(verb, stride)
        piece = max(_SLICE_BYTES, 16 * stride)
        area: Area | None = None
        for start, end in Pace(size, rate, piece, stride):
            left = end - start
            while left > 0:
                if area is None or area.come_to(verb) >= area.size:
                    new = min(piece, size - end + left)
                    area = spare.pop(0) if spare else self._add(new, shared=verb == "share")
                begin = area.come_to(verb)
                stop = min(begin + left, area.size)
                if verb == "peek":
                    area.peek(begin, stop, stride)
                else:
                    area.touch(begin, stop, stride)
                    area.used = stop
                left -= stop - begin
            progress(end / size)

    def _spare(self, verb: str, stride: int) -> list[Area]:
        """What a step goes over before it maps new memory, in order."""
        wanted = "shared" if verb == "share" else "anon"
        found = [a for a in self.areas if getattr(a, wanted) and a.come_to(verb) < a.size]
        if verb != "touch":
            return found
        # What was freed lazily is written to first, but for single pages.
        lazy = [area for area in found if area.lazy > area.used]
        return (lazy if stride == PAGE else []) + [a for a in found if a.lazy <= a.used]

    def hugetlb(self, size: int, rate: float | None, progress: Callable[[float], None]) -> None:
        """Write to huge pages that were set aside; all are there when they are mapped.

        Raises:
            OSError: they are not.
        """
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_HUGETLB
        area = mmap.mmap(-1, -(-size // _HUGE_PAGE) * _HUGE_PAGE, flags=flags)
        self.huge.append(area)
        for start, end in Pace(size, rate, _SLICE_BYTES):
            area[start:end:PAGE] = _ONES[: -(-(end - start) // PAGE)]
            progress(end / size)

    def scatter(self, size: int, threads: int, *, shared: bool) -> None:
        """Write to new memory from threads that are each on a CPU of their own, and stay.

        Raises:
            OSError: the kernel refuses the memory.
        """
        flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
        area = Area(size, flags, anon=not shared, thp=0)
        self.areas.append(area)
        cpus = sorted(os.sched_getaffinity(0))
        pages = area.size // PAGE
        _thread.stack_size(_SMALL_STACK)  # so that their stacks share page tables
        forever = _thread.allocate_lock()
        forever.acquire()
        for i in range(threads):
            begin, end = pages * i // threads * PAGE, pages * (i + 1) // threads * PAGE
            done = _thread.allocate_lock()
            done.acquire()
            cpu = cpus[i % len(cpus)]
            _thread.start_new_thread(_touch_and_stay, (area.map, begin, end, cpu, done, forever))
            done.acquire()
        area.used = area.size

    def lock(self, size: int, rate: float | None, progress: Callable[[float], None]) -> None:
        """Map memory that is filled and locked at once, piece by piece.

        Raises:
            OSError: the kernel refuses it.
        """
        # One mapping a second at low rates, so that there are few of them.
        step = _SLICE_BYTES if rate is None else max(int(rate * 0.1), PAGE)
        pace = Pace(size, rate, step)
        pace.slice = max(step // PAGE * PAGE, PAGE)
        for start, end in pace:
            area = Area(end - start, mmap.MAP_PRIVATE | MAP_LOCKED, anon=False, thp=self.thp)
            area.touch(0, area.size)
            area.used = area.size
            self.areas.append(area)
            progress(end / size)

    def free_lazily(self, size: int | None) -> None:
        """Give private anonymous memory back by MADV_FREE, the newest first; None: all of it."""
        left = sum(area.size for area in self.areas) if size is None else size
        for area in reversed(self.areas):
            if left <= 0:
                break
            if area.anon and area.used:
                left -= area.free_lazily(left)

    def free(self, size: int | None) -> None:
        """Give private anonymous memory back, the newest first; None: all of it."""
        for area in reversed(self.areas):
            if not area.anon:
                continue
            if size is not None and size < area.used:
                keep = max((area.used - size) // PAGE * PAGE, PAGE)
                area.map.resize(keep)
                area.size = area.used = keep
                area.seen = area.lazy = 0
                break
            area.map.close()
            area.size = 0
            if size is not None:
                size -= area.used
        self.areas = [area for area in self.areas if area.size]

    def walk(self, limit: int | None) -> list[tuple[Area, int]]:
        """What of it a working task goes over: areas and how far, ``limit`` bytes in all."""
        chosen = []
        for area in self.areas:
            length = area.used if limit is None else min(area.used, limit)
            if length > 0:
                chosen.append((area, length))
                if limit is not None:
                    limit -= length
        return chosen


class FileArea:
    """A file that a working task reads repeatedly through a mapping."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = os.fstat(fd).st_size
            self.map = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
        finally:
            os.close(fd)

    def run_through(self) -> None:
        """Go over all of it."""
        for _ in self.walk(_SLICE_BYTES):
            pass

    def walk(self, piece: int) -> Iterator[int]:
        """Go over it once; yields how much after each piece."""
        for at in range(0, self.size, piece):
            end = min(at + piece, self.size)
            self.map[at:end:PAGE]
            yield end - at


def read_file(path: str, size: int, rate: float | None, progress: Callable[[float], None]) -> None:
    """Read through the page cache from the file's start.

    Raises:
        OSError: it can't be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    buffer = memoryview(bytearray(128 * 1024))
    try:
        empty = not os.fstat(fd).st_size
        for start, end in Pace(size, rate, len(buffer)):
            left = 0 if empty else end - start
            while left > 0:
                got = os.readv(fd, [buffer[:left]])
                left -= got
                if not got:
                    os.lseek(fd, 0, os.SEEK_SET)
            progress(end / size)
    finally:
        os.close(fd)


def write_file(
    path: str,
    size: int,
    rate: float | None,
    progress: Callable[[float], None],
    content: bytes = b"",
) -> None:
    """Write through the page cache from the file's start; nothing is synced.

    Args:
        path: the file.
        size: how much.
        rate: bytes a second at most; None: as fast as it goes.
        progress: called with the share that is written.
        content: what to write, repeated; empty: ones.

    Raises:
        OSError: it can't be written, or there is no room.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    chunk = content[: 64 * 1024] or bytes([1]) * (64 * 1024)
    try:
        for start, end in Pace(size, rate, len(chunk)):
            os.write(fd, chunk[: end - start])
            progress(end / size)
    finally:
        os.close(fd)
