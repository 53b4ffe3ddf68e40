"""What ran out, by zones, reserves and counters: each kind with its sentences, to the kB."""

from typing import Any

import pytest

from oomkit.explain.explanation import explain
from oomkit.explain.records import Shortage
from oomkit.explain.shortage import cause_text, shortage
from oomkit.explain.zones import (
    free_for,
    has_block,
    hidden_low_kb,
    hides_usable,
    request_of,
    reserve_kb,
    usable,
)
from oomkit.klog.memory_records import Counter, Zone
from oomkit.klog.records import Report, Summary
from oomkit.records import replace
from tests.explain.made import (
    GIB_KB,
    GIB_PAGES,
    findings_of,
    group,
    machine,
    text_of,
    with_memcg,
    with_memory,
    zone,
)

KERNEL = "0xcc0(GFP_KERNEL)"
MOVABLE = "0x100cca(GFP_HIGHUSER_MOVABLE)"
HIGHUSER = "0x200d2"


def zoned(gfp: str | None, *zones: Zone, order: int = 0, **counters: int) -> Report:
    report = with_memory(machine(**(counters or {"free": 1000})), zones=zones)
    return replace(report, gfp_mask=gfp, order=order)


def reserve(least: int, lowmem: int, free: int | None = None) -> Report:
    """A zone of 4,000,000 kB with so much under its min watermark and its lowmem_reserve."""
    kept = zone("DMA32", least + lowmem if free is None else free, least, 4_000_000,
                lowmem_reserve_pages=(0, lowmem // 4))  # fmt: skip
    return zoned(KERNEL, kept, free=200_000, active_file=1)


# -- requests and zones --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gfp", "expected"),
    [
        ("0x1", ("DMA", False, False)),
        ("0xcc1(GFP_KERNEL|GFP_DMA)", ("DMA", False, False)),
        ("0x3", ("DMA", False, True)),
        ("0x2", ("HighMem", False, True)),
        ("0xa", ("Movable", True, True)),
        ("0x4", ("DMA32", False, False)),
        ("0xc", ("DMA32", True, False)),
        ("0x8", ("Normal", True, False)),
        ("0x10", ("Normal", False, False)),
        ("0x0", None),
        ("0x0()", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_the_zones_that_flags_allow(
    gfp: str | None, expected: tuple[str, bool, bool] | None
) -> None:
    # include/linux/gfp.h: 0x1 DMA, 0x2 HIGHMEM, 0x4 DMA32, 0x8 MOVABLE
    request = request_of(zoned(gfp))
    found = None if request is None else (request.highest, request.movable, request.high)
    assert found == expected


def test_a_request_may_use_its_zone_and_those_below() -> None:
    zones = tuple(zone(n, 1, 1, 1) for n in ("DMA", "Normal", "HighMem", "Movable", "Device"))
    for gfp, expected in (
        ("0x1", ["DMA"]),
        ("0x4", ["DMA"]),
        ("0x10", ["DMA", "Normal"]),
        ("0x2", ["DMA", "Normal", "HighMem"]),
        ("0xa", ["DMA", "Normal", "HighMem", "Movable"]),
    ):
        request = request_of(zoned(gfp))
        assert request is not None
        assert [z.name for z in usable(zones, request)] == expected


def test_cma_is_free_for_movable_requests_alone() -> None:
    some = zone("Normal", 1000, 1, 9000, counters_kb={"free_cma": 700})
    all_of_it = zone("Normal", 1000, 1, 9000, counters_kb={"free_cma": 1500})
    none = zone("Normal", None, 1, 9000, counters_kb={"free_cma": 1})
    for gfp, expected in ((KERNEL, [300, 0, 0]), (MOVABLE, [1000, 1000, 0])):
        request = request_of(zoned(gfp))
        assert request is not None
        assert [free_for(z, request) for z in (some, all_of_it, none)] == expected


def test_what_a_zone_keeps_back_from_requests_for_higher_ones() -> None:
    dma = zone("DMA", 1, 1, 1, lowmem_reserve_pages=(0, 10, 30, 20))
    normal = zone("Normal", 1, 1, 1, lowmem_reserve_pages=(0, 0, 40))
    other = zone("HighMem", 1, 1, 1, node=1)
    for zones, gfp, expected in (
        # The entry of a zone's list is that of the node's zone: DMA, Normal, HighMem.
        ((dma, normal, zone("HighMem", 1, 1, 1)), HIGHUSER, [120, 160, 0]),
        ((dma, normal, zone("HighMem", 1, 1, 1)), KERNEL, [40, 0, 0]),
        ((dma, normal, zone("HighMem", 1, 1, 1)), "0x1", [0, 0, 0]),
        # HighMem is on another node, or not in the log: the most that is kept back for any.
        ((dma, normal, other), HIGHUSER, [120, 160, 0]),
        ((dma, normal), HIGHUSER, [120, 160]),
        ((dma,), KERNEL, [40]),
        ((dma,), "0x4", [40]),
        ((normal,), "0x4", [0]),
        ((zone("Normal", 1, 1, 1), zone("HighMem", 1, 1, 1)), HIGHUSER, [0, 0]),
        ((zone("Normal", 1, 1, 1),), HIGHUSER, [0]),
        ((zone("DMA", 1, 1, 1),), KERNEL, [0]),
        ((zone("DMA", 1, 1, 1, lowmem_reserve_pages=(9,)),), KERNEL, [0]),
    ):
        report = zoned(gfp, *zones)
        request = request_of(report)
        assert request is not None
        assert [reserve_kb(z, report, request) for z in zones] == expected, (zones, gfp)


def test_a_list_of_reserves_shows_zones_that_are_not_in_the_log() -> None:
    dma = zone("DMA", 1, 1, 1, lowmem_reserve_pages=(0, 3, 9))
    none = zone("DMA", 1, 1, 1, lowmem_reserve_pages=(0, 0, 0))
    normal = zone("Normal", 1, 1, 1)
    for zones, gfp, expected in (
        ((dma,), KERNEL, True),
        ((dma,), None, True),
        ((none,), KERNEL, False),
        ((none,), None, False),
        ((dma,), "0x1", False),  # it could use no other
        ((dma, normal), KERNEL, False),
        ((normal, dma), KERNEL, False),
        ((zone("Device", 1, 1, 1, lowmem_reserve_pages=(1,)),), KERNEL, False),
        ((zone("Device", 1, 1, 1), replace(dma, node=1)), KERNEL, True),
        ((normal, replace(dma, node=1)), KERNEL, True),
        ((), KERNEL, False),
    ):
        report = zoned(gfp, *zones)
        assert hides_usable(report, request_of(report)) == expected, (zones, gfp)
    assert not hides_usable(replace(zoned(KERNEL), memory=None), None)


@pytest.mark.parametrize(
    ("gfp", "reserves", "size_kb"),
    [
        # 800 pages kept back for Normal are 800 * 256 pages of it, 819,200 kB.
        (KERNEL, (0, 800, 900), 819_200),
        (KERNEL, (0, 1023, 1024), 1_047_552),
        (KERNEL, (0, 1024, 1025), None),  # from 1 GiB on it is no 32-bit kernel's
        (KERNEL, (0, 0, 900), None),
        (KERNEL, (0, 1, 2), 1024),
        (KERNEL, (0, 900, 900), None),
        (KERNEL, (0, 900), None),
        (HIGHUSER, (0, 800, 900), None),
        (KERNEL, (), None),
    ],
)
def test_low_memory_that_is_not_in_the_log(
    gfp: str, reserves: tuple[int, ...], size_kb: int | None
) -> None:
    report = zoned(gfp, zone("DMA", 1, 1, 1, lowmem_reserve_pages=reserves))
    request = request_of(report)
    assert request is not None
    assert hidden_low_kb(report, request) == size_kb
    assert hidden_low_kb(zoned(gfp, zone("DMA32", 1, 1, 1, lowmem_reserve_pages=reserves)),
                         request) is None  # fmt: skip


def test_free_blocks_of_an_order() -> None:
    blocks = zone("Normal", 1, 1, 1, free_blocks=(5, 0, 1, 0))
    assert [has_block(blocks, order) for order in (0, 1, 2, 3, 4)] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert has_block(zone("Normal", 1, 1, 1), 0) is None


# -- a zone --------------------------------------------------------------------------------------

DMA = zone("DMA", 3000, 60, 16_000, lowmem_reserve_pages=(0, 200, 300))
NORMAL = zone("Normal", 4000, 3500, 800_000, lowmem_reserve_pages=(0, 0, 1000))
HIGHMEM = zone("HighMem", 900_000, 500, 1_000_000)


def test_a_zone_in_its_words() -> None:
    short = shortage(zoned(KERNEL, DMA, NORMAL, replace(HIGHMEM, high_kb=1500)))
    # DMA, with less than a twentieth of the largest, is left out; 900,000 - 1500 = 898,500 kB
    assert short == Shortage(
        kind="zone",
        what="zone Normal",
        details=(
            "zone Normal: 3.91 MiB free of 781 MiB; min watermark 3.42 MiB",
            "877 MiB was to spare in HighMem, which this request can't use",
        ),
        zone="Normal",
    )
    assert cause_text(short) == "zone Normal ran out"


def test_a_small_zone_is_named_from_a_twentieth_on() -> None:
    for size, named in ((40_000, True), (39_999, False)):
        short = shortage(zoned(KERNEL, replace(DMA, managed_kb=size), NORMAL, HIGHMEM))
        assert any("zone DMA:" in text for text in short.details) == named
    # 200 pages of lowmem_reserve are kept back from a request that may use Normal.
    short = shortage(zoned(KERNEL, replace(DMA, managed_kb=40_000), NORMAL, HIGHMEM))
    assert short.details[0] == (
        "zone DMA: 2.93 MiB free of 39.1 MiB; min watermark 60.0 KiB + 800 KiB kept back"
    )
    present = replace(DMA, managed_kb=None, present_kb=40_000, min_kb=None)
    short = shortage(zoned(KERNEL, present, NORMAL, HIGHMEM))
    assert short.details[0] == "zone DMA: 2.93 MiB free of 39.1 MiB"
    unknown = replace(NORMAL, managed_kb=None)
    short = shortage(zoned(KERNEL, unknown, HIGHMEM))
    assert short.details[0] == "zone Normal: 3.91 MiB free; min watermark 3.42 MiB"


def test_a_zone_failed_where_others_have_more_to_spare() -> None:
    def kind(free: int, spare: int, gfp: str = KERNEL) -> str:
        high = zone("HighMem", spare + 500, 500, 1_000_000)
        return shortage(zoned(gfp, replace(NORMAL, free_kb=free), high)).kind

    assert kind(4096, 4097) == "zone"
    assert kind(4096, 4096) == "machine"
    assert kind(10, 4096) == "machine"
    assert kind(10, 4097) == "zone"
    assert kind(5000, 5000) == "machine"
    assert kind(5000, 5001) == "zone"
    assert kind(4000, 900_000, HIGHUSER) == "machine"  # it may use them
    # Two zones above: below its high watermark one has nothing to spare, and takes nothing off.
    spare = shortage(
        zoned(KERNEL, NORMAL, zone("HighMem", 10, 9000, 1), zone("Movable", 9000, 1, 1))
    )
    assert spare.details[-1] == (
        "8.79 MiB was to spare in HighMem, Movable, which this request can't use"
    )
    unknown = zone("HighMem", None, None, 1)
    assert shortage(zoned(KERNEL, NORMAL, unknown)).kind == "machine"
    assert shortage(zoned("0x1", NORMAL, HIGHMEM)).kind == "machine"  # none that it could use


def test_memory_in_cma_alone() -> None:
    def short(free: int, cma: int, gfp: str = KERNEL) -> Shortage:
        one = zone("Normal", free, 2000, 600_000, counters_kb={"free_cma": cma})
        return shortage(zoned(gfp, one))

    assert short(8193, 4097) == Shortage(
        kind="zone",
        what="memory outside CMA",
        details=(("zone Normal: 8.00 MiB free of 586 MiB, 4.00 MiB of that CMA, for movable pages "
                 "only; min watermark 1.95 MiB"),),
        zone="Normal",
    )  # fmt: skip
    assert short(8192, 4096).kind == "machine"
    assert short(12_000, 6000).kind == "machine"
    assert short(12_001, 6001).kind == "zone"
    assert short(8193, 4097, MOVABLE).kind == "machine"


def test_the_largest_zone_names_the_shortage() -> None:
    by_size = shortage(zoned(KERNEL, replace(DMA, managed_kb=900_000), NORMAL, HIGHMEM))
    assert by_size.zone == "DMA"
    present = (replace(DMA, managed_kb=None, present_kb=900_000), NORMAL, HIGHMEM)
    assert shortage(zoned(KERNEL, *present)).zone == "DMA"
    free = (replace(DMA, managed_kb=None, free_kb=10), replace(NORMAL, managed_kb=None), HIGHMEM)
    assert shortage(zoned(KERNEL, *free)).zone == "Normal"


# -- blocks --------------------------------------------------------------------------------------


def test_blocks_that_lack() -> None:
    one = zone("Normal", 9000, 8000, 800_000, free_blocks=(2250, 0, 0, 0))
    short = shortage(zoned(KERNEL, one, order=3))
    assert short == Shortage(
        kind="fragmentation",
        what="no free block of 32.0 KiB (order 3) could be had",
        details=(
            "order 3: 8 contiguous pages (32.0 KiB) in one piece",
            "zone Normal of node 0: 8.79 MiB free, no free block of that size",
            "so memory was there, but not in pieces large enough for this request",
        ),
        order=3,
    )
    assert cause_text(short) == "no free block of 32.0 KiB (order 3) could be had"
    there = replace(one, free_blocks=(10, 0, 0, 4, 3))
    assert shortage(zoned(KERNEL, there, order=3)).details[1:] == (
        "zone Normal of node 0: 8.79 MiB free, 7 free blocks of that size or larger",
        "blocks were there when this was printed; none that the request could take",
    )
    unknown = replace(one, free_blocks=())
    assert shortage(zoned(KERNEL, unknown, order=3)).details[1:] == (
        "zone Normal of node 0: 8.79 MiB free",
        "so memory was there, but not in pieces large enough for this request",
    )


def test_blocks_lack_only_above_what_is_retained_back() -> None:
    def kind(free: int, least: int | None, *, gfp: str | None = KERNEL, order: int = 1) -> str:
        return shortage(zoned(gfp, zone("Normal", free, least, 800_000), order=order)).kind

    assert kind(8001, 8000) == "fragmentation"
    assert kind(8000, 8000) == "machine"
    assert kind(8001, 8000, order=0) == "machine"
    assert kind(8001, 8000, order=-1) == "machine"
    assert kind(8001, 8000, gfp=None) == "fragmentation"
    assert kind(8000, 8000, gfp=None) == "machine"
    assert kind(1, None) == "fragmentation"
    assert kind(1, None, gfp=None) == "fragmentation"
    # 200 pages of DMA are kept back from requests for Normal: 60 + 800 kB.
    for free, found in ((861, "fragmentation"), (860, "machine")):
        zones = (replace(DMA, free_kb=free), replace(NORMAL, free_kb=3000))
        assert shortage(zoned(KERNEL, *zones, order=1)).kind == found


def test_a_zone_that_the_request_can_not_use_has_no_blocks_for_it() -> None:
    zones = (replace(NORMAL, free_kb=10), HIGHMEM)
    assert shortage(zoned(KERNEL, *zones, order=1)).kind == "zone"
    short = shortage(zoned(None, *zones, order=1))
    assert [text for text in short.details if "zone" in text] == [
        "zone HighMem of node 0: 879 MiB free"
    ]


def test_blocks_in_cma_are_named() -> None:
    one = zone("Normal", 9000, 2000, 800_000, counters_kb={"free_cma": 5000})
    assert shortage(zoned(KERNEL, one, order=1)).details[1] == (
        "zone Normal of node 0: 8.79 MiB free; 4.88 MiB of it is CMA, which this request can't use"
    )
    for gfp in (MOVABLE, None):
        assert shortage(zoned(gfp, one, order=1)).details[1] == (
            "zone Normal of node 0: 8.79 MiB free"
        )


# -- zones that the log leaves out ---------------------------------------------------------------


def test_zones_that_are_not_in_the_log_leave_the_cause_open() -> None:
    dma = zone("DMA", 3000, 60, 16_000, lowmem_reserve_pages=(0, 800, 1600))
    # 2 * 3000 + 4096 = 10,096 kB, 2524 pages
    report = zoned(KERNEL, dma, free=2525)
    assert shortage(report) == Shortage(
        kind="unknown",
        what="memory",
        details=(
            (
                "the machine had 9.86 MiB free; which zone failed is unknown: of those that the "
                "request could use the log shows DMA only"
            ),
            "the request could not use high memory (no __GFP_HIGHMEM)",
        ),
    )
    assert cause_text(shortage(report)) == "memory ran out"
    assert shortage(zoned(KERNEL, dma, free=2524)).kind == "machine"
    assert shortage(zoned(HIGHUSER, dma, dma, free=9000, order=2)).details == (
        (
            "the machine had 35.2 MiB free; which zone failed is unknown: of those that the "
            "request could use the log shows DMA only"
        ),
        "order 2: the request was for 16.0 KiB in one piece",
    )
    assert len(shortage(zoned(None, dma, free=9000, order=0)).details) == 1
    assert shortage(zoned(KERNEL, dma, active_file=9000)).kind == "machine"


# -- page faults ---------------------------------------------------------------------------------


def test_a_page_fault_that_gave_up() -> None:
    # A tenth of 4 GiB: 104,857.6 pages
    report = replace(machine(free=104_858), gfp_mask="0x0()")
    short = shortage(report)
    assert (short.kind, short.what, short.details) == (
        "page_fault",
        "a page fault gave up",
        (
            "RAM 4.00 GiB, 410 MiB free: the machine itself was not low on memory",
            (
                "pagefault_out_of_memory names no request; as a rule a memory cgroup's limit is "
                "behind it"
            ),
        ),
    )
    assert cause_text(short) == "a page fault gave up"
    assert shortage(replace(machine(free=104_857), gfp_mask="0x0()")).kind == "machine"
    assert shortage(replace(report, gfp_mask="0xd0")).kind == "machine"
    assert shortage(replace(report, gfp_mask=None)).kind == "machine"
    assert shortage(replace(report, memory=None)).kind == "machine"


def test_a_page_fault_that_gave_up_with_half_of_memory_in_the_page_cache() -> None:
    def kind(total: int | None, **counters: int) -> str:
        report = with_memory(machine(**counters), ram_pages=total)
        return shortage(replace(report, gfp_mask="0x0")).kind

    assert kind(1000, active_file=300, inactive_file=201, free=0) == "page_fault"
    assert kind(1000, active_file=300, inactive_file=200, free=0) == "machine"
    assert kind(None, active_file=300, inactive_file=201, slab=500) == "page_fault"
    assert kind(None, active_file=300, inactive_file=201, slab=501) == "machine"
    assert kind(1000, active_file=900) == "page_fault"
    report = with_memory(machine(active_file=600, inactive_file=424), ram_pages=None)
    assert shortage(replace(report, gfp_mask="0x0")).details[0] == (
        "4.00 MiB of file cache were left: the machine itself was not low on memory"
    )


# -- the machine, nodes, on request --------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "details"),
    [
        (machine(free=256), ("RAM 4.00 GiB, 1.00 MiB free", "no swap")),
        (machine(active_file=1), ("RAM 4.00 GiB", "no swap")),
        (with_memory(machine(free=256), ram_pages=None, total_swap_kb=None), ("1.00 MiB free",)),
        (with_memory(machine(), ram_pages=None, total_swap_kb=2048, free_swap_kb=1024),
         ("swap 2.00 MiB, 1.00 MiB free",)),
        (with_memory(machine(), ram_pages=None, total_swap_kb=2048, free_swap_kb=None), ()),
        (replace(machine(), memory=None), ()),
    ],
)  # fmt: skip
def test_the_machine_in_its_words(report: Report, details: tuple[str, ...]) -> None:
    short = shortage(report)
    assert (short.kind, short.what, short.details) == ("machine", "the machine", details)
    assert cause_text(short) == "the machine ran out of memory"


def test_nodes_in_their_words() -> None:
    zones = (
        zone("DMA32", 2048, 100, 9000),
        replace(zone("Normal", 4096, 200, 9000), node=1),
        replace(zone("Normal", 1024, None, 9000), node=2),
        replace(zone("Normal", None, 300, 9000), node=1),
        replace(zone("Movable", 8192, 300, 9000), node=1),
    )
    report = replace(zoned(KERNEL, *zones, free=512), scope="cpuset", cpuset="/a",
                     mems_allowed="1-2", nodemask="0")  # fmt: skip
    short = shortage(report)
    assert short == Shortage(
        kind="cpuset",
        what="the memory nodes of cpuset /a",
        details=(
            "node 1-2",
            "zone Normal of node 1: 4.00 MiB free, min watermark 200 KiB",
            "zone Normal of node 2: 1.00 MiB free",
            "zone Movable of node 1: 8.00 MiB free, which this request can't use",
            "the machine as a whole had 2.00 MiB free",
        ),
    )
    assert cause_text(short) == "the memory nodes of cpuset /a ran out"
    policy = shortage(replace(report, scope="mempolicy"))
    assert policy == Shortage(
        kind="mempolicy",
        what="the nodes of the task's memory policy",
        details=(
            "node 0",
            "zone DMA32 of node 0: 2.00 MiB free, min watermark 100 KiB",
            "the machine as a whole had 2.00 MiB free",
        ),
    )
    assert cause_text(policy) == "the nodes of the task's memory policy ran out"


def test_nodes_that_the_log_does_not_show() -> None:
    report = replace(machine(free=0), scope="cpuset", gfp_mask=None)
    short = shortage(report)
    assert short.what == "the memory nodes of cpuset /"
    assert short.details == ("the log does not show which nodes",)
    assert shortage(replace(report, memory=None)).details == short.details
    unasked = replace(zoned(None, NORMAL), scope="cpuset", mems_allowed="0")
    assert shortage(unasked).details[1] == (
        "zone Normal of node 0: 3.91 MiB free, min watermark 3.42 MiB"
    )


@pytest.mark.parametrize(
    ("report", "details"),
    [
        (machine(free=256), ("1.00 MiB of 4.00 GiB was free",)),
        (with_memory(machine(free=256), ram_pages=None), ("1.00 MiB was free",)),
        (machine(active_file=1), ()),
        (replace(machine(), memory=None), ()),
    ],
)
def test_a_kill_on_request_in_its_words(report: Report, details: tuple[str, ...]) -> None:
    short = shortage(replace(report, scope="sysrq"))
    assert short == Shortage(
        kind="sysrq",
        what="nothing: a kill was requested by hand (SysRq-f, or f to /proc/sysrq-trigger)",
        details=details,
    )


def test_an_unknown_scope_in_its_words() -> None:
    assert shortage(replace(machine(), scope=None)) == Shortage(
        kind="unknown",
        what="memory",
        details=("the log does not show whether the machine or a cgroup ran out",),
    )


# -- a memory cgroup -----------------------------------------------------------------------------


def test_a_memory_cgroup_in_its_words() -> None:
    report = with_memcg(
        group(usage_kb=GIB_KB), task_path="/app/inner",
        memory=Counter(usage_kb=GIB_KB, limit_kb=GIB_KB, failcnt=12),
        swap=Counter(usage_kb=1024, limit_kb=None, failcnt=0),
    )  # fmt: skip
    assert shortage(report) == Shortage(
        kind="memcg",
        what="memory cgroup /app",
        details=(
            "memory 1.00 GiB, limit 1.00 GiB, hit 12 times",
            "swap 1.00 MiB, no limit",
            "the task was in /app/inner, below the cgroup whose limit was hit",
        ),
    )
    assert cause_text(shortage(report)) == "memory cgroup /app ran out of memory"


def test_a_counter_that_was_cut_is_at_least_so_much() -> None:
    cut = Counter(usage_kb=GIB_KB, limit_kb=GIB_KB, failcnt=12, failcnt_cut=True)
    assert shortage(with_memcg(group(), memory=cut)).details[0] == (
        "memory 1.00 GiB, limit 1.00 GiB, hit at least 12 times"
    )


def test_the_task_of_the_summary_is_named_where_the_cgroup_has_none() -> None:
    report = replace(with_memcg(group(), task_path=None), summary=Summary(task_memcg="/app/b"))
    assert shortage(report).details[-1] == (
        "the task was in /app/b, below the cgroup whose limit was hit"
    )
    report = replace(report, memcg=None)
    assert shortage(report).details == (
        "the task was in /app/b, below the cgroup whose limit was hit",
    )
    assert shortage(replace(report, summary=None)).details == ()
    assert shortage(replace(report, summary=Summary(task_memcg="/app"))).details == ()
    nameless = replace(report, cgroup=None)
    assert (shortage(nameless).what, shortage(nameless).details) == ("a memory cgroup", ())


def v1(memory: Counter, **more: Counter) -> tuple[str, ...]:
    return shortage(with_memcg(group(v2=False), memory=memory, **more)).details


def test_v1_says_which_of_three_limits_it_was() -> None:
    full = Counter(usage_kb=GIB_KB, limit_kb=GIB_KB)
    below = Counter(usage_kb=GIB_KB // 2, limit_kb=GIB_KB)
    both = "memory and swap together 1.00 GiB, limit 1.00 GiB"
    kernel = "kernel memory 1.00 GiB, limit 1.00 GiB"
    assert v1(full, memsw=full, kmem=full) == ("memory 1.00 GiB, limit 1.00 GiB", both, kernel)
    assert v1(below, memsw=full) == (
        "memory 512 MiB, limit 1.00 GiB", both,
        "it is the limit of memory and swap together that was hit",
    )  # fmt: skip
    assert v1(below, memsw=below, kmem=full) == (
        "memory 512 MiB, limit 1.00 GiB", "memory and swap together 512 MiB, limit 1.00 GiB",
        kernel, "it is the limit of kernel memory that was hit",
    )  # fmt: skip
    fine = "usage is below the limit by now: memory came free before the report was printed"
    assert v1(below) == ("memory 512 MiB, limit 1.00 GiB", fine)
    unlimited = Counter(usage_kb=GIB_KB)
    assert v1(below, kmem=unlimited) == ("memory 512 MiB, limit 1.00 GiB", fine)
    assert v1(unlimited) == ("memory 1.00 GiB, no limit",)
    # Where swap is not accounted, memory+swap is printed as nothing without a limit.
    nothing = Counter(usage_kb=0)
    assert v1(full, memsw=nothing) == ("memory 1.00 GiB, limit 1.00 GiB",)
    assert v1(full, memsw=unlimited)[1] == "memory and swap together 1.00 GiB, no limit"
    limited = Counter(usage_kb=0, limit_kb=GIB_KB)
    assert v1(full, memsw=limited)[1] == "memory and swap together 0 B, limit 1.00 GiB"


def test_at_the_limit_is_where_a_batch_of_charges_no_longer_fits() -> None:
    # A fiftieth of 1 GiB are 20,971 kB; of small cgroups 2304 kB: 256 and a huge page.
    for limit, room in ((GIB_KB, 20_971), (102_400, 2304), (115_200, 2304), (115_250, 2305)):
        for usage, hit in ((limit - room, True), (limit - room - 1, False)):
            details = v1(Counter(usage_kb=usage, limit_kb=limit))
            assert any("below the limit by now" in text for text in details) != hit


def test_nothing_is_known_of_the_cgroup() -> None:
    report = with_memcg(group(), memory=None, swap=None)
    assert shortage(report).details == ()


# -- findings by zone ----------------------------------------------------------------------------


def test_low_memory_of_a_32_bit_kernel() -> None:
    report = zoned(KERNEL, DMA, NORMAL, HIGHMEM)
    assert text_of(report, "low_memory") == (
        "cause: low memory (797 MiB) ran out, with 879 MiB free in high memory: a 32-bit kernel "
        "keeps its own data (slab, page tables, stacks, buffers) in low memory; a 64-bit kernel "
        "has no such border"
    )
    unknown = (replace(DMA, managed_kb=None, present_kb=16_000), replace(NORMAL, managed_kb=None))
    assert "low memory (15.6 MiB) ran out" in text_of(zoned(KERNEL, *unknown, HIGHMEM),
                                                      "low_memory")  # fmt: skip
    sizeless = (replace(NORMAL, managed_kb=None), HIGHMEM, replace(HIGHMEM, free_kb=None))
    assert "low memory ran out, with 879 MiB free" in text_of(zoned(KERNEL, *sizeless),
                                                              "low_memory")  # fmt: skip
    movable = replace(HIGHMEM, name="Movable")
    assert "low_memory" not in findings_of(zoned(KERNEL, DMA, NORMAL, movable))
    assert "low_memory" not in findings_of(zoned(KERNEL, replace(NORMAL, free_kb=900_000), HIGHMEM))
    for scope in ("memcg", "cpuset", "sysrq"):
        assert "low_memory" not in findings_of(replace(report, scope=scope))


def test_high_memory_that_failed_is_not_low_memory() -> None:
    low = zone("Normal", 10, 5, 100)
    cma = zone("HighMem", 900_000, 5, 1_000_000, counters_kb={"free_cma": 890_000})
    found = findings_of(zoned(HIGHUSER, low, cma))
    assert "low_memory" not in found
    assert found["cma"].text.startswith("of 879 MiB free, 869 MiB is CMA")


def test_low_memory_that_the_log_does_not_show() -> None:
    dma = zone("DMA", 3000, 60, 16_000, lowmem_reserve_pages=(0, 100, 900))
    # 100 pages of 256 are 102,400 kB of low memory; twice that are 51,200 pages.
    assert text_of(zoned(KERNEL, dma, free=51_200), "low_memory") == (
        "odd: 200 MiB were free, while this request (no __GFP_HIGHMEM) may use low memory only, "
        "about 100 MiB by lowmem_reserve: it points to low memory of a 32-bit kernel, whose zone "
        "is not in the log"
    )
    assert "low_memory" not in findings_of(zoned(KERNEL, dma, free=51_199))
    assert "low_memory" not in findings_of(zoned(KERNEL, dma, active_file=51_200))
    assert "low_memory" in findings_of(replace(zoned(KERNEL, dma, free=51_200), scope=None))


def test_cma_as_a_cause() -> None:
    def found(free: int, cma: int, gfp: str = KERNEL) -> dict[str, Any]:
        one = zone("Normal", free, 2000, 600_000, counters_kb={"free_cma": cma})
        return findings_of(zoned(gfp, one))

    assert found(8193, 4097)["cma"].text == (
        "of 8.00 MiB free, 4.00 MiB is CMA, which only movable pages may use: a smaller CMA area "
        "(cma= on the kernel's command line, or the device tree)"
    )
    assert found(8193, 4097)["cma"].level == "cause"
    assert "cma" not in found(8192, 4096)
    assert "cma" not in found(12_000, 6000)
    assert "cma" in found(12_001, 6001)
    assert "cma" not in found(8193, 4097, MOVABLE)


def test_a_reserve_that_is_too_large() -> None:
    # A tenth of 4,000,000 kB must be free, and kept back.
    assert text_of(reserve(400_000, 0), "reserve") == (
        "cause: 391 MiB (10 %) were free, and all of it kept back: min watermarks of 391 MiB and "
        "0 B of lowmem_reserve, 10 % of the zones that the request may use; vm.min_free_kbytes is "
        "set too high"
    )
    assert "reserve" not in findings_of(reserve(399_999, 0, 400_000))
    assert "reserve" not in findings_of(reserve(400_000, 0, 399_999))
    assert text_of(reserve(199_996, 200_004), "reserve").endswith(
        "min watermarks of 195 MiB and 195 MiB of lowmem_reserve, 10 % of the zones that the "
        "request may use; vm.lowmem_reserve_ratio is set too high"
    )
    assert "vm.min_free_kbytes" in text_of(reserve(200_000, 200_000), "reserve")
    # 1 MiB above what is kept back may be free.
    assert "reserve" in findings_of(reserve(400_000, 400_000, 801_024))
    assert "reserve" not in findings_of(reserve(400_000, 400_000, 801_025))


def test_a_reserve_is_judged_only_where_all_zones_are_known() -> None:
    kept = zone("DMA32", 400_000, 400_000, 2_000_000)
    for other, found in (
        (zone("Normal", 300_000, 300_000, 2_000_000), True),
        (zone("Normal", 302_000, 300_000, 2_000_000), False),
        (zone("Normal", None, 300_000, 2_000_000), False),
        (zone("Normal", 300_000, None, 2_000_000), False),
        (zone("Normal", 300_000, 300_000, None, present_kb=2_000_000), True),
    ):
        assert ("reserve" in findings_of(zoned(KERNEL, kept, other))) == found, other
    assert "reserve" not in findings_of(zoned(KERNEL, zone("Normal", 9, 9, None)))
    assert "reserve" not in findings_of(zoned("0x1", kept))


def test_zones_say_nothing_without_a_request_or_for_a_cgroup() -> None:
    report = reserve(400_000, 0)
    for other in (
        replace(report, gfp_mask=None),
        replace(report, scope="memcg"),
        replace(report, scope="mempolicy"),
    ):
        assert "reserve" not in findings_of(other)
    assert "reserve" in findings_of(replace(report, scope=None))
    assert explain(report).shortage.kind == "machine"
    assert GIB_PAGES * 4 == GIB_KB
