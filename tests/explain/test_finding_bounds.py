"""From which amount on each finding is there, to the page or kB, at what level, in what words.

The machine has 4 GiB: an eighth are 131,072 pages, a quarter 262,144, a tenth 104,857.6. The
memory cgroup has 1 GiB, 1,048,576 kB: a tenth are 104,857.6 kB, a quarter 262,144.
"""

from typing import Any

import pytest

from oomkit.explain.explanation import explain
from oomkit.klog.memory_records import Counter, HugePages, Protection, Slab
from oomkit.klog.records import Killed, Predicted, Reaped, Report, Stall
from oomkit.records import replace
from tests.explain.made import (
    GIB_KB,
    GIB_PAGES,
    MACHINE_PAGES,
    ZONES,
    findings_of,
    group,
    machine,
    row,
    text_of,
    with_memcg,
    with_memory,
)


def hugepages(total: int, free: int, size_kb: int = 4) -> Report:
    pages = HugePages(node=0, size_kb=size_kb, total=total, free=free, surplus=0)
    return with_memory(machine(free=1), hugepages=(pages,))


def with_swap(report: Report, total_kb: int, free_kb: int | None) -> Report:
    return with_memory(report, total_swap_kb=total_kb, free_swap_kb=free_kb)


@pytest.mark.parametrize(
    ("kind", "make", "amount", "level"),
    [
        ("slab_leak", lambda n: machine(slab_unreclaimable=n), 131_072, "odd"),
        ("slab_leak", lambda n: machine(slab=n), 131_072, "odd"),
        ("slab_leak", lambda n: machine(slab=n, slab_unreclaimable=n), 65_536, "odd"),
        ("shmem", lambda n: machine(active_anon=n, shmem=n), 131_072, "odd"),
        ("page_tables", lambda n: machine(pagetables=n), 104_857, "odd"),
        ("page_tables", lambda n: machine(pagetables=4857, sec_pagetables=n), 100_000, "odd"),
        ("kernel_stacks", lambda n: machine(free=1, nodes={"kernel_stack": n}), 419_430, "odd"),
        ("unevictable", lambda n: machine(unevictable=n), 262_144, "cause"),
        ("kernel_memory", lambda n: machine(kernel_misc_reclaimable=n), 262_144, "cause"),
        ("gpu", lambda n: machine(free=1, nodes={"gpu_active": n}), 419_430, "odd"),
        ("gpu", lambda n: machine(free=1, nodes={"gpu_active": 19_430, "gpu_reclaim": n}),
         400_000, "odd"),
        ("unaccounted", lambda n: machine(free=MACHINE_PAGES - n), 209_715, "odd"),
        ("sockets", lambda n: group(anon=0, sock=n), 104_857, "odd"),
        ("kernel_memory", lambda n: group(anon=0, percpu=n), 262_144, "cause"),
        ("kernel_memory", lambda n: group(anon=0, percpu=62_144, vmalloc=n), 200_000, "cause"),
        ("slab_leak", lambda n: group(anon=0, slab_unreclaimable=n), 131_072, "odd"),
        ("no_swap", lambda n: machine(active_anon=n), 262_144, "odd"),
        ("no_swap", lambda n: group(anon=n), 262_144, "odd"),
        ("hugepages_unused", lambda n: hugepages(n, n), 52_428, "odd"),
        ("hugepages", lambda n: hugepages(n, 0), 262_144, "odd"),
        ("dirty", lambda n: machine(inactive_file=n, dirty=n), 262_144, "cause"),
        ("dirty", lambda n: machine(inactive_file=n, dirty=2144, writeback=n), 260_000, "cause"),
        ("dirty", lambda n: machine(inactive_file=n, writeback=n), 262_144, "cause"),
        ("dirty", lambda n: group(file=n, file_dirty=n), 262_144, "cause"),
        ("dirty", lambda n: group(file=n, file_writeback=n), 262_144, "cause"),
        ("cache_left", lambda n: machine(inactive_file=n), 349_525, "odd"),
        ("cache_left", lambda n: group(anon=0, file=n), 349_525, "odd"),
        ("free_left", lambda n: machine(active_file=1, free=n), 157_286, "odd"),
        ("protected", lambda n: replace(machine(free=1), protection=Protection(min_kb=n, low_kb=0)),
         419_430, "odd"),
        ("protected", lambda n: replace(machine(free=1), protection=Protection(min_kb=0, low_kb=n)),
         419_430, "odd"),
    ],
)  # fmt: skip
def test_a_finding_begins_above_its_bound(kind: str, make: Any, amount: int, level: str) -> None:
    assert kind not in findings_of(make(amount))
    found = findings_of(make(amount + 1))[kind]
    assert found.level == level


