"""``memory.stat`` and what stands beside it, of both versions, whole or not."""

import os
from pathlib import Path

import pytest

from oomkit.host.cgroups import Hierarchy
from oomkit.host.memcg_stat import (
    Slab,
    mounts_in_memory,
    oomd_kills,
    parse_memory_stat,
    parse_slabinfo,
    read_memcg_stat,
    read_memcg_stats,
    read_slabs,
    tmpfs_of,
)
from tests.host.fake import memcg_v1, memcg_v2, write

V1 = b"""\
cache 4096
rss 8192
shmem 0
inactive_file 4096
hierarchical_memory_limit 104857600
total_cache 40960
total_rss 81920
total_shmem 12288
total_mapped_file 4096
total_dirty 8192
total_writeback 0
total_inactive_anon 90112
total_inactive_file 24576
total_active_file 4096
"""
V2 = b"""\
anon 81920
file 40960
kernel 65536
kernel_stack 16384
shmem 12288
inactive_file 24576
pgfault 12345
workingset_refault_file 7
something_new 99
"""


def test_version_1_is_reported_under_the_names_of_version_2_groups_below_included() -> None:
    assert parse_memory_stat(V1, 1) == {
        "file": 40960,
        "anon": 81920,
        "shmem": 12288,
        "file_mapped": 4096,
        "file_dirty": 8192,
        "file_writeback": 0,
        "inactive_anon": 90112,
        "inactive_file": 24576,
        "active_file": 4096,
    }


def test_version_1_without_a_hierarchy_has_no_totals() -> None:
    flat = b"".join(line for line in V1.splitlines(keepends=True) if b"total_" not in line)
    assert parse_memory_stat(flat, 1)["anon"] == 8192


def test_version_2_keeps_what_an_anatomy_reads() -> None:
    assert parse_memory_stat(V2, 2) == {
        "anon": 81920,
        "file": 40960,
        "kernel": 65536,
        "kernel_stack": 16384,
        "shmem": 12288,
        "inactive_file": 24576,
        "workingset_refault_file": 7,
    }


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"anon\nfile -5\nshmem x\n", b"anon 12"])
def test_a_damaged_stat_is_as_much_as_can_be_read(data: bytes) -> None:
    assert set(parse_memory_stat(data, 2)) <= {"anon"}


def test_a_group_of_version_2(tmp_path: Path) -> None:
    group = tmp_path / "a"
    memcg_v2(group)
    write(group / "memory.stat", V2)
    write(group / "memory.peak", "500000\n")
    write(group / "memory.events", "low 0\nhigh 3\nmax 9\noom 1\noom_kill 2\noom_group_kill 0\n")
    write(group / "memory.events.local", "low 0\nhigh 0\nmax 4\noom 0\noom_kill 1\n")
    averages = "avg60=0.40 avg300=0.00"
    some, full = f"some avg10=1.50 {averages} total=1234", f"full avg10=0.50 {averages} total=99"
    write(group / "memory.pressure", f"{some}\n{full}\n")
    stat = read_memcg_stat(Hierarchy(2, str(tmp_path)), "/a")
    assert stat is not None
    assert (stat.current_bytes, stat.peak_bytes, stat.kmem_bytes) == (409600, 500000, None)
    assert (stat.events["max"], stat.local_events["max"]) == (9, 4)
    assert stat.pressure is not None
    assert (stat.pressure.some_avg10, stat.pressure.full_total_us) == (1.5, 99)


def test_a_group_of_version_1(tmp_path: Path) -> None:
    memcg_v1(tmp_path)
    write(tmp_path / "memory.stat", V1)
    write(tmp_path / "memory.failcnt", "10\n")
    write(tmp_path / "memory.memsw.failcnt", "7\n")
    write(tmp_path / "memory.kmem.usage_in_bytes", "28672\n")
    write(tmp_path / "memory.max_usage_in_bytes", "819200\n")
    stat = read_memcg_stat(Hierarchy(1, str(tmp_path)), "/")
    assert stat is not None
    assert (stat.version, stat.kmem_bytes, stat.peak_bytes) == (1, 28672, 819200)
    assert stat.events == {"max": 17, "oom_kill": 3}


