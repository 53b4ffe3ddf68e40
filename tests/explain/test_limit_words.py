"""Where memory was, and the limit that would have done: sums and sentences, worked out by hand."""

from typing import Any

import pytest

from oomkit.explain.explanation import explain
from oomkit.explain.limit import advice, limit_change
from oomkit.explain.memory_breakdown import breakdown, machine_kb, memcg_stats, swapped_kb
from oomkit.explain.records import Advice, Change
from oomkit.klog.memory_records import Counter, HugePages, Memory, NodeCounters
from oomkit.klog.records import Killed, Report, Summary
from oomkit.records import replace
from tests.explain.made import (
    DB,
    GIB_KB,
    group,
    machine,
    row,
    with_memcg,
    with_memory,
    zone,
)

UID = "0a1b2c3d-1111-2222-3333-444455556666"
ID = "ab" * 32
SHORT = "ab" * 6
BURSTABLE = f"/kubepods/burstable/pod{UID}"


def shares(report: Report) -> dict[str, int]:
    where = breakdown(report)
    assert where is not None
    assert sum(share.kb for share in where.shares) <= where.total_kb
    return {share.key: share.kb for share in where.shares}


# -- the machine ---------------------------------------------------------------------------------


def test_every_counter_of_a_machine_has_its_share() -> None:
    report = machine(
        nodes={"kernel_stack": 7, "gpu_active": 3, "gpu_reclaim": 2},
        active_anon=100, inactive_anon=20, isolated_anon=3, shmem=10, active_file=200,
        inactive_file=30, isolated_file=4, unevictable=50, slab_reclaimable=5,
        slab_unreclaimable=6, slab=2, pagetables=8, sec_pagetables=1, kernel_misc_reclaimable=9,
        free=1000, free_pcp=11, dirty=70, writeback=60,
    )  # fmt: skip
    report = with_memory(report, hugepages=(
        HugePages(node=0, size_kb=2048, total=3, free=1, surplus=0),
        HugePages(node=1, size_kb=1024, total=1, free=1, surplus=0),
    ))  # fmt: skip
    kb = {"anon": 113 * 4, "file": 234 * 4, "shmem": 40, "unevictable": 200,
          "slab_unreclaimable": 24, "slab_reclaimable": 20, "slab": 8, "pagetables": 36,
          "kernel_stack": 7, "kernel_other": 36, "hugetlb": 7168, "gpu": 5,
          "free": 1011 * 4}  # fmt: skip
    # 4 GiB less all of these
    assert shares(report) == {**kb, "unaccounted": 4_194_304 - sum(kb.values())}
    where = breakdown(report)
    assert where is not None
    assert (where.of, where.total_kb, where.complete) == ("machine", 4_194_304, True)
    assert (where.swap_total_kb, where.swap_used_kb, where.limit_kb) == (0, 0, None)
    assert [share.label for share in where.shares] == [
        "anonymous", "file cache", "shmem, tmpfs", "unevictable", "slab, unreclaimable",
        "slab, reclaimable", "slab", "page tables", "kernel stacks", "other kernel memory",
        "huge pages (hugetlb)", "GPU memory", "unaccounted", "free",
    ]  # fmt: skip


def test_nothing_has_no_share() -> None:
    assert shares(with_memory(machine(free=1), ram_pages=1)) == {"free": 4}
    where = breakdown(with_memory(machine(active_anon=3, free=2), ram_pages=None))
    assert where is not None
    assert (where.total_kb, where.complete) == (20, False)


def test_counters_that_hold_more_than_ram() -> None:
    where = breakdown(with_memory(machine(active_anon=30), ram_pages=20))
    assert where is not None
    assert (where.total_kb, where.kb("unaccounted"), where.complete) == (120, 0, True)


@pytest.mark.parametrize(
    ("counters", "found"),
    [
        ({"active": 5, "inactive": 3}, {"anon_file": 32}),
        ({"active": 5}, {"anon_file": 20}),
        ({"inactive": 3, "slab": 2}, {"anon_file": 12, "slab": 8}),
        # shmem is a part of the anonymous lists, or where it is locked, of the unevictable one.
        ({"active_anon": 5, "shmem": 5}, {"shmem": 20}),
        ({"active_anon": 5, "shmem": 6, "unevictable": 3}, {"shmem": 24, "unevictable": 8}),
        ({"active_anon": 5, "shmem": 9, "unevictable": 3}, {"shmem": 36}),
    ],
)
def test_lists_that_hold_more_than_one_use(counters: dict[str, Any], found: dict[str, int]) -> None:
    assert shares(with_memory(machine(**counters), ram_pages=0)) == found


