"""The machine's files, whatever is there and however long they are."""

from pathlib import Path

import pytest

from oomkit.guard.cgroup_reader import pressure_us, read_group
from oomkit.guard.config import Places
from oomkit.guard.machine_reader import MachineReader
from oomkit.policy.engine.reading import Reading

pytestmark = pytest.mark.hermetic


def reading(t_s: float, anon_kb: int, swap_used_kb: int = 0) -> Reading:
    return Reading(t_s, 1 << 24, 1 << 20, 1 << 22, (1 << 22) - swap_used_kb, anon_kb)


def test_a_moment_is_read_from_whatever_is_there(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 300 kB\n")
    sys_block = tmp_path / "sys/block/zram0"
    sys_block.mkdir(parents=True)
    sources = MachineReader(Places(proc=str(tmp_path), sys=str(tmp_path / "sys")))
    bare = sources.read(1.0)
    assert bare is not None
    assert (bare.mem_total_kb, bare.available_kb, bare.swap_total_kb) == (1000, 300, 0)
    assert bare.psi_full_us is None
    assert bare.refault_pages is None
    (tmp_path / "vmstat").write_text(
        "nr_x 1\nworkingset_refault_anon 5\nworkingset_refault_file 7\npswpin 11\n"
        "pgscan_kswapd 100\npgscan_direct 20\npgscan_direct_throttle 9\n"
    )
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/memory").write_text(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=123\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=45\n"
    )
    (sys_block / "mm_stat").write_text("4096 1024 2048000 0 2048000 0 0 0 0\n")
    arc = tmp_path / "spl/kstat/zfs"
    arc.mkdir(parents=True)
    (arc / "arcstats").write_text(
        "13 1 0x01 1 2 3 4\nname type data\nsize                            4    10485760\n"
        "c_min                           4    1048576\n"
    )
    sources.find()
    whole = sources.read(2.0)
    assert whole is not None
    assert (whole.psi_some_us, whole.psi_full_us) == (123, 45)
    assert whole.refault_pages == 12
    assert whole.swap_in_pages == 11
    assert whole.pgscan_pages == 120
    assert whole.zram_kb == 2000
    assert whole.arc_kb == 9216
    sources.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_cgroup_has_the_limit_of_the_nearest_one_above(tmp_path: Path, version: int) -> None:
    names = {
        1: ("memory.usage_in_bytes", "memory.limit_in_bytes", str(0x7FFFFFFFFFFFF000)),
        2: ("memory.current", "memory.max", "max"),
    }
    usage, limit, unlimited = names[version]
    inner = tmp_path / "outer/inner"
    inner.mkdir(parents=True)
    (inner / usage).write_text("2097152\n")
    (inner / limit).write_text(f"{unlimited}\n")
    (tmp_path / "outer" / limit).write_text("8388608\n")
    (inner / "memory.oom.group").write_text("1\n")
    group = read_group(Places(cgroups=str(tmp_path), cgroup_version=version), "/outer/inner")
    assert group is not None
    assert (group.usage_kb, group.limit_kb) == (2048, 8192)
    assert group.oom_group == (version == 2)
    assert read_group(Places(cgroups=str(tmp_path), cgroup_version=version), "/gone") is None


def test_a_pressure_file_that_is_empty_shows_nothing() -> None:
    assert pressure_us(b"") == (None, None)
    assert pressure_us(None) == (None, None)


@pytest.mark.parametrize("lines", [10, 200, 5000])
def test_meminfo_vmstat_and_pressure_are_read_to_their_end(tmp_path: Path, lines: int) -> None:
    filler = "".join(f"Filler{number}: {number} kB\n" for number in range(lines))
    (tmp_path / "pressure").mkdir()
    (tmp_path / "meminfo").write_text(f"MemTotal: 1000 kB\n{filler}MemAvailable: 77 kB\n")
    (tmp_path / "vmstat").write_text(filler.replace(":", "") + "pgscan_direct 5\npswpin 3\n")
    (tmp_path / "pressure/memory").write_text(
        f"some avg10=0.00 total=9{' ' * lines}\nfull avg10=0.00 total=8\n"
    )
    sources = MachineReader(Places(signals=str(tmp_path)))
    found = sources.read(1.0)
    sources.close()
    assert found is not None
    assert found.available_kb == 77
    assert (found.pgscan_pages, found.swap_in_pages) == (5, 3)
    assert (found.psi_some_us, found.psi_full_us) == (9, 8)


def test_free_swap_is_no_more_than_there_is(tmp_path: Path) -> None:
    """A drill's file may say so, and would keep each rule on free swap from holding."""
    (tmp_path / "meminfo").write_text(
        "MemTotal: 1000 kB\nMemAvailable: 7 kB\nSwapTotal: 0 kB\nSwapFree: 100 kB\n"
    )
    sources = MachineReader(Places(proc="/proc", signals=str(tmp_path)), [])
    try:
        reading = sources.read(1.0)
        assert reading is not None
        assert (reading.swap_total_kb, reading.swap_free_kb) == (0, 0)
    finally:
        sources.close()
