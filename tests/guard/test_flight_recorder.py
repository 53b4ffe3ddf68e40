"""The flight recorder: bounded, and readable whatever happens to whoever writes it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oomkit.guard import recording_format as fmt
from oomkit.guard.flight_recorder import FlightRecorder
from oomkit.history.recording import RecordingError, read_recording
from oomkit.policy.compile import compile_plan
from oomkit.policy.engine.candidate import Candidate
from oomkit.policy.engine.reading import CgroupReading, Reading
from oomkit.policy.engine.victim import Chooser
from oomkit.policy.read import policy_from

KB = st.integers(0, 1 << 42)
MAYBE = st.none() | KB
NAME = st.binary(min_size=1, max_size=90).map(lambda b: b.replace(b"\0", b"\xff"))
TEXT = st.none() | NAME.map(lambda b: b.decode("utf-8", "surrogateescape"))
GROUPS = st.builds(
    CgroupReading, st.sampled_from(["/a", "/b/c"]), KB, MAYBE, KB, MAYBE, MAYBE, MAYBE,
    oom_group=st.booleans(),
)  # fmt: skip
READINGS = st.builds(
    Reading, st.floats(0, 1e8), KB, KB, KB, KB, KB, KB, KB, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE,
    st.lists(GROUPS, max_size=2, unique_by=lambda g: g.path).map(tuple),
)  # fmt: skip
TASKS = st.builds(
    Candidate, st.integers(1, 1 << 22), st.integers(0, 1 << 40), st.integers(0, 1 << 22),
    st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=15),
    anon_kb=KB, shmem_kb=KB, file_kb=KB, swap_kb=KB, pgtables_kb=KB, shmem_sole_kb=KB,
    tmpfs_growth_kb=MAYBE,
    oom_score_adj=st.integers(-1000, 1000), oom_score=st.none() | st.integers(0, 2000),
    cpu_s=st.floats(0, 1e9, width=32), age_s=st.floats(0, 1e9, width=32),
    uid=st.none() | st.integers(0, 1 << 31),
    user=TEXT, exe=TEXT, cmdline=TEXT, cgroup=TEXT, unit=TEXT, container=TEXT,
    mm_id=st.none() | st.integers(0, 1 << 31), kthread=st.booleans(), dying=st.booleans(),
)  # fmt: skip


def fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in type(record).__slots__}  # type: ignore[attr-defined]  # slots


def as_dicts(reading: Reading) -> dict[str, object]:
    return {**fields(reading), "cgroups": [fields(group) for group in reading.cgroups]}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(READINGS, st.lists(TASKS, max_size=5, unique_by=lambda t: t.pid)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_what_is_recorded_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, moments: list[tuple[Reading, list[Candidate]]]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "r"
    ring = FlightRecorder(str(path), 1 << 17, wall=lambda: 1.7e9)
    for reading, tasks in moments:
        ring.sample(reading, tasks)
    recording = read_recording(str(path))
    assert recording.damaged == 0
    assert len(recording.samples) == len(moments)
    for sample, (reading, tasks) in zip(recording.samples, moments, strict=True):
        assert as_dicts(sample.reading) == as_dicts(reading)
        listed = {task.pid: task for task in sample.tasks}
        assert sorted(listed) == sorted(task.pid for task in tasks)
    last = {task.pid: task for task in recording.samples[0].tasks}
    for task in moments[0][1]:
        expected = {**fields(task), "growth_kb": None}
        assert fields(last[task.pid]) == expected
    ring.close()


def moment(t_s: float, available_kb: int = 1 << 20) -> Reading:
    return Reading(t_s, 4 << 20, available_kb, 1 << 20, 1 << 19, 2 << 20, psi_some_us=int(t_s * 9))


def busy(n: int, count: int = 8) -> list[Candidate]:
    """Tasks of which one grows with each sample."""
    return [
        Candidate(100 + i, 5, 1, f"task{i}", anon_kb=10000 * (i + 1) + (4000 * n if not i else 0),
                  cmdline=f"/usr/bin/task --number {i}", cgroup=f"/system.slice/t{i}.service")
        for i in range(count)
    ]  # fmt: skip


def test_the_file_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "r"
    ring = FlightRecorder(str(path), 1 << 18)
    size = path.stat().st_size
    assert size <= 1 << 18
    for n in range(3000):
        ring.sample(moment(float(n)), busy(n))
    assert path.stat().st_size == size
    assert os.listdir(tmp_path) == ["r"]
    times = [sample.reading.t_s for sample in read_recording(str(path)).samples]
    assert times == [float(n) for n in range(int(times[0]), 3000)]
    assert len(times) > 500
    sample = read_recording(str(path)).samples[-1]
    grown = next(task for task in sample.tasks if task.pid == 100)
    assert abs(grown.anon_kb - (10000 + 4000 * 2999)) <= grown.anon_kb / 64
    assert grown.cmdline == "/usr/bin/task --number 0"


def test_tasks_come_and_go_and_pids_are_used_again(tmp_path: Path) -> None:
    path = tmp_path / "r"
    ring = FlightRecorder(str(path), 1 << 18)
    first = Candidate(7, 100, 1, "old", anon_kb=5000, unit="old.service", exe="/old")
    ring.sample(moment(1.0), [first, *busy(0, 2)])
    ring.sample(moment(2.0), busy(0, 2))
    ring.sample(moment(3.0), [Candidate(7, 300, 1, "new", anon_kb=5000)])
    one, two, three = read_recording(str(path)).samples
    assert [task.comm for task in one.tasks] == ["old", "task0", "task1"]
    assert [task.comm for task in two.tasks] == ["task0", "task1"]
    (new,) = three.tasks
    assert (new.comm, new.start_time, new.unit, new.exe) == ("new", 300, None, None)


def test_a_text_that_a_recording_had_to_cut_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    ring = FlightRecorder(str(tmp_path / "r"), 1 << 18)
    ring.sample(
        moment(1.0),
        [Candidate(7, 1, 1, "x", cmdline="y" * 401 + " --precious", exe="/bin/x"),
         Candidate(8, 1, 1, "x", cmdline="y" * 399)],
    )  # fmt: skip
    cut, whole = sorted(read_recording(str(tmp_path / "r")).samples[0].tasks, key=lambda t: t.pid)
    assert (cut.unknown, whole.unknown) == (("cmdline",), ())
    never = {"never": [{"cmdline": "*--precious"}]}
    chooser = Chooser(compile_plan(policy_from({"name": "x", "whom": never})))
    assert chooser.refusal(cut).endswith("as far as can be known (cmdline)")
    assert chooser.refusal(whole) == ""


def test_a_restarted_recorder_goes_on_behind_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "r"
    for run in range(5):
        ring = FlightRecorder(str(path), 1 << 16, wall=lambda: 5.0)
        for n in range(100):
            ring.sample(moment(run * 100.0 + n), busy(n, 2))
        ring.mark(fmt.KERNEL_KILL, run * 100.0 + 99.5, 100, "task0", by="kmsg", freed_kb=77)
        ring.close()
    recording = read_recording(str(path))
    times = [sample.reading.t_s for sample in recording.samples]
    assert times == sorted(times)
    assert times[-1] == 499.0
    assert len({sample.boot for sample in recording.samples}) == 1
    mark = recording.marks[-1]
    assert (mark.kind, mark.pid, mark.comm, mark.by, mark.freed_kb) == (
        "kernel_kill", 100, "task0", "kmsg", 77,
    )  # fmt: skip


def test_the_clock_may_step(tmp_path: Path) -> None:
    path = tmp_path / "r"
    clock = iter([1e9, 2e9, 5e8])
    ring = FlightRecorder(str(path), 1 << 16, wall=lambda: next(clock))
    for t_s in (1.0, 2.0, 3.0):
        ring.sample(moment(t_s), [])
    samples = read_recording(str(path)).samples
    assert [(s.reading.t_s, s.wall_s) for s in samples] == [(1.0, 1e9), (2.0, 2e9), (3.0, 5e8)]


def test_damage_costs_only_what_it_hits(tmp_path: Path) -> None:
    path = tmp_path / "r"
    ring = FlightRecorder(str(path), 1 << 16)
    for n in range(400):
        ring.sample(moment(float(n)), busy(n * 50, 2))
    ring.close()
    whole = path.read_bytes()
    rng = random.Random(1)
    intact = len(read_recording(str(path)).samples)
    for _ in range(30):
        torn = bytearray(whole)
        at = rng.randrange(fmt.HEADER_BYTES, len(torn) - 64)
        torn[at : at + 64] = rng.randbytes(64)
        path.write_bytes(torn)
        recording = read_recording(str(path))
        assert 1 <= recording.damaged <= 2
        # A key sample that is hit costs the samples up to the next one.
        assert len(recording.samples) >= min(intact - 2, intact - fmt.KEY_SAMPLES)
        ring = FlightRecorder(str(path), 1 << 16)
        ring.sample(moment(1e6), [])
        assert read_recording(str(path)).samples[-1].reading.t_s == 1e6
        ring.close()


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "r"
    code = f"""
