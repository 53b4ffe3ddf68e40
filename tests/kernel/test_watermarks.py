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
