"""A reading, from whatever the machine shows, and when processes are read for a policy."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from oomkit.guard.config import Places, Settings
from oomkit.guard.machine_reader import MachineReader
from oomkit.guard.reserve import Reserve
from oomkit.guard.sensors import AGAIN_S, COOL_S, SAFETY_S, Sensors
from oomkit.policy.engine.candidate import Candidate, Growth
from oomkit.policy.engine.conditions import WARN
from oomkit.policy.engine.decider import Assessment
from oomkit.policy.engine.reading import Reading
from oomkit.policy.engine.trigger import State
from tests.guard.made import Fds, Process
from tests.policy.making import LOW, plan

pytestmark = pytest.mark.hermetic

MEMINFO = """\
MemTotal:        {total} kB
MemFree:             100 kB
MemAvailable:    {available} kB
Buffers:              11 kB
Cached:              200 kB
SwapCached:            7 kB
Inactive(file):       50 kB
SwapTotal:       {swap} kB
SwapFree:        {free} kB
AnonPages:           900 kB
Shmem:               77 kB
ShmemHugePages:       5 kB
"""


class Machine:
    """Made files below a directory that stands for ``/``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc, self.sys = root / "proc", root / "sys"
        (self.proc / "pressure").mkdir(parents=True)
        self.meminfo()

    def meminfo(
        self, total: int = 4000, available: int = 1000, swap: int = 500, free: int = 300
    ) -> None:
        (self.proc / "meminfo").write_text(
            MEMINFO.format(total=total, available=available, swap=swap, free=free)
        )

    def vmstat(self, **counters: int) -> None:
        text = "nr_free_pages 9\n" + "".join(f"{name} {n}\n" for name, n in counters.items())
        (self.proc / "vmstat").write_text(text)

    def pressure(self, some: int, full: int) -> None:
        (self.proc / "pressure/memory").write_text(
            f"some avg10=0.00 total={some}\nfull avg10=0.00 total={full}\n"
        )

    def zram(self, name: str, text: str) -> Path:
        device = self.sys / "block" / name
        device.mkdir(parents=True, exist_ok=True)
        (device / "mm_stat").write_text(text)
        return device

    @property
    def places(self) -> Places:
        return Places(proc=str(self.proc), sys=str(self.sys))

    def read(self, **options: Any) -> Reading:
        sources = MachineReader(self.places, **options)
        found = sources.read(7.5)
        sources.close()
        assert found is not None
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_meminfo_alone_makes_a_reading(machine: Machine) -> None:
    found = machine.read()
    assert (found.t_s, found.mem_total_kb, found.available_kb) == (7.5, 4000, 1000)
    assert (found.swap_total_kb, found.swap_free_kb, found.anon_kb) == (500, 300, 900)
    assert (found.zram_kb, found.arc_kb, found.cgroups) == (0, 0, ())
    unknown = ("psi_some_us", "psi_full_us", "refault_pages", "swap_in_pages", "pgscan_pages",
               "working_set_kb")  # fmt: skip
    assert [getattr(found, name) for name in unknown] == [None] * 6