def test_a_nodes_counters_come_before_the_zones() -> None:
    stack = {"kernel_stack": 5}
    zones = (zone("Normal", 1, 1, 1, counters_kb=stack), zone("DMA", 1, 1, 1, counters_kb=stack))
    both = with_memory(machine(free=1, nodes={"kernel_stack": 8}), zones=zones)
    assert shares(both)["kernel_stack"] == 8
    assert shares(with_memory(machine(free=1), zones=zones))["kernel_stack"] == 10
    two = (NodeCounters(node=0, counters_kb=stack), NodeCounters(node=1, counters_kb={}))
    assert shares(with_memory(machine(free=1), nodes=two))["kernel_stack"] == 5


@pytest.mark.parametrize(
    ("fields", "kb"),
    [
        ({"ram_pages": 100}, 400),
        ({"ram_pages": 100, "reserved_pages": 10}, 360),
        ({"zones": (zone("DMA", 1, 1, 100), zone("Normal", 1, 1, None, present_kb=50))}, 150),
        ({"zones": (zone("DMA", 1, 1, 100, present_kb=999), zone("Normal", 1, 1, 0,
                                                                 present_kb=0))}, 100),
        ({"zones": (zone("DMA", 1, 1, 100), zone("Normal", 1, 1, None))}, None),
        ({}, None),
        # 25 pages of 4 kB are what the lists and free memory hold.
        ({"zones": (zone("DMA", 1, 1, 100),), "counters_pages": {
            "active_anon": 5, "inactive_file": 5, "free": 14, "free_pcp": 1, "slab": 99}}, 100),
        ({"zones": (zone("DMA", 1, 1, 100),), "counters_pages": {
            "active_anon": 5, "inactive_file": 5, "free": 15, "free_pcp": 1}}, None),
    ],
)  # fmt: skip
def test_ram_by_what_is_printed(fields: dict[str, Any], kb: int | None) -> None:
    assert machine_kb(replace(machine(), memory=Memory(**fields))) == kb


def test_ram_in_large_pages() -> None:
    report = replace(machine(), memory=Memory(ram_pages=100), page_kb=64)
    assert machine_kb(report) == 6400
    assert machine_kb(replace(report, memory=None)) is None


def test_only_the_end_of_mem_info_is_left() -> None:
    where = breakdown(with_memory(machine(), total_swap_kb=90, free_swap_kb=20))
    assert where is not None
    assert (where.total_kb, where.shares) == (4_194_304, ())
    assert (where.swap_total_kb, where.swap_used_kb) == (90, 70)
    assert breakdown(with_memory(machine(), ram_pages=None, zones=(zone("DMA", 1, 1, 9),))) is None
    assert breakdown(replace(machine(), memory=None)) is None


@pytest.mark.parametrize(
    ("total", "free", "used"), [(90, 20, 70), (90, None, None), (None, 20, None)]
)
def test_used_swap_of_a_machine(total: int | None, free: int | None, used: int | None) -> None:
    where = breakdown(with_memory(machine(free=1), total_swap_kb=total, free_swap_kb=free))
    assert where is not None
    assert (where.swap_total_kb, where.swap_used_kb) == (total, used)


# -- a memory cgroup -----------------------------------------------------------------------------

V2: dict[str, Any] = {"anon": 600_000, "file": 90_000, "shmem": 10_000, "slab_reclaimable": 3000,
      "slab_unreclaimable": 4000, "pagetables": 5000, "sec_pagetables": 50, "kernel_stack": 600,
      "percpu": 700, "vmalloc": 80, "sock": 900}  # fmt: skip


