"""The memory part of a report: lines of old kernels, doubled lines, bounds, what is none of it."""

import pytest

from oomkit.klog.memory_records import Memory
from oomkit.klog.report.meminfo import MemoryPart


def part_of(*lines: str) -> Memory:
    part = MemoryPart()
    for line in lines:
        assert part.parse_line(line), line
    built = part.build()
    assert built is not None
    return built


ZONE = "Node 0 DMA free:14kB min:15kB low:16kB high:17kB present:18kB managed:19kB"


@pytest.mark.parametrize(
    "text",
    [
        "", "words", "Mem-total: 5", "Mem- info", "mem-info:", "free memory: 5", "free:x",
        "Node 0 DMA free: 14kB", "Node 0 DMA free:14", "Node x DMA free:14kB min:1kB",
        "Node 0 inactive_anon:1kB", "DMA 1*4kB", "DMA: x*4kB", "5 words",
        "pages RAM", "x pages RAM", "Free swap 5kB", "Free swap = 5", "lowmem_reserve[]:",
        "lowmem_reserve[]: x", "Node 0 hugepages_total=1", "cpu", "cpu x", "per-cpu: 7",
        "dentry 44KB 45KB", "anon 5kB", "min:2kB", "Name Used",
    ],
)  # fmt: skip
def test_what_is_no_line_of_the_memory_part(text: str) -> None:
    part = MemoryPart()
    assert not part.parse_line(text)
    assert (part.begun, part.empty) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "Mem-info:", "Mem-Info:", "DMA per-cpu:", "DMA per-cpu: empty", "cpu 0 hot: high 5",
        "cpu 10 cold: low 0", "CPU    0: hi:    0, btch:   1 usd:   0", "Free pages:  5kB",
        "Swap cache: add 1, delete 2", "Swap cache stats: add 1", "5 pages shared",
        "5 pages non-shared", "5 pages", "5 free pages", "5 slab pages", "Unreclaimable slab info:",
        "Name                      Used          Total",
    ],
)  # fmt: skip
def test_lines_of_it_without_a_value(text: str) -> None:
    part = MemoryPart()
    assert part.parse_line(text)
    assert (part.begun, part.empty) == (text.startswith("Mem-"), True)
    assert part.build() is None


def test_the_memory_part_of_old_kernels() -> None:
    found = part_of(
        "Mem-info:",
        "Active:1 inactive:2 dirty:3 writeback:4 unstable:5 free:6 slab:7 mapped:8",
        "DMA free:14kB min:15kB low:16kB high:17kB active:1kB present:18kB",
        "protections[]: 0 20 21",
        "HighMem free:5kB min:6kB low:7kB high:8kB",
        "DMA: 22*4kB 23*8kB = 272kB",
        "31 pages of RAM", "32 pages of HIGHMEM", "33 reserved pages", "34 pages swap cached",
        "Free swap:       37kB", "Total swap:  38kB",
    )  # fmt: skip
    assert found.counters_pages == {
        "active": 1, "inactive": 2, "dirty": 3, "writeback": 4, "unstable": 5, "free": 6,
        "slab": 7, "mapped": 8,
    }  # fmt: skip
    assert [(zone.node, zone.name, zone.free_kb) for zone in found.zones] == [
        (0, "DMA", 14), (0, "HighMem", 5)]  # fmt: skip
    assert found.zones[0].lowmem_reserve_pages == (0, 20, 21)
    assert found.zones[0].free_blocks == (22, 23)
    assert (found.ram_pages, found.highmem_pages, found.reserved_pages) == (31, 32, 33)
    assert (found.swapcache_pages, found.free_swap_kb, found.total_swap_kb) == (34, 37, 38)
    assert part_of("5 pages of HighMem").highmem_pages == 5
    assert part_of("6 pages in cma reserved").cma_pages == 6
    assert part_of("7 swap cached pages").swapcache_pages == 7


def test_of_lines_that_stand_twice_the_first_counts() -> None:
    found = part_of(
        "active_anon:1 inactive_anon:2", "active_anon:9 inactive_anon:9 isolated_anon:9",
        ZONE, ZONE.replace("14kB", "99kB") + " mlocked:5kB",
        "lowmem_reserve[]: 1 2", "lowmem_reserve[]: 3 4",
        "Node 0 active_anon:1kB x:2kB", "Node 0 active_anon:9kB y:3kB",
        "39 pages RAM", "99 pages RAM", "Free swap  = 1kB", "Free swap  = 9kB",
    )  # fmt: skip
    assert found.counters_pages == {"active_anon": 1, "inactive_anon": 2, "isolated_anon": 9}
    (zone,) = found.zones
    assert (zone.free_kb, zone.counters_kb["mlocked"]) == (14, 5)
    assert zone.lowmem_reserve_pages == (1, 2)
    (node,) = found.nodes
    assert node.counters_kb == {"active_anon": 1, "x": 2, "y": 3}
    assert (found.ram_pages, found.free_swap_kb) == (39, 1)


