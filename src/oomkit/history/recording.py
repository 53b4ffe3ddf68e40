"""Read what the flight recorder wrote, also while it writes, and after a crash."""

import os
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from oomkit.errors import OomkitError
from oomkit.files.safely import open_regular, open_trusted
from oomkit.guard import recording_format as fmt
from oomkit.policy.engine.candidate import Candidate, Start
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.engine.starts import Starts, is_recent

MAX_TAUGHT_BYTES = 16 << 20
"""A guard learns from no larger recording: one takes seconds, and five times its size of memory."""
_STEP_S = 1.0
"""Of samples nearer to each other the first is learnt from: starts take longer to be over."""


class RecordingError(OomkitError):
    """Not a recording, or none that can be read; the text names the file and what was expected."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a recording.

    Attributes:
        wall_s: seconds since the epoch, by the clock as it was set then.
        boot: which boot of the recording, from 0; monotonic times compare within one.
        reading: the machine.
        tasks: the largest processes; sizes within 1 MiB or a 64th, CPU time and age as of when
            the size was written last.
    """

    wall_s: float
    boot: int
    reading: Reading
    tasks: tuple[Candidate, ...]


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A kill while the recorder ran.

    Attributes:
        kind: whether the kernel killed, or a policy acted.
        t_s: monotonic clock.
        wall_s: seconds since the epoch.
        boot: which boot of the recording.
        pid: the victim.
        comm: its name.
        by: the policy, or the source that reported the kernel's kill.
        freed_kb: memory it gave back.
    """

    kind: Literal["kernel_kill", "act"]
    t_s: float
    wall_s: float
    boot: int
    pid: int
    comm: str
    by: str
    freed_kb: int


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording as it was read.

    Attributes:
        path: the file.
        kernel: release of the kernel that ran last.
        samples: by number, the oldest first.
        marks: the kills.
        damaged: slots that were torn, or were being written.
    """

    path: str
    kernel: str
    samples: tuple[Sample, ...]
    marks: tuple[Mark, ...]
    damaged: int


def read_recording(path: str) -> Recording:
    """Read a recording.

    Raises:
        RecordingError: the file can't be read, is no recording, or holds no sample.
    """
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read()
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    return _recorded(path, data)


def _recorded(path: str, data: bytes) -> Recording:
    if not data.startswith(fmt.MAGIC):
        raise RecordingError(f"{path}: expected a recording of oomkit guard")
    if len(data) < fmt.HEADER_BYTES:
        raise RecordingError(f"{path}: cut off in its header")
    _, slot_bytes, count = fmt.HEADER.unpack_from(data)
    if slot_bytes != fmt.SLOT_BYTES or not count:
        raise RecordingError(f"{path}: expected slots of {fmt.SLOT_BYTES} bytes")
    found, damaged = _whole_slots(memoryview(data)[fmt.HEADER_BYTES :], count)
    reader = _Reader()
    for _, slot in sorted(found):
        reader.push(slot)
    if not reader.samples:
        raise RecordingError(f"{path}: holds no sample yet")
    return Recording(
        path=path,
        kernel=reader.kernel,
        samples=tuple(reader.samples),
        marks=tuple(_dated(mark, reader.samples) for mark in reader.marks),
        damaged=damaged,
    )


class Lessons:
    """Has what starts of services took learnt from a recording, sample by sample.

    Args:
        recording: of which the samples are taken in their order.
        starts: what learns.
    """

    def __init__(self, recording: Recording, starts: Starts) -> None:
        self._starts = starts
        self._kills = sorted(recording.marks, key=_when, reverse=True)
        self._boot: int | None = None
        self._taken_s = 0.0

    def take(self, sample: Sample) -> None:
        """Take in the next sample, and the kills before it."""
        t_s = sample.reading.t_s
        if sample.boot != self._boot:
            self._boot = sample.boot
            self._starts.begin_boot()
        elif 0.0 <= t_s - self._taken_s < _STEP_S:
            return
        self._taken_s = t_s
        while self._kills and _when(self._kills[-1]) <= (sample.boot, t_s):
            mark = self._kills.pop()
            if mark.boot == sample.boot:
                self._starts.killed(mark.pid, mark.t_s)
        self._starts.see(t_s, sample.wall_s, sample.tasks)


def _when(mark: Mark) -> tuple[int, float]:
    return mark.boot, mark.t_s