def test_every_counter_of_a_cgroup_has_its_share() -> None:
    found = shares(group(**V2))
    kb = {"anon": 600_000, "file": 80_000, "shmem": 10_000, "slab_reclaimable": 3000,
          "slab_unreclaimable": 4000, "pagetables": 5050, "kernel_stack": 600,
          "kernel_other": 780, "sock": 900}  # fmt: skip
    assert found == {**kb, "unaccounted": 1_048_576 - sum(kb.values())}
    where = breakdown(group(**V2))
    assert where is not None
    assert (where.of, where.total_kb, where.limit_kb) == ("memcg", 1_048_576, 1_048_576)
    assert where.complete
    # memory.stat's kernel is the sum of all kernel memory: 20,000 - 12,650
    assert shares(group(**V2, kernel=20_000))["kernel_other"] == 7350
    assert "kernel_other" not in shares(group(**V2, kernel=12_650))
    assert "kernel_other" not in shares(group(**V2, kernel=1))
    assert shares(group(anon=9, file=4, shmem=5))["shmem"] == 5
    assert "file" not in shares(group(anon=9, file=4, shmem=4))


def test_counters_that_hold_more_than_the_usage() -> None:
    where = breakdown(group(anon=GIB_KB, file=GIB_KB))
    assert where is not None
    assert where.total_kb == 2 * GIB_KB


def test_a_small_rest_means_nothing() -> None:
    # A fiftieth of 1 GiB are 20,971 kB.
    at = shares(group(anon=1_048_576 - 20_971))
    above = shares(group(anon=1_048_576 - 20_972))
    assert (at, above["unaccounted"]) == ({"anon": 1_027_605}, 20_972)


def v1(*, kmem: int | None = None, memsw: Counter | None = None, **stats: Any) -> Report:
    counter = None if kmem is None else Counter(usage_kb=kmem)
    return with_memcg(group(v2=False, **stats), kmem=counter, memsw=memsw)


def test_a_cgroup_of_v1() -> None:
    assert shares(v1(rss=700_000, cache=300_000, shmem=100_000, kmem=40_000)) == {
        "anon": 700_000, "file": 200_000, "shmem": 100_000, "kernel_other": 40_000,
    }  # fmt: skip
    assert shares(v1(rss=1_040_000, cache=5, shmem=5)) == {"anon": 1_040_000, "shmem": 5}
    assert shares(v1(rss=1_040_000, shmem=5)) == {"anon": 1_040_000, "shmem": 5}
    assert shares(v1(rss=1_040_000)) == {"anon": 1_040_000}
    total = shares(v1(rss=5, cache=3, total_rss=1_030_000, total_cache=18_000, total_shmem=1000))
    assert total == {"anon": 1_030_000, "file": 17_000, "shmem": 1000}


def test_kernel_memory_that_stats_hold_in_part() -> None:
    # 40,000 less 3000, 4000, 5050 and 600
    assert shares(v1(kmem=40_000, **V2))["kernel_other"] == 27_350
    assert shares(v1(kmem=13_429, **V2))["kernel_other"] == 780  # percpu and vmalloc
    assert shares(v1(kmem=13_431, **V2))["kernel_other"] == 781
    assert shares(v1(kmem=40_000))["kernel_other"] == 40_000
    assert shares(v1(kmem=0)) == {}


def test_v1_prints_each_cgroup_below_the_limit_by_itself() -> None:
    stats = {"/app": {"rss": 4096, "cache": 2048}, "/app/a": {"rss": 8192, "mapped": 1024}}
    report = with_memcg(group(v2=False), stats=stats)
    assert memcg_stats(report) == {"rss": 12_288, "cache": 2048, "mapped": 1024}
    # The asker's cgroup is not among them: what it holds is not counted.
    outside = with_memcg(report, task_path="/app/b")
    for one, complete in ((report, True), (outside, False)):
        where = breakdown(one)
        assert where is not None
        assert where.complete is complete
        assert ("unaccounted" in shares(one)) is complete
    for path in ("/app", None, "/app/a"):
        where = breakdown(with_memcg(report, task_path=path))
        assert where is not None
        assert where.complete
    assert not explain(outside).findings
    hierarchical = {"/app": {"rss": 1024, "total_rss": 2048, "cache": 9}}
    assert memcg_stats(with_memcg(report, stats=hierarchical)) == {"rss": 2048}
    where = breakdown(with_memcg(outside, stats=hierarchical))
    assert where is not None
    assert where.complete
    pathless = with_memcg(report, task_path=None, path="/gone")
    assert memcg_stats(pathless) == {"rss": 12_288, "cache": 2048, "mapped": 1024}