def test_a_line_that_was_cut_goes_on_in_the_next() -> None:
    """Its counters are the zone's, or the node's, of the line before."""
    found = part_of(ZONE, "mlocked:5kB bounce:6kB all_unreclaimable? yes",
                    "Node 1 active_anon:1kB", "unevictable:7kB all_unreclaimable? no")  # fmt: skip
    (zone,), (node,) = found.zones, found.nodes
    assert (zone.counters_kb["mlocked"], zone.counters_kb["bounce"]) == (5, 6)
    assert (zone.all_unreclaimable, node.all_unreclaimable) == (True, False)
    assert node.counters_kb == {"active_anon": 1, "unevictable": 7}
    assert not MemoryPart().parse_line("mlocked:5kB")
    part = MemoryPart()
    assert part.parse_line(ZONE)
    assert not part.parse_line("mlocked: words")
    assert not part.parse_line("in B words")


def test_what_a_zone_keeps_back_needs_a_zone() -> None:
    part = MemoryPart()
    assert part.parse_line("lowmem_reserve[]: 1 2")
    assert part.build() is None
    assert part_of("lowmem_reserve[]: 1 2", ZONE).zones[0].lowmem_reserve_pages == ()


def test_the_first_size_of_free_blocks_is_that_of_a_page() -> None:
    assert part_of("DMA: 0*64kB 1*128kB = 128kB", "Normal: 0*4kB = 0kB").page_kb == 64
    assert part_of("DMA: 1*4kB 2*8kB").zones[0].free_blocks == (1, 2)
    assert part_of("DMA: 1*4kB (U)2*8kB (UM) = 20kB").zones[0].free_blocks == (1, 2)


@pytest.mark.parametrize(
    ("ram", "reserved", "known"),
    [
        (100, 100, True), (100, 101, True), (100, (1 << 31) - 1, True), (100, 1 << 31, False),
        (1 << 31, 1 << 31, True), (1 << 31, (1 << 31) + 1, False), (None, 1 << 31, False),
        (None, (1 << 31) - 1, True),
    ],
)  # fmt: skip
def test_reserved_pages_below_zero_are_none(ram: int | None, reserved: int, known: bool) -> None:
    """A counter of 32 bits wrapped, where there are not so many pages at all."""
    lines = [f"{reserved} pages reserved", "5 pages in swap cache"]
    found = part_of(*lines, *([f"{ram} pages RAM"] if ram is not None else []))
    assert found.reserved_pages == (reserved if known else None)
    assert (found.ram_pages, found.swapcache_pages) == (ram, 5)


def test_counters_that_came_late_tell_the_version() -> None:
    def versions(*lines: str) -> str | None:
        part = MemoryPart()
        for line in lines:
            assert part.parse_line(line)
        return part.versions[0] if part.versions else None

    assert versions(ZONE) is None
    high = ZONE.replace(" min", " reserved_highatomic:0{0} free_highatomic:0{0} min")
    assert versions(high.format("KB")) is None
    assert versions(high.format("kB")) == "7.3"
    gpu = "Node 0 active_anon:1kB gpu_active:5kB"
    assert versions(gpu) == "7.1"
    assert versions(high.format("kB"), gpu) == "7.3"
    assert versions(gpu, high.format("kB")) == "7.3"


def test_a_hostile_part_has_an_end() -> None:
    part = MemoryPart()
    for n in range(10_001):
        assert part.parse_line(f"Node {n} DMA free:1kB min:1kB"), n
    assert not part.parse_line("Node 1 DMA free:1kB min:1kB")
    assert part.parse_line("Mem-Info:")
    slabs = MemoryPart()
    assert slabs.parse_line("Name Used Total")
    taken = sum(slabs.parse_line(f"slab{n}  1KB  2KB") for n in range(10_005))
    assert taken == 10_000
    assert slabs.parse_line("39 pages RAM")
    found = slabs.build()
    assert found is not None
    assert len(found.unreclaimable_slab) == 10_000
