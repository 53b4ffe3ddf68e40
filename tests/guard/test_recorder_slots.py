"""The flight recorder, slot by slot."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard import recording_format as fmt
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.reading import CgroupReading, Reading
from tests.guard.made import Fds

pytestmark = pytest.mark.hermetic

SLOTS = 64
SMALL = fmt.HEADER_BYTES + SLOTS * fmt.SLOT_BYTES


class Slot:
    """One slot of a file, taken apart."""

    def __init__(self, data: bytes) -> None:
        self.n, self.kind, self.flags, self.number = fmt.HEAD.unpack_from(data)
        self.whole = fmt.is_whole(data)
        self.data = data

    def body(self, layout: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = layout.unpack_from(self.data, fmt.PAYLOAD)
        return found


def slots(path: Path) -> list[Slot]:
    """Those that were written, in the order of their numbers."""
    data = path.read_bytes()[fmt.HEADER_BYTES :]
    found = [Slot(data[at : at + fmt.SLOT_BYTES]) for at in range(0, len(data), fmt.SLOT_BYTES)]
    return sorted((slot for slot in found if slot.kind and slot.whole), key=lambda slot: slot.n)


def kinds(path: Path) -> list[int]:
    return [slot.kind for slot in slots(path)]


class Recorder:
    def __init__(self, path: Path, size: int = SMALL, **options: Any) -> None:
        self.path = path
        self.made = FlightRecorder(
            str(path), size, wall=lambda: 1.7e9, boot_id="boot", release="6.1", **options
        )

    def sample(self, *top: Candidate, t_s: float = 1.0, **fields: Any) -> list[Slot]:
        """Returns the slots that it made."""
        before = {slot.n for slot in slots(self.path)}
        self.made.sample(Reading(t_s, 1000.0, 500.0, **fields), top)
        return [slot for slot in slots(self.path) if slot.n not in before]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recording", 1 << 16)


def task(pid: int = 10, anon_kb: float = 5000.0, **fields: Any) -> Candidate:
    return Candidate(pid, 77, 1, "task", anon_kb=anon_kb, **fields)


def test_the_file_begins_with_what_it_is_and_the_kernel(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", SMALL)
    header = fmt.HEADER.unpack_from((tmp_path / "r").read_bytes())
    assert header == (fmt.MAGIC.ljust(24, b"\0"), 128, SLOTS)
    assert (tmp_path / "r").stat().st_size == SMALL
    recorder.made.flush()
    (boot,) = slots(tmp_path / "r")
    assert (boot.kind, boot.n) == (fmt.BOOT, 0)
    assert [text.rstrip(b"\0") for text in boot.body(fmt.BOOT_BODY)] == [b"boot", b"6.1"]


@pytest.mark.parametrize(("size", "count"), [
    (0, 64), (SMALL, 64), (SMALL + 127, 64), (SMALL + 128, 65),
])  # fmt: skip
def test_it_has_as_many_slots_as_fit_but_some_at_least(
    tmp_path: Path, size: int, count: int
) -> None:
    FlightRecorder(str(tmp_path / "r"), size).close()
    assert (tmp_path / "r").stat().st_size == fmt.HEADER_BYTES + 128 * count


def test_the_machine_is_in_each_sample(recorder: Recorder) -> None:
    *_, slot = recorder.sample(
        t_s=7.5, swap_total_kb=20.0, swap_free_kb=10.7, anon_kb=3.0, zram_kb=4.0, arc_kb=5.0,
        psi_some_us=6.0, psi_full_us=None, refault_pages=8.0, swap_in_pages=-9.0,
        pgscan_pages=2.0**70,
    )  # fmt: skip
    assert (slot.kind, slot.flags) == (fmt.SAMPLE, fmt.KEY)
    assert slot.body(fmt.SAMPLE_BODY) == (
        7.5, 1.7e9, 1000, 500, 20, 10, 3, 4, 5, 6, fmt.NONE, 8, 0, fmt.NONE - 1,
    )  # fmt: skip
    assert recorder.made.samples == 1


def test_a_task_is_all_in_one_slot(recorder: Recorder) -> None:
    one = Candidate(
        10, 77, 3, "n\udcffx" * 9, anon_kb=1.0, shmem_kb=2.0, file_kb=3.0, swap_kb=4.0,
        pgtables_kb=5.0, shmem_sole_kb=6.0, tmpfs_growth_kb=None, oom_score_adj=-17, cpu_s=1.5,
        age_s=2.5, oom_score=None, mm_id=None, uid=None, kthread=True,
    )  # fmt: skip
    two = task(11, uid=33, oom_score=667, mm_id=12, tmpfs_growth_kb=9.0, dying=True)
    found = [slot for slot in recorder.sample(one, two) if slot.kind == fmt.TASK]
    first, second = (slot.body(fmt.TASK_BODY) for slot in found)
    assert first == (
        10, 3, fmt.NO_ID, -17, fmt.KTHREAD, 77, 1, 2, 3, 4, 5, 6, fmt.NONE, 1.5, 2.5, -1,
        fmt.NO_ID, (b"n\xffx" * 9)[:16],
    )  # fmt: skip
    assert second[:6] == (11, 1, 33, 0, fmt.DYING, 77)
    assert second[12:17] == (9, 0.0, 0.0, 667, 12)
    recorder.sample(task(12, kthread=True, dying=True))
    (third, *_) = [slot for slot in slots(recorder.path) if slot.kind == fmt.TASK][2:]
    assert third.body(fmt.TASK_BODY)[4] == fmt.KTHREAD | fmt.DYING


def texts(found: list[Slot]) -> list[tuple[int, int, int, int, int, bytes, int]]:
    out = []
    for slot in found:
        if slot.kind == fmt.TEXT:
            owner, field, part, parts, used, piece = slot.body(fmt.TEXT_BODY)
            out.append((owner, field, part, parts, used, piece[:used], slot.flags))
    return out


def test_texts_of_a_task_are_cut_into_pieces(recorder: Recorder) -> None:
    found = texts(recorder.sample(task(exe="/bin/x", cmdline="c" * 250, user="")))
    assert found == [
        (10, 0, 0, 1, 6, b"/bin/x", fmt.FIRST),
        (10, 1, 0, 3, 100, b"c" * 100, 0), (10, 1, 1, 3, 100, b"c" * 100, 0),
        (10, 1, 2, 3, 50, b"c" * 50, 0),
    ]  # fmt: skip
    assert texts(recorder.sample(task(11))) == [(11, 0, 0, 1, 0, b"", fmt.FIRST)]
    long = texts(recorder.sample(task(12, unit="u" * 100, container="k" * 999)))
    assert [entry[1:5] for entry in long] == [
        (4, 0, 1, 100), (5, 0, 4, 100), (5, 1, 4, 100), (5, 2, 4, 100), (5, 3, 4, 100),
    ]  # fmt: skip
    assert [entry[6] for entry in long] == [fmt.FIRST, 0, 0, 0, 0]


@pytest.mark.parametrize(("change", "written"), [
    ({}, False),
    ({"anon_kb": 64_000.0 + 1023.9}, False),  # less than a MiB
    ({"anon_kb": 64_000.0 + 1024.0}, True),
    ({"anon_kb": 64_000.0 - 1024.0}, True),
    ({"oom_score_adj": 5}, True),
    ({"shmem_kb": 1024.0}, True), ({"swap_kb": 1024.0}, True), ({"pgtables_kb": 1024.0}, True),
    ({"tmpfs_growth_kb": 1024.0}, True), ({"file_kb": 9999.0}, False),
])  # fmt: skip
def test_a_task_is_written_again_when_it_changed(
    recorder: Recorder, change: dict[str, Any], written: bool
) -> None:
    recorder.sample(task(10, 64_000.0))
    made = task(10, 64_000.0)
    for name, value in change.items():
        setattr(made, name, value)
    assert [slot.kind for slot in recorder.sample(made)] == (
        [fmt.TASK, fmt.SAMPLE] if written else [fmt.SAMPLE]
    )


@pytest.mark.parametrize(("kb", "written"), [(131_072.0 - 1.0, False), (131_072.0, True)])
def test_of_a_large_one_a_64th_has_to_change(recorder: Recorder, kb: float, written: bool) -> None:
    recorder.sample(task(10, 64 * 131_072.0))
    assert len(recorder.sample(task(10, 64 * 131_072.0 + kb))) == 1 + written


def test_another_process_of_the_same_number_is_described_anew(recorder: Recorder) -> None:
    recorder.sample(task(exe="/bin/x"))
    other = Candidate(10, 78, 1, "task", anon_kb=5000.0, exe="/bin/y")
    found = recorder.sample(other)
    assert texts(found) == [(10, 0, 0, 1, 6, b"/bin/y", fmt.FIRST)]
    assert [slot.kind for slot in found] == [fmt.TEXT, fmt.TASK, fmt.SAMPLE]
    # It comes and goes meanwhile, and is not described twice before the next key sample.
    recorder.sample()
    assert [slot.kind for slot in recorder.sample(other)] == [fmt.TASK, fmt.SAMPLE]


def test_who_is_gone_is_said_by_its_number(recorder: Recorder) -> None:
    recorder.sample(*(task(pid) for pid in range(10, 50)))
    found = recorder.sample(task(10))
    gone = [slot for slot in found if slot.kind == fmt.GONE]
    most = fmt.GONE_MAX
    assert most == (128 - 12 - 4) // 4 == 28
    assert [slot.number for slot in gone] == [28, 11]
    pids: list[int] = []
    for slot in gone:
        at = fmt.PAYLOAD
        pids += [int.from_bytes(slot.data[at + 4 * n : at + 4 * n + 4], "little")
                 for n in range(slot.number)]  # fmt: skip
    assert sorted(pids) == list(range(11, 50))
    assert [slot.kind for slot in recorder.sample(task(10))] == [fmt.SAMPLE]


def test_cgroups_are_named_once_and_numbered(recorder: Recorder) -> None:
    groups = (
        CgroupReading("/a", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, oom_group=True), CgroupReading("/b", 7.0),
    )  # fmt: skip
    found = recorder.sample(cgroups=groups)
    assert [entry[:2] + entry[5:6] for entry in texts(found)] == [
        (0, fmt.PATH, b"/a"), (1, fmt.PATH, b"/b"),
    ]  # fmt: skip
    first, second = (slot for slot in found if slot.kind == fmt.CGROUP)
    assert (first.number, first.flags, first.body(fmt.CGROUP_BODY)) == (
        0, fmt.OOM_GROUP, (1, 2, 3, 4, 5, 6),
    )  # fmt: skip
    assert (second.number, second.flags, second.body(fmt.CGROUP_BODY)) == (
        1, 0, (7, fmt.NONE, 0, fmt.NONE, fmt.NONE, fmt.NONE),
    )  # fmt: skip
    again = recorder.sample(cgroups=groups[1:])
    assert [(slot.kind, slot.number) for slot in again] == [(fmt.CGROUP, 1), (fmt.SAMPLE, 0)]


def test_everything_is_written_again_every_128_samples(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", 1 << 18)
    for _ in range(260):
        recorder.made.sample(Reading(1.0, 1.0, 1.0, cgroups=(CgroupReading("/a", 1.0),)), [task()])
    samples: list[list[int]] = [[]]
    keys = []
    for slot in slots(tmp_path / "r")[1:]:
        samples[-1].append(slot.kind)
        if slot.kind == fmt.SAMPLE:
            keys += [len(samples) - 1] if slot.flags == fmt.KEY else []
            samples.append([])
    assert keys == [0, 128, 256]
    for number, found in enumerate(samples[:-1]):
        whole = [fmt.TEXT, fmt.TASK, fmt.TEXT, fmt.CGROUP] if number in keys else [fmt.CGROUP]
        assert found == [*whole, fmt.SAMPLE]


def test_a_kill_is_marked(recorder: Recorder) -> None:
    recorder.made.mark(fmt.ACT, 7.5, 10, "victim" * 9, by="policy" * 20, freed_kb=900)
    recorder.made.mark(fmt.KERNEL_KILL, 8.5, -1, "v")
    first, second = slots(recorder.path)[-2:]
    assert (first.kind, first.flags) == (fmt.MARK, fmt.ACT)
    assert first.body(fmt.MARK_BODY) == (
        7.5, 1.7e9, 10, 900, (b"victim" * 9)[:16], (b"policy" * 20)[:48],
    )  # fmt: skip
    assert (second.flags, second.body(fmt.MARK_BODY)[2:4]) == (fmt.KERNEL_KILL, (0xFFFFFFFF, 0))


def test_slot_n_stands_at_its_place_and_the_oldest_is_overwritten(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    for n in range(100):
        recorder.made.mark(fmt.ACT, float(n), n, "x")
    found = slots(tmp_path / "r")
    assert [slot.n for slot in found] == list(range(101 - SLOTS, 101))
    data = (tmp_path / "r").read_bytes()
    for slot in found:
        at = fmt.HEADER_BYTES + slot.n % SLOTS * fmt.SLOT_BYTES
        assert data[at : at + fmt.SLOT_BYTES] == slot.data
    again = Recorder(tmp_path / "r")
    again.made.flush()
    assert slots(tmp_path / "r")[-1].n == 101
    assert slots(tmp_path / "r")[-1].kind == fmt.BOOT


@pytest.mark.parametrize("written", [1, 63, 64, 65, 560, 700, 1000])
def test_another_recorder_goes_on_behind_the_last_whole_slot(tmp_path: Path, written: int) -> None:
    path = tmp_path / "r"
    size = fmt.HEADER_BYTES + 600 * fmt.SLOT_BYTES  # more than is read at once
    first = Recorder(path, size)
    for n in range(written - 1):
        first.made.mark(fmt.ACT, 1.0, n, "x")
    first.made.close()
    data = bytearray(path.read_bytes())
    at = fmt.HEADER_BYTES + (written - 1) % 600 * fmt.SLOT_BYTES
    torn = bytearray(data)
    torn[at + 60] ^= 1
    path.write_bytes(torn)
    Recorder(path, size).made.close()
    assert slots(path)[-1].n == written - 1
    path.write_bytes(data)
    Recorder(path, size).made.close()
    assert slots(path)[-1].n == written


def test_a_slot_at_a_place_that_is_not_its_own_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "r"
    Recorder(path).made.close()
    slot = bytearray(fmt.SLOT_BYTES)
    fmt.HEAD.pack_into(slot, 0, 64 * 9 + 5, fmt.MARK, 0, 0)
    fmt.seal(slot)
    data = bytearray(path.read_bytes())
    at = fmt.HEADER_BYTES + 7 * fmt.SLOT_BYTES
    data[at : at + fmt.SLOT_BYTES] = slot
    path.write_bytes(data)
    recorder = Recorder(path)
    recorder.made.flush()
    assert [one.n for one in slots(path) if one.kind == fmt.BOOT] == [0, 1]


def test_what_is_no_recording_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("something else")
    recorder = Recorder(path)
    assert recorder.made.fault is not None
    assert "is no recording, and stays as it is" in recorder.made.fault
    recorder.made.sample(Reading(1.0, 1.0, 1.0), ())
    recorder.made.mark(fmt.ACT, 1.0, 1, "x")
    assert not recorder.made.flush()
    assert path.read_text() == "something else"
    recorder.made.close()


def test_one_of_another_size_is_moved_aside_and_none_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "r"
    before = Fds()
    Recorder(path).made.close()
    other = Recorder(path, SMALL + 128)
    assert (tmp_path / "r.old").stat().st_size == SMALL
    assert path.stat().st_size == SMALL + 128
    other.made.close()
    other.made.close()
    assert Fds().since(before) == 0


def test_it_is_tried_again_after_so_many_samples(tmp_path: Path) -> None:
    path = tmp_path / "later/r"
    recorder = Recorder(path)
    assert recorder.made.fault == "No such file or directory"
    path.parent.mkdir()
    for _ in range(fmt.KEY_SAMPLES - 1):
        recorder.made.sample(Reading(1.0, 1.0, 1.0), ())
        assert not path.exists()
    recorder.made.sample(Reading(1.0, 1.0, 1.0), ())
    assert kinds(path) == [fmt.BOOT]
    assert recorder.made.samples == 0
    recorder.made.sample(Reading(1.0, 1.0, 1.0), ())
    assert kinds(path) == [fmt.BOOT, fmt.SAMPLE]
    assert recorder.made.samples == 1


class Writes:
    """``os.pwrite`` that fails or cuts what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pwrite = os.pwrite
        self.cuts: list[int | OSError] = []
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, fd: int, data: bytes, at: int) -> int:
        cut = self.cuts.pop(0) if self.cuts else len(data)
        if isinstance(cut, OSError):
            raise cut
        return self.pwrite(fd, data[:cut], at)