def test_stats_are_those_of_the_cgroup_that_ran_out() -> None:
    stats = {"/b": {"anon": 1024}, "/app": {"anon": 2048}}
    report = with_memcg(group(), stats=stats)
    assert memcg_stats(report) == {"anon": 2048}
    assert memcg_stats(with_memcg(report, path="/c")) == {"anon": 1024}
    assert memcg_stats(with_memcg(report, path=None)) == {"anon": 1024}
    assert memcg_stats(group()) == {}
    assert memcg_stats(replace(report, memcg=None)) == {}


def test_without_stats_the_table_shows_where_memory_was() -> None:
    rows = (row(7, "db", 100_000), row(8, "web", 50_000))
    report = replace(group(), tasks=rows)
    assert shares(report) == {"processes": 600_000}
    where = breakdown(report)
    assert where is not None
    assert not where.complete
    assert where.shares[0].label == "processes (sum of rss)"
    assert shares(replace(v1(kmem=600_000), tasks=rows)) == {
        "processes": 448_576, "kernel_other": 600_000,
    }  # fmt: skip
    assert shares(replace(v1(kmem=2 * GIB_KB), tasks=rows)) == {"kernel_other": 2 * GIB_KB}
    assert shares(replace(report, page_kb=1)) == {"processes": 150_000}


def test_stats_without_any_known_use() -> None:
    assert shares(group(pgfault=5)) == {"unaccounted": GIB_KB}
    assert breakdown(with_memcg(group(), memory=None)) is None
    assert breakdown(replace(group(), memcg=None)) is None


@pytest.mark.parametrize(
    ("report", "total", "used"),
    [
        (with_memcg(group(), swap=Counter(usage_kb=3, limit_kb=9)), 9, 3),
        (with_memcg(group(swap=5), swap=Counter(usage_kb=3)), None, 3),
        (v1(), None, None),
        (v1(swap=5, rss=1), None, 5),
        (v1(memsw=Counter(usage_kb=GIB_KB + 7, limit_kb=GIB_KB + 20)), 20, 7),
        (v1(memsw=Counter(usage_kb=GIB_KB + 7, limit_kb=GIB_KB + 20), swap=5, rss=1), 20, 5),
        (v1(memsw=Counter(usage_kb=GIB_KB - 7, limit_kb=GIB_KB - 20)), 0, 0),
        (v1(memsw=Counter(usage_kb=0, limit_kb=GIB_KB)), 0, None),
        (v1(memsw=Counter(usage_kb=GIB_KB + 7)), None, 7),
        (
            with_memcg(v1(memsw=Counter(usage_kb=GIB_KB + 7, limit_kb=GIB_KB)),
                       memory=Counter(usage_kb=GIB_KB)),
            None, 7,
        ),
    ],
)  # fmt: skip
def test_swap_of_a_cgroup(report: Report, total: int | None, used: int | None) -> None:
    where = breakdown(report)
    assert where is not None
    assert (where.swap_total_kb, where.swap_used_kb) == (total, used)


def test_swap_that_tasks_hold() -> None:
    held = ((7, 5), (8, 2), (9, None))
    rows = tuple(row(pid, "db", 1, swapents=swap) for pid, swap in held)
    report = replace(v1(rss=1), tasks=rows)
    where = breakdown(report)
    assert where is not None
    assert swapped_kb(report, where) == 28
    assert swapped_kb(report, replace(where, swap_used_kb=0)) == 0


# -- the limit -----------------------------------------------------------------------------------


def change(report: Report) -> Change:
    (found,) = limit_change(report, breakdown(report))
    return found


def test_the_limit_that_would_have_done() -> None:
    # 1 GiB and 300 MiB in swap; a quarter more are 1655 MiB, in steps of 64 MiB 1664
    report = with_memcg(
        group(anon=700_000, file=300_000, shmem=40_000),
        swap=Counter(usage_kb=307_200, limit_kb=None),
    )
    report = replace(report, tasks=(row(7, "db", 100), row(8, "web", 900), row(9, "sh", 500)))
    assert change(report) == Change(
        kind="limit", knob="memory.max", now=GIB_KB, needed=1_355_776, unit="kb",
        text="memory.max above 1.29 GiB (was 1.00 GiB), with a quarter to spare 1.62 GiB, by "
        "echo 1664M > /sys/fs/cgroup/app/memory.max; in it sat anonymous 684 MiB, file cache "
        "254 MiB (web[8] 3.52 MiB; sh[9] 1.95 MiB)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "roomy"),
    [(1_048_576, 1280), (1_048_577, 1344), (1_101_004, 1344), (1_101_005, 1408)],
)
def test_a_quarter_to_spare_in_steps_of_64_mib(wanted: int, roomy: int) -> None:
    # 1,048,576 kB * 1.25 = 20 steps of 65,536 kB; 1,101,004.8 * 1.25 = 21 steps
    swap = Counter(usage_kb=wanted - 1_048_576)
    assert f"echo {roomy}M >" in change(with_memcg(group(anon=GIB_KB), swap=swap)).text


