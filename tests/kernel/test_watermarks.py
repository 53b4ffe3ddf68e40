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