def test_what_meminfo_does_not_say_is_none(machine: Machine) -> None:
    (machine.proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 5 kB\n")
    found = machine.read()
    assert (found.swap_total_kb, found.swap_free_kb, found.anon_kb) == (0, 0, 0)


@pytest.mark.parametrize("text", [
    "", "MemTotal: 9 kB\n", "MemAvailable: 9 kB\n", "MemTotal: x\nMemAvailable: 9 kB\n",
])  # fmt: skip
def test_without_total_or_available_nothing_is_known(machine: Machine, text: str) -> None:
    (machine.proc / "meminfo").write_text(text)
    sources = MachineReader(machine.places)
    assert sources.read(1.0) is None
    assert sources.meminfo == b""
    sources.close()


def test_counters_of_each_kernel(machine: Machine) -> None:
    machine.vmstat(
        workingset_refault_anon=5, workingset_refault_file=7, pswpin=11, pswpout=99,
        pgscan_kswapd=100, pgscan_direct=20, pgscan_direct_throttle=9,
    )  # fmt: skip
    found = machine.read()
    assert (found.refault_pages, found.swap_in_pages, found.pgscan_pages) == (12, 11, 120)
    machine.vmstat(workingset_refault=6, workingset_refault_file_x=3, pgscan_direct=20)
    found = machine.read()  # before 5.9 one counter held both
    assert (found.refault_pages, found.swap_in_pages, found.pgscan_pages) == (6, None, 20)
    machine.vmstat(workingset_refault_anon=0, workingset_refault_file=0)
    assert machine.read().refault_pages in (0, None)
    assert machine.read(counters=False).pgscan_pages is None


def test_no_counter_is_opened_that_nobody_asks_for(machine: Machine) -> None:
    machine.vmstat(pswpin=5)
    before = Fds()
    sources = MachineReader(machine.places, counters=False)
    without = Fds().since(before)
    sources.close()
    sources = MachineReader(machine.places)
    assert Fds().since(before) == without + 1
    sources.close()
    assert Fds().since(before) == 0


def test_pressure_comes_and_goes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = MachineReader(machine.places)
    assert (sources.sees_pressure, sources.pressure_came_or_went()) == (False, False)
    machine.pressure(12, 34)
    sources.find()
    found = sources.read(1.0)
    assert found is not None
    assert (found.psi_some_us, found.psi_full_us) == (12, 34)
    assert (sources.sees_pressure, sources.pressure_came_or_went()) == (True, True)
    assert not sources.pressure_came_or_went()
    (machine.proc / "pressure/memory").write_text("")
    found = sources.read(2.0)
    assert found is not None
    assert found.psi_some_us is None
    assert (sources.sees_pressure, sources.pressure_came_or_went()) == (False, True)
    sources.close()
    sources = MachineReader(machine.places)
    assert sources.sees_pressure
    assert not sources.pressure_came_or_went()
    sources.close()


def test_compressed_swap_is_the_sum_of_its_devices(machine: Machine) -> None:
    """The third number of ``mm_stat`` is what its pages occupy (mem_used_total), bytes."""
    machine.zram("zram0", "4096 1024 2048000 0 9 0 0 0 0\n")
    machine.zram("zram1", "1 1 1024000 0\n")
    machine.zram("loop0", "1 1 1024000 0\n")
    machine.zram("zram2", "1 1\n")
    machine.zram("zram3", "1 1 -5 0\n")
    before = Fds()
    sources = MachineReader(machine.places)
    found = sources.read(1.0)
    assert found is not None
    assert found.zram_kb == 3000
    gone = machine.zram("zram1", "")
    (gone / "mm_stat").unlink()
    gone.rmdir()
    machine.zram("zram7", "1 1 512000 0\n")
    sources.find()
    found = sources.read(2.0)
    assert found is not None
    assert found.zram_kb == 2500
    (machine.sys / "block").rename(machine.sys / "away")
    sources.find()
    found = sources.read(3.0)
    assert found is not None
    assert found.zram_kb == 0
    sources.close()
    assert Fds().since(before) == 0


@pytest.mark.parametrize(("lines", "kb"), [
    ("size 4 10485760\nc_min 4 1048576\n", 9216),
    ("size 4 1048576\nc_min 4 10485760\n", 0),
    ("size 4 2048\n", 2), ("c_min 4 2048\n", 0), ("size 4\n", 0), ("size 4 x\nc_min 4 1\n", 0),
    ("", 0),
])  # fmt: skip
def test_what_the_zfs_cache_could_give_back(machine: Machine, lines: str, kb: float) -> None:
    arc = machine.proc / "spl/kstat/zfs"
    arc.mkdir(parents=True)
    (arc / "arcstats").write_text(f"13 1 0x01 1 2 3 4\nname type data\n{lines}")
    assert machine.read().arc_kb == kb


def test_the_working_set_is_what_cadvisor_counts(machine: Machine) -> None:
    assert machine.read(working_set=True).working_set_kb == 900 + 200 + 11 + 7 - 50
    (machine.proc / "meminfo").write_text(
        "MemTotal: 9 kB\nMemAvailable: 5 kB\nInactive(file): 50 kB\n"
    )
    assert machine.read(working_set=True).working_set_kb == 0


def test_a_working_set_without_an_inactive_list_is_all_that_is_used(machine: Machine) -> None:
    (machine.proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 5 kB\nAnonPages: 7 kB\n")
    assert machine.read(working_set=True).working_set_kb == 7


def test_what_was_read_last_is_there(machine: Machine) -> None:
    sources = MachineReader(machine.places)
    assert (sources.shmem_kb, sources.meminfo) == (0, b"")
    sources.read(1.0)
    assert sources.shmem_kb == 77
    assert sources.meminfo == (machine.proc / "meminfo").read_bytes()
    assert os.readlink(f"/proc/self/fd/{sources.meminfo_fd}") == f"{machine.proc}/meminfo"
    sources.close()
    assert sources.meminfo_fd == -1


def test_in_a_drill_made_figures_are_read_and_their_replacement_is_noticed(
    machine: Machine, tmp_path: Path
) -> None:
    drill = tmp_path / "drill"
    (drill / "pressure").mkdir(parents=True)
    (drill / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    before = Fds()
    sources = MachineReader(Places(proc=str(machine.proc), signals=str(drill)))
    found = sources.read(1.0)
    assert found is not None
    assert found.available_kb == 50
    assert sources.news_fd >= 0
    for number in range(3):
        (drill / "new").write_text(f"MemTotal: 100 kB\nMemAvailable: {20 + number} kB\n")
        (drill / "new").replace(drill / "meminfo")
    found = sources.read(2.0)
    assert found is not None
    assert found.available_kb == 22
    with pytest.raises(BlockingIOError):
        os.read(sources.news_fd, 4096)
    sources.close()
    assert sources.news_fd == -1
    assert Fds().since(before) == 0
    sources.close()
    outside = MachineReader(machine.places)
    assert outside.news_fd == -1
    outside.close()


def test_a_drill_goes_on_where_directories_cant_be_watched(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_paths: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("oomkit.host.libc.watch_directories", refused)
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    sources = MachineReader(Places(proc=str(machine.proc), signals=str(tmp_path)))
    assert sources.news_fd == -1
    assert sources.read(1.0) is not None
    sources.close()


# What a policy reads


class Unbounded(Reserve):
    """Holds nothing, and may open whatever it likes."""

    def __init__(self) -> None:
        super().__init__(bounded=False)
        self.close()


def sensors(machine: Machine, *when: Any, whom: Any = None, **options: Any) -> Sensors:
    made = plan(*(when or (LOW,)), whom=whom)
    settings = Settings(made, places=machine.places, **options.pop("settings", {}))
    return Sensors(made, settings, root="", **options)


@pytest.mark.parametrize(("rule", "recording", "asked"), [
    (LOW, "", False), (LOW, "/r", True), ({"level": "soft", "refault": "10MiB/s"}, "", True),
])  # fmt: skip
def test_counters_are_read_where_a_rule_or_a_recording_asks(
    machine: Machine, rule: Any, recording: str, asked: bool
) -> None:
    machine.vmstat(pgscan_direct=5)
    made = sensors(machine, rule, settings={"recording": recording})
    found = made.reading(1.0)
    made.close()
    assert found is not None
    assert (found.pgscan_pages is not None) is asked


@pytest.mark.parametrize(("by", "asked"), [("oom_score", True), ("freed", False)])
def test_the_kernels_score_is_read_where_a_policy_ranks_by_it(
    machine: Machine, by: str, asked: bool
) -> None:
    made = sensors(machine, whom={"by": by})
    assert ("oom_score" in made.fields) is asked
    made.close()


def test_the_working_set_is_read_where_a_rule_asks(machine: Machine) -> None:
    for rule, kb in ((LOW, None), ({"level": "soft", "working_set_left": "1GiB"}, 1068)):
        made = sensors(machine, rule)
        found = made.reading(1.0)
        made.close()
        assert found is not None
        assert found.working_set_kb == kb


@pytest.mark.parametrize(("whom", "version", "rule", "changes"), [
    ({}, 2, LOW, True),  # memory.oom.group may take others along
    ({}, 1, LOW, False),
    ({"oom_group": False}, 2, LOW, False),
    ({"oom_group": False, "level": "cgroup"}, 2, LOW, True),
    ({"oom_group": False}, 2, {"level": "soft", "cgroup": "/a", "limit_left": "10%"}, True),
])  # fmt: skip
def test_cgroups_are_read_again_where_they_decide(
    machine: Machine, whom: Any, version: int, rule: Any, changes: bool
) -> None:
    process = Process(machine.proc, 10, anon=500, cgroup="0::/a\n1:memory:/a\n")
    (machine.root / "cg").mkdir()
    places = Places(
        proc=str(machine.proc), sys=str(machine.sys), cgroups=str(machine.root / "cg"),
        cgroup_version=version,
    )  # fmt: skip
    made_plan = plan(rule, whom=whom)
    made = Sensors(made_plan, Settings(made_plan, places=places), root="")
    found = made.reading(1.0)
    assert found is not None
    growth = Growth(1.0)
    made.refresh(growth, found)
    process.set(cgroup="0::/b\n1:memory:/b\n")
    candidates, _ = made.candidates(found, growth)
    assert [one.cgroup for one in candidates] == ["/b" if changes else "/a"]
    made.close()


def test_what_came_or_went_is_looked_for_every_ten_seconds(machine: Machine) -> None:
    made = sensors(machine)
    for t_s, kb in ((100.0, 0), (109.9, 0), (110.0, 1000), (111.0, 1000)):
        found = made.reading(t_s)
        assert found is not None
        assert found.zram_kb == kb
        machine.zram("zram0", "1 1 1024000 0\n")
    assert SAFETY_S == 10.0
    made.close()


def look(level: int = 0, *, warm: bool = False) -> Assessment:
    state = State(0.0)
    state.level, state.warm = level, warm
    return Assessment(state)


class Ranking:
    """Sensors whose ranking is watched."""

    def __init__(self, machine: Machine) -> None:
        Process(machine.proc, 10, anon=500)
        self.sensors = sensors(machine)
        self.growth = Growth(1.0)

    def keep(
        self, t_s: float, level: int = 0, *, warm: bool = False, left: float = 1000.0,
        next_s: float = 0.1,
    ) -> float | None:  # fmt: skip
        """Returns when processes were read last."""
        now = Reading(t_s, 4000.0, left, anon_kb=500.0)
        self.sensors.keep_warm(self.growth, look(level, warm=warm), now, next_s)
        return None if self.sensors.warm.is_cold else self.sensors.warm.t_s


@pytest.fixture
def ranking(machine: Machine) -> Any:
    made = Ranking(machine)
    yield made
    made.sensors.close()


def test_nothing_is_read_while_all_is_well(ranking: Ranking) -> None:
    assert ranking.keep(1.0) is None
    assert ranking.keep(3.0, WARN) == 3.0


def test_the_ranking_cools_down_a_minute_after_the_shortage(ranking: Ranking) -> None:
    ranking.growth.note(1.0, 0.0, {})
    assert ranking.keep(10.0, warm=True) == 10.0
    assert ranking.keep(10.0 + COOL_S - 0.1) == 10.0
    known = ranking.growth.is_known
    assert ranking.keep(10.0 + COOL_S) is None
    assert (known, ranking.growth.is_known) == (True, False)
    assert COOL_S == 60.0


def test_while_memory_stands_still_it_is_refreshed_now_and_then(ranking: Ranking) -> None:
    assert ranking.keep(10.0, warm=True) == 10.0
    assert ranking.keep(10.0 + AGAIN_S - 0.1, warm=True) == 10.0
    assert ranking.keep(10.0 + AGAIN_S, warm=True) == 40.0
    assert AGAIN_S == 30.0


@pytest.mark.parametrize(("t_s", "left", "next_s", "again"), [
    (10.21, 960.0, 0.05, True),  # a hundredth of memory has gone
    (10.21, 960.1, 0.05, False),
    (10.19, 900.0, 0.01, False),  # no sooner than that
    (10.4, 900.0, 0.1, True),  # four looks
    (10.39, 900.0, 0.1, False),
    (12.0, 1100.0, 0.1, False),
])  # fmt: skip
def test_a_fall_refreshes_it_sooner_the_nearer_it_is_to_acting(
    ranking: Ranking, t_s: float, left: float, next_s: float, again: bool
) -> None:
    ranking.keep(10.0, warm=True)
    assert ranking.keep(t_s, warm=True, left=left, next_s=next_s) == (t_s if again else 10.0)


@pytest.mark.parametrize(("t_s", "again"), [(10.39, False), (10.4, True)])
def test_at_the_level_warn_it_is_refreshed_without_a_fall(
    ranking: Ranking, t_s: float, again: bool
) -> None:
    ranking.keep(10.0, warm=True)
    assert ranking.keep(t_s, WARN) == (t_s if again else 10.0)


def test_what_a_process_shares_with_none_is_known_before_a_choice_is_due(
    ranking: Ranking, machine: Machine
) -> None:
    made = Process(machine.proc, 11, anon=400, shmem=200)
    smaps = made.directory / "smaps"
    smaps.write_text("1-2 rw-s 0 00:01 7 /dev/zero (deleted)\nPrivate_Dirty: 150 kB\n")
    assert ranking.keep(10.0, WARN) == 10.0
    smaps.unlink()
    due = Reading(12.0, 4000.0, 10.0, anon_kb=900.0)
    found, _ = ranking.sensors.candidates(due, ranking.growth)
    assert {one.pid: one.shmem_sole_kb for one in found} == {10: 0.0, 11: 150.0}


def test_sizes_are_read_once_a_moment(ranking: Ranking, machine: Machine) -> None:
    now = Reading(5.0, 4000.0, 1000.0, anon_kb=500.0)
    assert ranking.sensors.sizes(now, ranking.growth) == {(10, 100): 500.0}
    Process(machine.proc, 11, anon=300)
    assert ranking.sensors.sizes(now, ranking.growth) == {(10, 100): 500.0}
    later = Reading(6.0, 4000.0, 1000.0, anon_kb=800.0)
    assert ranking.sensors.sizes(later, ranking.growth) == {(10, 100): 500.0, (11, 100): 300.0}


class Written:
    """Stands in for who fills tmpfs."""

    def __init__(self, **says: Any) -> None:
        self.says = {"writers": {}, "held": {}, "unnamed": {}, **says}
        self.notes: list[tuple[float, float]] = []
        self.asked: list[tuple[float, float]] = []
        self.forgot = 0

    def writers(self, shmem_kb: float, step_kb: float, _holders: Any) -> dict[int, float]:
        self.asked.append((shmem_kb, step_kb))
        found: dict[int, float] = self.says["writers"]
        return found

    def held_kb(self) -> dict[int, float]:
        found: dict[int, float] = self.says["held"]
        return found

    def unnamed_kb(self, pid: int) -> float:
        return float(self.says["unnamed"].get(pid, 0.0))

    def note(self, shmem_kb: float, step_kb: float) -> None:
        self.notes.append((shmem_kb, step_kb))

    def forget(self) -> None:
        self.forgot += 1


def with_tmpfs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, **says: Any
) -> tuple[Sensors, Written]:
    written = Written(**says)
    monkeypatch.setattr("oomkit.guard.sensors.Tmpfs", lambda _places: written)
    return sensors(machine), written


def test_growth_of_tmpfs_is_counted_from_when_sizes_are_noted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, written = with_tmpfs(machine, monkeypatch)
    now = made.reading(5.0)
    assert now is not None
    growth = Growth(1.0)
    growth.note(5.0, 0.0, made.sizes(now, growth))
    assert (written.notes, written.forgot) == ([(77, 40.0)], 1)
    made.sizes(now, growth)
    assert (written.notes, written.forgot) == ([(77, 40.0)] * 2, 1)
    made.candidates(now, growth)
    assert written.asked == [(77, 40.0)]
    made.close()


def test_what_a_writer_holds_without_a_name_dies_with_it_and_is_its_growth(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid in range(10, 15):
        Process(machine.proc, pid, anon=500)
    made, _ = with_tmpfs(
        machine, monkeypatch,
        writers={10: 300.0, 11: 300.0, 12: 300.0},
        held={12: 900.0, 13: 50.0},
        unnamed={10: 100.0, 11: 400.0, 12: 200.0, 14: 7.0},
    )  # fmt: skip
    now = made.reading(5.0)
    assert now is not None
    growth = Growth(1.0)
    growth.note(4.0, 0.0, {(pid, 100): 500.0 for pid in range(10, 15)})
    found, _ = made.candidates(now, growth)
    assert {c.pid: (c.shmem_sole_kb, c.tmpfs_growth_kb, c.growth_kb) for c in found} == {
        10: (100.0, 200.0, 100.0),  # the rest has a name, and stays
        11: (300.0, 0.0, 300.0),  # no more than it wrote
        12: (900.0, 100.0, 200.0),  # among what it has held for long
        13: (50.0, None, 0.0),
        14: (0.0, None, 0.0),
    }
    made.close()


def test_who_must_not_be_touched_is_no_candidate_and_others_are_asked_about(
    machine: Machine,
) -> None:
    for pid in (10, 11, 12):
        Process(machine.proc, pid, anon=500)
    untouchable: set[tuple[int, int]] = set()
    made = sensors(machine, untouchable=untouchable)
    now = made.reading(5.0)
    assert now is not None

    def found() -> list[int]:
        return sorted(one.pid for one in made.candidates(now, Growth(1.0))[0])

    assert found() == [10, 11, 12]
    untouchable |= {(10, 100), (11, 99)}
    assert found() == [11, 12]
    Process(machine.proc, 999, anon=4)
    assert 999 in [one.pid for one in made.candidates(now, Growth(1.0), also=(999,))[0]]
    made.close()


@pytest.mark.parametrize(("ample", "opened"), [(None, 0), (True, 3), (False, 0)])
def test_for_a_choice_files_stay_open_only_where_there_are_ample(
    machine: Machine, ample: bool | None, opened: int
) -> None:
    Process(machine.proc, 10, anon=500)
    reserve = None if ample is None else Reserve(bounded=not ample)
    made = sensors(machine, whom={"oom_group": False}, reserve=reserve)
    now = made.reading(5.0)
    assert now is not None
    before = Fds()
    made.candidates(now, Growth(1.0))
    assert Fds().since(before) == opened
    made.close()
    if reserve is not None:
        reserve.close()


def test_users_are_read_again_for_a_choice_where_a_policy_names_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for never, count in (({"user": "me"}, 1), ({"comm": "x"}, 0)):
        made = sensors(machine, whom={"never": [never]})
        asked: list[int] = []
        monkeypatch.setattr(type(made.users), "refresh", lambda _self, a=asked: a.append(1))
        now = made.reading(5.0)
        assert now is not None
        made.candidates(now, Growth(1.0))
        assert len(asked) == count
        made.close()


def test_who_may_share_the_memory_of_a_choice_and_was_not_compared(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, anon in ((10, 5000), (11, 4000), (12, 100)):
        Process(machine.proc, pid, anon=anon)
    made = sensors(machine)
    now = made.reading(5.0)
    assert now is not None
    monkeypatch.setattr("oomkit.guard.shared_memory.kcmp_memory", lambda a, b: 1 if a < b else 2)
    found, _ = made.candidates(now, Growth(1.0))
    one = next(c for c in found if c.pid == 10)
    assert made.holding(one, 50.0) == [], "each was compared with each"
    stranger = Candidate(99, 1, 1, "x")
    assert sorted(made.holding(stranger, 4000.0)) == [10, 11]
    made.close()


def test_all_files_are_closed(machine: Machine) -> None:
    Process(machine.proc, 10, anon=500)
    before = Fds()
    made = sensors(machine, whom={"never": [{"user": "root"}]}, reserve=Unbounded())
    now = made.reading(5.0)
    assert now is not None
    made.candidates(now, Growth(1.0))
    assert Fds().since(before) > 4
    made.close()
    assert Fds().since(before) == 0


def test_files_that_the_kernel_makes_line_by_line_are_read_to_their_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read of these may end with the kernel's buffer rather than with the file."""
    machine.vmstat(**{f"filler{number}": number for number in range(300)}, pgscan_direct=5)
    arc = machine.proc / "spl/kstat/zfs"
    arc.mkdir(parents=True)
    filler = "".join(f"filler{number} 4 1\n" for number in range(300))
    (arc / "arcstats").write_text(f"name type data\n{filler}size 4 4096\nc_min 4 1024\n")
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, 1000), at))
    found = machine.read()
    assert (found.pgscan_pages, found.arc_kb) == (5, 3)


def test_cgroups_that_came_are_found_with_the_rest(machine: Machine) -> None:
    cgroups = machine.root / "cg"
    cgroups.mkdir()
    places = Places(
        proc=str(machine.proc), sys=str(machine.sys), cgroups=str(cgroups), cgroup_version=2
    )
    sources = MachineReader(places, [re.compile("/a")])
    (cgroups / "a").mkdir()
    (cgroups / "a/memory.current").write_text("1024\n")
    for find, paths in ((False, []), (True, ["/a"])):
        if find:
            sources.find()
        found = sources.read(1.0)
        assert found is not None
        assert [group.path for group in found.cgroups] == paths
    sources.close()


@pytest.mark.parametrize(("by", "asked"), [("reclaim_rate", True), ("freed", False)])
def test_what_reclaim_scans_in_cgroups_is_read_where_it_ranks(
    machine: Machine, by: str, asked: bool
) -> None:
    group = machine.root / "cg/a"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("1024\n")
    Process(machine.proc, 10, anon=500, cgroup="0::/a\n")
    places = Places(
        proc=str(machine.proc), sys=str(machine.sys), cgroups=str(machine.root / "cg"),
        cgroup_version=2,
    )  # fmt: skip
    made_plan = plan(LOW, whom={"by": by, "level": "cgroup", "oom_group": False})
    made = Sensors(made_plan, Settings(made_plan, places=places), root="")
    now = made.reading(1.0)
    assert now is not None
    _, groups = made.candidates(now, Growth(1.0))
    assert [one.path for one in groups] == (["/a"] if asked else [])
    made.close()