def test_a_limit_below_what_it_is_now_would_not_have_done() -> None:
    assert change(group(usage_kb=500_000, anon=500_000)).needed == GIB_KB


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (with_memcg(group(), memory=None),
         "a higher limit of /app: how high it was, and what sat in it, the log does not show"),
        (replace(group(), memcg=None, cgroup=None),
         "a higher limit: how high it was, and what sat in it, the log does not show"),
        (with_memcg(group(anon=9), memory=Counter(usage_kb=9)),
         "a higher limit of /app: how high it was, and what sat in it, the log does not show"),
    ],
)  # fmt: skip
def test_a_limit_that_is_not_in_the_log(report: Report, text: str) -> None:
    found = change(report)
    assert (found.text, found.knob, found.now, found.needed) == (text, "memory.max", None, None)


def test_a_limit_is_a_cgroups() -> None:
    assert list(limit_change(machine(), breakdown(machine()))) == []
    assert next(iter(limit_change(group(), None))).now is None


FULL, HALF = Counter(usage_kb=GIB_KB, limit_kb=GIB_KB), Counter(usage_kb=9, limit_kb=GIB_KB)
# 98 % of 1,000,000
NEAR, BELOW = (Counter(usage_kb=usage, limit_kb=1_000_000) for usage in (980_000, 979_999))


@pytest.mark.parametrize(
    ("memory", "memsw", "kmem", "knob"),
    [
        (FULL, FULL, FULL, "memory.limit_in_bytes"),
        (HALF, FULL, FULL, "memory.memsw.limit_in_bytes"),
        (HALF, HALF, FULL, "memory.kmem.limit_in_bytes"),
        (HALF, HALF, HALF, "memory.limit_in_bytes"),
        (HALF, None, FULL, "memory.kmem.limit_in_bytes"),
        (HALF, Counter(usage_kb=GIB_KB), None, "memory.limit_in_bytes"),
        (HALF, Counter(usage_kb=0, limit_kb=0), FULL, "memory.kmem.limit_in_bytes"),
        (NEAR, FULL, None, "memory.limit_in_bytes"),
        (BELOW, FULL, None, "memory.memsw.limit_in_bytes"),
    ],
)
def test_the_limit_that_was_hit(
    memory: Counter, memsw: Counter | None, kmem: Counter | None, knob: str
) -> None:
    found = change(with_memcg(group(v2=False), memory=memory, memsw=memsw, kmem=kmem))
    assert found.knob == knob
    assert found.text.startswith(f"{knob} above ")
    by = with_memcg(group(), memory=memory, memsw=memsw, kmem=kmem)
    assert change(by).knob == "memory.max"