import itertools, time
from tests.guard.test_flight_recorder import FlightRecorder, busy, moment
ring = FlightRecorder({str(path)!r}, 1 << 20)
for n in itertools.count():
    ring.sample(moment(time.monotonic()), busy(n))
    print(n, flush=True)
"""
    total = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as writer:
            assert writer.stdout is not None
            for _ in range(50):
                writer.stdout.readline()
            time.sleep(0.01)
            read_recording(str(path))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            last = writer.stdout.read().split()[-1:]
        total += int(last[0]) if last else 50
        recording = read_recording(str(path))
        times = [sample.reading.t_s for sample in recording.samples]
        assert times == sorted(times)
        assert recording.damaged <= 1
        assert len(times) >= min(total, 500)


def test_a_full_disk_stops_nothing(small_disk: Path) -> None:
    path = small_disk / "r"
    ring = FlightRecorder(str(path), 1 << 20)
    assert ring.fault == "No space left on device"
    ring.sample(moment(0.0), busy(0))
    ring.close()
    path.unlink()
    ring = FlightRecorder(str(path), 1 << 17)
    with open(small_disk / "ballast", "wb", buffering=0) as file:
        while file.write(bytes(4096)) == 4096 and os.statvfs(small_disk).f_bavail:
            pass
    for n in range(2000):
        ring.sample(moment(float(n)), busy(n))
    assert ring.fault is None
    assert ring.lost == 0
    assert read_recording(str(path)).samples[-1].reading.t_s == 1999.0
    ring.close()


def test_a_recorder_begins_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "later" / "r"
    ring = FlightRecorder(str(path), 1 << 16)
    fault = ring.fault
    assert fault == "No such file or directory"
    path.parent.mkdir()
    for n in range(300):
        ring.sample(moment(float(n)), busy(n, 2))
    assert ring.fault is None
    assert read_recording(str(path)).samples[-1].reading.t_s == 299.0


def test_a_recording_of_another_size_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "r"
    for size in (1 << 16, 1 << 17):
        ring = FlightRecorder(str(path), size)
        ring.sample(moment(float(size)), [])
        ring.close()
    assert read_recording(str(path) + ".old").samples[0].reading.t_s == 1 << 16
    assert read_recording(str(path)).samples[0].reading.t_s == 1 << 17


def test_what_is_deferred_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "r"
    ring = FlightRecorder(str(path), 1 << 20, deferred=True)
    for n in range(4000):
        ring.sample(moment(float(n)), busy(n))
    assert ring.lost
    assert ring.flush()
    ring.sample(moment(1e6), busy(0))
    ring.flush()
    samples = read_recording(str(path)).samples
    assert samples[-1].reading.t_s == 1e6
    assert [task.comm for task in samples[-1].tasks] == [f"task{i}" for i in range(8)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "No such file or directory"),
        (b"", "expected a recording of oomkit guard"),
        (b"[machine]\n", "expected a recording of oomkit guard"),
        (fmt.MAGIC, "cut off in its header"),
        (fmt.MAGIC.ljust(4096, b"\0"), "expected slots of 128 bytes"),
        (fmt.HEADER.pack(fmt.MAGIC, 128, 64).ljust(9000, b"\0"), "holds no sample yet"),
    ],
)
def test_what_is_no_recording_is_named(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "r"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RecordingError, match=said) as caught:
        read_recording(str(path))
    assert str(path) in str(caught.value)
    assert fmt.is_recording(str(path)) == bool(data and data.startswith(fmt.MAGIC))