@pytest.mark.parametrize(
    ("kind", "make", "amount"),
    [
        ("slab_leak", lambda n: machine(slab_unreclaimable=n), 262_144),
        ("shmem", lambda n: machine(active_anon=n, shmem=n), 262_144),
        ("page_tables", lambda n: machine(pagetables=n), 262_144),
        ("kernel_stacks", lambda n: machine(free=1, nodes={"kernel_stack": n}), GIB_KB),
        ("gpu", lambda n: machine(free=1, nodes={"gpu_reclaim": n}), GIB_KB),
        ("unaccounted", lambda n: machine(free=MACHINE_PAGES - n), 262_144),
        ("sockets", lambda n: group(anon=0, sock=n), 262_144),
        ("hugepages_unused", lambda n: hugepages(262_144, n), 131_073),
        ("protected", lambda n: replace(machine(free=1), protection=Protection(min_kb=n, low_kb=0)),
         GIB_KB),
    ],
)  # fmt: skip
def test_above_a_quarter_it_is_a_cause(kind: str, make: Any, amount: int) -> None:
    if kind == "hugepages_unused":
        # More than half of them are unused, and these are more than an eighth of RAM.
        assert kind not in findings_of(hugepages(262_144, 131_072))
        assert findings_of(hugepages(200_000, 131_072))[kind].level == "odd"
    else:
        assert findings_of(make(amount))[kind].level == "odd"
    assert findings_of(make(amount + 1))[kind].level == "cause"


def test_memory_low_is_odd_however_much_it_keeps() -> None:
    kept = Protection(min_kb=GIB_KB, low_kb=2 * GIB_KB)
    report = replace(machine(free=1), protection=kept)
    assert text_of(report, "protected") == (
        "odd: 2.00 GiB (50 %) were protected from reclaim by memory.low of cgroups below"
    )
    both = replace(report, protection=Protection(min_kb=2 * GIB_KB, low_kb=2 * GIB_KB))
    assert text_of(both, "protected") == (
        "cause: 2.00 GiB (50 %) were protected from reclaim by memory.min of cgroups below"
    )


