"""The flight recorder: a bounded file of samples and top tasks that survives a crash.

The file has its full size from the start, so that a full disk can't stop it later, and is
written in place, slot by slot; :mod:`oomkit.guard.recording_format` says how.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from oomkit.files.safely import NotSafeError, open_own, rename_own
from oomkit.guard import recording_format as fmt
from oomkit.guard.config import read_boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oomkit.policy.engine.candidate import Candidate
    from oomkit.policy.engine.reading import Reading

MODE = 0o600
"""Command lines are in it."""
_PENDING_MAX = 2048
"""Slots that wait in memory at most; a quarter of a MiB, half a minute at its worst."""
_CHUNK = 1 << 16
_SMALL_KB = 1024
_FINE = 64
"""A task is written again when its memory changed by 1 MiB and by a 64th of it."""


class FlightRecorder:
    """Writes the recording.

    Attributes:
        path: the file.
        fault: why nothing is recorded; None when all is well.
        samples: taken so far.
        lost: slots that could not be written.
    """

    def __init__(
        self,
        path: str,
        max_bytes: int = 8 << 20,
        *,
        deferred: bool = False,
        wall: Callable[[], float] = time.time,
        boot_id: str | None = None,
        release: str | None = None,
    ) -> None:
        """Open or make the file; a recording of another size is moved to ``PATH.old``.

        Args:
            path: where (:func:`oomkit.files.safely.open_own`).
            max_bytes: size of the file.
            deferred: :meth:`sample` does not touch the disk; somebody calls :meth:`flush`.
            wall: seconds since the epoch.
            boot_id: of the kernel that runs; None: looked up.
            release: of the kernel that runs; None: looked up.
        """
        self._boot_id = read_boot_id() if boot_id is None else _bytes(boot_id)
        self._release = _bytes(os.uname().release if release is None else release)
        self.path = path
        self.fault: str | None = None
        self.samples = 0
        self.lost = 0
        self._count = max(64, (max_bytes - fmt.HEADER_BYTES) // fmt.SLOT_BYTES)
        self._deferred = deferred
        self._wall = wall
        self._lock = allocate_lock()
        self._flushing = allocate_lock()
        self._pending: list[bytearray] = []
        self._fd = -1
        self._next = 0
        self._until_key = 0
        self._untried = 0
        self._shown: dict[int, _Shown] = {}
        self._described: set[tuple[int, int]] = set()
        self._cgroups: dict[str, int] = {}
        self._open()

    def sample(self, reading: Reading, top: Iterable[Candidate]) -> None:
        """Record one moment.

        Args:
            reading: the machine.
            top: the processes worth recording, the largest; a couple of dozen.
        """
        if self._fd < 0:
            self._untried += 1
            if not self._deferred:
                self.flush()
            return
        is_key = self._until_key <= 0
        if is_key:
            self._until_key = fmt.KEY_SAMPLES
            self._shown.clear()
            self._described.clear()
        self._until_key -= 1
        new: list[bytearray] = []
        self._put_tasks(new, top)
        self._put_cgroups(new, reading, is_key=is_key)
        numbers = [_number(getattr(reading, name)) for name in fmt.READING]
        slot = _slot(fmt.SAMPLE, fmt.KEY if is_key else 0)
        fmt.SAMPLE_BODY.pack_into(slot, fmt.PAYLOAD, reading.t_s, self._wall(), *numbers)
        new.append(slot)
        self.samples += 1
        self._take(new)

    def mark(
        self, kind: int, t_s: float, pid: int, comm: str, *, by: str = "", freed_kb: int = 0
    ) -> None:
        """Record a kill, so that a replay can compare which came first.

        Args:
            kind: ``slots.KERNEL_KILL`` or ``slots.ACT``.
            t_s: monotonic clock.
            pid: the victim.
            comm: its name.
            by: the policy, or what reported the kernel's kill.
            freed_kb: memory it gave back.
        """
        if self._fd < 0:
            return
        slot = _slot(fmt.MARK, kind)
        fmt.MARK_BODY.pack_into(
            slot, fmt.PAYLOAD, t_s, self._wall(), pid & 0xFFFFFFFF, _number(freed_kb),
            _bytes(comm)[:16], _bytes(by)[:48],
        )  # fmt: skip
        self._take([slot])

    def flush(self) -> bool:
        """Write what waits; says whether all of it is in the file now."""
        with self._flushing:
            if self._fd < 0 and self._untried >= fmt.KEY_SAMPLES:
                self._untried = 0
                self._open()
            if self._fd < 0:
                return False
            with self._lock:
                batch, self._pending = self._pending, []
                first, self._next = self._next, self._next + len(batch)
            for number, slot in enumerate(batch, first):
                fmt.HEAD.pack_into(slot, 0, number, *fmt.HEAD.unpack_from(slot)[1:])
                fmt.seal(slot)
            return self._write(batch, first)

    def close(self) -> None:
        """Write what can be written, and close the file."""
        self.flush()
        self._close()

    def _take(self, new: list[bytearray]) -> None:
        with self._lock:
            if len(self._pending) + len(new) > _PENDING_MAX:
                # What follows refers to what is dropped, so the next sample says everything.
                self.lost += len(new)
                self._until_key = 0
                return
            self._pending += new
        if not self._deferred:
            self.flush()

    def _put_tasks(self, new: list[bytearray], top: Iterable[Candidate]) -> None:
        listed = set()
        for task in top:
            listed.add(task.pid)
            shown = self._shown.get(task.pid)
            if shown is None or shown.is_other(task):
                self._shown[task.pid] = _Shown(task)
                self._put_texts(new, task)
                new.append(_task_slot(task))
        gone = [pid for pid in self._shown if pid not in listed]
        for pid in gone:
            del self._shown[pid]
        for start in range(0, len(gone), fmt.GONE_MAX):
            part = gone[start : start + fmt.GONE_MAX]
            slot = _slot(fmt.GONE, 0, len(part))
            body = b"".join([pid.to_bytes(4, "little") for pid in part])
            slot[fmt.PAYLOAD : fmt.PAYLOAD + len(body)] = body
            new.append(slot)

    def _put_texts(self, new: list[bytearray], task: Candidate) -> None:
        """Describe a task once between two key samples; it may come and go meanwhile."""
        who = (task.pid, int(task.start_time))
        if who in self._described:
            return
        self._described.add(who)
        texts = [(i, getattr(task, name)) for i, name in enumerate(fmt.TASK_TEXTS)]
        flags = fmt.FIRST
        for field, text in [(i, text) for i, text in texts if text] or [(0, "")]:
            _put_text(new, task.pid, field, text, flags)
            flags = 0

    def _put_cgroups(self, new: list[bytearray], reading: Reading, *, is_key: bool) -> None:
        for group in reading.cgroups:
            number = self._cgroups.get(group.path)
            if number is None or is_key:
                number = self._cgroups.setdefault(group.path, len(self._cgroups) & 0xFFFF)
                _put_text(new, number, fmt.PATH, group.path)
            slot = _slot(fmt.CGROUP, fmt.OOM_GROUP if group.oom_group else 0, number)
            numbers = [_number(getattr(group, name)) for name in fmt.CGROUP_NUMBERS]
            fmt.CGROUP_BODY.pack_into(slot, fmt.PAYLOAD, *numbers)
            new.append(slot)

    def _write(self, batch: list[bytearray], first: int) -> bool:
        done = 0
        while done < len(batch):
            place = (first + done) % self._count
            part = batch[done : done + self._count - place]
            data = b"".join(part)
            try:
                sent = os.pwrite(self._fd, data, fmt.HEADER_BYTES + place * fmt.SLOT_BYTES)
            except OSError as error:
                self.fault = error.strerror or str(error)
                self.lost += len(batch) - done
                self._until_key = 0
                return False
            if sent < len(data):
                self.lost += len(part) - sent // fmt.SLOT_BYTES
                self._until_key = 0
            done += len(part)
        self.fault = None
        return True

    def _open(self) -> None:
        size = fmt.HEADER_BYTES + self._count * fmt.SLOT_BYTES
        header = fmt.HEADER.pack(fmt.MAGIC, fmt.SLOT_BYTES, self._count)
        try:
            self._fd = open_own(self.path, os.O_RDWR, MODE)
            old = os.pread(self._fd, fmt.HEADER.size, 0)
            if old and not old.startswith(fmt.MAGIC):
                raise NotSafeError(self.path, "is no recording, and stays as it is")
            if old and old != header:
                rename_own(self.path, self.path + ".old")
                os.close(self._fd)
                self._fd = open_own(self.path, os.O_RDWR, MODE)
            os.posix_fallocate(self._fd, 0, size)
            os.pwrite(self._fd, header, 0)
            self._next = _next_number(self._fd, self._count)
        except OSError as error:
            self.fault = error.strerror or str(error)
            self._close()
            return
        self.fault = None
        slot = _slot(fmt.BOOT, 0)
        fmt.BOOT_BODY.pack_into(slot, fmt.PAYLOAD, self._boot_id, self._release)
        self._pending.insert(0, slot)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class _Shown:
    """What was last written of a task."""

    __slots__ = ("adj", "start", "total_kb")

    def __init__(self, task: Candidate) -> None:
        self.start = task.start_time
        self.adj = task.oom_score_adj
        self.total_kb = _total_kb(task)

    def is_other(self, task: Candidate) -> bool:
        """Whether the task is worth writing again."""
        if task.start_time != self.start or task.oom_score_adj != self.adj:
            return True
        change_kb = abs(_total_kb(task) - self.total_kb)
        return change_kb >= _SMALL_KB and change_kb * _FINE >= self.total_kb


def _total_kb(task: Candidate) -> float:
    return (
        task.anon_kb
        + task.shmem_kb
        + task.swap_kb
        + task.pgtables_kb
        + (task.tmpfs_growth_kb or 0.0)
    )


def _task_slot(task: Candidate) -> bytearray:
    slot = _slot(fmt.TASK, 0)
    bits = (fmt.KTHREAD if task.kthread else 0) | (fmt.DYING if task.dying else 0)
    fmt.TASK_BODY.pack_into(
        slot, fmt.PAYLOAD, task.pid, task.ppid, _id(task.uid), task.oom_score_adj, bits,
        int(task.start_time), *[_number(getattr(task, name)) for name in fmt.TASK_KB],
        float(task.cpu_s), float(task.age_s),
        -1 if task.oom_score is None else task.oom_score, _id(task.mm_id),
        _bytes(task.comm)[:16],
    )  # fmt: skip
    return slot


def _put_text(new: list[bytearray], owner: int, field: int, text: str, flags: int = 0) -> None:
    data = _bytes(text)[: fmt.TEXT_PART * fmt.TEXT_PARTS]
    parts = max(1, -(-len(data) // fmt.TEXT_PART))
    for part in range(parts):
        piece = data[part * fmt.TEXT_PART : (part + 1) * fmt.TEXT_PART]
        slot = _slot(fmt.TEXT, flags if part == 0 else 0)
        fmt.TEXT_BODY.pack_into(slot, fmt.PAYLOAD, owner, field, part, parts, len(piece), piece)
        new.append(slot)


def _slot(kind: int, flags: int, number: int = 0) -> bytearray:
    slot = bytearray(fmt.SLOT_BYTES)
    fmt.HEAD.pack_into(slot, 0, 0, kind, flags, number)
    return slot


def _number(value: float | None) -> int:
    return fmt.NONE if value is None else max(0, min(int(value), fmt.NONE - 1))


def _id(value: int | None) -> int:
    return fmt.NO_ID if value is None else value & fmt.NO_ID


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _next_number(fd: int, count: int) -> int:
    """The number after the highest of all whole slots in the file."""
    best = -1
    place = 0
    buffer = bytearray(_CHUNK)
    while place < count:
        got = os.preadv(fd, [buffer], fmt.HEADER_BYTES + place * fmt.SLOT_BYTES)
        whole = min(got // fmt.SLOT_BYTES, count - place)
        if not whole:
            break
        for start in range(0, whole * fmt.SLOT_BYTES, fmt.SLOT_BYTES):
            number, kind = fmt.HEAD.unpack_from(buffer, start)[:2]
            if kind and number > best and number % count == place:
                slot = buffer[start : start + fmt.SLOT_BYTES]
                if fmt.is_whole(slot):
                    best = number
            place += 1
    return best + 1
