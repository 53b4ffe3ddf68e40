"""What fills a cgroup: rows that add up, figures that people mix up, findings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.memcg_stat import AMOUNTS, MemcgStat, Pressures, Tmpfs
from oomkit.kernel.state import Memcg, Memory, Snapshot, Task
from oomkit.posture.anatomy import REST, anatomy, working_set
from oomkit.posture.anatomy_findings import findings, rates, time_to_limit_s

MIB = 2**20
PAGE = 4096


def machine(*memcgs: Memcg, swap_mib: int = 0, tasks: tuple[Task, ...] = ()) -> Snapshot:
    return Snapshot(
        kernel="6.12.1",
        memory=Memory(
            total_ram_pages=10**6,
            total_swap_pages=swap_mib * MIB // PAGE,
            free_swap_pages=swap_mib * MIB // PAGE,
        ),
        memcgs=(Memcg(path="/"), *memcgs),
        tasks=tasks,
        cpus=2,
    )


def group(limit_mib: int | None, usage_mib: int, path: str = "/a", **more: Any) -> Memcg:
    limit = None if limit_mib is None else limit_mib * MIB // PAGE
    return Memcg(path=path, limit_pages=limit, usage_pages=usage_mib * MIB // PAGE, **more)


def stat(current_mib: float, path: str = "/a", **mib: float) -> MemcgStat:
    amounts = {name: int(size * MIB) for name, size in mib.items()}
    return MemcgStat(path=path, current_bytes=int(current_mib * MIB), stat=amounts)


def kinds(snapshot: Snapshot, of: MemcgStat, before: MemcgStat | None = None) -> dict[str, str]:
    rate = None if before is None else rates(before, of)
    return {f.kind: f.text for f in findings(snapshot, of, anatomy(snapshot, of), rate)}


@given(
    st.dictionaries(st.sampled_from(AMOUNTS), st.integers(0, 2**40)),
    st.none() | st.integers(0, 2**42),
    st.sampled_from([1, 2]),
    st.none() | st.integers(0, 2**40),
)
def test_rows_add_up_whatever_the_kernel_says(
    amounts: dict[str, int], current: int | None, version: int, kmem: int | None
) -> None:
    of = MemcgStat(
        path="/a",
        version=1 if version == 1 else 2,
        current_bytes=current,
        stat=amounts,
        kmem_bytes=kmem if version == 1 else None,
    )
    snapshot = machine(group(100, 50))
    found = anatomy(snapshot, of)
    assert sum(row.bytes for row in found.rows if row.of is None) == found.usage_bytes
    assert all(row.bytes > 0 for row in found.rows if row.name != REST)
    assert found.working_set_bytes == max(0, found.usage_bytes - amounts.get("inactive_file", 0))
    assert 0 <= found.unreclaimable_bytes <= found.usage_bytes
    findings(snapshot, of, found)


def test_the_rest_is_named() -> None:
    found = anatomy(machine(group(100, 60)), stat(60, anon=40, file=19.9, inactive_file=19.9))
    assert found.rest_bytes == pytest.approx(0.1 * MIB, abs=2)
    rest = next(row for row in found.rows if row.name == REST)
    assert "in advance" in rest.note


def test_a_swap_cache_page_that_is_mapped_counts_once() -> None:
    """``swapcached`` is in ``file``; what processes map of it is in ``anon``, too."""
    of = stat(120, anon=100, file=30, swapcached=30, inactive_anon=60, active_anon=60)
    found = anatomy(machine(group(200, 120), swap_mib=100), of)
    assert found.row("anonymous") == 100 * MIB
    assert found.row("swap cache") == 20 * MIB
    assert found.rest_bytes == 0


def test_kernel_memory_without_a_name_is_a_row_of_its_own() -> None:
    of = stat(20, kernel=20, kernel_stack=1, pagetables=2, slab_reclaimable=8, zswap=4)
    found = anatomy(machine(group(None, 20)), of)
    assert found.row("other kernel memory") == 5 * MIB


def test_the_kubelets_working_set() -> None:
    """As setMemoryStats() of cAdvisor: usage less inactive file, never below 0."""
    assert working_set(100, 30) == 70
    assert working_set(100, 130) == 0


@pytest.mark.parametrize(
    ("swap_mib", "memcg", "unreclaimable_mib"),
    [
        (0, group(200, 150), 100),
        (300, group(200, 150), 0),
        (40, group(200, 150), 60),
        (300, group(200, 150, swap_max_pages=0), 100),
        (300, group(200, 150, swap_max_pages=10 * MIB // PAGE), 90),
        (300, group(200, 150, memsw_limit_pages=200 * MIB // PAGE, version=1), 100),
        (300, group(200, 150, swappiness=0, version=1), 100),
    ],
)
def test_what_swap_there_is_decides_what_can_be_reclaimed(
    swap_mib: int, memcg: Memcg, unreclaimable_mib: int
) -> None:
    of = stat(150, anon=100, file=50, inactive_file=30, active_file=20)
    found = anatomy(machine(memcg, swap_mib=swap_mib), of)
    assert found.unreclaimable_bytes == unreclaimable_mib * MIB


def test_the_limit_is_the_lowest_on_the_way_to_the_root() -> None:
    snapshot = machine(group(100, 90, "/a"), group(300, 80, "/a/b"), group(10, 5, "/other"))
    found = anatomy(snapshot, stat(80, "/a/b", anon=80))
    assert (found.limit_bytes, found.limit_of) == (100 * MIB, "/a")
    assert "that of /a, 100 MiB" in kinds(snapshot, stat(80, "/a/b", anon=80))["limit_above"]


def test_page_cache_is_not_the_danger_that_it_looks() -> None:
    snapshot = machine(group(2048, 2000))
    said = kinds(snapshot, stat(2000, anon=50, file=1950, inactive_file=1500, active_file=440))
    assert said["cache"].startswith("1.89 GiB of 2.00 GiB is page cache: not the danger")
    assert "near_limit" not in said


def test_anonymous_memory_at_the_limit_is() -> None:
    said = kinds(machine(group(100, 96)), stat(96, anon=95, file=1, inactive_file=1))
    assert "95.0 MiB of 100 MiB cannot be reclaimed: with 5.00 MiB more" in said["near_limit"]
    assert "cache" not in said


def test_files_in_dev_shm_are_freed_by_no_restart() -> None:
    of = stat(800, anon=90, shmem=702, file=702)
    own = MemcgStat(
        path="/a",
        current_bytes=of.current_bytes,
        stat=of.stat,
        tmpfs=(Tmpfs(mount="/dev/shm", used_bytes=700 * MIB),),
    )
    said = kinds(machine(group(1024, 800)), own)
    assert said["tmpfs"].startswith("700 MiB are files in /dev/shm, which no restart of a process")


def test_shared_memory_of_which_no_mount_is_known() -> None:
    task = Task(pid=7, comm="db", shmem_rss_pages=500 * MIB // PAGE, cgroup="/a/b")
    snapshot = machine(group(1024, 800), tasks=(task,))
    said = kinds(snapshot, stat(800, anon=90, shmem=702, file=702))
    assert "at least 202 MiB of them mapped by no process" in said["shmem"]


def at(seconds: float, current_mib: float, *, hits: int = 0, refaults: int = 0) -> MemcgStat:
    amounts = {"anon": int(current_mib * MIB), "workingset_refault_file": refaults}
    return MemcgStat(
        path="/a",
        current_bytes=int(current_mib * MIB),
        stat=amounts,
        events={"max": hits},
        at_s=seconds,
    )


def test_a_limit_that_is_hit_all_the_time() -> None:
    said = kinds(machine(group(100, 60)), at(2, 60, hits=100, refaults=50), at(1, 60))
    assert said["thrashes"].startswith("the limit is hit 6,000 times a minute, and 50 pages")
    assert "though the machine may be fine" in said["thrashes"]


def test_time_to_the_limit_at_the_present_rate() -> None:
    snapshot = machine(group(100, 60))
    rate = rates(at(1, 60), at(3, 70))
    found = anatomy(snapshot, at(3, 70))
    assert time_to_limit_s(found, rate) == pytest.approx(6.0)
    assert time_to_limit_s(found, None) is None
    assert time_to_limit_s(found, rates(at(1, 70), at(3, 60))) is None
    assert time_to_limit_s(anatomy(machine(), at(3, 70)), rate) is None


def test_readings_at_the_same_moment_allow_no_rate() -> None:
    assert rates(at(1, 60), at(1, 70)) is None


def test_memory_high_throttles() -> None:
    memcg = group(200, 99, high_pages=100 * MIB // PAGE)
    assert "throttled" in kinds(machine(memcg), stat(99, anon=99))
    assert "throttled" not in kinds(machine(memcg), stat(60, anon=60))


def test_kills_for_a_limit_elsewhere_are_distinguished() -> None:
    own = MemcgStat(path="/a", current_bytes=0, events={"oom": 1, "oom_kill": 2})
    above = MemcgStat(path="/a", current_bytes=0, events={"oom": 0, "oom_kill": 1})
    snapshot = machine(group(100, 0))
    assert "none because" not in kinds(snapshot, own)["kills"]
    assert "1 process of it killed" in kinds(snapshot, above)["kills"]
    assert "none because of a limit here or below" in kinds(snapshot, above)["kills"]


def test_waiting_kernel_memory_writing_and_swap() -> None:
    snapshot = machine(group(100, 95, swap_max_pages=0), swap_mib=50)
    of = MemcgStat(
        path="/a",
        current_bytes=95 * MIB,
        stat={"file": 60 * MIB, "inactive_file": 60 * MIB, "file_dirty": 40 * MIB,
              "kernel": 30 * MIB, "pagetables": 30 * MIB},
        pressure=Pressures(full_avg10=35.0),
    )  # fmt: skip
    assert {"dirty", "kernel_memory", "no_swap", "stalled"} <= kinds(snapshot, of).keys()