@pytest.mark.parametrize(
    ("report", "kind", "text"),
    [
        (
            machine(slab_unreclaimable=GIB_PAGES),
            "slab_leak",
            ("odd: slab that can't be reclaimed holds 1.00 GiB (25 %): a leak in the kernel or a "
            "driver, if it grows; see slabtop"),
        ),
        (
            with_memory(
                machine(slab_unreclaimable=2 * GIB_PAGES),
                unreclaimable_slab=tuple(
                    Slab(name=name, used_kb=0, total_kb=size)
                    for name, size in (("a", 3072), ("b", 1024), ("c", 4096), ("d", 2048))
                ),
            ),
            "slab_leak",
            ("cause: slab that can't be reclaimed holds 2.00 GiB (50 %), most in c 4.00 MiB, "
            "a 3.00 MiB, d 2.00 MiB"),
        ),
        (
            with_memory(
                replace(group(anon=0, slab_unreclaimable=GIB_KB // 2), memory=machine().memory),
                unreclaimable_slab=(Slab(name="a", used_kb=0, total_kb=4096),),
            ),
            "slab_leak",
            ("cause: slab that can't be reclaimed holds 512 MiB (50 %): a leak in the kernel or a "
            "driver, if it grows; see slabtop"),
        ),
        (
            machine(active_anon=GIB_PAGES, shmem=GIB_PAGES),
            "shmem",
            ("odd: shared memory and tmpfs hold 1.00 GiB (25 %): a kill does not free them; look "
            "at tmpfs mounts (df -t tmpfs), SysV segments (ipcs -m) and memfds"),
        ),
        (
            machine(pagetables=GIB_PAGES),
            "page_tables",
            "odd: page tables: many large mappings of shared memory (1.00 GiB, 25 %)",
        ),
        (
            machine(free=1, nodes={"kernel_stack": GIB_KB}),
            "kernel_stacks",
            "odd: kernel stacks: a great many threads (1.00 GiB, 25 %)",
        ),
        (
            machine(unevictable=2 * GIB_PAGES),
            "unevictable",
            "cause: memory that can't be evicted: mlock, or ramfs (2.00 GiB, 50 %)",
        ),
        (
            machine(kernel_misc_reclaimable=2 * GIB_PAGES),
            "kernel_memory",
            "cause: kernel memory: per-CPU data, vmalloc, drivers (2.00 GiB, 50 %)",
        ),
        (
            machine(free=1, nodes={"gpu_active": GIB_KB, "gpu_reclaim": GIB_KB}),
            "gpu",
            "cause: memory of GPUs: buffers of graphics or compute programs (2.00 GiB, 50 %)",
        ),
        (
            group(anon=0, sock=GIB_KB // 4),
            "sockets",
            "odd: socket buffers: peers that do not read, or too many connections (256 MiB, 25 %)",
        ),
        (
            machine(free=3 * GIB_PAGES),
            "unaccounted",
            ("odd: 1.00 GiB (25 %) are in none of the kernel's counters: drivers and GPUs "
            "(dma-buf), a VM's balloon, vmalloc, pages that a module took"),
        ),
        (
            hugepages(1024, 1000, 2048),
            "hugepages_unused",
            ("cause: 2.00 GiB are set aside as huge pages and 1.95 GiB of them unused (49 % of "
            "RAM): lower vm.nr_hugepages"),
        ),
        (
            hugepages(1024, 512, 2048),
            "hugepages",
            "odd: 2.00 GiB (50 %) are set aside as huge pages, 1.00 GiB unused",
        ),
        (
            machine(active_anon=3 * GIB_PAGES),
            "no_swap",
            "odd: there is no swap: 3.00 GiB of anonymous memory had to stay",
        ),
        (
            group(anon=GIB_KB),
            "no_swap",
            "odd: the cgroup may not swap: 1.00 GiB of anonymous memory had to stay",
        ),
        (
            with_swap(machine(active_anon=10), 102_400, 2048),
            "swap_full",
            "cause: swap is full: 98.0 MiB of 100 MiB in use",
        ),
        (
            with_swap(machine(active_anon=10), 102_400, 51_201),
            "swap_unused",
            ("odd: swap was still 50 % free (50.0 MiB): what filled memory could not be swapped "
            "(mlock, kernel memory) or not fast enough, or the request was of a kind that swap "
            "can't help"),
        ),
        (
            machine(inactive_file=2 * GIB_PAGES, dirty=GIB_PAGES, writeback=GIB_PAGES),
            "dirty",
            ("cause: 2.00 GiB (50 %) were written files waiting for their disk: reclaim can't free "
            "them before they are written back"),
        ),
        (
            machine(inactive_file=GIB_PAGES, active_file=GIB_PAGES),
            "cache_left",
            "odd: 2.00 GiB (50 %) of file cache were left: reclaim did not get at them",
        ),
        (
            machine(free=2 * GIB_PAGES),
            "free_left",
            ("odd: 2.00 GiB (50 %) of RAM was free when this was printed: it came free in between, "
            "or the request could not use it"),
        ),
        (
            replace(
                machine(), reaped=(Reaped(pid=5, comm="ok"), Reaped(pid=7, comm="db", reaped=False),
                                   Reaped(pid=8, comm="web", reaped=False)),
            ),
            "not_reaped",
            "odd: oom_reaper could not free the memory of db[7]",
        ),
        (
            replace(machine(), would_have=True),
            "would_have",
            "note: vm.would_have_oomkilled is set: the victim was named and spared",
        ),
    ],
)  # fmt: skip
def test_a_finding_in_its_words(report: Report, kind: str, text: str) -> None:
    assert text_of(report, kind) == text


@pytest.mark.parametrize("kind", ["machine", "memcg", "cpuset", "mempolicy", "zone", "sysrq"])
def test_full_swap_is_a_cause_where_memory_that_can_swap_ran_out(kind: str) -> None:
    report = with_swap(machine(active_anon=10), 102_400, 2048)
    if kind == "memcg":
        report = with_memcg(group(anon=GIB_KB), swap=Counter(usage_kb=100_352, limit_kb=102_400))
    elif kind == "zone":
        report = replace(with_memory(report, zones=ZONES), gfp_mask="0xd0")
    elif kind != "machine":
        report = replace(report, scope=kind)
    assert explain(report).shortage.kind == kind
    assert ("swap_full" in findings_of(report)) == (kind not in ("zone", "sysrq"))


def test_swap_is_full_when_no_more_than_a_fiftieth_is_free() -> None:
    # 102,400 kB // 50 = 2048 kB
    at, above = (with_swap(machine(active_anon=9), 102_400, free) for free in (2048, 2049))
    assert "swap_full" in findings_of(at)
    assert set(findings_of(above)) & {"swap_full", "swap_unused"} == set()


def test_swap_is_unused_when_more_than_half_is_free_and_the_machine_ran_out() -> None:
    at, above = (with_swap(machine(active_anon=9), 102_400, free) for free in (51_200, 51_201))
    assert "swap_unused" not in findings_of(at)
    assert "swap_unused" in findings_of(above)
    for scope in ("cpuset", "mempolicy", "sysrq"):
        assert "swap_unused" not in findings_of(replace(above, scope=scope))
    unknown = with_swap(machine(active_anon=9), 102_400, None)
    assert set(findings_of(unknown)) & {"swap_full", "swap_unused"} == set()


def test_cache_left_is_no_finding_where_a_zone_ran_out_or_files_were_dirty() -> None:
    report = machine(inactive_file=2 * GIB_PAGES)
    assert "cache_left" in findings_of(report)
    assert "cache_left" not in findings_of(replace(report, scope="cpuset"))
    dirty = findings_of(machine(inactive_file=2 * GIB_PAGES, dirty=2 * GIB_PAGES))
    assert "cache_left" not in dirty
    assert "dirty" in dirty


@pytest.mark.parametrize(
    ("counters", "pages"),
    [
        ({"file_dirty": 200_000, "file_writeback": 200_000}, "391 MiB (38 %)"),
        ({"dirty": 300_000, "file_dirty": 1, "file_writeback": 1000}, "294 MiB (29 %)"),
        ({"writeback": 300_000, "file_writeback": 1}, "293 MiB (29 %)"),
    ],
)
def test_dirty_files_of_a_cgroup_by_either_name(counters: dict[str, Any], pages: str) -> None:
    # 400,000 kB = 390.6 MiB; 301,000 kB = 293.9 MiB; of 1,048,576 kB
    assert text_of(group(file=GIB_KB, **counters), "dirty").startswith(f"cause: {pages} were")


def test_nothing_is_wrong_on_request() -> None:
    report = replace(machine(slab_unreclaimable=3 * GIB_PAGES, active_anon=GIB_PAGES),
                     scope="sysrq")  # fmt: skip
    assert findings_of(report) == {}
    assert set(findings_of(replace(report, scope="global"))) == {"slab_leak"}


def test_nothing_is_wrong_where_memory_is_unknown_or_nothing() -> None:
    assert findings_of(replace(machine(), memory=None)) == {}
    nothing = with_memory(replace(machine(free=0), protection=Protection(min_kb=9, low_kb=9)),
                          ram_pages=0)  # fmt: skip
    assert findings_of(nothing) == {}


def test_huge_pages_are_the_machines() -> None:
    report = hugepages(262_145, 0)
    assert "hugepages" in findings_of(report)
    inside = replace(group(anon=0), memory=report.memory)
    assert "hugepages" not in findings_of(inside)


def test_few_huge_pages_are_not_worth_a_word() -> None:
    # A twentieth of 4 GiB: 209,715.2 kB or 52,428.8 pages
    assert "hugepages_unused" not in findings_of(hugepages(52_428, 52_428))
    assert "hugepages_unused" in findings_of(hugepages(52_429, 52_429))
    # half of them unused is not more than half
    assert "hugepages_unused" not in findings_of(hugepages(60_000, 30_000))
    assert "hugepages_unused" in findings_of(hugepages(60_000, 30_001))


def test_where_a_reserve_is_the_reason_free_memory_is_no_riddle() -> None:
    """Of low memory, CMA and reserves one finding is enough."""
    from tests.explain.test_zone_words import reserve

    found = findings_of(reserve(400_000, 0))
    assert "reserve" in found
    assert "free_left" not in found


def test_free_memory_is_a_riddle_only_where_the_machine_ran_out() -> None:
    report = machine(active_file=1, free=300_000)
    assert "free_left" in findings_of(report)
    assert "free_left" not in findings_of(replace(report, scope="cpuset"))
    assert "free_left" not in findings_of(with_memory(report, ram_pages=None))


# -- tasks ---------------------------------------------------------------------------------------


def test_a_limit_is_low_from_half_as_much_again() -> None:
    # 1 GiB in RAM and 512 MiB in swap are one and a half times the limit.
    rows = (row(7, "db", GIB_PAGES),)
    at, above = (
        with_memcg(replace(group(anon=GIB_KB), tasks=rows),
                   swap=Counter(usage_kb=swapped, limit_kb=None))
        for swapped in (524_288, 524_289)
    )  # fmt: skip
    assert "limit_low" not in findings_of(at)
    assert text_of(above, "limit_low") == (
        "cause: it holds 1.50 GiB in RAM and swap under a limit of 1.00 GiB: the limit is far "
        "below what its tasks use"
    )
    assert "limit_low" not in findings_of(replace(above, tasks=()))
    unlimited = with_memcg(above, memory=Counter(usage_kb=GIB_KB))
    assert "limit_low" not in findings_of(unlimited)


def test_swap_of_tasks_counts_where_the_cgroup_does_not_show_its_own() -> None:
    rows = (row(7, "db", 1000, swapents=100_000), row(8, "web", 1000, swapents=31_073))
    report = replace(group(v2=False, anon=GIB_KB), tasks=rows)
    assert text_of(report, "limit_low").startswith("cause: it holds 1.50 GiB in RAM and swap")
    fewer = replace(report, tasks=(rows[0], row(8, "web", 1000, swapents=31_072)))
    assert "limit_low" not in findings_of(fewer)


def test_every_task_protected() -> None:
    rows = (row(7, "db", 9, oom_score_adj=-1000), row(8, "web", 9, oom_score_adj=-1000))
    report = replace(machine(), tasks=rows)
    assert text_of(report, "all_protected") == ("cause: every task listed has oom_score_adj -1000")
    one = replace(report, tasks=(rows[0], row(8, "web", 9, oom_score_adj=-999)))
    assert "all_protected" not in findings_of(one)
    assert "all_protected" not in findings_of(
        replace(report, tasks=(row(7, "db", 9, oom_score_adj=None),))
    )


def test_an_adjustment_that_makes_all_alike() -> None:
    rows = (row(7, "db", 9000, oom_score_adj=-998), row(8, "web", 9, oom_score_adj=-501),
            row(9, "sh", 9, oom_score_adj=0))  # fmt: skip
    report = replace(
        machine(), tasks=rows,
        predicted=(Predicted(pid=7, comm="db", badness=1), Predicted(pid=8, comm="web", badness=1)),
    )  # fmt: skip
    assert text_of(report, "adj_flattens") == (
        "odd: oom_score_adj -998, -501 brings all 2 candidates to badness 1: this kernel does not "
        "distinguish sizes among them (from 5.9 on it does)"
    )
    less = replace(report, tasks=(rows[0], row(8, "web", 9, oom_score_adj=-500), rows[2]))
    assert "adj_flattens" not in findings_of(less)
    other = (report.predicted[0], Predicted(pid=8, comm="web", badness=2))
    assert "adj_flattens" not in findings_of(replace(report, predicted=other))
    assert "adj_flattens" not in findings_of(replace(report, predicted=other[:1]))
    without = tuple(replace(one, oom_score_adj=None) for one in rows)
    assert "adj_flattens" not in findings_of(replace(report, tasks=without))


def named(*sizes: int, comm: str = "php", **more: Any) -> tuple[Any, ...]:
    return tuple(row(10 + i, comm, size, **more) for i, size in enumerate(sizes))


def test_many_of_a_name_hold_a_quarter() -> None:
    # A quarter of 4 GiB are 262,144 pages: 3 of 87,381 and one page.
    rows = named(87_381, 87_381, 87_382)
    assert text_of(replace(machine(active_anon=1), tasks=rows), "many_of_a_name") == (
        "odd: 3 processes named php hold 1.00 GiB of rss and swap together (pages they share "
        "counted in each), the largest 341 MiB"
    )
    fewer = named(87_381, 87_381, 87_381)
    assert "many_of_a_name" not in findings_of(replace(machine(active_anon=1), tasks=fewer))
    assert "many_of_a_name" not in findings_of(
        replace(machine(active_anon=1), tasks=named(262_144, 262_144))
    )
    # More than half is a cause: 524,288 pages are half.
    half = replace(machine(active_anon=1), tasks=named(200_000, 200_000, 124_288))
    assert findings_of(half)["many_of_a_name"].level == "odd"
    more = replace(half, tasks=named(200_000, 200_000, 124_289))
    assert findings_of(more)["many_of_a_name"].level == "cause"


def test_many_of_a_name_where_one_alone_holds_most() -> None:
    half = replace(machine(active_anon=1), tasks=named(300_000, 200_000, 100_000))
    assert "many_of_a_name" in findings_of(half)
    most = replace(half, tasks=named(300_001, 200_000, 100_000))
    assert "many_of_a_name" not in findings_of(most)


def test_many_of_a_name_by_their_anonymous_memory_and_swap() -> None:
    rows = named(900_000, 900_000, 900_000, rss_anon_pages=50_000, swapents=50_000)
    report = replace(machine(active_anon=1), tasks=rows)
    # 3 times 100,000 pages of 4 kB are 1172 MiB; none is the largest
    assert text_of(report, "many_of_a_name") == (
        "odd: 3 processes named php hold 1.14 GiB of anonymous memory and swap together (pages "
        "they share counted in each), the largest 391 MiB"
    )
    swapping = with_swap(report, 4 * GIB_KB, 0)  # a quarter of 8 GiB are 524,288 pages
    assert "many_of_a_name" not in findings_of(swapping)
    assert "many_of_a_name" not in findings_of(replace(report, scope="cpuset"))
    blind = findings_of(replace(report, memory=None))["many_of_a_name"]
    assert blind.level == "cause"  # of all that the table shows


def test_memory_that_is_not_in_processes() -> None:
    # In use: all of 4 GiB but for the free. A twentieth of 4,194,304 kB is 209,715 kB.
    rows = (row(7, "db", 40_000), row(8, "web", 52_428))
    report = replace(machine(slab_unreclaimable=MACHINE_PAGES), tasks=rows, table_complete=True)
    assert text_of(report, "not_in_processes") == (
        "cause: the memory is not in processes: the largest, web[8], holds 205 MiB (5.0 % of what "
        "is in use); killing can free little"
    )
    swapped = replace(report, tasks=(*rows[:1], row(8, "web", 2000, swapents=50_428)))
    assert "web[8], holds 205 MiB" in text_of(swapped, "not_in_processes")
    larger = replace(report, tasks=(*rows[:1], row(8, "web", 52_429)))
    assert "not_in_processes" not in findings_of(larger)
    assert "not_in_processes" not in findings_of(replace(report, table_complete=False))
    assert "not_in_processes" not in findings_of(replace(report, scope="cpuset"))


@pytest.mark.parametrize(
    ("used", "sizes", "found"),
    [
        (1_000_000, (49_999,), True),  # a twentieth of what is in use are 50,000 pages
        (1_000_000, (50_000,), False),
        (999_999, (33_333,) * 9 + (33_335,), True),  # a third are 333,333
        (999_999, (33_333,) * 9 + (33_336,), False),
        (524_289, (9,), True),  # half of memory are 524,288
        (524_288, (9,), False),
    ],
)
def test_memory_is_not_in_processes_by_what_is_in_use(
    used: int, sizes: tuple[int, ...], found: bool
) -> None:
    rows = tuple(row(100 + i, f"t{i}", size) for i, size in enumerate(sizes))
    report = replace(
        machine(slab_unreclaimable=used, free=MACHINE_PAGES - used), tasks=rows,
        table_complete=True,
    )  # fmt: skip
    assert ("not_in_processes" in findings_of(report)) == found


def test_memory_that_is_not_in_processes_is_a_note_where_a_zone_failed() -> None:
    report = replace(
        with_memory(machine(slab_unreclaimable=MACHINE_PAGES), zones=ZONES),
        gfp_mask="0xd0", tasks=(row(7, "db", 9),), table_complete=True,
    )  # fmt: skip
    assert findings_of(report)["not_in_processes"].level == "note"


# -- stalls --------------------------------------------------------------------------------------


def test_allocations_that_waited() -> None:
    stalls = (
        Stall(comm="sh", waited_s=10.0, order=0, uptime_s=95.0),
        Stall(comm="db", waited_s=40.4, order=0, uptime_s=120.0),
        Stall(comm="web", waited_s=20.0, order=0, uptime_s=118.0),
    )
    report = replace(machine(), uptime_s=130.0, stalls=stalls)
    # began at 120 - 40.4 = 79.6 and 130 - 79.6 = 50.4; 10 s before the kill
    assert text_of(report, "stalled") == (
        "odd: an allocation of db had waited 40 s for memory, 10 s before the kill: memory was "
        "short for 50 s at least"
    )
    undated = replace(report, uptime_s=None)
    assert text_of(undated, "stalled") == "odd: an allocation of db had waited 40 s for memory"
    unstamped = replace(report, stalls=(replace(stalls[1], uptime_s=None), stalls[0]))
    # The other one's began at 85.
    assert text_of(unstamped, "stalled") == (
        "odd: an allocation of db had waited 40 s for memory: memory was short for 45 s at least"
    )
    assert "stalled" not in findings_of(machine())


def test_the_most_important_comes_first() -> None:
    report = replace(
        machine(slab_unreclaimable=2 * GIB_PAGES, active_anon=GIB_PAGES + 1), would_have=True,
        reaped=(Reaped(pid=7, comm="db", reaped=False),), killed=(Killed(pid=7, comm="db"),),
    )  # fmt: skip
    assert [(one.level, one.kind) for one in explain(report).findings] == [
        ("cause", "slab_leak"),
        ("odd", "unaccounted"),
        ("odd", "no_swap"),
        ("odd", "not_reaped"),
        ("note", "would_have"),
    ]