def test_what_cant_be_written_is_lost_and_the_next_sample_says_everything(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.sample(task())
    writes = Writes(monkeypatch)
    writes.cuts = [OSError(errno.EIO, "Input/output error")]
    assert recorder.sample(task(), task(11)) == []
    assert recorder.made.fault == "Input/output error"
    assert recorder.made.lost == 3
    found = recorder.sample(task(), task(11))
    assert found[-1].flags == fmt.KEY
    assert len(found) == 5
    assert recorder.made.fault is None


def test_a_write_that_is_cut_loses_what_was_not_written(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.sample(task())
    writes = Writes(monkeypatch)
    writes.cuts = [fmt.SLOT_BYTES + 5]
    recorder.sample(task(), task(11))
    assert recorder.made.lost == 2
    assert recorder.sample(task(), task(11))[-1].flags == fmt.KEY


def test_around_the_end_of_the_file_a_batch_is_written_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path / "r", deferred=True)
    for _ in range(61):
        recorder.made.mark(fmt.ACT, 1.0, 1, "x")
    recorder.made.flush()
    recorder.made.sample(Reading(1.0, 1.0, 1.0), [task(), task(11)])
    assert recorder.made.flush()
    assert [slot.n for slot in slots(tmp_path / "r")][-5:] == [62, 63, 64, 65, 66]
    assert recorder.made.lost == 0


def test_deferred_slots_wait_up_to_a_bound(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", 1 << 19, deferred=True)
    assert kinds(tmp_path / "r") == []
    recorder.made.sample(Reading(1.0, 1.0, 1.0), ())
    for _ in range(2048 - 2):
        recorder.made.mark(fmt.ACT, 1.0, 1, "x")
    assert recorder.made.lost == 0
    recorder.made.mark(fmt.ACT, 1.0, 1, "x")
    assert recorder.made.lost == 1
    assert recorder.made.flush()
    assert len(slots(tmp_path / "r")) == 2048
    recorder.made.sample(Reading(1.0, 1.0, 1.0), ())
    recorder.made.flush()
    assert slots(tmp_path / "r")[-1].flags == fmt.KEY, "what was dropped may be missed"
    recorder.made.close()


def test_a_file_is_a_recording_by_its_first_bytes(tmp_path: Path) -> None:
    path = tmp_path / "r"
    Recorder(path).made.close()
    assert fmt.is_recording(str(path))
    path.write_bytes(fmt.MAGIC[:-1])
    assert not fmt.is_recording(str(path))
    assert not fmt.is_recording(str(tmp_path / "none"))


def test_the_layout_is_that_of_files_that_exist() -> None:
    """Recordings of earlier versions have to be read."""
    assert (fmt.MAGIC, fmt.HEADER_BYTES, fmt.SLOT_BYTES, fmt.KEY_SAMPLES) == (
        b"oomkit recording 1\n", 4096, 128, 128,
    )  # fmt: skip
    assert (fmt.SAMPLE, fmt.TASK, fmt.GONE, fmt.TEXT, fmt.CGROUP, fmt.BOOT, fmt.MARK) == (
        1, 2, 3, 4, 5, 6, 7,
    )  # fmt: skip
    assert (fmt.PAYLOAD, fmt.CRC_AT, fmt.PAYLOAD_BYTES) == (12, 124, 112)
    assert (fmt.KEY, fmt.FIRST, fmt.OOM_GROUP, fmt.KTHREAD, fmt.DYING, fmt.PATH) == (
        1, 1, 1, 1, 2, 255,
    )  # fmt: skip
    assert (fmt.KERNEL_KILL, fmt.ACT) == (1, 2)
    assert (fmt.NONE, fmt.NO_ID, fmt.TEXT_PART, fmt.TEXT_PARTS) == (2**64 - 1, 2**32 - 1, 100, 4)