@pytest.mark.parametrize(
    ("path", "v2", "how"),
    [
        (BURSTABLE, True, "resources.limits.memory: 1280Mi of the container in the pod's spec"),
        (f"/ecs/task/{ID}", True,
         "memory: 1280 (MiB) of the container or task in the ECS task definition"),
        ("/ECS/x", True, "memory: 1280 (MiB) of the container or task in the ECS task definition"),
        ("/a/ecstasks-1", True,
         "memory: 1280 (MiB) of the container or task in the ECS task definition"),
        ("/a/ecs/b", True, "echo 1280M > /sys/fs/cgroup/a/ecs/b/memory.max"),
        (f"/docker/{ID}", True, f"docker update --memory 1280m --memory-swap 1280m {SHORT}"),
        (f"/machine.slice/libpod-{ID}.scope", True,
         f"podman update --memory 1280m --memory-swap 1280m {SHORT}"),
        ("/docker/web", True, "docker update --memory 1280m --memory-swap 1280m web"),
        ("/docker/web/x", True, "echo 1280M > /sys/fs/cgroup/docker/web/x/memory.max"),
        ("/lxc/101", True, "pct set 101 --memory 1280"),
        ("/lxc.payload.101/ns", True, "pct set 101 --memory 1280"),
        ("/lxc/10", True, "echo 1280M > /sys/fs/cgroup/lxc/10/memory.max"),
        ("/slurm/uid_1/job_7", False, "sbatch --mem=1280M"),
        ("/system.slice/db.service", True, "systemctl set-property db.service MemoryMax=1280M"),
        ("/system.slice/db.service/", True, "systemctl set-property db.service MemoryMax=1280M"),
        ("/system.slice/db.service/x", True,
         "echo 1280M > /sys/fs/cgroup/system.slice/db.service/x/memory.max"),
        ("app", True, "echo 1280M to its memory.max"),
        ("/app/", True, "echo 1280M > /sys/fs/cgroup/app/memory.max"),
        ("/app", False, "echo 1280M > /sys/fs/cgroup/memory/app/memory.limit_in_bytes"),
    ],
)  # fmt: skip
def test_how_a_limit_is_set(path: str, v2: bool, how: str) -> None:
    assert change(group(path, v2=v2)).text.endswith(f"with a quarter to spare 1.25 GiB, by {how}")


@pytest.mark.parametrize(
    ("report", "held"),
    [
        # A twentieth of 1,000,000 kB are 50,000.
        (group(usage_kb=1_000_000, anon=950_000, file=50_000),
         "; in it sat anonymous 928 MiB, file cache 48.8 MiB"),
        (group(usage_kb=1_000_000, anon=950_001, file=49_999), "; in it sat anonymous 928 MiB"),
        (group(usage_kb=1_000_000, anon=200_000, file=300_000, sock=500_000),
         "; in it sat socket buffers 488 MiB, file cache 293 MiB"),
        (replace(group(), tasks=(row(7, "db", 25_600),)),
         "; in it sat processes (sum of rss) 100 MiB (db[7] 100 MiB)"),
        (replace(group(usage_kb=0), tasks=(row(7, "db", 25_600),)), "; in it sat db[7] 100 MiB"),
        (group(), ""),
    ],
)  # fmt: skip
def test_what_sat_in_it(report: Report, held: str) -> None:
    assert change(report).text.partition("/memory.max")[2] == held


# -- where to look next --------------------------------------------------------------------------


def steps(report: Report) -> dict[str, str]:
    found = advice(report, breakdown(report))
    assert all(isinstance(one, Advice) for one in found)
    assert len({one.kind for one in found}) == len(found)
    return {one.kind: one.text for one in found}


@pytest.mark.parametrize(
    ("comm", "how"),
    [
        ("java", "java: -Xmx or -XX:MaxRAMPercentage, with room for metaspace, threads, buffers"),
        ("node", "node: --max-old-space-size"),
        ("mysqld", "mysqld: innodb_buffer_pool_size and the buffers of each connection"),
        ("mariadbd", "mariadbd: innodb_buffer_pool_size and the buffers of each connection"),
        ("postgres", "postgres: shared_buffers, work_mem and max_connections"),
        ("redis-server", "redis: maxmemory, with room for the copy that a save makes"),
        ("php-fpm7.4", "php-fpm: pm.max_children times memory_limit"),
        ("beam.smp", "RabbitMQ: vm_memory_high_watermark"),
        ("mongod", "mongod: storage.wiredTiger.engineConfig.cacheSizeGB"),
        ("db", "its own bounds on heap, caches and workers"),
    ],
)
def test_a_leak_or_a_size_set_too_large(comm: str, how: str) -> None:
    text = f"if {comm} should do with less: a leak, or a size set too large ({how})"
    largest = replace(group(), tasks=(row(8, "x", 5), row(7, comm, 9), row(9, "y", 1)))
    assert steps(largest) == {"leak": text}
    assert steps(replace(group(), killed=(Killed(pid=7, comm=comm), DB))) == {"leak": text}


def test_nothing_to_look_at() -> None:
    assert steps(replace(group(), killed=())) == {}
    assert advice(machine(), breakdown(machine())) == ()
    assert advice(replace(group(), killed=()), None) == ()