def starts_in(paths: Iterable[str], *, now_s: float) -> list[Start]:
    """What recordings teach of the starts of services.

    One that is not there, that others can change, that can't be read or is larger than
    :data:`MAX_TAUGHT_BYTES` teaches nothing.

    Args:
        paths: the recordings, the oldest first.
        now_s: seconds since the epoch; what was last seen long before is left out.
    """
    starts = Starts()
    for path in paths:
        try:
            with open(open_trusted(path), "rb") as file:
                if os.fstat(file.fileno()).st_size > MAX_TAUGHT_BYTES:
                    continue
                recording = _recorded(path, file.read(MAX_TAUGHT_BYTES))
        except (OSError, RecordingError):
            continue
        lessons = Lessons(recording, starts)
        for sample in recording.samples:
            lessons.take(sample)
        starts.begin_boot()
    return [one for one in starts.known() if is_recent(one.wall_s, now_s)]


def _whole_slots(body: memoryview, count: int) -> tuple[list[tuple[int, memoryview]], int]:
    """The slots that are what they claim to be, with their numbers; and how many are not."""
    found = []
    damaged = 0
    for place in range(min(count, len(body) // fmt.SLOT_BYTES)):
        slot = body[place * fmt.SLOT_BYTES : (place + 1) * fmt.SLOT_BYTES]
        number, kind, _, _ = fmt.HEAD.unpack_from(slot)
        if not kind and not number:
            continue
        if number % count != place or not fmt.is_whole(slot):
            damaged += 1
            continue
        found.append((number, slot))
    return found, damaged


class _Reader:
    """Puts slots together to samples; each kind has a method."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.marks: list[Mark] = []
        self.kernel = ""
        self._boots: list[bytes] = []
        self._tasks: dict[int, Candidate] = {}
        self._tuple: tuple[Candidate, ...] = ()
        self._new: list[int] = []
        self._changed = False
        self._texts: dict[tuple[int, int], dict[int, bytes]] = {}
        self._paths: dict[int, str] = {}
        self._cgroups: dict[int, CgroupReading] = {}
        self._complete = False
        self._take = {
            fmt.SAMPLE: self._sample,
            fmt.TASK: self._task,
            fmt.GONE: self._gone,
            fmt.TEXT: self._text,
            fmt.CGROUP: self._cgroup,
            fmt.BOOT: self._boot,
            fmt.MARK: self._mark,
        }

    def push(self, slot: memoryview) -> None:
        """Take the next slot; of a kind that a later version writes, nothing."""
        _, kind, flags, number = fmt.HEAD.unpack_from(slot)
        method = self._take.get(kind)
        if method is not None:
            method(slot, flags, number)

    def _sample(self, slot: memoryview, flags: int, _: int) -> None:
        t_s, wall_s, *numbers = fmt.SAMPLE_BODY.unpack_from(slot, fmt.PAYLOAD)
        values: dict[str, Any] = dict(zip(fmt.READING, map(_number, numbers), strict=True))
        if flags & fmt.KEY:
            # A key sample's tasks come right before it; a task that is not among them has exited.
            self._tasks = {pid: self._tasks[pid] for pid in self._new if pid in self._tasks}
            self._complete = self._changed = True
        reading = Reading(t_s, cgroups=tuple(self._cgroups.values()), **values)
        self._cgroups = {}
        if self._new or self._changed:
            self._tuple = tuple(self._tasks.values())
        self._new = []
        self._changed = False
        if self._complete:
            boot = max(len(self._boots) - 1, 0)
            sample = Sample(wall_s=wall_s, boot=boot, reading=reading, tasks=self._tuple)
            self.samples.append(sample)

    def _task(self, slot: memoryview, flags: int, number: int) -> None:
        pid, ppid, uid, adj, bits, start, *rest = fmt.TASK_BODY.unpack_from(slot, fmt.PAYLOAD)
        *kb, cpu_s, age_s, oom_score, mm_id, comm = rest
        sizes: dict[str, Any] = dict(zip(fmt.TASK_KB, map(_number, kb), strict=True))
        texts: dict[str, Any] = {
            name: self._joined(pid, field) for field, name in enumerate(fmt.TASK_TEXTS)
        }
        self._tasks[pid] = Candidate(
            pid,
            start,
            ppid,
            _decoded(comm),
            **sizes,
            **texts,
            oom_score_adj=adj,
            oom_score=None if oom_score < 0 else oom_score,
            cpu_s=cpu_s,
            age_s=age_s,
            uid=_id(uid),
            mm_id=_id(mm_id),
            unknown=tuple(
                name for field, name in enumerate(fmt.TASK_TEXTS) if self._is_cut(pid, field)
            ),
            kthread=bool(bits & fmt.KTHREAD),
            dying=bool(bits & fmt.DYING),
        )
        self._new.append(pid)

    def _gone(self, slot: memoryview, flags: int, number: int) -> None:
        self._changed = True
        for i in range(min(number, fmt.GONE_MAX)):
            at = fmt.PAYLOAD + 4 * i
            self._tasks.pop(int.from_bytes(slot[at : at + 4], "little"), None)

    def _text(self, slot: memoryview, flags: int, number: int) -> None:
        owner, field, part, _, used, data = fmt.TEXT_BODY.unpack_from(slot, fmt.PAYLOAD)
        if flags & fmt.FIRST:
            for other in range(len(fmt.TASK_TEXTS)):
                self._texts.pop((owner, other), None)
        parts = self._texts.setdefault((owner, field), {})
        if part == 0:
            parts.clear()
        parts[part] = data[:used]
        if field == fmt.PATH:
            self._paths[owner] = self._joined(owner, field) or ""

    def _cgroup(self, slot: memoryview, flags: int, number: int) -> None:
        if number not in self._paths:
            return
        values = map(_number, fmt.CGROUP_BODY.unpack_from(slot, fmt.PAYLOAD))
        numbers: dict[str, Any] = dict(zip(fmt.CGROUP_NUMBERS, values, strict=True))
        oom_group = bool(flags & fmt.OOM_GROUP)
        self._cgroups[number] = CgroupReading(self._paths[number], **numbers, oom_group=oom_group)

    def _boot(self, slot: memoryview, flags: int, number: int) -> None:
        boot_id, release = fmt.BOOT_BODY.unpack_from(slot, fmt.PAYLOAD)
        self.kernel = _decoded(release)
        self._complete = False
        self._new = []
        self._tasks = {}
        self._texts = {}
        self._paths = {}
        if not self._boots or self._boots[-1] != boot_id:
            self._boots.append(boot_id)

    def _mark(self, slot: memoryview, flags: int, number: int) -> None:
        t_s, wall_s, pid, freed_kb, comm, by = fmt.MARK_BODY.unpack_from(slot, fmt.PAYLOAD)
        mark = Mark(
            kind="kernel_kill" if flags == fmt.KERNEL_KILL else "act",
            t_s=t_s,
            wall_s=wall_s,
            boot=max(len(self._boots) - 1, 0),
            pid=pid,
            comm=_decoded(comm),
            by=_decoded(by),
            freed_kb=freed_kb,
        )
        # A guard that is started again may find in the log what another found before.
        if not any(_is_same(mark, other) for other in self.marks):
            self.marks.append(mark)

    def _is_cut(self, owner: int, field: int) -> bool:
        """A text fills its field, so that it may have been cut."""
        parts = self._texts.get((owner, field), {})
        return sum(map(len, parts.values())) >= fmt.TEXT_PART * fmt.TEXT_PARTS

    def _joined(self, owner: int, field: int) -> str | None:
        parts = self._texts.get((owner, field))
        if not parts:
            return None
        return _decoded(b"".join(parts[i] for i in sorted(parts))) or None


def _is_same(one: Mark, other: Mark) -> bool:
    return (one.boot, one.kind, one.pid, one.t_s) == (other.boot, other.kind, other.pid, other.t_s)


def _dated(mark: Mark, samples: list[Sample]) -> Mark:
    """Give a mark the time of day of the sample nearest to it: it may have been found late."""
    near = min(
        (sample for sample in samples if sample.boot == mark.boot),
        key=lambda sample: abs(sample.reading.t_s - mark.t_s),
        default=None,
    )
    if near is None:
        return mark
    wall_s = near.wall_s + mark.t_s - near.reading.t_s
    return msgspec.structs.replace(mark, wall_s=round(wall_s, 6))


def _number(value: int) -> float | None:
    return None if value == fmt.NONE else float(value)


def _id(value: int) -> int | None:
    return None if value == fmt.NO_ID else value


def _decoded(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