def test_the_root_of_version_2_has_no_usage(tmp_path: Path) -> None:
    write(tmp_path / "memory.stat", V2)
    stat = read_memcg_stat(Hierarchy(2, str(tmp_path)), "/")
    assert stat is not None
    assert stat.current_bytes is None


def test_a_group_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    memcg_v2(tmp_path / "here")
    found = read_memcg_stats(Hierarchy(2, str(tmp_path)), ["/gone", "/here"])
    assert [stat.path for stat in found] == ["/here"]


SLABINFO = b"""\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables
dentry            100 210 192 21 1 : tunables 0 0 0 : slabdata 10 10 0
inode_cache        10  28 608 14 2 : tunables 0 0 0 : slabdata 200 200 0
empty               0   0  64 64 1 : tunables 0 0 0 : slabdata 0 0 0
cut 1 2
"""


def test_slab_caches_by_the_pages_they_hold() -> None:
    assert parse_slabinfo(SLABINFO, 4096) == [
        Slab(name="inode_cache", bytes=200 * 2 * 4096),
        Slab(name="dentry", bytes=10 * 4096),
    ]


def test_only_the_machine_and_old_groups_of_version_1_have_slab_caches(tmp_path: Path) -> None:
    write(tmp_path / "proc/slabinfo", SLABINFO)
    write(tmp_path / "old/memory.kmem.slabinfo", SLABINFO)
    write(tmp_path / "new/memory.kmem.slabinfo", "")
    proc, v1, v2 = str(tmp_path / "proc"), Hierarchy(1, str(tmp_path)), Hierarchy(2, str(tmp_path))
    assert read_slabs(v2, "/", proc, 4096)
    assert read_slabs(v1, "/old", proc, 4096)
    assert read_slabs(v1, "/new", proc, 4096) is None
    assert read_slabs(v2, "/old", proc, 4096) is None


def test_a_group_that_oomd_never_killed_in_has_no_note(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert oomd_kills(Hierarchy(2, str(tmp_path)), "/a") is None
    try:
        os.setxattr(tmp_path / "a", "user.oomd_kill", b"3")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error.strerror}")
    assert oomd_kills(Hierarchy(2, str(tmp_path)), "/a") == 3


MOUNTINFO = rb"""22 1 0:20 / / rw - overlay overlay rw
23 22 0:55 / /dev/shm rw,nosuid shared:3 - tmpfs shm rw,size=65536k
24 22 0:56 / /run/my\040dir rw - tmpfs tmpfs rw
25 22 0:55 /sub /elsewhere rw - tmpfs shm rw
26 22 8:1 / /data rw - ext4 /dev/sda1 rw
27 22
"""


def test_file_systems_in_memory_once_each() -> None:
    assert mounts_in_memory(MOUNTINFO) == {b"0:55": "/dev/shm", b"0:56": "/run/my dir"}


def test_what_a_process_sees_in_memory(tmp_path: Path) -> None:
    """Of a copied ``/proc``: sizes are those of the file system that the copy lies on."""
    proc = tmp_path / "proc"
    write(proc / "1/mountinfo", b"30 1 0:56 / /run rw - tmpfs tmpfs rw\n")
    write(proc / "7/mountinfo", MOUNTINFO)
    (proc / "7/ns").mkdir()
    (proc / "7/ns/mnt").symlink_to("mnt:[4026532000]")
    (proc / "7/root/dev/shm").mkdir(parents=True)
    (proc / "7/root/run/my dir").mkdir(parents=True)
    found = tmpfs_of(str(proc), [6, 7])
    assert found is not None
    assert {(t.mount, t.shared) for t in found} == {("/dev/shm", False), ("/run/my dir", True)}
    assert tmpfs_of(str(proc), [6]) is None
