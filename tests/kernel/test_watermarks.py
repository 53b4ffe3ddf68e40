"""Watermarks of machines of different sizes and versions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oomkit.kernel.versions import rules_for
from oomkit.kernel.watermarks import default_min_free_kbytes, watermarks_for, zones

MODERN = rules_for("6.12")


@pytest.mark.parametrize(("gib", "kbytes"), [(1, 4096), (4, 8192), (16, 16384), (64, 32768)])
def test_default_min_free_kbytes_follows_the_root_of_ram(gib: int, kbytes: int) -> None:
    assert default_min_free_kbytes(gib * 2**18, MODERN, thp=False) == kbytes


@pytest.mark.parametrize(("pages", "kernel", "kbytes"), [
    # The root of 16 times the size in kB: 128 at 1024 kB and below, and a cap.
    (1, "6.12", 128), (255, "6.12", 128), (256, "6.12", 128), (260, "6.12", 128),
    (261, "6.12", 129),
    (2**24, "6.12", 32768), (2**26, "6.12", 65536), (2**30, "6.12", 262144),
    (2**30 + 2**20, "6.12", 262144), (2**30 - 2**20, "6.12", 262015),
    (2**26, "5.4", 65536), (2**26 + 2**20, "5.4", 65536), (2**26 - 2**20, "5.4", 65021),
])  # fmt: skip
def test_default_min_free_kbytes_has_bounds(pages: int, kernel: str, kbytes: int) -> None:
    """128 kB, and 64 MB up to 5.4, 256 MB later (``calculate_min_free_kbytes()``)."""
    assert default_min_free_kbytes(pages, rules_for(kernel), thp=False) == kbytes


def test_zones_by_size() -> None:
    """15 MB of DMA (never more than a quarter), DMA32 up to 4 GB, the rest is NORMAL."""
    assert zones(1000) == (250, 750)
    assert zones(15_360) == (3840, 11_520)
    assert zones(15_356) == (3839, 11_517)
    assert zones(2**20) == (3840, 2**20 - 3840)
    assert zones(2**20 + 1) == (3840, 2**20 - 3840, 1)
    assert zones(2**22) == (3840, 2**20 - 3840, 3 * 2**20)


def test_the_marks_of_a_machine_by_hand() -> None:
    """4 GB and 4096 pages more: DMA, DMA32 and NORMAL share min_free_kbytes by their size.

    min: 2048 * 3840 / 1052672 = 7, 2048 * 1044736 / 1052672 = 2032, 2048 * 4096 / 1052672 = 7;
    the gaps are a quarter of it or a thousandth of the zone: 3, 1044, 4; the reserves are what the
    zones above hold, over 256: 4097, 16, 0, and of DMA no more than it has.
    """
    found = watermarks_for(2**20 + 4096, MODERN, min_free_kbytes=8192, scale_factor=10, thp=False)
    assert (found.min_pages, found.low_pages, found.high_pages) == (2046, 3097, 4148)
    assert found.floor_pages == 3840 + (2032 + 16) + 7
    assert found.wake_pages == 3840 + (2032 + 1044 + 16) + (7 + 4)
    assert found.goal_pages == 3840 + (2032 + 2 * 1044 + 16) + (7 + 2 * 4)
    assert found.totalreserve_pages == found.goal_pages
    # 150 % of the high marks of DMA32 and NORMAL, a block at least.
    assert found.boost_pages == (2032 + 2 * 1044) * 15000 // 10000 + 512
    assert found.min_free_kbytes == 8192


def test_up_to_4_5_the_gaps_are_a_quarter_of_the_minimum() -> None:
    """``watermark_scale_factor`` came with 4.6."""
    for kernel, gaps in (("4.5", 1 + 508 + 1), ("4.6", 3 + 1044 + 4)):
        found = watermarks_for(
            2**20 + 4096, rules_for(kernel), min_free_kbytes=8192, scale_factor=10, thp=False
        )
        assert found.low_pages - found.min_pages == gaps
        assert found.high_pages - found.low_pages == gaps
        assert found.boost_pages == 0


def test_a_knob_as_large_as_the_machine_leaves_half() -> None:
    """Our bound, not the kernel's: else no request of the model would ever succeed."""
    found = watermarks_for(10_000, MODERN, min_free_kbytes=100_000, scale_factor=10, thp=False)
    assert (found.min_pages, found.floor_pages, found.wake_pages) == (5000, 5000, 5000)


@pytest.mark.parametrize(("pages", "blocks"), [(2047, 0), (2048, 1)])
def test_a_zone_of_four_blocks_can_be_boosted(pages: int, blocks: int) -> None:
    """DMA never; DMA32 or NORMAL from four page blocks of 512 pages on."""
    total = 2**20 + pages
    found = watermarks_for(total, MODERN, min_free_kbytes=4, scale_factor=0, thp=False)
    assert found.boost_pages == 512 + 512 * blocks


def test_thp_raises_the_marks_as_khugepaged_does() -> None:
    assert default_min_free_kbytes(6171021, MODERN, thp=True) == 67584
    assert default_min_free_kbytes(2**18, MODERN, thp=True) == 45056


@given(st.integers(4096, 2**34), st.sampled_from(["2.6.32", "3.10", "4.6", "6.12"]))
def test_watermarks_are_ordered_and_leave_memory(pages: int, kernel: str) -> None:
    found = watermarks_for(pages, rules_for(kernel), min_free_kbytes=0, scale_factor=10, thp=False)
    assert 0 < found.min_pages <= found.low_pages <= found.high_pages
    assert found.min_pages <= found.floor_pages < pages
    assert sum(zones(pages)) == pages


def test_what_zones_keep_from_requests_for_higher_zones_is_not_there_for_users() -> None:
    """As two reports of 6.12 show it: MemFree when they ran out, of 448 MB and of 1 GB."""
    small = watermarks_for(102298, MODERN, min_free_kbytes=8192, scale_factor=10, thp=False)
    assert small.floor_pages * 4 == pytest.approx(1704 + 7548, rel=0.06)
    large = watermarks_for(247584, MODERN, min_free_kbytes=32768, scale_factor=10, thp=False)
    assert large.floor_pages * 4 == pytest.approx(4168 + 32108, rel=0.02)
    assert large.floor_pages < large.wake_pages < large.goal_pages
    # Of 24 GB the DMA zone's 15 MB are kept whole.
    whole = watermarks_for(6171021, MODERN, min_free_kbytes=0, scale_factor=10, thp=False)
    assert whole.floor_pages - whole.min_pages > 3800


def test_boosted_watermarks() -> None:
    """``boost_watermark()``: 150 % of the high mark, as a report of 6.12 shows (5400 kB)."""

    def boost(pages: int, kernel: str = "6.12", **rest: int) -> int:
        rules = rules_for(kernel)
        return watermarks_for(
            pages, rules, min_free_kbytes=2500, scale_factor=10, thp=False, **rest
        ).boost_pages

    assert boost(102298) * 4 == pytest.approx(5400, rel=0.02)
    assert boost(102298, "4.19") == 0
    assert boost(102298, boost_factor=0) == 0
    assert boost(2400) == 0  # four blocks fit into no zone