def test_tmpfs_counts() -> None:
    # A quarter of 1 GiB are 262,144 kB.
    at = group(anon=1, file=300_000, shmem=262_144)
    assert "tmpfs" not in steps(at)
    above = group(anon=1, file=300_000, shmem=262_145)
    assert steps(above)["tmpfs"] == "tmpfs counts against the limit: 256 MiB (25 %)"
    assert "tmpfs" not in steps(with_memcg(above, memory=Counter(usage_kb=GIB_KB)))


def in_pod(adj: int | None = None, qos: str = "burstable/", **fields: Any) -> Report:
    path = f"/kubepods/{qos}pod{UID}"
    report = group(path)
    return replace(report, **{"killed": (replace(DB, oom_score_adj=adj),), **fields})


BY_PART = "Burstable: its request is below its limit, so the node may run out first"


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (in_pod(qos="besteffort/", adj=1000),
         "QoS BestEffort: it has no requests, and on a full node it dies first"),
        (in_pod(qos="", adj=-997), "QoS Guaranteed: its request is its limit"),
        (in_pod(qos="", adj=500), "QoS Guaranteed: its request is its limit"),
        (in_pod(), f"QoS {BY_PART}"),
        (in_pod(2), f"QoS {BY_PART}"),
        (in_pod(3), (f"QoS {BY_PART}; its oom_score_adj 3 means a request of about 100 % of the "
                    "node's memory")),
        (in_pod(998), (f"QoS {BY_PART}; its oom_score_adj 998 means a request of about 0.2 % of "
                      "the node's memory")),
        (in_pod(999), f"QoS {BY_PART}"),
        (in_pod(killed=(DB, Killed(pid=8, comm="x", oom_score_adj=900),
                        Killed(pid=9, comm="y", oom_score_adj=800))),
         (f"QoS {BY_PART}; its oom_score_adj 900 means a request of about 10 % of the node's "
         "memory")),
        (in_pod(killed=(DB, Killed(pid=8, comm="x")),
                tasks=(row(8, "x", 1, oom_score_adj=800), row(7, "db", 1, oom_score_adj=900))),
         (f"QoS {BY_PART}; its oom_score_adj 900 means a request of about 10 % of the node's "
         "memory")),
        (in_pod(800, tasks=(row(7, "db", 1, oom_score_adj=900),)),
         (f"QoS {BY_PART}; its oom_score_adj 800 means a request of about 20 % of the node's "
         "memory")),
        (in_pod(killed=(), tasks=(row(7, "db", 1, oom_score_adj=900),)), f"QoS {BY_PART}"),
    ],
)  # fmt: skip
def test_the_quality_of_service_of_a_pod(report: Report, text: str) -> None:
    assert steps(report)["qos"] == text


def test_names_of_pod_and_container() -> None:
    inside = f"{BURSTABLE}/{ID}"
    pod = (
        "the pod's name: kubectl get pods -A -o custom-columns=UID:.metadata.uid,"
        f"NS:.metadata.namespace,NAME:.metadata.name | grep {UID}"
    )
    crictl = f"the container's name: crictl ps -a --id {SHORT}"
    docker = f"the container's name: docker ps -a --filter id={SHORT}"
    found = steps(group(inside))
    assert (found["pod_name"], found["container_name"]) == (pod, crictl)
    assert steps(group(f"/docker/{ID}"))["container_name"] == docker
    # The deepest path that is known counts: of the summary, of the task, of the limit.
    of_task = with_memcg(group(BURSTABLE), task_path=inside)
    assert steps(of_task)["container_name"] == crictl
    of_summary = replace(group("/x"), summary=Summary(task_memcg=inside))
    assert steps(of_summary)["pod_name"] == pod
    plain = replace(of_task, summary=Summary())
    assert steps(plain)["container_name"] == crictl
    assert "pod_name" in steps(replace(group(BURSTABLE), memcg=None))
    assert "pod_name" not in steps(replace(group(), memcg=None, cgroup=None))
    # Names that the log gave need no looking up; an id in them does.
    named = replace(group(inside), owner="pod shop/web, container app")
    assert {"pod_name", "container_name"} & set(steps(named)) == set()
    half = replace(group(inside), owner=f"pod shop/web, container {SHORT}")
    assert "pod_name" not in steps(half)
    assert steps(half)["container_name"] == crictl
